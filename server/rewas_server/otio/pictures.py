"""Finds the pictures of a timeline: each visible part of each clip on its video tracks, exactly where it is seen.

The walk goes down through nested stacks and tracks with a window: the part of the timeline that an item fills, and the
time of its content that is seen there. Thus clips get the time effects of their parents: speeds multiply, and ranges
follow. Then the clips are laid over each other, from the top down, and each keeps what no clip above it covers.

Every clip is returned, including hidden and invalid ones, with the reason. One bad clip never stops the others.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import lcm
from typing import Any

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind, TimelineProblem
from rewas_server.otio.clips import ClipSource, clip_label, fit_into_media, read_speed, read_written_source
from rewas_server.otio.exact_times import DEFAULT_RATE, exact_rate, exact_seconds, time_order
from rewas_server.otio.metadata import keys_of
from rewas_server.otio.names import shorten_name

TOPMOST, ALL = "topmost", "all"
_MAX_NESTING_DEPTH = 64
_ENDLESS_S = Fraction(10**10)
"""Later than any time that a file may state."""
_MAX_TICKS_PER_S = 2**256
_COVERED = "It is covered by the tracks above it."
_OUTSIDE = "It lies outside the visible range of its track or stack."

Span = tuple[Fraction, Fraction]
"""Start and end in seconds."""
Times = tuple[Fraction | int, Fraction | int]
"""Start and end in any unit."""


@dataclass(frozen=True)
class Picture:
    """A visible part of a clip, or a clip of which nothing is visible.

    Attributes:
        clip: The clip; a track or stack if it cannot be read at all.
        parents: Of the clip: the tracks of the timeline first, the innermost last.
        path: Indexes of the parents' children that lead to the clip.
        name: Of the clip or its media, shortened if it is long.
        track_name: Of the video track of the timeline: "V1" if it has none.
        track_number: Of the video track, from 1 at the bottom.
        part: Number of the visible part, from 1.
        clip_begin_s: Where the first frame of the clip lies on the timeline, which may be hidden.
        position_s: Start on the timeline, from its first frame; None if it cannot be known.
        duration_s: Visible duration.
        frame_rate: Of the clip, in frames per second; None if it states none.
        source: The visible range of the media; None if there is a problem, or nothing is visible.
        problem: Why the picture cannot be read.
        hidden: Why nothing of the clip is visible, as a sentence.
    """

    clip: otio.core.Composable
    parents: tuple[otio.core.Composition, ...]
    path: tuple[int, ...]
    name: str
    track_name: str
    track_number: int
    part: int = 1
    clip_begin_s: Fraction = Fraction(0)
    position_s: Fraction | None = None
    duration_s: Fraction = Fraction(0)
    frame_rate: Fraction | None = None
    source: ClipSource | None = None
    problem: ProblemError | None = None
    hidden: str = ""

    @cached_property
    def metadata_keys(self) -> tuple[str, ...]:
        """The keys of the clip's metadata."""
        return keys_of(self.clip.metadata)


def find_pictures(timeline: otio.schema.Timeline, visible: str = TOPMOST) -> list[Picture]:
    """Return the pictures of a timeline by position; those without a position come last.

    Args:
        timeline: The timeline.
        visible: Which of several clips at the same time count: "topmost", "all", or the name or number of the only
            video track that counts.

    A transition does not move its neighbours: each clip covers its own range, up to the cut. Generators, such as
    titles, do not cover the tracks below them.

    Raises ProblemError (TIMELINE) if there is no such track.
    """
    walk = _Walk(timeline)
    if visible not in (TOPMOST, ALL):
        walk.only_track(visible)
    leaves = list(walk.leaves())
    shown = [[leaf.span] for leaf in leaves] if visible != TOPMOST else _uncovered(leaves)
    pictures = [picture for leaf, spans in zip(leaves, shown, strict=True) for picture in leaf.pictures(spans)]
    return sorted(pictures, key=_order)


def find_marked_items(timeline: otio.schema.Timeline) -> list[MarkedItem]:
    """Return the gaps and the nested tracks and stacks of the video tracks that have markers."""
    if not any(_has_markers_inside(child) for child in timeline.tracks):
        return []
    walk = _Walk(timeline)
    for _ in walk.leaves():
        pass
    return walk.marked


def video_tracks(timeline: otio.schema.Timeline) -> list[tuple[int, str, otio.core.Composable]]:
    """Return the index, the name and the item of each video track of a timeline, from the bottom up.

    A stack or a clip that lies directly on the timeline counts as a track.
    """
    found = [
        (index, child)
        for index, child in enumerate(timeline.tracks)
        if not isinstance(child, otio.schema.Track) or child.kind == otio.schema.TrackKind.Video
    ]
    return [
        (index, shorten_name(child.name) or f"V{number}", child) for number, (index, child) in enumerate(found, start=1)
    ]


@dataclass(frozen=True)
class _Window:
    """The part of the timeline that an item fills, and the time of its content there.

    At the time t of the timeline, from begin_s to end_s, the content is seen at content_s + (t - begin_s) * speed.
    """

    begin_s: Fraction
    end_s: Fraction
    content_s: Fraction
    speed: Fraction

    def span_of(self, begin_s: Fraction, end_s: Fraction) -> Span:
        """Return where a range of the content would be seen without the ends of the window."""
        if self.speed == 1:
            moved_s = self._moved_s
            return (begin_s + moved_s, end_s + moved_s) if moved_s else (begin_s, end_s)
        if self.speed == 0:
            is_seen = begin_s <= self.content_s < end_s
            return (self.begin_s, self.end_s) if is_seen else (self.begin_s, self.begin_s)
        first_s = self.begin_s + (begin_s - self.content_s) / self.speed
        last_s = self.begin_s + (end_s - self.content_s) / self.speed
        return (first_s, last_s) if self.speed > 0 else (last_s, first_s)

    @cached_property
    def _moved_s(self) -> Fraction:
        return self.begin_s - self.content_s

    def content_at(self, time_s: Fraction) -> Fraction:
        """Return the time of the content that is seen at a time of the timeline."""
        return self.content_s + (time_s - self.begin_s) * self.speed


@dataclass(frozen=True)
class MarkedItem:
    """A gap, or a nested track or stack, with markers.

    Attributes:
        item: The gap, track or stack.
        path: Indexes that lead to it, as those of a picture.
        window: The window on its parent's content.
        begin_s: Where it begins in that content.
    """

    item: otio.core.Item
    path: tuple[int, ...]
    window: _Window
    begin_s: Fraction

    def span_of(self, begin_s: Fraction, end_s: Fraction) -> Span | None:
        """Return where a range of the item, counted from its first frame, is on the timeline; None if it is hidden."""
        span = self.window.span_of(self.begin_s + begin_s, self.begin_s + end_s)
        first_s, last_s = max(span[0], self.window.begin_s), min(span[1], self.window.end_s)
        return (first_s, last_s) if first_s <= last_s and first_s < self.window.end_s else None


@dataclass(slots=True)
class _Place:
    """An item, and how to get there from the timeline."""

    item: otio.core.Composable
    parents: tuple[otio.core.Composition, ...]
    path: tuple[int, ...]
    track_name: str
    track_number: int

    def picture(self, **known: Any) -> Picture:
        """Return the picture of this item."""
        return Picture(
            clip=self.item,
            parents=self.parents,
            path=self.path,
            name=_name(self.item),
            track_name=self.track_name,
            track_number=self.track_number,
            **known,
        )


@dataclass(slots=True)
class _Leaf:
    """A clip in its window. If it cannot be seen, `span` is empty and only `picture` is set."""

    place: _Place
    span: Span
    picture: Picture | None = None
    window: _Window | None = None
    begin_s: Fraction = Fraction(0)
    whole_span: Span = (Fraction(0), Fraction(0))
    covers: bool = False

    def pictures(self, spans: list[Span]) -> Iterator[Picture]:
        if self.picture is not None:
            yield self.picture
            return
        clip_begin_s = self.whole_span[0]
        if not spans:
            duration_s = self.span[1] - self.span[0]
            rate = _rate(self.place.item)
            yield self.place.picture(
                clip_begin_s=clip_begin_s,
                position_s=self.span[0],
                duration_s=duration_s,
                frame_rate=rate,
                hidden=_COVERED,
            )
            return
        for number, (begin_s, end_s) in enumerate(spans, start=1):
            source = self._source(begin_s, end_s)
            is_read = isinstance(source, ClipSource)
            yield self.place.picture(
                part=number,
                clip_begin_s=clip_begin_s,
                position_s=begin_s,
                duration_s=end_s - begin_s,
                frame_rate=source.frame_rate if isinstance(source, ClipSource) else _rate(self.place.item),
                source=source if is_read else None,
                problem=None if is_read else source,
            )

    def _source(self, begin_s: Fraction, end_s: Fraction) -> ClipSource | ProblemError:
        """Return the visible range of the media, or why it cannot be read."""
        owner = clip_label(self.place.item)
        try:
            whole = read_written_source(self.place.item, owner)
            return fit_into_media(self._seen(whole, begin_s, end_s), owner)
        except ProblemError as problem:
            return problem

    def _seen(self, whole: ClipSource, begin_s: Fraction, end_s: Fraction) -> ClipSource:
        assert self.window is not None
        speed = self.window.speed
        if speed == 1:
            if (begin_s, end_s) == self.whole_span:
                return whole
            return whole.part(self.window.content_at(begin_s) - self.begin_s, end_s - begin_s)
        first_s, last_s = (self.window.content_at(time_s) - self.begin_s for time_s in (begin_s, end_s))
        part = whole.part(min(first_s, last_s), abs(last_s - first_s))
        start_s = whole.start_s + first_s * whole.speed
        if speed == 0 and whole.speed < 0:
            # Backwards, the frame that is seen ends there.
            start_s -= 1 / (whole.frame_rate or DEFAULT_RATE)
        return replace(part, start_s=start_s, duration_s=end_s - begin_s, speed=whole.speed * speed)


class _Walk:
    """Goes through a timeline and yields its clips in the order in which they are drawn."""

    def __init__(self, timeline: otio.schema.Timeline) -> None:
        self._timeline = timeline
        self._tracks = {
            index: (number, name) for number, (index, name, _) in enumerate(video_tracks(timeline), start=1)
        }
        self._only: int | None = None
        self.marked: list[MarkedItem] = []
        """Filled by `leaves`."""

    def only_track(self, wanted: str) -> None:
        """Hide all tracks except one. Raises ProblemError if there is none of this name or number, or several."""
        found = [number for number, name in self._tracks.values() if name == wanted]
        if not found and wanted.isdecimal():
            found = [number for number, _ in self._tracks.values() if number == int(wanted)]
        if len(found) == 1:
            self._only = found[0]
            return
        names = ", ".join(f"{number} ({name})" for number, name in self._tracks.values()) or "none"
        how_many = f"{len(found)} video tracks" if found else "no video track"
        raise ProblemError(
            f'The timeline "{shorten_name(self._timeline.name)}" has {how_many} "{wanted}".',
            f"Choose one of its video tracks by number: {names}.",
            ProblemKind.TIMELINE,
        )

    def leaves(self) -> Iterator[_Leaf]:
        root = self._timeline.tracks
        window = _Window(Fraction(0), _ENDLESS_S, Fraction(0), Fraction(1))
        hidden = "" if root.enabled else "The timeline is disabled."
        try:
            inside = _inside(root, window, Fraction(0))
        except ProblemError as problem:
            yield _unreadable(_Place(root, (), (), "", 0), problem)
            return
        for index, child in enumerate(root):
            if index not in self._tracks:
                continue
            number, name = self._tracks[index]
            why = hidden
            if self._only not in (None, number):
                why = "Another track was chosen."
            yield from self._item(_Place(child, (root,), (index,), name, number), inside, Fraction(0), why)

    def _item(
        self, at: _Place, window: _Window, begin_s: Fraction, hidden: str, end_s: Fraction | None = None
    ) -> Iterator[_Leaf]:
        """Yield the clips of an item that begins at begin_s in its parent's content. end_s: if it is known."""
        item = at.item
        is_clip = isinstance(item, otio.schema.Clip)
        if not is_clip and not hidden and len(at.path) > 1 and isinstance(item, otio.core.Item) and len(item.markers):
            self.marked.append(MarkedItem(item, at.path, window, begin_s))
        if not is_clip and (isinstance(item, otio.schema.Gap) or not isinstance(item, otio.core.Item)):
            return
        if not hidden and not item.enabled:
            hidden = "It is disabled." if is_clip else f"{clip_label(item)} is disabled."
        try:
            if is_clip:
                yield self._clip(at, window, begin_s, hidden, begin_s + _duration_s(item) if end_s is None else end_s)
            elif isinstance(item, otio.core.Composition):
                if len(at.path) > _MAX_NESTING_DEPTH:
                    raise TimelineProblem(
                        f"{clip_label(item)} is nested too deeply.", f"Use at most {_MAX_NESTING_DEPTH} levels."
                    )
                if not isinstance(item, otio.schema.Track) or item.kind == otio.schema.TrackKind.Video:
                    yield from self._children(at, window, begin_s, hidden)
        except ProblemError as problem:
            yield _unreadable(at, problem, hidden)

    def _clip(self, at: _Place, window: _Window, begin_s: Fraction, hidden: str, end_s: Fraction) -> _Leaf:
        clip = at.item
        whole_span = window.span_of(begin_s, end_s)
        span = max(whole_span[0], window.begin_s), min(whole_span[1], window.end_s)
        if not hidden and begin_s == end_s:
            hidden = "It has no duration."
        if hidden or span[1] <= span[0]:
            picture = at.picture(
                clip_begin_s=whole_span[0],
                position_s=max(whole_span[0], Fraction(0)),
                duration_s=end_s - begin_s,
                frame_rate=_rate(clip),
                hidden=hidden or _OUTSIDE,
            )
            return _Leaf(at, (span[0], span[0]), picture)
        covers = not isinstance(clip.media_reference, otio.schema.GeneratorReference)
        return _Leaf(at, span, None, window, begin_s, whole_span, covers)

    def _children(self, at: _Place, window: _Window, begin_s: Fraction, hidden: str) -> Iterator[_Leaf]:
        item = at.item
        inside = _inside(item, window, begin_s)
        if not hidden and inside.end_s <= inside.begin_s:
            hidden = _OUTSIDE
        is_track = isinstance(item, otio.schema.Track)
        parents = (*at.parents, item)
        child_begin_s = Fraction(0)
        unknown: ProblemError | None = None
        for index, child in enumerate(item):
            below = _Place(child, parents, (*at.path, index), at.track_name, at.track_number)
            if unknown is not None:
                yield from _after_unknown(below, unknown, hidden)
                continue
            if not is_track:
                yield from self._item(below, inside, child_begin_s, hidden)
                continue
            try:
                length_s = _duration_s(child)
            except ProblemError as problem:
                length_s, unknown = None, problem
            child_end_s = None if length_s is None else child_begin_s + length_s
            yield from self._item(below, inside, child_begin_s, hidden, child_end_s)
            child_begin_s = child_begin_s if child_end_s is None else child_end_s


def _has_markers_inside(parent: otio.core.Composable) -> bool:
    """Whether a gap, a track or a stack in an item has markers."""
    if not isinstance(parent, otio.core.Composition):
        return False
    return any(
        isinstance(child, otio.core.Item) and (len(child.markers) > 0 or _has_markers_inside(child))
        for child in parent
        if not isinstance(child, otio.schema.Clip)
    )


def _inside(item: otio.core.Composition, window: _Window, begin_s: Fraction) -> _Window:
    """Return the window of an item's children. Raises ProblemError for an invalid range or speed."""
    owner = clip_label(item)
    speed = read_speed(item, owner)
    if item.source_range is None and speed == 1:
        return replace(window, content_s=window.content_s - begin_s)
    duration_s = _duration_s(item)
    start_s = Fraction(0)
    if item.source_range is not None:
        start_s = exact_seconds(item.source_range.start_time, owner, "start")
    if speed < 0:
        start_s -= duration_s * speed
    span = window.span_of(begin_s, begin_s + duration_s)
    first_s, last_s = max(span[0], window.begin_s), min(span[1], window.end_s)
    content_s = start_s + (window.content_at(first_s) - begin_s) * speed
    return _Window(first_s, max(first_s, last_s), content_s, window.speed * speed)


def _duration_s(item: otio.core.Composable) -> Fraction:
    """Return the duration of an item in its parent. Raises ProblemError if it is not known or invalid."""
    if isinstance(item, otio.schema.Transition) or not isinstance(item, otio.core.Item):
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
        raise TimelineProblem(f"{owner} has no duration.", "Give it a source range.")
    if duration_s < 0:
        raise TimelineProblem(
            f"{owner} has a duration of {float(duration_s):g} s.", "Give it a duration of 0 s or more."
        )
    return duration_s


def _rate(clip: otio.core.Composable) -> Fraction | None:
    chosen = clip.source_range or (clip.media_reference.available_range if clip.media_reference else None)
    return None if chosen is None else exact_rate(chosen.duration.rate, clip_label(clip), "duration")


def _uncovered(leaves: list[_Leaf]) -> list[list[Span]]:
    """Return, for each clip, the parts of its span that no later clip covers."""
    ticks = _ticks_per_second(leaves)
    shown: list[list[Span]] = []
    covered = _Spans()
    for leaf in reversed(leaves):
        span: Times = leaf.span if ticks is None else _in_ticks(leaf.span, ticks)
        gaps = covered.gaps(span)
        is_whole = len(gaps) == 1 and gaps[0] == span
        shown.append([leaf.span] if is_whole else [(Fraction(a, ticks or 1), Fraction(b, ticks or 1)) for a, b in gaps])
        if leaf.covers:
            covered.add(span)
    return shown[::-1]


def _in_ticks(span: Span, ticks: int) -> Times:
    begin, end = span
    return begin.numerator * (ticks // begin.denominator), end.numerator * (ticks // end.denominator)


def _ticks_per_second(leaves: list[_Leaf]) -> int | None:
    """Return how many ticks per second make all times whole numbers, because integers are faster to compare.

    It is None if there are so many different rates that fractions are faster.
    """
    denominators = {time_s.denominator for leaf in leaves for time_s in leaf.span}
    ticks = 1
    for denominator in denominators:
        ticks = lcm(ticks, denominator)
        if ticks > _MAX_TICKS_PER_S:
            return None
    return ticks


class _Spans:
    """A set of times, as spans that neither overlap nor touch."""

    def __init__(self) -> None:
        self._begins: list[Fraction | int] = []
        self._ends: list[Fraction | int] = []

    def gaps(self, span: Times) -> list[Times]:
        """Return the parts of a span that are not in the set."""
        begin, end = span
        found = []
        for index in range(bisect_right(self._ends, begin), len(self._begins)):
            if self._begins[index] >= end:
                break
            if begin < self._begins[index]:
                found.append((begin, self._begins[index]))
            begin = self._ends[index]
        if begin < end:
            found.append((begin, end))
        return found

    def add(self, span: Times) -> None:
        """Add a span."""
        begin, end = span
        first, last = bisect_left(self._ends, begin), bisect_right(self._begins, end)
        if first < last:
            begin, end = min(begin, self._begins[first]), max(end, self._ends[last - 1])
        self._begins[first:last], self._ends[first:last] = [begin], [end]


def _after_unknown(at: _Place, unknown: ProblemError, hidden: str) -> Iterator[_Leaf]:
    """Yield an item that follows one without a valid duration, so that its position is unknown."""
    if isinstance(at.item, otio.core.Item) and not isinstance(at.item, otio.schema.Gap):
        what = f"{clip_label(at.item)} has no known position. {unknown.what}"
        yield _unreadable(at, TimelineProblem(what, unknown.remedy), hidden)


def _unreadable(at: _Place, problem: ProblemError, hidden: str = "") -> _Leaf:
    picture = at.picture(hidden=hidden) if hidden else at.picture(problem=problem)
    return _Leaf(at, (Fraction(0), Fraction(0)), picture)


def _name(item: otio.core.Item) -> str:
    if item.name:
        return shorten_name(item.name)
    reference = item.media_reference if isinstance(item, otio.schema.Clip) else None
    url = reference.target_url if isinstance(reference, otio.schema.ExternalReference) else ""
    return shorten_name(url.replace("\\", "/").rstrip("/").rpartition("/")[2]) or item.schema_name().lower()


def _order(picture: Picture) -> tuple[bool, tuple[int, Fraction], tuple[int, ...], int]:
    return picture.position_s is None, time_order(picture.position_s or Fraction(0)), picture.path, picture.part
