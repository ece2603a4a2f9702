"""Lighting that separates a moving object from its backdrop, as on a film set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rewas_engine.world.backdrops import Backdrop
from rewas_engine.world.camera import Shot
from rewas_engine.world.classes import ENVELOPE_RATE_HZ
from rewas_engine.world.drawing import LUMA, Canvas
from rewas_engine.world.painting import FloatArray, Paint
from rewas_engine.world.scene import Scene

LEAST_DIFFERENCE = 0.19
"""Smallest difference in brightness between what moves and what is behind it, averaged over the moving area; 1 is
white.
"""
_PLENTY = 0.28
_SIDE, _MOMENTS = 20, 5
_REHEARSED_S = 2.5
_LIGHTS = ((1.0, 0.0), (0.7, 0.0), (0.7, 0.3), (0.45, 0.0), (0.45, 0.55), (0.25, 0.0), (0.25, 0.75))
"""Dimmer and brighter lights behind an object, mildest first: factor and offset of the backdrop's colours."""


def rehearse(scene: Scene) -> Scene:
    """The scene with one strong event instead of its own, so that the lighting does not depend on the sound."""
    times_s = np.arange(4 * ENVELOPE_RATE_HZ) / ENVELOPE_RATE_HZ
    envelope = np.clip(1 - 2 * np.abs(times_s - _REHEARSED_S), 0, 1)
    return replace(scene, event_times_s=np.array([_REHEARSED_S]), event_strengths=np.ones(1), envelope=envelope)


def separate_from_backdrop(backdrop: Backdrop, shot: Shot, thing: Paint, aspect: float) -> Backdrop:
    """The backdrop in the mildest light that separates the motion of a rehearsed object from it."""
    tone, moves = _tone_and_motion(shot, thing, aspect)
    if moves.sum() < 1e-3:
        return backdrop
    still = np.zeros(1)
    low, high = (float(colour @ LUMA) for colour in backdrop.colours)
    behind = low + (high - low) * backdrop.view(still, still, np.ones(1), (_SIDE, _SIDE), aspect)[0]
    told = [_differs(tone, share * behind + added, moves) for share, added in _LIGHTS]
    enough = [number for number, difference in enumerate(told) if difference >= LEAST_DIFFERENCE]
    share, added = _LIGHTS[enough[0] if enough else int(np.argmax(told))]
    first, second = (np.float32(share) * colour + np.float32(added) for colour in backdrop.colours)
    return replace(backdrop, colours=(first, second))


def _differs(tone: FloatArray, behind: FloatArray, moves: FloatArray) -> float:
    return float((moves * np.minimum(np.abs(tone - behind), _PLENTY)).sum() / moves.sum())


def _tone_and_motion(shot: Shot, thing: Paint, aspect: float) -> tuple[FloatArray, FloatArray]:
    """Brightness of an object and how much it changes at each pixel: [H, W], [H, W]."""
    times_s = np.tile(_REHEARSED_S + np.linspace(-0.2, 0.16, _MOMENTS), 2)
    pixels = np.zeros((2 * _MOMENTS, _SIDE, _SIDE, 1), np.float32)
    pixels[_MOMENTS:] = 1.0
    still = np.zeros(2 * _MOMENTS)
    canvas = Canvas(pixels, still, still, np.ones(2 * _MOMENTS), aspect)
    canvas.place(*shot.place, shot.scale, shot.mirrored)
    thing(canvas, times_s)
    on_black, on_white = canvas.pixels[:_MOMENTS, ..., 0], canvas.pixels[_MOMENTS:, ..., 0]
    cover = 1 - (on_white - on_black)
    return on_black.sum(axis=0) / np.maximum(cover.sum(axis=0), 0.05), cover.std(axis=0)
