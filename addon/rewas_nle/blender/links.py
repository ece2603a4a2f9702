# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps every sound with its picture while the user edits.

Something has changed if Blender calls a handler or has run another operator: splitting a strip calls no handler. The
timer then scans the timelines, a few milliseconds at a time. No reference to a strip is kept from one slice to the
next, because Blender may free a strip at any time.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any

import bpy

from ..core.messages import Problem
from ..timeline.follow import Position, SoundPosition
from ..timeline.identity import Picture, Place, Sound
from ..timeline.linking import ChangedError, Linker
from ..timeline.takes import Take
from . import compat, connecting
from .energy_curves import follow_pictures
from .stem_strips import (
    PlacementError,
    copy_stem,
    create_stem,
    find_free_channel,
    free_stem,
    move_stem,
    set_role_removed,
    show_take,
    shown_roles,
    write_positions,
)
from .take_list import active_item, active_take

_STRIPS_IN_A_SLICE = 25
_LONGEST_PAUSE_S = 3.0
_KEPT_STRIPS = 8192
_MOST_INTERRUPTIONS = 25

problems: dict[str, Problem] = {}
"""Why the sound of a strip could not be put on the timeline, by the strip's identifier."""

_revision = 0
_last_operator = 0
_last_look_s = 0.0
_scanned_revision = -1
_scan: Iterator[None] | None = None
_holds = 0


def hold() -> None:
    """Hold scans back until `release` is called, while strips that belong together are being built."""
    global _holds, _scan
    _holds += 1
    _scan = None


def release() -> None:
    """Let scans continue."""
    global _holds
    _holds -= 1
    request_scan()


def accept_position(scene: Any, picture: Any, strip: Any) -> None:
    """Store the positions of a sound and its picture, so that the next scan takes them to be right."""
    sound = _read_sound(scene.name, strip, None)
    write_positions(strip, _read_picture(scene.name, picture).position_for(sound))


def request_scan() -> None:
    """Scan the timelines soon, because something may have changed."""
    global _revision
    _revision += 1


def step(deadline_s: float) -> bool:
    """Continue the scan, or begin one if something has changed, until the time on the monotonic clock.

    Returns whether everything is in order, so that takes can be placed. Do not call it while the user drags something.
    """
    global _scan, _scanned_revision
    if _holds:
        return False
    _look_for_operators()
    while True:
        if _scan is None:
            if _scanned_revision == _revision:
                return True
            _scanned_revision = _revision
            _scan = _scan_all()
        try:
            for _ in _scan:
                if time.monotonic() >= deadline_s:
                    return False
        except ChangedError:
            # Something changed before everything was read. The linker has not changed anything yet.
            request_scan()
        except Exception:
            # An error here must not keep takes from arriving. The next change tries again.
            traceback.print_exc()
        _scan = None
        if time.monotonic() >= deadline_s:
            return False


def _scan_all() -> Iterator[None]:
    yield from _linker.scan()
    yield from follow_pictures()


def _look_for_operators() -> None:
    """Request a scan after a new operator, and from time to time without one, in case a change went unnoticed."""
    global _last_operator, _last_look_s
    operators = bpy.context.window_manager.operators
    last = operators[-1].as_pointer() if len(operators) else 0
    now_s = time.monotonic()
    if last != _last_operator or now_s - _last_look_s > _LONGEST_PAUSE_S:
        _last_operator, _last_look_s = last, now_s
        request_scan()


def settle() -> None:
    """Scan the timelines now, to the end. For scripts and tests, in which no timer runs."""
    assert not _holds
    request_scan()
    while not step(time.monotonic() + 1.0):
        pass
    while connecting.is_waiting():
        connecting.connect_next()


class _BlenderTimeline:
    """The timelines of all scenes. Strips are found by scene and name each time."""

    def __init__(self) -> None:
        self._interrupted = 0

    def read(self) -> Generator[None, None, tuple[list[Picture], list[Sound]]]:
        revision = _revision
        # If something changes in every tick, only reading everything at once gives a consistent state.
        is_divided = self._interrupted < _MOST_INTERRUPTIONS
        self._interrupted += 1
        pictures: list[Picture] = []
        sounds: list[Sound] = []
        for scene_name in [scene.name for scene in bpy.data.scenes if scene.library is None]:
            position = 0
            connectable = compat.holder_for_connecting(bpy.data.scenes[scene_name])
            while strips := _slice_of_strips(scene_name, position):
                for strip in strips:
                    settings = strip.rewas
                    if settings.stem.owner:
                        sounds.append(_read_sound(scene_name, strip, connectable))
                    elif settings.uid:
                        pictures.append(_read_picture(scene_name, strip))
                position += len(strips)
                del strips
                if not is_divided:
                    continue
                yield
                if revision != _revision:
                    raise ChangedError
        self._interrupted = 0
        return pictures, sounds

    def check(self, item: Picture | Sound) -> None:
        _, strip = _find(item.place)
        if isinstance(item, Picture):
            is_same = item == _read_picture(item.place.scene, strip)
        else:
            is_same = replace(item, is_connected=True) == _read_sound(item.place.scene, strip, None)
        if not is_same:
            raise ChangedError

    def set_uid(self, picture: Picture) -> None:
        settings = _find(picture.place)[1].rewas
        settings.uid, settings.uid_scene, settings.uid_name = picture.uid, picture.known_scene, picture.known_name

    def give(self, sound: Sound, picture: Picture) -> None:
        _find(sound.place)[1].rewas.stem.owner = picture.uid

    def move(self, sound: Sound, place: SoundPosition) -> None:
        move_stem(_find(sound.place)[1], place)

    def settle(self, sound: Sound, picture: Picture) -> None:
        _, strip = _find(sound.place)
        write_positions(strip, picture.position_for(sound))

    def free(self, sound: Sound) -> None:
        free_stem(_find(sound.place)[1])

    def remove(self, sound: Sound) -> None:
        scene, strip = _find(sound.place)
        compat.strips_of(compat.holder_of(scene.sequence_editor, strip)).remove(strip)

    def take_roles(self, picture: Picture) -> tuple[str, ...]:
        return shown_roles(_find(picture.place)[1], active_item(_find(picture.place)[1]))

    def copy_sound(self, picture: Picture, role: str, template: Sound | None, place: SoundPosition | None) -> None:
        scene, strip = _find(picture.place)

        def copy() -> None:
            take = _active_take(strip)
            if template is not None and place is not None:
                copy_stem(scene, strip, take, _find(template.place)[1], place)
            else:
                create_stem(scene, strip, take, role)

        _note_problem(picture.uid, copy)

    def show_take(self, picture: Picture) -> bool:
        scene, strip = _find(picture.place)

        def show() -> None:
            show_take(scene, strip, _active_take(strip))

        return _note_problem(picture.uid, show)

    def remember_removal(self, picture: Picture, role: str) -> None:
        set_role_removed(_find(picture.place)[1], role, is_removed=True)

    def find_channel(self, sound: Sound) -> None:
        scene, strip = _find(sound.place)
        find_free_channel(compat.holder_of(scene.sequence_editor, strip), strip, sound.channel)

    def connect(self, picture: Picture) -> None:
        connecting.request(picture.place.scene, picture.place.name, picture.uid)


def _active_take(strip: Any) -> Take:
    try:
        take = active_take(strip)
    except ValueError as error:
        what = f'The active take of the strip "{strip.name}" cannot be read ({error}).'
        raise PlacementError(what, "Choose another take.") from None
    if take is None:
        raise ChangedError
    return take


def _note_problem(uid: str, place: Callable[[], None]) -> bool:
    try:
        place()
    except PlacementError as error:
        problems[uid] = Problem(error.what, error.remedy)
        return False
    problems.pop(uid, None)
    return True


def _slice_of_strips(scene_name: str, position: int) -> list[Any]:
    scene = bpy.data.scenes.get(scene_name)
    if scene is None:
        raise ChangedError
    if scene.sequence_editor is None:
        return []
    return list(islice(compat.all_strips_of(scene.sequence_editor), position, position + _STRIPS_IN_A_SLICE))


def _find(place: Place) -> tuple[Any, Any]:
    scene = bpy.data.scenes.get(place.scene)
    editor = scene.sequence_editor if scene is not None else None
    strip = compat.all_strips_of(editor).get(place.name) if editor is not None else None
    if strip is None:
        raise ChangedError
    return scene, strip


def _read_picture(scene_name: str, strip: Any) -> Picture:
    settings = strip.rewas
    item = active_item(strip)
    content_start, start, end = compat.content_start(strip), compat.left_handle(strip), compat.right_handle(strip)
    first, last = start, end
    meta = strip.parent_meta()
    holder = meta.name if meta is not None else ""
    while meta is not None:
        first, last = max(first, compat.left_handle(meta)), min(last, compat.right_handle(meta))
        meta = meta.parent_meta()
    return _picture(
        (scene_name, strip.name, holder),
        (settings.uid, settings.uid_scene, settings.uid_name),
        (content_start, start, end),
        (content_start, first, last),
        item.uid if item is not None else "",
    )


# Scans often find the same as the last one. Keeping those objects makes scans faster, and leaves less work for Python's
# garbage collector, which would block Blender for longer than a scan.
@lru_cache(maxsize=_KEPT_STRIPS)
def _picture(
    place: tuple[str, str, str],
    identity: tuple[str, str, str],
    position: tuple[int, int, int],
    visible: tuple[int, int, int],
    take: str,
) -> Picture:
    return Picture(Place(*place), *identity, Position(*position), Position(*visible), take)


def _read_sound(scene_name: str, strip: Any, connectable: str | None) -> Sound:
    """Read a sound. connectable: name of the meta strip, or "", whose strips can be connected now; None for none."""
    link = strip.rewas.stem
    meta = strip.parent_meta()
    holder = meta.name if meta is not None else ""
    return _sound(
        (scene_name, strip.name, holder),
        (link.owner, link.role, link.take),
        (compat.content_start(strip), compat.left_handle(strip), compat.right_handle(strip)),
        (link.content_start_frame, link.start_frame, link.end_frame),
        (link.owner_content_start_frame, link.owner_start_frame, link.owner_end_frame),
        link.sound_frames,
        (link.is_hidden, link.is_connected or holder != connectable),
        strip.channel,
    )


@lru_cache(maxsize=_KEPT_STRIPS)
def _sound(
    place: tuple[str, str, str],
    link: tuple[str, str, str],
    position: tuple[int, int, int],
    old_position: tuple[int, int, int],
    old_picture: tuple[int, int, int],
    sound_frames: int,
    state: tuple[bool, bool],
    channel: int,
) -> Sound:
    positions = (Position(*position), Position(*old_position), Position(*old_picture))
    return Sound(Place(*place), *link, *positions, sound_frames, *state, channel)


_linker = Linker(_BlenderTimeline())


@bpy.app.handlers.persistent
def _after_change(*_: Any) -> None:
    request_scan()


@bpy.app.handlers.persistent
def _after_undo(*_: Any) -> None:
    _linker.look_again()
    request_scan()


@bpy.app.handlers.persistent
def _after_load(*_: Any) -> None:
    global _scan
    _scan = None
    problems.clear()
    connecting.forget()
    _linker.forget()
    request_scan()


def _handlers() -> tuple[tuple[Any, Any], ...]:
    handlers = bpy.app.handlers
    return (
        (handlers.depsgraph_update_post, _after_change),
        (handlers.undo_post, _after_undo),
        (handlers.redo_post, _after_undo),
        (handlers.load_post, _after_load),
    )


def register() -> None:
    for handlers, function in _handlers():
        handlers.append(function)


def unregister() -> None:
    _after_load()
    for handlers, function in _handlers():
        if function in handlers:
            handlers.remove(function)
