"""How much of a device's arithmetic the denoiser reaches, by the number of windows in a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.memory import is_out_of_memory, release_memory
from rewas_engine.runtime.precision import DTYPES

BATCHES = (1, 2, 4, 8, 16)
_ROUNDS = 3
_MATRIX = {"cpu": 2048, "cuda": 8192}
"""Sides of the square matrices whose product is taken for the peak."""


@dataclass(frozen=True)
class BatchRow:
    """One pass of denoiser and adapter over so many windows.

    seconds: median. teraflops: arithmetic a second. share: of the peak that a product of matrices reaches. failed: why
    it was not run, else empty.
    """

    batch: int
    seconds: float | None
    teraflops: float | None
    share: float | None
    failed: str = ""

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def peak_teraflops(device: str, precision: str) -> float:
    """What a product of two large matrices reaches on a device, in 10^12 operations a second: the best of some."""
    side = _MATRIX[torch.device(device).type]
    one, other = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    spent = _seconds(lambda: one @ other, device, rounds=8)
    return float(2 * side**3 / min(spent) / 1e12)


def batch_table(
    model: ReWaS, batches: Sequence[int] = BATCHES, on_row: Callable[[int, int], object] | None = None
) -> tuple[float, list[BatchRow]]:
    """The peak in 10^12 operations a second, and one row for each batch of windows."""
    device, precision = model.device, model.sampling_settings().precision
    peak = peak_teraflops(device, precision)
    with FlopCounterMode(display=False) as counted:
        model.sound.denoise_once(1, precision)
    operations = counted.get_total_flops()
    rows = []
    for number, batch in enumerate(batches):
        if on_row is not None:
            on_row(number, len(batches))
        try:
            spent = _seconds(lambda count=batch: model.sound.denoise_once(count, precision), device, rounds=_ROUNDS)  # type: ignore[misc]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            rows.append(BatchRow(batch, None, None, None, "the memory ran out"))
            release_memory()
            continue
        seconds = sorted(spent)[len(spent) // 2]
        reached = operations * batch / seconds / 1e12
        rows.append(BatchRow(batch, seconds, reached, reached / peak))
    return peak, rows


def _seconds(work: Callable[[], object], device: str, *, rounds: int) -> list[float]:
    """Seconds of each round, after one that warms up."""
    spent = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        work()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)
        spent.append(time.perf_counter() - started)
    return spent[1:]
