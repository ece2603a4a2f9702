"""Measure how long it takes to find and list the clips of long timelines, in CPU seconds.

`python benchmarks/timeline_planning.py` prints one JSON object with the limit for each number of clips. "otio_parse_s"
is OpenTimelineIO's own parser, for comparison. "plain_s" is parsing and listing a timeline whose clips have their
prompts. "reel_s" is the same for the files of `long_reel`: a spotting sheet, 300 media files and retimed clips.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import opentimelineio as otio
from long_reel import LongReel, write_long_reel

from rewas_server.otio.clips import parse_timeline
from rewas_server.otio.media_links import ResolveOptions
from rewas_server.otio.pictures import find_pictures
from rewas_server.otio.planning import FindOptions, list_clips
from rewas_server.otio.prompts import PromptOptions
from rewas_server.otio.reading import open_timeline
from rewas_server.otio.spotting_sheet import read_sheet

FRAME_RATE = 24000 / 1001
_MAX_PLANNING_S = 2
"""The limit for 10,000 clips. It grows with their number."""


def time_range(start: float, frames: float) -> otio.opentime.TimeRange:
    """A range at the frame rate."""
    rate = otio.opentime.RationalTime
    return otio.opentime.TimeRange(rate(start, FRAME_RATE), rate(frames, FRAME_RATE))


def timeline_text(clips: int) -> str:
    """Two video tracks of clips with prompts. The clips of the upper track partly cover those of the lower one."""
    made = otio.schema.Timeline("reel", global_start_time=otio.opentime.RationalTime(86400, FRAME_RATE))
    for number in range(2):
        track = otio.schema.Track(f"V{number + 1}", kind=otio.schema.TrackKind.Video)
        for index in range(clips // 2):
            media = otio.schema.ExternalReference(f"/media/{index % 50}.mov", time_range(0, 100_000))
            metadata = {"rewas": {"prompt": f"sound {index}", "seed": index}}
            if number:
                track.append(otio.schema.Gap(source_range=time_range(0, 25)))
            track.append(otio.schema.Clip(f"shot {index}", media, time_range(index, 48), metadata))
        made.tracks.append(track)
    return str(made.to_json_string(indent=-1))


def cpu_s(act: Callable[[], Any], repeats: int) -> float:
    """Return the CPU seconds of the fastest of several calls."""
    measured = []
    for _ in range(repeats):
        gc.collect()
        began_s = time.process_time()
        act()
        measured.append(time.process_time() - began_s)
    return round(min(measured), 3)


def measure(clips: int, repeats: int) -> dict[str, float]:
    """Return the CPU seconds of each step for a timeline with this many clips."""
    text = timeline_text(clips)
    timeline = parse_timeline(text)
    with tempfile.TemporaryDirectory(prefix="rewas-") as folder:
        reel = write_long_reel(Path(folder), clips)
        reel_s = cpu_s(lambda: list_reel(reel), repeats)
    return {
        "limit_s": _MAX_PLANNING_S * clips / 10_000,
        "otio_parse_s": cpu_s(lambda: otio.adapters.read_from_string(text, "otio_json"), repeats),
        "parse_s": cpu_s(lambda: parse_timeline(text), repeats),
        "pictures_s": cpu_s(lambda: find_pictures(timeline), repeats),
        "list_s": cpu_s(lambda: list_clips(timeline), repeats),
        "plain_s": cpu_s(lambda: list_clips(parse_timeline(text)), repeats),
        "reel_s": reel_s,
    }


def list_reel(reel: LongReel) -> None:
    """Read a timeline and its sheet, and list its clips with their media."""
    timeline = open_timeline(reel.timeline).timeline
    prompts = PromptOptions(sheet=read_sheet(reel.sheet))
    list_clips(timeline, FindOptions(prompts=prompts, media=ResolveOptions(reel.timeline.parent)))


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(json.dumps({clips: measure(clips, arguments.repeats) for clips in arguments.clips}, indent=2))


if __name__ == "__main__":
    main()
