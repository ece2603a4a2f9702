"""Reads OpenTimelineIO: the exact media range of a clip, and the clips of a timeline that have a prompt.

Files from real tools are often wrong, so everything is checked: a ProblemError names the clip and the reason.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY, ClipSettings, read_clip_settings
from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine.exact_time import MAX_TIME_S
from rewas_server.otio.names import shorten_name
from rewas_server.otio.schemas import describe_read_error

_NTSC_TOLERANCE_HZ = 0.005
"""Tools write 23.976, 23.98 and 29.97 for n * 1000/1001."""
_MAX_NESTING_DEPTH = 64
_MAX_RATE_HZ = 2**53
"""Larger numbers are not exact in OTIO's JSON."""
_ITEM_LABELS = {otio.schema.Gap: "gap", otio.schema.Track: "track", otio.schema.Stack: "stack"}


@dataclass(frozen=True)
class ClipSource:
    """The media range of an OTIO clip.

    Attributes:
        name: Of the clip, or of its media file; shortened if it is long.
        target_url: Location of the media, as in the clip.
        start_s: From the first frame of the media.
        duration_s: None means up to the end of the media.
        frame_rate: Of the clip; None if the clip does not specify it.
        timecode_s: Timecode of the media at the clip's start, in seconds since midnight.
    """

    name: str
    target_url: str
    start_s: Fraction
    duration_s: Fraction | None
    frame_rate: Fraction | None
    timecode_s: Fraction


@dataclass(frozen=True)
class PromptedClip:
    """A clip of a timeline that has a prompt.

    Attributes:
        source: The visible media range, trimmed by the parents of the clip.
        position_s: Start on the timeline, from its first frame.
        duration_s: Visible duration.
        frame_rate: Of the clip.
    """

    source: ClipSource
    settings: ClipSettings
    position_s: Fraction
    duration_s: Fraction
    frame_rate: Fraction


def parse_clip(text: str) -> otio.schema.Clip:
    """Parse a clip in OTIO JSON. Raises ProblemError (TIMELINE)."""
    return _parse(text, otio.schema.Clip, "clip")


def parse_timeline(text: str) -> otio.schema.Timeline:
    """Parse a timeline in OTIO JSON. Raises ProblemError (TIMELINE)."""
    return _parse(text, otio.schema.Timeline, "timeline")


def read_clip_source(clip: otio.schema.Clip) -> ClipSource:
    """Return the media range of a clip.

    Raises ProblemError (TIMELINE) for a clip without a media file, a retimed clip, or an invalid range.
    """
    owner = clip_label(clip)
    _check_not_retimed(clip, owner)
    url = _target_url(clip, owner)
    available = clip.media_reference.available_range
    chosen = clip.source_range or available
    if chosen is None:
        return ClipSource(_name(clip, url), url, Fraction(0), None, None, Fraction(0))
    timecode_s = exact_seconds(chosen.start_time, owner, "start")
    duration_s = exact_seconds(chosen.duration, owner, "duration")
    if duration_s <= 0:
        raise _timeline_problem(f"{owner} has a duration of {float(duration_s):g} s.", "Give it at least one frame.")
    media_start_s = exact_seconds(available.start_time, owner, "media start") if available is not None else Fraction(0)
    start_s = timecode_s - media_start_s
    rate = exact_rate(chosen.duration.rate, owner, "duration")
    # Rounded timecodes shift ranges slightly; a thousandth of a frame does not matter.
    tolerance_s = 1 / rate / 1000
    if available is not None:
        end_s = exact_seconds(available.duration, owner, "media duration")
        if start_s < -tolerance_s or start_s + duration_s > end_s + tolerance_s:
            raise _timeline_problem(
                f"{owner} shows {float(start_s):g} s to {float(start_s + duration_s):g} s of its media, "
                f"which spans 0 s to {float(end_s):g} s.",
                "Trim the clip to its media, or correct the media's available range.",
            )
    elif start_s < 0:
        raise _timeline_problem(
            f"{owner} starts {float(-start_s):g} s before its media.", "Trim the clip to its media."
        )
    return ClipSource(_name(clip, url), url, max(start_s, Fraction(0)), duration_s, rate, timecode_s)


def find_prompted_clips(timeline: otio.schema.Timeline) -> list[PromptedClip]:
    """Return the clips on video tracks that have a prompt in metadata["rewas"], by position.

    Disabled clips and tracks are skipped. A transition does not move its neighbours: the sound of each clip covers its
    own range, up to the cut in the middle of the transition.

    Raises ProblemError (TIMELINE) for the first clip with an invalid range or position.
    """
    found = []
    for clip, retimed_by, begin_s, shown in _clips_in(timeline.tracks, None, Fraction(0), None, 0):
        if not _wants_sound(clip):
            continue
        owner = clip_label(clip)
        if retimed_by is not None:
            raise _retiming_problem(owner, retimed_by)
        settings = read_clip_settings(clip)
        assert settings is not None
        source = read_clip_source(clip)
        position_s, end_s = shown
        if end_s <= position_s:
            continue
        if position_s < 0:
            raise _timeline_problem(f"{owner} starts before the timeline.", "Move it after the timeline's first frame.")
        hidden_s = position_s - begin_s
        source = replace(
            source,
            start_s=source.start_s + hidden_s,
            timecode_s=source.timecode_s + hidden_s,
            duration_s=end_s - position_s,
        )
        rate = source.frame_rate or Fraction(24)
        found.append(PromptedClip(source, settings, position_s, end_s - position_s, rate))
    return sorted(found, key=lambda prompted: prompted.position_s)


def timeline_start_s(timeline: otio.schema.Timeline) -> Fraction:
    """Return the timecode of a timeline's first frame, in seconds. Raises ProblemError for an invalid one."""
    start = timeline.global_start_time
    return (
        Fraction(0)
        if start is None
        else exact_seconds(start, f'The timeline "{shorten_name(timeline.name)}"', "start timecode")
    )


def exact_rate(rate: float, owner: str, field: str) -> Fraction:
    """Return the exact rate: 23.976 and 23.98 are 24000/1001.

    Args:
        rate: Frames or samples per second.
        owner: What has the rate, for errors: 'The clip "shot"'.
        field: Its time with the rate: "start".

    Raises ProblemError for an invalid rate.
    """
    if not math.isfinite(rate) or not 0 < rate <= _MAX_RATE_HZ:
        raise _timeline_problem(
            f"{owner} has a {field} at a rate of {rate:g}.", f"Use a rate above 0, up to {_MAX_RATE_HZ:g}."
        )
    if abs(rate - round(rate)) < 1e-6:
        return Fraction(round(rate)) if round(rate) else Fraction(str(rate))
    base = round(rate * 1.001)
    if base and abs(rate - base * 1000 / 1001) < _NTSC_TOLERANCE_HZ:
        return Fraction(base * 1000, 1001)
    return Fraction(str(rate))


def exact_seconds(time: otio.opentime.RationalTime, owner: str, field: str) -> Fraction:
    """Return an OTIO time in seconds. Floating-point values become the fractions they stand for.

    Args:
        time: The time.
        owner: What has the time, for errors: 'The clip "shot"'.
        field: Which of its times: "start".

    Raises ProblemError for a time that is not finite or longer than MAX_TIME_S, and for an invalid rate.
    """
    if not math.isfinite(time.value):
        raise _timeline_problem(f"{owner} has a {field} of {time.value}.", "Use finite times.")
    seconds = Fraction(time.value).limit_denominator(100_000) / exact_rate(time.rate, owner, field)
    if abs(seconds) > MAX_TIME_S:
        raise _timeline_problem(
            f"{owner} has a {field} of {time.value:g} at a rate of {time.rate:g}, which is longer than any film.",
            f"Use times up to {MAX_TIME_S:g} s.",
        )
    return seconds


def rational_time(seconds: Fraction, rate: Fraction) -> otio.opentime.RationalTime:
    """Return seconds as an OTIO time at a rate, with a fractional value if necessary."""
    return otio.opentime.RationalTime(float(seconds * rate), float(rate))


def clip_label(item: otio.core.SerializableObjectWithMetadata) -> str:
    """Return how error messages refer to a clip, or to another item of a timeline."""
    kind = next((label for known, label in _ITEM_LABELS.items() if isinstance(item, known)), "clip")
    return f'The {kind} "{shorten_name(item.name)}"' if item.name else f"A {kind} without a name"


def _parse(text: str, schema: type, kind: str) -> Any:
    try:
        # OTIO's reader overflows the stack on deep nesting and crashes the process; Python's reader only raises.
        json.loads(text)
        item = otio.adapters.read_from_string(text, "otio_json")
    except MemoryError:
        raise
    except Exception as error:  # The reader raises all kinds of C++ errors.
        raise _timeline_problem(*describe_read_error(f"The {kind}", text, error)) from error
    if not isinstance(item, schema):
        raise _timeline_problem(
            f"An OpenTimelineIO {kind} was expected, but this is a {type(item).__name__}.",
            f"Send the JSON of one otio.schema.{schema.__name__}.",
        )
    return item


def _target_url(clip: otio.schema.Clip, owner: str) -> str:
    reference = clip.media_reference
    if isinstance(reference, otio.schema.ExternalReference) and reference.target_url:
        return str(reference.target_url)
    if isinstance(reference, otio.schema.GeneratorReference):
        reason = f"shows a generator ({shorten_name(reference.generator_kind or 'of unknown kind')}), not a media file"
        remedy = "Render it to a movie file, or remove its prompt."
    elif isinstance(reference, otio.schema.ImageSequenceReference):
        reason = "shows an image sequence"
        remedy = (
            "Render it to a movie file and relink the clip, or add a movie file, such as a proxy, as another media "
            "reference and make it the active one."
        )
    else:
        reason, remedy = "has no media file", "Relink the clip."
    for key, other in clip.media_references().items():
        if isinstance(other, otio.schema.ExternalReference) and other.target_url:
            file_name = shorten_name(_last_part(str(other.target_url)))
            remedy = f'Make its media reference "{shorten_name(key)}" ({file_name}) the active one.'
            break
    raise _timeline_problem(f"{owner} {reason}.", remedy)


def _wants_sound(clip: otio.schema.Clip) -> bool:
    ours = clip.metadata.get(METADATA_KEY)
    if ours is None:
        return False
    if not hasattr(ours, "items"):
        read_clip_settings(clip)  # raises an error with the reason
    if ours.get("prompt") is None:
        return False
    if isinstance(ours["prompt"], str) and not ours["prompt"].strip():
        raise _timeline_problem(
            f"{clip_label(clip)} has an empty prompt.", "Describe the sound, or remove the empty prompt."
        )
    return True


Shown = tuple[Fraction, Fraction]


def _clips_in(
    item: otio.core.Composable,
    retimed_by: otio.schema.TimeEffect | None,
    begin_s: Fraction,
    window: Shown | None,
    depth: int,
) -> Iterator[tuple[otio.schema.Clip, otio.schema.TimeEffect | None, Fraction, Shown]]:
    """Yield the clips below an item. begin_s: its trimmed start on the timeline. window: its visible range."""
    if depth > _MAX_NESTING_DEPTH:
        raise _timeline_problem("The timeline is nested too deeply.", f"Use at most {_MAX_NESTING_DEPTH} levels.")
    if isinstance(item, otio.schema.Transition | otio.schema.Gap) or not getattr(item, "enabled", True):
        return
    if isinstance(item, otio.schema.Clip):
        shown = _within((begin_s, begin_s + _duration_s(item)), window) if _wants_sound(item) else (begin_s, begin_s)
        yield item, retimed_by, begin_s, shown
        return
    if not isinstance(item, otio.core.Composition):
        return
    if isinstance(item, otio.schema.Track) and item.kind != otio.schema.TrackKind.Video:
        return
    retimed_by = retimed_by or _find_retiming(item)
    own_begin_s = begin_s
    if item.source_range is not None:
        window = _within((begin_s, begin_s + _duration_s(item)), window)
        own_begin_s -= exact_seconds(item.source_range.start_time, clip_label(item), "start")
    for child in item:
        yield from _clips_in(child, retimed_by, own_begin_s, window, depth + 1)
        if isinstance(item, otio.schema.Track):
            own_begin_s += _duration_s(child)


def _within(span: Shown, window: Shown | None) -> Shown:
    return span if window is None else (max(span[0], window[0]), min(span[1], window[1]))


def _duration_s(item: otio.core.Composable) -> Fraction:
    """Return the duration of an item in its parent."""
    if isinstance(item, otio.schema.Transition):
        return Fraction(0)
    owner = clip_label(item)
    if item.source_range is not None:
        duration_s = exact_seconds(item.source_range.duration, owner, "duration")
    elif isinstance(item, otio.schema.Track):
        duration_s = sum((_duration_s(child) for child in item), Fraction(0))
    elif isinstance(item, otio.core.Composition):
        duration_s = max((_duration_s(child) for child in item), default=Fraction(0))
    elif isinstance(item, otio.schema.Clip) and item.media_reference and item.media_reference.available_range:
        duration_s = exact_seconds(item.media_reference.available_range.duration, owner, "media duration")
    else:
        raise _timeline_problem(f"{owner} has no duration.", "Give it a source range.")
    if duration_s < 0:
        raise _timeline_problem(
            f"{owner} has a duration of {float(duration_s):g} s.", "Give it a duration of 0 s or more."
        )
    return duration_s


def _find_retiming(item: otio.core.Item) -> otio.schema.TimeEffect | None:
    for effect in item.effects:
        plays_as_it_is = isinstance(effect, otio.schema.LinearTimeWarp) and effect.time_scalar == 1
        if isinstance(effect, otio.schema.TimeEffect) and not plays_as_it_is:
            return effect
    return None


def _check_not_retimed(item: otio.core.Item, owner: str) -> None:
    effect = _find_retiming(item)
    if effect is not None:
        raise _retiming_problem(owner, effect)


def _retiming_problem(owner: str, effect: otio.schema.TimeEffect) -> ProblemError:
    scalar = getattr(effect, "time_scalar", None)
    how = f"{effect.schema_name()}, {scalar:g} times its speed" if scalar is not None else effect.schema_name()
    return _timeline_problem(
        f"{owner} is retimed ({how}), and sound can only be generated for video at normal speed.",
        "Render the retimed video to a file and relink the clip, or remove the effect.",
    )


def _name(clip: otio.schema.Clip, url: str) -> str:
    return shorten_name(clip.name or _last_part(url))


def _last_part(url: str) -> str:
    return Path(urlsplit(url).path or url).name or "clip"


def _timeline_problem(what: str, remedy: str) -> ProblemError:
    return ProblemError(what, remedy, ProblemKind.TIMELINE)
