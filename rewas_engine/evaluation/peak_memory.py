"""Peak memory of this process or device."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

import torch

GIGABYTE = 1e9
_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def reset_peak(device: str) -> None:
    """Reset the peak memory counter, as far as the system allows."""
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5", "ascii")


def peak_gb(device: str) -> float | None:
    """Peak memory since `reset_peak`, of the device on a GPU or of this process on a CPU; None if unknown."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIGABYTE
    if not _STATUS.exists():
        return None
    lines = [line for line in _STATUS.read_text("ascii").splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 / GIGABYTE if lines else None
