"""A long edit with everything that takes time to read: retimed clips, hundreds of media files, a spotting sheet."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import opentimelineio as otio

from rewas_server.timecode import format_timecode

_RATE = Fraction(24000, 1001)
_FLOAT_RATE = float(_RATE)
_START_FRAMES = 86400
_FRAMES = 4
"""Length of each clip: short, so that its sounds are small."""
_RETIMED_EVERY, _UPPER_EVERY, _MARKED_EVERY = 10, 20, 50
_LAYERS = [{"name": "cloth", "prompt": "rustling"}, {"name": "ambience", "prompt": "a room", "energy": "steady"}]


@dataclass(frozen=True)
class LongReel:
    """The timeline file, and the spotting sheet with the prompts of half of its clips."""

    timeline: Path
    sheet: Path


def write_long_reel(folder: Path, clips: int, media_files: int = 300) -> LongReel:
    """Write a timeline of different clips on two video tracks, their media and a spotting sheet into a folder.

    Each clip has three sounds: a primary one and two layers. Some clips are retimed, some have markers, and the media
    of a third of them states no available range.
    """
    media_files = min(media_files, clips)
    frames = 2 * _FRAMES * (clips // media_files + 2)
    media = _write_media(folder, media_files, frames)
    lower, upper = (otio.schema.Track(name, kind=otio.schema.TrackKind.Video) for name in ("V1", "V2"))
    rows = []
    position = upper_end = 0
    for number in range(clips):
        clip = _clip(number, media[number % media_files], number // media_files, frames)
        is_upper = number % _UPPER_EVERY == _UPPER_EVERY - 1
        if is_upper:
            # It covers the second half of the previous clip and the beginning of the next one.
            begin = position - _FRAMES // 2
            upper.append(otio.schema.Gap(source_range=_span(0, begin - upper_end)))
            upper.append(clip)
            upper_end = begin + _FRAMES
        else:
            begin = position
            lower.append(clip)
            position += _FRAMES
        if number % 2:
            times = (
                format_timecode(frame / _RATE, _RATE) for frame in (_START_FRAMES + begin, _START_FRAMES + begin + 4)
            )
            rows.append([*times, clip.name, f"a knock on wood {number}"])
        else:
            clip.metadata["rewas"]["prompt"] = f"steps on gravel {number}"
    timeline = otio.schema.Timeline(
        "long reel", global_start_time=otio.opentime.RationalTime(_START_FRAMES, _FLOAT_RATE)
    )
    timeline.tracks.extend([lower, upper])
    reel = LongReel(folder / "reel.otio", folder / "reel.csv")
    otio.adapters.write_to_file(timeline, str(reel.timeline))
    with reel.sheet.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["in", "out", "clip", "prompt"], *rows])
    return reel


def _clip(number: int, media: Path, use: int, media_frames: int) -> otio.schema.Clip:
    available = None if number % 3 == 2 else _span(0, media_frames)
    reference = otio.schema.ExternalReference(str(media), available)
    reference.name = media.name
    clip = otio.schema.Clip(f"shot {number:05d}", reference, _span(2 * _FRAMES * use, _FRAMES))
    clip.metadata["rewas"] = {"layers": _LAYERS}
    clip.metadata["editor"] = {"id": number, "comment": "as shot", "lut": "rec709"}
    if number % _RETIMED_EVERY == 0:
        clip.effects.append(otio.schema.LinearTimeWarp(time_scalar=(0.5, 2.0)[number // _RETIMED_EVERY % 2]))
    if number % _MARKED_EVERY == 1:
        clip.markers.append(otio.schema.Marker("SFX: a bell", _span(2 * _FRAMES * use, 0)))
    return clip


def _write_media(folder: Path, count: int, frames: int) -> list[Path]:
    """Write files that show the same video and still differ in content."""
    first = folder / "shot-000.mp4"
    with av.open(str(first), "w") as container:
        stream = container.add_stream("mpeg4", rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number % 256, np.uint8), "rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    content = first.read_bytes()
    paths = [folder / f"shot-{number:03d}.mp4" for number in range(count)]
    for number, path in enumerate(paths[1:], start=1):
        # A box of type `free`, which readers skip.
        path.write_bytes(content + (12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big"))
    return paths


def _span(start: int, frames: int) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(*(otio.opentime.RationalTime(value, _FLOAT_RATE) for value in (start, frames)))
