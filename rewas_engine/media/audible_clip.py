"""Writing generated frames and their sound as one MP4 file."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rewas_engine.runtime.atomic_files import atomic_path


def video_size(shape: tuple[int, ...], height: int) -> tuple[int, int]:
    """Return the width and height in pixels, both even, of frames [T, H, W] that are enlarged to a height."""
    width = round(height * shape[2] / shape[1])
    return width + width % 2, height + height % 2


def hold_frames(frames: NDArray[np.uint8], frame_rate: Fraction, new_rate: Fraction) -> NDArray[np.uint8]:
    """Show frames [T, H, W] at another rate, without blending: each is held, or left out where there is no room.

    Returns:
        [T', H, W], where T' is the duration at the new rate, rounded to a whole number of at least 1.
    """
    count = max(1, round(len(frames) / frame_rate * new_rate))
    # The frame that is on screen in the middle of each new one.
    shown = [min(len(frames) - 1, int((number + Fraction(1, 2)) / new_rate * frame_rate)) for number in range(count)]
    return frames[shown]


def write_audible_clip(
    path: Path,
    frames: NDArray[np.uint8],
    frame_rate: Fraction,
    waveform: NDArray[np.float32],
    sample_rate_hz: int,
    *,
    height: int,
) -> None:
    """Write brightness [T, H, W] as H.264 at exactly this rate, enlarged smoothly, and the sound [samples] as AAC.

    Args:
        path: The file. It appears only when it is complete.
        frames: The frames.
        frame_rate: Frames per second.
        waveform: The sound, within ±1.
        sample_rate_hz: Its samples per second.
        height: Height of the video in pixels; the width follows from the shape. Both are rounded to even numbers.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    size = video_size(frames.shape, height)
    pictures = (av.VideoFrame.from_ndarray(pixels, format="gray") for pixels in frames)
    enlarged = (picture.reformat(*size, "yuv420p", interpolation="BICUBIC") for picture in pictures)
    with atomic_path(path) as unfinished:
        encode_audible_clip(unfinished, enlarged, size, frame_rate, {"crf": "16"}, waveform, sample_rate_hz)


def encode_audible_clip(
    path: Path,
    frames: Iterable[av.VideoFrame],
    size: tuple[int, int],
    frame_rate: Fraction,
    options: dict[str, str],
    waveform: NDArray[np.float32],
    sample_rate_hz: int,
) -> None:
    """Write frames as H.264 at exactly this rate, and a sound [samples] as AAC.

    Args:
        path: The MP4 file.
        frames: The frames, in order.
        size: Width and height of the video, even numbers.
        frame_rate: Frames per second.
        options: Options of libx264, such as crf.
        waveform: The sound, within ±1.
        sample_rate_hz: Its samples per second.
    """
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=frame_rate, options=options)
        (video.width, video.height), video.pix_fmt = size, "yuv420p"
        video.codec_context.time_base = 1 / frame_rate
        track = container.add_stream("aac", rate=sample_rate_hz, layout="mono")
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, 1 / frame_rate
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform[None]), format="fltp", layout="mono")
        samples.sample_rate, samples.pts = sample_rate_hz, 0
        container.mux(track.encode(samples))
        container.mux(track.encode(None))
