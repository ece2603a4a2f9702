"""The sound classes of the world and their excitation: separate strikes or a continuous envelope."""

from __future__ import annotations

SAMPLE_RATE_HZ = 16_000
CLIP_DURATION_S = 5.12
FRAME_RATE = 25
FRAME_SIZE = 64
ENVELOPE_RATE_HZ = 100

STRUCK_CLASSES: tuple[str, ...] = (
    "ball_bounce",
    "wood_knock",
    "metal_hit",
    "glass_clink",
    "gravel_steps",
    "drum_hit",
    "hand_clap",
    "typing",
    "bell",
    "clock_tick",
    "wood_floor_steps",
    "snow_steps",
    "door",
    "hammer",
    "gunshot",
)
"""Classes excited by strikes. A continuous envelope becomes a dense roll of strikes."""

SUSTAINED_CLASSES: tuple[str, ...] = (
    "dog_bark",
    "rain",
    "wind",
    "sea_waves",
    "fire",
    "engine",
    "helicopter",
    "alarm_beep",
    "bird_song",
    "stream",
    "car_passing",
    "applause",
)
"""Classes excited by an envelope. Separate events become pulses of the envelope."""

CLASS_NAMES: tuple[str, ...] = STRUCK_CLASSES + SUSTAINED_CLASSES
"""Classes with a drawn and a staged picture."""

UNSEEN_STRUCK_CLASSES: tuple[str, ...] = (
    "heel_steps",
    "keys_jingle",
    "sword_clash",
    "glass_break",
    "water_splash",
    "punch",
    "thunder",
    "explosion",
    "horse_hooves",
    "water_drip",
    "body_fall",
    "heartbeat",
    "coins",
    "bow_and_arrow",
    "lift_chime",
    "chains",
)
"""Struck classes that have a sound but no picture."""

UNSEEN_SUSTAINED_CLASSES: tuple[str, ...] = (
    "chatter",
    "crowd_cheer",
    "baby_cry",
    "cat_meow",
    "crow",
    "frog",
    "crickets",
    "phone_ring",
    "siren",
    "train",
    "drill",
    "hand_saw",
    "shaver",
    "vacuum_cleaner",
    "steam",
    "zipper",
    "chair_creak",
    "cloth_rustle",
    "paper_crumple",
    "whoosh",
    "pouring",
    "bubbles",
)
"""Sustained classes that have a sound but no picture."""

ALL_CLASSES: tuple[str, ...] = CLASS_NAMES + UNSEEN_STRUCK_CLASSES + UNSEEN_SUSTAINED_CLASSES
"""Every class. The order is part of the seeds of scenes: append, and never reorder."""


def is_struck(class_name: str) -> bool:
    """Whether strikes excite a class; otherwise, an envelope does."""
    return class_name in STRUCK_CLASSES or class_name in UNSEEN_STRUCK_CLASSES


def has_picture(class_name: str) -> bool:
    """Whether a class can be drawn and staged."""
    return class_name in CLASS_NAMES


AMBIENCE_CLASSES: tuple[str, ...] = (
    "rain",
    "wind",
    "sea_waves",
    "fire",
    "engine",
    "helicopter",
    "bird_song",
    "stream",
    "car_passing",
    "applause",
)
"""Sustained classes that can be the quiet background of another sound."""
