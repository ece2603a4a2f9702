"""Overlapping windows: their positions, and how they are cut, blended and joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch


def window_starts(total: int, window: int, overlap: int) -> list[int]:
    """Start positions of evenly spread windows that cover `total` positions.

    Args:
        total: Positions to cover.
        window: Length of each window. If it is at least `total`, there is one window.
        overlap: Least overlap of neighbouring windows.
    """
    if total <= window:
        return [0]
    room, step = total - window, window - overlap
    gaps = -(-room // step)
    return [index * room // gaps for index in range(gaps + 1)]


def circular_starts(total: int, window: int, overlap: int) -> list[int]:
    """Start positions of evenly spread windows on a circle. A window longer than the circle wraps around repeatedly.

    Args:
        total: Positions of the circle.
        window: Length of each window.
        overlap: Least overlap of neighbouring windows.
    """
    count = max(1, -(-total // (window - overlap)))
    return [index * total // count for index in range(count)]


@dataclass(frozen=True)
class SoundWindow:
    """The windows in which long sounds are generated.

    Attributes:
        frames: Mel frames of a window.
        overlap_frames: Least overlap in mel frames.
        patch: Mel frames per latent position, a divisor of the other two.
    """

    frames: int
    overlap_frames: int
    patch: int

    def starts(self, total_frames: int, circular: bool = False) -> list[int]:
        """Start frames of the windows over `total_frames`, a multiple of the patch, on a line or a circle."""
        window, overlap, total = (count // self.patch for count in (self.frames, self.overlap_frames, total_frames))
        spread = circular_starts if circular else window_starts
        return [start * self.patch for start in spread(total, window, overlap)]

    def whole(self, frames: int) -> int:
        """Round a number of frames up to whole latent positions."""
        return -(-frames // self.patch) * self.patch


def cut(whole: torch.Tensor, starts: Sequence[int], window: int, dim: int) -> torch.Tensor:
    """Cut windows out of a tensor `[..., total, ...]` and stack them along a new first axis.

    A window that extends beyond the end wraps around to the start.
    """
    total = whole.shape[dim]
    return torch.stack([whole.index_select(dim, _places(start, window, total, whole)) for start in starts])


def blend(parts: Iterable[torch.Tensor], starts: Sequence[int], total: int, dim: int) -> torch.Tensor:
    """Average overlapping windows, weighted by a triangle that peaks in the middle of each window.

    Positions that only one window covers keep its values. Windows may wrap around, as in `cut`.

    Args:
        parts: Windows `[..., window, ...]`. They are consumed one by one, so that a generator saves memory.
        starts: Start position of each window.
        total: Positions of the result.
        dim: Time axis of a window.
    """
    sums = counts = weights = None
    for part, start in zip(parts, starts, strict=True):
        if sums is None or counts is None or weights is None:
            weights = _weights(part, dim)
            sums = part.new_zeros([total if axis == dim else size for axis, size in enumerate(part.shape)])
            counts = torch.zeros([total if axis == dim else 1 for axis in range(part.dim())], device=part.device)
        places = _places(start, part.shape[dim], total, part)
        sums.index_add_(dim, places, part * weights)
        counts.index_add_(dim, places, weights)
    assert sums is not None and counts is not None, "at least one window is required"  # noqa: PT018
    return sums / counts


def _weights(part: torch.Tensor, dim: int) -> torch.Tensor:
    shape = [1] * part.dim()
    shape[dim] = part.shape[dim]
    ramp = torch.arange(1, part.shape[dim] + 1, dtype=torch.float32, device=part.device)
    return torch.minimum(ramp, ramp.flip(0)).reshape(shape)


def _places(start: int, window: int, total: int, on: torch.Tensor) -> torch.Tensor:
    return (start + torch.arange(window, device=on.device)) % total


def join(parts: Iterable[torch.Tensor], starts: Sequence[int], window: int, total: int) -> torch.Tensor:
    """Join windows `[window]` to `[total]`, switching in the middle of each overlap.

    The result is exact for a network whose receptive field reaches no farther than half an overlap, such as a vocoder.

    Args:
        parts: Windows on any device, consumed one by one. The result is on the CPU.
        starts: Start position of each window.
        window: Length of each window.
        total: Positions of the result.
    """
    whole = torch.empty(total)
    edges = [(later + earlier + window) // 2 for earlier, later in pairwise(starts)]
    for part, start, begin, end in zip(parts, starts, [0, *edges], [*edges, total], strict=True):
        whole[begin:end] = part[begin - start : end - start]
    return whole
