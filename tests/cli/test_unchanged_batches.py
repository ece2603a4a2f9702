"""A repeat of `rewas batch` with nothing changed ends at once. Any change makes it run in full."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import opentimelineio as otio
import pytest
from rewas_command import CommandResult, environment, write_clip
from silent_sounds import generate_silence

from rewas_cli import runner
from rewas_cli.main import run
from rewas_server.batch import finished
from rewas_server.batch.local_maker import LocalMaker
from rewas_server.batch.record import BatchRecord

RATE = 24
UNCHANGED = "Nothing has changed since the last run, so nothing was written."
PROFILE = "schema = 1\n[file]\nfade_ms = 5\n[reports]\ncue_sheet = true\nhtml = true\n"
SHEET = "clip,prompt\na,a door\nb,rain\n"


def span(start: int, duration: int) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, RATE), otio.opentime.RationalTime(duration, RATE))


@dataclass
class Project:
    """A folder with a timeline of two clips, their media, a sheet and a profile."""

    folder: Path
    call: Callable[..., CommandResult]

    @property
    def timeline(self) -> Path:
        return self.folder / "reel.otio"

    @property
    def media(self) -> Path:
        return self.folder / "ball.mp4"

    @property
    def stems(self) -> Path:
        return self.folder / "stems"

    def write_timeline(self, *names: str, url: str | None = None) -> None:
        track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
        for number, name in enumerate(names):
            reference = otio.schema.ExternalReference(url or str(self.media), span(0, 48))
            track.append(otio.schema.Clip(name, reference, span(6 * number, 6)))
        timeline = otio.schema.Timeline("reel")
        timeline.tracks.append(track)
        otio.adapters.write_to_file(timeline, str(self.timeline))

    def batch(self, *options: object) -> CommandResult:
        """Run the command. A later option replaces an earlier one."""
        given = [
            "--output", self.folder / "out.otio", "--stems", self.stems, "--sheet", self.folder / "reel.csv",
            "--profile", self.folder / "ours.toml", "--json",
        ]  # fmt: skip
        return self.call("batch", self.timeline, *given, *options)

    def settle(self, *options: object) -> CommandResult:
        """Run the command twice, so that the second run changes nothing."""
        assert self.batch(*options).code == 0
        result = self.batch(*options)
        assert UNCHANGED in result.errors, result.errors
        return result

    def delivered(self) -> list[Path]:
        return sorted(self.stems.glob("*.wav"))

    def kept(self, pattern: str) -> Path:
        return sorted((self.stems / ".rewas" / "sounds").glob(f"*/*/{pattern}"))[0]


@pytest.fixture
def project(packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Project:
    installed = tmp_path / "packs"
    shutil.copytree(packs, installed)
    for name, value in environment(installed, tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(
        runner.LocalRunner,
        "sound_maker",
        lambda self, record, is_detached: LocalMaker(record, generate_silence),
    )

    def call(*arguments: object) -> CommandResult:
        runner._pack_info.cache_clear()
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return CommandResult(code, captured.out, captured.err)

    made = Project(tmp_path / "project", call)
    made.folder.mkdir()
    write_clip(made.media, frames=48, rate=Fraction(RATE))
    made.write_timeline("a", "b")
    (made.folder / "reel.csv").write_text(SHEET)
    (made.folder / "ours.toml").write_text(PROFILE)
    return made


def origins(result: CommandResult) -> list[str]:
    assert result.code == 0, result.errors
    return [clip["origin"] for clip in result.json()["clips"]]


def forget(project: Project) -> None:
    """Make the next run a full one."""
    with sqlite3.connect(project.stems / ".rewas" / "record.sqlite") as connection:
        connection.execute("DELETE FROM finished")
    connection.close()


def contents(folder: Path) -> dict[Path, tuple[bytes, int]]:
    """The files of a folder except the records, with their content and their inode."""
    return {
        path: (path.read_bytes(), path.stat().st_ino)
        for path in folder.rglob("*")
        if path.is_file() and ".sqlite" not in path.name
    }


def test_it_writes_nothing_and_reports_what_a_full_run_reports(project: Project) -> None:
    first = project.batch()
    assert origins(first) == ["generated", "generated"]
    before = contents(project.folder)
    quick = project.batch()
    assert UNCHANGED in quick.errors
    assert contents(project.folder) == before
    forget(project)
    full = project.batch()
    assert UNCHANGED not in full.errors
    assert quick.json() == full.json()
    assert quick.errors.replace(UNCHANGED, "").split() == full.errors.split()
    assert {path: held[0] for path, held in contents(project.folder).items()} == {
        path: held[0] for path, held in before.items()
    }


def test_text_and_json_are_each_reported_as_by_a_full_run(project: Project, tmp_path: Path) -> None:
    arguments = (
        "batch", project.timeline, "-o", project.folder / "out.otio", "--stems", project.stems, "--prompt", "a door",
    )  # fmt: skip
    project.call(*arguments)
    for options in ((), ("--verbose",), ("--report", tmp_path / "report.json")):
        full = project.call(*arguments, *options)
        quick = project.call(*arguments, *options)
        assert UNCHANGED in quick.errors, options
        assert quick.output == full.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert [clip["origin"] for clip in report["clips"]] == ["kept", "kept"]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def touch(path: Path) -> None:
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


def copy_over(path: Path) -> None:
    """Replace a file with a copy that has the same times."""
    aside = path.with_name("aside")
    shutil.copy2(path, aside)
    aside.replace(path)


CHANGES: dict[str, Callable[[Project], object]] = {
    "prompt": lambda project: edit(project.folder / "reel.csv", "a door", "a gate"),
    "name": lambda project: edit(project.timeline, '"name": "b"', '"name": "b "'),
    "space in the timeline": lambda project: edit(project.timeline, "{\n", "{ \n"),
    "profile": lambda project: edit(project.folder / "ours.toml", "fade_ms = 5", "fade_ms = 6"),
    "media content": lambda project: write_clip(project.media, frames=47, rate=Fraction(RATE)),
    "media time": lambda project: touch(project.media),
    "media inode": lambda project: copy_over(project.media),
    "delivered stem deleted": lambda project: project.delivered()[0].unlink(),
    "delivered stem changed": lambda project: project.delivered()[1].write_bytes(b"changed"),
    "delivered stem touched": lambda project: touch(project.delivered()[1]),
    "kept stem deleted": lambda project: project.kept("*.wav").unlink(),
    "kept stem cut short": lambda project: os.truncate(project.kept("*.wav"), 100),
    "kept result deleted": lambda project: project.kept("result.binpb").unlink(),
    "kept result damaged": lambda project: project.kept("result.binpb").write_bytes(b"\xff"),
    "output deleted": lambda project: (project.folder / "out.otio").unlink(),
    "output edited": lambda project: edit(project.folder / "out.otio", "a door", "a gate"),
    "cue sheet deleted": lambda project: (project.stems / "reel cue sheet.csv").unlink(),
    "report deleted": lambda project: (project.stems / "reel report.html").unlink(),
    "record of deliveries deleted": lambda project: (project.stems / ".rewas" / "delivered.sqlite").unlink(),
    "record deleted": lambda project: (project.stems / ".rewas" / "record.sqlite").unlink(),
}


def test_a_changed_reference_sound_makes_its_clips_new(project: Project) -> None:
    sounds = [project.folder / "first.wav", project.folder / "second.wav"]
    for number, path in enumerate(sounds):
        path.write_bytes(b"sound %d" % number)
    (project.folder / "reel.csv").write_text("clip,prompt,sounds like\na,a door,first.wav\nb,rain,second.wav\n")
    project.settle()
    touch(sounds[0])
    assert origins(project.batch()) == ["kept", "kept"]
    sounds[0].write_bytes(b"another sound")
    assert origins(project.batch()) == ["generated", "kept"]
    copy = project.folder / "copy.wav"
    shutil.copy(sounds[1], copy)
    edit(project.folder / "reel.csv", "second.wav", "copy.wav")
    assert origins(project.batch()) == ["kept", "kept"]
    copy.unlink()
    result = project.batch()
    assert result.code == 1
    assert "copy.wav does not exist" in result.json()["clips"][1]["problem"]["what"]


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_makes_it_run_in_full(project: Project, change: str) -> None:
    project.settle()
    CHANGES[change](project)
    result = project.batch()
    assert result.code == 0, result.errors
    assert UNCHANGED not in result.errors
    # Everything is there again, as a full run left it.
    for clip in result.json()["clips"]:
        for stem in clip["takes"][0]["stems"].values():
            assert Path(stem["path"]).stat().st_size > 100
    written = otio.adapters.read_from_file(str(project.folder / "out.otio"))
    assert [track.kind for track in written.tracks] == ["Video", "Audio"]
    assert (project.stems / "reel cue sheet.csv").is_file()
    assert (project.stems / "reel report.html").is_file()


@pytest.mark.parametrize(
    "options",
    [
        ("--seed", 7),
        ("--takes", 2),
        ("--steps", 3),
        ("--guidance-scale", 2),
        ("--control-strength", 0.5),
        ("--sample-rate", 44100),
        ("--level", "natural"),
        ("--conflict", "warn"),
        ("--prompt", "wind"),
        ("--prompt-for", "a*=wind"),
        ("--markers", "all"),
        ("--visible", "all"),
        ("--media-paths", "absolute"),
        ("--profile", "stereo"),
        ("--pack", "starter"),
        ("--again", "a"),
        ("--clean",),
        ("--suggest",),
    ],
)
def test_each_option_makes_it_run_in_full(project: Project, options: tuple[object, ...]) -> None:
    project.settle()
    assert UNCHANGED not in project.batch(*options).errors


def test_another_output_or_folder_makes_it_run_in_full(project: Project) -> None:
    project.settle()
    result = project.batch("--output", project.folder / "other.otio")
    assert UNCHANGED not in result.errors
    assert (project.folder / "other.otio").is_file()
    assert origins(project.batch("--stems", project.folder / "other")) == ["generated", "generated"]


def test_a_file_of_the_program_that_cannot_be_read_makes_it_run_in_full(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = ModuleType("rewas_other")
    package.__path__ = [str(project.folder / "other")]
    (project.folder / "other").mkdir()
    # Emacs marks a file that is being edited in this way.
    (project.folder / "other" / ".#module.py").symlink_to("user@host.1")
    monkeypatch.setitem(sys.modules, "rewas_other", package)
    finished._program.cache_clear()
    assert origins(project.batch()) == ["generated", "generated"]
    repeated = project.batch()
    assert origins(repeated) == ["kept", "kept"]
    assert UNCHANGED not in repeated.errors


def test_another_pack_program_or_environment_makes_it_run_in_full(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.settle()
    monkeypatch.setenv("REWAS_UNKNOWN", "1")
    assert UNCHANGED not in project.batch().errors
    assert UNCHANGED in project.batch().errors
    monkeypatch.setattr(finished, "_program", lambda: "another version")
    assert UNCHANGED not in project.batch().errors
    assert UNCHANGED in project.batch().errors
    pack = Path(os.environ["REWAS_PACKS"]) / "starter" / "pack.toml"
    line = next(line for line in pack.read_text().splitlines() if line.startswith('"vocoder/model.safetensors" = "'))
    edit(pack, line, line[:-2] + ("1" if line[-2] == "0" else "0") + line[-1])
    assert origins(project.batch()) == ["generated", "generated"]


def test_other_timelines_in_the_folder_make_it_run_in_full_once(project: Project) -> None:
    project.settle()
    options = ("--output", project.folder / "other-out.otio", "--again", "a")
    shutil.copy(project.timeline, project.folder / "other.otio")
    other = Project(
        project.folder, lambda name, timeline, *rest: project.call(name, project.folder / "other.otio", *rest)
    )
    assert origins(other.batch(*options)) == ["generated", "kept"]
    # The other timeline has requested another sound for the same picture and prompt.
    again = project.batch()
    assert UNCHANGED not in again.errors
    assert origins(again) == ["kept", "kept"]
    assert UNCHANGED in project.batch().errors


@pytest.mark.parametrize("url", ["ball.mp4", "{folder}/ball.mp4", "file://{folder}/ball.mp4"])
def test_media_may_be_named_in_every_way_that_is_certain(project: Project, url: str) -> None:
    project.write_timeline("a", "b", url=url.format(folder=project.folder))
    project.settle()


def test_media_that_was_missing_searched_or_ambiguous_is_looked_for_again(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(project.media, elsewhere / "ball.mp4")
    project.write_timeline("a", "b", url="/gone/ball.mp4")
    for options in (("--search-folder", elsewhere), ("--path-map", f"/gone={elsewhere}")):
        for _ in range(3):
            result = project.batch(*options)
            assert result.code == 0
            assert UNCHANGED not in result.errors
    # The file that "ball%31.mp4" means depends on the files that exist.
    shutil.copy(project.media, project.folder / "ball1.mp4")
    project.write_timeline("a", "b", url="ball%31.mp4")
    for _ in range(3):
        assert UNCHANGED not in project.batch().errors


def test_a_clip_without_a_sound_is_tried_again(project: Project) -> None:
    project.write_timeline("a", "b")
    edit(project.timeline, '"name": "b"', '"name": "c"')
    results = [project.batch() for _ in range(3)]  # The row of "b" has no clip.
    assert [result.code for result in results] == [1, 1, 1]
    assert not any(UNCHANGED in result.errors for result in results)


def test_a_sound_that_was_cut_from_another_is_confirmed_once(project: Project) -> None:
    project.settle()
    document = json.loads(project.timeline.read_text())
    clip = document["tracks"]["children"][0]["children"][0]
    clip["source_range"]["duration"]["value"] = 3
    project.timeline.write_text(json.dumps(document))
    assert origins(project.batch()) == ["cut", "kept"]
    project.batch()
    assert UNCHANGED in project.batch().errors


def test_media_that_changes_during_the_run_is_read_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def change_and_generate(*arguments: Any) -> Any:
        touch(project.media)
        return generate_silence(*arguments)

    monkeypatch.setattr(
        runner.LocalRunner,
        "sound_maker",
        lambda self, record, is_detached: LocalMaker(record, change_and_generate),
    )
    assert origins(project.batch()) == ["generated", "generated"]
    assert UNCHANGED not in project.batch().errors
    assert UNCHANGED in project.batch().errors


def test_a_timeline_that_changes_during_the_run_is_read_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_and_generate(*arguments: Any) -> Any:
        project.timeline.write_text(project.timeline.read_text() + " ")
        return generate_silence(*arguments)

    monkeypatch.setattr(
        runner.LocalRunner,
        "sound_maker",
        lambda self, record, is_detached: LocalMaker(record, change_and_generate),
    )
    assert origins(project.batch()) == ["generated", "generated"]
    assert UNCHANGED not in project.batch().errors


def test_formats_with_adapters_run_in_full(project: Project) -> None:
    for _ in range(3):
        assert UNCHANGED not in project.batch("--output", project.folder / "out.xml").errors


def test_a_batch_that_wants_other_sounds_for_the_timeline_replaces_what_is_remembered(project: Project) -> None:
    project.settle()
    assert UNCHANGED not in project.batch("--seed", 3).errors
    # `--clean` would now delete the first sounds.
    assert UNCHANGED not in project.batch().errors
    with BatchRecord(project.stems) as record:
        assert record.remove_unused() == 2
