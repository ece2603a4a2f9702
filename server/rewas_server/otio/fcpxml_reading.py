"""Reads Final Cut Pro X XML (.fcpxml) exactly.

OTIO's adapter cannot be used: it counts 24000/1001 as 23 frames per second, fails on any title, and loses speeds, the
start timecode, disabled clips and all events but the first.

In the file, the content of each clip has a separate time. `start` is the time of the content at the first frame of the
clip, and `offset` is where the clip begins in the time of its parent; its `duration` counts in the time of the parent,
too. Clips in clips are on the lanes above (1, 2, …) and below (−1, …).

The sources are Apple's FCPXML reference (timing attributes, conform-rate) and the comments of the DTD.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.otio.clips import constant_speed
from rewas_server.otio.exact_times import DEFAULT_RATE, exact_rate, exact_seconds
from rewas_server.otio.speed_pieces import MAX_PIECES, Point, SpeedPiece, cut_into_pieces, speed_pieces

_KEY = "fcpx"
_CLIPS = frozenset(
    {"asset-clip", "clip", "video", "audio", "title", "ref-clip", "sync-clip", "mc-clip", "gap", "audition"}
)
_MAX_DEPTH = 32
_MAX_CLIPS = 200_000
"""Compound clips that contain others several times over many levels could use up all memory."""
_NTSC = Fraction(1001, 1000)


def read_fcpxml(path: Path) -> otio.core.SerializableObject:
    """Return the timeline of an .fcpxml file, or a collection of several; without projects, of its clips.

    Raises ProblemError (TIMELINE) for a file with neither, compound clips that contain themselves, and invalid times.
    """
    from defusedxml import ElementTree

    root = ElementTree.parse(path, forbid_entities=True, forbid_external=True).getroot()
    found = _Reader(root, path.name).read()
    if not len(found):
        raise ProblemError(
            f"{path.name} contains neither a project nor clips of Final Cut Pro.",
            "Export a project as XML.",
            ProblemKind.TIMELINE,
        )
    is_single = len(found) == 1 and isinstance(found[0], otio.schema.Timeline)
    return found[0].clone() if is_single else found


@dataclass(frozen=True)
class _Asset:
    name: str
    url: str
    start_s: Fraction
    duration_s: Fraction
    rate: Fraction | None
    has_video: bool


@dataclass(frozen=True)
class _Placed:
    """An item on a lane. begin_s: in the time of its parent."""

    item: otio.core.Item
    begin_s: Fraction
    duration_s: Fraction
    lane: int
    is_audio: bool


class _Reader:
    def __init__(self, root: Element, name: str) -> None:
        self._root = root
        self._name = name
        self._count = 0
        resources = {each.get("id"): each for each in root.iterfind("./resources/*") if each.get("id")}
        self._resources = resources
        self._assets = {key: self._asset(each) for key, each in resources.items() if each.tag == "asset"}

    def read(self) -> otio.schema.SerializableCollection:
        """Return the timelines, or the clips of a file without any."""
        found = otio.schema.SerializableCollection(self._name)
        projects = list(self._root.iter("project"))
        for project in projects:
            sequence = project.find("sequence")
            if sequence is not None:
                found.append(self._timeline(project.get("name", ""), sequence))
        if not projects:
            for parent in (self._root, *self._root.iter("event")):
                for element in parent:
                    if element.tag in _CLIPS:
                        placed = self._clip(element, DEFAULT_RATE, Fraction(0), 0)
                        found.extend([each.item for each in placed if each.lane == 0])
        return found

    def _timeline(self, name: str, sequence: Element) -> otio.schema.Timeline:
        rate = self._rate(sequence.get("format")) or DEFAULT_RATE
        start_s = _time_s(sequence.get("tcStart"))
        timeline = otio.schema.Timeline(name, global_start_time=_time(start_s, rate))
        timeline.tracks.extend(self._tracks(self._sequence_items(sequence, rate, 0), rate))
        timeline.metadata[_KEY] = {"tcFormat": sequence.get("tcFormat", "NDF")}
        return timeline

    def _sequence_items(self, sequence: Element, rate: Fraction, depth: int) -> list[_Placed]:
        """Return the items of a sequence, counted from its first frame."""
        spine = sequence.find("spine")
        start_s = _time_s(sequence.get("tcStart"))
        return [] if spine is None else self._spine(spine, rate, start_s, -start_s, 0, depth)

    def _spine(
        self, spine: Element, rate: Fraction, first_s: Fraction, shift_s: Fraction, lane: int, depth: int
    ) -> list[_Placed]:
        """Return the items of a storyline.

        Args:
            spine: Its element.
            rate: Rate of the sequence.
            first_s: Where it begins, in the time of its offsets.
            shift_s: From its offsets to the time of its parent.
            lane: The lane that it is on.
            depth: How many compound clips it is in.
        """
        placed: list[_Placed] = []
        next_s = first_s
        for element in spine:
            if element.tag == "transition":
                placed += self._transition(element, rate, lane, next_s + shift_s)
            elif element.tag in _CLIPS:
                offset_s = _time_s(element.get("offset")) if element.get("offset") else next_s
                found = self._clip(element, rate, offset_s + shift_s, depth)
                placed += [each if each.lane else replace(each, lane=lane) for each in found]
                next_s = offset_s + _time_s(_duration(element))
        return placed

    def _transition(self, element: Element, rate: Fraction, lane: int, cut_s: Fraction) -> list[_Placed]:
        half = _time(_time_s(element.get("duration")) / 2, rate)
        transition = otio.schema.Transition(
            element.get("name", ""), otio.schema.TransitionTypes.SMPTE_Dissolve, half, half
        )
        return [_Placed(transition, cut_s, Fraction(0), lane, False)]

    def _clip(self, element: Element, rate: Fraction, begin_s: Fraction, depth: int) -> list[_Placed]:
        """Return a clip, on lane 0, and the clips that are connected to it. begin_s: where it begins."""
        if element.tag == "audition":
            chosen = next((child for child in element if child.tag in _CLIPS), None)
            return [] if chosen is None else self._clip(chosen, rate, begin_s, depth)
        self._count += 1
        if depth > _MAX_DEPTH or self._count > _MAX_CLIPS:
            raise ProblemError(
                f"The compound clips of {self._name} are nested too deeply or too often.",
                "Export a project with less nesting.",
                ProblemKind.TIMELINE,
            )
        duration_s = _time_s(_duration(element))
        conformed = self._conformed_speed(element, rate)
        items, start_s, is_audio = self._items(element, rate, duration_s, depth, conformed)
        placed = [_Placed(item, begin_s + at_s, length_s, 0, is_audio) for item, at_s, length_s in items]
        for child in element:
            lane = int(child.get("lane") or 0)
            if not lane:
                continue
            # The offset of a connected clip counts in the time of the clip that it is connected to.
            child_s = begin_s + (_time_s(child.get("offset")) - start_s) / conformed
            if child.tag == "spine":
                placed += self._spine(child, rate, Fraction(0), child_s, lane, depth)
            elif child.tag in _CLIPS:
                placed += [
                    each if each.lane else replace(each, lane=lane) for each in self._clip(child, rate, child_s, depth)
                ]
        return placed

    def _items(
        self, element: Element, rate: Fraction, duration_s: Fraction, depth: int, conformed: Fraction
    ) -> tuple[list[tuple[otio.core.Item, Fraction, Fraction]], Fraction, bool]:
        """Return the items of an element, the time of its content at its first frame, and whether it is audio only.

        The items are the parts of constant speed, each with its begin in the element, and its duration.
        """
        start_s = _time_s(element.get("start"))
        is_audio = element.tag == "audio" or element.get("srcEnable") == "audio"
        item: otio.core.Item
        if element.tag == "gap":
            item = otio.schema.Gap(source_range=_range(Fraction(0), duration_s, rate))
            self._describe(item, element, start_s, -start_s, rate, conformed)
            return [(item, Fraction(0), duration_s)], start_s, False
        if _is_compound(element):
            item, begin_s = self._compound(element, rate, depth)
            shift_s, item_rate = -begin_s, rate
        else:
            reference, media_s, item_rate, heard = self._media(element, start_s, rate)
            is_audio = is_audio or heard
            item = otio.schema.Clip(element.get("name") or "", reference)
            shift_s = media_s - start_s
        item.source_range = _range(start_s + shift_s, duration_s, item_rate)
        self._describe(item, element, start_s, shift_s, rate, conformed)
        if conformed == 1 and element.find("timeMap") is None:
            return [(item, Fraction(0), duration_s)], start_s, is_audio
        pieces, ramp = self._pieces(element, start_s, duration_s, shift_s, conformed)
        if ramp:
            item.effects.append(otio.schema.TimeEffect("timeMap", ramp))
            return [(item, Fraction(0), duration_s)], start_s, is_audio
        cut = zip(cut_into_pieces(item, pieces, "timeMap"), pieces, strict=True)
        return [(copy, piece.begin_s, piece.duration_s) for copy, piece in cut], start_s, is_audio

    def _pieces(
        self, element: Element, start_s: Fraction, duration_s: Fraction, shift_s: Fraction, conformed: Fraction
    ) -> tuple[list[SpeedPiece], str]:
        """Return the parts of constant speed of a clip, or no parts and what its time map is instead.

        Args:
            element: Element of the clip.
            start_s: Time of its content at its first frame.
            duration_s: Duration as shown.
            shift_s: From the time of its content to that of the item's range.
            conformed: How fast its content plays, without its time map.
        """
        points, ramp = self._points(element, start_s, duration_s * conformed)
        if points is None:
            begin_s, points = start_s, [(Fraction(0), Fraction(0)), (Fraction(1), Fraction(1))]
        else:
            begin_s = self._map_begin_s(element, start_s)
            # The times of a map are those of the media itself, if the clip names it.
            shift_s = Fraction(0) if element.get("ref") in self._assets else shift_s
        pieces = [] if ramp else speed_pieces(points, begin_s, begin_s + duration_s * conformed)
        if not 0 < len(pieces) <= MAX_PIECES:
            return [], ramp or "timeMap"
        return [
            SpeedPiece(
                piece.begin_s / conformed,
                piece.duration_s / conformed,
                piece.media_s + shift_s,
                piece.speed * conformed,
            )
            for piece in pieces
        ], ""

    def _conformed_speed(self, element: Element, rate: Fraction) -> Fraction:
        """Return how fast Final Cut Pro plays a clip to show each of its frames for a whole frame of the sequence.

        According to Apple's chart, media at 23.98, 24 and 25 frames per second is played at the rate of a sequence at
        another one of these, or at twice that. Otherwise, at most the NTSC factor is removed or added.

        rate: Rate of the sequence.
        """
        conform = element.find("conform-rate")
        if conform is None or conform.get("scaleEnabled", "1") == "0":
            return Fraction(1)
        asset = self._assets.get(element.get("ref"))
        media = _frame_rate(conform.get("srcFrameRate")) or (None if asset is None else asset.rate)
        if media is None:
            return Fraction(1)
        halved = rate / 2 if rate > 47 else rate
        if {round(media), round(halved)} <= {24, 25}:
            return halved / media
        is_media_ntsc, is_sequence_ntsc = media.denominator == 1001, rate.denominator == 1001
        if is_media_ntsc and not is_sequence_ntsc:
            return _NTSC
        is_alike = any(round(media * factor) == round(rate) for factor in (Fraction(1, 2), 1, 2))
        return 1 / _NTSC if is_sequence_ntsc and not is_media_ntsc and is_alike else Fraction(1)

    def _media(
        self, element: Element, start_s: Fraction, rate: Fraction
    ) -> tuple[otio.core.MediaReference, Fraction, Fraction, bool]:
        """Return the media of a clip, its time at the clip's first frame, its rate, and whether it is audio only."""
        inner, media_s = element, start_s
        if element.tag == "clip":
            parts = [child for child in element if child.tag in ("video", "audio") and not child.get("lane")]
            found = next((part for part in parts if part.tag == "video"), parts[0] if parts else None)
            if found is None:
                return otio.schema.MissingReference(), start_s, rate, False
            inner = found
            offset_s = _time_s(inner.get("offset"))
            media_s = start_s - offset_s + (_time_s(inner.get("start")) if inner.get("start") else offset_s)
        asset = self._assets.get(inner.get("ref"))
        if asset is None:
            effect = self._resources.get(inner.get("ref"))
            kind = effect.get("name", "") if effect is not None else element.tag
            return otio.schema.GeneratorReference(element.get("name") or "", kind), start_s, rate, inner.tag == "audio"
        if media_s < asset.start_s and inner.get("start") is None:
            media_s += asset.start_s
        media_rate = asset.rate or rate
        available = _range(asset.start_s, asset.duration_s, media_rate) if asset.duration_s > 0 else None
        if not asset.url:
            return otio.schema.MissingReference(asset.name, available), media_s, media_rate, not asset.has_video
        reference = otio.schema.ExternalReference(asset.url, available)
        reference.name = asset.name
        return reference, media_s, media_rate, not asset.has_video or inner.tag == "audio"

    def _compound(self, element: Element, rate: Fraction, depth: int) -> tuple[otio.schema.Stack, Fraction]:
        """Return the content of a compound, synchronized or multicam clip, and the time of its first frame."""
        stack = otio.schema.Stack(element.get("name") or "")
        if element.tag in ("sync-clip", "clip"):
            placed = []
            for child in element:
                if child.tag == "spine" and not child.get("lane"):
                    placed += self._spine(child, rate, Fraction(0), Fraction(0), 0, depth + 1)
                elif child.tag in _CLIPS and not child.get("lane"):
                    placed += self._clip(child, rate, _time_s(child.get("offset")), depth + 1)
            stack.extend(self._tracks(placed, rate))
            return stack, Fraction(0)
        resource = self._resources.get(element.get("ref"))
        sequence = None if resource is None else resource.find("sequence")
        if sequence is not None:
            inner_rate = self._rate(sequence.get("format")) or rate
            stack.extend(self._tracks(self._sequence_items(sequence, inner_rate, depth + 1), inner_rate))
            return stack, _time_s(sequence.get("tcStart"))
        multicam = None if resource is None else resource.find("multicam")
        if multicam is None:
            return stack, Fraction(0)
        begin_s = _time_s(multicam.get("tcStart"))
        angle = _chosen_angle(element, multicam)
        if angle is not None:
            inner_rate = self._rate(multicam.get("format")) or rate
            placed = self._spine(angle, inner_rate, begin_s, -begin_s, 0, depth + 1)
            stack.extend(self._tracks(placed, inner_rate))
        return stack, begin_s

    def _describe(
        self,
        item: otio.core.Item,
        element: Element,
        start_s: Fraction,
        shift_s: Fraction,
        rate: Fraction,
        conformed: Fraction,
    ) -> None:
        """Add the properties of an element, except its range and speed.

        Args:
            item: The item.
            element: The element.
            start_s: Time of its content at its first frame.
            shift_s: From the time of its content to that of the item.
            rate: Rate of the sequence.
            conformed: How fast its content plays, without its time map.
        """
        item.enabled = element.get("enabled", "1") != "0"
        held: dict[str, Any] = {
            key: value for key, value in element.attrib.items() if key in ("audioRole", "videoRole", "role")
        }
        note = element.findtext("note")
        if note:
            held["note"] = note
        keywords = [keyword.get("value", "") for keyword in element.iterfind("keyword")]
        if keywords:
            held["keywords"] = keywords
        if held:
            item.metadata[_KEY] = held
        for marker in (*element.iterfind("marker"), *element.iterfind("chapter-marker")):
            colour = {"0": "RED", "1": "GREEN"}.get(marker.get("completed", ""), "PURPLE")
            marked_s = start_s + (_time_s(marker.get("start")) - start_s) / conformed
            marked = _range(marked_s + shift_s, _time_s(marker.get("duration")) / conformed, rate)
            item.markers.append(
                otio.schema.Marker(marker.get("value", ""), marked, colour, comment=marker.get("note", ""))
            )

    def _map_begin_s(self, element: Element, start_s: Fraction) -> Fraction:
        """Return the time of a map at the first frame of a clip, whose start may count from the start of its media."""
        asset = self._assets.get(element.get("ref"))
        media_begin_s = Fraction(0) if asset is None else asset.start_s
        return start_s if start_s >= media_begin_s else start_s + media_begin_s

    def _points(self, element: Element, start_s: Fraction, length_s: Fraction) -> tuple[list[Point] | None, str]:
        """Return the points of a time map, None without one; and where a ramp joins them, "" for straight lines.

        Between two points, the speed is constant, except within the transition times of smooth points.

        Args:
            element: Element of the clip.
            start_s: Time of its content at its first frame.
            length_s: How much of the map is shown.
        """
        time_map = element.find("timeMap")
        if time_map is None:
            return None, ""
        listed = sorted(time_map.iterfind("timept"), key=lambda point: _time_s(point.get("time")))
        points = [(_time_s(point.get("time")), _time_s(point.get("value"))) for point in listed]
        asset = self._assets.get(element.get("ref"))
        moved_s = Fraction(0) if asset is None else asset.start_s
        if points and points[0][0] < moved_s:
            # The times count from the first frame of the media instead of its timecode.
            points = [(time_s + moved_s, value_s + moved_s) for time_s, value_s in points]
        begin_s = self._map_begin_s(element, start_s)
        for number in range(1, len(points) - 1):
            before, here, after = points[number - 1 : number + 2]
            is_straight = (here[1] - before[1]) * (after[0] - here[0]) == (after[1] - here[1]) * (here[0] - before[0])
            reach = _transition_times(listed[number], here[0] - before[0], after[0] - here[0])
            first_s, last_s = max(here[0] - reach[0], begin_s), min(here[0] + reach[1], begin_s + length_s)
            if not is_straight and last_s > first_s:
                begin, end = (f"{float(time_s - begin_s):.2f} s" for time_s in (first_s, last_s))
                return points, f"a ramp from {begin} to {end} after its first frame"
        return points, ""

    def _tracks(self, placed: list[_Placed], rate: Fraction) -> list[otio.schema.Track]:
        """Return the tracks of items: those of pictures by lane from the bottom up, then those of sounds."""
        tracks = []
        for is_audio in (False, True):
            kind = otio.schema.TrackKind.Audio if is_audio else otio.schema.TrackKind.Video
            chosen = [each for each in placed if each.is_audio == is_audio]
            for lane in sorted({each.lane for each in chosen}):
                items = sorted((each for each in chosen if each.lane == lane), key=lambda each: each.begin_s)
                for row in _rows(items):
                    track = otio.schema.Track(f"lane {lane}" if lane else "primary", kind=kind)
                    _fill(track, row, rate)
                    tracks.append(track)
        return tracks

    def _asset(self, element: Element) -> _Asset:
        representation = element.find("media-rep")
        url = element.get("src") or (representation.get("src") if representation is not None else "") or ""
        return _Asset(
            element.get("name", ""),
            url,
            _time_s(element.get("start")),
            _time_s(element.get("duration")),
            self._rate(element.get("format")),
            element.get("hasVideo") == "1" or element.get("hasAudio") != "1",
        )

    def _rate(self, format_id: str | None) -> Fraction | None:
        """Return the frame rate of a format; None if it has none, such as that of a still."""
        found = self._resources.get(format_id) if format_id else None
        duration_s = Fraction(0) if found is None else _time_s(found.get("frameDuration"))
        return 1 / duration_s if duration_s > 0 else None


def _chosen_angle(element: Element, multicam: Element) -> Element | None:
    """Return the angle that a multicam clip shows."""
    sources = [each for each in element.iterfind("mc-source") if each.get("srcEnable", "all") in ("all", "video")]
    wanted = sources[0].get("angleID") if sources else None
    angles = list(multicam.iterfind("mc-angle"))
    return next((angle for angle in angles if angle.get("angleID") == wanted), angles[0] if angles else None)


def _transition_times(point: Element, before_s: Fraction, after_s: Fraction) -> tuple[Fraction, Fraction]:
    """Return how long before and after a point of a time map the speed changes smoothly.

    before_s, after_s: to the points next to it.
    """
    kind = point.get("interp", "smooth2")
    if kind == "linear":
        return Fraction(0), Fraction(0)
    if kind == "smooth":
        return before_s, after_s
    return _time_s(point.get("inTime")), _time_s(point.get("outTime"))


def _is_compound(element: Element) -> bool:
    """Whether a clip contains a sequence or a storyline instead of media."""
    if element.tag == "clip":
        inner = {child.tag for child in element if not child.get("lane")}
        return not inner & {"video", "audio"} and bool(inner & (_CLIPS | {"spine"}))
    return element.tag in ("ref-clip", "mc-clip", "sync-clip")


def _rows(items: list[_Placed]) -> Iterator[list[_Placed]]:
    """Yield rows of items that do not overlap."""
    while items:
        row, rest, end_s = [], [], None
        for each in items:
            if end_s is None or each.begin_s >= end_s:
                row.append(each)
                end_s = each.begin_s + each.duration_s
            else:
                rest.append(each)
        yield row
        items = rest


def _fill(track: otio.schema.Track, row: list[_Placed], rate: Fraction) -> None:
    """Put items on a track, with gaps between them."""
    end_s = Fraction(0)
    for each in row:
        if each.begin_s < 0:
            # It is connected to a clip that hides its beginning.
            if each.begin_s + each.duration_s <= 0:
                continue
            _cut_head(each.item, -each.begin_s)
            each = replace(each, begin_s=Fraction(0), duration_s=each.duration_s + each.begin_s)
        if each.begin_s > end_s:
            track.append(otio.schema.Gap(source_range=_range(Fraction(0), each.begin_s - end_s, rate)))
            end_s = each.begin_s
        is_transition = isinstance(each.item, otio.schema.Transition)
        if is_transition and (not len(track) or isinstance(track[-1], otio.schema.Transition)):
            continue
        track.append(each.item)
        end_s += each.duration_s
    if len(track) and isinstance(track[-1], otio.schema.Transition):
        del track[-1]  # Nothing follows it.


def _cut_head(item: otio.core.Item, cut_s: Fraction) -> None:
    """Shorten an item at its beginning. Backwards, its range ends there."""
    shown = item.source_range
    if shown is None:
        return
    speed = constant_speed(item)
    rate = exact_rate(shown.duration.rate, "A clip", "duration")
    skipped_s = cut_s if speed is None else cut_s * max(speed, Fraction(0))
    start_s = exact_seconds(shown.start_time, "A clip", "start") + skipped_s
    item.source_range = _range(start_s, exact_seconds(shown.duration, "A clip", "duration") - cut_s, rate)


def _duration(element: Element) -> str | None:
    if element.tag == "audition":
        chosen = next((child for child in element if child.tag in _CLIPS), None)
        return None if chosen is None else chosen.get("duration")
    return element.get("duration")


def _frame_rate(text: str | None) -> Fraction | None:
    """Return a rate such as "23.98" in frames per second; None without one."""
    rate = _number(text, "source frame rate")
    return None if rate is None else exact_rate(float(rate), "A clip", "source frame rate")


def _time_s(text: str | None) -> Fraction:
    """Return a time such as "1001/24000s" in seconds; 0 without one."""
    return _number(text, "time") or Fraction(0)


def _number(text: str | None, kind: str) -> Fraction | None:
    if not text:
        return None
    try:
        return Fraction(text.strip().removesuffix("s"))
    except (ValueError, ZeroDivisionError) as error:
        raise ProblemError(
            f'A clip has the {kind} "{text[:40]}", which is not valid.',
            "Export the project again.",
            ProblemKind.TIMELINE,
        ) from error


def _time(time_s: Fraction, rate: Fraction) -> otio.opentime.RationalTime:
    return otio.opentime.RationalTime(float(time_s * rate), float(rate))


def _range(start_s: Fraction, duration_s: Fraction, rate: Fraction) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(_time(start_s, rate), _time(duration_s, rate))
