"""Mel powers of what has been planned so far, kept only around the place that is being planned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.curve import Nats
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.recordings.levels import energy_of

FloatArray = NDArray[np.float32]
_KEPT_FRAMES = 1024
_TABLE = 256


class BedPowers:
    """Powers that a steady sound will have when it follows a curve.

    Args:
        wanted_nats: Energy of the sound, `[T]`.
        shape: Its mean mel powers, `[bins]`.
    """

    def __init__(self, wanted_nats: Nats, shape: FloatArray) -> None:
        gains = np.linspace(-20.0, 20.0, _TABLE)
        energies = energy_of(np.exp(2 * gains)[:, None] * shape.astype(np.float64))
        self._wanted, self._shape = wanted_nats, shape
        # Only where the energy rises with the gain can the gain be found from it.
        rises = np.concatenate([np.diff(energies) > 1e-9, [True]])
        self._energies, self._gains = energies[rises], gains[rises]

    def rows(self, begin: int, end: int) -> NDArray[np.float64]:
        """Powers `[end - begin, bins]` of frames."""
        wanted = self._wanted[begin:end]
        gains = np.interp(wanted, self._energies, self._gains)
        powers = np.exp(2 * gains)[:, None] * self._shape.astype(np.float64)
        return np.where(wanted[:, None] <= SILENCE_NATS + 1e-3, 0.0, powers)


class PlannedPowers:
    """Sums the powers of sounds frame by frame.

    Args:
        frames: Number of frames.
        bins: Number of mel bins.
        bed: What sounds below all others.

    Attributes:
        energies_nats: Energy without the bed, `[frames]`; SILENCE_NATS in the frames that are not forgotten yet.
    """

    def __init__(self, frames: int, bins: int, bed: BedPowers | None = None) -> None:
        self.energies_nats: Nats = np.full(frames, SILENCE_NATS)
        self._bed, self._base = bed, 0
        self._rows = np.zeros((0, bins))

    def rows(self, begin: int, end: int) -> NDArray[np.float64]:
        """Powers `[end - begin, bins]` of frames that are not forgotten."""
        end = min(end, self.energies_nats.size)
        found = np.zeros((max(0, end - begin), self._rows.shape[1]))
        part = self._rows[max(0, begin - self._base) : max(0, end - self._base)]
        offset = max(0, self._base - begin)
        found[offset : offset + len(part)] = part
        return found if self._bed is None else found + self._bed.rows(begin, end)

    def add(self, first: int, powers: NDArray[np.floating]) -> None:
        """Add powers `[T, bins]` from a frame on."""
        end = first + len(powers)
        if end > self._base + len(self._rows):
            grown = np.zeros((end - self._base + _KEPT_FRAMES, self._rows.shape[1]))
            grown[: len(self._rows)] = self._rows
            self._rows = grown
        self._rows[first - self._base : end - self._base] += powers

    def forget(self, before: int) -> None:
        """Settle the energies of the frames before one, which are not needed any more."""
        if before - self._base < min(_KEPT_FRAMES, self.energies_nats.size - self._base):
            return
        count = min(before - self._base, len(self._rows))
        settled = energy_of(self._rows[:count])[: max(0, self.energies_nats.size - self._base)]
        self.energies_nats[self._base : self._base + settled.size] = settled
        self._rows, self._base = self._rows[count:].copy(), before
