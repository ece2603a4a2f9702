"""Small data sets of synthetic clips, in the layouts of VGGSound and Greatest Hits."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from foreign_layout import write_video

from rewas_engine.world import Scene, sample_scene

RATE = Fraction(25)


def write_vggsound_layout(folder: Path, clips: int, held_out: int) -> Path:
    """Videos `<id>_<start>.mp4` below a folder and the table, `vggsound.csv`; the last `held_out` are for tests."""
    lines = []
    for index in range(clips):
        scene = sample_scene(7_000 + index)
        name, start = f"id-{index:04d}_x", 30 + index
        split = "test" if index >= clips - held_out else "train"
        write_video(folder / split / f"{name}_{start:06d}.mp4", scene, RATE)
        lines.append(f'{name},{start},"{scene.caption}",{split}\n')
    (folder / "vggsound.csv").write_text("".join(lines), "utf-8")
    return folder


def write_greatest_hits_layout(folder: Path, videos: int) -> Path:
    """Videos `2015-…_denoised.mp4` with `…_times.txt`; `test.txt` names the first."""
    folder.mkdir(parents=True)
    for index in range(videos):
        name = f"2015-02-16-16-49-{index:02d}"
        scene = _scene_of_strikes(9_000 + 100 * index)
        write_video(folder / f"{name}_denoised.mp4", scene, RATE)
        lines = [
            f"{time_s:.3f} wood {('hit', 'scratch')[number % 2]} static\n"
            for number, time_s in enumerate(scene.event_times_s)
        ]
        (folder / f"{name}_times.txt").write_text("".join(lines), "utf-8")
    (folder / "test.txt").write_text("2015-02-16-16-49-00\n", "utf-8")
    return folder


def _scene_of_strikes(first_seed: int) -> Scene:
    scenes = (sample_scene(first_seed + seed) for seed in range(100))
    return next(scene for scene in scenes if len(scene.event_times_s) > 2)
