# SPDX-License-Identifier: GPL-3.0-or-later
"""Stems that have arrived for the open file. They are placed one at a time, while no modal operator runs."""

from __future__ import annotations

from collections import deque

import bpy

from ..core.completing import complete_takes, next_step, remove_fitted_sound
from ..core.messages import StemsReceived
from ..core.received_takes import build_takes
from . import compat
from .file_records import write_record
from .placement import StripAddress, place_takes, store_takes
from .preferences import chosen_server
from .shared_session import session
from .status_bar import show_failure
from .user_activity import is_user_busy

_arrived: deque[StemsReceived] = deque()
_stored_key = ""
"""The job whose takes are in the list of their strip, but not on the timeline yet."""
_placed_names: list[str] = []
"""Names of the clips whose sound has been placed since the last undo step."""


def add_arrival(received: StemsReceived) -> None:
    """Place these stems soon."""
    _arrived.append(received)


def is_waiting() -> bool:
    """Return whether stems wait to be placed, or their undo step waits to be pushed."""
    return bool(_arrived or _placed_names)


def has_stems() -> bool:
    """Return whether stems wait to be placed."""
    return bool(_arrived)


def clear_arrivals() -> list[StemsReceived]:
    """Forget the stems because another file is opened. Returns those that were not placed."""
    global _stored_key
    left = list(_arrived)
    _arrived.clear()
    _stored_key = ""
    _placed_names.clear()
    return left


def place_next() -> None:
    """Store the takes of one job, place its stems, or push the undo step of the last ones.

    Each takes milliseconds in a large file, so each gets its own tick. Sounds that arrive together share an undo step:
    in a file with 500 strips, Blender needs 10 ms for one. Does nothing while the user is busy.
    """
    global _stored_key
    if not is_waiting() or is_user_busy():
        return
    if not _arrived:
        push_undo(_undo_message())
        _placed_names.clear()
        return
    key = _arrived[0].key
    current = session()
    record = current.book.get(key)
    if record is None or record.received is None:
        _arrived.popleft()
        return
    remove_fitted_sound(record)
    step = next_step(record)
    if step is not None:
        _arrived.popleft()
        current.generate([step], chosen_server())
        write_record(step)
        current.finish(key, "Continuing with the ranges that are still missing")
        return
    clip = record.clip
    address = StripAddress(record.strip_uid, record.scene_name, clip.name, clip.source_path)
    # Not the message: the stems may have moved since it was sent.
    takes = complete_takes(record, build_takes(clip, record.received, record.settings))
    if _stored_key != key:
        _stored_key = key
        store_takes(address, takes)
        return
    _arrived.popleft()
    placed = place_takes(address, takes)
    current.finish(key, placed.note, placed.problem)
    if placed.problem is None:
        _placed_names.append(clip.name)
    else:
        show_failure(placed.problem)


def _undo_message() -> str:
    first, *others = _placed_names
    return f"ReWaS: sound for {len(_placed_names)} clips" if others else f'ReWaS: sound for "{first}"'


def push_undo(message: str) -> None:
    """Push an undo step, so that the user can undo what has arrived."""
    # In background mode nobody undoes anything.
    if not bpy.app.background:
        compat.push_undo(message)
