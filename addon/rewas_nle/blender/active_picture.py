# SPDX-License-Identifier: GPL-3.0-or-later
"""The strip that the panel and operators work on: the active one, or the picture of an active sound."""

from __future__ import annotations

import time
from typing import Any

from ..timeline.selection import PICTURE_KINDS
from . import compat
from .strip_reading import picture_strip

_found: dict[tuple[str, str, str], str] = {}
"""Names of pictures by scene, name of the sound and identifier of the owner, so that drawing searches only once."""
_missed: dict[tuple[str, str, str], float] = {}
"""When no picture was found for a sound, such as music."""
_MISS_KEPT_S = 1.0


def active_picture(context: Any) -> Any:
    """Return the picture strip that the active strip leads to, or None.

    A picture leads to itself, an effect of one strip to that strip, a generated sound to the picture that it belongs
    to, and the sound of a movie's own file to that movie.
    """
    scene = compat.scene_of(context)
    editor = scene.sequence_editor
    strip = editor.active_strip if editor is not None else None
    return None if strip is None else picture_for(scene, strip)


def picture_for(scene: Any, strip: Any) -> Any:
    """Return the picture strip that a strip leads to, or None."""
    if strip.type in PICTURE_KINDS:
        return strip
    if strip.type != "SOUND":
        # The inputs of effects need no search.
        return picture_strip(scene, strip)
    owner = strip.rewas.stem.owner
    key = (scene.name, strip.name, owner)
    name = _found.get(key)
    found = compat.all_strips_of(scene.sequence_editor).get(name) if name is not None else None
    if found is not None and (found.rewas.uid == owner if owner else _overlap(found, strip)):
        return found
    if time.monotonic() - _missed.get(key, float("-inf")) < _MISS_KEPT_S:
        return None
    picture = picture_strip(scene, strip)
    if picture is not None:
        _found[key] = picture.name
    else:
        _missed[key] = time.monotonic()
    return picture


def _overlap(first: Any, second: Any) -> int:
    start_frame = max(compat.left_handle(first), compat.left_handle(second))
    return max(min(compat.right_handle(first), compat.right_handle(second)) - start_frame, 0)
