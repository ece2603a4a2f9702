"""A synthetic world of sounding things, on which the starter pack is trained: procedural, seeded, free of rights.

A scene says what happens and when; it is rendered as sound, as moving picture and as a caption, which agree.
"""

from rewas_engine.training.world.classes import (
    CLASS_NAMES,
    CLIP_DURATION_S,
    ENVELOPE_RATE_HZ,
    FRAME_RATE,
    FRAME_SIZE,
    SAMPLE_RATE_HZ,
    STRUCK_CLASSES,
    SUSTAINED_CLASSES,
)
from rewas_engine.training.world.dataset import DatasetSettings, Shard, read_settings, read_shard, write_dataset
from rewas_engine.training.world.picture import render_picture
from rewas_engine.training.world.scene import ENVELOPE_PATTERNS, EVENT_PATTERNS, PATTERNS, Scene, sample_scene
from rewas_engine.training.world.sound import render_sound
from rewas_engine.training.world.vocabulary import captions, held_out_captions

__all__ = [
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
    "DatasetSettings",
    "Scene",
    "Shard",
    "captions",
    "held_out_captions",
    "read_settings",
    "read_shard",
    "render_picture",
    "render_sound",
    "sample_scene",
    "write_dataset",
]
