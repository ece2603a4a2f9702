"""Kinds of real recordings, and the classes of the world that they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rewas_engine.world.classes import CLASS_NAMES
from rewas_engine.world.vocabulary import captions

_KINDS_OF_CLASSES: Mapping[str, tuple[str, ...]] = {
    "wood_knock": ("knock on wood", "dull wood hit"),
    "metal_hit": ("metal hit", "light metal hit", "tool on metal"),
    "glass_clink": ("glass clink",),
    "gravel_steps": ("gravel",),
    "drum_hit": ("tom", "bass drum", "snare drum"),
    "wood_floor_steps": ("footsteps on hard floor",),
    "snow_steps": ("footsteps in snow",),
    "door": ("door slam", "door closing"),
    "hammer": ("hammering",),
    "gunshot": ("gunshot",),
    "dog_bark": ("dog bark", "small dog"),
    "rain": ("rain", "heavy rain"),
    "wind": ("wind", "gust"),
    "fire": ("fire", "large fire"),
    "engine": ("motor", "car idling"),
    "helicopter": ("helicopter", "propeller"),
    "alarm_beep": ("beep",),
    "bird_song": ("bird chirp", "birds"),
    "stream": ("stream",),
    "car_passing": ("car passing", "traffic"),
    "glass_break": ("glass breaking",),
    "punch": ("body hit",),
    "horse_hooves": ("horse galloping",),
    "bow_and_arrow": ("arrow shot",),
    "lift_chime": ("ding",),
    "phone_ring": ("telephone",),
    "steam": ("steam hiss",),
    "chair_creak": ("wood creaking",),
    "cloth_rustle": ("cloth rustling",),
    "whoosh": ("deep whoosh", "throw whoosh", "sword swing"),
    "pouring": ("water pouring",),
}
"""Classes of the world, and the kinds of the free recordings in packages that belong to them."""


def class_of_kind(kind: str, classes: Sequence[str] = CLASS_NAMES) -> str | None:
    """Return the class, one of `classes`, that a kind of recording belongs to; None if there is none."""
    plain = kind.replace("_", " ").strip().lower()
    for name in classes:
        if plain in (name.replace("_", " "), *_KINDS_OF_CLASSES.get(name, ()), *captions(name)):
            return name
    return None
