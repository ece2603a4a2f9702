"""Clips with chosen sound, motion and estimate, and a model that looks up the estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from curve_fixtures import STEPS
from numpy.typing import NDArray

from rewas_engine import EnergyCurve
from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.splits import Split
from rewas_engine.media.clip import VideoClip
from rewas_engine.world import Scene, sample_scene

RATE_HZ = Fraction(25)
SAMPLE_RATE_HZ = 16_000
SAMPLES = SAMPLE_RATE_HZ // 25
"""Samples per value at the video rate."""
PEAK_NATS = float(np.log(0.5))
"""Energy of a normalised sound, as `LevelMeter` measures it."""
LOUD = PEAK_NATS - 1 + STEPS
"""An energy whose maximum is that of a normalised sound, so that normalisation leaves it unchanged."""
SILENT = np.full_like(STEPS, -np.inf)
MOVING = 10 + 10 * STEPS
"""Motion in levels of brightness that follows STEPS: alternating 0 and 20."""
STILL = np.zeros_like(STEPS)


@dataclass(frozen=True, eq=False)
class ScriptedClip:
    """A clip and the estimate for it, at RATE_HZ.

    Attributes:
        true: [T] energy of its sound in nats, -inf for silence.
        estimated: [T] nats, estimated from its frames.
        motion: [T] levels of brightness by which it changes; the first value is 0.
        class_name: Class of the scene.
    """

    true: FloatArray
    estimated: FloatArray
    motion: FloatArray = field(default_factory=lambda: STILL)
    class_name: str = "rain"

    @property
    def sound(self) -> FloatArray:
        """Waveform [samples] of this energy, with alternating signs."""
        amplitudes = np.repeat(np.exp(self.true), SAMPLES)
        return np.asarray(amplitudes * np.where(np.arange(amplitudes.size) % 2, -1, 1), np.float32)

    def frames(self, mark: int) -> NDArray[np.uint8]:
        """Frames [T, 2, 2] with this motion. mark: brightness of the first one, which identifies the clip."""
        levels = [mark]
        for change in self.motion[1:]:
            levels.append(int(levels[-1] + change if levels[-1] + change <= 255 else levels[-1] - change))
        return np.broadcast_to(np.array(levels, np.uint8)[:, None, None], (len(levels), 2, 2))


class LevelMeter:
    """A front end that measures the logarithm of the amplitude."""

    config = MelConfig()

    def measure_energy(self, sound: FloatArray) -> EnergyCurve:
        power = np.square(sound.astype(np.float64)).reshape(-1, self.config.hop_samples).mean(axis=1)
        return EnergyCurve(np.log(np.maximum(np.sqrt(power), self.config.floor)), self.config.frame_rate_hz)


class ScriptedModel:
    """Replaces a pack: returns each clip's own estimate for its frames."""

    frame_format = (RATE_HZ, 2, 2)
    front_end = LevelMeter()
    pack = SimpleNamespace(sample_rate_hz=SAMPLE_RATE_HZ)

    def __init__(self, clips: Sequence[ScriptedClip]) -> None:
        self.clips = list(clips)

    def estimate_energy_from_frames(self, frames: NDArray[np.uint8], prompt: str = "") -> FloatArray:
        return self.clips[int(frames[0, 0, 0])].estimated

    def read_clip(self, clip: VideoClip) -> SimpleNamespace:
        return SimpleNamespace(start_s=Fraction(0), duration_s=Fraction(len(self.of(clip.path).true)) / RATE_HZ)

    def of(self, path: Path | str) -> ScriptedClip:
        """The clip in a file named by its number."""
        return self.clips[int(Path(path).stem)]

    def frames_of(self, number: int) -> NDArray[np.uint8]:
        return self.clips[number].frames(number)


@dataclass(frozen=True)
class ScriptedSplit(Split):
    """A split of chosen scenes: first the visible ones, then those with silent motion, then those off screen."""

    counts: tuple[int, int, int] = (0, 0, 0)
    classes: tuple[str, ...] = ()

    def visible(self, clips: int) -> list[Scene]:
        return self._scenes(0, self.counts[0])

    def silent_motion(self, clips: int) -> list[Scene]:
        return self._scenes(self.counts[0], self.counts[1])

    def off_screen(self, clips: int) -> list[Scene]:
        return self._scenes(sum(self.counts[:2]), self.counts[2])

    def _scenes(self, first: int, count: int) -> list[Scene]:
        """Scenes whose seed is the number of their clip."""
        return [sample_scene(number, self.classes[number]) for number in range(first, first + count)]
