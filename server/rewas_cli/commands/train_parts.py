"""`rewas train phi`, `rewas train adapter`: one part of a pack on a data set of videos with sound."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.shared_options import JsonOption, TrainingConfigOption
from rewas_cli.commands.train_pack import EXCLUDED_FILE, print_excluded
from rewas_cli.commands.training_console import print_continued_pack, training_lines
from rewas_cli.console import INTERRUPTED, Printer, cancel_on_ctrl_c, note

if TYPE_CHECKING:
    from rewas_engine.recipes.part_training import PartTraining


class LayoutOption(StrEnum):
    """How a data set lies on disk."""

    FOLDER = "folder"
    VGGSOUND = "vggsound"
    GREATEST_HITS = "greatest-hits"


DataOption = Annotated[Path, typer.Option("--data", metavar="DIR", help="Videos with sound, in this folder and below.")]
LayoutArgument = Annotated[LayoutOption, typer.Option("--layout", help="How the data set lies on disk.")]
TableOption = Annotated[
    Path | None,
    typer.Option("--table", metavar="FILE", dir_okay=False, help="VGGSound's CSV, or captions of any folder."),
]
SourceOption = Annotated[str, typer.Option("--start-from", metavar="PACK", help="The pack whose part it is.")]
FineTuneOption = Annotated[
    bool, typer.Option("--fine-tune", help="Go on with the pack's own part, not with a new one.")
]
NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="What the new pack is called.")]
LicenceOption = Annotated[str, typer.Option("--licence", metavar="TEXT", help="The pack's licence, as CC-BY-4.0.")]
PermitsOption = Annotated[
    str, typer.Option("--permits", metavar="TEXT", help="What may be done with pack and sounds, in a sentence.")
]
RunOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", file_okay=False, help="Features, checkpoints, pack go here.")
]


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
    as_json: JsonOption = False,
) -> None:
    """Train φ, which reads the energy of the sound from the picture, for a pack's video encoder.

    A run that was stopped or killed goes on where it left off when the same command is given again. Several processes
    started by `accelerate launch` share the work.
    """
    from rewas_engine.recipes.part_training import PhiTraining
    from rewas_engine.training.part_config import PhiConfig

    words = (data, layout, table, start_from, (name, licence, permits))
    _train(PhiTraining, PhiConfig(), config, words, output, fine_tune, as_json)


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
    as_json: JsonOption = False,
) -> None:
    """Train the adapter, which makes a pack's text-to-audio model follow an energy; the model itself stays as it is.

    A run that was stopped or killed goes on where it left off when the same command is given again. Several processes
    started by `accelerate launch` share the work.
    """
    from rewas_engine.recipes.part_training import AdapterTraining
    from rewas_engine.training.part_config import AdapterConfig

    words = (data, layout, table, start_from, (name, licence, permits))
    _train(AdapterTraining, AdapterConfig(), config, words, output, fine_tune, as_json)


def _train(
    kind: Any,
    settings: Any,
    config: Path | None,
    words: tuple[Path, LayoutOption, Path | None, str, tuple[str, str, str]],
    output: Path,
    fine_tune: bool,
    as_json: bool,
) -> None:
    from rewas_engine.packs.description import find_pack, read_pack
    from rewas_engine.recipes.pack_terms import PackTerms
    from rewas_engine.training.config import read_settings
    from rewas_engine.training.datasets import read_dataset
    from rewas_engine.training.progress import TrainingStopped

    data, layout, table, start_from, (name, licence, permits) = words
    terms = PackTerms(name, licence, permits)
    source = read_pack(find_pack(start_from))
    settings = read_settings(settings, config) if config is not None else settings
    with cancel_on_ctrl_c() as cancel:
        training: PartTraining = kind(
            settings,
            output,
            read_dataset(data, layout.value, table),
            source,
            terms,
            fine_tune=fine_tune,
            report=training_lines(),
            cancel=cancel,
        )
        speaks = training.processes.is_first
        if speaks:
            print_continued_pack(source.info)
            clips = training.dataset.clips
            held_out = sum(clip.is_held_out for clip in clips)
            note(f"{len(clips) - held_out} clips to train on, {held_out} held out, on {training.device}.")
        try:
            training.write_features()
            if speaks:  # told before the steps: what is left out may be all that there is to judge by
                print_excluded(training.left_out(), output / EXCLUDED_FILE)
            training.run()
        except TrainingStopped as stopped:
            if speaks:
                note(str(stopped))
            raise typer.Exit(INTERRUPTED) from stopped
    if speaks:
        _, figures = max(training.validation().items())
        shown = ", ".join(f"{figure} {value:.3f}" for figure, value in figures.items())
        lines = [f"On clips that no step has seen: {shown}.", f"The pack is in {training.pack_folder}."]
        report = {"folder": str(output), "pack": str(training.pack_folder), "figures": figures}
        Printer(as_json).result(report, lines)
