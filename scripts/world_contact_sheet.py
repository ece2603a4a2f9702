"""Draws the contact sheet of the synthetic world: a row for each class with frames, log-mel and energy.

Usage: python scripts/world_contact_sheet.py [docs/images/world.png] [--seed 11]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from PIL import Image

from rewas_engine.energy import SILENCE_NATS
from rewas_engine.mel import AudioFrontEnd, MelConfig, normalised
from rewas_engine.training.world import CLASS_NAMES, EVENT_PATTERNS, PATTERNS, Scene, render_picture, render_sound
from rewas_engine.training.world import sample_scene as draw_scene

FRAMES_SHOWN = 6
FRAME_WIDTH, FRAME_HEIGHT = 160, 120
FRAME_RATE = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?", default=Path("docs/images/world.png"))
    parser.add_argument("--seed", type=int, default=11, help="seed of the first row")
    choices = parser.parse_args()

    matplotlib.use("Agg")
    figure, rows = pyplot.subplots(
        len(CLASS_NAMES),
        3,
        dpi=72,
        figsize=(15, 0.98 * len(CLASS_NAMES)),
        gridspec_kw={"width_ratios": [FRAMES_SHOWN * FRAME_WIDTH / FRAME_HEIGHT, 3.2, 3.2]},
    )
    for index, (class_name, row) in enumerate(zip(CLASS_NAMES, rows, strict=True)):
        scene = draw_scene(choices.seed + index, class_name, pattern=PATTERNS[(3 * index + 1) % len(PATTERNS)])
        draw_row(scene, row, last=index == len(CLASS_NAMES) - 1)
        print(f"{class_name:14s} {scene.pattern:13s} {scene.caption}")
    figure.subplots_adjust(left=0.005, right=0.995, top=0.997, bottom=0.022, wspace=0.03, hspace=0.1)
    choices.path.parent.mkdir(parents=True, exist_ok=True)
    figure.canvas.draw()
    sheet = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    # 256 colours keep the file small; dithering hides the steps between them.
    sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.FLOYDSTEINBERG).save(
        choices.path, optimize=True
    )
    print(f"{choices.path}: {choices.path.stat().st_size / 1000:.0f} kB")


def draw_row(scene: Scene, row: np.ndarray[tuple[int], np.dtype[np.object_]], *, last: bool) -> None:
    """Frames around the moments that matter, the log-mel with the events, the energy with the envelope."""
    frames_axes, mel_axes, energy_axes = row
    picture = render_picture(scene, width=FRAME_WIDTH, height=FRAME_HEIGHT, shutter_samples=2)
    shown = moments(scene, picture.shape[0])
    frames_axes.imshow(np.concatenate(list(picture[shown]), axis=1), aspect="auto")
    for number, frame in enumerate(shown):
        label = f"{(frame + 0.5) / FRAME_RATE:.2f} s"
        frames_axes.text(
            number * FRAME_WIDTH + 4, 14, label, fontsize=7, color="white", bbox={"pad": 1, "color": "0.2"}
        )
    frames_axes.axis("off")

    sound = torch.from_numpy(normalised(render_sound(scene)))[None]
    log_mel = AudioFrontEnd(MelConfig()).log_mel(sound)[0].numpy()
    extent = (0.0, scene.duration_s, 0.0, 64.0)
    mel_axes.imshow(log_mel.T, origin="lower", aspect="auto", vmin=SILENCE_NATS, vmax=1.0, extent=extent, cmap="magma")
    mel_axes.text(0.05, 52, scene.class_name, fontsize=8, color="white")
    times_s = (np.arange(log_mel.shape[0]) + 0.5) / 100
    energy_axes.plot(times_s, log_mel.mean(axis=1), linewidth=0.9)
    energy_axes.fill_between(times_s, SILENCE_NATS, SILENCE_NATS + 9 * scene.intensity_at(times_s), alpha=0.2)
    energy_axes.vlines(scene.event_times_s, SILENCE_NATS - 0.7, SILENCE_NATS, linewidth=0.7, color="tab:red")
    energy_axes.set(xlim=(0, scene.duration_s), ylim=(SILENCE_NATS - 0.8, -1.0))
    energy_axes.text(0.05, -2.6, scene.pattern, fontsize=7)
    for axes in (mel_axes, energy_axes):
        tidy(axes, last=last)


def moments(scene: Scene, frames: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Frames that show a strike from the backswing to the rebound, or the envelope from soft to loud."""
    if scene.pattern in EVENT_PATTERNS or scene.event_times_s.size:
        strike = int(scene.event_times_s[np.argmax(scene.event_strengths)] * FRAME_RATE)
        return np.clip(strike + np.array([-6, -4, -2, 0, 2, 5]), 0, frames - 1)
    return np.linspace(4, frames - 5, FRAMES_SHOWN).astype(np.int64)


def tidy(axes: Axes, *, last: bool) -> None:
    """Ticks only where they are needed."""
    axes.tick_params(labelsize=6, labelbottom=last, labelleft=False, length=2)


if __name__ == "__main__":
    main()
