# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the edits of this session, for pictures whose content cannot be read from their properties.

Examples are a 3D scene, and the speeds between the retiming keys of a strip.
"""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import bpy

_SHARED = ""
_session = uuid.uuid4().hex
_edits: Counter[str] = Counter()


def edit_state(scene_name: str) -> str:
    """Return a text that changes with each edit of a scene or of data that scenes may share."""
    return f"{_session} {_edits[_SHARED]} {_edits[scene_name]}"


@bpy.app.handlers.persistent
def _count_edits(scene: Any, depsgraph: Any) -> None:
    for update in depsgraph.updates:
        edited = update.id
        _edits[edited.name if isinstance(edited, bpy.types.Scene) else _SHARED] += 1


@bpy.app.handlers.persistent
def _count_step(*_: Any) -> None:
    _edits[_SHARED] += 1


@bpy.app.handlers.persistent
def _begin_session(*_: Any) -> None:
    global _session
    _session = uuid.uuid4().hex
    _edits.clear()


_HANDLERS = (
    ("depsgraph_update_post", _count_edits),
    ("undo_post", _count_step),
    ("redo_post", _count_step),
    ("load_post", _begin_session),
)


def register() -> None:
    for name, handler in _HANDLERS:
        getattr(bpy.app.handlers, name).append(handler)


def unregister() -> None:
    for name, handler in _HANDLERS:
        handlers = getattr(bpy.app.handlers, name)
        if handler in handlers:
            handlers.remove(handler)
