"""`rewas energy`: the energy curve of a clip, from its picture or from its own sound."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewas_server.commands.options import (
    ClipArgument,
    DurationOption,
    JsonOption,
    PackOption,
    PlotOption,
    ServerOption,
    StartOption,
    otio_clip,
)
from rewas_server.console import Printer, interruptible, progress_bar, standard_output_kept_clean

if TYPE_CHECKING:
    from collections.abc import Mapping


class Origin(StrEnum):
    """Where an energy curve is taken from."""

    VIDEO = "video"
    AUDIO = "audio"


class Reference(StrEnum):
    """What an energy curve can be held against."""

    AUDIO = "audio"


def energy(
    clip: ClipArgument,
    origin: Annotated[
        Origin, typer.Option("--from", help="Estimate it from the picture, or measure it on the clip's own sound.")
    ] = Origin.VIDEO,
    against: Annotated[
        Reference | None, typer.Option("--against", help="Compare with the energy of the clip's own sound.")
    ] = None,
    start: StartOption = None,
    duration: DurationOption = None,
    pack: PackOption = None,
    plot: PlotOption = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell the energy of a clip over time, in nats of log-mel magnitude."""
    from rewas_api.v1 import rewas_pb2
    from rewas_server.reports import energy_report
    from rewas_server.running import existing_media, runner_for, uploaded_media

    with standard_output_kept_clean(), interruptible() as cancel:
        if plot is not None:
            from rewas_server.plots import check_plotting

            check_plotting(plot)
        media = existing_media(clip)
        clip_json = otio_clip(media, start, duration).to_json_string()
        with runner_for(server) as runner, progress_bar(media.name) as on_progress:
            uploaded = uploaded_media(runner, media, cancel)

            def measured(source: int) -> dict[str, Any]:
                work = rewas_pb2.EnergyWork(
                    clip_otio_json=clip_json,
                    source=source,  # type: ignore[arg-type]
                    uploaded_media=uploaded,
                    pack=pack,
                )
                outcome = runner.run(work, media.parent, on_progress, cancel)
                assert isinstance(outcome.result, rewas_pb2.EnergyResult)
                return energy_report(outcome.result, media)

            from_audio = rewas_pb2.ENERGY_SOURCE_AUDIO
            report = measured(from_audio if origin is Origin.AUDIO else rewas_pb2.ENERGY_SOURCE_PICTURE)
            if against is not None:
                report |= _compared(report, measured(from_audio))
        if plot is not None:
            from rewas_server.plots import plot_energy

            plot_energy(report, plot)
    Printer(as_json).result(report, _lines(report))


def _compared(report: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, Any]:
    """Correlation and mean absolute error of two curves, on the grid of the first."""
    import numpy as np

    from rewas_engine import EnergyCurve
    from rewas_engine.energy import energy_agreement

    measured = np.asarray(report["values"], np.float32)
    heard = EnergyCurve(np.asarray(reference["values"], np.float32), reference["rate_hz"])
    mae_nats, correlation = energy_agreement(heard.at(report["rate_hz"], measured.size), measured)
    return {
        "against": {key: reference[key] for key in ("rate_hz", "values", "source")},
        "correlation": correlation,
        "mae": mae_nats,
    }


def _lines(report: Mapping[str, Any]) -> list[str]:
    values, clip = report["values"], report["clip"]
    lines = [
        f"{clip['name']}, {clip['start_s']:g} s to {clip['start_s'] + clip['duration_s']:g} s: "
        f"{len(values)} values at {report['rate_hz']:g} per second from the {report['source']}, "
        f"{min(values):.2f} to {max(values):.2f} nats"
    ]
    if "mae" in report:
        correlation = report["correlation"]
        shown = "none, a curve is constant" if correlation is None else f"{correlation:.2f}"
        lines.append(f"against its own sound: correlation {shown}, {report['mae']:.2f} nats off on average")
    return lines
