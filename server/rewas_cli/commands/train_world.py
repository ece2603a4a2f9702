"""`rewas train world`: clips of the synthetic world, for inspection."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from rewas_cli.commands.shared_options import OUTPUT_PANEL, JsonOption
from rewas_cli.console import Printer, cancel_on_ctrl_c, note

_REPORT_INTERVAL_S = 5.0
_MIN_FRAME_RATE, _MAX_FRAME_RATE = 1, 120


_CLIPS_PANEL = "Clips"
EXAMPLES = "rewas train world --clips 20 --output world/ --fps 24000/1001"


def world(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            file_okay=False,
            help="The folder for the clips.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ],
    clips: Annotated[
        int, typer.Option("--clips", metavar="N", min=1, help="Number of clips.", rich_help_panel=_CLIPS_PANEL)
    ],
    first_seed: Annotated[
        int,
        typer.Option("--first-seed", metavar="N", min=0, help="Seed of the first clip.", rich_help_panel=_CLIPS_PANEL),
    ] = 0,
    fps: Annotated[
        str,
        typer.Option(
            "--fps", metavar="RATE", help="Frames per second, such as 25 or 24000/1001.", rich_help_panel=_CLIPS_PANEL
        ),
    ] = "25",
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Frame size in pixels.", rich_help_panel=_CLIPS_PANEL)
    ] = "256x144",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Number of processes; one per core by default.",
            rich_help_panel=_CLIPS_PANEL,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write clips of the synthetic world: video with sound, the sound and its stems as WAV, and a description as JSON.

    The same seeds give the same clips. Run the same command again to continue a run that was stopped.
    """
    frame_rate, (width, height) = _rate(fps), _size(size)
    from rewas_engine.training.world_export import ClipFolder

    target = ClipFolder(output, first_seed, frame_rate, width, height)
    with cancel_on_ctrl_c() as cancel:
        written = target.write(clips, workers or os.cpu_count() or 1, _progress_printer(), cancel)
    report = {"folder": str(output), "clips": clips, "made": written, "first_seed": first_seed}
    Printer(as_json).result(report, [f"{clips} clips are in {output}, {written} of them new."])


def _rate(text: str) -> Fraction:
    match = re.fullmatch(r"\d{1,6}(\.\d{1,6}|/[1-9]\d{0,5})?", text.strip(), re.ASCII)
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is not a frame rate; write frames per second as 25 or 24000/1001.", param_hint="--fps"
        )
    rate = Fraction(text.strip())
    if not _MIN_FRAME_RATE <= rate <= _MAX_FRAME_RATE:
        raise typer.BadParameter(
            f"{text} frames per second are not possible; give a rate from {_MIN_FRAME_RATE} to {_MAX_FRAME_RATE}.",
            param_hint="--fps",
        )
    return rate


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,4})[xX](\d{1,4})", text.strip(), re.ASCII)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size; write pixels as 256x144.", param_hint="--size")
    return int(match[1]), int(match[2])


def _progress_printer() -> Callable[[int, int], None]:
    """Return a callback that prints the progress every few seconds and at the end."""
    printed_at = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal printed_at
        if time.monotonic() - printed_at >= _REPORT_INTERVAL_S or done == total:
            printed_at = time.monotonic()
            note(f"{done} of {total} clips")

    return report
