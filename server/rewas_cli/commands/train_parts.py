"""`rewas train phi` and `rewas train adapter`: one network of a pack, on a data set of videos with sound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.completion import complete_pack
from rewas_cli.commands.shared_options import (
    DATA_PANEL,
    OUTPUT_PANEL,
    TRAINING_PANEL,
    JsonOption,
    LayoutOption,
    TrainingConfigOption,
    TrainingDeviceOption,
)
from rewas_cli.commands.train_pack import EXCLUDED_FILE, print_excluded
from rewas_cli.commands.training_console import print_continued_pack, progress_printer
from rewas_cli.console import INTERRUPTED, Printer, cancel_on_ctrl_c, note

if TYPE_CHECKING:
    from rewas_engine.recipes.part_training import PartTraining


DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        help="A folder of videos with sound; subfolders are included.",
        rich_help_panel=DATA_PANEL,
    ),
]
LayoutArgument = Annotated[
    LayoutOption,
    typer.Option(
        "--layout",
        metavar="folder|vggsound|greatest-hits|tavgbench|favdbench",
        help="The layout of the data set on disk.",
        rich_help_panel=DATA_PANEL,
    ),
]
TableOption = Annotated[
    Path | None,
    typer.Option(
        "--table",
        metavar="FILE",
        dir_okay=False,
        help="The CSV file of VGGSound, or a table of captions for a folder.",
        rich_help_panel=DATA_PANEL,
    ),
]
SourceOption = Annotated[
    str,
    typer.Option(
        "--start-from",
        metavar="PACK",
        help="The pack that provides the other networks.",
        autocompletion=complete_pack,
        rich_help_panel=TRAINING_PANEL,
    ),
]
FineTuneOption = Annotated[
    bool,
    typer.Option(
        "--fine-tune",
        help="Continue training the pack's network instead of a new one.",
        rich_help_panel=TRAINING_PANEL,
    ),
]
NameOption = Annotated[
    str, typer.Option("--name", metavar="NAME", help="The name of the new pack.", rich_help_panel=OUTPUT_PANEL)
]
LicenceOption = Annotated[
    str,
    typer.Option(
        "--licence", metavar="TEXT", help="The licence of the pack, such as CC-BY-4.0.", rich_help_panel=OUTPUT_PANEL
    ),
]
PermitsOption = Annotated[
    str,
    typer.Option(
        "--permits",
        metavar="TEXT",
        help="What the licence permits for the pack and its sounds, in one sentence.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
RunOption = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="DIR",
        file_okay=False,
        help="The folder for features, checkpoints and pack.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
PHI_EXAMPLES = 'rewas train phi --data clips/ --name film --output runs/film --licence CC-BY-4.0 --permits "Credit us."'
ADAPTER_EXAMPLES = (
    'rewas train adapter --data clips/ --name film --output runs/film --licence CC-BY-4.0 --permits "Credit us."'
)


def phi(
    data: DataOption,
    name: NameOption,
    licence: LicenceOption,
    permits: PermitsOption,
    output: RunOption,
    layout: LayoutArgument = LayoutOption.FOLDER,
    table: TableOption = None,
    start_from: SourceOption = "starter",
    fine_tune: FineTuneOption = False,
    config: TrainingConfigOption = None,
    device: TrainingDeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train φ, which estimates the energy from the tokens of a pack's video encoder.

    Run the same command again to continue a run that was stopped. Several processes started by `accelerate launch`
    share the work.
    """
    from rewas_engine.recipes.part_training import PhiTraining
    from rewas_engine.training.part_config import PhiConfig

    dataset_options = (data, layout, table, start_from, (name, licence, permits))
    _train(PhiTraining, PhiConfig(), config, device, dataset_options, output, fine_tune, as_json)


def adapter(
    data: DataOption,
    name: NameOption,
    licence: LicenceOption,
    permits: PermitsOption,
    output: RunOption,
    layout: LayoutArgument = LayoutOption.FOLDER,
    table: TableOption = None,
    start_from: SourceOption = "starter",
    fine_tune: FineTuneOption = False,
    config: TrainingConfigOption = None,
    device: TrainingDeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the adapter, which makes a pack's text-to-audio model follow the energy; the model itself is frozen.

    Run the same command again to continue a run that was stopped. Several processes started by `accelerate launch`
    share the work.
    """
    from rewas_engine.recipes.part_training import AdapterTraining
    from rewas_engine.training.part_config import AdapterConfig

    dataset_options = (data, layout, table, start_from, (name, licence, permits))
    _train(AdapterTraining, AdapterConfig(), config, device, dataset_options, output, fine_tune, as_json)


def _train(
    kind: Any,
    settings: Any,
    config: Path | None,
    device: str | None,
    dataset_options: tuple[Path, LayoutOption, Path | None, str, tuple[str, str, str]],
    output: Path,
    fine_tune: bool,
    as_json: bool,
) -> None:
    from rewas_engine.packs.description import find_pack, read_model_pack
    from rewas_engine.recipes.pack_terms import PackTerms
    from rewas_engine.training.config import read_settings
    from rewas_engine.training.datasets import read_dataset
    from rewas_engine.training.progress import TrainingStopped

    data, layout, table, start_from, (name, licence, permits) = dataset_options
    terms = PackTerms(name, licence, permits)
    source = read_model_pack(find_pack(start_from))
    settings = read_settings(settings, config) if config is not None else settings
    settings = settings if device is None else replace(settings, device=device)
    with cancel_on_ctrl_c() as cancel:
        training: PartTraining = kind(
            settings,
            output,
            read_dataset(data, layout.value, table),
            source,
            terms,
            fine_tune=fine_tune,
            report=progress_printer(),
            cancel=cancel,
        )
        is_first = training.processes.is_first
        if is_first:
            print_continued_pack(source.info)
            clips = training.dataset.clips
            held_out = sum(clip.is_held_out for clip in clips)
            note(f"{len(clips) - held_out} clips to train on, {held_out} held out, on {training.device}.")
        try:
            training.write_features()
            if is_first:  # Before training: the excluded clips may include every held-out clip.
                print_excluded(training.left_out(), output / EXCLUDED_FILE)
            training.run()
        except TrainingStopped as stopped:
            if is_first:
                note(str(stopped))
            raise typer.Exit(INTERRUPTED) from stopped
    if is_first:
        _, figures = max(training.validation().items())
        shown = ", ".join(f"{figure} {value:.3f}" for figure, value in figures.items())
        lines = [f"On held-out clips: {shown}.", f"The pack is in {training.pack_folder}."]
        report = {"folder": str(output), "pack": str(training.pack_folder), "figures": figures}
        Printer(as_json).result(report, lines)
