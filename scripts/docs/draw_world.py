"""Draw a contact sheet of the synthetic world: a row for each class and hard case with frames, log-mel and energy.

Usage: python scripts/docs/draw_world.py [docs/images/world.png] [--seed 11]
       python scripts/docs/draw_world.py --rendered [docs/images/rendered-world.jpg] [--blender PROGRAM]
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.training.rendered_export import render_staged
from rewas_engine.training.stage_renderer import RendererCommand, StageRenderer
from rewas_engine.world import CLASS_NAMES, PATTERNS, Scene, render_sound, render_video, sample_scene
from rewas_engine.world.stage.fall_acts import FALL_CLASSES
from rewas_engine.world.stage.staged_scene import StagedScene, sample_staged_scene
from rewas_server.blender_program import blender_command, blender_environment, find_blender

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
RENDERED_CASES: dict[str, Callable[[StagedScene], bool]] = {
    "motionless": lambda staged: staged.motionless and staged.scene.class_name == "engine",
    "motionless, elsewhere": lambda staged: staged.motionless and staged.scene.class_name == "alarm_beep",
    "moves silently": lambda staged: staged.scene.silent_motion and staged.scene.class_name == "hammer",
    "in company": lambda staged: len(staged.company) == 2 and staged.scene.class_name == "hand_clap",
    "cut": lambda staged: len(staged.shots.shots) > 1 and staged.scene.class_name == "drum_hit",
    "letterbox": lambda staged: staged.footage.bars > 0 and staged.scene.class_name == "gravel_steps",
    "subtitles": lambda staged: bool(staged.footage.subtitles) and staged.scene.class_name == "typing",
}
CASE_CLASSES = ("engine", "alarm_beep", "hammer", "hand_clap", "drum_hit", "gravel_steps", "typing")
FRAME_RATE_EXACT = Fraction(FRAME_RATE)
SCRIPT = Path(__file__).resolve().parents[2] / "server" / "rewas_stage" / "render_process.py"

Row = tuple[Scene, str, NDArray[np.int64], NDArray[np.uint8]]
"""A scene, its label, and the numbers and pixels of its shown frames."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--seed", type=int, default=11, help="seed of the first row")
    parser.add_argument("--rendered", action="store_true", help="draw the rendered world")
    parser.add_argument("--blender", default="", help="Blender, or a Python interpreter with the module bpy")
    parser.add_argument("--frame-cache", type=Path, help="folder that keeps the rendered frames")
    choices = parser.parse_args()
    path = choices.path or Path("docs/images", "rendered-world.jpg" if choices.rendered else "world.png")

    matplotlib.use("Agg")
    if choices.rendered:
        rows_drawn = list(rendered_rows(choices.seed, choices.blender, choices.frame_cache))
    else:
        rows_drawn = list(drawn_rows(choices.seed))
    figure, rows = pyplot.subplots(
        len(rows_drawn),
        3,
        dpi=72,
        figsize=(15, 0.98 * len(rows_drawn)),
        gridspec_kw={"width_ratios": [FRAMES_PER_ROW * FRAME_WIDTH / FRAME_HEIGHT, 3.2, 3.2]},
    )
    for number, (drawn, row) in enumerate(zip(rows_drawn, rows, strict=True), start=1):
        draw_row(*drawn, row, last=number == len(rows_drawn))
        print(f"{drawn[1]:26s} {drawn[0].pattern:13s} {drawn[0].full_caption}")
    figure.subplots_adjust(left=0.005, right=0.995, top=0.997, bottom=0.022, wspace=0.03, hspace=0.1)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.canvas.draw()
    sheet = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    if path.suffix == ".png":
        # 256 colours keep the file small; dithering hides the steps between them.
        sheet = sheet.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.FLOYDSTEINBERG)
    sheet.save(path, optimize=True, quality=65)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def drawn_rows(seed: int) -> Iterator[Row]:
    """Yield the rows of the drawn world."""
    for scene, label in [(scene, scene.class_name) for scene in class_scenes(seed)] + hard_scenes():
        video = render_video(scene, width=FRAME_WIDTH, height=FRAME_HEIGHT, shutter_samples=2)
        shown = choose_frames(scene, video.shape[0])
        yield scene, label, shown, video[shown]


def rendered_rows(seed: int, blender: str, frame_cache: Path | None) -> Iterator[Row]:
    """Yield the rows of the rendered world; only the shown frames are rendered."""
    program = find_blender(blender, "render the world")
    with tempfile.TemporaryDirectory(prefix="rewas-blender-") as profile:
        environment = blender_environment(Path(profile))
        command = RendererCommand(tuple(blender_command(program, SCRIPT)), environment, frame_cache)
        with StageRenderer(command) as renderer:
            for staged, label in staged_scenes(seed):
                times_s = staged.frame_times_s
                shown = choose_frames(staged.scene, times_s.size)
                yield staged.scene, label, shown, render_staged(staged, renderer, label, times_s[shown])


def staged_scenes(seed: int) -> list[tuple[StagedScene, str]]:
    """Return a staged scene of each class, falling things, and the first scene of each hard case, with their names."""

    def stage(number: int, class_name: str, pattern: str | None = None) -> StagedScene:
        size = (96, 72)
        return sample_staged_scene(number, class_name, pattern=pattern, frame_rate=FRAME_RATE_EXACT, size=size)

    chosen: list[tuple[StagedScene, str]] = []
    for index, class_name in enumerate(CLASS_NAMES):
        pattern = PATTERNS[(3 * index + 1) % len(PATTERNS)]
        found = (stage(number, class_name, pattern) for number in range(seed + index, seed + index + 500))
        chosen.append((next(filter(is_plain, found)), class_name))
    for index, class_name in enumerate(FALL_CLASSES):
        found = (stage(number, class_name, "few") for number in range(seed + 50 * index, seed + 50 * index + 500))
        chosen.append((next(staged for staged in found if staged.falls), f"falling: {class_name}"))
    for name, suits in RENDERED_CASES.items():
        pattern = None if name == "moves silently" else "regular"
        numbers = range(FIRST_HARD_SEED, FIRST_HARD_SEED + 300)
        found = (stage(number, class_name, pattern) for number in numbers for class_name in CASE_CLASSES)
        case = next(staged for staged in found if suits(staged) and not staged.scene.off_screen)
        chosen.append((case, f"{name}: {case.scene.class_name}"))
    return chosen


def is_plain(staged: StagedScene) -> bool:
    """Whether someone or something is seen that sounds, moves and does not fall."""
    scene = staged.scene
    return not (scene.off_screen or scene.is_silent or staged.motionless or staged.falls or scene.ambience)


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


def draw_row(
    scene: Scene,
    label: str,
    shown: NDArray[np.int64],
    frames: NDArray[np.uint8],
    row: np.ndarray[tuple[int], np.dtype[np.object_]],
    *,
    last: bool,
) -> None:
    """Draw frames around a strike or across the clip, the log-mel, and the energy with the envelope and the events."""
    frames_axes, mel_axes, energy_axes = row
    height, width = frames.shape[1:3]
    frames_axes.imshow(np.concatenate(list(frames), axis=1), aspect="auto", interpolation="nearest")
    for number, frame in enumerate(shown):
        time_label = f"{(frame + 0.5) / FRAME_RATE:.2f} s"
        place = ((number + 0.025) * width, 0.12 * height)
        frames_axes.text(*place, time_label, fontsize=7, color="white", bbox={"pad": 1, "color": "0.2"})
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
