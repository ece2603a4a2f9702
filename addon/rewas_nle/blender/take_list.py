# SPDX-License-Identifier: GPL-3.0-or-later
"""The takes of a strip, as it stores them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import bpy

from ..timeline.takes import Stem, StoredTake, Take, number_takes, store_take
from . import compat

_CACHED_RECORDS = 1024


def read_takes(strip: Any) -> list[Take]:
    """Return the takes of a strip, oldest first."""
    return [read_take(item) for item in strip.rewas.takes]


def stored_takes(strip: Any) -> tuple[StoredTake, ...]:
    """Return the takes of a strip, oldest first, without reading their records."""
    return tuple(
        StoredTake(item.uid, item.record, item.number, item.name, item.is_favourite, _stems(item))
        for item in strip.rewas.takes
    )


def read_take(item: Any) -> Take:
    """Return a take of a strip's list."""
    return replace(
        _read_record(item.record),
        number=item.number,
        name=item.name,
        is_favourite=item.is_favourite,
        stems=_stems(item),
    )


def _stems(item: Any) -> tuple[Stem, ...]:
    return tuple(
        Stem(stem.name, absolute_path(stem.path), stem.sample_rate_hz, stem.channels, stem.samples)
        for stem in item.stems
    )


@lru_cache(maxsize=_CACHED_RECORDS)
def _read_record(record: str) -> Take:
    return Take.from_json(record)


def find_take(strip: Any, take_id: str) -> Take | None:
    """Return the take with this identifier."""
    return next((read_take(item) for item in strip.rewas.takes if item.uid == take_id), None)


def active_take(strip: Any) -> Take | None:
    """Return the take that is on the timeline, or should be."""
    item = active_item(strip)
    return read_take(item) if item is not None else None


def active_item(strip: Any) -> Any:
    """Return the stored take that is on the timeline, or None."""
    settings = strip.rewas
    index = settings.active_take_index
    return settings.takes[index] if 0 <= index < len(settings.takes) else None


def add_takes(strip: Any, takes: Sequence[Take]) -> tuple[Take, ...]:
    """Append takes to a list and return them with their numbers. A take that is already there does not change."""
    settings = strip.rewas
    held = {item.uid for item in settings.takes}
    new = [take for take in takes if take.id not in held]
    for take in number_takes(new, settings.last_take_number):
        _write_take(settings.takes.add(), store_take(take))
        settings.last_take_number = take.number
    added = (find_take(strip, take.id) for take in takes)
    return tuple(take for take in added if take is not None)


def _write_take(item: Any, take: StoredTake) -> None:
    item.name = take.name
    item.is_favourite = take.is_favourite
    item.uid = take.id
    item.number = take.number
    item.record = take.record
    for stem in take.stems:
        stored = item.stems.add()
        stored.name = stem.role
        stored.path = stored_path(stem.path)
        stored.sample_rate_hz = stem.sample_rate_hz
        stored.channels = stem.channels
        stored.samples = stem.samples


def restore_takes(strip: Any, takes: Sequence[StoredTake], last_number: int, active: str) -> None:
    """Give a strip a list of takes, with their numbers, and its active take."""
    settings = strip.rewas
    settings.takes.clear()
    for take in takes:
        _write_take(settings.takes.add(), take)
    settings.last_take_number = max([last_number, *(take.number for take in takes)])
    settings.active_take_index = next((index for index, take in enumerate(takes) if take.id == active), -1)


def remove_take(strip: Any, take_id: str) -> None:
    """Remove a take from the list. If it was active, the next one becomes active, or else the last."""
    settings = strip.rewas
    index = take_index(strip, take_id)
    active = settings.active_take_index
    settings.takes.remove(index)
    settings.active_take_index = min(active - (index < active), len(settings.takes) - 1)


def take_index(strip: Any, take_id: str) -> int:
    """Return where a take is in the list. Raises KeyError."""
    for index, item in enumerate(strip.rewas.takes):
        if item.uid == take_id:
            return index
    raise KeyError(take_id)


def stem_items() -> Iterator[Any]:
    """Yield the stored stem of every take of every strip in the file."""
    for scene in bpy.data.scenes:
        if scene.sequence_editor is not None:
            for strip in compat.all_strips_of(scene.sequence_editor):
                for take in strip.rewas.takes:
                    yield from take.stems


def used_paths() -> set[Path]:
    """Return the files that takes and sounds of the open file use. Copies of a strip share those of their takes."""
    paths = {absolute_path(stem.path) for stem in stem_items()}
    return paths | {absolute_path(sound.filepath) for sound in bpy.data.sounds if sound.users}


def change_paths(change: Callable[[Path], Path]) -> None:
    """Change the paths of all stems of all takes, for example after moving their files."""
    for stem in stem_items():
        stem.path = stored_path(change(absolute_path(stem.path)))


def absolute_path(stored: str) -> Path:
    """Return the absolute path of a stored one, which may be relative to the .blend file."""
    return Path(bpy.path.abspath(stored)).absolute()


def stored_path(path: Path) -> str:
    """Return the path as Blender would store it: relative to a saved .blend if the user prefers relative paths."""
    if bpy.data.filepath and bpy.context.preferences.filepaths.use_relative_paths:
        try:
            return bpy.path.relpath(str(path))
        except ValueError:  # a different drive on Windows
            pass
    return str(path)
