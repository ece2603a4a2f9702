"""Progress lines of a training, instead of a bar, which would fill a log file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rewas_cli.console import note

if TYPE_CHECKING:
    from rewas_engine.packs.description import PackInfo
    from rewas_engine.runtime.progress import Progress, ProgressCallback

_REPORT_INTERVAL_S = 20.0


def print_continued_pack(pack: PackInfo) -> None:
    """Print which pack a training continues, and its licence, which also applies to the result."""
    note(f"Continuing {pack.name} {pack.version} ({pack.licence}): {pack.permits}")


def print_start_pack(start_from: str) -> None:
    """Do the same for the pack that the settings continue, if any. Raises PackError."""
    from rewas_engine.packs.description import find_pack, read_model_pack

    if start_from:
        print_continued_pack(read_model_pack(find_pack(start_from)).info)


def progress_printer() -> ProgressCallback:
    """Return a callback that prints a line every 20 seconds and at the end of each stage."""
    printed_at = 0.0

    def report(progress: Progress) -> None:
        nonlocal printed_at
        now = time.monotonic()
        if now - printed_at < _REPORT_INTERVAL_S and progress.step < progress.total_steps:
            return
        printed_at = now
        left = f", {_format_duration(progress.time_left_s)} left" if progress.time_left_s else ""
        loss = "" if progress.loss is None else f", loss {progress.loss:.4f}"
        note(f"{progress.stage}: {progress.step} of {progress.total_steps}{loss}{left}")

    return report


def _format_duration(time_s: float) -> str:
    minutes = round(time_s / 60)
    if time_s < 90:
        return f"{max(1, time_s):.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
