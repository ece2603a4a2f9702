# SPDX-License-Identifier: GPL-3.0-or-later
"""The open .blend file: the jobs that it contains, and the sounds next to it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import bpy

from ..core.contract import ServerChoice
from ..core.folders import unsaved_stems_folder
from ..core.records import JobRecord, RecordsFound
from ..core.session import Session
from .arrivals import clear_arrivals
from .file_records import clear_records, write_record, written_keys
from .preferences import chosen_server, stems_folder
from .shared_session import current_session, forget_unsaved_folder, session
from .take_list import absolute_path, change_paths, stem_items

_is_unread = True
"""Whether the jobs of the open file are still to be found: preferences do not exist while an extension is enabled."""
_copied: dict[Path, Path] = {}
"""New paths of the stems that were copied for the file that is being saved, by their old paths."""
_old_take_paths: dict[str, str] = {}
"""Paths that takes had before the file began to be saved, by their present paths."""


def look_for_jobs() -> bool:
    """Find the jobs of the open file in a thread, once after it was opened. Returns whether this call started that."""
    global _is_unread
    if not _is_unread:
        return False
    _is_unread = False
    texts = [job.record for scene in bpy.data.scenes for job in scene.rewas.jobs]  # type: ignore[attr-defined]
    session().open_file(bpy.data.filepath, stems_folder(), texts)
    return True


def resume(found: RecordsFound) -> Generator[None, None, list[JobRecord]]:
    """Continue the jobs that were found, one per slice. Returns those whose picture must be rendered first."""
    return session().resume(found, server_at)


def server_at(address: str) -> ServerChoice:
    """Return the server with an address: that of the preferences, or one that needs no files."""
    chosen = chosen_server()
    return chosen if chosen.address == address else ServerChoice(address, bpy.app.online_access)


def note_for_other_file(record: JobRecord) -> str:
    """Return what the panel says about stems whose file is not open."""
    if record.blend_file:
        return f"Arrived. Open {Path(record.blend_file).name} to place it."
    return f"Arrived. Its file was closed without saving; the sound is in {record.stems_folder}."


@bpy.app.handlers.persistent
def _close_file(*_: Any) -> None:
    current = current_session()
    if current is not None:
        for received in clear_arrivals():
            record = current.book.get(received.key)
            if record is not None:
                current.store(received.key, note_for_other_file(record))


@bpy.app.handlers.persistent
def _open_file(*_: Any) -> None:
    global _is_unread
    _is_unread = True
    forget_unsaved_folder()


@bpy.app.handlers.persistent
def _before_saving(target: str = "", *_: Any) -> None:
    if not target:
        return
    look_for_jobs()
    current = session()
    _take_stems_along(current, Path(target))
    _store_take_paths(Path(target).parent)
    # While the search for the file's jobs is running, the session does not know all of them.
    if not current.is_looking:
        clear_records()
    kept = written_keys()
    for record in current.open_records():
        if record.key not in kept:
            write_record(record)


@bpy.app.handlers.persistent
def _after_saving(target: str = "", *_: Any) -> None:
    if not target:
        return
    current, saved = session(), bpy.data.filepath
    if saved != target:
        # A copy was saved. Everything in the open file stays where it was.
        _restore_take_paths()
        _move_sounds(current, {new: old for old, new in _copied.items()})
    else:
        for old in _copied:
            old.unlink(missing_ok=True)
        _remove_empty_folders({old.parent for old in _copied})
        current.save_file(saved, stems_folder())
    _copied.clear()
    _old_take_paths.clear()


@bpy.app.handlers.persistent
def _after_failed_saving(*_: Any) -> None:
    _restore_take_paths()
    _move_sounds(session(), {new: old for old, new in _copied.items()})
    for new in _copied.values():
        new.unlink(missing_ok=True)
    _copied.clear()
    _old_take_paths.clear()


def _take_stems_along(current: Session, target: Path) -> None:
    """Copy stems from the folder of unsaved files to that of the file that is about to be saved, and use the copies."""
    folder = stems_folder(str(target))
    for old in _stems_under(current, unsaved_stems_folder()):
        new = folder / old.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _copy(old, new)
        except OSError as error:
            print(f"ReWaS: {old} cannot be copied to {folder} ({error}). The file keeps using the original.")  # noqa: T201
            continue
        _copied[old] = new
    _move_sounds(current, _copied)


def _stems_under(current: Session, folder: Path) -> Iterator[Path]:
    """Yield the files of all takes, sounds and arrived jobs of the open file that lie under a folder."""
    paths = [absolute_path(sound.filepath) for sound in bpy.data.sounds if sound.packed_file is None]
    paths += [absolute_path(stem.path) for stem in stem_items()]
    paths += [path for record in current.open_records() for path in record.stem_paths]
    for path in dict.fromkeys(paths):
        if path.is_relative_to(folder) and path.is_file():
            yield path


def _copy(old: Path, new: Path) -> None:
    new.unlink(missing_ok=True)
    try:
        os.link(old, new)
    except OSError:  # another file system, or one without links
        shutil.copy2(old, new)


def _move_sounds(current: Session, moved: Mapping[Path, Path]) -> None:
    """Let sounds, takes and arrived jobs use files that have moved."""
    if not moved:
        return
    for sound in bpy.data.sounds:
        new = moved.get(absolute_path(sound.filepath))
        if new is not None:
            sound.filepath = str(new)
    change_paths(lambda path: moved.get(path, path))
    for record in current.open_records():
        if record.received is not None:
            current.book.change(record.key, received=record.received.with_moved_stems(moved))


def _store_take_paths(folder: Path) -> None:
    """Store the paths of takes as they will be valid in a file in this folder. Blender does so for its own paths."""
    is_relative = bpy.context.preferences.filepaths.use_relative_paths
    for stem in stem_items():
        stored = path = str(absolute_path(stem.path))
        if is_relative:
            with contextlib.suppress(ValueError):  # a different drive on Windows
                stored = bpy.path.relpath(path, start=str(folder))
        if stored != stem.path:
            _old_take_paths[stored] = stem.path
            stem.path = stored


def _restore_take_paths() -> None:
    for stem in stem_items():
        stem.path = _old_take_paths.get(stem.path, stem.path)


def _remove_empty_folders(folders: set[Path]) -> None:
    for folder in folders:
        if not any(folder.iterdir()):
            folder.rmdir()


_HANDLERS = (
    ("load_pre", _close_file),
    ("load_post", _open_file),
    ("save_pre", _before_saving),
    ("save_post", _after_saving),
    ("save_post_fail", _after_failed_saving),
)


def register() -> None:
    global _is_unread
    _is_unread = True
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    for name, handler in _HANDLERS:
        handlers = getattr(bpy.app.handlers, name)
        if handler in handlers:
            handlers.remove(handler)
