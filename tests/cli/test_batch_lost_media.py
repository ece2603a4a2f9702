"""Media that disappear while `rewas batch` runs, and outputs on another filesystem than the media."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from rewas_command import CommandResult, Rewas, environment, write_clip

from rewas_cli import runner
from rewas_cli.main import run
from rewas_server.batch.local_maker import LocalMaker

RATE = 24
NAMES = ("a", "b", "c")


def write_reel(folder: Path, media: Path) -> Path:
    """A timeline of three clips, each with its own media."""
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    for frames, name in enumerate(NAMES, start=40):
        path = write_clip(media / f"{name}.mp4", frames=frames, rate=Fraction(RATE))
        span = otio.opentime.TimeRange(otio.opentime.RationalTime(2, RATE), otio.opentime.RationalTime(6, RATE))
        reference = otio.schema.ExternalReference(str(path))
        track.append(otio.schema.Clip(name, reference, span, {"rewas": {"prompt": f"door {name}"}}))
    timeline = otio.schema.Timeline("reel")
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(folder / "reel.otio"))
    return folder / "reel.otio"


def batch(reel: Path, *options: object) -> tuple[object, ...]:
    folder = reel.parent
    return (
        "batch", reel, "-o", folder / "out.otio", "--stems", folder / "stems", "--steps", 1, "--json", *options,
    )  # fmt: skip


def origins(result: CommandResult) -> dict[str, str | None]:
    return {clip["clip"]["name"]: clip["origin"] for clip in result.json()["clips"]}


def check_lost(result: CommandResult, reel: Path, lost: Path) -> None:
    """Check that a batch has reported a lost file and delivered the other clips."""
    assert result.code == 1, result.errors
    problems = {clip["clip"]["name"]: clip["problem"] for clip in result.json()["clips"] if clip["problem"]}
    assert list(problems) == [lost.stem]
    assert f'"{lost.stem}"' in problems[lost.stem]["what"]
    assert str(lost) in problems[lost.stem]["what"]
    assert problems[lost.stem]["remedy"]
    assert delivered(reel) == {*NAMES} - {lost.stem}


def delivered(reel: Path) -> set[str]:
    """The names of the clips whose stems are in the output, and exist."""
    written = otio.adapters.read_from_file(str(reel.parent / "out.otio"))
    clips = [clip for track in written.audio_tracks() for clip in track.find_clips()]
    assert all((reel.parent / clip.media_reference.target_url).is_file() for clip in clips)
    return {clip.name.split()[0] for clip in clips}


@pytest.fixture
def batch_while(
    packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> Callable[[Path, Callable[[str], object]], CommandResult]:
    """Run the command. Before it generates the sound of a clip, it calls a function with the name of the clip."""

    def call(reel: Path, before_each: Callable[[str], object]) -> CommandResult:
        def sound_maker(self: runner.LocalRunner, record: Any, is_detached: bool) -> LocalMaker:
            def generate(work: Any, *others: Any) -> Any:
                before_each(otio.adapters.read_from_string(work.clip_otio_json, "otio_json").name)
                return self._generate(work, *others)

            return LocalMaker(record, generate)

        for name, value in environment(packs, tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(runner.LocalRunner, "sound_maker", sound_maker)
        capfd.readouterr()
        # Give its path, because this process remembers packs by the name that was given.
        code = run([str(argument) for argument in batch(reel, "--pack", packs / "starter")])
        captured = capfd.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return call


@pytest.mark.parametrize("when", ["a", "b"])
def test_media_may_vanish_before_they_are_read_or_decoded(
    when: str, batch_while: Callable[[Path, Callable[[str], object]], CommandResult], tmp_path: Path
) -> None:
    reel = write_reel(tmp_path, tmp_path)
    lost, hidden = tmp_path / "b.mp4", tmp_path / "hidden"
    result = batch_while(reel, lambda name: lost.rename(hidden) if name == when else None)
    check_lost(result, reel, lost)
    hidden.rename(lost)
    again = batch_while(reel, lambda name: None)
    assert again.code == 0, again.errors
    assert origins(again) == {"a": "kept", "b": "generated", "c": "kept"}
    assert delivered(reel) == {*NAMES}


@pytest.mark.slow
def test_media_may_vanish_while_a_server_works(rewas: Rewas, server: str, media: Path, tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(dir=media))
    reel = write_reel(tmp_path, folder)
    lost, hidden = folder / "b.mp4", folder / "hidden"
    detached = rewas(*batch(reel, "--server", server, "--detach"))
    assert detached.code == 0, detached.errors
    lost.rename(hidden)
    check_lost(rewas(*batch(reel, "--server", server)), reel, lost)
    hidden.rename(lost)
    again = rewas(*batch(reel, "--server", server))
    assert again.code == 0, again.errors
    assert {name: origin for name, origin in origins(again).items() if name != "b"} == {"a": "kept", "c": "kept"}
    assert delivered(reel) == {*NAMES}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another filesystem."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev or not os.access(shared, os.W_OK):
        pytest.skip("needs a second filesystem")
    folder = Path(tempfile.mkdtemp(dir=shared))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("is_moved", ["output", "stems"])
def test_output_and_stems_may_be_on_another_filesystem(
    is_moved: str, rewas: Rewas, elsewhere: Path, tmp_path: Path
) -> None:
    reel = write_reel(tmp_path, tmp_path)
    moved = {"output": ("-o", elsewhere / "out.otio"), "stems": ("--stems", elsewhere / "stems")}[is_moved]
    for origin in ("generated", "kept"):
        result = rewas(*batch(reel, *moved))
        assert result.code == 0, result.errors
        assert {*origins(result).values()} == {origin}
    output = elsewhere / "out.otio" if is_moved == "output" else tmp_path / "out.otio"
    written = otio.adapters.read_from_file(str(output))
    for clip in written.find_clips():
        url = clip.media_reference.target_url.removeprefix("file://")
        assert (output.parent / url).is_file(), url
    left = [path for folder in (tmp_path, elsewhere) for path in folder.rglob("*") if ".unfinished" in path.name]
    assert left == []
