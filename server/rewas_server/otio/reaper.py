"""Writes REAPER projects: nested blocks of text, each line a keyword with its values. Reading is in `rewas_api`.

Items are on whole samples, so that REAPER plays sounds unchanged and neighbours touch. The metadata of clips and tracks
is stored in the extension data of their items and tracks, which REAPER keeps.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.reaper_projects import (
    KIND_LINE,
    METADATA_LINE,
    PROJECT_SECTION,
    REAPER_KEY,
    ReaperError,
    read_reaper_project,
)
from rewas_server.otio.clips import constant_speed, timeline_frame_rate, timeline_start_s
from rewas_server.otio.exact_times import exact_seconds
from rewas_server.otio.frame_timeline import PlacedItem, is_drop_frame, placed_clips
from rewas_server.otio.media_paths import location
from rewas_server.timecode import frames_per_label_second

_SAMPLE_RATE_HZ = 48000
_MIN_SAMPLE_RATE_HZ, _MAX_SAMPLE_RATE_HZ = 8_000, 768_000
_REVERSED = 2
_SECOND_DIGITS = 12
_GUID_NAMESPACE = uuid.UUID("3c2f9f6e-0b7d-5a38-9d3e-5f0d9a9d7f11")
_SOURCES = {
    ".wav": "WAVE",
    ".bwf": "WAVE",
    ".w64": "WAVE",
    ".aif": "WAVE",
    ".aiff": "WAVE",
    ".flac": "FLAC",
    ".mp3": "MP3",
    ".ogg": "VORBIS",
    ".opus": "OPUS",
}
_DROP_FRAME, _FRACTIONAL, _WHOLE = 1, 2, 0
_QUOTES = "\"'`"


def read_project(path: Path) -> otio.schema.Timeline:
    """Return the timeline of a project. Its relative media references start at the folder of the file.

    Raises ProblemError (TIMELINE), OSError.
    """
    try:
        content = read_reaper_project(path.read_text("utf-8", "surrogateescape"), path.stem)
    except ReaperError as error:
        raise ProblemError(
            f"The project {path.name} cannot be read: {error.what}", error.remedy, ProblemKind.TIMELINE
        ) from error
    return otio.core.deserialize_json_from_string(json.dumps(content))


def write_project(timeline: otio.schema.Timeline) -> str:
    """Return a timeline as a REAPER project.

    Raises ProblemError (TIMELINE) for invalid times.
    """
    rate = timeline_frame_rate(timeline)
    grid = _Grid(timeline_start_s(timeline))
    lines = ['<REAPER_PROJECT 0.1 "7.0" 0', *_settings(timeline, rate, grid)]
    lines += _project_extension(timeline)
    lines += _markers(timeline)
    for number, track in enumerate(timeline.tracks, start=1):
        if isinstance(track, otio.schema.Track):
            lines += _track(track, number, grid)
    return "\n".join([*lines, ">"]) + "\n"


@dataclass(frozen=True)
class _Grid:
    """The samples of a project, counted from its timecode.

    start_s: Timecode of the timeline's first frame. Many drop-frame timecodes are between two samples.
    """

    start_s: Fraction

    @property
    def begin_s(self) -> Fraction:
        """Timecode of the project's first sample."""
        return _on_samples(self.start_s, _SAMPLE_RATE_HZ)

    def place_s(self, position_s: Fraction) -> Fraction:
        """Return the sample of the project that is nearest to a time of the timeline, in seconds."""
        return _on_samples(self.start_s + position_s, _SAMPLE_RATE_HZ) - self.begin_s


def _settings(timeline: otio.schema.Timeline, rate: Fraction, grid: _Grid) -> list[str]:
    kind = _WHOLE
    if rate.denominator != 1:
        kind = _DROP_FRAME if is_drop_frame(timeline, rate) else _FRACTIONAL
    return [
        "RIPPLE 0",
        "AUTOXFADE 0",
        f"PROJOFFS {_seconds(grid.begin_s)} 0 0",
        f"TIMEMODE 5 5 -1 {frames_per_label_second(rate)} {kind} 0 -1",
        # Items keep their times if the tempo changes.
        "TIMELOCKMODE 0",
        "TEMPOENVLOCKMODE 0",
        f"SAMPLERATE {_SAMPLE_RATE_HZ} 1 0",
        "TEMPO 120 4 4",
        f"TITLE {_quoted(timeline.name)}",
    ]


def _markers(timeline: otio.schema.Timeline) -> Iterator[str]:
    """Yield the markers of the timeline, its tracks and its clips, because REAPER has only markers of the project."""
    found: list[tuple[Fraction, Fraction, str]] = []
    for marker in timeline.tracks.markers:
        begin_s, duration_s = _marked(marker)
        found.append((begin_s, duration_s, marker.name))
    for track in timeline.tracks:
        if not isinstance(track, otio.schema.Track):
            continue
        found += [(*_marked(marker), marker.name) for marker in track.markers]
        for placed in placed_clips(track):
            for marker in placed.item.markers:
                begin_s, duration_s = _marked(marker)
                in_clip_s = _seen_s(placed, begin_s)
                if not 0 <= in_clip_s < placed.duration_s:
                    # Markers from EDLs have the timecode of the timeline instead of that of the media.
                    in_clip_s = begin_s - timeline_start_s(timeline) - placed.start_s
                if 0 <= in_clip_s < placed.duration_s:
                    found.append((placed.start_s + in_clip_s, duration_s, marker.name))
    for number, (begin_s, duration_s, name) in enumerate(sorted(found), start=1):
        is_region = int(duration_s > 0)
        yield f"MARKER {number} {_seconds(begin_s)} {_quoted(name)} {is_region}"
        if is_region:
            yield f'MARKER {number} {_seconds(begin_s + duration_s)} "" 1'


def _seen_s(placed: PlacedItem, media_s: Fraction) -> Fraction:
    """Return when a clip shows a time of its media, counted from the start of the visible part of the clip."""
    from_begin_s, speed = media_s - _source_start_s(placed.item) - placed.hidden_media_s(), _speed(placed.item)
    return from_begin_s / speed + (0 if speed > 0 else placed.duration_s)


def _track(track: otio.schema.Track, number: int, grid: _Grid) -> Iterator[str]:
    is_sound = track.kind == otio.schema.TrackKind.Audio
    guid = _guid(track, f"track {number} {track.name}")
    yield f"<TRACK {guid}"
    yield f"NAME {_quoted(track.name or f'{track.kind} {number}')}"
    # Video items only show the picture. Their sound is on the audio tracks of the timeline, if anywhere.
    yield f"VOLPAN {1 if is_sound else 0} 0 -1 -1 1"
    yield f"MUTESOLO {int(not track.enabled)} 0 0"
    yield "NCHAN 2"
    yield f"TRACKID {guid}"
    yield "<EXT"
    yield f"{KIND_LINE} {'Audio' if is_sound else 'Video'}"
    text = _metadata_json(track)
    if text:
        yield f"{METADATA_LINE} '{text}'"
    yield ">"
    for position, placed in enumerate(placed_clips(track), start=1):
        yield from _item(placed, grid, is_sound, f"{number}/{position}")
    yield ">"


def _item(placed: PlacedItem, grid: _Grid, is_sound: bool, key: str) -> Iterator[str]:
    clip = placed.item
    active = clip.active_media_reference_key
    # Generators and missing media become empty items, which keep their place and name.
    takes = [(name, one) for name, one in clip.media_references().items() if _file(one)]
    begin_s, end_s = grid.place_s(placed.start_s), grid.place_s(placed.start_s + placed.duration_s)
    volume, pan = _volume_and_pan(clip)
    yield "<ITEM"
    yield f"POSITION {_seconds(begin_s)}"
    yield f"LENGTH {_seconds(end_s - begin_s)}"
    yield "LOOP 0"
    yield "ALLTAKES 0"
    yield f"FADEIN 1 {_number(clip, 'fade_in_s', 0):.12g} 0 1 0 0 0"
    yield f"FADEOUT 1 {_number(clip, 'fade_out_s', 0):.12g} 0 1 0 0 0"
    yield f"MUTE {int(not clip.enabled)} 0"
    yield f"IGUID {_guid(clip, f'item {key} {clip.name}')}"
    yield from _extension(clip)
    for index, (name, reference) in enumerate(takes):
        if index:
            yield f"TAKE{' SEL' if name == active else ''}"
        yield f"NAME {_quoted(clip.name if name == active else reference.name or name)}"
        yield f"TAKEVOLPAN {pan} 1 -1" if index else f"VOLPAN {volume} {pan} 1 -1"
        yield from _source(placed, reference, is_sound, is_active=name == active)
        yield f"GUID {_guid(None, f'take {key} {name} {_file(reference)}')}"
    if not takes:
        yield f"NAME {_quoted(clip.name)}"
    yield ">"


def _source(
    placed: PlacedItem, reference: otio.core.MediaReference, is_sound: bool, *, is_active: bool
) -> Iterator[str]:
    """Yield where a take starts in its file, its speed, and the file."""
    clip, file = placed.item, _file(reference)
    speed = _speed(clip)
    offset_s = _offset_s(clip, reference, is_active=is_active) + placed.hidden_media_s()
    if is_sound:
        offset_s = _on_samples(offset_s, _file_rate_hz(clip, reference))
    yield f"SOFFS {0 if speed < 0 else _seconds(offset_s)}"
    yield f"PLAYRATE {float(abs(speed)):.12g} 0 0 -1 0 0.0025"
    if speed < 0:
        yield "<SOURCE SECTION"
        yield f"LENGTH {_seconds(placed.duration_s * -speed)}"
        yield f"MODE {_REVERSED}"
        yield f"STARTPOS {_seconds(offset_s)}"
        yield "OVERLAP 0.01"
    yield f"<SOURCE {_source_kind(file, is_sound)}"
    yield f"FILE {_quoted(file)}"
    yield ">"
    if speed < 0:
        yield ">"


def _file(reference: otio.core.MediaReference) -> str:
    if isinstance(reference, otio.schema.ImageSequenceReference):
        return str(reference.target_url_for_image_number(0))
    return location(reference) if isinstance(reference, otio.schema.ExternalReference) else ""


def _offset_s(clip: otio.schema.Clip, reference: otio.core.MediaReference, *, is_active: bool) -> Fraction:
    """Return where the clip starts in a file. All takes of a clip start at the same distance from their beginning."""
    media = reference if is_active or clip.media_reference is None else clip.media_reference
    available = media.available_range
    begin_s = Fraction(0) if available is None else exact_seconds(available.start_time, _owner(clip), "media start")
    return max(Fraction(0), _source_start_s(clip) - begin_s)


def _on_samples(seconds: Fraction, sample_rate_hz: int) -> Fraction:
    return Fraction(int((seconds * sample_rate_hz + Fraction(1, 2)) // 1), sample_rate_hz)


def _file_rate_hz(clip: otio.schema.Clip, reference: otio.core.MediaReference) -> int:
    available = reference.available_range
    ours = clip.metadata.get(METADATA_KEY)
    rate = ours.get("sample_rate_hz") if hasattr(ours, "get") else None
    if not isinstance(rate, int | float):
        rate = _SAMPLE_RATE_HZ if available is None else available.duration.rate
    return int(rate) if _MIN_SAMPLE_RATE_HZ <= rate <= _MAX_SAMPLE_RATE_HZ else _SAMPLE_RATE_HZ


def _source_start_s(clip: otio.schema.Clip) -> Fraction:
    media = clip.media_reference
    chosen = clip.source_range or (None if media is None else media.available_range)
    return Fraction(0) if chosen is None else exact_seconds(chosen.start_time, _owner(clip), "start")


def _marked(marker: otio.schema.Marker) -> tuple[Fraction, Fraction]:
    owner = f'The marker "{marker.name}"'
    marked = marker.marked_range
    return exact_seconds(marked.start_time, owner, "start"), exact_seconds(marked.duration, owner, "duration")


def _speed(clip: otio.schema.Clip) -> Fraction:
    """Return the speed of a clip, below 0 for reverse. Freeze frames and variable speeds become normal speed."""
    return constant_speed(clip) or Fraction(1)


def _source_kind(file: str, is_sound: bool) -> str:
    suffix = f".{file.rpartition('.')[2].lower()}"
    return _SOURCES.get(suffix, "WAVE" if is_sound and suffix == "." else "VIDEO")


def _volume_and_pan(clip: otio.schema.Clip) -> tuple[str, str]:
    """Return the linear volume and the pan from -1 to 1, as in an earlier project or in Blender."""
    volume, pan = _number(clip, "volume", 1), _number(clip, "pan", 0)
    blender = clip.metadata.get("blender")
    properties = blender.get("properties") if blender is not None and hasattr(blender, "get") else None
    if REAPER_KEY not in clip.metadata and properties is not None and hasattr(properties, "get"):
        known = properties.get("volume"), properties.get("pan")
        volume = float(known[0]) if isinstance(known[0], int | float) else volume
        # Blender pans from -2 to 2; values beyond 1 are behind the listener.
        pan = max(-1.0, min(1.0, float(known[1]))) if isinstance(known[1], int | float) else pan
    return f"{volume:.12g}", f"{pan:.12g}"


def _number(clip: otio.schema.Clip, key: str, otherwise: float) -> float:
    """Return a value that an earlier project stored for a clip."""
    known = clip.metadata.get(REAPER_KEY)
    value = known.get(key) if hasattr(known, "get") else None
    return float(value) if isinstance(value, int | float) else otherwise


def _guid(item: otio.core.SerializableObjectWithMetadata | None, name: str) -> str:
    """Return the GUID of an item in an earlier project, otherwise one that is the same each time it is written."""
    known = {} if item is None else item.metadata.get(REAPER_KEY)
    guid = known.get("guid") if hasattr(known, "get") else None
    return str(guid) if guid else f"{{{str(uuid.uuid5(_GUID_NAMESPACE, name)).upper()}}}"


def _extension(item: otio.core.SerializableObjectWithMetadata) -> Sequence[str]:
    text = _metadata_json(item)
    return ["<EXT", f"{METADATA_LINE} '{text}'", ">"] if text else []


def _project_extension(timeline: otio.schema.Timeline) -> Sequence[str]:
    text = _metadata_json(timeline)
    return ["<EXTSTATE", f"<{PROJECT_SECTION}", f"{METADATA_LINE} '{text}'", ">", ">"] if text else []


def _metadata_json(item: otio.core.SerializableObjectWithMetadata) -> str:
    """Return metadata as one line of JSON without single quotes; "" if there is none."""
    values = json.loads(otio.core.serialize_json_to_string(item.metadata, indent=-1))
    values.pop(REAPER_KEY, None)
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":")) if values else ""
    return text.replace("'", "\\u0027")


def _quoted(text: str) -> str:
    """Return a text in quotes. There is no escape character: a text with all three kinds loses its backticks."""
    line = " ".join(text.splitlines())
    for quote in _QUOTES:
        if quote not in line:
            return f"{quote}{line}{quote}"
    return "`" + line.replace("`", "'") + "`"


def _seconds(value: Fraction) -> str:
    """Return seconds as a decimal number, rounded to a picosecond."""
    whole = round(value * 10**_SECOND_DIGITS)
    sign, digits = "-" if whole < 0 else "", f"{abs(whole):0{_SECOND_DIGITS + 1}d}"
    text = f"{digits[:-_SECOND_DIGITS]}.{digits[-_SECOND_DIGITS:]}".rstrip("0").rstrip(".")
    return sign + text


def _owner(clip: otio.schema.Clip) -> str:
    return f'The clip "{clip.name}"'
