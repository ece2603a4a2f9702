"""`rewas train`: train packs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rewas_cli.commands.help_pages import Command, Group
from rewas_cli.commands.shared_options import (
    OUTPUT_PANEL,
    JsonOption,
    TrainingConfigOption,
    TrainingDeviceOption,
    TrainingStageOption,
)
from rewas_cli.commands.train_audible_video import EXAMPLES as TAVD_EXAMPLES
from rewas_cli.commands.train_audible_video import tavd
from rewas_cli.commands.train_pack import EXAMPLES as PACK_EXAMPLES
from rewas_cli.commands.train_pack import pack
from rewas_cli.commands.train_parts import ADAPTER_EXAMPLES, PHI_EXAMPLES, adapter, phi
from rewas_cli.commands.train_world import EXAMPLES as WORLD_EXAMPLES
from rewas_cli.commands.train_world import world
from rewas_cli.commands.training_console import print_start_pack, progress_printer
from rewas_cli.console import INTERRUPTED, Printer, cancel_on_ctrl_c, note

train = typer.Typer(cls=Group, no_args_is_help=True, help="Train packs.")
train.command(cls=Command, epilog=PACK_EXAMPLES)(pack)
train.command(cls=Command, epilog=PHI_EXAMPLES)(phi)
train.command(cls=Command, epilog=ADAPTER_EXAMPLES)(adapter)
train.command(cls=Command, epilog=WORLD_EXAMPLES)(world)
train.command(cls=Command, epilog=TAVD_EXAMPLES)(tavd)


@train.command(cls=Command, epilog="rewas train starter --output training-runs/starter")
def starter(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            file_okay=False,
            help="The folder for corpus, checkpoints and pack.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = Path("training-runs/starter"),
    config: TrainingConfigOption = None,
    stage: TrainingStageOption = None,
    device: TrainingDeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the starter pack from scratch on synthetic clips.

    Run the same command again to continue a run that was stopped.
    """
    from rewas_engine.recipes.starter import StarterTraining
    from rewas_engine.training.config import StarterConfig
    from rewas_engine.training.progress import TrainingStopped
    from rewas_engine.training.stage_order import STAGES

    settings = StarterConfig.read(config) if config is not None else StarterConfig()
    settings = settings if device is None else replace(settings, device=device)
    print_start_pack(settings.start_from)
    with cancel_on_ctrl_c() as cancel:
        training = StarterTraining(settings, output, report=progress_printer(), cancel=cancel)
        try:
            training.run(stage or STAGES)
        except TrainingStopped as stopped:
            note(str(stopped))
            raise typer.Exit(INTERRUPTED) from stopped
    finished = training.pack_folder.is_dir()
    where = (
        f"The pack is in {training.pack_folder}."
        if finished
        else "The stages are complete; the pack is not written yet."
    )
    Printer(as_json).result({"folder": str(output), "pack": str(training.pack_folder) if finished else None}, [where])
