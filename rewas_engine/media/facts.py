"""Read duration, frame rate and timecode from the header of a media file, without decoding any frame."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from rewas_engine.media.container import open_media
from rewas_engine.media.formats import boxes_at, is_still_format
from rewas_engine.media.isolation.seam import decodes_media, record
from rewas_engine.media.truncation import is_file_cut_short
from rewas_engine.media.video import last_frame_end_s, video_streams

_LABEL = re.compile(r"\d\d:\d\d:\d\d[:;.,]\d{2,3}")
_MAX_RATE_HZ = 1000
"""Higher rates are those of a clock, not of frames."""
_BOXES_TO_SAMPLES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_MAX_BOXES = 10_000
_TIMECODE_ENTRY_BYTES = 33
_DROP_FRAME_FLAG = 1
_MPEG_FORMATS = frozenset({"mpegts", "mpeg", "mpegvideo"})
_MPEG_CODECS = frozenset({"mpeg1video", "mpeg2video"})
_GROUP_HEADER = b"\0\0\1\xb8"
_MAX_PACKETS = 100


@record
@dataclass(frozen=True)
class MediaTimecode:
    """The timecode of the first frame of a media file.

    Attributes:
        label: Hours, minutes, seconds and frames: "01:00:00;00" is drop-frame. "" if the file counts samples.
        rate: Frames per second, exact; samples per second if the file counts samples.
        samples: Samples since midnight, as in Broadcast WAV.
    """

    label: str
    rate: Fraction
    samples: int = 0


@record
@dataclass(frozen=True)
class MediaFacts:
    """The facts in the header of a media file.

    Attributes:
        duration_s: From the first frame to the end of the last, or of the sound if there is no video. None for a still
            picture, and if the header does not state it.
        frame_rate: Frames per second, exact; 0 without video.
        is_still: Whether the file is a single picture.
        is_cut_short: Whether the file ends earlier than its header states, as an unfinished copy does.
        timecode: Timecode of the first frame; None if the file has none.
    """

    duration_s: Fraction | None
    frame_rate: Fraction
    is_still: bool
    is_cut_short: bool
    timecode: MediaTimecode | None


@decodes_media
def read_media_facts(path: Path) -> MediaFacts:
    """Read the header of a media file. Raises MediaError if the file is missing or is not media."""
    with open_media(path) as container:
        videos = video_streams(container)
        is_still = is_still_format(container.format.name)
        rate = _frame_rate(videos[0]) if videos else Fraction(0)
        # Read the first packets before the duration, because that may seek to the end of the file.
        timecode = _sample_time(container) or _label(container, path, rate) or _group_timecode(container, rate)
        duration_s = None if is_still else _duration_s(container, videos[0] if videos else None, rate)
    return MediaFacts(duration_s, rate, is_still, is_file_cut_short(path), timecode)


def _frame_rate(stream: Any) -> Fraction:
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return next((Fraction(rate) for rate in rates if rate and 0 < rate <= _MAX_RATE_HZ), Fraction(0))


def _duration_s(container: Any, video: Any, rate: Fraction) -> Fraction | None:
    # FFmpeg only estimates the duration of MPEG streams.
    if video is not None and video.duration and container.format.name not in _MPEG_FORMATS:
        return Fraction(video.duration * video.time_base)
    if video is not None and rate:
        end_s = last_frame_end_s(container, video, rate)
        return _whole_frames(end_s - (video.start_time or 0) * video.time_base, rate)
    sounds = [stream for stream in container.streams.audio if stream.duration]
    if sounds:
        return Fraction(sounds[0].duration * sounds[0].time_base)
    return None if container.duration is None else Fraction(container.duration, 1_000_000)


def _whole_frames(duration_s: Fraction, rate: Fraction) -> Fraction:
    """Round a duration to whole frames if it is close to them, because Matroska rounds times to milliseconds."""
    frames = duration_s * rate
    return round(frames) / rate if abs(frames - round(frames)) < Fraction(1, 8) else duration_s


def _sample_time(container: Any) -> MediaTimecode | None:
    samples = container.metadata.get("time_reference", "")
    sounds = container.streams.audio
    if not samples.isdecimal() or not int(samples) or not sounds or not sounds[0].rate:
        return None
    return MediaTimecode("", Fraction(sounds[0].rate), int(samples))


def _label(container: Any, path: Path, rate: Fraction) -> MediaTimecode | None:
    places = (*video_streams(container), *container.streams, container)
    found = (value for place in places for name, value in place.metadata.items() if name.lower() == "timecode")
    label = next((value for value in found if _LABEL.fullmatch(value)), None)
    if label is None:
        return None
    if "mov" in container.format.name:
        with path.open("rb") as file:
            stated = next(_track_rates(file), None)
        if stated is not None:
            rate, drops = stated
            label = f"{label[:8]}{';' if drops else ':'}{label[9:]}"
    return MediaTimecode(label, rate) if rate else None


def _group_timecode(container: Any, rate: Fraction) -> MediaTimecode | None:
    """Return the timecode in the first group of pictures of MPEG-1 or MPEG-2 video (ISO/IEC 13818-2, 6.2.2.6)."""
    videos = video_streams(container)
    if not rate or not videos or container.format.name not in _MPEG_FORMATS:
        return None
    if videos[0].codec_context.name not in _MPEG_CODECS:
        return None
    for packet in islice(container.demux(videos[0]), _MAX_PACKETS):
        content = bytes(packet)
        at = content.find(_GROUP_HEADER)
        if at < 0 or len(content) < at + 8:
            continue
        bits = int.from_bytes(content[at + 4 : at + 8], "big")
        drops, hours, minutes = bits >> 31, bits >> 26 & 31, bits >> 20 & 63
        seconds, pictures = bits >> 13 & 63, bits >> 7 & 63
        return MediaTimecode(f"{hours:02}:{minutes:02}:{seconds:02}{';' if drops else ':'}{pictures:02}", rate)
    return None


def _track_rates(file: BinaryIO) -> Iterator[tuple[Fraction, bool]]:
    """Frames per second of each timecode track of an MP4 or QuickTime file, and whether it is drop-frame."""
    file.seek(0, 2)
    for begin, end in boxes_at(file, 0, file.tell(), _BOXES_TO_SAMPLES, iter(range(_MAX_BOXES))):
        file.seek(begin + 8)  # version, flags and number of entries
        entry = file.read(min(end - begin - 8, _TIMECODE_ENTRY_BYTES))
        if entry[4:8] == b"tmcd" and len(entry) == _TIMECODE_ENTRY_BYTES:
            flags, timescale, frame_duration = (int.from_bytes(entry[at : at + 4], "big") for at in (20, 24, 28))
            if timescale and frame_duration and timescale <= _MAX_RATE_HZ * frame_duration:
                yield Fraction(timescale, frame_duration), bool(flags & _DROP_FRAME_FLAG)
