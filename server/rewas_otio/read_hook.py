"""OpenTimelineIO hook that adds prompts and exact rates to a timeline after it is read.

    otioconvert -i cut.edl -o cut.otio -H rewas_sheet=spotting.csv -H "rewas_prompt_for=door*=a heavy wooden door"

- `rewas_sheet`, `rewas_prompt`, `rewas_prompt_for`, `rewas_markers`: write the prompts from a spotting sheet, a default
  prompt, rules for names and markers into the metadata of the clips, which other programs keep. `rewas_visible` chooses
  which of several clips at the same time get one: topmost, all, or the name or number of a track.
- `rewas_exact_rates=True`: makes rounded rates exact (23.976 becomes 24000/1001), and turns the record times of an EDL
  into the start timecode.

Without these arguments, it does nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import opentimelineio as otio

from rewas_otio.hook_arguments import (
    EXACT_RATES,
    MARKERS,
    PROMPT,
    PROMPT_FOR,
    SHEET,
    VISIBLE,
    own_arguments,
)

_log = logging.getLogger(__name__)


def hook_function(in_timeline: Any, argument_map: Mapping[str, Any] | None = None) -> Any:
    """Change the timeline if there are arguments for this hook, and return it. Raises ProblemError."""
    arguments = own_arguments(argument_map)
    if not arguments:
        return in_timeline
    from rewas_server.otio.clips import timelines_in

    for timeline in timelines_in(in_timeline):
        if arguments.get(EXACT_RATES):
            _make_exact(timeline)
        if not arguments.keys().isdisjoint({SHEET, PROMPT, PROMPT_FOR, MARKERS}):
            _write_prompts(timeline, arguments)
    return in_timeline


def _write_prompts(timeline: otio.schema.Timeline, arguments: Mapping[str, Any]) -> None:
    from rewas_api.clip_settings import write_clip_settings
    from rewas_server.otio.marker_prompts import LABELLED
    from rewas_server.otio.pictures import TOPMOST
    from rewas_server.otio.planning import FindOptions, list_clips
    from rewas_server.otio.prompts import PromptOptions, parse_prompt_rule
    from rewas_server.otio.spotting_sheet import read_sheet

    rules = arguments.get(PROMPT_FOR, ())
    options = PromptOptions(
        prompt=str(arguments.get(PROMPT, "")),
        rules=tuple(parse_prompt_rule(str(rule)) for rule in ([rules] if isinstance(rules, str) else rules)),
        markers=str(arguments.get(MARKERS, LABELLED)),
        sheet=read_sheet(Path(str(arguments[SHEET]))) if SHEET in arguments else None,
    )
    listed = list_clips(timeline, FindOptions(str(arguments.get(VISIBLE, TOPMOST)), options))
    for problem in listed.problems:
        _log.warning("%s", problem)
    written: set[tuple[int, ...]] = set()
    for each in listed.clips:
        clip, picture = each.clip, each.picture
        if clip is None:
            if each.problem is not None and each.prompt_origin:
                _log.warning("%s", each.problem)
            continue
        is_whole = (clip.position_s, clip.duration_s) == (picture.position_s, picture.duration_s)
        if not is_whole or (clip.path in written and clip.part == 1):
            _log.warning('A prompt for part of the clip "%s" cannot be stored in its metadata.', clip.source.name)
            continue
        written.add(clip.path)
        write_clip_settings(picture.clip, clip.settings)


def _make_exact(timeline: otio.schema.Timeline) -> None:
    from rewas_server.otio.clips import move_track_offsets

    move_track_offsets(timeline)
    if timeline.global_start_time is not None:
        timeline.global_start_time = _exact_time(timeline.global_start_time)
    for item in (timeline.tracks, *timeline.tracks.find_children()):
        if isinstance(item, otio.schema.Transition):
            item.in_offset, item.out_offset = _exact_time(item.in_offset), _exact_time(item.out_offset)
            continue
        item.source_range = _exact_range(item.source_range)
        for marker in item.markers:
            marker.marked_range = _exact_range(marker.marked_range)
        if isinstance(item, otio.schema.Clip):
            for reference in item.media_references().values():
                reference.available_range = _exact_range(reference.available_range)


def _exact_range(given: otio.opentime.TimeRange | None) -> otio.opentime.TimeRange | None:
    if given is None:
        return None
    return otio.opentime.TimeRange(_exact_time(given.start_time), _exact_time(given.duration))


def _exact_time(given: otio.opentime.RationalTime) -> otio.opentime.RationalTime:
    from rewas_server.otio.exact_times import exact_rate

    return otio.opentime.RationalTime(given.value, float(exact_rate(given.rate, "The timeline", "time")))
