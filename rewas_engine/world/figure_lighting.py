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
"""Smallest difference in brightness, 0 to 1, between a moving object and its backdrop, averaged over its area."""
_PLENTY = 0.28
_SIDE, _MOMENTS = 20, 5
_EVENT_S = 2.5
_LIGHTS = ((1.0, 0.0), (0.7, 0.0), (0.7, 0.3), (0.45, 0.0), (0.45, 0.55), (0.25, 0.0), (0.25, 0.75))
"""Lighting of the backdrop, dimmer or brighter, mildest first: factor and offset of its colours."""


def with_single_event(scene: Scene) -> Scene:
    """Replace a scene's events by one strong event, so that the lighting does not depend on the sound."""
    times_s = np.arange(4 * ENVELOPE_RATE_HZ) / ENVELOPE_RATE_HZ
    envelope = np.clip(1 - 2 * np.abs(times_s - _EVENT_S), 0, 1)
    return replace(scene, event_times_s=np.array([_EVENT_S]), event_strengths=np.ones(1), envelope=envelope)


def separate_from_backdrop(backdrop: Backdrop, shot: Shot, thing: Paint, aspect: float) -> Backdrop:
    """Light a backdrop so that a moving object stands out, changing it as little as possible.

    Args:
        backdrop: The backdrop.
        shot: Placement of the object.
        thing: Painter of the object, for a scene from `with_single_event`.
        aspect: Width over height of the view.
    """
    tone, moves = _tone_and_motion(shot, thing, aspect)
    if moves.sum() < 1e-3:
        return backdrop
    still = np.zeros(1)
    low, high = (float(colour @ LUMA) for colour in backdrop.colours)
    behind = low + (high - low) * backdrop.view(still, still, np.ones(1), (_SIDE, _SIDE), aspect)[0]
    differences = [_difference(tone, share * behind + added, moves) for share, added in _LIGHTS]
    enough = [number for number, difference in enumerate(differences) if difference >= LEAST_DIFFERENCE]
    share, added = _LIGHTS[enough[0] if enough else int(np.argmax(differences))]
    first, second = (np.float32(share) * colour + np.float32(added) for colour in backdrop.colours)
    return replace(backdrop, colours=(first, second))


def _difference(tone: FloatArray, behind: FloatArray, moves: FloatArray) -> float:
    return float((moves * np.minimum(np.abs(tone - behind), _PLENTY)).sum() / moves.sum())


def _tone_and_motion(shot: Shot, thing: Paint, aspect: float) -> tuple[FloatArray, FloatArray]:
    """Brightness of an object at each pixel, and how much its coverage changes there: [H, W], [H, W]."""
    times_s = np.tile(_EVENT_S + np.linspace(-0.2, 0.16, _MOMENTS), 2)
    pixels = np.zeros((2 * _MOMENTS, _SIDE, _SIDE, 1), np.float32)
    pixels[_MOMENTS:] = 1.0
    still = np.zeros(2 * _MOMENTS)
    canvas = Canvas(pixels, still, still, np.ones(2 * _MOMENTS), aspect)
    canvas.place(*shot.place, shot.scale, shot.mirrored)
    thing(canvas, times_s)
    on_black, on_white = canvas.pixels[:_MOMENTS, ..., 0], canvas.pixels[_MOMENTS:, ..., 0]
    cover = 1 - (on_white - on_black)
    return on_black.sum(axis=0) / np.maximum(cover.sum(axis=0), 0.05), cover.std(axis=0)
