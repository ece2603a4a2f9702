"""`rewas batch` as a durable job: a stopped batch continues, and a repeat generates only what has changed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import opentimelineio as otio
import pytest
import soundfile
from numpy.typing import NDArray
from rewas_command import CommandResult, Rewas, write_clip

RATE = 24
Shot = tuple[str, int, int, dict[str, Any]]


def span(start: int, duration: int) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, RATE), otio.opentime.RationalTime(duration, RATE))


def write_timeline(path: Path, media: Path, *shots: Shot | int) -> Path:
    """A timeline of shots (name, first frame, frames, settings) and gaps (frames)."""
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    for each in shots:
        if isinstance(each, int):
            track.append(otio.schema.Gap(source_range=span(0, each)))
            continue
        name, start, frames, settings = each
        reference = otio.schema.ExternalReference(str(media), span(0, 48))
        track.append(otio.schema.Clip(name, reference, span(start, frames), {"rewas": settings}))
    timeline = otio.schema.Timeline("reel")
    timeline.tracks.append(track)
    otio.adapters.write_to_file(timeline, str(path))
    return path


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("ball") / "ball.mp4", frames=48, rate=Fraction(RATE))


Batch = Callable[..., CommandResult]


@pytest.fixture
def batch(rewas: Rewas, tmp_path: Path, ball: Path) -> Batch:
    """Run the command on a timeline of these shots."""

    def run(*shots: Shot | int, options: tuple[object, ...] = (), media: Path = ball, **more: Any) -> CommandResult:
        timeline = write_timeline(tmp_path / "reel.otio", media, *shots)
        return rewas(
            "batch", timeline, "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems", "--steps", 1, "--json",
            *options, **more,
        )  # fmt: skip

    return run


def origins(result: CommandResult) -> list[str]:
    assert result.code == 0, result.errors
    return [clip["origin"] for clip in result.json()["clips"]]


def stem(result: CommandResult, number: int) -> Path:
    return Path(result.json()["clips"][number]["takes"][0]["stems"]["primary"]["path"])


def assert_same_but_fades(part: NDArray[np.float64], whole: NDArray[np.float64]) -> None:
    fade = 48 * 5
    assert len(part) == len(whole)
    assert (part[fade:-fade] == whole[fade:-fade]).all()


DOOR: dict[str, Any] = {"prompt": "a door"}
RAIN: dict[str, Any] = {"prompt": "rain"}


def test_a_repeat_generates_nothing_and_writes_no_stem_again(batch: Batch) -> None:
    shots: tuple[Shot, ...] = (("a", 0, 6, DOOR), ("b", 6, 8, RAIN))
    first = batch(*shots)
    assert origins(first) == ["generated", "generated"]
    written = [stem(first, number).stat().st_mtime_ns for number in (0, 1)]
    second = batch(*shots)
    assert origins(second) == ["kept", "kept"]
    assert [stem(second, number).stat().st_mtime_ns for number in (0, 1)] == written
    assert len(list(stem(first, 0).parent.glob("*.wav"))) == 2
    strip = ("timings_s", "origin")
    for before, after in zip(first.json()["clips"], second.json()["clips"], strict=True):
        assert {key: before[key] for key in before if key not in strip} == {
            key: after[key] for key in after if key not in strip
        }


def test_clips_that_are_moved_reordered_and_renamed_keep_their_sounds(batch: Batch) -> None:
    first = batch(("a", 0, 6, DOOR), ("b", 6, 8, RAIN))
    second = batch(5, ("b renamed", 6, 8, RAIN), 3, ("a", 0, 6, DOOR))
    assert origins(second) == ["kept", "kept"]
    for before, after in ((0, 1), (1, 0)):
        sounds = [soundfile.read(stem(result, number))[0] for result, number in ((first, before), (second, after))]
        assert (sounds[0] == sounds[1]).all()
    assert stem(second, 0).name.startswith("001 b renamed primary")


def test_a_clip_that_is_trimmed_or_cut_in_two_keeps_its_sound(batch: Batch) -> None:
    whole, rate_hz = soundfile.read(stem(batch(("a", 0, 24, DOOR)), 0))
    trimmed = batch(("a", 6, 12, DOOR))
    assert origins(trimmed) == ["cut"]
    assert_same_but_fades(soundfile.read(stem(trimmed, 0))[0], whole[rate_hz // 4 : rate_hz * 3 // 4])
    halves = batch(("a", 0, 11, DOOR), 7, ("a", 11, 13, DOOR))
    assert origins(halves) == ["cut", "cut"]
    split = rate_hz * 11 // 24
    assert_same_but_fades(soundfile.read(stem(halves, 0))[0], whole[:split])
    assert_same_but_fades(soundfile.read(stem(halves, 1))[0], whole[split:])
    assert origins(batch(("a", 0, 25, DOOR))) == ["generated"]
    assert origins(batch(("a", 0, 24, DOOR))) == ["kept"]


def test_a_cut_that_removes_nothing_is_not_heard(batch: Batch) -> None:
    whole, _ = soundfile.read(stem(batch(("a", 0, 24, DOOR)), 0))
    halves = batch(("a", 0, 11, DOOR), ("a", 11, 13, DOOR))
    assert origins(halves) == ["cut", "cut"]
    joined = np.concatenate([soundfile.read(stem(halves, number))[0] for number in (0, 1)])
    assert (joined == whole).all()


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (RAIN, ()),
        (DOOR | {"seed": 4}, ()),
        (DOOR | {"takes": 2}, ()),
        (DOOR, ("--guidance-scale", 2)),
        (DOOR, ("--sample-rate", 44100)),
    ],
)
def test_other_settings_give_another_sound(batch: Batch, settings: dict[str, Any], options: tuple[object, ...]) -> None:
    assert origins(batch(("a", 0, 6, DOOR), ("b", 6, 6, DOOR))) == ["generated", "generated"]
    expected = "generated" if options else "kept"
    assert origins(batch(("a", 0, 6, settings), ("b", 6, 6, DOOR), options=options)) == ["generated", expected]


def test_the_content_of_the_media_decides_and_not_its_name_or_date(batch: Batch, ball: Path, tmp_path: Path) -> None:
    assert origins(batch(("a", 0, 6, DOOR))) == ["generated"]
    copy = tmp_path / "copy.mp4"
    shutil.copy(ball, copy)
    assert origins(batch(("a", 0, 6, DOOR), media=copy)) == ["kept"]
    write_clip(copy, frames=47, rate=Fraction(RATE))
    assert origins(batch(("a", 0, 6, DOOR), media=copy)) == ["generated"]


def test_again_generates_another_sound_and_a_repeat_keeps_it(batch: Batch) -> None:
    first = batch(("a", 0, 6, DOOR), ("b", 6, 6, DOOR))
    again = batch(("a", 0, 6, DOOR), ("b", 6, 6, DOOR), options=("--again", "a*"))
    assert origins(again) == ["generated", "kept"]
    seeds = [result.json()["clips"][0]["takes"][0]["seed"] for result in (first, again)]
    assert seeds[0] != seeds[1]
    assert origins(batch(("a", 0, 6, DOOR), ("b", 6, 6, DOOR))) == ["kept", "kept"]
    wrong = batch(("a", 0, 6, DOOR), options=("--again", "door"))
    assert wrong.code == 2
    assert 'a name like "door"' in wrong.json()["error"]["what"]
    fixed = batch(("a", 0, 6, DOOR | {"seed": 3}), options=("--again", "a"))
    assert 'The clip "a" keeps its sound, because its settings contain the seed 3.' in fixed.errors


def test_a_clip_that_shows_a_part_of_another_clip_gets_that_part_of_its_sound(batch: Batch) -> None:
    result = batch(("part", 6, 6, DOOR), ("whole", 0, 24, DOOR), ("same", 0, 24, DOOR))
    assert origins(result) == ["cut", "generated", "kept"]
    whole, rate_hz = soundfile.read(stem(result, 1))
    assert_same_but_fades(soundfile.read(stem(result, 0))[0], whole[rate_hz // 4 : rate_hz // 2])


def test_its_own_output_as_the_input_gets_the_same_tracks(batch: Batch, rewas: Rewas, tmp_path: Path) -> None:
    assert origins(batch(("a", 0, 6, DOOR), ("b", 6, 6, RAIN))) == ["generated", "generated"]
    before = (tmp_path / "out.otio").read_text()
    result = rewas(
        "batch", tmp_path / "out.otio", "-o", tmp_path / "again.otio", "--stems", tmp_path / "stems", "--steps", 1,
        "--json",
    )  # fmt: skip
    assert origins(result) == ["kept", "kept"]
    tracks = [
        [(track.name, track.kind, len(track)) for track in otio.adapters.read_from_file(str(path)).tracks]
        for path in (tmp_path / "out.otio", tmp_path / "again.otio")
    ]
    assert tracks[0] == tracks[1]
    assert (tmp_path / "out.otio").read_text() == before
    # A batch may replace its own output, but never another timeline.
    options = ("--stems", tmp_path / "stems", "--steps", 1, "--json")
    assert origins(rewas("batch", tmp_path / "out.otio", "-o", tmp_path / "out.otio", *options)) == ["kept", "kept"]
    refused = rewas("batch", tmp_path / "reel.otio", "-o", tmp_path / "reel.otio", *options)
    assert refused.code == 2
    assert "which is also an input" in refused.json()["error"]["what"]


def test_a_damaged_record_is_set_aside_and_the_sounds_are_found_again(batch: Batch, tmp_path: Path) -> None:
    assert origins(batch(("a", 0, 6, DOOR))) == ["generated"]
    record = tmp_path / "stems" / ".rewas" / "record.sqlite"
    record.write_bytes(b"damaged" * 1000)
    result = batch(("a", 0, 6, DOOR))
    assert origins(result) == ["kept"]
    assert "record.sqlite is damaged. It was renamed to record.sqlite.damaged-1" in result.errors
    with sqlite3.connect(record) as connection:
        assert connection.execute("SELECT count(*) FROM sound").fetchone() == (1,)


def test_two_batches_into_one_folder_are_refused(batch: Batch, tmp_path: Path) -> None:
    from rewas_server.batch.record import BatchRecord

    with BatchRecord(tmp_path / "stems"):
        result = batch(("a", 0, 6, DOOR))
    assert result.code == 2
    assert result.json()["error"]["what"].startswith("Another batch is writing stems to the folder ")


def test_clean_deletes_what_no_timeline_needs(batch: Batch, tmp_path: Path) -> None:
    first = batch(("a", 0, 6, DOOR), ("b", 6, 6, RAIN), ("c", 12, 6, DOOR))
    changed = stem(first, 2)
    changed.write_bytes(changed.read_bytes() + b"edited by hand")
    (tmp_path / "stems" / "mine.wav").write_bytes(b"mine")
    result = batch(("a", 0, 6, DOOR), options=("--clean",))
    assert "Files deleted because no timeline needs them: 1 stems, 2 sounds." in result.errors
    names = {path.name for path in (tmp_path / "stems").glob("*.wav")}
    assert names == {stem(first, 0).name, changed.name, "mine.wav"}


def test_ctrl_c_keeps_what_is_finished(batch: Batch, tmp_path: Path) -> None:
    shots: tuple[Shot, ...] = (("a", 0, 6, DOOR), ("b", 6, 6, RAIN))
    stopped = batch(*shots, press_ctrl_c=True)
    assert stopped.code == 130
    error = stopped.json()["error"]
    assert error["what"].startswith("Stopped on request. ")
    assert error["remedy"] == "Run the same command again to generate the others."
    assert not (tmp_path / "out.otio").exists()
    assert origins(batch(*shots))[1] == "generated"


def test_a_report_never_replaces_media(batch: Batch, tmp_path: Path) -> None:
    media = tmp_path / "shot.mp4"
    media.write_bytes(b"picture")
    result = batch(("a", 0, 6, DOOR), options=("--report", media))
    assert result.code == 2
    assert "ends in .json" in result.errors
    assert media.read_bytes() == b"picture"


def test_the_report_is_also_written_to_a_file(batch: Batch, tmp_path: Path) -> None:
    result = batch(("a", 0, 6, DOOR), options=("--report", tmp_path / "report.json"))
    assert json.loads((tmp_path / "report.json").read_text()) == result.json()


def test_kept_sounds_are_only_counted_unless_all_are_wanted(
    batch: Batch, rewas: Rewas, ball: Path, tmp_path: Path
) -> None:
    assert origins(batch(("a", 0, 6, DOOR))) == ["generated"]
    timeline = write_timeline(tmp_path / "reel.otio", ball, ("a", 0, 6, DOOR), ("b", 6, 6, RAIN))
    arguments = ("batch", timeline, "-o", tmp_path / "out.otio", "--stems", tmp_path / "stems", "--steps", 1)
    first = rewas(*arguments).output.splitlines()
    assert [line for line in first if line.startswith(("a, ", "b, "))] == [line for line in first if "“rain”" in line]
    assert first[-1] == "sounds: 1 generated, 1 kept"
    assert "“a door”, kept from an earlier run, generated with starter" in rewas(*arguments, "--verbose").output


def test_media_that_was_found_elsewhere_is_linked_in_the_output(rewas: Rewas, ball: Path, tmp_path: Path) -> None:
    timeline = write_timeline(tmp_path / "reel.otio", Path("/gone/ball.mp4"), ("a", 0, 6, DOOR), ("b", 6, 6, {}))
    arguments = ("-o", tmp_path / "out.otio", "--stems", tmp_path / "stems", "--steps", 1, "--json")
    assert origins(rewas("batch", timeline, *arguments, "--search-folder", ball.parent)) == ["generated"]
    # The output needs no folder: both clips are linked.
    written = otio.adapters.read_from_file(str(tmp_path / "out.otio"))
    urls = {clip.media_reference.target_url for clip in written.video_tracks()[0]}
    assert {(tmp_path / url).resolve() for url in urls} == {ball}
    again = ("-o", tmp_path / "again.otio", *arguments[2:])
    assert origins(rewas("batch", tmp_path / "out.otio", *again)) == ["kept"]
