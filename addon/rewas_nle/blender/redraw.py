# SPDX-License-Identifier: GPL-3.0-or-later
"""Redraws editors whose content has changed."""

from __future__ import annotations

import bpy


def redraw_sequencers() -> None:
    """Redraw every sequencer."""
    _redraw("SEQUENCE_EDITOR")


def redraw_panels() -> None:
    """Redraw every sequencer and the preferences: both show the server, and what it does."""
    _redraw("SEQUENCE_EDITOR", "PREFERENCES")


def _redraw(*editors: str) -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in editors:
                area.tag_redraw()
