"""`rewas train`: packs of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewas_cli.commands.shared_options import JsonOption, TrainingConfigOption, TrainingStageOption
from rewas_cli.commands.train_pack import pack
from rewas_cli.commands.train_parts import adapter, phi
from rewas_cli.commands.train_world import world
from rewas_cli.commands.training_console import print_start_pack, training_lines
from rewas_cli.console import INTERRUPTED, Printer, cancel_on_ctrl_c, note

train = typer.Typer(no_args_is_help=True, help="Train packs.")
train.command()(world)
train.command()(pack)
train.command()(phi)
train.command()(adapter)


@train.command()
def starter(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", file_okay=False, help="Corpus, checkpoints and pack go here."),
    ] = Path("training-runs/starter"),
    config: TrainingConfigOption = None,
    stage: TrainingStageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the starter pack from nothing: synthetic clips, codec, base, adapter, vocoder, picture to energy, pack.

    A run that was stopped or killed goes on where it left off when the same command is given again.
    """
    from rewas_engine.recipes.starter import StarterTraining
    from rewas_engine.training.config import StarterConfig
    from rewas_engine.training.progress import TrainingStopped
    from rewas_engine.training.stage_order import STAGES

    settings = StarterConfig.read(config) if config is not None else StarterConfig()
    print_start_pack(settings.start_from)
    with cancel_on_ctrl_c() as cancel:
        training = StarterTraining(settings, output, report=training_lines(), cancel=cancel)
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
