"""Benches with known figures: clips of given mels and sounds, and a judge with scripted results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine import ReWaS, Sampling
from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.bench import Bench, BenchClip, Watch
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.judge import Judge
from rewas_engine.evaluation.judge_network import JudgeNetwork
from rewas_engine.evaluation.sound_store import Request
from rewas_engine.world import CLASS_NAMES, Scene, sample_scene

BINS = 64
STRIKES_S = np.array([0.5, 1.0, 1.5, 2.0])
CLICKS_SAMPLES = 40_000
SILENT = np.zeros(CLICKS_SAMPLES, np.float32)


class ScriptedSource:
    """A source that makes log-mels and waveforms with given functions."""

    has_vocoder = True
    clips_at_once = 64

    def __init__(
        self,
        generate: Callable[[Request], NDArray[np.float32]],
        vocode: Callable[[NDArray[np.float32]], list[FloatArray]] | None = None,
    ) -> None:
        self._generate, self._vocode = generate, vocode

    def generate(self, request: Request, check: Callable[[], None]) -> NDArray[np.float32]:
        return self._generate(request)

    def log_mels(self, made: NDArray[np.float32]) -> NDArray[np.float32]:
        return made

    def waveforms(self, made: NDArray[np.float32], on_sound: Callable[[int, int], object]) -> list[FloatArray]:
        assert self._vocode is not None
        return self._vocode(made)


class ScriptedJudge(Judge):
    """A judge that returns the class that was set for the most similar log-mel."""

    def __init__(self, classes: tuple[str, ...] = CLASS_NAMES) -> None:
        super().__init__(JudgeNetwork(classes=classes), {})
        self._known: list[tuple[FloatArray, str]] = []

    def set_classes(self, log_mels: NDArray[np.float32], names: Sequence[str]) -> None:
        self._known += zip(log_mels, names, strict=True)

    def classify(self, log_mels: torch.Tensor) -> NDArray[np.float32]:
        probabilities = np.zeros((len(log_mels), len(self.classes)), np.float32)
        for row, log_mel in enumerate(log_mels.numpy()):
            distances = [float(np.abs(known - log_mel).mean()) for known, _ in self._known]
            probabilities[row, self.classes.index(self._known[int(np.argmin(distances))][1])] = 1
        return probabilities


def make_clip(
    class_name: str, log_mel: FloatArray, sound: FloatArray = SILENT, scene: Scene | None = None
) -> BenchClip:
    scene = scene or sample_scene(0, class_name)
    return BenchClip(scene, sound, log_mel, log_mel.mean(axis=-1), class_name, f"paraphrase of {class_name}", 0)


def make_bench(model: ReWaS, clips: Sequence[BenchClip], judge: Judge | None = None, **known: object) -> Bench:
    """A bench with chosen results of some conditions or methods."""
    bench = Bench(
        model,
        judge or ScriptedJudge(),
        clips,
        model.sampling_settings(Sampling(num_inference_steps=1, guidance_scale=1.0)),
        Watch(),
    )
    vars(bench).update(known)
    return bench


def mels_of(energies: Sequence[FloatArray]) -> NDArray[np.float32]:
    """Log-mels [N, T, bins] of energies [T] each, with more energy in the high bins."""
    tilt = np.linspace(-1, 1, BINS, dtype=np.float32)
    return np.stack([energy[:, None] + tilt for energy in energies])


def clicks(times_s: NDArray[np.float64], gains: Sequence[float] | None = None) -> FloatArray:
    """A sound of 2.5 s with a short click at each time, all equally loud without gains."""
    sound = SILENT.copy()
    for time_s, gain in zip(times_s, gains or [1.0] * len(times_s), strict=True):
        start = round(float(time_s) * 16_000)
        sound[start : start + 320] = gain * np.sin(np.arange(320)) * np.linspace(1, 0, 320)
    return sound


def strike_clip(class_name: str = "drum_hit") -> BenchClip:
    """A clip with strikes at STRIKES_S, each softer than the one before."""
    scene = replace(
        sample_scene(0, class_name),
        pattern="regular",
        event_times_s=STRIKES_S,
        event_strengths=np.array([1.0, 0.8, 0.6, 0.4]),
        floor=0.0,
    )
    return make_clip(class_name, np.full((250, BINS), -5.0, np.float32), clicks(STRIKES_S), scene)


def figures_of(section: Section) -> dict[str, Figure]:
    return {figure.key: figure for figure in section.figures}


def values_of(section: Section) -> dict[str, float | None]:
    return {figure.key: figure.value for figure in section.figures}
