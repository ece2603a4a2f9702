"""Reads Final Cut Pro X XML (.fcpxml) exactly.

OTIO's adapter cannot be used: it counts 24000/1001 as 23 frames per second, fails on any title, and loses speeds, the
start timecode, disabled clips and all events but the first.

In the file, the content of each clip has a separate time. `start` is the time of the content at the first frame of the
clip, and `offset` is where the clip begins in the time of its parent. Clips in clips are on the lanes above (1, 2, …)
and below (−1, …).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind

_KEY = "fcpx"
_CLIPS = frozenset(
    {"asset-clip", "clip", "video", "audio", "title", "ref-clip", "sync-clip", "mc-clip", "gap", "audition"}
)
_MAX_DEPTH = 32
_MAX_CLIPS = 200_000
"""Compound clips that contain others several times over many levels could use up all memory."""
_DEFAULT_RATE = Fraction(24)


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
                        placed = self._clip(element, _DEFAULT_RATE, Fraction(0), 0)
                        found.extend([each.item for each in placed if each.lane == 0])
        return found

    def _timeline(self, name: str, sequence: Element) -> otio.schema.Timeline:
        rate = self._rate(sequence.get("format")) or _DEFAULT_RATE
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
            rate: Of the sequence.
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
        item, start_s, is_audio = self._item(element, rate, duration_s, depth)
        placed = [_Placed(item, begin_s, duration_s, 0, is_audio)]
        for child in element:
            lane = int(child.get("lane") or 0)
            if not lane:
                continue
            # The offset of a connected clip counts in the time of the clip that it is connected to.
            child_s = begin_s + _time_s(child.get("offset")) - start_s
            if child.tag == "spine":
                placed += self._spine(child, rate, Fraction(0), child_s, lane, depth)
            elif child.tag in _CLIPS:
                placed += [
                    each if each.lane else replace(each, lane=lane) for each in self._clip(child, rate, child_s, depth)
                ]
        return placed

    def _item(
        self, element: Element, rate: Fraction, duration_s: Fraction, depth: int
    ) -> tuple[otio.core.Item, Fraction, bool]:
        """Return the item of an element, the time of its content at its first frame, and whether it is audio only."""
        start_s = _time_s(element.get("start"))
        is_audio = element.tag == "audio" or element.get("srcEnable") == "audio"
        item: otio.core.Item
        if element.tag == "gap":
            item = otio.schema.Gap(source_range=_range(Fraction(0), duration_s, rate))
            return item, start_s, False
        if element.tag in ("ref-clip", "mc-clip", "sync-clip"):
            item, begin_s = self._compound(element, rate, depth)
            item.source_range = _range(start_s - begin_s, duration_s, rate)
            shift_s = -begin_s
        else:
            reference, media_s, media_rate, heard = self._media(element, start_s, rate)
            is_audio = is_audio or heard
            item = otio.schema.Clip(element.get("name") or "", reference, _range(media_s, duration_s, media_rate))
            shift_s = media_s - start_s
        self._describe(item, element, shift_s, rate)
        # The times of a map are those of the media itself, if the clip names it.
        self._retime(item, element, start_s, duration_s, Fraction(0) if element.get("ref") in self._assets else shift_s)
        return item, start_s, is_audio

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
        if element.tag == "sync-clip":
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

    def _describe(self, item: otio.core.Item, element: Element, shift_s: Fraction, rate: Fraction) -> None:
        """Add the properties of an element but its range. shift_s: from the time of its content to that of the item."""
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
            marked = _range(_time_s(marker.get("start")) + shift_s, _time_s(marker.get("duration")), rate)
            item.markers.append(
                otio.schema.Marker(marker.get("value", ""), marked, colour, comment=marker.get("note", ""))
            )

    def _retime(
        self, item: otio.core.Item, element: Element, start_s: Fraction, duration_s: Fraction, shift_s: Fraction
    ) -> None:
        """Add the time effect of a clip, and move its range to the visible part of the media.

        shift_s: from the time of the map to that of the item.
        """
        time_map = element.find("timeMap")
        if time_map is None or item.source_range is None:
            return
        points = sorted(
            (_time_s(point.get("time")), _time_s(point.get("value"))) for point in time_map.iterfind("timept")
        )
        asset = self._assets.get(element.get("ref"))
        media_begin_s = Fraction(0) if asset is None else asset.start_s
        if points and points[0][0] < media_begin_s:
            # The times count from the first frame of the media instead of its timecode.
            points = [(time_s + media_begin_s, value_s + media_begin_s) for time_s, value_s in points]
        begin_s = start_s if start_s >= media_begin_s else start_s + media_begin_s
        seen = _constant_speed(points, begin_s, begin_s + duration_s)
        if seen is None:
            item.effects.append(otio.schema.TimeEffect("timeMap", "timeMap"))
            return
        media_s, speed = seen
        if speed == 1 and media_s == begin_s:
            return
        rate = Fraction(item.source_range.duration.rate).limit_denominator(1001)
        if speed < 0:
            # In OTIO, the range is the visible part, whichever way it plays.
            media_s += speed * duration_s
        item.source_range = _range(media_s + shift_s, duration_s, rate)
        item.effects.append(
            otio.schema.FreezeFrame("timeMap") if speed == 0 else otio.schema.LinearTimeWarp("timeMap", float(speed))
        )

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


def _constant_speed(
    points: list[tuple[Fraction, Fraction]], begin_s: Fraction, end_s: Fraction
) -> tuple[Fraction, Fraction] | None:
    """Return the time of the media at the beginning of a range, and the speed; None if it changes within the range.

    points: times of the clip as shown, with the times of the media.
    """
    spans = [(first, last) for first, last in itertools.pairwise(points) if last[0] > first[0]]
    if not spans:
        return None
    # Before the first and after the last point, the speed continues.
    inside = [
        (first, last)
        for number, (first, last) in enumerate(spans)
        if (last[0] > begin_s or number == len(spans) - 1) and (first[0] < end_s or number == 0)
    ]
    speeds = {(last[1] - first[1]) / (last[0] - first[0]) for first, last in inside}
    if len(speeds) != 1:
        return None
    (speed,) = speeds
    first, _ = inside[0]
    return first[1] + (begin_s - first[0]) * speed, speed


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


def _duration(element: Element) -> str | None:
    if element.tag == "audition":
        chosen = next((child for child in element if child.tag in _CLIPS), None)
        return None if chosen is None else chosen.get("duration")
    return element.get("duration")


def _time_s(text: str | None) -> Fraction:
    """Return a time such as "1001/24000s" in seconds; 0 without one."""
    if not text:
        return Fraction(0)
    try:
        return Fraction(text.strip().removesuffix("s"))
    except (ValueError, ZeroDivisionError) as error:
        raise ProblemError(
            f'A clip has the time "{text[:40]}", which is not valid.',
            "Export the project again.",
            ProblemKind.TIMELINE,
        ) from error


def _time(time_s: Fraction, rate: Fraction) -> otio.opentime.RationalTime:
    return otio.opentime.RationalTime(float(time_s * rate), float(rate))


def _range(start_s: Fraction, duration_s: Fraction, rate: Fraction) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(_time(start_s, rate), _time(duration_s, rate))
