"""Plot each demo clip: its frames at the contacts, the spectrogram of its sound, and the energies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from rewas_engine import SILENCE_NATS, EnergyCurve
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.media.audio import resample

mpl.use("Agg")  # before importing pyplot, because there is no display
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

REQUESTED_BLUE, GENERATED_ORANGE, CONTACT_GREY, CONTACT_WHITE = "#2563c9", "#d9641e", "#555555", "#ffffff"
FIGURE_WIDTH = 11.0
FRAMES_HEIGHT, SPECTROGRAM_HEIGHT, ENERGY_HEIGHT = 1.05, 1.3, 1.6
CROP_SHAPE = 0.8
"""Width of the cropped frames divided by their height, so that most contacts have room for one."""
PLOT_SHARE = 0.93
"""Share of the width that the plots have."""


@dataclass(frozen=True, eq=False)
class DrawnClip:
    """The data to plot for one clip.

    waveform: [samples] mono. contacts_s: times of contact in the video. frames: [contacts, H, W, 3], the frame of each.
    """

    title: str
    waveform: NDArray[np.float32]
    sample_rate_hz: int
    requested: EnergyCurve
    generated: EnergyCurve
    contacts_s: tuple[float, ...]
    frames: NDArray[np.uint8]

    @property
    def duration_s(self) -> float:
        return self.waveform.size / self.sample_rate_hz


def frames_at(video: Path, times_s: Sequence[float]) -> NDArray[np.uint8]:
    """Return the frames [N, H, W, 3] that are shown at these times, cropped to the columns that move most."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    brightness = frames.mean(axis=3, dtype=np.float32)
    motion = np.abs(np.diff(brightness, axis=0)).sum(axis=(0, 1))
    width = min(frames.shape[2], round(CROP_SHAPE * frames.shape[1]))
    left = int(np.argmax(np.convolve(motion, np.ones(width), mode="valid")))
    shown = [min(int(time_s * rate), len(frames) - 1) for time_s in times_s]
    return frames[shown, :, left : left + width]


def draw_energy(clips: Sequence[DrawnClip], path: Path) -> None:
    """Write the plot: three rows per clip."""
    heights = [FRAMES_HEIGHT, SPECTROGRAM_HEIGHT, ENERGY_HEIGHT] * len(clips)
    figure, rows = plt.subplots(
        len(heights), 1, figsize=(FIGURE_WIDTH, sum(heights) + 0.7 * len(clips)), layout="constrained",
        squeeze=False, height_ratios=heights,
    )  # fmt: skip
    axes = rows[:, 0]
    for number, clip in enumerate(clips):
        draw_clip(axes[3 * number], axes[3 * number + 1], axes[3 * number + 2], clip)
    axes[-1].set_xlabel("seconds from the clip's first frame")
    axes[2].legend(loc="lower right", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_clip(film: Axes, spectrogram: Axes, energy: Axes, clip: DrawnClip) -> None:
    draw_frames(film, clip)
    draw_spectrogram(spectrogram, clip)
    energy.plot(clip.requested.times_s(), clip.requested.values, color=REQUESTED_BLUE, lw=1.8, label="requested energy")
    energy.plot(
        clip.generated.times_s(), clip.generated.values, color=GENERATED_ORANGE, lw=1.4, label="generated energy"
    )
    loudest = max(clip.requested.values.max(), clip.generated.values.max())
    energy.set_ylim(SILENCE_NATS - 0.4, loudest + 0.8)
    energy.set_ylabel("energy, nats")
    for axes, colour in ((film, CONTACT_GREY), (spectrogram, CONTACT_WHITE), (energy, CONTACT_GREY)):
        for number, contact_s in enumerate(clip.contacts_s):
            label = "contact in the video" if number == 0 else None
            axes.axvline(contact_s, color=colour, lw=0.9, ls=":", label=label)
        axes.set_xlim(0, clip.duration_s)
        axes.spines[["top", "right"]].set_visible(False)


def draw_frames(axes: Axes, clip: DrawnClip) -> None:
    """Place frames at their contacts, as many as fit beside each other."""
    shape = clip.frames.shape[2] / clip.frames.shape[1]
    width_s = FRAMES_HEIGHT * shape / (FIGURE_WIDTH * PLOT_SHARE) * clip.duration_s
    free_s = 0.0
    for frame, contact_s in zip(clip.frames, clip.contacts_s, strict=True):
        left = min(max(contact_s - width_s / 2, 0.0), clip.duration_s - width_s)
        if left < free_s:
            continue
        axes.imshow(frame, extent=(left, left + width_s, 0, 1), aspect="auto", zorder=3)
        axes.plot([contact_s], [-0.06], marker="^", color=CONTACT_GREY, ms=5, clip_on=False, zorder=4)
        free_s = left + width_s * 1.02
    axes.set_ylim(-0.12, 1)
    axes.set_title(clip.title, loc="left", fontsize=11, pad=8)
    axes.set_yticks([])
    axes.tick_params(labelbottom=False, length=0)
    axes.spines[:].set_visible(False)


def draw_spectrogram(axes: Axes, clip: DrawnClip) -> None:
    """Draw the log-mel of the sound, as the model has it."""
    config = MelConfig()
    samples = round(clip.duration_s * config.sample_rate_hz)
    sound = resample(clip.waveform[None], clip.sample_rate_hz, config.sample_rate_hz, samples)[0]
    log_mel = AudioFrontEnd(config).encode(sound).numpy()
    axes.imshow(
        log_mel.T, origin="lower", aspect="auto", cmap="magma", vmin=SILENCE_NATS, vmax=log_mel.max(),
        extent=(0, clip.duration_s, 0, config.bins), interpolation="nearest",
    )  # fmt: skip
    axes.set_ylabel("mel bin")
    axes.tick_params(labelbottom=False)
