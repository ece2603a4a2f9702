"""How well a pack's sound follows the energy that was asked for, and whether it is the control that does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rewas_engine.control import Controls
from rewas_engine.energy import energy_agreement
from rewas_engine.mel import normalised
from rewas_engine.pipeline import ReWaS
from rewas_engine.training.world import Scene, render_sound, sample_scene

HELD_OUT_SEED = 900_000_000
"""First seed of scenes that no training draws."""


@dataclass(frozen=True)
class ControlFigures:
    """Agreement of requested and produced energy over held-out scenes, on mels and after the vocoder.

    correlations, maes_nats: one a scene, of the waveform's energy. mel_correlations: before the vocoder.
    uncontrolled_correlations: with the same noise and prompt, the adapter switched off. classes: of the scenes.
    """

    classes: tuple[str, ...]
    correlations: tuple[float, ...]
    mel_correlations: tuple[float, ...]
    maes_nats: tuple[float, ...]
    uncontrolled_correlations: tuple[float, ...]

    def summary(self) -> dict[str, float]:
        """Median and 10th percentile of each figure."""
        figures: dict[str, float] = {"scenes": len(self.correlations)}
        for name in ("correlations", "mel_correlations", "maes_nats", "uncontrolled_correlations"):
            values = getattr(self, name)
            figures[f"median_{name}"] = round(float(np.median(values)), 4)
            figures[f"tenth_percentile_{name}"] = round(float(np.percentile(values, 10)), 4)
        return figures


def held_out_scenes(count: int) -> list[Scene]:
    """Audible scenes that no pack was trained on."""
    scenes: list[Scene] = []
    seed = HELD_OUT_SEED
    while len(scenes) < count:
        scene = sample_scene(seed)
        if not scene.is_silent:
            scenes.append(scene)
        seed += 1
    return scenes


def measure_control(
    model: ReWaS, scenes: Sequence[Scene], *, on_scene: Callable[[int, int], object] | None = None
) -> ControlFigures:
    """Generate for each scene's own energy and caption, with the control and without it.

    on_scene: called with finished and total scenes.
    """
    front_end = model.front_end
    with_control, without = model.sampling_settings(), model.sampling_settings(control_strength=0.0)
    rows: list[tuple[float, float, float, float]] = []
    for seed, scene in enumerate(scenes):
        sound = normalised(render_sound(scene))
        requested = front_end.measure(sound)
        log_mel = model.sound.log_mel(scene.caption, Controls.following(requested), seed, with_control)
        uncontrolled = model.sound.log_mel(scene.caption, Controls.following(requested), seed, without)
        produced = front_end.measure(model.sound.waveform(log_mel, sound.size)).values
        mae_nats, correlation = energy_agreement(requested.values, produced)
        _, mel_correlation = energy_agreement(requested.values, _mel_energy(log_mel, requested.values.size))
        _, baseline = energy_agreement(requested.values, _mel_energy(uncontrolled, requested.values.size))
        rows.append((correlation or 0.0, mel_correlation or 0.0, mae_nats, baseline or 0.0))
        if on_scene is not None:
            on_scene(seed + 1, len(scenes))
    correlations, mel_correlations, maes_nats, baselines = zip(*rows, strict=True)
    return ControlFigures(
        tuple(scene.class_name for scene in scenes), correlations, mel_correlations, maes_nats, baselines
    )


def _mel_energy(log_mel: torch.Tensor, frames: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.asarray(log_mel[:frames].mean(dim=-1).cpu().numpy(), np.float32)
