"""Share of a device's peak arithmetic rate that the denoiser reaches, by the number of windows in a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.memory import release_memory
from rewas_engine.runtime.memory_errors import is_out_of_memory
from rewas_engine.runtime.precision import DTYPES

BATCHES = (1, 2, 4, 8, 16)
_ROUNDS = 3
_MATRIX = {"cpu": 2048, "cuda": 8192}
"""Size of the square matrices whose product measures the peak rate."""


@dataclass(frozen=True)
class BatchRow:
    """One forward pass of denoiser and adapter over a batch of windows.

    Attributes:
        batch: Number of windows.
        seconds: Median time.
        teraflops: 10^12 operations per second.
        share: Share of the peak rate of a matrix product.
        failed: Reason why it was not run, otherwise "".
    """

    batch: int
    seconds: float | None
    teraflops: float | None
    share: float | None
    failed: str = ""

    def report(self) -> dict[str, Any]:
        """Convert to JSON."""
        return asdict(self)


def peak_teraflops(device: str, precision: str) -> float:
    """Measure the peak rate of a large matrix product on a device, in 10^12 operations per second."""
    side = _MATRIX[torch.device(device).type]
    one, other = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    spent = _seconds(lambda: one @ other, device, rounds=8)
    return float(2 * side**3 / min(spent) / 1e12)


def batch_table(
    model: ReWaS, batches: Sequence[int] = BATCHES, on_row: Callable[[int, int], object] | None = None
) -> tuple[float, list[BatchRow]]:
    """Measure the peak rate in 10^12 operations per second, and one row for each batch size."""
    device, precision = model.device, model.sampling_settings().precision
    peak = peak_teraflops(device, precision)
    with FlopCounterMode(display=False) as counted:
        model.sound_generator.denoise_once(1, precision)
    operations = counted.get_total_flops()
    rows = []
    for number, batch in enumerate(batches):
        if on_row is not None:
            on_row(number, len(batches))
        try:
            spent = _seconds(partial(model.sound_generator.denoise_once, batch, precision), device, rounds=_ROUNDS)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            rows.append(BatchRow(batch, None, None, None, "out of memory"))
            release_memory()
            continue
        seconds = sorted(spent)[len(spent) // 2]
        reached = operations * batch / seconds / 1e12
        rows.append(BatchRow(batch, seconds, reached, reached / peak))
    return peak, rows


def _seconds(work: Callable[[], object], device: str, *, rounds: int) -> list[float]:
    """Seconds of each round after one warm-up round."""
    spent = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        work()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize(device)
        spent.append(time.perf_counter() - started)
    return spent[1:]
