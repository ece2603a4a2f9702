"""Plots of energy curves. They need matplotlib, which the extra `plots` installs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine.runtime.atomic_files import write_bytes_atomic
from rewas_server.files.output_paths import check_file_writable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_REQUESTED, _PRODUCED, _WAVEFORM, _INK = "#1f6fb4", "#d95f0e", "#b9c3cc", "#333d47"
_BANDS = ("#7a3b10", "#c9761a", "#4a9bb5", "#1f4fb4")
"""From low to high."""
_ENERGY, _TEXTURE = "energy (nats, log-mel mean)", "band above the energy (nats)"
_MAX_WAVEFORM_POINTS = 4000
_PRIMARY = "primary"


def check_plotting(path: Path, *, read: Sequence[Path] = (), created_folder: Path | None = None) -> None:
    """Check before any work that a plot can be written. read, created_folder: see `check_file_writable`.

    Raises ProblemError (SETTINGS).
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ProblemError(
            "A plot needs matplotlib, which is not installed.",
            'Install it with: pip install "rewas-nle[plots]"',
            ProblemKind.SETTINGS,
        ) from error
    if path.suffix.lower() != ".png":
        raise ProblemError(f"The plot {path} is not a PNG file.", "End its name with .png.", ProblemKind.SETTINGS)
    check_file_writable(path, "plot", read=read, created_folder=created_folder)


def plot_sound(report: Mapping[str, Any], path: Path) -> None:
    """Draw requested and generated energy over the waveform, one row for each take.

    report: from `sound_report`; the stems are read from its paths.
    """
    plot_sounds([report], path)


def plot_sounds(reports: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw several clips' sounds into one plot: a row for each take, layer and texture."""
    rows = [row for report in reports for row in _sound_rows(report)]
    figure, axes = new_figure(len(rows))
    for axis, draw in zip(axes, rows, strict=True):
        draw(axis)
    save_figure(figure, path)


def _sound_rows(report: Mapping[str, Any]) -> Iterator[Callable[[Axes], None]]:
    """Yield functions that draw the rows of one clip."""
    clip = report["clip"]["name"]
    for number, take in enumerate(report["takes"], start=1):
        take_name = f", take {number}" if len(report["takes"]) > 1 else ""
        seed = f" (seed {take['seed']})"
        own = {**take, "energy_requested": report["energy"]["requested"]}
        title = f"{clip}: “{_shorten_prompt(report['prompt'])}”{take_name}{seed}"
        yield partial(_draw_sound, report, own, take["stems"][_PRIMARY], title)
        prompts = {layer["name"]: layer["prompt"] for layer in report["settings"].get("layers", ())}
        for name, layer in take["layers"].items():
            title = f"{clip}: {name}, “{_shorten_prompt(prompts[name])}”{take_name} (seed {layer['seed']})"
            yield partial(_draw_sound, report, layer, take["stems"][name], title)
        if take["texture_produced"] is not None:
            yield partial(_draw_textures, report, take, f"texture{take_name}{seed}")


def _draw_sound(
    report: Mapping[str, Any], sound: Mapping[str, Any], stem: Mapping[str, Any], title: str, axis: Axes
) -> None:
    """Draw requested and generated energy of a take or a layer over its waveform."""
    rate_hz, match = report["energy"]["rate_hz"], sound["energy_correlation"]
    _draw_waveform(axis, stem)
    _draw_curve(axis, sound["energy_requested"], rate_hz, _REQUESTED, "requested energy")
    _draw_curve(axis, sound["energy_produced"], rate_hz, _PRODUCED, "generated energy")
    shown = f"correlation {match:.2f}, " if match is not None else ""
    _label_axis(axis, title, f"{shown}{sound['energy_mae']:.2f} nats off", report["clip"]["duration_s"])


def _draw_textures(report: Mapping[str, Any], take: Mapping[str, Any], title: str, axis: Axes) -> None:
    _draw_bands(axis, report["texture"], "requested", dashed=True)
    _draw_bands(axis, take["texture_produced"], "produced")
    _label_axis(axis, title, f"{take['texture_error']:.2f} nats off", report["clip"]["duration_s"], _TEXTURE)


def plot_energy(report: Mapping[str, Any], path: Path) -> None:
    """Draw an energy curve with its events, the unedited curve, and the curve that it is compared with.

    report: as `rewas energy` prints it.
    """
    figure, (axis,) = new_figure(1)
    own = "given energy" if report["source"] == "user" else f"energy from the {report['source']}"
    if "unedited" in report:
        _draw_curve(axis, report["unedited"], report["rate_hz"], _WAVEFORM, own)
        own = "edited energy"
    _draw_curve(axis, report["values"], report["rate_hz"], _REQUESTED, own)
    for event in report.get("events", ()):
        axis.axvline(event["time_s"], color=_INK, linewidth=0.8, linestyle=":")
        axis.annotate(str(event["number"]), (event["time_s"], event["peak"]), (3, 3), textcoords="offset points")
    for number, cut_s in enumerate(report.get("cuts_s", ())):
        axis.axvline(cut_s, color=_PRODUCED, linewidth=1.2, linestyle="--", label=None if number else "cuts")
    verdict = ""
    if "against" in report:
        other = report["against"]
        _draw_curve(axis, other["values"], other["rate_hz"], _PRODUCED, "energy of the clip's sound")
        match = report["correlation"]
        verdict = (f"correlation {match:.2f}, " if match is not None else "") + f"{report['mae']:.2f} nats off"
    words = "over time" if report["prompt"] is None else f"for “{_shorten_prompt(report['prompt'])}”"
    _label_axis(axis, f"{report['clip']['name']}: energy {words}", verdict, report["clip"]["duration_s"])
    save_figure(figure, path)


def plot_texture(report: Mapping[str, Any], path: Path) -> None:
    """Draw the bands of a texture, and of the unedited texture.

    report: as `rewas texture` prints it.
    """
    figure, (axis,) = new_figure(1)
    own = "given" if report["source"] == "user" else "of the sound"
    if "unedited" in report:
        _draw_bands(axis, {**report, "values": report["unedited"]}, own, dashed=True)
        own = "edited"
    _draw_bands(axis, report, own)
    _label_axis(axis, f"{report['clip']['name']}: texture over time", "", report["clip"]["duration_s"], _TEXTURE)
    save_figure(figure, path)


def new_figure(
    rows: int, columns: int = 1, *, width: float = 11.0, row_height: float = 3.4
) -> tuple[Figure, list[Axes]]:
    """Return a figure with rows × columns axes, row by row. width, row_height: in inches."""
    # The object interface instead of pyplot: it needs no window system and leaves no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, row_height * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def _draw_curve(axis: Axes, values: Sequence[float], rate_hz: float, colour: str, label: str) -> None:
    times_s = (np.arange(len(values)) + 0.5) / rate_hz
    axis.plot(times_s, values, color=colour, linewidth=1.8, label=label, zorder=3)


def _draw_bands(axis: Axes, texture: Mapping[str, Any], label: str, dashed: bool = False) -> None:
    rows = zip(*texture["values"], strict=True)
    for name, values, colour in zip(texture["bands"], rows, _BANDS, strict=True):
        times_s = (np.arange(len(values)) + 0.5) / texture["rate_hz"]
        style = {"linestyle": "--", "linewidth": 1.3} if dashed else {"linewidth": 1.8}
        axis.plot(times_s, values, color=colour, label=f"{name.replace('_', '-')}, {label}", **style)


def _draw_waveform(axis: Axes, stem: Mapping[str, Any]) -> None:
    """Draw a stem behind the curves as the envelope of its peaks, on a second axis."""
    samples, rate_hz = soundfile.read(stem["path"], always_2d=True)
    waveform = samples.mean(axis=1)
    if not waveform.size:
        return
    times_s, low, high = _waveform_envelope(waveform, rate_hz)
    behind = axis.twinx()
    behind.fill_between(times_s, low, high, color=_WAVEFORM, alpha=0.75, linewidth=0)
    loudest = max(float(np.abs(waveform).max()), 1e-3)
    behind.set_ylim(-1.05 * loudest, 1.4 * loudest)
    behind.set_ylabel("amplitude (1 is full scale)", color="#7b8790")
    behind.tick_params(colors="#7b8790", labelsize=8)
    behind.spines[["top", "left"]].set_visible(False)
    behind.spines["right"].set_color(_WAVEFORM)
    axis.set_zorder(behind.get_zorder() + 1)
    axis.patch.set_visible(False)


def _waveform_envelope(waveform: NDArray[Any], rate_hz: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return times, lowest and highest value of each stretch of samples."""
    stretch = max(1, -(-waveform.size // _MAX_WAVEFORM_POINTS))
    starts = np.arange(0, waveform.size, stretch)
    times_s = (starts + stretch / 2) / rate_hz
    return times_s, np.minimum.reduceat(waveform, starts), np.maximum.reduceat(waveform, starts)


def _label_axis(axis: Axes, title: str, verdict: str, duration_s: float, unit: str = _ENERGY) -> None:
    axis.set_title(title, loc="left", fontsize=11, color=_INK, fontweight="bold")
    axis.set_title(verdict, loc="right", fontsize=9, color=_INK)
    axis.set_xlabel("time in the clip (s)")
    axis.set_ylabel(unit)
    axis.set_xlim(0, duration_s)
    axis.grid(True, axis="both", color="#e4e8eb", linewidth=0.7)
    axis.spines[["top", "right"]].set_visible(False)
    # Leave room above the curves for the legend.
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + (0.16 if unit == _ENERGY else 0.28) * (high - low))
    axis.legend(loc="upper right", ncols=2 if unit == _ENERGY else 4, frameon=False, fontsize=9)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, atomically. Raises OSError."""
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_bytes_atomic(path, image.getvalue())


def _shorten_prompt(prompt: str) -> str:
    # A dollar sign would start a formula.
    text = prompt if len(prompt) <= 60 else prompt[:59] + "…"
    return text.replace("$", r"\$")
