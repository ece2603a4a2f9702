"""Overlapping windows over any length: where they stand, how they are blended, how they are joined."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch


def window_starts(total: int, window: int, overlap: int) -> list[int]:
    """Starts of windows of one length that cover `total` positions, each overlapping the next by at least `overlap`.

    total: at least `window`. The windows are spread evenly, so that no overlap is much larger than the others.
    """
    if total <= window:
        return [0]
    room, step = total - window, window - overlap
    gaps = -(-room // step)
    return [index * room // gaps for index in range(gaps + 1)]


def cut(whole: torch.Tensor, starts: Sequence[int], window: int, dim: int) -> torch.Tensor:
    """Windows of one tensor [..., total, ...], stacked along a new first axis."""
    return torch.stack([whole.narrow(dim, start, window) for start in starts])


def blend(parts: torch.Tensor, starts: Sequence[int], total: int, dim: int) -> torch.Tensor:
    """Weighted mean of overlapping windows [N, ..., window, ...]: each counts most in its middle and least at its rims.

    dim: the axis of time within one window. Positions under one window alone keep its values.
    """
    window = parts.shape[dim + 1]
    shape = [1] * (parts.dim() - 1)
    shape[dim] = window
    ramp = torch.arange(1, window + 1, dtype=torch.float32, device=parts.device)
    weights = torch.minimum(ramp, ramp.flip(0)).reshape(shape)
    sums = parts.new_zeros([total if axis == dim else size for axis, size in enumerate(parts.shape[1:])])
    counts = torch.zeros([total if axis == dim else 1 for axis in range(sums.dim())], device=parts.device)
    for part, start in zip(parts, starts, strict=True):
        sums.narrow(dim, start, window).add_(part * weights)
        counts.narrow(dim, start, window).add_(weights)
    return sums / counts


def join(parts: torch.Tensor, starts: Sequence[int], total: int) -> torch.Tensor:
    """Windows [N, window] put end to end, changing over in the middle of each overlap: [total].

    For what does not depend on anything beyond half an overlap, such as a vocoder: the change-over is then exact.
    """
    window = parts.shape[1]
    whole = parts.new_empty(total)
    edges = [(later + earlier + window) // 2 for earlier, later in pairwise(starts)]
    for part, start, begin, end in zip(parts, starts, [0, *edges], [*edges, total], strict=True):
        whole[begin:end] = part[begin - start : end - start]
    return whole
