"""Draw the contact sheet of the synthetic world: a row for each class and hard case with frames, log-mel and energy.

Usage: python scripts/docs/draw_world.py [docs/images/world.png] [--seed 11]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from PIL import Image

from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.world import CLASS_NAMES, PATTERNS, Scene, render_sound, render_video, sample_scene

FRAMES_PER_ROW = 6
FRAME_WIDTH, FRAME_HEIGHT = 160, 120
FRAME_RATE = 25
FIRST_HARD_SEED = 500
HARD_CASES: dict[str, Callable[[Scene], bool]] = {
    "moves silently": lambda scene: scene.silent_motion and scene.class_name in ("drum_hit", "hand_clap", "hammer"),
    "moves silently, elsewhere": lambda scene: scene.silent_motion and scene.class_name == "dog_bark",
    "off screen": lambda scene: scene.off_screen and not scene.is_silent,
    "ambience behind": lambda scene: scene.ambience is not None and not scene.off_screen,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?", default=Path("docs/images/world.png"))
    parser.add_argument("--seed", type=int, default=11, help="seed of the first row")
    choices = parser.parse_args()

    matplotlib.use("Agg")
    rows_drawn = [(scene, scene.class_name) for scene in class_scenes(choices.seed)] + hard_scenes()
    figure, rows = pyplot.subplots(
        len(rows_drawn),
        3,
        dpi=72,
        figsize=(15, 0.98 * len(rows_drawn)),
        gridspec_kw={"width_ratios": [FRAMES_PER_ROW * FRAME_WIDTH / FRAME_HEIGHT, 3.2, 3.2]},
    )
    for (scene, label), row in zip(rows_drawn, rows, strict=True):
        draw_row(scene, label, row, last=scene is rows_drawn[-1][0])
        print(f"{label:26s} {scene.pattern:13s} {scene.full_caption}")
    figure.subplots_adjust(left=0.005, right=0.995, top=0.997, bottom=0.022, wspace=0.03, hspace=0.1)
    choices.path.parent.mkdir(parents=True, exist_ok=True)
    figure.canvas.draw()
    sheet = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    # 256 colours keep the file small; dithering hides the steps between them.
    sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.FLOYDSTEINBERG).save(
        choices.path, optimize=True
    )
    print(f"{choices.path}: {choices.path.stat().st_size / 1000:.0f} kB")


def class_scenes(seed: int) -> list[Scene]:
    """Return one scene of each class, with its source visible and no ambience. The patterns take turns."""
    drawn = [
        sample_scene(seed + index, class_name, pattern=PATTERNS[(3 * index + 1) % len(PATTERNS)])
        for index, class_name in enumerate(CLASS_NAMES)
    ]
    return [dataclasses.replace(scene, off_screen=False, ambience=None) for scene in drawn]


def hard_scenes() -> list[tuple[Scene, str]]:
    """Return the first scene of each hard case, with its name."""
    scenes = [sample_scene(seed) for seed in range(FIRST_HARD_SEED, FIRST_HARD_SEED + 1500)]
    return [
        (scene, f"{name}: {scene.class_name}")
        for name, suits in HARD_CASES.items()
        for scene in [next(filter(suits, scenes))]
    ]


def draw_row(scene: Scene, label: str, row: np.ndarray[tuple[int], np.dtype[np.object_]], *, last: bool) -> None:
    """Draw frames around a strike or across the clip, the log-mel, and the energy with the envelope and the events."""
    frames_axes, mel_axes, energy_axes = row
    video = render_video(scene, width=FRAME_WIDTH, height=FRAME_HEIGHT, shutter_samples=2)
    shown = choose_frames(scene, video.shape[0])
    frames_axes.imshow(np.concatenate(list(video[shown]), axis=1), aspect="auto")
    for number, frame in enumerate(shown):
        time_label = f"{(frame + 0.5) / FRAME_RATE:.2f} s"
        frames_axes.text(
            number * FRAME_WIDTH + 4, 14, time_label, fontsize=7, color="white", bbox={"pad": 1, "color": "0.2"}
        )
    frames_axes.axis("off")

    sound = torch.from_numpy(normalise(render_sound(scene)))[None]
    log_mel = AudioFrontEnd(MelConfig()).log_mel(sound)[0].numpy()
    extent = (0.0, scene.duration_s, 0.0, 64.0)
    mel_axes.imshow(log_mel.T, origin="lower", aspect="auto", vmin=SILENCE_NATS, vmax=1.0, extent=extent, cmap="magma")
    mel_axes.text(0.05, 52, label, fontsize=8, color="white")
    times_s = (np.arange(log_mel.shape[0]) + 0.5) / 100
    energy_axes.plot(times_s, log_mel.mean(axis=1), linewidth=0.9)
    energy_axes.fill_between(times_s, SILENCE_NATS, SILENCE_NATS + 9 * scene.intensity_at(times_s), alpha=0.2)
    energy_axes.vlines(scene.event_times_s, SILENCE_NATS - 0.7, SILENCE_NATS, linewidth=0.7, color="tab:red")
    energy_axes.set(xlim=(0, scene.duration_s), ylim=(SILENCE_NATS - 0.8, -1.0))
    energy_axes.text(0.05, -2.6, scene.pattern, fontsize=7)
    for axes in (mel_axes, energy_axes):
        tidy(axes, last=last)


def choose_frames(scene: Scene, frames: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return frames that show a strike from the backswing to the rebound, or frames spread over the clip."""
    if scene.event_times_s.size:
        strike = int(scene.event_times_s[np.argmax(scene.event_strengths)] * FRAME_RATE)
        return np.clip(strike + np.array([-6, -4, -2, 0, 2, 5]), 0, frames - 1)
    return np.linspace(4, frames - 5, FRAMES_PER_ROW).astype(np.int64)


def tidy(axes: Axes, *, last: bool) -> None:
    """Remove the ticks that repeat."""
    axes.tick_params(labelsize=6, labelbottom=last, labelleft=False, length=2)


if __name__ == "__main__":
    main()
