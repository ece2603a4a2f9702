# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the user is in the middle of something.

Blender shows Python its modal operators, such as a drag, but not that a text field is being edited. Placing a sound
does not disturb text entry: it opens nothing and moves no focus.
"""

from __future__ import annotations

import time
from typing import Any

import bpy

_HARMLESS_AFTER_S = 10.0
_MODULES_OF_BLENDER = ("bpy", "_bpy", "bl_operators", "bl_ui")

_foreign_since_s: dict[int, float] = {}


def is_user_busy() -> bool:
    """Return whether a modal operator is running, or Blender is rendering.

    Operators of other add-ons may run for hours, for example one that shows the pressed keys. They count only if they
    have just begun.
    """
    if bpy.app.is_job_running("RENDER"):
        return True
    now_s = time.monotonic()
    running: dict[int, float] = {}
    is_busy = False
    for window in bpy.context.window_manager.windows:
        for operator in window.modal_operators:
            if _is_of_blender(operator):
                is_busy = True
                continue
            pointer = operator.as_pointer()
            running[pointer] = _foreign_since_s.get(pointer, now_s)
            is_busy |= now_s - running[pointer] < _HARMLESS_AFTER_S
    _foreign_since_s.clear()
    _foreign_since_s.update(running)
    return is_busy


def _is_of_blender(operator: Any) -> bool:
    return type(operator).__module__.startswith(_MODULES_OF_BLENDER)
