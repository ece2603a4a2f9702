"""`rewas train`: packs of one's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewas_server.commands.options import JsonOption
from rewas_server.commands.train_world import world
from rewas_server.console import INTERRUPTED, Printer, interruptible, note

if TYPE_CHECKING:
    from rewas_engine.training.loop import TrainingProgress

train = typer.Typer(no_args_is_help=True, help="Train packs.")
train.command()(world)

_REPORT_EVERY_S = 20.0


@train.command()
def starter(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", file_okay=False, help="Corpus, checkpoints and pack go here."),
    ] = Path("training-runs/starter"),
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", dir_okay=False, help="Settings that differ (TOML)."),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="NAME", help="Run this stage only; give it once for each. Default: all."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train the starter pack from nothing: synthetic clips, codec, base, adapter, vocoder, picture to energy, pack.

    A run that was stopped or killed goes on where it left off when the same command is given again.
    """
    from rewas_engine.training.config import StarterConfig
    from rewas_engine.training.loop import TrainingStopped
    from rewas_engine.training.starter import STAGES, StarterTraining

    settings = StarterConfig.read(config) if config is not None else StarterConfig()
    with interruptible() as cancel:
        training = StarterTraining(settings, output, report=_lines(), cancel=cancel)
        try:
            training.run(stage or STAGES)
        except TrainingStopped as stopped:
            note(str(stopped))
            raise typer.Exit(INTERRUPTED) from stopped
    finished = training.pack_folder.is_dir()
    where = (
        f"The pack is in {training.pack_folder}." if finished else "The stages are done; the pack is not yet written."
    )
    Printer(as_json).result({"folder": str(output), "pack": str(training.pack_folder) if finished else None}, [where])


def _lines() -> Callable[[TrainingProgress], None]:
    """Reports a line now and then, and one at the end of each stage: a training outlives every progress bar."""
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
