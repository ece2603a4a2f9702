"""`rewas texture`: which frequency bands of a clip's sound stand out over time, and their edits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.shared_options import (
    ENERGY_PANEL,
    OUTPUT_PANEL,
    AudioTrackOption,
    ClipArgument,
    DeviceOption,
    DurationOption,
    JsonOption,
    PackOption,
    ServerOption,
    SpeedOption,
    StartOption,
    TextureEditOption,
    build_execution,
)
from rewas_cli.console import Printer, cancel_on_ctrl_c, progress_bar, protect_stdout

if TYPE_CHECKING:
    from collections.abc import Mapping


EXAMPLES = """\
rewas texture shot.mp4 --plot texture.png
rewas texture shot.mp4 --from tilt:-2 --edit "brighter 1.5" --output texture.csv
"""


def texture(
    clip: ClipArgument,
    start: StartOption = None,
    duration: DurationOption = None,
    speed: SpeedOption = None,
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="audio: measure the clip's own sound; a sound file; flat; tilt:NATS; or a texture file (.csv).",
            rich_help_panel=ENERGY_PANEL,
        ),
    ] = "audio",
    audio_track: AudioTrackOption = None,
    edits: TextureEditOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            dir_okay=False,
            help="Write the texture to this CSV file.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            dir_okay=False,
            help="Draw the bands to this PNG file.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    as_json: JsonOption = False,
    pack: PackOption = None,
    device: DeviceOption = "auto",
    server: ServerOption = None,
) -> None:
    """Show a clip's spectral texture: how far four frequency bands lie above the energy over time, in nats."""
    from rewas_cli.commands.energy_options import ClipRange, EnergyResolver, check_audio_track, check_curve_file
    from rewas_cli.commands.texture_options import TextureOptions, TextureResolver
    from rewas_cli.reports import clip_report, note_reports
    from rewas_cli.runner import find_media_file, open_runner
    from rewas_engine import write_texture
    from rewas_server.work.translation import clip_message

    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        build_execution(None, False, False, server, device)
        choice = TextureOptions.from_options(origin, edits)
        assert choice is not None
        check_audio_track(audio_track, [choice.origin], "Use --from audio")
        media = find_media_file(clip)
        read = (media, *choice.input_files)
        if plot is not None:
            from rewas_cli.plots.curves import check_plotting

            check_plotting(plot, read=read)
        if output is not None:
            check_curve_file(output, "texture", read)
        chosen = ClipRange(media, start, duration, speed)
        with open_runner(server, device=device) as runner, progress_bar(media.name) as on_progress:
            resolver = EnergyResolver(runner, chosen, pack, on_progress, cancel, audio_track=audio_track)
            resolved = TextureResolver(resolver).resolve(choice)
        report = {
            "clip": clip_report(clip_message(chosen.sound_probe), media),
            **resolved.report,
            "notes": note_reports(resolver.notes),
        }
        lines = _report_lines(report)
        if output is not None:
            lines.append(f"texture: {write_texture(resolved.texture, output.absolute())}")
        if plot is not None:
            from rewas_cli.plots.curves import plot_texture

            plot_texture(report, plot)
            lines.append(f"plot: {plot}")
    Printer(as_json).result(report, lines)


def _report_lines(report: Mapping[str, Any]) -> list[str]:
    from rewas_cli.reports import note_lines

    clip, rows = report["clip"], report["values"]
    origin = "given by you" if report["source"] == "user" else "from the sound"
    lines = [
        f"{clip['name']}, {clip['start_s']:g} s to {clip['start_s'] + clip['duration_s']:g} s: "
        f"{len(rows)} values at {report['rate_hz']:g} per second {origin}"
    ]
    lines += note_lines(report)
    if report["edits"]:
        lines.append(f"edited: {', '.join(report['edits'])}")
    for name, band in zip((*report["bands"], "tilt"), (*zip(*rows, strict=True), report["tilt"]), strict=True):
        lines.append(f"  {name}: {sum(band) / len(band):+.2f} nats on average, {min(band):+.2f} to {max(band):+.2f}")
    return lines
