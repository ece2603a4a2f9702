"""`rewas train pack`: a pack of one's own, from one's own recordings."""

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

from rewas_cli.commands.shared_options import JsonOption, TrainingConfigOption, TrainingStageOption
from rewas_cli.commands.training_console import print_start_pack, training_lines
from rewas_cli.console import INTERRUPTED, Printer, cancel_on_ctrl_c, note

if TYPE_CHECKING:
    from rewas_engine.recipes.own_pack import RecordingsTraining
    from rewas_engine.training.config import StarterConfig
    from rewas_engine.training.manifests import LeftOut
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


def pack(
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the pack is called.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", file_okay=False, help="Clips, checkpoints, pack go here.")
    ],
    licence: Annotated[str, typer.Option("--licence", metavar="TEXT", help="The pack's licence, as CC-BY-4.0.")],
    permits: Annotated[
        str, typer.Option("--permits", metavar="TEXT", help="What may be done with pack and sounds, in a sentence.")
    ],
    sounds: Annotated[
        Path | None, typer.Option("--sounds", metavar="DIR", help="Sounds, in this folder and those below it.")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option("--videos", metavar="DIR", help="Videos with sound, to be seen and heard.")
    ] = None,
    captions: Annotated[
        Path | None, typer.Option("--captions", metavar="FILE", dir_okay=False, help="A table: .csv, .tsv or .jsonl.")
    ] = None,
    file_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The table's column of files, where it is not recognised.")
    ] = None,
    caption_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The table's column of captions, where it is not recognised.")
    ] = None,
    caption_from: Annotated[
        CaptionSourceOption,
        typer.Option(help="Without a table: a .txt beside each file, its folder's name, its own name, or whichever."),
    ] = CaptionSourceOption.AUTO,
    start_from: Annotated[
        str | None,
        typer.Option("--start-from", metavar="PACK", help="Continue this pack, by name or folder; else from nothing."),
    ] = None,
    hop: Annotated[float, typer.Option(metavar="SECONDS", help="From the start of a clip to the next one's.")] = 2.56,
    most_clips: Annotated[int, typer.Option(metavar="N", help="Clips of one recording at most.")] = 40,
    config: TrainingConfigOption = None,
    stage: TrainingStageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a pack on your own recordings: sounds, or videos with sound, and words for each.

    They are cut into clips once; files that cannot be used are named and left out. A run that was stopped or killed
    goes on where it left off when the same command is given again.
    """
    from rewas_engine.recipes.own_pack import RecordingsTraining
    from rewas_engine.recipes.pack_terms import PackTerms
    from rewas_engine.training.cutting import ClipFormat
    from rewas_engine.training.progress import PartCounter, TrainingStopped
    from rewas_engine.training.recording_catalog import CaptionSource, list_recordings
    from rewas_engine.training.recordings import Recordings
    from rewas_engine.training.stage_order import STAGES

    terms = PackTerms(name, licence, permits)
    settings = _settings(config, start_from)
    print_start_pack(settings.start_from)
    source = CaptionSource(captions, file_column, caption_column, caption_from.value)
    clips = ClipFormat(hop_s=_seconds(hop), most_clips=most_clips)
    recordings = Recordings(output / "recordings", list_recordings(sounds, videos, source), clips)
    report = training_lines()
    with cancel_on_ctrl_c() as cancel:
        training = RecordingsTraining(settings, output, recordings, terms, report=report, cancel=cancel)
        try:
            if set(stage or STAGES) <= training.stages.keys():
                recordings.write(os.cpu_count() or 1, partial(PartCounter(report).report, "recordings"), cancel)
                _tell(recordings, output)
            training.run(stage or STAGES)
        except TrainingStopped as stopped:
            note(str(stopped))
            raise typer.Exit(INTERRUPTED) from stopped
    _print_result(training, recordings, as_json)


def _seconds(value: float) -> Fraction:
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no time in seconds.", param_hint="--hop")
    return Fraction(str(value))


def _settings(config: Path | None, start_from: str | None) -> StarterConfig:
    """Settings over the defaults of a training from nothing, or of one that continues a pack."""
    from rewas_engine.training.config import StarterConfig
    from rewas_engine.training.continuation import ContinuedConfig

    settings = StarterConfig.read(config) if config is not None else StarterConfig()
    if not (start_from or settings.start_from):
        return settings
    settings = ContinuedConfig.read(config) if config is not None else ContinuedConfig()
    return replace(settings, start_from=start_from) if start_from else settings


def _tell(recordings: Recordings, output: Path) -> None:
    """What there is to learn from, so that wrong captions are seen before an hour of training."""
    facts = recordings.facts()
    note(
        f"{facts['recordings']} recordings, {facts['videos']} of them videos, {facts['held_out_recordings']} held out; "
        f"{facts['training_clips']} clips to train on."
    )
    counted = Counter(recordings.captions()).most_common()
    told = ", ".join(f"{caption} ({count})" for caption, count in counted[:_MAX_LISTED_CAPTIONS])
    note(f"{len(counted)} captions, with their clips: {told}{' …' if len(counted) > _MAX_LISTED_CAPTIONS else ''}")
    print_excluded(recordings.left_out(), output / EXCLUDED_FILE)


def print_excluded(left_out: Sequence[LeftOut], path: Path) -> None:
    """Name what is not trained on: all of it in a file, the first on the terminal."""
    from rewas_engine.runtime.atomic_files import write_text_atomic

    write_text_atomic(path, "".join(f"{each}\n" for each in left_out))
    for each in left_out[:_MAX_LISTED_PROBLEMS]:
        note(f"left out: {each}")
    if len(left_out) > _MAX_LISTED_PROBLEMS:
        note(f"and {len(left_out) - _MAX_LISTED_PROBLEMS} more were left out, see {path}")


def _print_result(training: RecordingsTraining, recordings: Recordings, as_json: bool) -> None:
    finished = training.pack_folder if training.pack_folder.is_dir() else None
    report = {
        "folder": str(training.folder),
        "pack": str(finished) if finished else None,
        "data": recordings.facts(),
        "left_out": [{"what": each.what, "why": each.why} for each in recordings.left_out()],
    }
    where = f"The pack is in {finished}." if finished else "The stages are done; the pack is not yet written."
    Printer(as_json).result(report, [where])
