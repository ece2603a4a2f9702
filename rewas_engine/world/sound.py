"""Render a scene as sound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewas_engine.world.classes import SAMPLE_RATE_HZ, is_struck
from rewas_engine.world.grains import Grains
from rewas_engine.world.scene import ROOM_STREAM, Scene
from rewas_engine.world.struck_sounds import render_strikes
from rewas_engine.world.sustained_sounds import render_sustained
from rewas_engine.world.synthesis import FloatArray, add_reverb, apply_distance, remove_rumble

_INAUDIBLE = 3e-6
"""Amplitudes below -110 dB become true silence, so that the log-mel reaches its floor in the gaps."""


def render_sound(scene: Scene, grains: Grains | None = None) -> NDArray[np.float32]:
    """Render the scene's sound: [samples] float32, mono, 16 kHz, peak at most 1. Gaps are digital silence.

    With grains, some scenes use recordings instead of synthesis.
    """
    primary, *others = render_layers(scene, grains).values()
    return sum(others, start=primary)


def render_layers(scene: Scene, grains: Grains | None = None) -> dict[str, NDArray[np.float32]]:
    """The layers of `render_sound`: "primary" and, if the scene has one, "ambience"; their sum is exactly the mix.

    Each is [samples] float32, mono, 16 kHz.
    """
    layers = {"primary": _audible(_render_layer(scene, grains))}
    if scene.ambience is not None:
        behind = _render_layer(scene.ambience, grains)
        loudest = _loudest(layers["primary"]) * 10 ** (-scene.ambience.below_db / 20)
        layers["ambience"] = _audible(behind * (loudest / max(_loudest(behind), 1e-9)))
    peak = float(np.abs(sum(layers.values())).max())
    # Slightly more than the peak, because rounding to float32 can raise the sum.
    scale = 1.0 / (peak * (1 + 1e-6)) if peak > 1.0 else 1.0
    return {name: (layer * scale).astype(np.float32) for name, layer in layers.items()}


def _render_layer(scene: Scene, grains: Grains | None) -> FloatArray:
    """Render one layer with its distance and room: [samples]."""
    samples = round(scene.duration_s * SAMPLE_RATE_HZ)
    if scene.is_silent:
        return np.zeros(samples)
    render = render_strikes if is_struck(scene.class_name) else render_sustained
    sound = apply_distance(remove_rumble(render(scene, samples, grains)), scene.distance)
    if scene.reverb_s > 0:
        rng = scene.random(ROOM_STREAM)
        sound = add_reverb(rng, sound, scene.reverb_s, wet=float(rng.uniform(0.1, 0.4)))
    return sound


def _audible(sound: FloatArray) -> FloatArray:
    return np.where(np.abs(sound) < _INAUDIBLE, 0.0, sound)


def _loudest(sound: FloatArray) -> float:
    """Highest RMS level over 64 ms."""
    stretch = min(sound.size, 1024)
    power = np.square(sound[: sound.size - sound.size % stretch]).reshape(-1, stretch).mean(axis=1)
    return float(np.sqrt(power.max()))
