"""Reads CMX 3600 edit decision lists at any frame rate, with OpenTimelineIO's adapter.

The adapter supports few rates, ignores drop-frame counting, and stops at the first unusual event. So each event is read
here first and passed on in a form that the adapter accepts: with all frames counted at one rate, in the order of the
timeline, with equal source and record durations, and with its speed as a comment. Afterwards, the times get their rate
and the clips their speed.

The format has no field for the frame rate. Read at 24 instead of 23.976 frames per second, every sound would be
too short by a thousandth. So an EDL whose rate is uncertain is refused.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import opentimelineio as otio

from rewas_api.errors import ProblemError, TimelineProblem
from rewas_server.otio.exact_times import exact_rate
from rewas_server.otio.frame_timeline import state_drop_frame
from rewas_server.otio.names import shorten_name
from rewas_server.timecode import format_timecode, frames_per_day, parse_timecode, uses_drop_frame

_ADAPTER_RATE = Fraction(24)
_UNAMBIGUOUS_RATES = (25, 50)
"""The timecode of other rates is also used at 1000/1001 of the rate."""
_BASES = (24, 25, 30, 50, 60, 100, 120)
"""Frames per second of timecode."""
_RATE_NAMES = {24: "23.976, 24", 30: "29.97, 30", 60: "59.94, 60", 120: "119.88, 120"}
_CERTAINTY = Fraction(1, 1000)
"""The rate is certain if, at the next higher rate, a smaller share of EDLs with as many timecodes would have no higher
frame number."""
_MARK = "REWAS-SPEED"
_MAX_NOTED_LINES = 5
_MAX_FRAMES = 99 * 3600 * 24
"""The adapter reads timecodes of up to 99 hours."""
_EDIT = re.compile(r"C|D\s+\d+|W\d{3}\s+\d+|K(?:\s*[BO])?(?:\s+\d+)?", re.IGNORECASE)
_CHANNEL = r"(?:V\d*|A{1,2}\d*|B)(?:/V\d*|/A\d*)*"
_HEAD = re.compile(rf"(\d+)\s+(.*?)\s+({_CHANNEL})\s+({_EDIT.pattern})", re.IGNORECASE)
"""An event before its times. The name of a reel may contain spaces."""
_TIME = re.compile(r"\d{1,2}[:;.]\d{1,2}[:;.]\d{1,2}[:;.,]\d{1,3}|\d{1,9}")
_STATED_RATE = re.compile(r"^\W*(?:FRAME[ _]?RATE|FPS|TIMEBASE)\s*[:=]?\s*(\d+(?:\.\d+)?)", re.IGNORECASE)
_SPEED = re.compile(r"^M2\s+(?P<reel>.*?)\s*(?P<fps>-?\d+(?:\.\d*)?)\s+(?P<at>[\d:;.]{8,})\s*$")
_FREEZE = re.compile(r"^\*?\s*\*?\s*FREEZE FRAME", re.IGNORECASE)
_COLOURS = frozenset(name for name in vars(otio.schema.MarkerColor) if name.isupper())
_LOCATOR = re.compile(r"^(\*\s*LOC:?\s*)(\d\d[:;]\d\d[:;]\d\d[:;.,]\d{2,3})(.*)$")
_SIDE = re.compile(r"^\*?\s*(?P<side>FROM|TO) (?P<what>CLIP NAME|CLIP|FILE):\s*(?P<text>.*)", re.IGNORECASE)
_RESOLVE_MARKER = re.compile(r"\|C:\w+\s*\|M:.*$")
"""What DaVinci Resolve adds to the note of a marker: its colour, its name and its duration."""
_SOURCE_FILE = re.compile(r"^\*?\s*SOURCE FILE:\s*(?P<text>.*)", re.IGNORECASE)


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
        raise TimelineProblem(f"{name} does not contain EDL events.", "Export it again as CMX 3600, or as .otio.")
    drops = _counts_drop_frame(lines, drafts)
    if rate is None:
        rate, note = _find_rate(lines, drafts, drops, name)
        notes += [note] if note else []
    events, left_out = _events(drafts, rate, drops)
    notes += _left_out_notes(left_out, name)
    if not events:
        raise TimelineProblem(f"No event of {name} can be read. {left_out[0][1]}", "Export it again, or set --rate.")
    title = next((line.partition(":")[2].strip() for line in lines if line.lstrip().startswith("TITLE:")), "")
    # The adapter splits lines at spaces.
    used = {event.reel for event in events}
    free = (token for number in itertools.count() if (token := f"REEL-{number}") not in used)
    reels = {next(free): reel for reel in sorted(used) if " " in reel}
    tokens = {reel: token for token, reel in reels.items()}
    events = [replace(event, reel=tokens.get(event.reel, event.reel)) for event in events]
    timeline = otio.adapters.read_from_string(
        "\n".join(_handed_over(events, title)), "cmx_3600", rate=float(_ADAPTER_RATE)
    )
    finished = _finished(timeline, rate, reels)
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
            head = _HEAD.fullmatch(" ".join(fields[:-4]))
            first = [*head.groups()[:3], *head[4].split()] if head else fields[:-4]
            current = _Draft(number, first, fields[-4:])
        elif current is not None and fields and not line.lstrip().startswith(("TITLE:", "FCM", "SPLIT")):
            current.comments.append(line.strip())
    if current is not None:
        yield current


def _counts_drop_frame(lines: Sequence[str], drafts: Sequence[_Draft]) -> bool:
    modes = [line.upper() for line in lines if line.lstrip().upper().startswith("FCM")]
    if any("DROP" in mode and "NON" not in mode for mode in modes):
        return True
    return any(re.search(r"[;,]\d+$", time) for draft in drafts for time in draft.times[2:])


def _find_rate(lines: Sequence[str], drafts: Sequence[_Draft], drops: bool, name: str) -> tuple[Fraction, str]:
    """Return the rate that an EDL states or its timecodes prove, and a note on how it was found ("" if it is stated).

    Raises ProblemError (TIMELINE) if several rates are possible.
    """
    for line in lines:
        stated = _STATED_RATE.match(line)
        if stated and 1 <= float(stated[1]) <= 1000:
            return exact_rate(float(stated[1]), "The EDL", "rate"), ""
    timecodes = {time for draft in drafts for time in draft.times if not time.isdecimal()}
    highest = max((int(re.split(r"[:;.,]", time)[-1]) for time in timecodes), default=0)
    if drops:
        return (Fraction(30000, 1001) if highest < 30 else Fraction(60000, 1001)), ""
    implied = _rate_of_speeds(drafts, highest + 1)
    if implied in _UNAMBIGUOUS_RATES:
        return Fraction(implied), ""
    possible = [base for base in _BASES if base == implied or (implied is None and base > highest)]
    if (
        len(possible) > 1
        and possible[0] in _UNAMBIGUOUS_RATES
        and Fraction(possible[0], possible[1]) ** len(timecodes) < _CERTAINTY
    ):
        why = f"because no frame number of its {len(timecodes)} timecodes is higher than {highest}"
        return Fraction(possible[0]), f"{name} was read at {possible[0]} frames per second, {why}."
    listed = ", ".join(_RATE_NAMES.get(base, str(base)) for base in possible if base <= max(60, possible[0]))
    raise TimelineProblem(
        f"{name} does not state its frame rate, but has the frame number {highest}."
        if not listed
        else f"{name} does not state its frame rate, and several rates fit its timecodes.",
        f"Set it with --rate: {listed.rpartition(', ')[0]} or {listed.rpartition(', ')[2]}."
        if listed
        else "Set it with --rate, for example --rate 24.",
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
    # Where semicolons mark drop-frame timecode, colons mark the other kind, which sources may have.
    is_marked = any(re.search(r";\d+$", time) for draft in drafts for time in draft.times)
    day = frames_per_day(rate, drops and uses_drop_frame(rate))
    events: list[_Event] = []
    left_out = []
    before = 0
    for draft in drafts:
        try:
            event = _event(draft, rate, drops, is_marked, day)
        except ProblemError as problem:
            left_out.append((draft.line, problem.what))
            continue
        # A programme may run past midnight, and the sounds may follow after all pictures: each event is on the day on
        # which it is closest to the one before.
        shift = max(0, (before - event.times[2] + day // 2) // day) * day
        times = (*event.times[:2], event.times[2] + shift, event.times[3] + shift)
        before = times[2]
        if max(times) > _MAX_FRAMES:
            left_out.append((draft.line, "Its timecodes are too large."))
            continue
        events.append(replace(event, times=times))
    return events, left_out


def _event(draft: _Draft, rate: Fraction, drops: bool, is_marked: bool, day: int) -> _Event:
    """Return an event. Raises ProblemError if it cannot be read.

    Args:
        draft: The event with its times as text.
        rate: Frames per second.
        drops: Whether its record timecodes are drop-frame.
        is_marked: Whether semicolons tell which timecodes are drop-frame.
        day: Frames of a day.
    """
    number, reel, channel, *edit = draft.fields
    if channel[0].upper() not in "VAB":
        raise TimelineProblem(f'Its channel "{shorten_name(channel)}" is neither video nor audio.', "")
    source_in, source_out = (_frames(time, rate, drops and (not is_marked or ";" in time)) for time in draft.times[:2])
    record_in, record_out = (_frames(time, rate, drops) for time in draft.times[2:])
    if record_out < record_in - day // 2:
        record_out += day
    if record_out < record_in:
        raise TimelineProblem("Its record out is before its record in.", "")
    kind = edit[0].upper() if edit else "C"
    is_transition = bool(re.fullmatch(r"D|W\d{3}", kind)) and len(edit) > 1 and edit[1].isdecimal()
    stated, comments = _comments(draft, rate, drops, is_transition)
    if source_out < source_in - day // 2:
        source_out += day
    if source_out < source_in:
        if stated is None or stated >= 0:
            raise TimelineProblem("Its source out is before its source in.", "")
        source_in, source_out = source_out, source_in
    source, record = source_out - source_in, record_out - record_in
    # An event without a duration in its source shows one frame.
    measured = Fraction(source, record) if record else Fraction(1)
    speed = measured if stated is None else _exact_speed(stated, measured)
    kept = (kind, edit[1]) if is_transition else ("C",)
    times = (source_in, source_in + record, record_in, record_out)
    return _Event(draft.line, number, reel, channel.upper(), kept, times, tuple(comments), speed)


def _comments(draft: _Draft, rate: Fraction, drops: bool, is_transition: bool) -> tuple[Fraction | None, list[str]]:
    """Return the speed that the comments of an event state, and the other comments.

    A transition may state the speeds of both sides. The event has the speed of its reel, or else the later one.
    """
    speeds: list[tuple[bool, Fraction]] = []
    comments = []
    for comment in draft.comments:
        stated = _SPEED.match(comment)
        if stated:
            is_own = " ".join(stated["reel"].split()) == " ".join(draft.fields[1].split())
            speeds.append((is_own, Fraction(stated["fps"]) / rate))
        elif _FREEZE.match(comment):
            speeds.append((True, Fraction(0)))
        elif not _STATED_RATE.match(comment):
            comments.append(_retimed_locator(_RESOLVE_MARKER.sub("", comment).rstrip(), rate, drops))
    if is_transition:
        speeds = [each for each in speeds if each[0]]
    return (speeds[-1][1] if speeds else None), comments


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
    before: dict[str, _Event] = {}
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
        times = [_adapter_timecode(frames) for frames in event.times]
        if len(event.edit) > 1 and not is_first:
            begin = " ".join((times[0], times[0], times[2], times[2]))
            yield f"{number} {event.reel} {channel} C {begin}"
            yield f"{number} {event.reel} {channel} {' '.join(event.edit)} {' '.join(times)}"
        else:
            yield f"{number} {event.reel} {channel} C {' '.join(times)}"
        yield from _named(event, before.get(event.channel))
        before[event.channel] = event
        if event.speed != 1:
            yield f"* {_MARK} {event.speed}"


def _paired(events: Sequence[_Event]) -> Iterator[_Event]:
    """Yield the events without the empty first halves of transitions, whose notes the second halves get."""
    notes: tuple[str, ...] = ()
    for index, event in enumerate(events):
        after = events[index + 1] if index + 1 < len(events) else None
        is_half = after is not None and after.number == event.number and len(after.edit) > 1
        if is_half and event.times[2] == event.times[3]:
            notes = tuple(comment for comment in event.comments if not _SIDE.match(comment))
            continue
        yield replace(event, comments=(*notes, *event.comments)) if notes else event
        notes = ()


def _named(event: _Event, before: _Event | None) -> Iterator[str]:
    """Yield the comments of an event as the adapter reads them: FROM names its clip.

    After a transition, the clip is the one that it leads to. TO and the later SOURCE FILE describe that clip. FROM may
    describe it too, if it does not repeat the previous event.
    """
    is_transition = len(event.edit) > 1
    sides = [match for comment in event.comments if (match := _SIDE.match(comment))]
    named_by_to = {match["what"].upper() == "CLIP NAME" for match in sides if match["side"].upper() == "TO"}
    earlier = {match["text"] for comment in before.comments if (match := _SIDE.match(comment))} if before else set()
    # Some programs use one name for all reels.
    is_other = True in named_by_to or (before is not None and before.reel != event.reel)
    kept = []
    for match in sides:
        is_to, is_name = match["side"].upper() == "TO", match["what"].upper() == "CLIP NAME"
        is_outgoing = is_name in named_by_to or (is_other and match["text"] in earlier)
        if (is_transition and (is_to or not is_outgoing)) or not (is_transition or is_to):
            kept.append(match)
    files = [match["text"] for comment in event.comments if (match := _SOURCE_FILE.match(comment))]
    if files and all(match["what"].upper() == "CLIP NAME" for match in kept):
        yield f"* FROM FILE: {files[-1]}"
    yield from (f"* FROM {match['what'].upper()}: {match['text']}" for match in kept)
    yield from (comment for comment in event.comments if not _SIDE.match(comment))


def _finished(timeline: otio.schema.Timeline, rate: Fraction, reels: Mapping[str, str]) -> otio.schema.Timeline:
    """Give all times their rate, and the clips their speed and reel. reels: names by those that the adapter got."""
    document = json.loads(timeline.to_json_string(indent=-1))
    _set_rate(document, float(rate))
    finished = otio.adapters.read_from_string(json.dumps(document), "otio_json")
    for clip in finished.find_clips():
        held = clip.metadata.get("cmx_3600")
        if held is not None and "reel" in held and held["reel"] in reels:
            held["reel"] = reels[held["reel"]]
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
