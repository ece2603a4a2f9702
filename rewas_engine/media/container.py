"""Open media files and decode their frames, within limits. All media but plain sound files is read here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av

from rewas_engine.errors import MediaError
from rewas_engine.media.formats import (
    CONTAINERS,
    check_is_no_heif_picture,
    check_names_no_other_file,
    format_error,
    log_of,
    picture_size_in,
    refused_format,
)
from rewas_engine.media.limits import DecodingLimits, current_limits

_MAX_FAILURES = 50
"""Damaged frames of a file that are skipped."""
_PADDING_PIXELS = 128 * 128
_on_activity: Callable[[], None] = lambda: None  # noqa: E731 - replaced in a decoder's process


def call_on_activity(callback: Callable[[], None]) -> None:
    """Have a function called after every packet of media that is read in this process."""
    global _on_activity
    _on_activity = callback


@contextmanager
def open_media(path: Path) -> Iterator[Any]:
    """Open a media file for reading.

    FFmpeg opens this file alone: other formats, playlists, references in QuickTime files and URLs are refused.

    Raises:
        MediaError: The file is missing, is not media, is in a format that is not read, or exceeds a limit.
    """
    if not path.is_file():
        raise MediaError(f"The file {path} does not exist.", "Check the path, or relink the clip.")
    if not path.stat().st_size:
        raise MediaError(f"{path.name} cannot be read as media, because it is empty.", "Copy or export it again.")
    limits = current_limits()
    try:
        check_names_no_other_file(path)
        check_is_no_heif_picture(path)
        container = _open_container(path, limits)
    except (av.FFmpegError, OSError, ValueError) as error:
        refused = refused_format(*log_of(lambda: _open_container(path, limits).close()))
        if refused is not None:
            raise format_error(path, refused) from error
        raise MediaError(
            f"{path.name} cannot be read as media ({reason(error)}).", "Choose a file that plays, or export it again."
        ) from error
    try:
        _limit_streams(container, path, limits)
        yield container
    finally:
        container.close()


def _open_container(path: Path, limits: DecodingLimits) -> Any:
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": ",".join(CONTAINERS),
        "enable_drefs": "0",
        "use_absolute_path": "0",
        "max_streams": str(limits.streams),
        "probesize": str(limits.probe_bytes),
    }
    # The prefix makes a name such as "concat:a.mp4" a file name.
    return av.open(f"file:{path}", options=_codec_options(limits), container_options=options)


def _codec_options(limits: DecodingLimits) -> dict[str, str]:
    # FFmpeg counts the pixels with which it pads a frame. `_check_frame` is exact.
    max_pixels = limits.pixels + limits.pixels // 8 + _PADDING_PIXELS
    return {"max_pixels": str(max_pixels), "max_samples": str(limits.samples_per_frame)}


def _limit_streams(container: Any, path: Path, limits: DecodingLimits) -> None:
    for stream in container.streams:
        codec = stream.codec_context
        if codec is None:  # FFmpeg has no decoder for it.
            continue
        if stream.type == "video":
            limits.check_picture(path.name, codec.width, codec.height)
            codec.thread_count = limits.decoding_threads(codec.width * codec.height)
        if stream.type == "audio" and codec.channels:
            limits.check_sound_format(path.name, codec.channels, codec.sample_rate)
        if stream.type in ("video", "audio"):
            codec.options = _codec_options(limits)


def read_packets(container: Any, stream: Any) -> Iterator[Any]:
    """Read the packets of a stream in order, without decoding them. Raises av.FFmpegError."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):  # PyAV raises the latter at the end if streams have appeared late.
            return
        _on_activity()
        yield packet


def decode_frames(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    """Decode frames in order. Damaged ones are skipped, as in players, up to a limit.

    Raises MediaError if the stream is damaged or cannot be decoded, or exceeds a limit.
    """
    limits, failures, count = current_limits(), 0, 0
    packets = read_packets(container, stream)
    while True:
        try:
            packet = next(packets)
            for frame in packet.decode():
                count += 1
                _check_frame(frame, path, limits, count)
                if frame.pts is not None:
                    yield frame
        except StopIteration:
            return
        except (av.EOFError, av.InvalidDataError) as error:
            _check_size_after_failure(stream, path, limits, count)
            failures += 1
            if failures > _MAX_FAILURES:
                raise MediaError(f"{path.name} is damaged ({reason(error)}).", "Export it again.") from error
        except av.FFmpegError as error:
            _check_size_after_failure(stream, path, limits, count)
            if isinstance(stream, av.VideoStream):
                _refuse_large_pictures(path, stream.index, limits)
            raise MediaError(f"{path.name} cannot be decoded ({reason(error)}).", "Export it again.") from error


def _check_frame(frame: Any, path: Path, limits: DecodingLimits, count: int) -> None:
    """Check a frame: its format may differ from what the file states, and from that of other frames."""
    limits.check_frame_count(path.name, count)
    if isinstance(frame, av.VideoFrame):
        limits.check_picture(path.name, frame.width, frame.height)
    else:
        limits.check_sound_format(path.name, frame.layout.nb_channels, frame.rate)


def _check_size_after_failure(stream: Any, path: Path, limits: DecodingLimits, decoded: int) -> None:
    """Raise MediaError if a decoder failed because the frames became too large. decoded: frames before the failure."""
    if not isinstance(stream, av.VideoStream) or not decoded:
        return
    width, height = stream.codec_context.width, stream.codec_context.height
    limits.check_picture(path.name, width, height)
    if not width * height:  # Some decoders forget the size that they refuse.
        raise MediaError(
            f"{path.name} has frames that exceed the limit of {limits.pixels} pixels.",
            "Export it at a smaller size.",
        )


def _refuse_large_pictures(path: Path, stream_index: int, limits: DecodingLimits) -> None:
    """Raise MediaError if a decoder did not start because the frames are too large."""

    def decode() -> None:
        with _open_container(path, limits) as container:
            stream = container.streams[stream_index]
            if stream.codec_context is None:
                return
            stream.codec_context.options = _codec_options(limits)
            for _, _ in zip(container.decode(stream), range(1), strict=False):
                pass

    size = picture_size_in(log_of(decode)[0])
    if size is not None:
        limits.check_picture(path.name, *size)


def reason(error: BaseException) -> str:
    """What FFmpeg or the system says about an error, without a full stop."""
    return str(getattr(error, "strerror", None) or error).rstrip(".")
