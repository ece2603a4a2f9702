"""Gains that make a sound follow an energy curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.curve import Nats
from rewas_engine.recordings.levels import MUTE_NATS, gains_for
from rewas_engine.recordings.profiles import ANALYSIS_HZ, FRAME_RATE_HZ

FloatArray = NDArray[np.float32]
_REACH = 3
"""Frames before and after its own that a frame of the front end covers."""
_WINDOW = np.cos(np.arange(-_REACH, _REACH + 1) / (_REACH + 0.2) * np.pi / 2) ** 4
"""Power of the window of the front end at the middle of these frames."""
_LARGEST_MOVED_NATS = 3.0
_FAINTEST_POWER = 1e-12


def following_gains(
    mono: FloatArray,
    wanted_nats: Nats,
    powers_of: Callable[[FloatArray, int], FloatArray],
    *,
    lowest_nats: Nats | float,
    highest_nats: Nats | float,
    passes: int,
    background: FloatArray | float = 0.0,
    known_nats: Nats,
) -> Nats:
    """Find the gains that give a sound a wanted energy.

    Neighbouring frames share samples, so the gains are measured and corrected several times.

    Args:
        mono: The sound at ANALYSIS_HZ, `[samples]`.
        wanted_nats: Wanted energies at FRAME_RATE_HZ, `[T]`.
        powers_of: Function from a sound and a number of frames T to its mel powers, `[T, bins]`.
        lowest_nats, highest_nats: Limits of the gains, the same for all frames or `[T]`.
        passes: Number of corrections.
        background: Mel powers of what sounds at the same time, `[T, bins]`.
        known_nats: Gains of the first frames, which do not change.

    Returns:
        Gains `[T]` in nats.
    """
    count = wanted_nats.size
    gains = np.zeros(count)
    for _ in range(passes):
        shaped = mono * factors(gains, 0, mono.size, ANALYSIS_HZ)
        step = gains_for(
            powers_of(shaped, count),
            wanted_nats,
            background=background,
            max_gain_nats=float(np.max(highest_nats)),
        )
        gains = np.clip(gains + _placed(step, shaped), lowest_nats, highest_nats)
        gains[: known_nats.size] = known_nats
    return gains


def _placed(step_nats: Nats, sound: FloatArray) -> Nats:
    """Move corrections of frames `[T]` to the sound that they apply to.

    A frame covers several times its own length, and may be full of a short sound at its edge.
    """
    count, hop = step_nats.size, ANALYSIS_HZ // FRAME_RATE_HZ
    padded = np.zeros(count * hop)
    padded[: min(sound.size, padded.size)] = sound[: padded.size]
    powers = np.pad(np.square(padded).reshape(count, hop).mean(axis=1) + _FAINTEST_POWER, _REACH)
    pieces = [_WINDOW[place] * powers[place : place + count] for place in range(_WINDOW.size)]
    whole = np.sum(pieces, axis=0)
    limited = np.clip(step_nats, -_LARGEST_MOVED_NATS, _LARGEST_MOVED_NATS)
    sums, weights = np.zeros(count + 2 * _REACH), np.zeros(count + 2 * _REACH)
    for place, piece in enumerate(pieces):
        weight = _WINDOW[place] * piece / whole
        sums[place : place + count] += weight * limited
        weights[place : place + count] += weight
    moved = (sums / np.maximum(weights, 1e-30))[_REACH : _REACH + count]
    moved = np.convolve(np.pad(moved, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    return np.where(step_nats <= MUTE_NATS, step_nats, moved)


def factors(gains_nats: Nats, begin: int, end: int, rate_hz: int) -> FloatArray:
    """Factors of the samples [begin, end), interpolated between the gains `[T]` of frames."""
    frames = (np.arange(begin, end) + 0.5) * (FRAME_RATE_HZ / rate_hz) - 0.5
    interpolated = np.interp(frames, np.arange(gains_nats.size), gains_nats)
    return np.where(interpolated <= MUTE_NATS, 0.0, np.exp(interpolated)).astype(np.float32)
