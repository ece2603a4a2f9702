"""What a training says when it starts and while it goes on: it outlives every progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rewas_server.console import note

if TYPE_CHECKING:
    from rewas_engine.results import PackInfo
    from rewas_engine.training.loop import TrainingProgress

_REPORT_EVERY_S = 20.0


def tell_continued(pack: PackInfo) -> None:
    """Say which pack a training goes on with, and its licence, which holds for what comes of it too."""
    note(f"It continues {pack.name} {pack.version} ({pack.licence}): {pack.permits}")


def tell_start(start_from: str) -> None:
    """Say the same of the pack that settings name, if they name one. Raises PackError."""
    from rewas_engine.packs import find_pack, read_pack

    if start_from:
        tell_continued(read_pack(find_pack(start_from)).info)


def training_lines() -> Callable[[TrainingProgress], None]:
    """Report a line now and then, and one at the end of each stage."""
    said_at = 0.0

    def report(progress: TrainingProgress) -> None:
        nonlocal said_at
        now = time.monotonic()
        if now - said_at < _REPORT_EVERY_S and progress.step < progress.total_steps:
            return
        said_at = now
        left = f", {progress.time_left_s / 60:.0f} min left" if progress.time_left_s else ""
        loss = f", loss {progress.loss:.4f}" if progress.loss else ""
        note(f"{progress.stage}: {progress.step} of {progress.total_steps}{loss}{left}")

    return report
