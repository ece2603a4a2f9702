"""A scene made audible."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewas_engine.training.world.classes import SAMPLE_RATE_HZ, STRUCK_CLASSES
from rewas_engine.training.world.scene import Scene
from rewas_engine.training.world.struck_sounds import render_strikes
from rewas_engine.training.world.sustained_sounds import render_sustained
from rewas_engine.training.world.synthesis import far_away, in_room, without_rumble

_ROOM_STREAM = 3
_INAUDIBLE = 3e-6
"""Amplitudes below -110 dB are written as true silence: the log-mel's floor must be reached in the gaps."""


def render_sound(scene: Scene) -> NDArray[np.float32]:
    """The scene's sound: [samples] float32, mono, 16 kHz, peak at most 1. Gaps are digital silence."""
    samples = round(scene.duration_s * SAMPLE_RATE_HZ)
    if scene.is_silent:
        return np.zeros(samples, dtype=np.float32)
    render = render_strikes if scene.class_name in STRUCK_CLASSES else render_sustained
    sound = far_away(without_rumble(render(scene, samples)), scene.distance)
    if scene.reverb_s > 0:
        rng = scene.random(_ROOM_STREAM)
        sound = in_room(rng, sound, scene.reverb_s, wet=float(rng.uniform(0.1, 0.4)))
    sound = np.where(np.abs(sound) < _INAUDIBLE, 0.0, sound)
    return (sound / max(1.0, float(np.abs(sound).max()))).astype(np.float32)
