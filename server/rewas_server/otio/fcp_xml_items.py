"""Prepares the items of a Final Cut Pro 7 XML file for OTIO's adapter, which fails at the first one without a time.

`start` and `end` place an item on its sequence, in frames of the sequence; −1 means the cut of a transition. `in` and
`out` select its media, in frames of the item's own rate. They count

- from the start of the subclip, if the item is one: `startoffset` is where this begins in its media;
- in frames as shown, if a filter retimes the item: frame `in` of it shows frame `in * speed` of the media. Some
  programs count in frames of the media instead. Then, the distance from `in` to `out` is that from
  `start` to `end`, multiplied by the speed.

Otherwise, programs ignore `out`, because `start` and `end` determine the duration. `pproTicksIn`, which Premiere Pro
adds, is `in` in units of 1/254016000000 s.

Sources: Apple, "Final Cut Pro XML Interchange Format", Timing Values and Elements Catalog (subclipinfo). Where it is
silent: the keyframes of `graphdict`, whose `when` lies on the axis of `in` and `out`, and issue 876 of OpenTimelineIO,
in which a clip at 200 % shows its media from twice its `in`.
"""

from __future__ import annotations

from fractions import Fraction
from xml.etree.ElementTree import Element, SubElement

from rewas_api.errors import ProblemError
from rewas_server.otio.exact_times import DEFAULT_RATE, exact_rate
from rewas_server.otio.names import shorten_name
from rewas_server.timecode import parse_timecode

COUNTS_MEDIA = "rewas_in_counts_media"
"""An element that is added to items whose `in` counts in frames of the media although they are retimed."""
_KINDS = frozenset({"clipitem", "generatoritem", "transitionitem"})
_MAX_NOTES = 5


def prepare_items(root: Element, name: str) -> list[str]:
    """Complete the items of all sequences, leave out those without a position, and return notes about these.

    name: Name of the file.
    """
    for timecode in [each for parent in root.iter() for each in parent.iterfind("timecode")]:
        _complete_timecode(timecode)
    for file in root.iter("file"):
        _drop_empty(file, "duration")
        for timecode in file.findall("timecode"):
            if timecode.find("frame") is None:
                file.remove(timecode)
    left_out = []
    for sequence in root.iter("sequence"):
        for timecode in sequence.findall("timecode"):
            if timecode.find("frame") is None:
                sequence.remove(timecode)
        rate = _rate(sequence) or DEFAULT_RATE
        for track in sequence.iterfind("media/*/track"):
            left_out += _prepare_track(track, rate)
    notes = [
        f'The {kind} "{shorten_name(title)}" of {name} was left out, because it has no {lacks}.'
        for kind, title, lacks in left_out
    ]
    if len(notes) > _MAX_NOTES:
        others = len(notes) - _MAX_NOTES
        notes[_MAX_NOTES:] = [f"{others} more item{'s were' if others > 1 else ' was'} left out of {name}."]
    return notes


def _prepare_track(track: Element, rate: Fraction) -> list[tuple[str, str, str]]:
    """Prepare the items of a track, and return those that were left out: kind, name, and what they lack."""
    left_out = []
    for item in [each for each in track if each.tag in _KINDS and len(each)]:
        if item.tag == "transitionitem" and item.find("alignment") is None:
            SubElement(item, "alignment").text = "center"
        if item.tag == "transitionitem" and item.find("effect") is None:
            SubElement(item, "effect")
        _replace_loose_ends(track, item)
        lacks = next((field for field in _needed(item) if _integer(item, field) is None), None)
        if lacks is not None:
            kind = {"clipitem": "clip", "generatoritem": "generator"}.get(item.tag, "transition")
            left_out.append((kind, item.findtext("name") or "", lacks))
            track.remove(item)
        elif item.tag == "clipitem":
            _complete_clip(item, rate)
    return left_out


def _needed(item: Element) -> tuple[str, ...]:
    return ("start", "end") if item.tag == "transitionitem" else ("start", "end", "in")


def _replace_loose_ends(track: Element, item: Element) -> None:
    """Give an item its own start or end where it refers to a transition that does not exist."""
    start, end = _integer(item, "start"), _integer(item, "end")
    if item.tag == "transitionitem" or -1 not in (start, end):
        return
    items = [each for each in track if each.tag in _KINDS]
    place = items.index(item)
    first, last = _integer(item, "in"), _integer(item, "out")
    length = None if first is None or last is None or last <= first else last - first
    if start == -1 and not (place and items[place - 1].tag == "transitionitem"):
        _set(item, "start", None if end is None or end < 0 or length is None else end - length)
    if end == -1 and not (place + 1 < len(items) and items[place + 1].tag == "transitionitem"):
        _set(item, "end", None if start is None or start < 0 or length is None else start + length)


def _complete_clip(item: Element, rate: Fraction) -> None:
    if item.find("file") is None and item.find("sequence") is None:
        SubElement(SubElement(item, "file"), "name").text = item.findtext("name")
    first, last = _integer(item, "in"), _integer(item, "out")
    start, end = _integer(item, "start"), _integer(item, "end")
    assert first is not None
    assert start is not None
    assert end is not None
    speed = _speed(item)
    if speed and last is not None and start >= 0 and end > start:
        own_rate = _rate(item) or rate
        shown_s, chosen_s = (end - start) / rate, (last - first) / own_rate
        tolerance_s = Fraction(3, 2) / min(rate, own_rate)
        if abs(chosen_s - shown_s) > tolerance_s >= abs(chosen_s - shown_s * abs(speed)):
            SubElement(item, COUNTS_MEDIA).text = "TRUE"
    offset = _integer(item, "subclipinfo/startoffset")
    if offset:
        # The offset counts frames of the media.
        is_retimed = bool(speed) and item.find(COUNTS_MEDIA) is None
        shift = Fraction(offset) / abs(speed) if is_retimed else Fraction(offset)
        for field in [item.find("in"), *item.iterfind("marker/in"), *item.iterfind("marker/out")]:
            value = None if field is None else _number(field.text)
            if field is not None and value is not None and value >= 0:
                field.text = f"{float(value + shift):.12g}"


def _speed(item: Element) -> Fraction:
    """Return the constant speed of an item with a filter for it; 0 without one, and for other speeds."""
    for effect in item.iterfind("filter/effect"):
        if effect.findtext("effectid") == "timeremap":
            values = {each.findtext("parameterid"): each.findtext("value") for each in effect.iterfind("parameter")}
            if (values.get("variablespeed") or "0").strip() in ("", "0", "FALSE"):
                return (_number(values.get("speed")) or Fraction(0)) / 100
    return Fraction(0)


def _complete_timecode(timecode: Element) -> None:
    """Add the frame number to a timecode that has only a label."""
    if _number(timecode.findtext("frame")) is not None:
        return
    _drop_empty(timecode, "frame")
    rate, label = _rate(timecode), timecode.findtext("string")
    if rate is None or not label:
        return
    is_drop = (timecode.findtext("displayformat") or "").strip() == "DF" or None
    try:
        frames = parse_timecode(label, rate, is_drop) * rate
    except ProblemError:
        return
    SubElement(timecode, "frame").text = str(int(frames))


def _rate(element: Element) -> Fraction | None:
    timebase = _number(element.findtext("rate/timebase"))
    if timebase is None or timebase <= 0:
        return None
    is_ntsc = (element.findtext("rate/ntsc") or "").strip().upper() == "TRUE"
    return timebase * Fraction(1000, 1001) if is_ntsc else exact_rate(float(timebase), "A sequence", "rate")


def _drop_empty(element: Element, field: str) -> None:
    found = element.find(field)
    if found is not None and _number(found.text) is None:
        element.remove(found)


def _integer(element: Element, field: str) -> int | None:
    value = _number(element.findtext(field))
    return None if value is None else int(value)


def _number(text: str | None) -> Fraction | None:
    try:
        return Fraction((text or "").strip())
    except (ValueError, ZeroDivisionError):
        return None


def _set(element: Element, field: str, value: int | None) -> None:
    found = element.find(field)
    if found is not None:
        found.text = "" if value is None else str(value)
