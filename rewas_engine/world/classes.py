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
