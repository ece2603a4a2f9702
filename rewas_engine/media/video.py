"""Read exactly the frames of a range from any file that FFmpeg can decode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import Cancelled, MediaError
from rewas_engine.media.container import decode_frames, open_media, read_packets
from rewas_engine.media.display import find_active_area, prepare_frames, quarter_turns, to_luma, to_rgb
from rewas_engine.media.isolation.seam import decodes_media, record, streams_frames
from rewas_engine.media.limits import current_limits
from rewas_engine.media.truncation import break_error, is_file_cut_short, is_stream_cut_short
from rewas_engine.runtime.progress import CancelSignal

_SEEK_BACKOFFS_S = (0, 4, 8, 16, 32)
_SLACK_FRAMES = 1
"""A range may extend this many frames past the last one, since containers round their durations."""
_BAR_SAMPLES = 5
"""Frames of a range that are searched for black bars."""
_MAX_JITTER = Fraction(1, 20)
"""Frames at other times than the frame rate states, as in a screen recording, are held and not blended."""
_MAX_BLEND_S = Fraction(1, 4)
"""Frames that are further apart than this, as in a slide show, are held and not blended."""


@record
@dataclass(frozen=True)
class VideoProperties:
    """Properties of a video stream.

    Attributes:
        start_s: Time stamp of the first frame.
        duration_s: From the first frame to the end of the last.
        frame_rate: Average frames per second, exact.
        width: Pixels.
        height: Pixels.
    """

    start_s: Fraction
    duration_s: Fraction
    frame_rate: Fraction
    width: int
    height: int


@decodes_media
def probe_video(path: Path) -> VideoProperties:
    """Read a file's properties and decode its first frame, so that a damaged file is found early.

    Raises:
        MediaError: The file is missing, unreadable or has no video.
    """
    with open_media(path) as container:
        stream = _video_stream(container, path)
        first = next(decode_frames(container, stream, path), None)
        if first is None or first.pts is None:
            raise MediaError(
                f"{path.name} has no video frame that can be decoded.", "Export it again, or choose another file."
            )
        rate = stream.average_rate or stream.guessed_rate
        if not rate or rate <= 0:
            raise MediaError(f"{path.name} has no frame rate.", "Export it again with a fixed frame rate.")
        start_s = first.pts * stream.time_base
        return VideoProperties(
            start_s, _duration_s(container, stream, start_s, Fraction(rate)), Fraction(rate), first.width, first.height
        )


def read_frames(
    path: Path,
    *,
    start_s: Fraction,
    duration_s: Fraction,
    frame_rate: Fraction,
    width: int,
    height: int,
    rgb: bool = False,
    short_side: int | None = None,
    cancel: CancelSignal | None = None,
) -> NDArray[np.uint8]:
    """Read all frames `[T, height, width]`, or `[T, height, width, 3]`, of a range. See `iter_frames`."""
    current_limits().check_duration(path.name, duration_s)
    count = frame_count(duration_s, frame_rate)
    frames = np.empty((count, height, width, 3) if rgb else (count, height, width), np.uint8)
    shown = iter_frames(
        path,
        start_s=start_s,
        duration_s=duration_s,
        frame_rate=frame_rate,
        width=width,
        height=height,
        rgb=rgb,
        short_side=short_side,
        cancel=cancel,
    )
    for number, frame in enumerate(shown):
        frames[number] = frame
    return frames


def frame_count(duration_s: Fraction, frame_rate: Fraction) -> int:
    """Number of frames in a range, rounded up, at least 1."""
    return max(1, math.ceil(duration_s * frame_rate))


@streams_frames
def iter_frames(
    path: Path,
    *,
    start_s: Fraction,
    duration_s: Fraction,
    frame_rate: Fraction,
    width: int,
    height: int,
    rgb: bool = False,
    short_side: int | None = None,
    cancel: CancelSignal | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Decode the frames of a range one by one.

    Frame i is the one on screen at start_s + (i + 0.5) / frame_rate. There are `frame_count` frames; those past the end
    of the video repeat the last one. Frames look as a player shows them: upright, deinterlaced and in standard dynamic
    range. Black bars are cropped. If the video's own frame rate is less than half of frame_rate, neighbouring frames
    are blended, because repeated frames would look like jerky motion to the estimator.

    Args:
        path: The media file.
        start_s: Seconds after the first frame of the file.
        duration_s: Seconds.
        frame_rate: Frames per second to return.
        width: Width of the returned frames in pixels.
        height: Height of the returned frames in pixels.
        rgb: Return colour `[height, width, 3]` instead of luma `[height, width]`.
        short_side: Scale the shorter side to this many pixels and crop the centre, instead of stretching the frame.
        cancel: Ends the work.

    Raises:
        MediaError: The file cannot be read, is truncated within the range or has no frames there.
        Cancelled: The caller asked to stop.
    """
    current_limits().check_duration(path.name, duration_s)
    count = frame_count(duration_s, frame_rate)
    with open_media(path) as container:
        stream = _video_stream(container, path)
        stream.thread_type = "AUTO"
        first = next(decode_frames(container, stream, path), None)
        if first is None:
            raise MediaError(
                f"{path.name} has no video frame that can be decoded.", "Export it again, or choose another file."
            )
        begin_s = first.pts * stream.time_base + start_s

        def frame_time_s(number: int) -> Fraction:
            return begin_s + (number + Fraction(1, 2)) / frame_rate

        native_rate = stream.average_rate or stream.guessed_rate
        # At a variable rate, the lowest rate that represents all time stamps is above the average.
        is_constant = bool(native_rate and stream.base_rate) and abs(stream.base_rate / native_rate - 1) <= _MAX_JITTER
        is_slow = is_constant and native_rate * 2 < frame_rate

        def is_regular(gap_s: Fraction) -> bool:
            return gap_s <= _MAX_BLEND_S and abs(gap_s * native_rate - 1) <= _MAX_JITTER

        filled = 0
        current: _DecodedFrame | None = None
        area = find_active_area(_sample_frames(container, stream, path, first, begin_s, duration_s))
        for frame in prepare_frames(_frames_from(container, stream, path, begin_s), area):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            following = _DecodedFrame(frame)
            blends = is_slow and current is not None and is_regular(following.start_s - current.start_s)
            while current is not None and filled < count and frame_time_s(filled) < following.start_s:
                shown = current.pixels(width, height, short_side, rgb)
                if blends:
                    share = (frame_time_s(filled) - current.start_s) / (following.start_s - current.start_s)
                    shown = _blend(shown, following.pixels(width, height, short_side, rgb), float(share))
                yield shown
                filled += 1
            if filled == count:
                return
            current = following
        if current is None:
            raise MediaError(
                f"{path.name} has no video frame {float(start_s):.3f} s after its start.",
                "Choose a range within the media.",
            )
        slack_s = range_end_tolerance_s(Fraction(stream.average_rate or frame_rate))
        if begin_s + duration_s > current.end_s + slack_s and is_stream_cut_short(
            path, container, stream, current.end_s
        ):
            raise break_error(path.name, current.end_s - begin_s + start_s)
        for _ in range(filled, count):
            yield current.pixels(width, height, short_side, rgb)


def _sample_frames(
    container: Any, stream: Any, path: Path, first: Any, begin_s: Fraction, duration_s: Fraction
) -> list[Any]:
    """Frames near evenly spaced times of a range: the key frames before them, which are quick to decode."""
    samples: list[Any] = []
    for number in range(_BAR_SAMPLES):
        time_s = begin_s + duration_s * number / _BAR_SAMPLES
        try:
            container.seek(int(time_s / stream.time_base), stream=stream, backward=True)
        except av.FFmpegError:
            break
        frame = next(decode_frames(container, stream, path), None)
        # Times with the same key frame before them show nothing new.
        if frame is not None and (not samples or frame.pts != samples[-1].pts):
            samples.append(frame)
    return samples or [first]


def _blend(one: NDArray[np.uint8], other: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    return np.asarray(np.round((1 - share) * one.astype(np.float32) + share * other), np.uint8)


class _DecodedFrame:
    """A decoded frame, scaled at most once, when it is needed."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.start_s: Fraction = frame.pts * frame.time_base
        self.end_s: Fraction = (frame.pts + (frame.duration or 0)) * frame.time_base
        self._pixels: NDArray[np.uint8] | None = None

    def pixels(self, width: int, height: int, short_side: int | None, rgb: bool) -> NDArray[np.uint8]:
        if self._pixels is None:
            size, frame, turns = (width, height), self._frame, quarter_turns(self._frame)
            upright = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
            if short_side is not None:
                shorter = min(upright)
                size = (max(width, upright[0] * short_side // shorter), max(height, upright[1] * short_side // shorter))
            convert = to_rgb if rgb else to_luma
            whole = np.rot90(convert(frame, *(size[::-1] if turns % 2 else size)), turns)
            left, top = (size[0] - width) // 2, (size[1] - height) // 2
            self._pixels = whole[top : top + height, left : left + width]
        return self._pixels


@decodes_media
def has_video(path: Path) -> bool:
    """Whether a file has video. Cover art does not count. Raises MediaError if it is not media."""
    with open_media(path) as container:
        return bool(_video_streams(container))


def _video_streams(container: Any) -> list[Any]:
    return [stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic]


def _video_stream(container: Any, path: Path) -> Any:
    streams = _video_streams(container)
    if not streams:
        raise MediaError(f"{path.name} has no video.", "Choose a video file.")
    return streams[0]


def _frames_from(container: Any, stream: Any, path: Path, begin_s: Fraction) -> Iterator[Any]:
    """Decode frames from the one on screen at `begin_s`, or from an earlier one.

    In some containers, seeking lands after the target. It is then repeated from further back, and as a last resort the
    file is read from its start.
    """
    for back_s in _SEEK_BACKOFFS_S:
        target = int((begin_s - back_s) / stream.time_base)
        try:
            container.seek(target, stream=stream, backward=True)
        except av.FFmpegError:
            break
        frames = decode_frames(container, stream, path)
        first = next(frames, None)
        if first is not None and first.pts * stream.time_base <= begin_s:
            yield first
            yield from frames
            return
    with open_media(path) as fresh:
        yield from decode_frames(fresh, _video_stream(fresh, path), path)


def _duration_s(container: Any, stream: Any, start_s: Fraction, rate: Fraction) -> Fraction:
    if stream.duration:
        offset = Fraction(0) if stream.start_time is None else start_s - stream.start_time * stream.time_base
        return Fraction(max(stream.duration * stream.time_base - offset, 1 / rate))
    # Matroska stores the end of the whole file, including sound, relative to 0 or to the first frame, depending on the
    # writer. The time stamps of the last frames are more reliable.
    return max(_last_frame_end_s(container, stream, rate) - start_s, 1 / rate)


def _last_frame_end_s(container: Any, stream: Any, rate: Fraction) -> Fraction:
    """End of the last frame, from the packets since the last key frame, without decoding them."""
    end_s = Fraction((container.start_time or 0) + (container.duration or 0), av.time_base)
    for target_s in (end_s, Fraction(0)):
        try:
            container.seek(int(target_s / stream.time_base), stream=stream, backward=True)
            ends_s = [
                packet.pts * stream.time_base + (packet.duration * stream.time_base if packet.duration else 1 / rate)
                for packet in read_packets(container, stream)
                if packet.pts is not None
            ]
        except av.FFmpegError:
            continue
        if ends_s:
            return max(ends_s)
    raise MediaError("The media file has no duration.", "Give the clip a duration, or export it again.")


@decodes_media
def find_break_s(path: Path) -> Fraction | None:
    """Return where the video of a file that was cut short breaks off, in seconds after its first frame.

    Returns:
        None if the file is whole, or if its format does not state its size.
    """
    if not is_file_cut_short(path):
        return None
    with open_media(path) as container:
        stream = _video_stream(container, path)
        first = next(decode_frames(container, stream, path))
        end_s = _last_frame_end_s(container, stream, Fraction(stream.average_rate or stream.guessed_rate))
        return end_s - first.pts * stream.time_base if is_stream_cut_short(path, container, stream, end_s) else None


def range_end_tolerance_s(frame_rate: Fraction) -> Fraction:
    """How far a range may extend past the end of the media."""
    return _SLACK_FRAMES / frame_rate
