"""One small file per quirk of each format: which clips are found, where, with which picture, speed and prompt."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import aaf2
import opentimelineio as otio
import pytest

from rewas_api.errors import ProblemError
from rewas_cli.timeline_reports import check_report
from rewas_server.otio import reading
from rewas_server.otio.adapter_process import read_file
from rewas_server.otio.planning import FindOptions, list_clips
from rewas_server.otio.prompts import PromptOptions
from rewas_server.otio.reading import ReadOptions, open_timeline
from rewas_server.otio.schemas import parse_any

SAMPLES = Path(__file__).with_name("samples")
FOR_ALL = "for all"
Row = tuple[str, ...]
"""State, name, in and out on the timeline, in and out of the media, and speed, prompt and layers where they matter."""

EXPECTED: dict[str, list[Row]] = {
    "edl_25_frames.edl": [("ready", "ONE", "01:00:00:00-01:00:01:00", "10:00:00:24-10:00:01:24")],
    "edl_backwards_and_still.edl": [
        ("ready", "BACK", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:12:00", "-1"),
        ("ready", "FROM THE END", "01:00:02:00-01:00:04:00", "00:00:10:00-00:00:14:00", "-2"),
        ("ready", "STILL", "01:00:04:00-01:00:05:00", "00:00:20:00-00:00:20:01", "0"),
        ("ready", "NO DURATION", "01:00:05:00-01:00:06:00", "00:00:30:00-00:00:30:01", "0"),
    ],
    "edl_black.edl": [
        ("no prompt", "1", "01:00:00:00-01:00:01:00", ""),
        ("ready", "ONE", "01:00:01:00-01:00:03:00", "00:00:10:00-00:00:12:00"),
        ("ready", "AFTER A GAP", "01:00:05:00-01:00:06:00", "00:00:30:00-00:00:31:00"),
    ],
    "edl_dissolve.edl": [
        ("ready", "ONE", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:12:00"),
        ("ready", "TWO", "01:00:02:00-01:00:04:00", "00:00:30:00-00:00:32:00"),
        ("ready", "THREE", "01:00:04:00-01:00:05:00", "00:00:05:00-00:00:06:00"),
    ],
    "edl_dissolve_both_sides.edl": [
        ("ready", "ONE", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:12:00"),
        ("ready", "TWO", "01:00:02:00-01:00:04:00", "00:00:30:00-00:00:34:00", "2", "A BELL"),
        ("ready", "THREE", "01:00:04:00-01:00:05:00", "00:00:05:00-00:00:06:00"),
    ],
    "edl_drop_frame.edl": [("ready", "OVER THE MINUTE", "01:00:59;28-01:01:00;04", "00:00:59;28-00:01:00;04")],
    "edl_image_sequence.edl": [("ready", "SHOT.[1001-1024].exr", "01:00:00:00-01:00:01:00", "00:00:10:00-00:00:11:00")],
    "edl_locators.edl": [
        ("ready", "ONE", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:12:00", "1", "A HEAVY DOOR"),
        ("ready", "TWO", "01:00:02:00-01:00:04:00", "00:00:30:00-00:00:32:00", "1", "STEPS ON GRAVEL, ambience: RAIN"),
        ("ready", "THREE", "01:00:04:00-01:00:06:00", "00:00:30:00-00:00:32:00", "1", "A BELL"),
    ],
    "edl_past_midnight.edl": [
        ("ready", "BEFORE", "23:59:58:00-24:00:00:00", "23:59:59:00-24:00:01:00"),
        ("ready", "AFTER", "24:00:00:00-24:00:02:00", "00:00:20:00-00:00:22:00"),
    ],
    "edl_reels.edl": [
        ("ready", "EIGHT", "01:00:00:00-01:00:01:00", "00:00:10:00-00:00:11:00"),
        ("ready", "THIRTY-TWO", "01:00:01:00-01:00:02:00", "00:00:20:00-00:00:21:00"),
        ("ready", "SPACES AND A GAP", "01:00:03:00-01:00:04:00", "00:00:30:00-00:00:31:00"),
    ],
    "edl_speed.edl": [
        ("ready", "FAST", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:14:00", "2"),
        ("ready", "SLOW", "01:00:02:00-01:00:04:00", "00:00:20:00-00:00:21:00", "0.5"),
        ("ready", "STILL FF", "01:00:04:00-01:00:05:00", "00:00:30:00-00:00:30:01", "0"),
    ],
    "edl_split_audio.edl": [
        ("ready", "BOTH", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:12:00"),
        ("ready", "PICTURE", "01:00:02:00-01:00:03:00", "00:00:40:00-00:00:41:00"),
        ("ready", "ALL", "01:00:03:00-01:00:04:00", "00:00:50:00-00:00:51:00"),
    ],
    "edl_windows_1252.edl": [
        ("ready", "TÜR", "01:00:00:00-01:00:01:00", "00:00:10:00-00:00:11:00", "1", "EINE SCHWERE TÜR"),
    ],
    "edl_wipe.edl": [
        ("ready", "ONE", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:12:00"),
        ("ready", "TWO", "01:00:02:00-01:00:04:00", "00:00:30:00-00:00:32:00"),
    ],
    "fcp_comments.xml": [
        ("ready", "one", "01:00:00:00-01:00:02:00", "00:00:00:10-00:00:02:10", "1", "a door"),
        ("ready", "two", "01:00:02:00-01:00:04:00", "00:00:00:00-00:00:02:00", "1", "steps"),
    ],
    "fcp_drop_frame_label.xml": [
        ("ready", "one", "01:00:59;28-01:01:02;00", "01:00:20;00-01:00:22;00"),
        ("ready", "two", "01:01:02;00-01:01:04;00", "00:00:00;00-00:00:02;00"),
    ],
    "fcp_file_timecode.xml": [("ready", "one", "01:00:00:00-01:00:02:00", "01:02:30:10-01:02:32:10")],
    "fcp_generator.xml": [
        ("ready", "one", "01:00:00:00-01:00:02:00", "00:00:00:10-00:00:02:10"),
        ("no prompt", "Title", "01:00:00:00-01:00:01:00", ""),
    ],
    "fcp_incomplete_items.xml": [
        ("ready", "no transition before", "01:00:01:00-01:00:02:00", "00:00:01:00-00:00:02:00"),
        ("ready", "two", "01:00:02:00-01:00:04:00", "00:00:00:12-00:00:02:12"),
    ],
    "fcp_markers.xml": [
        ("ready", "one", "01:00:00:00-01:00:02:00", "00:00:00:10-00:00:02:10", "1", "a door"),
        ("ready", "one", "01:00:01:00-01:00:01:12", "00:00:01:10-00:00:01:22", "1", "steps"),
        ("ready", "two", "01:00:02:00-01:00:04:00", "00:00:00:00-00:00:02:00", "1", "for all, ambience: rain"),
    ],
    "fcp_nested_sequence.xml": [
        ("ready", "one", "01:00:00:00-01:00:01:00", "00:00:00:10-00:00:01:10"),
        ("ready", "in one", "01:00:01:00-01:00:02:00", "00:00:00:17-00:00:01:17"),
        ("ready", "in two", "01:00:02:00-01:00:03:00", "00:00:04:04-00:00:05:04"),
    ],
    "fcp_ntsc.xml": [
        ("ready", "one", "01:00:00:00-01:00:02:00", "00:00:00:10-00:00:02:10"),
        ("ready", "two", "01:00:02:12-01:00:04:00", "00:00:00:00-00:00:01:12"),
    ],
    "fcp_speed.xml": [("ready", "fast", "01:00:00:00-01:00:02:00", "00:00:00:00-00:00:04:00", "2")],
    "fcp_speed_in_media_frames.xml": [
        ("ready", "fast", "01:00:00:00-01:00:02:00", "00:00:04:04-00:00:08:04", "2"),
        ("ready", "back", "01:00:02:00-01:00:03:00", "00:00:04:04-00:00:06:04", "-2"),
        ("ready", "slow", "01:00:03:00-01:00:04:00", "00:00:04:04-00:00:04:16", "0.5"),
    ],
    "fcp_speed_keyframes.xml": [
        ("ready", "steps", "01:00:00:00-01:00:01:00", "01:00:00:20-01:00:02:20", "2"),
        ("ready", "steps", "01:00:01:00-01:00:02:00", "01:00:02:20-01:00:02:21", "0"),
        ("ready", "steps", "01:00:02:00-01:00:03:00", "01:00:01:20-01:00:02:20", "-1", "a door"),
        ("refused", "ramp", "01:00:03:00-01:00:04:00", ""),
    ],
    "fcp_subclip.xml": [
        ("ready", "sub", "01:00:00:00-01:00:02:00", "00:00:11:00-00:00:13:00", "1", "a door"),
        ("ready", "fast sub", "01:00:02:00-01:00:04:00", "00:00:12:00-00:00:16:00", "2"),
    ],
    "fcp_transition.xml": [
        ("ready", "one", "01:00:00:00-01:00:02:00", "00:00:00:10-00:00:02:10"),
        ("ready", "two", "01:00:02:00-01:00:04:00", "00:00:00:12-00:00:02:12"),
    ],
    "fcp_two_sequences.xml": [("ready", "two", "01:00:00:00-01:00:01:00", "00:00:00:00-00:00:01:00")],
    "fcp_two_tracks_and_disabled.xml": [
        ("ready", "below", "01:00:00:00-01:00:01:00", "00:00:00:00-00:00:01:00"),
        ("ready", "above", "01:00:01:00-01:00:02:00", "00:00:00:00-00:00:01:00"),
        ("ready", "below", "01:00:02:00-01:00:04:00", "00:00:02:00-00:00:04:00"),
        ("hidden", "off", "01:00:02:12-01:00:03:00", ""),
    ],
    "fcp_windows_path.xml": [("ready", "one", "01:00:00:00-01:00:02:00", "00:00:00:10-00:00:02:10")],
    "fcpx_bundle.fcpxmld": [("ready", "one", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:12:00")],
    "fcpx_clip_element.fcpxml": [("ready", "one", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:12:00")],
    "fcpx_compound_clip.fcpxml": [
        ("ready", "inner one", "01:00:00:00-01:00:01:00", "00:00:21:00-00:00:22:00"),
        ("ready", "inner two", "01:00:01:00-01:00:02:00", "01:00:10:00-01:00:11:00"),
        ("ready", "one", "01:00:02:00-01:00:03:00", "00:00:10:00-00:00:11:00"),
    ],
    "fcpx_conform_rate.fcpxml": [
        ("ready", "conformed", "01:00:00:00-01:00:00:16", "00:00:10:00-00:00:10:16", "1.04271"),
        ("ready", "over", "01:00:00:16-01:00:00:24", "00:00:05:00-00:00:05:08"),
        ("ready", "conformed", "01:00:00:24-01:00:02:00", "00:00:11:00-00:00:12:02", "1.04271", "a door"),
        ("ready", "not conformed", "01:00:02:00-01:00:03:00", "00:00:10:00-00:00:11:00"),
        ("ready", "conformed and fast", "01:00:03:00-01:00:04:00", "00:00:10:00-00:00:12:02", "2.08542"),
    ],
    "fcpx_connected_clips.fcpxml": [
        ("ready", "one", "01:00:00:00-01:00:01:00", "00:00:10:00-00:00:11:00"),
        ("ready", "over", "01:00:01:00-01:00:02:00", "01:00:05:00-01:00:06:00"),
        ("ready", "one", "01:00:02:00-01:00:04:00", "00:00:12:00-00:00:14:00"),
    ],
    "fcpx_disabled.fcpxml": [
        ("hidden", "one", "01:00:00:00-01:00:01:00", ""),
        ("ready", "two", "01:00:01:00-01:00:02:00", "01:00:05:00-01:00:06:00"),
    ],
    "fcpx_gap.fcpxml": [
        ("ready", "one", "01:00:00:00-01:00:01:00", "00:00:10:00-00:00:11:00"),
        ("ready", "two", "01:00:03:00-01:00:04:00", "01:00:05:00-01:00:06:00"),
    ],
    "fcpx_lanes_and_audio.fcpxml": [
        ("ready", "one", "01:00:00:00-01:00:01:00", "00:00:10:00-00:00:11:00"),
        ("ready", "still", "01:00:01:00-01:00:01:12", "00:00:00:00-00:00:00:12"),
        ("ready", "over one", "01:00:01:12-01:00:02:00", "00:00:00:12-00:00:01:00"),
        ("ready", "over two", "01:00:02:00-01:00:03:00", "00:00:20:00-00:00:21:00"),
        ("ready", "one", "01:00:03:00-01:00:04:00", "00:00:13:00-00:00:14:00"),
    ],
    "fcpx_markers_and_notes.fcpxml": [
        ("ready", "one", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:12:00", "1", "a door, foley: steps"),
        ("ready", "two", "01:00:02:00-01:00:03:00", "01:00:05:00-01:00:06:00", "1", "a bell"),
    ],
    "fcpx_multicam.fcpxml": [
        ("ready", "angle B", "01:00:00:12-01:00:02:00", "00:00:10:00-00:00:11:12"),
        ("ready", "picture", "01:00:02:00-01:00:03:00", "00:00:30:12-00:00:31:12"),
    ],
    "fcpx_ntsc.fcpxml": [
        ("ready", "one", "01:00:00:00-01:00:02:00", "00:00:00:10-00:00:02:10"),
        ("ready", "two", "01:00:02:00-01:00:03:00", "00:00:10:00-00:00:11:00"),
    ],
    "fcpx_retime.fcpxml": [
        ("ready", "fast", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:14:00", "2"),
        ("ready", "one", "01:00:02:00-01:00:03:00", "00:00:10:00-00:00:11:00"),
    ],
    "fcpx_roles_and_sync_sources.fcpxml": [
        ("ready", "early", "01:00:00:00-01:00:01:00", "00:00:41:00-00:00:42:00"),
        ("ready", "inner", "01:00:01:00-01:00:02:00", "00:00:21:00-00:00:22:00"),
        ("ready", "picture", "01:00:02:00-01:00:03:12", "00:00:10:00-00:00:11:12"),
        ("ready", "before", "01:00:03:12-01:00:04:12", "00:00:50:00-00:00:51:00"),
        ("ready", "one", "01:00:04:12-01:00:06:00", "00:00:30:12-00:00:32:00"),
    ],
    "fcpx_speed_steps.fcpxml": [
        ("ready", "steps", "01:00:00:00-01:00:01:00", "00:00:10:00-00:00:12:00", "2"),
        ("ready", "steps", "01:00:01:00-01:00:02:00", "00:00:12:00-00:00:12:01", "0"),
        ("ready", "steps", "01:00:02:00-01:00:04:00", "00:00:11:00-00:00:12:00", "-0.5", "a door"),
        ("refused", "ramp", "01:00:04:00-01:00:06:00", ""),
    ],
    "fcpx_title.fcpxml": [
        ("ready", "one", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:12:00"),
        ("no prompt", "Title", "01:00:02:00-01:00:03:00", ""),
        ("ready", "one", "01:00:03:00-01:00:04:00", "00:00:20:00-00:00:21:00"),
    ],
    "fcpx_transition.fcpxml": [
        ("ready", "one", "01:00:00:00-01:00:02:00", "00:00:10:00-00:00:12:00"),
        ("ready", "two", "01:00:02:00-01:00:04:00", "00:00:20:00-00:00:22:00"),
    ],
    "fcpx_two_projects.fcpxml": [("ready", "two", "01:00:00:00-01:00:01:00", "01:00:05:00-01:00:06:00")],
    "kdenlive_guides_and_markers.kdenlive": [
        ("ready", "one", "00:00:00:00-00:00:00:12", "00:00:00:10-00:00:00:22", "1", "a door"),
        ("ready", "over", "00:00:00:12-00:00:01:00", "00:00:04:04-00:00:04:16"),
        ("ready", "one", "00:00:01:00-00:00:02:00", "00:00:01:10-00:00:02:10"),
        ("ready", "two", "00:00:02:12-00:00:04:00", "00:00:01:06-00:00:02:18", "1", "for all, ambience: rain"),
    ],
    "kdenlive_speed.kdenlive": [
        ("ready", "fast", "00:00:00:00-00:00:01:00", "00:00:04:00-00:00:06:00", "2", "a door"),
        ("ready", "slow", "00:00:01:00-00:00:02:00", "00:00:01:00-00:00:01:12", "0.5"),
        ("ready", "back", "00:00:02:00-00:00:03:00", "00:00:38:16-00:00:39:16", "-1"),
        ("refused", "remapped", "00:00:03:00-00:00:04:00", ""),
    ],
    "otio_nested_and_retimed.otio": [
        ("ready", "freeze", "01:00:00:00-01:00:01:00", "00:00:02:02-00:00:02:03", "0"),
        ("ready", "in one", "01:00:01:00-01:00:02:00", "00:00:00:12-00:00:01:00", "0.5", "crowd"),
        ("ready", "in two", "01:00:02:00-01:00:03:00", "00:00:04:04-00:00:05:04", "1", "crowd"),
        ("ready", "back", "01:00:03:00-01:00:04:00", "00:00:08:08-00:00:09:08", "-1"),
    ],
    "otio_newer_schemas.otio": [
        ("ready", "one", "01:00:00:00-01:00:01:00", "00:00:00:10-00:00:02:10", "2"),
        ("ready", "two", "01:00:01:00-01:00:02:00", "00:00:00:00-00:00:01:00"),
        ("ready", "three", "01:00:02:00-01:00:03:00", "00:00:00:00-00:00:01:00"),
    ],
    "otio_offsets_and_layers.otio": [
        ("ready", "wide", "-00:00:01:00-00:00:00:00", "00:00:00:00-00:00:01:00", "1", "street"),
        ("ready", "over", "00:00:00:00-00:00:01:00", "00:00:00:10-00:00:01:10"),
        ("ready", "wide", "00:00:01:00-00:00:03:00", "00:00:02:00-00:00:04:00", "1", "street"),
    ],
    "otio_old_schemas.otio": [
        ("ready", "one", "01:00:00:00-01:00:02:00", "00:00:00:10-00:00:02:10", "1", "a door"),
        ("refused", "two", "01:00:02:12-01:00:04:00", ""),
    ],
    "otio_sequences_generators_and_proxies.otio": [
        ("ready", "sequence", "01:00:00:00-01:00:01:00", "00:00:42:03-00:00:43:03"),
        ("no prompt", "bars", "01:00:01:00-01:00:02:00", ""),
        ("ready", "proxy", "01:00:02:00-01:00:03:00", "00:00:01:00-00:00:02:00"),
    ],
    "resolve_markers.otio": [
        ("ready", "one", "01:00:00:00-01:00:02:00", "01:00:00:10-01:00:02:10", "1", "a door"),
        ("ready", "two", "01:00:02:12-01:00:03:00", "00:00:00:12-00:00:01:00", "1", "steps"),
    ],
    "xges_markers.xges": [
        ("ready", "one", "00:00:00:00-00:00:00:15", "00:00:00:12-00:00:00:28", "1", "a door"),
        ("ready", "over", "00:00:00:15-00:00:01:00", "00:00:04:05-00:00:04:20"),
        ("ready", "one", "00:00:01:00-00:00:02:00", "00:00:01:12-00:00:02:12"),
        ("ready", "two", "00:00:02:15-00:00:04:00", "00:00:01:08-00:00:02:22", "1", "for all, ambience: rain"),
    ],
    "ale_columns.ale": [
        ("ready", "A001", "00:00:00:00-00:00:02:00", "01:00:00:00-01:00:02:00", "1", "a heavy door"),
        ("ready", "A002", "00:00:02:00-00:00:03:12", "02:00:00:00-02:00:01:12", "1", "for all, ambience: rain"),
        ("ready", "A003", "00:00:03:12-00:00:04:12", "03:00:00:00-03:00:01:00"),
    ],
}
RATES = {name: Fraction(24) for name in EXPECTED if name.endswith(".edl")}
RATES |= {"edl_25_frames.edl": Fraction(25), "edl_drop_frame.edl": None}
CHOSEN = {"fcp_two_sequences.xml": "Reel 2", "fcpx_two_projects.fcpxml": "Reel 2"}


@pytest.fixture(autouse=True)
def adapters_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the code of the reading process in this one, because starting a process for each file takes a second."""

    def read(path: Path, suffix: str, rate: Any) -> tuple[Any, tuple[str, ...]]:
        found, notes = read_file(path, suffix, rate)
        text = found.to_json_string(indent=-1)
        again, more = parse_any(text, path.name)
        return again, (*notes, *more)

    monkeypatch.setattr(reading, "_read_in_process", read)


def rows(path: Path, timeline_name: str | None = None) -> list[Row]:
    opened = open_timeline(path, ReadOptions(rate=RATES.get(path.name), timeline_name=timeline_name))
    listed = list_clips(opened.timeline, FindOptions(prompts=PromptOptions(prompt=FOR_ALL)))
    assert listed.problems == ()
    found = []
    for each, clip in zip(listed.clips, check_report(path, opened, listed)["clips"], strict=True):
        media = clip["source"]
        settings = each.clip.settings if each.clip is not None else None
        layers = [f"{layer.name}: {layer.prompt}" for layer in (settings.layers or () if settings else ())]
        found.append(
            (
                clip["state"],
                clip["name"],
                f"{clip['in']}-{clip['out']}",
                f"{media['in']}-{media['out']}" if media else "",
                f"{media['speed']:g}" if media else "",
                ", ".join([clip["prompt"], *layers]),
            )
        )
    return found


def test_every_sample_is_expected() -> None:
    assert {path.name for path in SAMPLES.iterdir() if path.suffix != ".md"} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_gives_its_clips(name: str) -> None:
    found = rows(SAMPLES / name, CHOSEN.get(name))
    expected = [(*row, "1" if row[3] else "")[:5] if len(row) < 5 else row for row in EXPECTED[name]]
    expected = [
        row if len(row) == 6 else (*row, FOR_ALL if row[0] == "ready" else "")  # FOR_ALL if nothing else is stated
        for row in expected
    ]
    assert found == expected


def test_a_sequence_that_contains_itself_is_refused(tmp_path: Path) -> None:
    text = (SAMPLES / "fcp_nested_sequence.xml").read_text("utf-8")
    item = '<clipitem><start>0</start><end>1</end><in>0</in><out>1</out><sequence id="inner"/></clipitem>'
    itself = f"<media><video><track>{item}</track></video></media>"
    path = tmp_path / "loop.xml"
    path.write_text(text.replace('<sequence id="inner">', f'<sequence id="inner">{itself}'), "utf-8")
    with pytest.raises(ProblemError, match=r'The sequence "inner" of loop\.xml contains itself'):
        open_timeline(path)


def test_a_reference_to_a_sequence_is_followed(tmp_path: Path) -> None:
    text = (SAMPLES / "fcp_nested_sequence.xml").read_text("utf-8")
    begin, end = text.index('<sequence id="inner">'), text.index("</sequence>") + len("</sequence>")
    inner = text[begin:end]
    moved = text.replace(inner, '<sequence id="inner"/>').replace("</xmeml>", f"{inner}</xmeml>")
    path = tmp_path / "reel.xml"
    path.write_text(moved, "utf-8")
    assert rows(path, "Reel") == rows(SAMPLES / "fcp_nested_sequence.xml")
    assert [row[1] for row in rows(path, "inner")] == ["in one", "in two"]


@pytest.mark.parametrize(
    ("old", "new", "media", "speed"),
    [
        ("<value>FALSE</value>", "<value>TRUE</value>", "00:00:37:16-00:00:41:16", "-2"),
        ("<value>200</value>", "<value>50</value>", "00:00:00:00-00:00:01:00", "0.5"),
        ("<value>200</value>", "<value>100</value>", "00:00:00:00-00:00:02:00", "1"),
        ("<in>0</in><out>48</out>", "<in>24</in><out>72</out>", "00:00:02:00-00:00:06:00", "2"),
    ],
)
def test_speeds_of_final_cut_pro_count_in_shown_frames(
    old: str, new: str, media: str, speed: str, tmp_path: Path
) -> None:
    text = (SAMPLES / "fcp_speed.xml").read_text("utf-8")
    assert old in text
    path = tmp_path / "speed.xml"
    path.write_text(text.replace(old, new), "utf-8")
    ((_, _, shown, found, found_speed, _),) = rows(path)
    assert (shown, found, found_speed) == ("01:00:00:00-01:00:02:00", media, speed)


def test_a_variable_speed_without_keyframes_of_final_cut_pro_is_refused(tmp_path: Path) -> None:
    text = (SAMPLES / "fcp_speed.xml").read_text("utf-8")
    path = tmp_path / "speed.xml"
    path.write_text(text.replace("<value>0</value>", "<value>1</value>", 1), "utf-8")
    opened = open_timeline(path)
    (each,) = list_clips(opened.timeline, FindOptions(prompts=PromptOptions(prompt=FOR_ALL))).clips
    assert "changes its speed as it plays (Time Remap)" in str(each.problem)


def test_a_clip_without_a_file_does_not_stop_the_others(tmp_path: Path) -> None:
    text = (SAMPLES / "fcp_ntsc.xml").read_text("utf-8")
    begin, end = text.index('<file id="file-one">'), text.index("</file>") + len("</file>")
    path = tmp_path / "reel.xml"
    path.write_text(text[:begin] + text[end:], "utf-8")
    assert [(row[0], row[1]) for row in rows(path)] == [("refused", "one"), ("ready", "two")]


def test_an_item_without_a_place_is_left_out_with_a_note() -> None:
    opened = open_timeline(SAMPLES / "fcp_incomplete_items.xml")
    assert opened.notes == ('The clip "no start" of fcp_incomplete_items.xml was left out, because it has no start.',)


@pytest.mark.parametrize("text", ["<html><body/></html>", '<xmeml version="5"><clip/></xmeml>'])
def test_xml_without_a_sequence_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "page.xml"
    path.write_text(text, "utf-8")
    with pytest.raises(ProblemError, match=r"page\.xml contains no sequence of Final Cut Pro 7"):
        open_timeline(path)


@pytest.mark.parametrize("missing", ["<end>96</end>", "<alignment>center</alignment>", "<duration>1000</duration>"])
def test_a_missing_element_does_not_stop_the_others(missing: str, tmp_path: Path) -> None:
    text = (SAMPLES / "fcp_transition.xml").read_text("utf-8")
    assert missing in text
    path = tmp_path / "reel.xml"
    path.write_text(text.replace(missing, ""), "utf-8")
    assert rows(path)[0] == rows(SAMPLES / "fcp_transition.xml")[0]


def test_a_start_at_an_earlier_transition_is_replaced(tmp_path: Path) -> None:
    text = (SAMPLES / "fcp_incomplete_items.xml").read_text("utf-8")
    first = text.index('<clipitem id="no transition before">')
    clip = text[first : text.index("</clipitem>", first) + len("</clipitem>")]
    last = text.rindex("</clipitem>") + len("</clipitem>")
    later = clip.replace("no transition before", "later").replace("<end>48</end>", "<end>144</end>")
    path = tmp_path / "reel.xml"
    path.write_text(text[:last] + later + text[last:], "utf-8")
    found = [(name, shown, source) for _, name, shown, source, *_ in rows(path)]
    assert found[-1] == ("later", "01:00:05:00-01:00:06:00", "00:00:01:00-00:00:02:00")


def test_a_frame_hold_is_a_freeze_frame(tmp_path: Path) -> None:
    text = (SAMPLES / "fcp_ntsc.xml").read_text("utf-8")
    path = tmp_path / "still.xml"
    still = "<stillframe>TRUE</stillframe><stillframeoffset>100</stillframeoffset><file"
    path.write_text(text.replace("<file", still, 1), "utf-8")
    assert rows(path)[0][:5] == ("ready", "one", "01:00:00:00-01:00:02:00", "00:00:04:04-00:00:04:05", "0")


def fcpxml(name: str, *changes: tuple[str, str]) -> str:
    text = (SAMPLES / name).read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("time", "value", "media", "speed"),
    [
        ("50s", "25s", "00:00:02:12-00:00:03:12", "0.5"),
        ("50s", "0s", "00:00:00:00-00:00:00:01", "0"),
        ("50s", "50s", "00:00:05:00-00:00:07:00", "1"),
    ],
)
def test_speeds_of_final_cut_pro_x(time: str, value: str, media: str, speed: str, tmp_path: Path) -> None:
    path = tmp_path / "reel.fcpxml"
    path.write_text(
        fcpxml("fcpx_retime.fcpxml", ('time="50s" value="100s"', f'time="{time}" value="{value}"')), "utf-8"
    )
    assert rows(path)[0] == ("ready", "fast", "01:00:00:00-01:00:02:00", media, speed, FOR_ALL)


def test_backwards_and_changing_speeds_of_final_cut_pro_x(tmp_path: Path) -> None:
    path = tmp_path / "reel.fcpxml"
    backwards = ('time="0s" value="0s"', 'time="0s" value="50s"'), ('time="50s" value="100s"', 'time="50s" value="0s"')
    path.write_text(fcpxml("fcpx_retime.fcpxml", *backwards), "utf-8")
    assert rows(path)[0][3:5] == ("00:00:43:00-00:00:45:00", "-1")
    ramp = ('<timept time="50s"', '<timept time="6s" value="6s" interp="smooth2" outTime="1/2s"/><timept time="50s"')
    path.write_text(fcpxml("fcpx_retime.fcpxml", ramp), "utf-8")
    opened = open_timeline(path)
    first, second = list_clips(opened.timeline, FindOptions(prompts=PromptOptions(prompt=FOR_ALL))).clips
    assert "(a ramp from 1.00 s to 1.50 s after its first frame)" in str(first.problem)
    assert second.problem is None


def test_compound_clips_that_contain_themselves_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "reel.fcpxml"
    itself = (
        '<asset-clip name="inner one" ref="r2" offset="0s" start="20s"',
        '<ref-clip name="inner one" ref="r4" start="0s"',
    )
    text = fcpxml("fcpx_compound_clip.fcpxml", itself).replace('duration="2s" format="r1"/>', 'duration="2s"/>')
    path.write_text(text, "utf-8")
    with pytest.raises(ProblemError, match=r"The compound clips of reel\.fcpxml are nested too deeply or too often"):
        open_timeline(path)


def test_a_wrong_time_of_final_cut_pro_x_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "reel.fcpxml"
    path.write_text(fcpxml("fcpx_gap.fcpxml", ('start="10s"', 'start="1/0s"')), "utf-8")
    with pytest.raises(ProblemError, match='A clip has the time "1/0s"'):
        open_timeline(path)


@pytest.mark.parametrize("speed", ["x", "1/0", ""])
def test_a_wrong_speed_of_kdenlive_is_reported(speed: str, tmp_path: Path) -> None:
    text = (SAMPLES / "kdenlive_speed.kdenlive").read_text("utf-8")
    path = tmp_path / "reel.kdenlive"
    path.write_text(text.replace('"warp_speed">2<', f'"warp_speed">{speed}<').replace(">2:/", f">{speed}:/"), "utf-8")
    with pytest.raises(ProblemError, match=f'A clip of reel.kdenlive has the speed "{speed}", which is not valid'):
        open_timeline(path)


def test_the_reading_process_reads_the_samples_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    here = open_timeline(SAMPLES / "fcp_nested_sequence.xml").timeline
    monkeypatch.undo()
    there = open_timeline(SAMPLES / "fcp_nested_sequence.xml").timeline
    assert isinstance(there, otio.schema.Timeline)
    assert there.to_json_string() == here.to_json_string()


def write_aaf(path: Path) -> None:
    """Write an AAF file as Avid structures it: media of 1000 frames, a sequence from 01:00:00:00, and a marker."""
    with aaf2.open(str(path), "w") as file:
        create = file.create
        sequence = create.Sequence(media_kind="picture")
        for name, start, length in (("one", 10, 48), ("", 0, 12), ("two", 30, 36)):
            if not name:
                sequence.components.append(create.Filler("picture", length))
                continue
            source, descriptor, locator = create.SourceMob(name), create.CDCIDescriptor(), create.NetworkLocator()
            facts = {"SampleRate": 24, "Length": 1000, "ComponentWidth": 8, "HorizontalSubsampling": 2}
            facts |= {"StoredWidth": 64, "StoredHeight": 36, "ImageAspectRatio": "16/9", "FrameLayout": "FullFrame"}
            for key, value in (facts | {"VideoLineMap": [42, 0]}).items():
                descriptor[key].value = value
            locator["URLString"].value = f"file:///media/{name}.mov"
            descriptor["Locator"].append(locator)
            source.descriptor = descriptor
            slot = source.create_timeline_slot(24)
            slot.segment = create.SourceClip(media_kind="picture", length=1000)
            master = create.MasterMob(name)
            master_slot = master.create_timeline_slot(24)
            master_slot.segment = source.create_source_clip(slot.slot_id, 0, 1000, "picture")
            file.content.mobs.extend([source, master])
            sequence.components.append(master.create_source_clip(master_slot.slot_id, start, length, "picture"))
        reel = create.CompositionMob("reel")
        reel.usage = "Usage_TopLevel"
        picture = reel.create_timeline_slot(24)
        picture.segment = sequence
        count = reel.create_timeline_slot(24)
        count.segment = create.Timecode(24)
        count.segment.start, count.segment.length, count.segment.drop = 86400, 96, False
        picture["PhysicalTrackNumber"].value = count["PhysicalTrackNumber"].value = 1
        event, marker = create.EventMobSlot(), create.DescriptiveMarker()
        for key, value in {"EditRate": 24, "SlotID": 100, "PhysicalTrackNumber": 1}.items():
            event[key].value = value
        event.segment = create.Sequence(media_kind="DescriptiveMetadata")
        for key, value in {"Position": 70, "Length": 1, "Comment": "SFX: a door"}.items():
            marker[key].value = value
        marker["DescribedSlots"].value = {picture.slot_id}
        event.segment.components.append(marker)
        reel.slots.append(event)
        file.content.mobs.append(reel)


def test_an_aaf_gives_its_clips_and_markers(tmp_path: Path) -> None:
    write_aaf(tmp_path / "reel.aaf")
    assert rows(tmp_path / "reel.aaf") == [
        ("ready", "one", "01:00:00:00-01:00:02:00", "00:00:00:10-00:00:02:10", "1", FOR_ALL),
        ("ready", "two", "01:00:02:12-01:00:04:00", "00:00:01:06-00:00:02:18", "1", "a door"),
    ]
