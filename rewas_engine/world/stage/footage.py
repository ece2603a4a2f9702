"""What happens to frames after the camera: sensor, letterbox, subtitles and the strength of compression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewas_engine.world.camera import Film
from rewas_engine.world.stage.acts import FloatArray

LETTERBOX_SHARE, SUBTITLES_SHARE = 0.12, 0.12
_WIDESCREENS = (16 / 9, 1.85, 2.39)
"""Aspect ratios of films that are shown with bars above and below."""
_BEST_CRF, _WORST_CRF = 16, 34
_MEAN_LEVELS = (0.28, 0.62)


@dataclass(frozen=True, eq=False)
class Subtitle:
    """A line of text: when it is shown, and its glyphs as [rows, columns] of marks."""

    start_s: float
    end_s: float
    glyphs: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Footage:
    """How a clip is finished.

    Attributes:
        bars: Rows of black above and below the picture, each.
        subtitles: Lines of text, in order.
        crf: Constant rate factor of H.264: higher is more compressed.
        fixed: Nothing may vary over time.
    """

    bars: int
    subtitles: tuple[Subtitle, ...]
    crf: int
    fixed: bool

    def finish(
        self, frames: NDArray[np.uint8], times_s: FloatArray, shots: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Finish rendered frames [T, H, W, 3]: [T, H + 2 bars, W, 3].

        Args:
            frames: Rendered frames.
            times_s: [T] their times.
            shots: [T] numbers of their shots; a new shot may be brighter or darker.
            rng: Source of randomness of grain and exposure.
        """
        frames = _exposed(frames)
        film = Film(rng, frames.shape[1], frames.shape[2], fixed=self.fixed)
        gains = rng.uniform(0.75, 1.25, int(shots.max(initial=0)) + 1)
        gains[0] = 1.0
        finished = np.zeros((len(frames), frames.shape[1] + 2 * self.bars, frames.shape[2], 3), np.uint8)
        for number in np.unique(shots):
            own = np.flatnonzero(shots == number)
            pixels = frames[own].astype(np.float32) / 255
            levels = film.develop(pixels, times_s[own], int(own[0]), float(gains[number]))
            finished[own, self.bars : self.bars + frames.shape[1]] = np.clip(levels + 0.5, 0, 255)
        for subtitle in self.subtitles:
            _write(finished, (times_s >= subtitle.start_s) & (times_s < subtitle.end_s), subtitle.glyphs)
        return finished


def _exposed(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brighten or darken a clip as a camera would, so that its mean is neither dark nor bright."""
    mean = float(frames.mean()) / 255
    wanted = float(np.clip(mean, *_MEAN_LEVELS))
    if not 0.01 < mean < 0.99 or wanted == mean:
        return frames
    gamma = np.log(wanted) / np.log(mean)
    table = np.round(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return np.asarray(table[frames])


def draw_footage(rng: np.random.Generator, duration_s: float, width: int, height: int, *, fixed: bool) -> Footage:
    """Draw how a clip of this size in pixels is finished. Bars are part of the height."""
    bars = 0
    wider = [shape for shape in _WIDESCREENS if 1.03 * width / height < shape < 1.8 * width / height]
    if rng.random() < LETTERBOX_SHARE and width > height and wider:
        bars = (height - int(width / wider[int(rng.integers(len(wider)))])) // 2
    subtitles: list[Subtitle] = []
    if not fixed and rng.random() < SUBTITLES_SHARE:
        start_s = float(rng.uniform(0.0, 0.4 * duration_s))
        while start_s < duration_s:
            end_s = start_s + float(rng.uniform(0.8, 2.5))
            subtitles.append(Subtitle(start_s, end_s, _draw_glyphs(rng, width, height)))
            start_s = end_s + float(rng.choice((0.0, 0.3, 1.0)))
    return Footage(bars, tuple(subtitles), int(rng.integers(_BEST_CRF, _WORST_CRF + 1)), fixed)


def _draw_glyphs(rng: np.random.Generator, width: int, height: int) -> NDArray[np.bool_]:
    """Marks in the rhythm of words; at this size no letter could be read."""
    rows = max(3, height // 14)
    columns = int(rng.uniform(0.35, 0.85) * width)
    marks = rng.random((rows, columns)) < 0.6
    spaces = np.cumsum(rng.integers(4, 12, columns))
    marks[:, spaces[spaces < columns]] = False
    marks[0] &= rng.random(columns) < 0.4
    return marks


def _write(frames: NDArray[np.uint8], shown: NDArray[np.bool_], glyphs: NDArray[np.bool_]) -> None:
    """Write white marks with a dark outline at the bottom of the shown frames."""
    rows, columns = glyphs.shape
    top, left = frames.shape[1] - rows - max(2, frames.shape[1] // 20), (frames.shape[2] - columns) // 2
    outline = np.zeros((rows + 2, columns + 2), dtype=bool)
    for row in range(3):
        for column in range(3):
            outline[row : row + rows, column : column + columns] |= glyphs
    area = frames[:, top - 1 : top + rows + 1, left - 1 : left + columns + 1]
    area[shown[:, None, None] & outline] = 20
    inner = frames[:, top : top + rows, left : left + columns]
    inner[shown[:, None, None] & glyphs] = 240
