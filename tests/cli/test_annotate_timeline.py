"""`rewas annotate` of timelines: which clips get a prompt, what else stays, and in which formats."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from rewas_command import Rewas

from rewas_cli.commands.annotate_timeline import clips_to_describe
from rewas_server.otio.formats import FORMATS, Feature
from rewas_server.otio.planning import ClipState, find_clips
from rewas_server.otio.reading import open_timeline

BAD_INPUT, FAILED_WORK = 2, 1
RATE = 24000 / 1001
HOLDS_PROMPTS = [
    suffix
    for suffix, found in FORMATS.items()
    if found.writes and not {Feature.METADATA, Feature.MARKERS} <= found.loses
]


def span(start: float, frames: float) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, RATE), otio.opentime.RationalTime(frames, RATE))


def clip(name: str, media: Path, start: float, frames: float, **metadata: Any) -> otio.schema.Clip:
    reference = otio.schema.ExternalReference(str(media), span(0, 48))
    return otio.schema.Clip(name, reference, span(start, frames), metadata=metadata)


def write(timeline: otio.schema.Timeline, path: Path) -> Path:
    otio.adapters.write_to_file(timeline, str(path))
    return path


@pytest.fixture
def reel(media: Path, tmp_path: Path) -> Path:
    """A timeline with clips of all kinds, of which three have no prompt and media that exists."""
    ball = media / "ball.mp4"
    timeline = otio.schema.Timeline("reel", metadata={"theirs": {"version": 3}})
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    track.append(clip("fall", ball, 4, 24, theirs={"colour": "red"}))
    track.append(clip("described before", ball, 0, 24, rewas={"prompt": "a bouncing ball", "seed": 7}))
    track.append(otio.schema.Gap(source_range=span(0, 10)))
    track.append(clip("fall again", ball, 4, 24, rewas={"seed": 3}))
    track.append(clip("end", ball, 24, 20))
    track.append(otio.schema.Clip("title", otio.schema.GeneratorReference("Title", "text"), span(0, 24)))
    track[4].markers.append(otio.schema.Marker("see notes", span(30, 1)))
    track[4].effects.append(otio.schema.Effect("grade", "LUT"))
    timeline.tracks.append(track)
    timeline.tracks.append(otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio))
    return write(timeline, tmp_path / "reel.otio")


def without_prompts(path: Path) -> Any:
    """A written timeline as JSON, without what a description adds."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            kept = {name: strip(each) for name, each in value.items()}
            if isinstance(kept.get("rewas"), dict) and "annotation" in kept["rewas"]:
                kept["rewas"] = {k: v for k, v in kept["rewas"].items() if k not in ("annotation", "prompt")}
            return {name: each for name, each in kept.items() if name != "rewas" or each}
        return [strip(each) for each in value] if isinstance(value, list) else value

    return strip(json.loads(path.read_text("utf-8")))


def test_clips_without_a_prompt_get_one_and_nothing_else_changes(bare_rewas: Rewas, reel: Path, tmp_path: Path) -> None:
    output = tmp_path / "described.otio"
    result = bare_rewas("annotate", reel, "--output", output, "--json")
    assert result.code == 0, result.errors
    report = result.json()
    assert [row["clip"] for row in report["clips"]] == ["fall", "fall again", "end"]
    # Clips that show the same range are described once, in that range.
    assert report["statistics"]["clips"] == 2
    assert report["clips"][0]["range"] == report["clips"][1]["range"]
    assert report["clips"][0]["seconds"] == pytest.approx(24 / RATE, abs=1e-3)
    clips = {each.name: each for each in otio.adapters.read_from_file(str(output)).find_clips()}
    for name in ("fall", "fall again", "end"):
        held = clips[name].metadata["rewas"]
        assert held["prompt"]
        assert set(held["annotation"]) == {"picture", "sound", "description"}
        assert held["annotation"]["description"]
    assert clips["fall again"].metadata["rewas"]["seed"] == 3
    assert dict(clips["described before"].metadata["rewas"]) == {"prompt": "a bouncing ball", "seed": 7}
    assert "rewas" not in clips["title"].metadata
    assert without_prompts(output) == without_prompts(reel)
    ready = [each for each in find_clips(open_timeline(output).timeline) if each.state is ClipState.READY]
    assert [each.picture.name for each in ready] == ["fall", "described before", "fall again", "end"]
    assert all(each.prompt_origin == "the clip" for each in ready)
    # The sentences are a known key, so no note says that they are ignored.
    assert "which is not a setting" not in bare_rewas("timeline", "check", output).output


def test_a_repeated_run_describes_only_what_is_new(bare_rewas: Rewas, reel: Path, tmp_path: Path) -> None:
    output, record = tmp_path / "described.otio", tmp_path / "described.annotations.json"
    assert bare_rewas("annotate", reel, "--output", output, "--no-sound").code == 0
    document = json.loads(record.read_text("utf-8"))
    assert len(document["clips"]) == 2
    document["clips"] = document["clips"][:1]
    document["clips"][0]["prompt"] = "kept from the earlier run"
    record.write_text(json.dumps(document), "utf-8")
    result = bare_rewas("annotate", reel, "--output", output, "--no-sound", "--replace", "--json")
    assert result.code == 0, result.errors
    prompts = {row["clip"]: row["prompt"] for row in result.json()["clips"]}
    assert prompts["fall"] == prompts["fall again"] == "kept from the earlier run"
    assert prompts["end"] not in ("", "kept from the earlier run")
    # With --replace, other clips get a new prompt too, but titles do not.
    assert set(prompts) == {"fall", "described before", "fall again", "end"}
    clips = {each.name: each for each in otio.adapters.read_from_file(str(output)).find_clips()}
    assert clips["described before"].metadata["rewas"]["prompt"] == prompts["described before"]
    assert clips["described before"].metadata["rewas"]["seed"] == 7


def test_missing_and_unreadable_media_is_listed(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    timeline = otio.schema.Timeline("reel")
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    track.extend(
        [
            clip("lost", tmp_path / "lost.mp4", 0, 24),
            clip("broken", tmp_path / "broken.mp4", 0, 24),
            clip("beyond", media / "ball.mp4", 60, 24),
            clip("good", media / "ball.mp4", 0, 24),
        ]
    )
    timeline.tracks.append(track)
    reel, output = write(timeline, tmp_path / "reel.otio"), tmp_path / "described.otio"
    result = bare_rewas("annotate", reel, "--output", output, "--no-sound", "--json")
    assert result.code == FAILED_WORK, result.errors
    rows = {row["clip"]: row for row in result.json()["clips"]}
    assert {name for name, row in rows.items() if row["problem"]} == {"lost", "broken", "beyond"}
    assert all(name in rows[name]["problem"] for name in ("lost", "broken", "beyond"))
    assert len(result.json()["failed"]) == 3
    clips = {each.name: each for each in otio.adapters.read_from_file(str(output)).find_clips()}
    assert clips["good"].metadata["rewas"]["prompt"]
    assert not any("rewas" in clips[name].metadata for name in ("lost", "broken", "beyond"))


@pytest.mark.parametrize("suffix", HOLDS_PROMPTS)
def test_prompts_survive_in_each_format_that_can_hold_them(
    bare_rewas: Rewas, media: Path, tmp_path: Path, suffix: str
) -> None:
    timeline = otio.schema.Timeline("reel")
    timeline.tracks.append(otio.schema.Track("V1", kind=otio.schema.TrackKind.Video))
    timeline.tracks[0].append(clip("fall", media / "ball.mp4", 4, 24))
    reel, output = write(timeline, tmp_path / "reel.otio"), tmp_path / f"described{suffix}"
    result = bare_rewas("annotate", reel, "--output", output, "--no-sound", "--json")
    assert result.code == 0, result.errors
    checked = bare_rewas("timeline", "check", output, "--json").json()
    assert [row["prompt"] for row in checked["clips"]] == [result.json()["clips"][0]["prompt"]]


def test_the_longest_visible_part_of_a_clip_is_described_and_markers_count_as_prompts(tmp_path: Path) -> None:
    ball = tmp_path / "ball.mp4"
    below, above = (otio.schema.Track(name, kind=otio.schema.TrackKind.Video) for name in ("V1", "V2"))
    below.extend([clip("covered", ball, 0, 48), clip("marked", ball, 0, 24)])
    below[1].markers.append(otio.schema.Marker("SFX: rain", span(3, 0)))
    above.extend([otio.schema.Gap(source_range=span(0, 30)), clip("over it", ball, 0, 6)])
    timeline = otio.schema.Timeline("reel")
    timeline.tracks.extend([below, above])
    listed = find_clips(timeline)
    assert len(listed) == 4
    chosen = {each.picture.name: each.picture for each in clips_to_describe(listed, replaces=False)}
    assert set(chosen) == {"covered", "over it"}
    assert chosen["covered"].duration_s == Fraction(30 * 1001, 24000)
    assert {each.picture.name for each in clips_to_describe(listed, replaces=True)} == {*chosen, "marked"}


def test_arguments_that_do_not_fit_are_refused(bare_rewas: Rewas, reel: Path, media: Path, tmp_path: Path) -> None:
    ball = media / "ball.mp4"
    for arguments, said in [
        ([reel], "is not given"),
        ([reel, ball, "-o", "x.otio"], "A timeline and other files are given together"),
        ([reel, reel, "-o", "x.otio"], "2 timelines are given"),
        ([reel, "-o", "x.otio", "--csv", "x.csv"], "--csv has no effect"),
        ([reel, "-o", "x.edl"], "cannot hold prompts"),
        ([reel, "-o", "x.aaf"], "cannot hold prompts"),
        ([reel, "-o", "x.xml", "--replace"], "holds prompts in markers"),
        ([reel, "-o", "x.json"], "suffix"),
        ([reel, "-o", reel], "reel.otio"),
        ([ball, "--replace"], "--replace applies only to timelines"),
        ([ball, "--markers", "all"], "--markers applies only to timelines"),
        ([ball, "--markers", "labelled"], "--markers applies only to timelines"),
        ([ball, "--visible", "topmost"], "--visible applies only to timelines"),
        ([ball, "--visible", "V2", "--rate", "25"], "omit --visible and --rate"),
    ]:
        result = bare_rewas("annotate", *arguments, cwd=tmp_path)
        assert result.code == BAD_INPUT, arguments
        assert said in result.errors, result.errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reel.otio"]
