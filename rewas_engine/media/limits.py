"""Limits of the media that is decoded, so that a small file cannot take all memory or time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction

from rewas_engine.errors import MediaError


@dataclass(frozen=True)
class DecodingLimits:
    """Limits of the media that is decoded. A file that exceeds one is refused with a MediaError.

    The first group holds wherever media is read. The second one is enforced on a separate process that decodes (see
    `rewas_engine.media.isolation`).

    Attributes:
        pixels: Pixels of a frame. The default is a frame of 12288 x 8192, the size of the largest cinema cameras.
        aspect_ratio: Longer side of a frame divided by the shorter one. Scaled to the size that a model reads, a frame
            of one line would become very large.
        frames: Frames that one call decodes: a day at 190 frames per second.
        duration_s: Seconds of one range.
        streams: Streams of a file. Feature films have fewer than 100.
        channels: Channels of an audio track. FFmpeg mixes up to 64, as in Ambisonics of the seventh order.
        min_sample_rate_hz: Lowest sample rate of a sound.
        max_sample_rate_hz: Highest sample rate of a sound.
        samples_per_frame: Samples of each channel in one packet of sound.
        sound_bytes: Size of a sound that is read as a whole, as 32-bit samples.
        probe_bytes: Bytes that FFmpeg reads to find the streams of a file.
        threads: Threads of a decoder. Each of them holds several frames, so large frames get fewer.

        memory_bytes: Address space of the decoder's process (on Linux).
        open_files: Open files of the decoder's process (not on Windows).
        stall_s: Seconds that the decoder may take to decode one frame.
        call_s: Seconds of waiting for one call, without the seconds of its range.
        call_s_per_media_s: Further seconds of waiting for each second of the range.
    """

    pixels: int = 12_288 * 8_192
    aspect_ratio: int = 100
    frames: int = 2**24
    duration_s: int = 24 * 3600
    streams: int = 256
    channels: int = 64
    min_sample_rate_hz: int = 1_000
    max_sample_rate_hz: int = 1_536_000
    samples_per_frame: int = 2**23
    sound_bytes: int = 2**31
    probe_bytes: int = 5_000_000
    threads: int = 8

    memory_bytes: int = 4 * 2**30
    open_files: int = 64
    stall_s: float = 60.0
    call_s: float = 600.0
    call_s_per_media_s: float = 30.0

    def check_picture(self, name: str, width: int, height: int) -> None:
        """Refuse frames that are too large. name: the file's. Raises MediaError."""
        if width * height > self.pixels:
            raise MediaError(
                f"{name} has frames of {width} x {height} pixels; the limit is {self.pixels} pixels.",
                "Export it at a smaller size.",
            )
        if max(width, height) > self.aspect_ratio * min(width, height) > 0:
            raise MediaError(
                f"{name} has frames of {width} x {height} pixels; the longer side may be at most "
                f"{self.aspect_ratio} times the shorter.",
                "Export it at another aspect ratio.",
            )

    def check_frame_count(self, name: str, frames: int) -> None:
        """Refuse a file that decodes to too many frames. Raises MediaError."""
        if frames > self.frames:
            raise MediaError(f"{name} has more than {self.frames} frames.", "Choose a shorter file, or split it.")

    def check_duration(self, name: str, duration_s: Fraction) -> None:
        """Refuse a range that is too long. Raises MediaError."""
        if duration_s > self.duration_s:
            raise MediaError(
                f"The range of {name} lasts {float(duration_s):.0f} s; the limit is {self.duration_s} s.",
                "Choose a shorter range.",
            )

    def check_sound_format(self, name: str, channels: int, sample_rate_hz: int) -> None:
        """Refuse sound with too many channels, or with a sample rate that no sound has. Raises MediaError."""
        if channels > self.channels:
            raise MediaError(
                f"{name} has sound with {channels} channels; the limit is {self.channels}.",
                "Export it with fewer channels.",
            )
        if not self.min_sample_rate_hz <= sample_rate_hz <= self.max_sample_rate_hz:
            raise MediaError(
                f"{name} has sound with a sample rate of {sample_rate_hz} Hz; it must be from "
                f"{self.min_sample_rate_hz} to {self.max_sample_rate_hz} Hz.",
                "Export it with a sample rate of 48000 Hz.",
            )

    def check_sound_size(self, name: str, samples: int) -> None:
        """Refuse a sound that is too long to be read as a whole. samples: of all channels. Raises MediaError."""
        if 4 * samples > self.sound_bytes:
            raise MediaError(
                f"The sound {name} has {samples} samples; the limit is {self.sound_bytes // 4}.",
                "Choose a shorter sound.",
            )

    def decoding_threads(self, pixels: int) -> int:
        """Threads for frames of a size: all of them up to 4K, half of them up to 8K, one above."""
        if pixels > 8192 * 4608:
            return 1
        return self.threads if pixels <= 4096 * 2304 else max(1, self.threads // 2)


_LIMITS: ContextVar[DecodingLimits] = ContextVar("decoding_limits", default=DecodingLimits())  # noqa: B039 - frozen


def current_limits() -> DecodingLimits:
    """The limits that hold for the caller."""
    return _LIMITS.get()


@contextmanager
def decoding_limits(limits: DecodingLimits) -> Iterator[None]:
    """Set the limits within the block."""
    token = _LIMITS.set(limits)
    try:
        yield
    finally:
        _LIMITS.reset(token)
