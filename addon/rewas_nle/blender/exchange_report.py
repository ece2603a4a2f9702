# SPDX-License-Identifier: GPL-3.0-or-later
"""The export or import in progress and the result of the last one, prepared for the panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

from ..timeline.exchanged import ExchangeNote
from .drawing import draw_text
from .redraw import redraw_sequencers

MAX_NOTES = 20
"""The most notes that the panel shows. The others are printed in the system console."""


@dataclass
class Activity:
    """An export or import in progress. text: what happens. fraction: how much of it is done."""

    text: str
    cancelled: Event
    fraction: float = 0.0


@dataclass(frozen=True)
class Report:
    """The result of an export or import.

    text: one line. details: what has changed. notes: what was lost or altered.
    """

    text: str
    details: tuple[str, ...] = ()
    notes: tuple[ExchangeNote, ...] = ()
    is_failure: bool = False


_activity: Activity | None = None
_report: Report | None = None


def begin(text: str) -> Activity:
    """Show that an export or import is in progress."""
    global _activity, _report
    _activity, _report = Activity(text, Event()), None
    redraw_sequencers()
    return _activity


def current_activity() -> Activity | None:
    """Return the export or import in progress."""
    return _activity


def last_report() -> Report | None:
    """Return the result of the last export or import."""
    return _report


def finish(
    text: str, notes: Sequence[ExchangeNote] = (), *, details: Sequence[str] = (), is_failure: bool = False
) -> Report:
    """Show the result of an export or import."""
    global _activity, _report
    _activity, _report = None, Report(text, tuple(details), tuple(dict.fromkeys(notes)), is_failure)
    for line in (*_report.details[MAX_NOTES:], *_report.notes[MAX_NOTES:]):
        print(f"ReWaS: {line}")  # noqa: T201
    redraw_sequencers()
    return _report


def clear() -> None:
    """Forget the last result, and cancel what is in progress."""
    global _activity, _report
    if _activity is not None:
        _activity.cancelled.set()
    _activity = _report = None


def draw_report(layout: Any, context: Any) -> None:
    """Draw the export or import in progress, or the result of the last one."""
    if _activity is not None:
        row = layout.row(align=True)
        row.progress(factor=_activity.fraction, text=_activity.text)
        row.operator("rewas.cancel_exchange", text="", icon="X")
    elif _report is not None:
        box = layout.box()
        row = box.row()
        row.label(text=_report.text, icon="ERROR" if _report.is_failure else "INFO" if _report.notes else "CHECKMARK")
        row.operator("rewas.clear_exchange", text="", icon="X", emboss=False)
        for lines in (_report.details, _report.notes):
            for line in lines[:MAX_NOTES]:
                draw_text(box, context, str(line))
            if len(lines) > MAX_NOTES:
                box.label(text=f"{len(lines) - MAX_NOTES} more are in the system console")
