"""A timeline on whole frames of one rate, as EDL, AAF and FCP XML need it.

Such formats support one rate, whole frames, and little more than clips and gaps. This module converts a timeline to
what they support. Every position is computed exactly and rounded once, so that errors never add up.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY
from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.otio.clips import constant_speed, timeline_frame_rate, timeline_start_s
from rewas_server.otio.exact_times import exact_rate, exact_seconds, rational_time
from rewas_server.otio.names import shorten_name
from rewas_server.timecode import uses_drop_frame

DROP_FRAME_KEY = "drop_frame"
"""In our metadata of a timeline: whether its timecode is drop-frame."""
_DROP_FRAME_KEYS = (METADATA_KEY, DROP_FRAME_KEY), ("fcp_xml", "timecode", "displayformat"), ("fcpx", "tcFormat")
"""Where the metadata of a timeline states whether its timecode is drop-frame."""


@dataclass(frozen=True)
class PlacedItem:
    """A child of a track, where it is shown.

    Attributes:
        item: The child.
        start_s: From the start of the track's parent.
        duration_s: As shown.
        hidden_s: How much of the child's beginning the track's range hides.
    """

    item: otio.core.Composable
    start_s: Fraction
    duration_s: Fraction
    hidden_s: Fraction

    def hidden_media_s(self) -> Fraction:
        """Return the time from the start of the range of a clip to the first frame of its media that is shown.

        Backwards, the first frame is shown last. A variable speed counts as the normal one.
        """
        speed = constant_speed(self.item)
        if speed is None:
            return self.hidden_s
        if speed < 0:
            return (shown_duration_s(self.item) - self.hidden_s - self.duration_s) * -speed
        return self.hidden_s * speed


def is_drop_frame(timeline: otio.schema.Timeline, rate: Fraction) -> bool:
    """Whether the timecode of a timeline is drop-frame: as its file states, otherwise always at 29.97 and 59.94."""
    if not uses_drop_frame(rate):
        return False
    for keys in _DROP_FRAME_KEYS:
        value: object = timeline.metadata
        for key in keys:
            value = value.get(key) if hasattr(value, "get") else None
        if value is not None:
            return value in (True, "DF")
    return True


def state_drop_frame(timeline: otio.schema.Timeline, is_drop: bool) -> None:
    """State whether the timecode of a timeline is drop-frame. This changes how frames are counted, but moves nothing.

    Raises ProblemError (SETTINGS) if drop-frame timecode does not exist at its rate.
    """
    rate = timeline_frame_rate(timeline)
    if is_drop and not uses_drop_frame(rate):
        raise ProblemError(
            f"Drop-frame timecode does not exist at {float(rate):.5g} frames per second.",
            "Use it at 29.97 or 59.94 frames per second, or leave it out.",
            ProblemKind.SETTINGS,
        )
    ours = timeline.metadata.get(METADATA_KEY)
    timeline.metadata[METADATA_KEY] = {**(ours if hasattr(ours, "items") else {}), DROP_FRAME_KEY: is_drop}


def check_frame_rate(rate: Fraction, title: str) -> None:
    """Check that a format of whole frames supports a rate. Raises ProblemError (TIMELINE)."""
    if rate.denominator == 1 or (rate * Fraction(1001, 1000)).denominator == 1:
        return
    raise ProblemError(
        f"{title} does not support {float(rate):g} frames per second.",
        "Write it as .otio, or set the timeline to 24, 25, 30, 50 or 60 frames per second, or to an NTSC rate.",
        ProblemKind.TIMELINE,
    )


def placed_items(track: otio.schema.Track) -> Iterator[PlacedItem]:
    """Yield the children of a track in the coordinates of its parent, trimmed to the range that the track shows.

    Transitions have no duration and are at the cut. A range that starts before the first child, which EDL readers use
    for a record timecode, moves the children and hides none.
    """
    begin_s = Fraction(0)
    end_s: Fraction | None = None
    if track.source_range is not None:
        begin_s = exact_seconds(track.source_range.start_time, _label(track), "start")
        if begin_s >= 0:
            end_s = begin_s + exact_seconds(track.source_range.duration, _label(track), "duration")
    reached_s = Fraction(0)
    for child in track:
        duration_s = shown_duration_s(child)
        first_s, last_s = max(reached_s, begin_s), reached_s + duration_s
        if end_s is not None:
            last_s = min(last_s, end_s)
        if last_s > first_s or (isinstance(child, otio.schema.Transition) and last_s == first_s):
            yield PlacedItem(child, first_s - begin_s, last_s - first_s, first_s - reached_s)
        reached_s += duration_s


def _flat_items(track: otio.schema.Track) -> Iterator[PlacedItem]:
    """Yield the transitions of a track, and its clips with those of nested stacks.

    A track with a speed has no transitions, because its clips are placed as those of a nested track are.
    """
    if constant_speed(track) not in (None, 1):
        yield from _clips_of(PlacedItem(track, Fraction(0), shown_duration_s(track), Fraction(0)), track.kind)
        return
    for placed in placed_items(track):
        if isinstance(placed.item, otio.core.Composition):
            yield from _clips_of(placed, track.kind)
        else:
            yield placed


def placed_clips(track: otio.schema.Track) -> Iterator[PlacedItem]:
    """Yield the clips of a track, also those in nested stacks and tracks, as `placed_items` does.

    Of nested video tracks, only the parts that no higher track covers are included. The clips of a nested timeline with
    a constant speed are copies that have this speed. If it is 0, its sounds are silent and left out.
    """
    return (placed for placed in _flat_items(track) if isinstance(placed.item, otio.schema.Clip))


def _clips_of(outer: PlacedItem, kind: str) -> list[PlacedItem]:
    return sorted(_clips_inside(outer, kind), key=lambda placed: placed.start_s)


def _clips_inside(outer: PlacedItem, kind: str) -> Iterator[PlacedItem]:
    item = outer.item
    speed = constant_speed(item)
    # Programs play a nested timeline at a variable speed at normal speed, as they do with such a clip.
    speed = Fraction(1) if speed is None else speed
    is_picture = kind == otio.schema.TrackKind.Video
    if speed == 0 and not is_picture:
        return
    content_s = outer.hidden_s * speed
    if item.source_range is not None:
        content_s += exact_seconds(item.source_range.start_time, _label(item), "start")
    if speed < 0:
        content_s -= shown_duration_s(item) * speed
    seen = _Seen(outer, content_s, speed)
    covered: list[tuple[Fraction, Fraction]] = []
    for track in reversed([item] if isinstance(item, otio.schema.Track) else list(item)):
        inner = _track_inside(track, kind)
        if inner is None:
            continue
        if track is item:
            inner.source_range = None
            inner.effects.clear()
        found = []
        for placed in placed_clips(inner):
            span = seen.span_of(placed)
            for first_s, last_s in _without(span, covered if is_picture else []):
                yield seen.shown(placed, first_s, last_s)
            if placed.item.enabled:
                found.append(span)
        covered = _merged([*covered, *found])


def _track_inside(child: otio.core.Composable, kind: str) -> otio.schema.Track | None:
    """Return a copy of a track of a nested stack, or a track with another child of it; None if it is not shown."""
    if isinstance(child, otio.schema.Track):
        return child.deepcopy() if child.kind == kind and child.enabled else None
    track = otio.schema.Track(kind=kind)
    track.append(child.deepcopy())
    return track


@dataclass(frozen=True)
class _Seen:
    """What the parent of a nested timeline shows of it.

    Attributes:
        outer: The nested timeline in its parent.
        content_s: The time of its content at the start of `outer`.
        speed: Speed of the content; 0 for a freeze frame.
    """

    outer: PlacedItem
    content_s: Fraction
    speed: Fraction

    def span_of(self, placed: PlacedItem) -> tuple[Fraction, Fraction]:
        """Return where a clip of the content is seen, in the parent."""
        begin_s, end_s = placed.start_s, placed.start_s + placed.duration_s
        first_s, last_s = self.outer.start_s, self.outer.start_s + self.outer.duration_s
        if self.speed == 0:
            return (first_s, last_s) if begin_s <= self.content_s < end_s else (first_s, first_s)
        ends_s = sorted(first_s + (time_s - self.content_s) / self.speed for time_s in (begin_s, end_s))
        return max(first_s, ends_s[0]), min(last_s, ends_s[1])

    def shown(self, placed: PlacedItem, first_s: Fraction, last_s: Fraction) -> PlacedItem:
        """Return the part of a clip of the content that its parent shows in a span."""
        # The clip outlives the copy of its track.
        clip = placed.item.deepcopy()
        clip_begin_s = placed.start_s - placed.hidden_s
        begin_s = self.content_s + (first_s - self.outer.start_s) * self.speed
        if self.speed == 1:
            return PlacedItem(clip, first_s, last_s - first_s, begin_s - clip_begin_s)
        length_s = shown_duration_s(clip)
        if self.speed == 0:
            _freeze(clip, begin_s - clip_begin_s, length_s, last_s - first_s)
            return PlacedItem(clip, first_s, last_s - first_s, Fraction(0))
        _change_speed(clip, self.speed, length_s / abs(self.speed))
        hidden_s = begin_s - clip_begin_s if self.speed > 0 else clip_begin_s + length_s - begin_s
        return PlacedItem(clip, first_s, last_s - first_s, hidden_s / abs(self.speed))


def _change_speed(clip: otio.schema.Clip, factor: Fraction, duration_s: Fraction) -> None:
    """Multiply the speed of a clip, which is then shown for another duration. A variable speed stays."""
    speed = constant_speed(clip)
    shown = clip.source_range or (None if clip.media_reference is None else clip.media_reference.available_range)
    if speed is None or shown is None:
        return
    _set_speed(clip, speed * factor)
    rate = exact_rate(shown.duration.rate, _label(clip), "duration")
    clip.source_range = otio.opentime.TimeRange(shown.start_time, rational_time(duration_s, rate))


def _freeze(clip: otio.schema.Clip, at_s: Fraction, length_s: Fraction, duration_s: Fraction) -> None:
    """Show one frame of a clip. at_s: from its beginning. length_s: as it was shown before."""
    speed = constant_speed(clip)
    shown = clip.source_range or (None if clip.media_reference is None else clip.media_reference.available_range)
    if shown is None:
        return
    rate = exact_rate(shown.start_time.rate, _label(clip), "start")
    begin_s = exact_seconds(shown.start_time, _label(clip), "start")
    if speed is None or speed >= 0:
        begin_s += at_s * (1 if speed is None else speed)
    else:
        # Backwards, the frame that is shown ends there.
        begin_s += (length_s - at_s) * -speed - 1 / rate
    _set_speed(clip, Fraction(0))
    clip.source_range = otio.opentime.TimeRange(rational_time(begin_s, rate), rational_time(duration_s, rate))


def _set_speed(clip: otio.schema.Clip, speed: Fraction) -> None:
    others = [effect for effect in clip.effects if not isinstance(effect, otio.schema.TimeEffect)]
    if speed != 1:
        others.append(otio.schema.LinearTimeWarp(time_scalar=float(speed)) if speed else otio.schema.FreezeFrame())
    clip.effects[:] = others


def _without(
    span: tuple[Fraction, Fraction], covered: Sequence[tuple[Fraction, Fraction]]
) -> list[tuple[Fraction, Fraction]]:
    """Return the parts of a span that are not covered. covered: in order, without overlaps."""
    first_s, last_s = span
    parts = []
    for place in range(bisect_right(covered, first_s, key=lambda each: each[1]), len(covered)):
        begin_s, end_s = covered[place]
        if begin_s >= last_s:
            break
        if begin_s > first_s:
            parts.append((first_s, begin_s))
        first_s = end_s
    return [*parts, (first_s, last_s)] if last_s > first_s else parts


def _merged(spans: Iterable[tuple[Fraction, Fraction]]) -> list[tuple[Fraction, Fraction]]:
    """Return what spans cover together, in order and without overlaps."""
    merged: list[tuple[Fraction, Fraction]] = []
    for begin_s, end_s in sorted(span for span in spans if span[1] > span[0]):
        if merged and begin_s <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end_s)
        else:
            merged.append((begin_s, end_s))
    return merged


def shown_duration_s(item: otio.core.Composable) -> Fraction:
    """Return the duration of an item in its parent, in seconds. Raises ProblemError (TIMELINE)."""
    if isinstance(item, otio.schema.Transition):
        return Fraction(0)
    if item.source_range is not None:
        return exact_seconds(item.source_range.duration, _label(item), "duration")
    if isinstance(item, otio.schema.Track):
        return sum((shown_duration_s(child) for child in item), Fraction(0))
    if isinstance(item, otio.core.Composition):
        return max((shown_duration_s(child) for child in item), default=Fraction(0))
    reference = getattr(item, "media_reference", None)
    if reference is not None and reference.available_range is not None:
        return exact_seconds(reference.available_range.duration, _label(item), "media duration")
    return Fraction(0)


def on_whole_frames(timeline: otio.schema.Timeline, rate: Fraction) -> otio.schema.Timeline:
    """Return a copy of a timeline with all times in whole frames of one rate.

    Nested stacks and tracks are replaced with their clips, because few programs read the nested timelines of others.

    Every clip has a source range, and an available range that contains it. Items of less than a frame disappear.

    Raises ProblemError (TIMELINE) for invalid times.
    """
    copy = otio.schema.Timeline(
        timeline.name,
        global_start_time=otio.opentime.RationalTime(round_frames(timeline_start_s(timeline), rate), float(rate)),
        metadata=timeline.metadata,
    )
    copy.tracks = _stack(timeline.tracks, rate)
    return copy


def round_frames(seconds: Fraction, rate: Fraction) -> int:
    """Return the nearest frame; half a frame is rounded up."""
    return int((seconds * rate + Fraction(1, 2)) // 1)


def frame_range(start_frames: int, duration_frames: int, rate: Fraction) -> otio.opentime.TimeRange:
    """Return a range of whole frames."""
    return otio.opentime.TimeRange(
        otio.opentime.RationalTime(start_frames, float(rate)), otio.opentime.RationalTime(duration_frames, float(rate))
    )


def _stack(stack: otio.schema.Stack, rate: Fraction) -> otio.schema.Stack:
    copy = otio.schema.Stack(stack.name, metadata=stack.metadata, markers=_markers(stack, rate))
    copy.enabled = stack.enabled
    for child in stack:
        if isinstance(child, otio.schema.Track):
            copy.append(_track(child, rate))
        else:
            # Other objects are put into a track.
            track = otio.schema.Track(kind=otio.schema.TrackKind.Video)
            track.append(child.deepcopy())
            copy.append(_track(track, rate))
    return copy


def _track(track: otio.schema.Track, rate: Fraction) -> otio.schema.Track:
    copy = otio.schema.Track(track.name, kind=track.kind, metadata=track.metadata)
    copy.enabled = track.enabled
    reached = 0
    for placed in _flat_items(track):
        first = round_frames(placed.start_s, rate)
        last = round_frames(placed.start_s + placed.duration_s, rate)
        if isinstance(placed.item, otio.schema.Transition):
            copy.append(_transition(placed.item, rate))
            continue
        if not isinstance(placed.item, otio.schema.Clip) or last <= max(first, reached):
            continue
        if first > reached:
            copy.append(otio.schema.Gap(duration=otio.opentime.RationalTime(first - reached, float(rate))))
        copy.append(_clip(placed.item, placed.hidden_media_s(), last - max(first, reached), rate))
        reached = last
    _drop_loose_transitions(copy)
    return copy


def _clip(clip: otio.schema.Clip, hidden_s: Fraction, duration_frames: int, rate: Fraction) -> otio.schema.Clip:
    copy = clip.deepcopy()
    media = clip.media_reference
    available = None if media is None else media.available_range
    media_start_s = exact_seconds(available.start_time, _label(clip), "media start") if available else Fraction(0)
    start_s = media_start_s
    if clip.source_range is not None:
        start_s = exact_seconds(clip.source_range.start_time, _label(clip), "start")
    # The first frame of the media is rounded once, so that the distance to it determines the picture.
    media_frames = round_frames(media_start_s, rate)
    start_frames = media_frames + round_frames(start_s + hidden_s - media_start_s, rate)
    end_frames = start_frames + duration_frames
    if available is not None:
        # A file that ends within a frame counts as ending with that frame.
        exact_frames = exact_seconds(available.duration, _label(clip), "media duration") * rate
        end_frames = max(end_frames, media_frames - int(-exact_frames // 1))
    copy.source_range = frame_range(start_frames, duration_frames, rate)
    references = {
        key: _reference(reference, min(media_frames, start_frames), end_frames, rate, is_active=reference is media)
        for key, reference in clip.media_references().items()
    }
    copy.set_media_references(references, clip.active_media_reference_key)
    copy.markers[:] = _markers(clip, rate)
    return copy


def _reference(
    reference: otio.core.MediaReference, first: int, end: int, rate: Fraction, *, is_active: bool
) -> otio.core.MediaReference:
    copy = reference.deepcopy()
    if is_active or copy.available_range is None:
        copy.available_range = frame_range(first, end - first, rate)
    return copy


def _transition(transition: otio.schema.Transition, rate: Fraction) -> otio.schema.Transition:
    copy = transition.deepcopy()
    for field in ("in_offset", "out_offset"):
        offset_s = exact_seconds(getattr(transition, field), _label(transition), "offset")
        setattr(copy, field, otio.opentime.RationalTime(round_frames(offset_s, rate), float(rate)))
    return copy


def _markers(item: otio.core.Item, rate: Fraction) -> list[otio.schema.Marker]:
    copies = []
    for marker in item.markers:
        copy = marker.deepcopy()
        start_s = exact_seconds(marker.marked_range.start_time, _label(item), "marker")
        duration_s = exact_seconds(marker.marked_range.duration, _label(item), "marker")
        copy.marked_range = frame_range(round_frames(start_s, rate), round_frames(duration_s, rate), rate)
        copies.append(copy)
    return copies


def _drop_loose_transitions(track: otio.schema.Track) -> None:
    """Remove transitions that are no longer between two clips or at the edge of one."""
    for index in reversed(range(len(track))):
        if not isinstance(track[index], otio.schema.Transition):
            continue
        sides = _neighbours(track, index)
        if not any(isinstance(side, otio.schema.Clip | otio.schema.Stack) for side in sides) or any(
            isinstance(side, otio.schema.Transition) for side in sides
        ):
            del track[index]


def _neighbours(track: otio.schema.Track, index: int) -> Sequence[otio.core.Composable]:
    return [track[other] for other in (index - 1, index + 1) if 0 <= other < len(track)]


def _label(item: otio.core.Composable) -> str:
    kind = item.schema_name().lower()
    return f'The {kind} "{shorten_name(item.name)}"' if item.name else f"A {kind}"
