"""Reads CMX 3600 edit decision lists at any frame rate, with OpenTimelineIO's adapter.

The adapter supports few rates, ignores drop-frame counting, and stops at the first unusual event. So each event is read
here first and passed on in a form that the adapter accepts: as frame numbers, in the order of the timeline, with equal
source and record durations, and with its speed as a comment. Afterwards, the times get their rate and the clips their
speed.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.otio.exact_times import exact_rate
from rewas_server.otio.frame_timeline import state_drop_frame
from rewas_server.otio.names import shorten_name
from rewas_server.timecode import format_timecode, parse_timecode, uses_drop_frame

_ADAPTER_RATE = Fraction(24)
_UNAMBIGUOUS_RATES = (25, 50)
"""The timecode of other rates is also used at 1000/1001 of the rate."""
_MARK = "REWAS-SPEED"
_MAX_NOTED_LINES = 5
_MAX_FRAMES = 99 * 3600 * 24
"""The adapter reads timecodes of up to 99 hours."""
_TIME = re.compile(r"\d{1,2}[:;.]\d{1,2}[:;.]\d{1,2}[:;.,]\d{1,3}|\d{1,9}")
_STATED_RATE = re.compile(r"^\W*(?:FRAME[ _]?RATE|FPS|TIMEBASE)\s*[:=]?\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
_SPEED = re.compile(r"^M2\s+(?P<reel>.*?)\s*(?P<fps>-?\d+(?:\.\d*)?)\s+(?P<at>[\d:;.]{8,})\s*$")
_FREEZE = re.compile(r"^\*?\s*\*?\s*FREEZE FRAME", re.IGNORECASE)
_COLOURS = frozenset(name for name in vars(otio.schema.MarkerColor) if name.isupper())
_LOCATOR = re.compile(r"^(\*\s*LOC:?\s*)(\d\d[:;]\d\d[:;]\d\d[:;.,]\d{2,3})(.*)$")
_FROM_NAME = re.compile(r"^\*?\s*FROM CLIP NAME:", re.IGNORECASE)
_TO_NAME = re.compile(r"^\*?\s*TO CLIP NAME:", re.IGNORECASE)


@dataclass(frozen=True)
class _Event:
    """An event. Times are in frames, and edit is the text between the channel and the times."""

    line: int
    number: str
    reel: str
    channel: str
    edit: tuple[str, ...]
    times: tuple[int, int, int, int]
    comments: tuple[str, ...] = ()
    speed: Fraction = Fraction(1)


@dataclass
class _Draft:
    """An event with its times as text."""

    line: int
    fields: list[str]
    times: list[str]
    comments: list[str] = field(default_factory=list)


def read_edl(text: str, name: str, rate: Fraction | None) -> tuple[otio.schema.Timeline, list[str]]:
    """Return the timeline of an EDL, and notes on how it was read.

    Args:
        text: The EDL.
        name: Of the file, for notes and errors.
        rate: Frames per second; None to find out.

    Raises:
        ProblemError: TIMELINE if there is no event that can be read.
    """
    lines = text.replace("\0", "").splitlines()
    drafts, notes = list(_drafts(lines)), []
    if not drafts:
        raise _problem(f"{name} does not contain EDL events.", "Export it again as CMX 3600, or as .otio.")
    drops = _counts_drop_frame(lines, drafts)
    if rate is None:
        rate, reason = _find_rate(lines, drafts, drops)
        notes += [f"{name} {reason}"] if reason else []
    events, left_out = _events(drafts, rate, drops)
    notes += _left_out_notes(left_out, name)
    if not events:
        raise _problem(f"No event of {name} can be read. {left_out[0][1]}", "Export it again, or set --rate.")
    title = next((line.partition(":")[2].strip() for line in lines if line.lstrip().startswith("TITLE:")), "")
    timeline = otio.adapters.read_from_string(
        "\n".join(_handed_over(events, title)), "cmx_3600", rate=float(_ADAPTER_RATE)
    )
    finished = _finished(timeline, rate)
    if uses_drop_frame(rate) and not drops:
        state_drop_frame(finished, False)
    return finished, notes


def _drafts(lines: Sequence[str]) -> Iterator[_Draft]:
    """Yield the events with their comments. Lines before the first event are ignored."""
    current: _Draft | None = None
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        is_event = len(fields) >= 8 and fields[0].isdecimal() and all(_TIME.fullmatch(each) for each in fields[-4:])
        if is_event:
            if current is not None:
                yield current
            current = _Draft(number, fields[:-4], fields[-4:])
        elif current is not None and fields and not line.lstrip().startswith(("TITLE:", "FCM", "SPLIT")):
            current.comments.append(line.strip())
    if current is not None:
        yield current


def _counts_drop_frame(lines: Sequence[str], drafts: Sequence[_Draft]) -> bool:
    modes = [line.upper() for line in lines if line.lstrip().upper().startswith("FCM")]
    if any("DROP" in mode and "NON" not in mode for mode in modes):
        return True
    return any(re.search(r"[;,]\d+$", time) for draft in drafts for time in draft.times[2:])


def _find_rate(lines: Sequence[str], drafts: Sequence[_Draft], drops: bool) -> tuple[Fraction, str]:
    """Return the rate that an EDL states or its timecodes imply, and what is uncertain, as the end of a sentence."""
    for line in lines:
        stated = _STATED_RATE.match(line)
        if stated and 1 <= float(stated[1]) <= 1000:
            return exact_rate(float(stated[1]), "The EDL", "rate"), ""
    frames = [int(re.split(r"[:;.,]", time)[-1]) for draft in drafts for time in draft.times if len(time) > 9]
    highest = max(frames, default=0)
    if drops:
        return (Fraction(30000, 1001) if highest < 30 else Fraction(60000, 1001)), ""
    implied = _rate_of_speeds(drafts, highest + 1)
    if implied in _UNAMBIGUOUS_RATES:
        return Fraction(implied), ""
    for count, others in ((24, "23.976"), (25, ""), (30, "29.97"), (50, ""), (60, "59.94"), (100, ""), (120, "119.88")):
        if count == implied or (implied is None and highest < count):
            how = f"set it, for example with --rate {others}" if others else "set it with --rate"
            what = f"does not state its frame rate. It was read at {count} frames per second"
            return Fraction(count), f"{what}; if it has another rate, {how}."
    raise _problem(
        f"The EDL does not state its frame rate, and has a timecode with frame {highest}.",
        "Set it, for example with --rate 24.",
    )


def _rate_of_speeds(drafts: Sequence[_Draft], lowest: int) -> int | None:
    """Return the rate at which the speeds of retimed events agree with their durations, in whole frames per second."""
    for rate in (24, 25, 30, 50, 60):
        exact = Fraction(rate)
        found = [each for draft in drafts for each in [_stated_speed(draft, exact)] if each is not None]
        if rate < lowest or not found or all(fps == rate for fps, _ in found):
            continue
        if all(ratio is not None and abs(fps / rate - ratio) < Fraction(1, 50) for fps, ratio in found):
            return rate
    return None


def _stated_speed(draft: _Draft, rate: Fraction) -> tuple[Fraction, Fraction | None] | None:
    """Return the frames per second of an event's M2 line, and the ratio of its durations at a rate."""
    for comment in draft.comments:
        match = _SPEED.match(comment)
        if match:
            try:
                times = [_frames(time, rate, False) for time in draft.times]
            except ProblemError:
                return Fraction(match["fps"]), None
            source, record = times[1] - times[0], times[3] - times[2]
            return Fraction(match["fps"]), Fraction(source, record) if record else None
    return None


def _frames(time: str, rate: Fraction, drops: bool) -> int:
    """Return a time in frames. Raises ProblemError for a timecode that does not exist at the rate."""
    if time.isdecimal():
        return int(time)
    marked = re.sub(r"[;.](?=\d+[:;.]\d+[:;.,]\d+$|\d+[:;.,]\d+$)", ":", time)
    frames = parse_timecode(marked, rate, drop_frame=drops and uses_drop_frame(rate)) * rate
    return int(frames)


def _events(drafts: Sequence[_Draft], rate: Fraction, drops: bool) -> tuple[list[_Event], list[tuple[int, str]]]:
    """Return the events that can be read, and the line and the reason of the others."""
    events, left_out = [], []
    for draft in drafts:
        try:
            events.append(_event(draft, rate, drops))
        except ProblemError as problem:
            left_out.append((draft.line, problem.what))
    return events, left_out


def _event(draft: _Draft, rate: Fraction, drops: bool) -> _Event:
    number, reel, channel, *edit = draft.fields
    source_in, source_out, record_in, record_out = (_frames(time, rate, drops) for time in draft.times)
    source, record = source_out - source_in, record_out - record_in
    if record < 0:
        raise _problem("Its record out is before its record in.", "")
    if max(source_in, record_out) > _MAX_FRAMES:
        raise _problem("Its timecodes are too large.", "")
    if channel[0].upper() not in "VAB":
        raise _problem(f'Its channel "{shorten_name(channel)}" is neither video nor audio.', "")
    speed = Fraction(source, record) if record and source > 0 else Fraction(1)
    comments = []
    for comment in draft.comments:
        stated = _SPEED.match(comment)
        if stated:
            speed = _exact_speed(Fraction(stated["fps"]) / rate, speed)
        elif _FREEZE.match(comment):
            speed = Fraction(0)
        else:
            comments.append(_retimed_locator(comment, rate, drops))
    kind = edit[0].upper() if edit else "C"
    is_transition = re.fullmatch(r"D|W\d{3}", kind) and len(edit) > 1 and edit[1].isdecimal()
    kept = (kind, edit[1]) if is_transition else ("C",)
    times = (source_in, source_in + record, record_in, record_out)
    return _Event(draft.line, number, reel, channel, kept, times, tuple(comments), speed)


def _exact_speed(stated: Fraction, measured: Fraction) -> Fraction:
    """Return the speed of an M2 line, which has one decimal, as exactly as the durations of its event allow."""
    signed = -measured if stated < 0 else measured
    return signed if stated and abs(signed - stated) < Fraction(1, 100) else stated


def _retimed_locator(comment: str, rate: Fraction, drops: bool) -> str:
    locator = _LOCATOR.match(comment)
    if locator is None:
        return comment
    try:
        frames = _frames(locator[2], rate, drops)
    except ProblemError:
        return comment
    text = locator[3].strip()
    # The adapter takes the first word as the colour, and fails if it is not one.
    colour = "" if text.partition(" ")[0].upper() in _COLOURS else "RED "
    return f"{locator[1]}{_adapter_timecode(frames)} {colour}{text}"


def _adapter_timecode(frames: int) -> str:
    """Return the timecode that the adapter reads as this number of frames."""
    return format_timecode(frames / _ADAPTER_RATE, _ADAPTER_RATE)


def _left_out_notes(left_out: Sequence[tuple[int, str]], name: str) -> list[str]:
    notes = [f"The event in line {line} of {name} was left out. {why}" for line, why in left_out[:_MAX_NOTED_LINES]]
    if len(left_out) > len(notes):
        notes.append(f"{len(left_out) - len(notes)} further events of {name} were left out.")
    return notes


def _handed_over(events: Sequence[_Event], title: str) -> Iterator[str]:
    """Yield the lines of an EDL that the adapter reads."""
    if title:
        yield f"TITLE: {title}"
    ends: dict[str, int] = defaultdict(lambda: -1)
    used = {event.channel for event in events}
    for number, event in enumerate(sorted(_paired(events), key=lambda event: event.times[2]), start=1):
        channel = event.channel
        lane = 1
        while event.times[2] < ends[channel]:
            lane += 1
            channel = f"{event.channel}-{lane}"
            while channel in used:
                channel += "'"
        is_first = ends[channel] < 0
        ends[channel] = event.times[3]
        # The adapter takes the number of a frame modulo its own day, which is shorter than a day at higher rates.
        times = " ".join(map(_adapter_timecode, event.times))
        if len(event.edit) > 1 and not is_first:
            begin = " ".join(_adapter_timecode(event.times[index]) for index in (0, 0, 2, 2))
            yield f"{number} {event.reel} {channel} C {begin}"
            yield f"{number} {event.reel} {channel} {' '.join(event.edit)} {times}"
        else:
            yield f"{number} {event.reel} {channel} C {times}"
        yield from _named(event)
        if event.speed != 1:
            yield f"* {_MARK} {event.speed}"


def _paired(events: Sequence[_Event]) -> Iterator[_Event]:
    """Yield the events without the empty first halves of transitions. The second half has the comments of both."""
    for index, event in enumerate(events):
        after = events[index + 1] if index + 1 < len(events) else None
        is_half = after is not None and after.number == event.number and len(after.edit) > 1
        if is_half and event.times[2] == event.times[3]:
            continue
        yield event


def _named(event: _Event) -> Iterator[str]:
    """Yield the comments of an event. After a transition, the clip is the one that it leads to."""
    names_next = len(event.edit) > 1 and any(_TO_NAME.match(comment) for comment in event.comments)
    for comment in event.comments:
        if names_next and _FROM_NAME.match(comment):
            continue
        yield _TO_NAME.sub("* FROM CLIP NAME:", comment) if names_next else comment


def _finished(timeline: otio.schema.Timeline, rate: Fraction) -> otio.schema.Timeline:
    """Give all times their rate, and the clips their speed."""
    document = json.loads(timeline.to_json_string(indent=-1))
    _set_rate(document, float(rate))
    finished = otio.adapters.read_from_string(json.dumps(document), "otio_json")
    for clip in finished.find_clips():
        held = clip.metadata.get("cmx_3600")
        comments = list(held["comments"]) if held is not None and "comments" in held else []
        kept = [comment for comment in comments if not comment.startswith(_MARK)]
        if len(kept) == len(comments):
            continue
        speed = Fraction(next(comment for comment in comments if comment.startswith(_MARK)).split()[1])
        clip.effects.append(
            otio.schema.LinearTimeWarp(time_scalar=float(speed)) if speed else otio.schema.FreezeFrame()
        )
        if kept:
            held["comments"] = kept
        else:
            del held["comments"]
            if not len(held):
                del clip.metadata["cmx_3600"]
    return finished


def _set_rate(value: Any, rate: float) -> None:
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            has_rate = str(current.get("OTIO_SCHEMA")).startswith(("RationalTime.", "ImageSequenceReference."))
            if has_rate and current["rate"] == float(_ADAPTER_RATE):
                current["rate"] = rate
            pending += current.values()
        elif isinstance(current, list):
            pending += current


def _problem(what: str, remedy: str) -> ProblemError:
    return ProblemError(what, remedy, ProblemKind.TIMELINE)
