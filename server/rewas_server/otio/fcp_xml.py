"""Prepares timelines for OTIO's writer of Final Cut Pro 7 XML, as Premiere Pro and DaVinci Resolve read it.

The writer copies every time unchanged, and requires a start timecode, a source range and an available range everywhere.
It describes the channels of sounds, disabled clips and drop-frame timecode only if the metadata does.
"""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio

from rewas_server.otio.audio_files import read_audio_facts
from rewas_server.otio.clips import constant_speed, timeline_frame_rate
from rewas_server.otio.frame_timeline import is_drop_frame, on_whole_frames
from rewas_server.otio.media_paths import file_url, find_path
from rewas_server.otio.metadata import has_key
from rewas_server.timecode import format_timecode, frames_per_day

_KEY = "fcp_xml"
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def prepare(timeline: otio.schema.Timeline) -> otio.schema.Timeline:
    """Return a timeline that OTIO's adapter can write. The media references of `timeline` are absolute.

    Raises ProblemError (TIMELINE) for invalid times.
    """
    rate = timeline_frame_rate(timeline)
    ready = on_whole_frames(timeline, rate)
    if ready.global_start_time.value < 0:
        day = frames_per_day(rate, is_drop_frame(timeline, rate))
        ready.global_start_time += otio.opentime.RationalTime(day, float(rate))
    ours = _metadata(ready)
    # Without a rate here, the writer takes it from the time.
    ours["timecode"] = {"displayformat": "DF" if is_drop_frame(timeline, rate) else "NDF"}
    ready.metadata[_KEY] = ours
    numbers = itertools.count(1)
    for track in ready.tracks:
        _set(track, enabled=_truth(track.enabled))
        for item in track:
            if isinstance(item, otio.schema.Clip):
                _prepare_clip(item, track.kind)
                # The writer treats two equal items as one and leaves the second empty.
                _set(item, **{"@id": f"clipitem-{next(numbers)}"})
    _clean_names(ready)
    return ready


def finish(path: Path, timeline: otio.schema.Timeline) -> None:
    """Correct a written file: each item has one rate, and the timecode of its files counts as that of the timeline.

    OTIO's adapter states the rate of a clip twice, and never writes drop-frame timecode in files. Final Cut Pro 7
    refuses a file without its document type. Raises OSError.
    """
    rate = timeline_frame_rate(timeline)
    root = ElementTree.parse(path).getroot()
    for item in root.iter("clipitem"):
        for repeated in item.findall("rate")[1:]:
            item.remove(repeated)
    if is_drop_frame(timeline, rate):
        for timecode in root.iterfind(".//file/timecode"):
            frames = Fraction(timecode.findtext("frame") or 0)
            for name, text in (("displayformat", "DF"), ("string", format_timecode(frames / rate, rate, True))):
                for element in timecode.findall(name):
                    element.text = text
    text = ElementTree.tostring(root, encoding="unicode")
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE xmeml>\n{text}\n', "utf-8")


def restore_enabled(timeline: otio.schema.Timeline) -> None:
    """Disable the clips, sequences and tracks that a file disables. OTIO's reader leaves this in metadata."""
    for item in timeline.tracks.find_children():
        if isinstance(item, otio.core.Item) and has_key(item.metadata, _KEY):
            stated = _metadata(item).get("enabled")
            item.enabled = item.enabled and str(stated or "").strip().upper() != "FALSE"


def _prepare_clip(clip: otio.schema.Clip, kind: str) -> None:
    _set(clip, enabled=_truth(clip.enabled))
    _avoid_negative_timecode(clip)
    _prepare_speed(clip)
    reference = clip.media_reference
    if isinstance(reference, otio.schema.ImageSequenceReference):
        first = reference.target_url_for_image_number(0)
        reference = otio.schema.ExternalReference(first, reference.available_range, reference.metadata)
        clip.media_reference = reference
    if isinstance(reference, otio.schema.GeneratorReference):
        if "effecttype" in _metadata(reference):
            # Without these, the writer turns the effect into a file.
            reference.metadata[_KEY] = {"mediatype": "video", "effectcategory": "Text", **_metadata(reference)}
        else:
            # Without this, the writer looks for the kind of the file.
            _set(reference, media={"video": ""})
    if not isinstance(reference, otio.schema.ExternalReference):
        return
    path = find_path(reference.target_url, Path.cwd())
    if path is not None:
        reference.target_url = file_url(path, "localhost")
        reference.name = reference.name or path.name
    if kind != otio.schema.TrackKind.Audio:
        return
    facts = read_audio_facts(path) if isinstance(path, Path) else None
    if facts is None or facts.channels == 1:
        # In a file with more channels, only the source track would be audible.
        _set(clip, sourcetrack={"mediatype": "audio", "trackindex": "1"})
    if facts is not None:
        characteristics = {"depth": str(facts.depth_bits), "samplerate": str(facts.sample_rate_hz)}
        _set(
            reference,
            media={"audio": {"samplecharacteristics": characteristics, "channelcount": str(facts.channels)}},
        )


def _avoid_negative_timecode(clip: otio.schema.Clip) -> None:
    """Let media that begins before midnight begin there: timecode cannot be negative."""
    reference = clip.media_reference
    if reference is None or reference.available_range.start_time.value >= 0:
        return
    available, shown = reference.available_range, clip.source_range
    zero = otio.opentime.RationalTime(0, shown.start_time.rate)
    clip.source_range = otio.opentime.TimeRange(shown.start_time - available.start_time, shown.duration)
    reference.available_range = otio.opentime.TimeRange(zero, available.duration)


def _clean_names(timeline: otio.schema.Timeline) -> None:
    """Replace characters that XML does not allow."""
    named: list[otio.core.SerializableObjectWithMetadata] = [
        timeline,
        timeline.tracks,
        *timeline.tracks.find_children(),
    ]
    for item in list(named):
        if isinstance(item, otio.core.Item):
            named += item.markers
        if isinstance(item, otio.schema.Clip) and item.media_reference is not None:
            named.append(item.media_reference)
    for item in named:
        if _NOT_IN_XML.search(item.name):
            item.name = _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", item.name)


def _prepare_speed(clip: otio.schema.Clip) -> None:
    """Describe the speed of a clip. The format counts the range of a retimed clip in frames at that speed."""
    exact = constant_speed(clip)
    if exact in (None, 1) or clip.media_reference is None:
        return
    shown, available = clip.source_range, clip.media_reference.available_range
    first = shown.start_time.value - available.start_time.value
    speed = float(exact)
    if speed == 0:
        _set(clip, stillframe="TRUE", stillframeoffset=f"{first:.0f}")
        return
    if speed < 0:
        # Backwards, the range counts from the end of the media.
        first = available.duration.value - first - shown.duration.value * -speed
    begin = available.start_time.value + round(first / abs(speed))
    clip.source_range = otio.opentime.TimeRange(
        otio.opentime.RationalTime(begin, shown.start_time.rate), shown.duration
    )
    parameters = {
        "variablespeed": "0",
        "speed": f"{speed * 100:.6g}",
        "reverse": _truth(speed < 0),
        "frameblending": "FALSE",
    }
    effect = {
        "name": "Time Remap",
        "effectid": "timeremap",
        "effectcategory": "motion",
        "effecttype": "motion",
        "mediatype": "video",
        "parameter": [{"parameterid": key, "name": key, "value": value} for key, value in parameters.items()],
    }
    _set(clip, filter={"effect": effect})


def _set(item: otio.core.SerializableObjectWithMetadata, **elements: object) -> None:
    item.metadata[_KEY] = {**_metadata(item), **elements}


def _metadata(item: otio.core.SerializableObjectWithMetadata) -> dict[str, object]:
    found = item.metadata.get(_KEY)
    return dict(found) if hasattr(found, "items") else {}


def _truth(value: bool) -> str:
    return "TRUE" if value else "FALSE"
