# SPDX-License-Identifier: GPL-3.0-or-later
"""The data that the panels draw, prepared when something changes."""

from __future__ import annotations

from typing import Any

import bpy

from ..core.board import Board
from ..core.job_rows import JobRow, JobRows, build_rows
from ..timeline.takes import Take
from .shared_session import session
from .take_list import read_take

_rows = JobRows()
_takes: dict[str, Take] = {}
_MOST_TAKES = 5000


def prepare_jobs(board: Board) -> None:
    """Prepare the rows of the list of jobs. Called when the board has changed."""
    global _rows
    records = {record.key: record.strip_uid for record in session().book.all()}
    _rows = build_rows(board, lambda key: records.get(key, ""), _rows)
    _match_length(bpy.context.window_manager.rewas.jobs, len(_rows.rows))


def job_rows() -> JobRows:
    """Return the rows of the list of jobs."""
    return _rows


def job_of_strip(strip: Any) -> JobRow | None:
    """Return the row of the job that the panel of a strip shows."""
    return _rows.of_strip(strip.rewas.uid)


def prepared_take(item: Any) -> Take:
    """Return a stored take, without reading its record again. Its name and files may have changed since."""
    uid = item.uid
    take = _takes.get(uid)
    if take is None:
        if len(_takes) >= _MOST_TAKES:
            _takes.clear()
        take = _takes[uid] = read_take(item)
    return take


def forget_takes() -> None:
    """Forget everything, because another file was opened."""
    _takes.clear()


def _match_length(items: Any, count: int) -> None:
    """Give a collection one empty item for each row: Blender's lists show collections, the rows are Python's."""
    while len(items) < count:
        items.add()
    while len(items) > count:
        items.remove(len(items) - 1)
