"""Reads Final Cut Pro 7 XML with OTIO's adapter, which loses nested sequences, speeds and frame holds.

The adapter looks for the tracks of a nested sequence one level too high, and treats a reference to a sequence as an
empty sequence. So nested sequences are expanded before it reads the file. Settings that it keeps only as metadata are
applied afterwards.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from fractions import Fraction
from typing import Any
from xml.etree.ElementTree import Element, tostring

import opentimelineio as otio

from rewas_api.errors import TimelineProblem
from rewas_server.otio.clips import timelines_in
from rewas_server.otio.exact_times import exact_rate, exact_seconds
from rewas_server.otio.fcp_xml_items import COUNTS_MEDIA, prepare_items
from rewas_server.otio.metadata import has_key
from rewas_server.otio.speed_pieces import MAX_PIECES, SpeedPiece, cut_into_pieces, speed_pieces

_KEY = "fcp_xml"
_MAX_ELEMENTS = 2_000_000
"""Sequences that contain others several times over many levels could use up all memory."""


def read_fcp_xml(text: bytes, name: str) -> tuple[Any, list[str]]:
    """Return the timelines of a Final Cut Pro 7 XML file, and notes on how it was read.

    Args:
        text: Its content, checked to be well-formed and without entities.
        name: Of the file, for errors.

    Raises ProblemError (TIMELINE) for a file without a sequence, a sequence that contains itself, or what the adapter
    raises.
    """
    from defusedxml.ElementTree import fromstring

    root = fromstring(text, forbid_dtd=False)
    if root.find("sequence") is None and root.find(".//children/sequence") is None:
        raise TimelineProblem(
            f"{name} contains no sequence of Final Cut Pro 7, Premiere Pro or DaVinci Resolve.",
            "Export a sequence as Final Cut Pro XML.",
        )
    notes = prepare_items(root, name)
    _Nesting(root, name).write_out()
    found = otio.adapters.read_from_string(tostring(root, encoding="unicode"), "fcp_xml")
    for timeline in timelines_in(found):
        _apply_metadata(timeline.tracks)
    return found, notes


class _Nesting:
    """Expands the sequences in clips."""

    def __init__(self, root: Element, name: str) -> None:
        self._root = root
        self._name = name
        self._elements = 0
        self._whole = {
            key: sequence
            for sequence in root.iter("sequence")
            if (key := sequence.get("id")) is not None and sequence.find("media") is not None
        }

    def write_out(self) -> None:
        """Replace each sequence in a clip with its content."""
        # A clip in a nested sequence is expanded together with that sequence.
        nested = {id(clip) for sequence in self._root.iter("sequence") for clip in self._clips_below(sequence)}
        outermost = [
            clip
            for sequence in self._root.iter("sequence")
            for clip in sequence.iter("clipitem")
            if id(clip) not in nested and clip.find("sequence") is not None
        ]
        for clip in dict.fromkeys(outermost):
            self._write_out(clip, ())

    @staticmethod
    def _clips_below(sequence: Element) -> Iterator[Element]:
        for clip in sequence.iter("clipitem"):
            inner = clip.find("sequence")
            if inner is not None:
                yield from inner.iter("clipitem")

    def _write_out(self, clip: Element, above: tuple[str, ...]) -> None:
        place = clip.find("sequence")
        assert place is not None
        key = place.get("id")
        whole = place if key is None or place.find("media") is not None else self._whole.get(key, place)
        if key is not None and key in above:
            sequence_name = whole.findtext("name") or key
            raise TimelineProblem(
                f'The sequence "{sequence_name}" of {self._name} contains itself.', "Export it again."
            )
        content = copy.deepcopy(whole)
        self._elements += sum(1 for _ in content.iter())
        if self._elements > _MAX_ELEMENTS:
            raise TimelineProblem(
                f"The nested sequences of {self._name} are too large.", "Export it with less nesting."
            )
        content.attrib.pop("id", None)
        below = (*above, key) if key is not None else above
        for inner in self._direct_clips(content):
            if inner.find("sequence") is not None:
                self._write_out(inner, below)
        media = content.find("media")
        if media is not None:
            content.remove(media)
            content.extend(list(media))
        clip.insert(list(clip).index(place), content)
        clip.remove(place)

    @staticmethod
    def _direct_clips(sequence: Element) -> list[Element]:
        inner = {id(clip) for clip in _Nesting._clips_below(sequence)}
        return [clip for clip in sequence.iter("clipitem") if id(clip) not in inner]


def _apply_metadata(parent: otio.core.Composition) -> None:
    for place in reversed(range(len(parent))):
        item = parent[place]
        if isinstance(item, otio.core.Composition):
            _apply_metadata(item)
        if not isinstance(item, otio.core.Item) or not has_key(item.metadata, _KEY):
            continue
        if isinstance(item, otio.schema.Clip) and has_key(item.metadata[_KEY], "stillframe"):
            _apply_still(item, item.metadata[_KEY])
        retimed = _retimed(item)
        if retimed is not None:
            del parent[place]
            for piece in reversed(retimed):
                parent.insert(place, piece)


def _apply_still(clip: otio.schema.Clip, held: Any) -> None:
    if str(held["stillframe"]).upper() != "TRUE":
        return
    clip.effects.append(otio.schema.FreezeFrame())
    if has_key(held, "stillframeoffset") and clip.source_range is not None:
        shown = clip.source_range
        offset = otio.opentime.RationalTime(float(held["stillframeoffset"]), shown.start_time.rate)
        clip.source_range = otio.opentime.TimeRange(_media_start(clip, shown) + offset, shown.duration)


def _retimed(item: otio.core.Item) -> list[otio.core.Item] | None:
    """Return the parts of constant speed of an item with a filter that retimes it; None if it stays as it is."""
    counts_media = has_key(item.metadata[_KEY], COUNTS_MEDIA)
    if counts_media:
        del item.metadata[_KEY][COUNTS_MEDIA]
    for place, effect in enumerate(item.effects):
        held = effect.metadata[_KEY] if has_key(effect.metadata, _KEY) else {}
        if not has_key(held, "effectid") or held["effectid"] != "timeremap":
            continue
        name = effect.name or "Time Remap"
        parameters = _parameters(held)
        pieces = [] if item.source_range is None else _pieces(item, parameters, counts_media)
        if not 0 < len(pieces) <= MAX_PIECES:
            item.effects[place] = otio.schema.TimeEffect(name, name, effect.metadata)
            return None
        metadata = dict(effect.metadata)
        del item.effects[place]
        _move_markers(item)
        found = cut_into_pieces(item, pieces, name)
        for piece in found:
            if len(piece.effects) > len(item.effects):
                piece.effects[-1].metadata.update(metadata)
        return found
    return None


def _pieces(item: otio.core.Item, parameters: dict[str, Any], counts_media: bool) -> list[SpeedPiece]:
    """Return the parts of constant speed of a retimed item; none for a speed that cannot be read.

    counts_media: whether its range counts in frames of the media, and not in frames as shown.
    """
    shown = item.source_range
    length_s = exact_seconds(shown.duration, "A clip", "duration")
    media_start_s = exact_seconds(_media_start(item, shown), "A clip", "media start")
    first_s = exact_seconds(shown.start_time, "A clip", "start") - media_start_s
    if _text(parameters, "variablespeed") not in ("", "0", "FALSE"):
        rate = exact_rate(shown.start_time.rate, "A clip", "start")
        points = [(when / rate, media_start_s + frame / rate) for when, frame in _keyframes(parameters)]
        return speed_pieces(points, first_s, first_s + length_s)
    try:
        speed = Fraction(_text(parameters, "speed") or 100) / 100
    except (ValueError, ZeroDivisionError):
        return []
    if _text(parameters, "reverse").upper() == "TRUE":
        speed = -abs(speed)
    begin_s = first_s if counts_media or speed == 0 else first_s * abs(speed)
    if speed < 0:
        available = item.media_reference.available_range if isinstance(item, otio.schema.Clip) else None
        if available is not None and not counts_media:
            # Frames as shown count from the end of the media.
            begin_s = exact_seconds(available.duration, "A clip", "media duration") - begin_s + length_s * speed
        begin_s -= length_s * speed
    return [SpeedPiece(Fraction(0), length_s, media_start_s + begin_s, speed)]


def _keyframes(parameters: dict[str, Any]) -> list[tuple[Fraction, Fraction]]:
    """Return the frames of a retimed item, with those of its media that they show; none if curves join them.

    Virtual keyframes, which programs add at the ends of an item, may have any value between the first and last one.
    """
    listed = parameters.get("graphdict", {})
    keyframes: Any = listed["keyframe"] if has_key(listed, "keyframe") else []
    found = []
    for keyframe in [keyframes] if hasattr(keyframes, "items") else keyframes:
        held = {str(key).lower() for key in keyframe}
        if held & {"inbez", "outbez", "pprorampstart", "pprorampend"}:
            return []
        if "speedvirtualkf" not in held or held & {"speedkfstart", "speedkfend"}:
            try:
                found.append((Fraction(str(keyframe["when"])), Fraction(str(keyframe["value"]))))
            except (KeyError, ValueError, ZeroDivisionError):
                return []
    return found


def _move_markers(item: otio.core.Item) -> None:
    """Count the markers of an item as its range does: those of media with a timecode count from its first frame."""
    shown = item.source_range
    begin = _media_start(item, shown)
    for marker in item.markers:
        moved = marker.marked_range.start_time + begin
        if not shown.contains(marker.marked_range.start_time) and shown.contains(moved):
            marker.marked_range = otio.opentime.TimeRange(moved, marker.marked_range.duration)


def _media_start(item: otio.core.Item, shown: otio.opentime.TimeRange) -> otio.opentime.RationalTime:
    reference = item.media_reference if isinstance(item, otio.schema.Clip) else None
    available = reference.available_range if reference is not None else None
    if available is None:
        return otio.opentime.RationalTime(0, shown.start_time.rate)
    return available.start_time.rescaled_to(shown.start_time.rate)


def _parameters(held: Any) -> dict[str, Any]:
    """Return the parameters of a filter by their ids."""
    if not has_key(held, "parameter"):
        return {}
    given = held["parameter"]
    return {
        str(each["parameterid"]): each
        for each in ([given] if hasattr(given, "items") else given)
        if has_key(each, "parameterid")
    }


def _text(parameters: dict[str, Any], name: str) -> str:
    """Return the value of a parameter, "" without one."""
    held = parameters.get(name, {})
    return str(held["value"]).strip() if has_key(held, "value") else ""
