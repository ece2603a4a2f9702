"""Finds prompts in the texts of a timeline: markers, their notes, and comments from other programs.

A text requests a sound if it begins with a label: "SFX: footsteps on gravel", "FOLEY: …", "AMB: …". Labels separate
texts about sound from those about colour or titles. Optionally, all markers count, or also those of one colour.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY
from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.otio.exact_times import exact_seconds
from rewas_server.otio.metadata import has_key, keys_of, texts_at
from rewas_server.otio.names import shorten_name, shorten_quote
from rewas_server.otio.overlaps import PictureIndex
from rewas_server.otio.pictures import MarkedItem, Picture, find_marked_items

LABELLED, ALL, NONE = "labelled", "all", "none"
COLOURS = tuple(sorted(name for name in vars(otio.schema.MarkerColor) if name.isupper() and not name.startswith("_")))
"""Colours of markers in OTIO: RED, GREEN and so on."""
TRACK_BY_LABEL = {"sfx": "FX", "fx": "FX", "foley": "FOLEY", "amb": "AMB", "ambience": "AMB", "prompt": None}
"""Label, in lower case -> the track for the sound; None if the label does not name one."""
_LABEL = re.compile(
    rf"\W*(?:comments?\s*:\W*)?(?P<label>{'|'.join(sorted(TRACK_BY_LABEL, key=len, reverse=True))})"
    r"(?:\s*[:：]|\s+[-–—](?=\s)|\s*$)(?P<text>.*)",
    re.IGNORECASE | re.DOTALL,
)
_GENERIC_NAME = re.compile(r"(marker|segment|chapter|todo|untitled)?[\s#_]*\d*", re.IGNORECASE)
"""Names that editing programs give to markers."""
_NOTE_PATHS = (
    ("cmx_3600", "comments"),
    ("fcp_xml", "comments"),
    ("fcp_xml", "logginginfo"),
    ("fcpx", "note"),
    ("ALE",),
    ("AAF", "UserComments"),
    ("Resolve_OTIO", "Note"),
)
"""Where the metadata of a clip contains texts that a person has written."""
_MARKER_NOTE_PATHS = (("fcp_xml", "comment"), ("Resolve_OTIO", "Note"), ("AAF", "Comment"))
_MAX_TEXTS = 200
"""The largest number of texts that are read from the metadata of one clip."""


@dataclass(frozen=True)
class Spot:
    """A text that requests a sound.

    Attributes:
        text: The prompt.
        track: The track for the sound: "FX", "FOLEY", "AMB"; None if the text does not name one.
        origin: Where the text is, for reports: 'the marker "SFX: door"'.
        settings: The metadata["rewas"] of a marker; None without one.
    """

    text: str
    track: str | None
    origin: str
    settings: Any = None


@dataclass(frozen=True)
class RangedSpot:
    """A text that requests a sound for part of a picture. begin_s, end_s: on the timeline, from its first frame."""

    spot: Spot
    begin_s: Fraction
    end_s: Fraction


@dataclass
class Spots:
    """The sounds that markers and comments request, by the index of the picture.

    Attributes:
        whole: Texts for the whole picture.
        ranged: Texts for a part of it.
        problems: Markers and comments that cannot be used: not on a picture, or with a label but no text.
    """

    whole: dict[int, list[Spot]] = field(default_factory=dict)
    ranged: dict[int, list[RangedSpot]] = field(default_factory=dict)
    problems: list[ProblemError] = field(default_factory=list)


def find_spots(
    timeline: otio.schema.Timeline, pictures: Sequence[Picture], index: PictureIndex, which: str, start_s: Fraction
) -> Spots:
    """Find the sounds that markers and comments request.

    Args:
        timeline: The timeline.
        pictures: Its pictures.
        index: Index of all pictures.
        which: Which markers count: "labelled", "all", "none", or a colour.
        start_s: Timecode of the timeline's first frame, in seconds.
    """
    spots = Spots()
    if which == NONE:
        return spots
    search = _Search(pictures, index, which, start_s, spots)
    search.clips()
    search.compositions(timeline)
    search.nested_items(timeline)
    return spots


def parse_marker_choice(text: str) -> str:
    """Return which markers count, as `find_spots` needs it. Raises ProblemError (SETTINGS) for anything else."""
    choice = text.strip()
    if choice.lower() in (LABELLED, ALL, NONE):
        return choice.lower()
    if choice.upper() in COLOURS:
        return choice.upper()
    raise ProblemError(
        f'--markers is "{choice[:40]}".',
        f"Choose labelled, all, none, or a colour: {', '.join(COLOURS).lower()}.",
        ProblemKind.SETTINGS,
    )


def parse_labelled(text: str) -> tuple[str, str] | None:
    """Return the label in lower case and the text after it; None if the text has no label."""
    match = _LABEL.fullmatch(text)
    return None if match is None else (match["label"].lower(), match["text"].strip())


class _Search:
    def __init__(
        self, pictures: Sequence[Picture], index: PictureIndex, which: str, start_s: Fraction, spots: Spots
    ) -> None:
        self._pictures = pictures
        self._which = which
        self._start_s = start_s
        self._spots = spots
        self._index = index
        # A clip that was cut in two has its markers twice.
        self._placed: set[tuple[str, str, float]] = set()
        self._homeless: dict[tuple[str, str, float], ProblemError] = {}

    def clips(self) -> None:
        """Look at the markers and comments of clips."""
        for index, picture in enumerate(self._pictures):
            if not isinstance(picture.clip, otio.schema.Clip) or index not in self._index:
                continue
            markers = picture.clip.markers
            if len(markers):  # The end of a loop is slow in OTIO.
                for marker in markers:
                    self._clip_marker(index, picture, marker)
            if picture.part == 1:
                for text in _written_texts(picture):
                    self._comment(index, picture, text)
        self._spots.problems += [problem for key, problem in self._homeless.items() if key not in self._placed]

    def compositions(self, timeline: otio.schema.Timeline) -> None:
        """Look at the markers of the timeline and of its tracks."""
        total_s = self._index.end_s
        for place, item in enumerate((timeline.tracks, *timeline.tracks), start=-1):
            if not isinstance(item, otio.core.Item):
                continue
            markers = [(marker, spot) for marker in item.markers if (spot := self._read(marker, _owner(item)))]
            if not markers:
                continue
            # Markers of a track without pictures, on which some programs put all of them, are for the whole timeline.
            own = [index for index, picture in enumerate(self._pictures) if picture.path[0] == place]
            under = PictureIndex(self._pictures, own) if own else self._index
            for marker, spot in markers:
                self._timeline_marker(marker, spot, item, under, total_s)

    def nested_items(self, timeline: otio.schema.Timeline) -> None:
        """Look at the markers of gaps, and of nested tracks and stacks."""
        for marked in find_marked_items(timeline):
            item, depth = marked.item, len(marked.path)
            inside = [index for index, each in enumerate(self._pictures) if each.path[:depth] == marked.path]
            # A gap shows the pictures below it.
            under = PictureIndex(self._pictures, inside) if inside else self._index
            for marker in item.markers:
                spot = self._read(marker, _owner(item))
                if spot is not None:
                    self._nested_marker(marker, spot, marked, under)

    def _nested_marker(self, marker: otio.schema.Marker, spot: Spot, marked: MarkedItem, under: PictureIndex) -> None:
        owner = _owner(marked.item)
        try:
            begin_s, length_s = _marked(marker, spot.origin)
            if marked.item.source_range is not None:
                begin_s -= exact_seconds(marked.item.source_range.start_time, owner, "start")
        except ProblemError as problem:
            self._spots.problems.append(problem)
            return
        span = marked.span_of(begin_s, begin_s + length_s)
        found = [] if span is None else list(under.overlapping(*span))
        if span is None or not found:
            self._spots.problems.append(_homeless_problem(spot, owner))
            return
        for index in found:
            self._place(index, self._pictures[index], spot, span[0], span[1] - span[0])

    def _clip_marker(self, index: int, picture: Picture, marker: otio.schema.Marker) -> None:
        spot = self._read(marker, f'the clip "{picture.name}"')
        if spot is None:
            return
        position_s, length_s, wrong = None, Fraction(0), None
        try:
            begin_s, length_s = _marked(marker, spot.origin)
            position_s = self._on_timeline(picture, begin_s)
        except ProblemError as problem:
            wrong = problem
        if picture.problem is not None and position_s is None:
            # The clip is refused for its own problem, which may be that of its times.
            self._spots.whole.setdefault(index, []).append(spot)
            return
        if wrong is not None:
            self._spots.problems.append(wrong)
            return
        key = (picture.name, spot.origin, marker.marked_range.start_time.value)
        shown_s = picture.position_s
        assert shown_s is not None
        end_s = shown_s + picture.duration_s
        if position_s is None or position_s >= end_s or position_s + length_s < shown_s:
            self._homeless.setdefault(key, _homeless_problem(spot, f'the clip "{picture.name}"'))
        elif length_s or position_s >= shown_s:
            self._placed.add(key)
            self._place(index, picture, spot, position_s, length_s)

    def _on_timeline(self, picture: Picture, marked_s: Fraction) -> Fraction | None:
        """Return where a marker of a clip is on the timeline; None if it is outside the clip.

        In OTIO, markers count from the same time as the clip's source range. Some adapters write timecodes of the
        timeline (EDL), or times from the first frame of media that has a timecode.
        """
        clip, owner = picture.clip, f'The clip "{picture.name}"'
        chosen = clip.trimmed_range()
        duration_s = exact_seconds(chosen.duration, owner, "duration")
        from_source_s = marked_s - exact_seconds(chosen.start_time, owner, "start")
        places = [from_source_s, marked_s - self._start_s - picture.clip_begin_s]
        if has_key(clip.metadata, "cmx_3600"):
            places.reverse()
        available = clip.media_reference.available_range if clip.media_reference else None
        if available is not None:
            places.append(from_source_s + exact_seconds(available.start_time, owner, "media start"))
        return next((picture.clip_begin_s + place_s for place_s in places if 0 <= place_s < duration_s), None)

    def _timeline_marker(
        self,
        marker: otio.schema.Marker,
        spot: Spot,
        item: otio.core.Item,
        under: PictureIndex,
        total_s: Fraction,
    ) -> None:
        owner = _owner(item)
        try:
            begin_s, length_s = _marked(marker, spot.origin)
            if item.source_range is not None:
                begin_s -= exact_seconds(item.source_range.start_time, owner, "start")
        except ProblemError as problem:
            self._spots.problems.append(problem)
            return
        if not 0 <= begin_s < total_s and 0 <= begin_s - self._start_s < total_s:
            begin_s -= self._start_s  # Some programs write the timecode.
        found = list(under.overlapping(begin_s, begin_s + length_s))
        if not found:
            self._spots.problems.append(_homeless_problem(spot, owner))
        for index in found:
            self._place(index, self._pictures[index], spot, begin_s, length_s)

    def _place(self, index: int, picture: Picture, spot: Spot, begin_s: Fraction, length_s: Fraction) -> None:
        position_s = picture.position_s
        assert position_s is not None
        end_s = position_s + picture.duration_s
        first_s, last_s = max(begin_s, position_s), min(begin_s + length_s, end_s)
        # Programs write a marker without a range as one frame.
        is_point = length_s * (picture.frame_rate or 24) < Fraction(3, 2)
        if is_point or (first_s, last_s) == (position_s, end_s):
            self._add(index, spot)
        elif last_s > first_s:
            self._spots.ranged.setdefault(index, []).append(RangedSpot(spot, first_s, last_s))

    def _add(self, index: int, spot: Spot) -> None:
        """Add a text for a whole picture. Programs copy markers, so the same text may occur twice."""
        held = self._spots.whole.setdefault(index, [])
        if spot.settings is not None or not any((each.text, each.track) == (spot.text, spot.track) for each in held):
            held.append(spot)

    def _comment(self, index: int, picture: Picture, text: str) -> None:
        labelled = parse_labelled(text)
        if labelled is None:
            return
        label, prompt = labelled
        origin = f"the comment “{shorten_quote(text)}”"
        if prompt:
            self._add(index, Spot(prompt, TRACK_BY_LABEL[label], origin))
        elif re.search("[:：]", text):
            self._spots.problems.append(_no_text_problem(origin, f'the clip "{picture.name}"'))

    def _read(self, marker: otio.schema.Marker, owner: str) -> Spot | None:
        texts = [str(marker.name or ""), *_marker_notes(marker)]
        named = next((text.strip() for text in texts if text.strip()), "")
        origin = f"the marker “{shorten_quote(named)}”" if named else "a marker without a name"
        settings = marker.metadata[METADATA_KEY] if has_key(marker.metadata, METADATA_KEY) else None
        for place, text in enumerate(texts):
            labelled = parse_labelled(text)
            if labelled is None:
                continue
            label, prompt = labelled
            # "SFX" alone as the name: the prompt is in the note.
            prompt = prompt or next((more.strip() for more in texts[place + 1 :] if more.strip()), "")
            if prompt:
                return Spot(prompt, TRACK_BY_LABEL[label], origin, settings)
            self._spots.problems.append(_no_text_problem(origin, owner))
            return None
        if settings is not None:
            return Spot("", None, origin, settings)
        if self._which != ALL and self._which.upper() != str(marker.color).upper():
            return None
        text = next((text.strip() for text in texts if not _GENERIC_NAME.fullmatch(text.strip())), "")
        return Spot(text, None, origin) if text else None


def _marked(marker: otio.schema.Marker, origin: str) -> tuple[Fraction, Fraction]:
    """Return start and duration of a marker, in seconds."""
    owner = origin[0].upper() + origin[1:]
    marked = marker.marked_range
    if marked.duration.value == 0:
        return exact_seconds(marked.start_time, owner, "start"), Fraction(0)
    begin_s = exact_seconds(marked.start_time, owner, "start")
    return begin_s, max(exact_seconds(marked.duration, owner, "duration"), Fraction(0))


def _marker_notes(marker: otio.schema.Marker) -> Iterator[str]:
    yield str(getattr(marker, "comment", "") or "")
    if len(marker.metadata):
        for path in _MARKER_NOTE_PATHS:
            yield from texts_at(marker.metadata, path)


def _written_texts(picture: Picture) -> Iterator[str]:
    """Yield the texts in the metadata of a clip that a person may have written."""
    count = 0
    reference = picture.clip.media_reference
    for holder in (picture.clip, reference):
        if holder is None:
            continue
        metadata = holder.metadata
        keys = keys_of(metadata) if holder is reference else picture.metadata_keys
        for path in _NOTE_PATHS:
            if path[0] not in keys:
                continue
            for text in texts_at(metadata, path, TRACK_BY_LABEL):
                yield text
                count += 1
                if count == _MAX_TEXTS:
                    return


def _owner(item: otio.core.Item) -> str:
    if isinstance(item, otio.schema.Track):
        return f'the track "{shorten_name(item.name)}"' if item.name else "a track without a name"
    if isinstance(item, otio.schema.Gap):
        return "a gap"
    if isinstance(item.parent(), otio.schema.Track):
        return f'the stack "{shorten_name(item.name)}"' if item.name else "a stack without a name"
    return "the timeline"


def _homeless_problem(spot: Spot, owner: str) -> ProblemError:
    return ProblemError(
        f"{spot.origin[0].upper()}{spot.origin[1:]} of {owner} is not on a visible picture.",
        "Move it onto the clip that needs the sound.",
        ProblemKind.TIMELINE,
    )


def _no_text_problem(origin: str, owner: str) -> ProblemError:
    return ProblemError(
        f"{origin[0].upper()}{origin[1:]} of {owner} does not describe a sound.",
        "Describe the sound after the label, for example “SFX: footsteps on gravel”.",
        ProblemKind.TIMELINE,
    )
