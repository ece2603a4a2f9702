"""Writes edit decision lists in the CMX 3600 format, with the sounds as events of audio tracks.

OTIO's writer supports only one video track: it drops sounds and the start timecode.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import opentimelineio as otio

from rewas_api.errors import ProblemError
from rewas_server.otio.clips import constant_speed, timeline_frame_rate, timeline_start_s
from rewas_server.otio.exact_times import exact_seconds
from rewas_server.otio.frame_timeline import PlacedItem, is_drop_frame, placed_clips, round_frames
from rewas_server.otio.media_paths import location
from rewas_server.otio.metadata import texts_at
from rewas_server.otio.pictures import Picture, find_pictures
from rewas_server.timecode import format_timecode, frames_per_day

_AUDIO_TRACKS_PER_FILE = 4
_NO_REEL = "AX"
_MAX_REEL_CHARACTERS = 8
_EDL_REEL, _ALE_REEL = ("cmx_3600", "reel"), ("ALE", "Tape")
_FCP_XML_REEL = ("fcp_xml", "timecode", "reel", "name")


@dataclass(frozen=True)
class EdlFile:
    """One EDL. suffix: what its name adds to that of the timeline: "" or " A5-A8"."""

    suffix: str
    text: str


@dataclass(frozen=True)
class _Source:
    """What a clip shows: the timecode of the first frame of its media, its speed, and its file."""

    timecode_s: Fraction
    speed: Fraction
    media: str


@dataclass(frozen=True)
class _Event:
    """An event. Frames count from midnight of the timecode."""

    channel: str
    reel: str
    source_in: int
    source_out: int
    record_in: int
    record_out: int
    name: str
    media: str
    speed: Fraction = Fraction(1)


def write_edl(timeline: otio.schema.Timeline) -> list[EdlFile]:
    """Return the EDLs of a timeline: the visible picture and four audio tracks, then up to four audio tracks each.

    Disabled clips and tracks are left out. All times are whole frames.

    Raises ProblemError (TIMELINE) for invalid times.
    """
    rate = timeline_frame_rate(timeline)
    is_drop = is_drop_frame(timeline, rate)
    start = round_frames(timeline_start_s(timeline), rate)
    sounds = [
        list(_sound_events(track, start, rate))
        for track in timeline.tracks
        if isinstance(track, otio.schema.Track) and track.kind == otio.schema.TrackKind.Audio and track.enabled
    ]
    sounds = [events for events in sounds if events]
    files = []
    for first in range(0, max(1, len(sounds)), _AUDIO_TRACKS_PER_FILE):
        group = sounds[first : first + _AUDIO_TRACKS_PER_FILE]
        events = [] if first else list(_picture_events(timeline, start, rate))
        for number, track in enumerate(group, start=1):
            channel = "A" if number == 1 else f"A{number}"
            events += [replace(event, channel=channel) for event in track]
        suffix = _suffix(first, len(sounds))
        files.append(EdlFile(suffix, _text(timeline.name + suffix, events, rate, is_drop)))
    return files


def further_suffixes(timeline: otio.schema.Timeline) -> list[str]:
    """Return the suffixes of all EDLs of a timeline but the first."""
    sounding = [
        track
        for track in timeline.tracks
        if isinstance(track, otio.schema.Track)
        and track.kind == otio.schema.TrackKind.Audio
        and track.enabled
        and any(clip.enabled for clip in track.find_clips())
    ]
    firsts = range(_AUDIO_TRACKS_PER_FILE, len(sounding), _AUDIO_TRACKS_PER_FILE)
    return [_suffix(first, len(sounding)) for first in firsts]


def _suffix(first: int, tracks: int) -> str:
    """Return the suffix of the EDL that begins with this audio track, counted from 0."""
    return f" A{first + 1}-A{min(first + _AUDIO_TRACKS_PER_FILE, tracks)}" if first else ""


def _picture_events(timeline: otio.schema.Timeline, start: int, rate: Fraction) -> Iterator[_Event]:
    reached = start
    for picture in find_pictures(timeline):
        source = _picture_source(picture)
        if source is None or picture.position_s is None:
            continue
        first = max(reached, start + round_frames(picture.position_s, rate))
        last = start + round_frames(picture.position_s + picture.duration_s, rate)
        if last > first:
            yield _event("V", picture.clip, source, first, last, rate)
            reached = last


def unreadable_pictures(timeline: otio.schema.Timeline) -> int:
    """Return how many pictures an EDL leaves out, because their place or their range is not known."""
    return sum(
        not picture.hidden
        and not isinstance(getattr(picture.clip, "media_reference", None), otio.schema.GeneratorReference)
        and _picture_source(picture) is None
        for picture in find_pictures(timeline)
    )


def _picture_source(picture: Picture) -> _Source | None:
    """Return what a picture shows, even if its media is missing or too short; None if that is not known."""
    source, clip = picture.source, picture.clip
    if source is not None:
        return _Source(source.timecode_s, source.speed, source.target_url)
    if picture.hidden or picture.position_s is None or not isinstance(clip, otio.schema.Clip):
        return None
    if isinstance(clip.media_reference, otio.schema.GeneratorReference):
        return None
    try:
        hidden_s = picture.position_s - picture.clip_begin_s
        return _source(PlacedItem(clip, picture.position_s, picture.duration_s, hidden_s))
    except ProblemError:
        return None


def _source(placed: PlacedItem) -> _Source:
    """Return what a clip shows. Raises ProblemError for invalid times."""
    clip = placed.item
    media = clip.media_reference
    begin = clip.source_range or (None if media is None else media.available_range)
    begin_s = Fraction(0) if begin is None else exact_seconds(begin.start_time, f'The clip "{clip.name}"', "start")
    speed = constant_speed(clip)
    return _Source(
        begin_s + placed.hidden_media_s(),
        Fraction(1) if speed is None else speed,
        "" if media is None else location(media),
    )


def _event(channel: str, clip: otio.schema.Clip, source: _Source, first: int, last: int, rate: Fraction) -> _Event:
    source_in = round_frames(source.timecode_s, rate)
    length = last - first
    if abs(source.speed) != 1:
        length = max(1, round_frames(abs(source.speed) * length, Fraction(1)))
    return _Event(
        channel,
        _reel(clip),
        source_in,
        source_in + length,
        first,
        last,
        _one_line(clip.name),
        _one_line(source.media),
        source.speed,
    )


def _sound_events(track: otio.schema.Track, start: int, rate: Fraction) -> Iterator[_Event]:
    reached = start
    for placed in placed_clips(track):
        first = max(reached, start + round_frames(placed.start_s, rate))
        last = start + round_frames(placed.start_s + placed.duration_s, rate)
        if placed.item.enabled and last > first:
            yield _event("A", placed.item, _source(placed), first, last, rate)
            reached = last


def _text(title: str, events: Sequence[_Event], rate: Fraction, is_drop: bool) -> str:
    lines = [f"TITLE: {_one_line(title)}", f"FCM: {'DROP FRAME' if is_drop else 'NON-DROP FRAME'}", ""]
    for number, event in enumerate(sorted(events, key=lambda one: (one.record_in, one.channel != "V")), start=1):
        times = (event.source_in, event.source_out, event.record_in, event.record_out)
        timecodes = " ".join(_timecode(frames, rate, is_drop) for frames in times)
        lines.append(f"{number:03d}  {event.reel:8} {event.channel:5} C        {timecodes}")
        if event.speed != 1:
            speed = float(event.speed * rate)
            # Programs expect colons here.
            begin = _timecode(event.source_in, rate, is_drop).replace(";", ":")
            lines.append(f"M2   {event.reel:8} {speed:08.3f} {begin:>20}")
        if event.name:
            lines.append(f"* FROM CLIP NAME:  {event.name}")
        if event.speed == 0:
            lines.append("* * FREEZE FRAME")
        if event.media:
            lines.append(f"* FROM CLIP: {event.media}")
        if number == 1:
            # States the rate, so that nobody has to guess it. OTIO's reader refuses comments before the first event.
            lines.append(f"* FRAME RATE: {float(rate):.6g}")
    return "\n".join(lines) + "\n"


def _timecode(frames: int, rate: Fraction, is_drop: bool) -> str:
    """Return the timecode of a frame. It starts again at midnight, because an EDL has only two digits for hours."""
    return format_timecode(Fraction(frames % frames_per_day(rate, is_drop)) / rate, rate, is_drop)


def _reel(clip: otio.schema.Clip) -> str:
    """Return the reel of a clip that was read from an EDL, an ALE or Final Cut Pro 7 XML."""
    media = {} if clip.media_reference is None else clip.media_reference.metadata
    for metadata, path in ((clip.metadata, _EDL_REEL), (clip.metadata, _ALE_REEL), (media, _FCP_XML_REEL)):
        for text in texts_at(metadata, path):
            if letters := re.sub(r"[^A-Za-z0-9_.-]", "", text)[:_MAX_REEL_CHARACTERS]:
                return letters
    return _NO_REEL


def _one_line(text: str) -> str:
    return " ".join(text.split())
