"""A synthetic world of sound sources for training the starter pack: procedural, seeded and free of rights.

A scene defines what happens and when. It is rendered as sound, video and caption, which agree with each other.
"""

from rewas_engine.world.classes import (
    ALL_CLASSES,
    AMBIENCE_CLASSES,
    CLASS_NAMES,
    CLIP_DURATION_S,
    ENVELOPE_RATE_HZ,
    FRAME_RATE,
    FRAME_SIZE,
    SAMPLE_RATE_HZ,
    STRUCK_CLASSES,
    SUSTAINED_CLASSES,
    UNSEEN_STRUCK_CLASSES,
    UNSEEN_SUSTAINED_CLASSES,
    has_picture,
    is_struck,
)
from rewas_engine.world.excitation import ENVELOPE_PATTERNS, EVENT_PATTERNS, PATTERNS
from rewas_engine.world.scene import Scene, sample_scene
from rewas_engine.world.sound import render_layers, render_sound
from rewas_engine.world.video import render_brightness, render_video
from rewas_engine.world.vocabulary import captions, held_out_captions

__all__ = [
    "ALL_CLASSES",
    "AMBIENCE_CLASSES",
    "CLASS_NAMES",
    "CLIP_DURATION_S",
    "ENVELOPE_PATTERNS",
    "ENVELOPE_RATE_HZ",
    "EVENT_PATTERNS",
    "FRAME_RATE",
    "FRAME_SIZE",
    "PATTERNS",
    "SAMPLE_RATE_HZ",
    "STRUCK_CLASSES",
    "SUSTAINED_CLASSES",
    "UNSEEN_STRUCK_CLASSES",
    "UNSEEN_SUSTAINED_CLASSES",
    "Scene",
    "captions",
    "has_picture",
    "held_out_captions",
    "is_struck",
    "render_brightness",
    "render_layers",
    "render_sound",
    "render_video",
    "sample_scene",
]
