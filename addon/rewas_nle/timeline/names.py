# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of sound strips and of the files behind them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

MAX_STRIP_NAME_BYTES = 63
"""Blender cuts strip names off after this many bytes of UTF-8."""
_MAX_FILE_STEM_CHARACTERS = 60


def sound_strip_name(clip_name: str, role: str, take: int) -> str:
    """The name of a stem's strip: "ball.mp4 primary take 2". The clip's part is shortened where it must be."""
    ending = f" {role} take {take}"
    room = MAX_STRIP_NAME_BYTES - len(ending.encode())
    return clip_name.encode()[: max(room, 0)].decode(errors="ignore").rstrip() + ending


def sound_file_name(clip_name: str, role: str, take: int, job_id: str) -> str:
    """The name of a stem's file, safe on every file system: "ball-mp4_primary_take2_3f9c2a1b.wav"."""
    return f"{_plain(clip_name)}_{_plain(role)}_take{take}_{_plain(job_id)[:8]}.wav"


def unused_name(name: str, exists: Callable[[str], bool]) -> str:
    """The name itself, or the first of name-2, name-3, … that does not exist: nothing is ever overwritten."""
    stem, dot, extension = name.rpartition(".")
    candidate, number = name, 1
    while exists(candidate):
        number += 1
        candidate = f"{stem}-{number}{dot}{extension}"
    return candidate


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", letters).strip("-")[:_MAX_FILE_STEM_CHARACTERS] or "clip"
