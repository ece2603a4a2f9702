"""`rewas energy`: a clip's energy curve, its edits and its events."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_cli.commands.completion import complete_from
from rewas_cli.commands.shared_options import (
    ENERGY_PANEL,
    OUTPUT_PANEL,
    AudioTrackOption,
    ClipArgument,
    DeviceOption,
    DurationOption,
    EditOption,
    JsonOption,
    PackOption,
    PlotOption,
    ServerOption,
    SpeedOption,
    StartOption,
    build_execution,
)
from rewas_cli.console import Printer, cancel_on_ctrl_c, progress_bar, protect_stdout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rewas_api.v1 import rewas_pb2


class Reference(StrEnum):
    """What an energy curve can be compared with."""

    AUDIO = "audio"


EXAMPLES = """\
rewas energy shot.mp4 --events --plot energy.png
rewas energy shot.mp4 --prompt "a hammer knocking on wood" --events
rewas energy shot.mp4 --from audio --output energy.csv
rewas energy shot.mp4 --compare audio --json
rewas energy shot.mp4 --from hands.wav --edit "fade in 0.5" --edit "mute event 3"
"""


def energy(
    clip: ClipArgument,
    start: StartOption = None,
    duration: DurationOption = None,
    speed: SpeedOption = None,
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="video: estimate it from the video; audio: measure the clip's own sound; flat or flat:NATS; "
            "a curve file (.csv); or a sound file to imitate.",
            rich_help_panel=ENERGY_PANEL,
        ),
    ] = "video",
    audio_track: AudioTrackOption = None,
    edits: EditOption = None,
    events: Annotated[
        bool, typer.Option("--events", help="List the events of the edited curve.", rich_help_panel=ENERGY_PANEL)
    ] = False,
    cuts: Annotated[
        bool, typer.Option("--find-cuts", help="List the cuts in the video.", rich_help_panel=ENERGY_PANEL)
    ] = False,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            "-p",
            metavar="TEXT",
            help="Estimate the energy for this prompt, at its typical level, as rewas generate does.",
            rich_help_panel=ENERGY_PANEL,
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            "--level",
            metavar="standard|raw",
            help="The level of the energy, with --prompt. standard: the typical level of the prompt. raw: the estimate "
            "as it is. standard by default.",
            autocompletion=complete_from("standard", "raw"),
            rich_help_panel=ENERGY_PANEL,
        ),
    ] = None,
    reference: Annotated[
        Reference | None,
        typer.Option(
            "--compare",
            metavar="audio",
            help="Compare the curve with the energy of the clip's own sound.",
            rich_help_panel=ENERGY_PANEL,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            dir_okay=False,
            help="Write the curve to this CSV file.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    plot: PlotOption = None,
    as_json: JsonOption = False,
    pack: PackOption = None,
    device: DeviceOption = "auto",
    server: ServerOption = None,
) -> None:
    """Show a clip's energy curve: loudness over time, in nats of log-mel magnitude."""
    from rewas_cli.commands.energy_options import (
        ClipRange,
        EnergyOptions,
        EnergyResolver,
        Origin,
        check_audio_track,
        check_curve_file,
        event_report,
    )
    from rewas_cli.runner import find_media_file, open_runner
    from rewas_engine import write_curve
    from rewas_server.work.translation import curve_from_message

    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        build_execution(None, False, False, server, device)
        choice = EnergyOptions.from_options(origin, edits)
        measured_origins = (choice.origin, *(() if reference is None else (Origin.AUDIO,)))
        check_audio_track(audio_track, measured_origins, "Use --from audio or --compare audio")
        _check_level(level, prompt, is_from_video=choice.origin is Origin.VIDEO)
        media = find_media_file(clip)
        read = (media, *choice.input_files)
        if plot is not None:
            from rewas_cli.plots.curves import check_plotting

            check_plotting(plot, read=read)
        if output is not None:
            check_curve_file(output, "curve", read)
        with open_runner(server, device=device) as runner, progress_bar(media.name) as on_progress:
            chosen = ClipRange(media, start, duration, speed)
            resolver = EnergyResolver(runner, chosen, pack, on_progress, cancel, cuts, audio_track)
            result, report = resolver.resolve(choice, prompt, level)
            if events:
                report["events"] = [event_report(event) for event in result.events]
            if reference is not None:
                _, measured = replace(resolver, find_cuts=False).resolve(EnergyOptions(Origin.AUDIO))
                report |= _compare_curves(report, measured) | {"notes": measured["notes"]}
        report |= {"prompt": None, "level": None}
        if prompt is not None and choice.origin is Origin.VIDEO:
            report |= {"prompt": prompt, "level": level or "standard"}
            report["notes"] += _words_notes(result.pack, report["level"])
        lines = _report_lines(report)
        if output is not None:
            lines.append(f"curve: {write_curve(curve_from_message(result.energy), output.absolute())}")
        if plot is not None:
            from rewas_cli.plots.curves import plot_energy

            plot_energy(report, plot)
    Printer(as_json).result(report, lines)


def _check_level(level: str | None, prompt: str | None, *, is_from_video: bool) -> None:
    from rewas_api.clip_settings import LEVELS
    from rewas_engine import SettingsError

    if level is not None and level not in LEVELS:
        raise SettingsError(f"There is no level “{level[:60]}”.", f"Use {' or '.join(LEVELS)}.")
    if level is not None and prompt is None:
        raise SettingsError("--level has no effect without --prompt.", "Add --prompt, or omit --level.")
    if level is not None and not is_from_video:
        raise SettingsError(
            "--level has no effect: the energy is not estimated from the video.", "Use --from video, or omit --level."
        )


def _words_notes(pack: rewas_pb2.Pack, level: str) -> list[dict[str, Any]]:
    """Return a note if the pack does not read the words of a prompt."""
    from rewas_cli.reports import note_reports
    from rewas_engine.requests.notes import words_not_read_note
    from rewas_server.work.translation import note_message

    if pack.reads_words:
        return []
    return note_reports([note_message(words_not_read_note(pack.name, is_level_used=level == "standard"))])


def _compare_curves(report: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, Any]:
    """Return correlation and mean absolute error of two curves, on the grid of the first."""
    import numpy as np

    from rewas_engine import EnergyCurve
    from rewas_engine.curves.energy import energy_agreement

    measured = np.asarray(report["values"], np.float32)
    curve = EnergyCurve(np.asarray(reference["values"], np.float32), reference["rate_hz"])
    mae_nats, correlation = energy_agreement(curve.resample(report["rate_hz"], measured.size), measured)
    return {
        "against": {key: reference[key] for key in ("rate_hz", "values", "source")},
        "correlation": correlation,
        "mae": mae_nats,
    }


def _report_lines(report: Mapping[str, Any]) -> list[str]:
    from rewas_cli.reports import note_lines, shown_range

    values, clip = report["values"], report["clip"]
    lines = [
        f"{clip['name']}, {shown_range(clip)}: "
        f"{len(values)} values at {report['rate_hz']:g} per second {_origin_label(report)}, "
        f"{min(values):.2f} to {max(values):.2f} nats"
    ]
    lines += note_lines(report)
    if report["edits"]:
        lines.append(f"edited: {', '.join(report['edits'])}")
    if "events" in report:
        lines += _event_lines(report["events"])
    if "cuts_s" in report:
        lines.append(_cut_line(report["cuts_s"]))
    if "mae" in report:
        correlation = report["correlation"]
        shown = "none, a curve is constant" if correlation is None else f"{correlation:.2f}"
        lines.append(f"compared with its own sound: correlation {shown}, {report['mae']:.2f} nats off on average")
    return lines


def _origin_label(report: Mapping[str, Any]) -> str:
    if report["source"] == "user":
        return "given by you"
    words = "" if report["prompt"] is None else f" for “{report['prompt']}”"
    return f"from the {report['source']}{words}"


def _cut_line(cuts_s: list[float]) -> str:
    if not cuts_s:
        return "no cuts: one shot from end to end"
    return f"cuts at {', '.join(f'{cut_s:.2f} s' for cut_s in cuts_s)}"


def _event_lines(events: list[Mapping[str, Any]]) -> list[str]:
    if not events:
        return ["no events"]
    return [
        f"  event {event['number']}: at {event['time_s']:.2f} s for {event['length_s']:.2f} s, "
        f"peak {event['peak']:.1f} nats, {event['strength']:.1f} nats above the level around it"
        for event in events
    ]
