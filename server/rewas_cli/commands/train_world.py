"""`rewas train world`: clips of the synthetic world, drawn or rendered."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewas_cli.commands.shared_options import OUTPUT_PANEL, JsonOption
from rewas_cli.console import Printer, cancel_on_ctrl_c, note

if TYPE_CHECKING:
    from rewas_engine.training.clip_series import ClipSeries
    from rewas_engine.training.stage_renderer import RendererCommand

_REPORT_INTERVAL_S = 5.0
_MIN_FRAME_RATE, _MAX_FRAME_RATE = 1, 120


_CLIPS_PANEL = "Clips"
_RENDERED_PANEL = "Rendered clips"
EXAMPLES = """\
rewas train world --clips 20 --output world/ --fps 24000/1001
rewas train world --clips 200 --output rendered/ --rendered --blender /opt/blender/blender"""


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
        str | None,
        typer.Option(
            "--fps",
            metavar="RATE",
            help="Frames per second, such as 25 or 24000/1001; by default 25, or varied in rendered clips.",
            rich_help_panel=_CLIPS_PANEL,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="WxH",
            help="Frame size in pixels; by default 256x144, or varied in rendered clips.",
            rich_help_panel=_CLIPS_PANEL,
        ),
    ] = None,
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
    rendered: Annotated[
        bool,
        typer.Option(
            "--rendered", help="Render rooms, people and things with Blender.", rich_help_panel=_RENDERED_PANEL
        ),
    ] = False,
    blender: Annotated[
        Path | None,
        typer.Option(
            "--blender",
            metavar="PROGRAM",
            help="Blender 4.2 or later, or a Python interpreter with the module bpy; by default the installed Blender.",
            rich_help_panel=_RENDERED_PANEL,
        ),
    ] = None,
    frame_cache: Annotated[
        Path | None,
        typer.Option(
            "--frame-cache",
            metavar="DIR",
            file_okay=False,
            help="Keep the rendered frames in this folder, so that a scene is never rendered twice.",
            rich_help_panel=_RENDERED_PANEL,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write clips of the synthetic world: video with sound, the sound and its stems as WAV, and a description as JSON.

    The same seeds give the same clips. Run the same command again to continue a run that was stopped.
    """
    frame_rate, frame_size = (fps and _rate(fps)) or None, (size and _size(size)) or None
    if not rendered and (blender is not None or frame_cache is not None):
        option = "--blender" if blender is not None else "--frame-cache"
        raise typer.BadParameter("Only rendered clips need it; add --rendered.", param_hint=option)
    with contextlib.ExitStack() as stack:
        target: ClipSeries
        if rendered:
            from rewas_engine.training.rendered_export import RenderedClips

            renderer = stack.enter_context(_renderer(blender, frame_cache))
            target = RenderedClips(output, first_seed, frame_rate, frame_size, renderer)
        else:
            from rewas_engine.training.world_export import ClipFolder

            target = ClipFolder(output, first_seed, frame_rate or Fraction(25), *(frame_size or (256, 144)))
        cancel = stack.enter_context(cancel_on_ctrl_c())
        written = target.write(clips, workers or os.cpu_count() or 1, _progress_printer(), cancel)
    report = {"folder": str(output), "clips": clips, "made": written, "first_seed": first_seed}
    Printer(as_json).result(report, [f"{clips} clips are in {output}, {written} of them new."])


@contextlib.contextmanager
def _renderer(blender: Path | None, frame_cache: Path | None) -> Iterator[RendererCommand]:
    """The command that starts Blender as a renderer, with an empty profile."""
    from rewas_engine.training.stage_renderer import RendererCommand
    from rewas_server.blender_program import blender_command, blender_environment, find_blender

    program = find_blender(str(blender or ""), "render clips")
    script = _script_of("rewas_stage")
    with tempfile.TemporaryDirectory(prefix="rewas-blender-", ignore_cleanup_errors=True) as folder:
        profile, scratch = Path(folder, "profile"), Path(folder, "frames")
        profile.mkdir()
        scratch.mkdir()
        environment = dict(blender_environment(profile))
        yield RendererCommand(tuple(blender_command(program, script)), environment, frame_cache, scratch)


def _script_of(package: str) -> Path:
    """The script of the renderer. It is found without an import, because it runs in Blender only."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("render_process.py")


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
