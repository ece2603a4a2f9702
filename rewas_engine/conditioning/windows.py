"""Overlapping windows over any length: where they stand, how they are blended, how they are joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


def circular_starts(total: int, window: int, overlap: int) -> list[int]:
    """Starts of windows on a circle of `total` positions, each overlapping the next by at least `overlap`.

    They are spread evenly. One that is longer than the circle goes round it more than once.
    """
    count = max(1, -(-total // (window - overlap)))
    return [index * total // count for index in range(count)]


@dataclass(frozen=True)
class SoundWindow:
    """How long sounds are made: in windows of `frames` mel frames that overlap by `overlap_frames`.

    patch: mel frames for each latent position; divides both.
    """

    frames: int
    overlap_frames: int
    patch: int

    def starts(self, total_frames: int, circular: bool = False) -> list[int]:
        """First mel frames of the windows over `total_frames`, a multiple of the patch; or round them, as a circle."""
        window, overlap, total = (count // self.patch for count in (self.frames, self.overlap_frames, total_frames))
        spread = circular_starts if circular else window_starts
        return [start * self.patch for start in spread(total, window, overlap)]

    def whole(self, frames: int) -> int:
        """The frames of whole latent positions that hold so many."""
        return -(-frames // self.patch) * self.patch


def cut(whole: torch.Tensor, starts: Sequence[int], window: int, dim: int) -> torch.Tensor:
    """Windows of one tensor [..., total, ...], stacked along a new first axis.

    One that reaches beyond the end goes on at the beginning: windows may stand on a circle.
    """
    total = whole.shape[dim]
    return torch.stack([whole.index_select(dim, _places(start, window, total, whole)) for start in starts])


def blend(parts: Iterable[torch.Tensor], starts: Sequence[int], total: int, dim: int) -> torch.Tensor:
    """Weighted mean of overlapping windows [..., window, ...]: each counts most in its middle and least at its rims.

    parts: taken one after another, so that they need not all be there at once. dim: the axis of time within one window.
    Positions under one window alone keep its values. Windows may stand on a circle, as in `cut`.
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
    assert sums is not None and counts is not None, "there is always a window"  # noqa: PT018
    return sums / counts


def _weights(part: torch.Tensor, dim: int) -> torch.Tensor:
    shape = [1] * part.dim()
    shape[dim] = part.shape[dim]
    ramp = torch.arange(1, part.shape[dim] + 1, dtype=torch.float32, device=part.device)
    return torch.minimum(ramp, ramp.flip(0)).reshape(shape)


def _places(start: int, window: int, total: int, on: torch.Tensor) -> torch.Tensor:
    return (start + torch.arange(window, device=on.device)) % total


def join(parts: Iterable[torch.Tensor], starts: Sequence[int], window: int, total: int) -> torch.Tensor:
    """Windows [window] put end to end, changing over in the middle of each overlap: [total].

    parts: taken one after another, so that they need not all be there at once; each lives where it was made, the whole
    on the CPU. For what does not depend on anything beyond half an overlap, such as a vocoder: the change-over is then
    exact.
    """
    whole = torch.empty(total)
    edges = [(later + earlier + window) // 2 for earlier, later in pairwise(starts)]
    for part, start, begin, end in zip(parts, starts, [0, *edges], [*edges, total], strict=True):
        whole[begin:end] = part[begin - start : end - start]
    return whole
