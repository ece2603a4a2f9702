# SPDX-License-Identifier: GPL-3.0-or-later
"""Adds the takes that a job has generated to their strip."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bpy

from ..core.messages import Problem
from ..timeline.takes import Take
from . import compat
from .stem_strips import PlacementError, remove_stems, set_role_removed, show_take
from .strip_reading import media_path
from .take_list import active_take, add_takes, read_take, remove_take, take_index


@dataclass(frozen=True)
class StripAddress:
    """How a strip is found again: by its identifier, or by scene, name and media if undo has removed the identifier."""

    uid: str
    scene_name: str
    strip_name: str
    media: str


@dataclass(frozen=True)
class PlacementResult:
    """Result of placing takes: one line for the panel, and the problem if there was one."""

    note: str
    problem: Problem | None = None


def ensure_uid(scene: Any, strip: Any) -> str:
    """Return the identifier of a strip, which gets one if it has none."""
    settings = strip.rewas
    if not settings.uid:
        settings.uid = uuid.uuid4().hex
        settings.uid_scene, settings.uid_name = scene.name, strip.name
    return str(settings.uid)


def strip_uid(scene: Any, strip_name: str) -> str:
    """Return the identifier of the strip with this name, which gets one if it has none."""
    return ensure_uid(scene, compat.all_strips_of(scene.sequence_editor)[strip_name])


def find_strip(address: StripAddress) -> tuple[Any, Any] | None:
    """Return the scene and the strip at an address, or None."""
    scenes = [scene for scene in bpy.data.scenes if scene.sequence_editor is not None]
    home = next((scene for scene in scenes if scene.name == address.scene_name), None)
    named = compat.all_strips_of(home.sequence_editor).get(address.strip_name) if home is not None else None
    if named is not None and _remembers(named, address):
        return home, named
    scenes.sort(key=lambda scene: scene.name != address.scene_name)
    found = [
        (scene, strip)
        for scene in scenes
        for strip in compat.all_strips_of(scene.sequence_editor)
        if address.uid and strip.rewas.uid == address.uid
    ]
    # Copies that do not have their own identifier yet come after the strip itself.
    found.sort(key=lambda item: (item[1].rewas.uid_scene, item[1].rewas.uid_name) != (item[0].name, item[1].name))
    if found:
        return found[0]
    for strip in compat.all_strips_of(home.sequence_editor) if home is not None else ():
        if strip.name == address.strip_name and not strip.rewas.uid and _shows(strip, address.media):
            strip.rewas.uid = address.uid
            strip.rewas.uid_scene, strip.rewas.uid_name = home.name, strip.name
            return home, strip
    return None


def _remembers(strip: Any, address: StripAddress) -> bool:
    settings = strip.rewas
    known = (settings.uid, settings.uid_scene, settings.uid_name)
    return bool(address.uid) and known == (address.uid, address.scene_name, address.strip_name)


def _shows(strip: Any, media: str) -> bool:
    return strip.type != "MOVIE" or media_path(strip) == media


def store_takes(address: StripAddress, takes: Sequence[Take]) -> None:
    """Add takes to the list of their strip, if it is found. The timeline does not change."""
    found = find_strip(address)
    if found is not None:
        ensure_uid(*found)
        add_takes(found[1], takes)


def place_takes(address: StripAddress, takes: Sequence[Take]) -> PlacementResult:
    """Add takes, best first, to the list of their strip and put the first one on the timeline.

    If it cannot be put there, the takes are still in the list. The selection and the active strip do not change.
    """
    files = ", ".join(stem.path.name for take in takes for stem in take.stems)
    folder = takes[0].stems[0].path.parent
    found = find_strip(address)
    if found is None:
        what = f'The strip "{address.strip_name}" was deleted while its sound was being generated.'
        remedy = f"To use the sound, add its files yourself. They are in {folder} ({files})."
        return PlacementResult("Not placed", Problem(what, remedy))
    scene, picture = found
    ensure_uid(scene, picture)
    added = add_takes(picture, takes)
    for role in added[0].roles:
        set_role_removed(picture, role, is_removed=False)
    try:
        stems = show_take(scene, picture, added[0])
    except PlacementError as error:
        remedy = f"{error.remedy} The sound is in the strip's list of takes, and its files are in {folder} ({files})."
        return PlacementResult("Not placed", Problem(error.what, remedy))
    picture.rewas.active_take_index = take_index(picture, added[0].id)
    return PlacementResult(_note(scene, picture, added, stems))


def choose_take(scene: Any, picture: Any, take_id: str) -> None:
    """Put another take of a strip on the timeline. Raises PlacementError, and KeyError if there is no such take."""
    index = take_index(picture, take_id)
    take = read_take(picture.rewas.takes[index])
    show_take(scene, picture, take)
    picture.rewas.active_take_index = index


def delete_take(scene: Any, picture: Any, take_id: str) -> Take:
    """Remove a take from the list of a strip and return it. Its files stay: copies of the strip may share them.

    If it was on the timeline, the take that takes its place in the list is put there; with the last take, the sound is
    removed. Raises PlacementError if the other take cannot be put there, and KeyError if there is no such take.
    """
    take = read_take(picture.rewas.takes[take_index(picture, take_id)])
    was_active = picture.rewas.active_take_index == take_index(picture, take_id)
    remove_take(picture, take_id)
    if was_active:
        next_take = active_take(picture)
        if next_take is None:
            remove_stems(scene, picture)
        else:
            show_take(scene, picture, next_take)
    return take


def _note(scene: Any, picture: Any, takes: Sequence[Take], stems: dict[str, Any]) -> str:
    holder = compat.holder_of(scene.sequence_editor, picture)
    channels = ", ".join(dict.fromkeys(holder.channels[strip.channel].name for strip in stems.values()))
    if any(strip.rewas.stem.is_hidden for strip in stems.values()):
        return f"Placed on {channels}, muted: the strip no longer shows this part of its media"
    note = f"{takes[0].label} is on {channels}"
    if len(takes) > 1:
        note += f"; {takes[1].label} to {takes[-1].label}" if len(takes) > 2 else f"; {takes[1].label}"
        note += " are in the list of takes" if len(takes) > 2 else " is in the list of takes"
    return note
