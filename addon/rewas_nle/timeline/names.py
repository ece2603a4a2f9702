# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of sound strips, their files and their roles."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection

MAX_STRIP_NAME_BYTES = 63
"""Blender truncates strip names to this many bytes of UTF-8."""
_MAX_FILE_STEM_CHARACTERS = 60
_MAX_ROLE_CHARACTERS = 32
_RESERVED_ROLES = ("primary", "mix", "ambience")


def sound_strip_name(clip_name: str, role: str) -> str:
    """Return the name of a stem's strip: "ball.mp4 primary". A long clip name is shortened."""
    ending = f" {role}"
    room = MAX_STRIP_NAME_BYTES - len(ending.encode())
    return clip_name.encode()[: max(room, 0)].decode(errors="ignore").rstrip() + ending


def sound_file_name(clip_name: str, role: str, take: int, job_id: str) -> str:
    """Return a file name that is safe on every file system: "ball-mp4_primary_take2_3f9c2a1b.wav"."""
    return f"{_sanitise(clip_name)}_{_sanitise(role)}_take{take}_{_sanitise(job_id)[:8]}.wav"


def unique_name(name: str, exists: Callable[[str], bool]) -> str:
    """Return the name, or the first of name-2, name-3, … that does not exist."""
    stem, dot, extension = name.rpartition(".")
    candidate, number = name, 1
    while exists(candidate):
        number += 1
        candidate = f"{stem}-{number}{dot}{extension}"
    return candidate


def layer_role(name: str) -> str:
    """Return a name as the role of a layer: lower-case letters, digits, hyphens and underscores, a letter first."""
    plain = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    role = re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-_")[: _MAX_ROLE_CHARACTERS - 6].rstrip("-_")
    if not role or not role[0].isalpha():
        role = f"layer-{role}".rstrip("-")
    return f"{role}-2" if role in _RESERVED_ROLES else role


def unused_layer_role(taken: Collection[str]) -> str:
    """Return "layer-1", or the first of layer-2, layer-3, … that is not taken."""
    number = 1
    while f"layer-{number}" in taken:
        number += 1
    return f"layer-{number}"


def _sanitise(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", letters).strip("-")[:_MAX_FILE_STEM_CHARACTERS] or "clip"
