"""Plot requested and generated energy over the waveform for each demo clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from rewas_engine import SILENCE_NATS, EnergyCurve

mpl.use("Agg")  # before importing pyplot, because there is no display
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

WAVEFORM_GREY, REQUESTED_BLUE, GENERATED_ORANGE = "#c3c7cd", "#2563c9", "#d9641e"
COLUMNS = 1600


@dataclass(frozen=True, eq=False)
class DrawnClip:
    """The data to plot for one clip. waveform: [samples] mono. contacts_s: times of contact in the video."""

    title: str
    waveform: NDArray[np.float32]
    sample_rate_hz: int
    requested: EnergyCurve
    generated: EnergyCurve
    contacts_s: tuple[float, ...]


def draw_energy(clips: Sequence[DrawnClip], path: Path) -> None:
    """Write the plot, one row per clip."""
    figure, rows = plt.subplots(len(clips), 1, figsize=(11, 3.1 * len(clips)), layout="constrained", squeeze=False)
    for axes, clip in zip(rows[:, 0], clips, strict=True):
        draw_clip(axes, clip)
    rows[-1, 0].set_xlabel("seconds from the clip's first frame")
    rows[0, 0].legend(loc="lower left", ncols=4, frameon=False, bbox_to_anchor=(0, 1.12))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_clip(axes: Axes, clip: DrawnClip) -> None:
    waveform_axes = axes.twinx()
    waveform_axes.set_zorder(axes.get_zorder() - 1)
    axes.patch.set_visible(False)
    draw_waveform(waveform_axes, clip)
    axes.plot(clip.requested.times_s(), clip.requested.values, color=REQUESTED_BLUE, lw=1.8, label="requested energy")
    axes.plot(clip.generated.times_s(), clip.generated.values, color=GENERATED_ORANGE, lw=1.4, label="generated energy")
    for number, contact_s in enumerate(clip.contacts_s):
        label = "contact in the video" if number == 0 else None
        axes.axvline(contact_s, color="#555555", lw=0.9, ls=":", label=label)
    axes.plot([], [], color=WAVEFORM_GREY, lw=6, label="waveform")
    loudest = max(clip.requested.values.max(), clip.generated.values.max())
    axes.set_ylim(SILENCE_NATS - 0.4, loudest + 0.8)
    axes.set_xlim(0, clip.waveform.size / clip.sample_rate_hz)
    axes.set_ylabel("energy, nats")
    axes.set_title(clip.title, loc="left", fontsize=11, pad=8)
    axes.spines[["top", "right"]].set_visible(False)


def draw_waveform(axes: Axes, clip: DrawnClip) -> None:
    """Plot the minimum and maximum sample of each column, as an editor does."""
    columns = np.array_split(clip.waveform, COLUMNS)
    times_s = (np.arange(COLUMNS) + 0.5) / COLUMNS * clip.waveform.size / clip.sample_rate_hz
    lowest, highest = [column.min() for column in columns], [column.max() for column in columns]
    axes.fill_between(times_s, lowest, highest, color=WAVEFORM_GREY, lw=0)
    peak = max(float(np.abs(clip.waveform).max()), 1e-3)
    axes.set_ylim(-peak * 1.15, peak * 1.15)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
