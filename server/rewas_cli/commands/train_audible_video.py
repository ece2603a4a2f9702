"""`rewas train tavd`: train a tiny model that makes picture and sound from a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewas_cli.commands.shared_options import OUTPUT_PANEL, JsonOption, TrainingConfigOption
from rewas_cli.commands.training_console import progress_printer
from rewas_cli.console import INTERRUPTED, Printer, cancel_on_ctrl_c, note

EXAMPLES = "rewas train tavd --output training-runs/tavd"


def tavd(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            file_okay=False,
            help="A folder for the clips, the checkpoint and the model.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = Path("training-runs/tavd"),
    config: TrainingConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a tiny model that generates picture and sound from a sentence (TAVDiffusion), on synthetic clips.

    At the end, the command measures the model and writes its model card.

    Run the same command again to continue a run that was stopped.
    """
    from rewas_engine.recipes.audible_video import AudibleVideoTraining
    from rewas_engine.recipes.audible_video_card import CARD_FILE
    from rewas_engine.recipes.audible_video_config import AudibleVideoConfig
    from rewas_engine.training.progress import TrainingStopped

    settings = AudibleVideoConfig.read(config) if config is not None else AudibleVideoConfig()
    with cancel_on_ctrl_c() as cancel:
        training = AudibleVideoTraining(settings, output, report=progress_printer(), cancel=cancel)
        try:
            training.run()
            figures = training.measure()
        except TrainingStopped as stopped:
            note(str(stopped))
            raise typer.Exit(INTERRUPTED) from stopped
    report = {"folder": str(output), "model": str(training.model_folder), "figures": figures.report()}
    card = training.model_folder / CARD_FILE
    Printer(as_json).result(report, [f"The model is in {training.model_folder}, its figures in {card}."])
