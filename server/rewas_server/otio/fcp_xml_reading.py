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
from xml.etree.ElementTree import Element, SubElement, tostring

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.otio.clips import timelines_in
from rewas_server.otio.metadata import has_key

_KEY = "fcp_xml"
_MAX_ELEMENTS = 2_000_000
"""Sequences that contain others several times over many levels could use up all memory."""


def read_fcp_xml(text: bytes, name: str) -> Any:
    """Read the timelines of a Final Cut Pro 7 XML file.

    Args:
        text: Its content, checked to be well-formed and without entities.
        name: Of the file, for errors.

    Raises ProblemError (TIMELINE) for a sequence that contains itself, or what the adapter raises.
    """
    from defusedxml.ElementTree import fromstring

    root = fromstring(text, forbid_dtd=False)
    _Nesting(root, name).write_out()
    for item in root.iter("clipitem"):
        if item.find("file") is None and item.find("sequence") is None:
            # Otherwise, the adapter fails to read the whole file.
            SubElement(SubElement(item, "file"), "name").text = item.findtext("name")
    found = otio.adapters.read_from_string(tostring(root, encoding="unicode"), "fcp_xml")
    for timeline in timelines_in(found):
        for item in _items_in(timeline.tracks):
            _apply_metadata(item)
    return found


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
            raise _problem(f'The sequence "{sequence_name}" of {self._name} contains itself.', "Export it again.")
        content = copy.deepcopy(whole)
        self._elements += sum(1 for _ in content.iter())
        if self._elements > _MAX_ELEMENTS:
            raise _problem(f"The nested sequences of {self._name} are too large.", "Export it with less nesting.")
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


def _apply_metadata(item: otio.core.Item) -> None:
    if has_key(item.metadata, _KEY):
        held = item.metadata[_KEY]
        if isinstance(item, otio.schema.Clip) and has_key(held, "stillframe"):
            _apply_still(item, held)
    for place in range(len(item.effects)):
        effect = item.effects[place]
        if has_key(effect.metadata, _KEY):
            held = effect.metadata[_KEY]
            if has_key(held, "effectid") and held["effectid"] == "timeremap":
                item.effects[place] = _retime(item, effect, _parameters(held))


def _apply_still(clip: otio.schema.Clip, held: Any) -> None:
    if str(held["stillframe"]).upper() != "TRUE":
        return
    clip.effects.append(otio.schema.FreezeFrame())
    if has_key(held, "stillframeoffset") and clip.source_range is not None:
        shown = clip.source_range
        offset = otio.opentime.RationalTime(float(held["stillframeoffset"]), shown.start_time.rate)
        clip.source_range = otio.opentime.TimeRange(_media_start(clip, shown) + offset, shown.duration)


def _retime(item: otio.core.Item, effect: otio.schema.Effect, parameters: dict[str, str]) -> otio.schema.Effect:
    """Return the time effect for a filter, and move the range of its item to the visible part of the media.

    The file counts the range of a retimed clip in frames at its speed.
    """
    name = effect.name or "Time Remap"
    if parameters.get("variablespeed", "0").strip() not in ("", "0", "FALSE"):
        return otio.schema.TimeEffect(name, name, effect.metadata)
    try:
        speed = Fraction(parameters.get("speed", "100").strip()) / 100
    except (ValueError, ZeroDivisionError):
        return otio.schema.TimeEffect(name, name, effect.metadata)
    if parameters.get("reverse", "").strip().upper() == "TRUE":
        speed = -abs(speed)
    shown = item.source_range
    if speed == 0:
        return otio.schema.FreezeFrame(name, effect.metadata)
    if shown is not None and speed != 1 and isinstance(item, otio.schema.Clip):
        begin = _media_start(item, shown)
        first = float(Fraction((shown.start_time - begin).value).limit_denominator(1000) * abs(speed))
        start = otio.opentime.RationalTime(first, shown.start_time.rate)
        available = item.media_reference.available_range
        if speed < 0 and available is not None:
            length = otio.opentime.RationalTime(shown.duration.value * float(abs(speed)), shown.duration.rate)
            start = available.duration.rescaled_to(shown.start_time.rate) - start - length
        item.source_range = otio.opentime.TimeRange(begin + start, shown.duration)
    return otio.schema.LinearTimeWarp(name, float(speed), effect.metadata)


def _media_start(clip: otio.schema.Clip, shown: otio.opentime.TimeRange) -> otio.opentime.RationalTime:
    available = clip.media_reference.available_range if clip.media_reference else None
    if available is None:
        return otio.opentime.RationalTime(0, shown.start_time.rate)
    return available.start_time.rescaled_to(shown.start_time.rate)


def _parameters(held: Any) -> dict[str, str]:
    if not has_key(held, "parameter"):
        return {}
    given = held["parameter"]
    return {
        str(each["parameterid"]): str(each["value"])
        for each in ([given] if hasattr(given, "items") else given)
        if has_key(each, "parameterid") and has_key(each, "value")
    }


def _items_in(parent: otio.core.Composition) -> Iterator[otio.core.Item]:
    for child in parent:
        if isinstance(child, otio.core.Item):
            yield child
        if isinstance(child, otio.core.Composition):
            yield from _items_in(child)


def _problem(what: str, remedy: str) -> ProblemError:
    return ProblemError(what, remedy, ProblemKind.TIMELINE)
