"""Sounds as encoders read them: at their sample rate, in windows, and in batches of equal length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import MediaError
from rewas_engine.media.audio import resample

Result = TypeVar("Result")


def at_rate(sound: FloatArray, sample_rate_hz: int, wanted_hz: int, min_samples: int = 1) -> FloatArray:
    """Resample a mono sound [samples], and pad it with silence to at least `min_samples`.

    Raises:
        MediaError: The sound is empty, has several channels, or values that are not finite.
    """
    if sound.ndim != 1 or not sound.size:
        raise MediaError(f"A sound has the shape {list(sound.shape)}.", "Give a mono sound with at least one sample.")
    if not np.isfinite(sound).all():
        raise MediaError("A sound has samples that are not finite.", "Export the sound again.")
    samples = max(1, round(sound.size * wanted_hz / sample_rate_hz))
    resampled = resample(np.asarray(sound, np.float32)[None], sample_rate_hz, wanted_hz, samples)[0]
    return np.pad(resampled, (0, max(0, min_samples - samples)))


def even_windows(sound: FloatArray, samples: int) -> list[FloatArray]:
    """Cut a sound into the fewest windows of `samples` that cover it, spread evenly; a shorter sound is its own."""
    if sound.size <= samples:
        return [sound]
    count = -(-sound.size // samples)
    starts = np.linspace(0, sound.size - samples, count).round().astype(int)
    return [sound[start : start + samples] for start in starts]


def in_batches(
    sounds: Sequence[FloatArray], batch_size: int, encode: Callable[[FloatArray], Sequence[Result]]
) -> list[Result]:
    """Encode sounds in batches of equal length, and return the results in the order of the sounds.

    Args:
        sounds: Each [samples].
        batch_size: Sounds per batch.
        encode: Function from sounds [B, samples] to B results.
    """
    by_length: dict[int, list[int]] = {}
    for place, sound in enumerate(sounds):
        by_length.setdefault(sound.size, []).append(place)
    results: dict[int, Result] = {}
    for places in by_length.values():
        for first in range(0, len(places), batch_size):
            some = places[first : first + batch_size]
            results.update(zip(some, encode(np.stack([sounds[place] for place in some])), strict=True))
    return [results[place] for place in range(len(sounds))]


def unit_rows(rows: FloatArray) -> FloatArray:
    """Scale the rows of [N, D] to length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0), np.float32)
