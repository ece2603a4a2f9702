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
from rewas_engine.media.decoded_frame import DecodedFrame, Exposure, FrameFormat, blend
from rewas_engine.media.display import find_active_area, prepare_frames
from rewas_engine.media.formats import is_still_format
from rewas_engine.media.image_sequence import ImageSequence
from rewas_engine.media.isolation.seam import decodes_media, record, streams_frames
from rewas_engine.media.limits import current_limits
from rewas_engine.media.sequence_frames import probe_picture, sequence_frames
from rewas_engine.media.shown_range import ShownRange, rounding_s
from rewas_engine.media.truncation import break_error, is_file_cut_short, is_stream_cut_short
from rewas_engine.runtime.progress import CancelSignal

_SEEK_BACKOFFS_S = (0, 4, 8, 16, 32)
_SLACK_FRAMES = 1
"""A range may extend this many frames past the last one, since containers round their durations."""
_BAR_SAMPLES = 5
"""Frames of a range that are searched for black bars."""
_MAX_JITTER = Fraction(1, 20)
"""Frames at other times than the frame rate states, as in a screen recording, are held and not blended."""
_BLOCK_BYTES = 2**26
"""Memory for the frames that are kept when a video is read backwards."""
_MAX_BLEND_S = Fraction(1, 4)
"""Frames that are further apart than this, as in a slide show, are held and not blended."""


@record
@dataclass(frozen=True)
class VideoProperties:
    """Properties of a video stream, or of an image sequence.

    Attributes:
        start_s: Time stamp of the first frame.
        duration_s: From the first frame to the end of the last.
        frame_rate: Average frames per second, exact.
        width: Pixels.
        height: Pixels.
        is_still: Whether the file is a single picture, which can be shown for any duration.
    """

    start_s: Fraction
    duration_s: Fraction
    frame_rate: Fraction
    width: int
    height: int
    is_still: bool = False


@decodes_media
def probe_video(path: Path, *, sequence: ImageSequence | None = None) -> VideoProperties:
    """Read a file's properties and decode its first frame, so that a damaged file is found early.

    Args:
        path: The media file. For an image sequence, any name in the folder of its pictures.
        sequence: The image sequence that is read instead of a file.

    Raises:
        MediaError: The file is missing, unreadable or has no video.
    """
    if sequence is not None:
        width, height = probe_picture(path.parent, sequence)
        return VideoProperties(Fraction(0), sequence.duration_s, sequence.picture_rate, width, height)
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
            start_s,
            _duration_s(container, stream, start_s, Fraction(rate)),
            Fraction(rate),
            first.width,
            first.height,
            is_still_format(container.format.name),
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
    speed: Fraction = Fraction(1),
    sequence: ImageSequence | None = None,
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
        speed=speed,
        sequence=sequence,
        cancel=cancel,
    )
    for number, frame in enumerate(shown):
        frames[number] = frame
    return frames


def frame_count(duration_s: Fraction, frame_rate: Fraction) -> int:
    """Number of frames in a range, rounded up, at least 1."""
    return ShownRange(Fraction(0), duration_s, frame_rate).count


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
    speed: Fraction = Fraction(1),
    sequence: ImageSequence | None = None,
    cancel: CancelSignal | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Decode the frames of a range one by one, as they are shown.

    Frame i is the one on screen at start_s + speed * (i + 0.5) / frame_rate. There are `frame_count` frames; those past
    the end of the video repeat the last one. Frames look as a player shows them: upright, deinterlaced and in standard
    dynamic range. Black bars are cropped. If the frame rate of the video as shown is less than half of frame_rate,
    neighbouring frames are blended, because repeated frames would look like jerky motion to the estimator. From
    MIN_AVERAGED_SPEED on, skipped frames are averaged into those that are shown, because motion between two shown
    frames would otherwise look random.

    Args:
        path: The media file. For an image sequence, any name in the folder of its pictures.
        start_s: Seconds after the first frame of the media.
        duration_s: Seconds as shown.
        frame_rate: Frames per second to return.
        width: Width of the returned frames in pixels.
        height: Height of the returned frames in pixels.
        rgb: Return colour `[height, width, 3]` instead of luma `[height, width]`.
        short_side: Scale the shorter side to this many pixels and crop the centre, instead of stretching the frame.
        speed: Seconds of the media in one second as shown. 0 is a freeze frame, below 0 is backwards.
        sequence: The image sequence that is shown instead of a file.
        cancel: Ends the work.

    Raises:
        MediaError: The media cannot be read, is truncated within the range or has no frames there.
        Cancelled: The caller asked to stop.
    """
    current_limits().check_duration(path.name, duration_s)
    shown = ShownRange(start_s, duration_s, frame_rate, speed)
    wanted = FrameFormat(width, height, rgb, short_side)
    if sequence is not None:
        yield from sequence_frames(path.parent, sequence, shown, wanted, cancel)
        return
    with open_media(path) as container:
        stream = _video_stream(container, path)
        stream.thread_type = "AUTO"
        film = _Film(path, container, stream, shown, wanted, cancel)
        if speed >= 0:
            yield from film.frames(range(shown.count))
            return
        # Backwards: in blocks from the end, each of which is read forwards.
        block = max(1, _BLOCK_BYTES // math.prod(wanted.shape))
        for begin in range(0, shown.count, block):
            numbers = range(begin, min(begin + block, shown.count))
            yield from reversed(list(film.frames(numbers[::-1])))


class _Film:
    """An open video file, from which frames are read in the order of the media's time."""

    def __init__(
        self,
        path: Path,
        container: Any,
        stream: Any,
        shown: ShownRange,
        wanted: FrameFormat,
        cancel: CancelSignal | None,
    ) -> None:
        first = next(decode_frames(container, stream, path), None)
        if first is None:
            raise MediaError(
                f"{path.name} has no video frame that can be decoded.", "Export it again, or choose another file."
            )
        self._path, self._container, self._stream = path, container, stream
        self._shown, self._wanted, self._cancel = shown, wanted, cancel
        self._origin_s: Fraction = first.pts * stream.time_base
        native_rate = stream.average_rate or stream.guessed_rate
        self._rate = Fraction(native_rate or shown.frame_rate)
        # At a variable rate, the lowest rate that represents all time stamps is above the average.
        is_constant = bool(native_rate and stream.base_rate) and abs(stream.base_rate / native_rate - 1) <= _MAX_JITTER
        self._blends = is_constant and 0 < shown.media_step_s * self._rate * 2 < 1
        begin_s, self._end_s = (self._origin_s + time_s for time_s in shown.media_range_s)
        samples = _sample_frames(container, stream, path, first, begin_s, self._end_s - begin_s)
        self._area = find_active_area(samples)

    def frames(self, numbers: range) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames with these numbers. Their media times must not decrease."""
        half_s = self._shown.media_step_s / 2
        begin_s, end_s = self._time_s(numbers[0]) - half_s, min(self._time_s(numbers[-1]) + half_s, self._end_s)
        select = self._averaged if self._shown.is_averaged else self._held
        yield from select(self._decoded(begin_s, end_s), numbers)

    def _time_s(self, number: int) -> Fraction:
        return self._origin_s + self._shown.media_time_s(number, self._rate)

    def _decoded(self, begin_s: Fraction, end_s: Fraction) -> Iterator[DecodedFrame]:
        """Yield frames from the one on screen at `begin_s` to the last. Raises MediaError if they end too early."""
        decoded: DecodedFrame | None = None
        for frame in prepare_frames(_frames_from(self._container, self._stream, self._path, begin_s), self._area):
            if self._cancel is not None and self._cancel.is_set():
                raise Cancelled
            decoded = DecodedFrame(frame)
            yield decoded
        if decoded is None:
            raise MediaError(
                f"{self._path.name} has no video frame {float(begin_s - self._origin_s):.3f} s after its start.",
                "Choose a range within the media.",
            )
        slack_s = range_end_tolerance_s(self._rate)
        if end_s > decoded.end_s + slack_s and is_stream_cut_short(
            self._path, self._container, self._stream, decoded.end_s
        ):
            raise break_error(self._path.name, decoded.end_s - self._origin_s)

    def _held(self, decoded: Iterator[DecodedFrame], numbers: range) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames that are on screen."""
        filled, current = 0, next(decoded)
        for following in decoded:
            gap_s = following.start_s - current.start_s
            blends = self._blends and gap_s <= _MAX_BLEND_S and abs(gap_s * self._rate - 1) <= _MAX_JITTER
            while filled < len(numbers) and (time_s := self._time_s(numbers[filled])) < following.start_s:
                frame = current.pixels(self._wanted)
                if blends:
                    share = float((time_s - current.start_s) / gap_s)
                    frame = blend(frame, following.pixels(self._wanted), share)
                yield frame
                filled += 1
            if filled == len(numbers):
                return
            current = following
        for _ in numbers[filled:]:
            yield current.pixels(self._wanted)

    def _averaged(self, decoded: Iterator[DecodedFrame], numbers: range) -> Iterator[NDArray[np.uint8]]:
        """Yield averages of the frames that begin while each shown frame is on screen."""
        half_s, filled, exposure = self._shown.media_step_s / 2, 0, Exposure(self._wanted)
        for following in decoded:
            begin_s = following.start_s + rounding_s(self._rate)
            while filled < len(numbers) and self._time_s(numbers[filled]) + half_s <= begin_s:
                yield exposure.develop(following)
                filled += 1
            if filled == len(numbers):
                return
            exposure.add(following, counts=begin_s >= self._time_s(numbers[filled]) - half_s)
        for _ in numbers[filled:]:
            yield exposure.develop(None)


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


@decodes_media
def has_video(path: Path) -> bool:
    """Whether a file has video. Cover art does not count. Raises MediaError if it is not media."""
    with open_media(path) as container:
        return bool(video_streams(container))


def video_streams(container: Any) -> list[Any]:
    """The video streams of an open file. Cover art does not count."""
    return [stream for stream in container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic]


def _video_stream(container: Any, path: Path) -> Any:
    streams = video_streams(container)
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
    return max(last_frame_end_s(container, stream, rate) - start_s, 1 / rate)


def last_frame_end_s(container: Any, stream: Any, rate: Fraction) -> Fraction:
    """Time stamp of the end of the last frame, from the packets since the last key frame, without decoding them.

    Raises MediaError if there are none.
    """
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
        end_s = last_frame_end_s(container, stream, Fraction(stream.average_rate or stream.guessed_rate))
        return end_s - first.pts * stream.time_base if is_stream_cut_short(path, container, stream, end_s) else None


def range_end_tolerance_s(frame_rate: Fraction) -> Fraction:
    """How far a range may extend past the end of the media."""
    return _SLACK_FRAMES / frame_rate
