"""Accuracy of the cut detector on shots of the world, on edited videos, and on uncut videos that look like cuts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.evaluation.splits import Split
from rewas_engine.media.cuts import SMALL_HEIGHT, SMALL_WIDTH, detect_cuts
from rewas_engine.world import FRAME_RATE, Scene, render_brightness
from rewas_engine.world.abstract_videos import dead_leaves
from rewas_engine.world.video import first_frames_of_shots

Frames = NDArray[np.uint8]
TOLERANCE_FRAMES = 1
"""Largest distance between a detected and a real cut that counts as a match, in frames."""
_SHOT_FRAMES = (20, 60)
_DISSOLVE_FRAMES = 12
_FLASH_FRAMES = (1, 4)
_PAN_PIXELS = (1.0, 16.0)
_SCENERY = 640


@dataclass(frozen=True)
class FilmedCuts:
    """A small video [T, SMALL_HEIGHT, SMALL_WIDTH], and the first frame of every shot after the first."""

    kind: str
    frames: Frames
    cuts: tuple[int, ...]


@dataclass(frozen=True)
class CutScore:
    """Result for videos of one kind: number of videos, cuts found, cuts missed and false detections."""

    clips: int
    found: int
    missed: int
    false: int

    @property
    def precision(self) -> float | None:
        """Share of the detections that are cuts; None without detections."""
        return self.found / (self.found + self.false) if self.found + self.false else None

    @property
    def recall(self) -> float | None:
        """Share of the cuts that are found; None without cuts."""
        return self.found / (self.found + self.missed) if self.found + self.missed else None


def score_cuts(films: list[FilmedCuts]) -> CutScore:
    """Count the cuts that are found, missed and falsely detected."""
    found = missed = false = 0
    for film in films:
        rest = [cut.frame for cut in detect_cuts(film.frames, Fraction(FRAME_RATE))]
        for cut in film.cuts:
            near = [frame for frame in rest if abs(frame - cut) <= TOLERANCE_FRAMES]
            if near:
                rest.remove(near[0])
            found, missed = found + bool(near), missed + (not near)
        false += len(rest)
    return CutScore(len(films), found, missed, false)


def render_films(split: Split, clips: int) -> dict[str, list[FilmedCuts]]:
    """Render videos of all kinds, in about equal numbers.

    Args:
        split: Source of the scenes.
        clips: Number of scenes.
    """
    scenes = split.any_scenes(clips)
    rng = np.random.default_rng(split.first_seed)
    own = [_film_scene(scene) for scene in scenes]
    still = [film.frames for film in own if not film.cuts]
    guns = split.audible("gunshot", max(1, clips // 5))
    return {
        "own shots of the world": [film for film in own if film.cuts],
        "one shot of the world": [film for film in own if not film.cuts],
        "gunshots of the world": [film for film in map(_film_scene, guns) if not film.cuts],
        "scenes cut together": list(_edit_together(rng, still)),
        "white flashes": [_add_flashes(rng, frames) for frames in still],
        "pans, slow to whipped": [_pan(rng) for _ in still],
        "dissolves": [_dissolve(rng, one, other) for one, other in zip(still[::2], still[1::2], strict=False)],
    }


def _film_scene(scene: Scene) -> FilmedCuts:
    size = {"width": SMALL_WIDTH, "height": SMALL_HEIGHT}
    return FilmedCuts("world", render_brightness(scene, **size), tuple(first_frames_of_shots(scene, **size)))


def _edit_together(rng: np.random.Generator, still: list[Frames]) -> Iterator[FilmedCuts]:
    for place in range(0, len(still) - 3, 4):
        parts = [frames[: int(rng.integers(*_SHOT_FRAMES))] for frames in still[place : place + 4]]
        ends = np.cumsum([len(part) for part in parts])
        yield FilmedCuts("edited", np.concatenate(parts), tuple(ends[:-1].tolist()))


def _add_flashes(rng: np.random.Generator, frames: Frames) -> FilmedCuts:
    """Add three flashes of light that start within one frame and fade over a few."""
    bright = frames.astype(np.float32)
    for begin in rng.integers(5, len(frames) - 10, 3):
        for number in range(int(rng.integers(*_FLASH_FRAMES))):
            bright[begin + number] += (255 - bright[begin + number]) * 0.9 / (1 + number)
    return FilmedCuts("flash", bright.astype(np.uint8), ())


def _pan(rng: np.random.Generator) -> FilmedCuts:
    """Render a camera that pans back and forth, by up to a quarter of the frame width per frame."""
    scenery = (dead_leaves(rng, _SCENERY) * 255).astype(np.uint8)
    low, high = np.log(_PAN_PIXELS[0]), np.log(_PAN_PIXELS[1])
    fastest, period = float(np.exp(rng.uniform(low, high))), float(rng.uniform(25, 75))
    swing = min(fastest * period / (2 * np.pi), (_SCENERY - SMALL_WIDTH) / 2 - 1)
    lefts = (_SCENERY - SMALL_WIDTH) / 2 + swing * np.sin(2 * np.pi * np.arange(128) / period)
    top = int(rng.integers(0, _SCENERY - SMALL_HEIGHT))
    rows = scenery[top : top + SMALL_HEIGHT]
    return FilmedCuts("pan", np.stack([rows[:, int(left) : int(left) + SMALL_WIDTH] for left in lefts]), ())


def _dissolve(rng: np.random.Generator, one: Frames, other: Frames) -> FilmedCuts:
    begin = int(rng.integers(30, 80))
    share = np.clip((np.arange(128) - begin) / _DISSOLVE_FRAMES, 0, 1)[:, None, None]
    mixed = (1 - share) * one[:128] + share * other[:128]
    return FilmedCuts("dissolve", mixed.astype(np.uint8), (begin + _DISSOLVE_FRAMES // 2,))
