"""Clips in which every frame shows its number, in blocks that survive compression and scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

GRID = 4
"""Blocks per side: 16 bits, with the number in the upper half and its complement in the lower half."""


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """White noise [samples] float32, within ±0.5."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def clicks(samples: int, positions: Sequence[int]) -> np.ndarray:
    """Silence [samples] with single samples of height 0.8."""
    waveform = np.zeros(samples, np.float32)
    waveform[list(positions)] = 0.8
    return waveform


def write_numbered_clip(
    path: Path,
    *,
    frames: int,
    rate: str | int = 25,
    codec: str = "libx264",
    size: tuple[int, int] = (96, 64),
    pixel_format: str = "yuv420p",
    times_s: Sequence[Fraction] | None = None,
    first_s: Fraction = Fraction(0),
    encoder: Mapping[str, str] | None = None,
    container_options: Mapping[str, str] | None = None,
    sound: np.ndarray | None = None,
    sound_rate_hz: int = 16_000,
    sound_first_s: Fraction | None = None,
    sound_codec: str = "pcm_s16le",
) -> Path:
    """Encode numbered frames at a constant rate or at `times_s`, from `first_s` on, with optional sound [samples]."""
    rate = Fraction(rate)
    time_base = 1 / rate if times_s is None and first_s == 0 else Fraction(1, 90_000)
    with av.open(str(path), "w", options=dict(container_options or {})) as container:
        video = container.add_stream(codec, rate=rate, options=dict(encoder or {}))
        video.width, video.height = size
        video.pix_fmt = pixel_format
        video.codec_context.time_base = time_base
        audio = None
        if sound is not None:
            audio = container.add_stream(sound_codec, rate=sound_rate_hz)
            audio.layout = "mono"
            _write_sound(container, audio, sound, first_s if sound_first_s is None else sound_first_s)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(_draw_number(number, size), format="gray")
            time_s = first_s + (times_s[number] if times_s is not None else number / rate)
            frame.pts, frame.time_base = round(time_s / time_base), time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def write_sound(path: Path, waveform: np.ndarray, rate_hz: int, codec: str = "pcm_s16le") -> Path:
    """Write a file with sound [samples] only."""
    with av.open(str(path), "w") as container:
        audio = container.add_stream(codec, rate=rate_hz)
        audio.layout = "mono"
        _write_sound(container, audio, waveform, Fraction(0))
    return path


def read_numbers(frames: np.ndarray) -> list[int]:
    """Read the numbers in frames [T, H, W]. An unreadable frame raises AssertionError."""
    block_h, block_w = frames.shape[1] // GRID, frames.shape[2] // GRID
    numbers = []
    for frame in frames:
        bits = [
            frame[row * block_h : (row + 1) * block_h, column * block_w : (column + 1) * block_w][
                block_h // 4 : -(block_h // 4), block_w // 4 : -(block_w // 4)
            ].mean()
            > 127
            for row in range(GRID)
            for column in range(GRID)
        ]
        number = sum(bit << place for place, bit in enumerate(bits[:8]))
        complement = sum(bit << place for place, bit in enumerate(bits[8:]))
        high = (number ^ complement) ^ 0xFF
        # The lower half is the complement of the low byte, with the high byte's two bits flipped into it.
        assert high in (0, 1, 2, 3), f"frame shows {number:08b} {complement:08b}"
        numbers.append(number + 256 * high)
    return numbers


def frames_at(times_s: Sequence[Fraction], shown_s: Fraction, rounding_s: Fraction = Fraction(1, 1900)) -> set[int]:
    """The frames that may be shown at a time, if the container rounds frame times."""
    return {
        max([0, *(number for number, time_s in enumerate(times_s) if time_s <= shown_s + shift_s)])
        for shift_s in (-rounding_s, 0, rounding_s)
    }


def _draw_number(number: int, size: tuple[int, int]) -> np.ndarray:
    low, high = number % 256, number // 256
    word = low | ((low ^ 0xFF ^ high) << 8)
    blocks = np.array([(word >> place) & 1 for place in range(GRID * GRID)], np.uint8).reshape(GRID, GRID)
    width, height = size
    rows, columns = np.arange(height) * GRID // height, np.arange(width) * GRID // width
    return np.ascontiguousarray(blocks[rows][:, columns] * 190 + 32)


def _write_sound(container, stream, waveform: np.ndarray, first_s: Fraction) -> None:
    rate_hz, step = stream.rate, 1024
    for start in range(0, waveform.size, step):
        part = np.round(np.clip(waveform[start : start + step], -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        frame.pts, frame.time_base = start + round(first_s * rate_hz), Fraction(1, rate_hz)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
