"""Plots of a training in progress: the loss curve, and sheets with current results.

They are drawn with matplotlib if it is installed (the extra `plots`); training does not depend on it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rewas_engine.curves.energy import SILENCE_NATS, FloatArray
from rewas_engine.runtime.atomic_files import atomic_path

SMOOTHED_STEPS = 50


@dataclass(frozen=True, eq=False)
class Panel:
    """One example on a sheet: an optional log-mel [T, bins] and curves [T] by name, in nats."""

    title: str
    log_mel: FloatArray | None = None
    curves: tuple[tuple[str, FloatArray], ...] = ()


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_losses(path: Path, stage: str, losses: Sequence[float]) -> None:
    """Plot the loss of every step and its running mean, on a logarithmic scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    values = np.asarray(losses, np.float64)
    axes.plot(np.arange(1, values.size + 1), values, linewidth=0.4, alpha=0.5)
    width = min(SMOOTHED_STEPS, values.size)
    smooth = np.convolve(values, np.ones(width) / width, mode="valid")
    axes.plot(np.arange(width, values.size + 1), smooth, linewidth=1.5)
    axes.set(title=f"{stage}: {values.size} steps", xlabel="step", ylabel="loss", yscale="log")
    _save(figure, path)


def draw_figures(path: Path, title: str, figures: Mapping[int, Mapping[str, float]]) -> None:
    """Plot each figure over the steps at which it was measured, one plot below the other."""
    from matplotlib.figure import Figure

    names = sorted({name for measured in figures.values() for name in measured})
    figure = Figure(figsize=(7, 1.9 * len(names) + 0.6), layout="constrained")
    figure.suptitle(f"{title}: on held-out clips")
    for axes, name in zip(figure.subplots(len(names), 1, squeeze=False).flat, names, strict=True):
        steps = [step for step in sorted(figures) if name in figures[step]]
        axes.plot(steps, [figures[step][name] for step in steps], marker="o", markersize=3)
        axes.set_ylabel(name, fontsize=8)
        axes.tick_params(labelsize=7)
    axes.set_xlabel("step")
    _save(figure, path)


def draw_sheet(path: Path, title: str, panels: Sequence[Panel]) -> None:
    """Draw the panels in two columns."""
    from matplotlib.figure import Figure

    rows = -(-len(panels) // 2)
    height = 2.1 * rows + 0.6
    # Fixed margins: a layout that measures every label takes twice as long as all other drawing.
    figure = Figure(figsize=(12, height))
    figure.subplots_adjust(0.04, 0.3 / height, 0.96, 1 - 0.65 / height, wspace=0.22, hspace=0.35)
    figure.suptitle(title)
    places = figure.subplots(rows, 2, squeeze=False).flat
    for empty in places[len(panels) :]:
        empty.set_axis_off()
    for axes, panel in zip(places, panels, strict=False):
        axes.set_title(panel.title, fontsize=8)
        if panel.log_mel is not None:
            axes.imshow(panel.log_mel.T, origin="lower", aspect="auto", vmin=SILENCE_NATS, vmax=1.5, cmap="magma")
            axes.set_ylabel("mel bin", fontsize=7)
        right = axes.twinx() if panel.log_mel is not None else axes
        for (name, values), colour in zip(panel.curves, ("tab:cyan", "tab:orange", "tab:green"), strict=False):
            right.plot(np.arange(values.size), values, label=name, linewidth=0.9, color=colour)
        if panel.curves:
            right.set_ylim(SILENCE_NATS - 0.5, 1)
            right.set_ylabel("energy, nats", fontsize=7)
            right.tick_params(labelsize=6)
            right.legend(fontsize=6, loc="lower right")
        axes.tick_params(labelsize=6)
    _save(figure, path)


def _save(figure: object, path: Path) -> None:
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished, dpi=100)
