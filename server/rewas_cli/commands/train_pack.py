"""`rewas train pack`: a pack from your own recordings."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewas_cli.commands.completion import complete_pack
from rewas_cli.commands.shared_options import (
    DATA_PANEL,
    OUTPUT_PANEL,
    TRAINING_PANEL,
    JsonOption,
    TrainingConfigOption,
    TrainingDeviceOption,
    TrainingStageOption,
)
from rewas_cli.commands.training_console import print_start_pack, progress_printer
from rewas_cli.console import INTERRUPTED, Printer, cancel_on_ctrl_c, note

if TYPE_CHECKING:
    from rewas_engine.recipes.own_pack import RecordingsTraining
    from rewas_engine.recordings.captions import LeftOut
    from rewas_engine.training.config import StarterConfig
    from rewas_engine.training.recordings import Recordings

_MAX_LISTED_PROBLEMS = 10
_MAX_LISTED_CAPTIONS = 8
EXCLUDED_FILE = "left-out.txt"


class CaptionSourceOption(StrEnum):
    """Where captions come from without a table."""

    AUTO = "auto"
    TEXT = "text"
    FOLDER = "folder"
    NAME = "name"


EXAMPLES = """\
rewas train pack --name shop --output runs/shop --sounds recordings/ --licence CC0-1.0 --permits "Any use."
rewas train pack --name film --output runs/film --videos clips/ --licence CC0-1.0 --permits "Any use."
rewas train pack --name more --output runs/more --sounds more/ --start-from shop --licence CC0-1.0 --permits "Any use."
"""


def pack(
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="The name of the pack.", rich_help_panel=OUTPUT_PANEL)
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            file_okay=False,
            help="The folder for clips, checkpoints and pack.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ],
    licence: Annotated[
        str,
        typer.Option(
            "--licence",
            metavar="TEXT",
            help="The licence of the pack, such as CC-BY-4.0.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ],
    permits: Annotated[
        str,
        typer.Option(
            "--permits",
            metavar="TEXT",
            help="What the licence permits for the pack and its sounds, in one sentence.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ],
    sounds: Annotated[
        Path | None,
        typer.Option(
            "--sounds",
            metavar="DIR",
            help="A folder of sounds; subfolders are included.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(
            "--videos",
            metavar="DIR",
            help="A folder of videos with sound; subfolders are included.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(
            "--captions",
            metavar="FILE",
            dir_okay=False,
            help="A table of captions: .csv, .tsv or .jsonl.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    file_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column with the file names, if it is not recognised.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    caption_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The column with the captions, if it is not recognised.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    caption_from: Annotated[
        CaptionSourceOption,
        typer.Option(
            metavar="auto|text|folder|name",
            help="Without a table: captions from a .txt file next to each recording (text), its folder's name "
            "(folder), its own name (name), or whichever exists (auto).",
            rich_help_panel=DATA_PANEL,
        ),
    ] = CaptionSourceOption.AUTO,
    hop: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Distance from the start of one clip to the next.",
            rich_help_panel=DATA_PANEL,
        ),
    ] = 2.56,
    max_clips: Annotated[
        int, typer.Option(metavar="N", help="Maximum number of clips from one recording.", rich_help_panel=DATA_PANEL)
    ] = 40,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--start-from",
            metavar="PACK",
            help="Continue training this pack, by name or folder; from scratch by default.",
            autocompletion=complete_pack,
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    config: TrainingConfigOption = None,
    stage: TrainingStageOption = None,
    device: TrainingDeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a pack on your own recordings: sounds or videos with sound, each with a caption.

    The recordings are cut into clips once; files that cannot be used are listed and left out. Run the same command
    again to continue a run that was stopped.
    """
    from rewas_engine.recipes.own_pack import RecordingsTraining
    from rewas_engine.recipes.pack_terms import PackTerms
    from rewas_engine.training.cutting import ClipFormat
    from rewas_engine.training.progress import PartCounter, TrainingStopped
    from rewas_engine.training.recording_catalog import CaptionSource, list_recordings
    from rewas_engine.training.recordings import Recordings
    from rewas_engine.training.stage_order import STAGES

    terms = PackTerms(name, licence, permits)
    settings = _settings(config, start_from, device)
    print_start_pack(settings.start_from)
    source = CaptionSource(captions, file_column, caption_column, caption_from.value)
    clips = ClipFormat(hop_s=_seconds(hop), most_clips=max_clips)
    recordings = Recordings(output / "recordings", list_recordings(sounds, videos, source), clips)
    report = progress_printer()
    with cancel_on_ctrl_c() as cancel:
        training = RecordingsTraining(settings, output, recordings, terms, report=report, cancel=cancel)
        try:
            if set(stage or STAGES) <= training.stages.keys():
                recordings.write(os.cpu_count() or 1, partial(PartCounter(report).report, "recordings"), cancel)
                _print_recordings(recordings, output)
            training.run(stage or STAGES)
        except TrainingStopped as stopped:
            note(str(stopped))
            raise typer.Exit(INTERRUPTED) from stopped
    _print_result(training, recordings, as_json)


def _seconds(value: float) -> Fraction:
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a time in seconds.", param_hint="--hop")
    return Fraction(str(value))


def _settings(config: Path | None, start_from: str | None, device: str | None) -> StarterConfig:
    """Read the settings: over the defaults of a training from scratch, or of one that continues a pack."""
    from rewas_engine.training.config import StarterConfig
    from rewas_engine.training.continuation import ContinuedConfig

    settings = StarterConfig.read(config) if config is not None else StarterConfig()
    if start_from or settings.start_from:
        settings = ContinuedConfig.read(config) if config is not None else ContinuedConfig()
    settings = replace(settings, start_from=start_from) if start_from else settings
    return replace(settings, device=device) if device else settings


def _print_recordings(recordings: Recordings, output: Path) -> None:
    """Print the training data, so that wrong captions are noticed before an hour of training."""
    facts = recordings.facts()
    note(
        f"{facts['recordings']} recordings, {facts['videos']} of them videos, {facts['held_out_recordings']} held out; "
        f"{facts['training_clips']} clips to train on."
    )
    counted = Counter(recordings.captions()).most_common()
    listed = ", ".join(f"{caption} ({count})" for caption, count in counted[:_MAX_LISTED_CAPTIONS])
    note(f"{len(counted)} captions, with their clips: {listed}{' …' if len(counted) > _MAX_LISTED_CAPTIONS else ''}")
    print_excluded(recordings.left_out(), output / EXCLUDED_FILE)


def print_excluded(left_out: Sequence[LeftOut], path: Path) -> None:
    """List the excluded files: all of them in a file, the first few on the terminal."""
    from rewas_engine.runtime.atomic_files import write_text_atomic

    write_text_atomic(path, "".join(f"{each}\n" for each in left_out))
    for each in left_out[:_MAX_LISTED_PROBLEMS]:
        note(f"left out: {each}")
    if len(left_out) > _MAX_LISTED_PROBLEMS:
        note(f"and {len(left_out) - _MAX_LISTED_PROBLEMS} more were left out; see {path}")


def _print_result(training: RecordingsTraining, recordings: Recordings, as_json: bool) -> None:
    finished = training.pack_folder if training.pack_folder.is_dir() else None
    report = {
        "folder": str(training.folder),
        "pack": str(finished) if finished else None,
        "data": recordings.facts(),
        "left_out": [{"what": each.what, "why": each.why} for each in recordings.left_out()],
    }
    where = f"The pack is in {finished}." if finished else "The stages are complete; the pack is not written yet."
    Printer(as_json).result(report, [where])
