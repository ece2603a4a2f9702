"""`rewas texture`: which bands of a clip's sound stand out over time, and what is changed on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.shared_options import (
    ClipArgument,
    DurationOption,
    JsonOption,
    PackOption,
    ServerOption,
    StartOption,
    TextureEditOption,
)
from rewas_cli.console import Printer, cancel_on_ctrl_c, progress_bar, protect_stdout

if TYPE_CHECKING:
    from collections.abc import Mapping


def texture(
    clip: ClipArgument,
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="audio: measure the clip's own sound; a sound file; flat, tilt:NATS; or a texture file (.csv).",
        ),
    ] = "audio",
    edits: TextureEditOption = None,
    start: StartOption = None,
    duration: DurationOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Write the texture as .csv.")
    ] = None,
    pack: PackOption = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", dir_okay=False, help="Draw the bands into this PNG file.")
    ] = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell the spectral texture of a clip over time: how far four bands stand above the energy, in nats."""
    from rewas_cli.commands.energy_options import ChosenClip, EnergyResolver, check_curve_file
    from rewas_cli.commands.texture_options import TextureOptions, TextureResolver
    from rewas_cli.reports import clip_report
    from rewas_cli.runner import find_media_file, open_runner
    from rewas_engine import write_texture
    from rewas_server.work.translation import clip_message

    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        choice = TextureOptions.parsed(origin, edits)
        assert choice is not None
        media = find_media_file(clip)
        read = (media, *choice.read)
        if plot is not None:
            from rewas_cli.plots.curves import check_plotting

            check_plotting(plot, read=read)
        if output is not None:
            check_curve_file(output, "texture", read)
        chosen = ChosenClip(media, start, duration)
        with open_runner(server) as runner, progress_bar(media.name) as on_progress:
            taken = TextureResolver(EnergyResolver(runner, chosen, pack, on_progress, cancel)).taken(choice)
        report = {"clip": clip_report(clip_message(chosen.sounding), media), **taken.report}
        lines = _lines(report)
        if output is not None:
            lines.append(f"texture: {write_texture(taken.texture, output.absolute())}")
        if plot is not None:
            from rewas_cli.plots.curves import plot_texture

            plot_texture(report, plot)
            lines.append(f"plot: {plot}")
    Printer(as_json).result(report, lines)


def _lines(report: Mapping[str, Any]) -> list[str]:
    clip, rows = report["clip"], report["values"]
    origin = "given by you" if report["source"] == "user" else "from the sound"
    lines = [
        f"{clip['name']}, {clip['start_s']:g} s to {clip['start_s'] + clip['duration_s']:g} s: "
        f"{len(rows)} moments at {report['rate_hz']:g} per second {origin}"
    ]
    if report["edits"]:
        lines.append(f"edited: {', '.join(report['edits'])}")
    for name, band in zip((*report["bands"], "tilt"), (*zip(*rows, strict=True), report["tilt"]), strict=True):
        lines.append(f"  {name}: {sum(band) / len(band):+.2f} nats on average, {min(band):+.2f} to {max(band):+.2f}")
    return lines
