# SPDX-License-Identifier: GPL-3.0-or-later
"""The events of the drawn energy of a strip. Times are in seconds from the start of the strip's content."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import bpy

from ..timeline.energy_events import EnergyEvent, event_at, find_events
from ..timeline.energy_keys import EnergyKey
from . import compat, energy_curves
from .strip_reading import scene_rate


@dataclass
class StripReference:
    """A strip by its name, because Blender may free the strip itself at any time."""

    scene_name: str
    strip_name: str

    def strip(self) -> tuple[Any, Any]:
        """Return the scene and the strip. Raises KeyError if one of them has been removed or renamed."""
        scene = bpy.data.scenes[self.scene_name]
        return scene, compat.all_strips_of(scene.sequence_editor)[self.strip_name]


@dataclass(frozen=True)
class DrawnEnergy:
    """A drawn curve with its events, in order of time."""

    revision: Hashable
    keys: tuple[EnergyKey, ...]
    events: tuple[EnergyEvent, ...]


_last: tuple[tuple[str, str], DrawnEnergy] | None = None
"""Names of scene and strip, and what was read: panels ask for the events of one strip at each redraw."""


def read_drawn_energy(scene: Any, strip: Any) -> DrawnEnergy:
    """Return the drawn curve of a strip and its events."""
    global _last
    place, revision = (scene.name, strip.name), energy_curves.keys_revision(scene, strip)
    if _last is None or _last[0] != place or _last[1].revision != revision:
        keys = energy_curves.read_keys(scene, strip)
        _last = (place, DrawnEnergy(revision, keys, find_events(keys)))
    return _last[1]


def event_at_playhead(scene: Any, strip: Any) -> EnergyEvent | None:
    """Return the event in the middle of the current frame."""
    return event_at(read_drawn_energy(scene, strip).events, playhead_s(scene, strip))


def playhead_s(scene: Any, strip: Any) -> float:
    """Return the middle of the current frame."""
    return content_time_s(scene, strip, scene.frame_current_final + 0.5)


def content_time_s(scene: Any, strip: Any, frame: float) -> float:
    """Return the time of a frame of the scene."""
    return (frame - compat.content_start(strip)) / float(scene_rate(scene))


def visible_range_s(scene: Any, strip: Any) -> tuple[float, float]:
    """Return start and end of the visible part of a strip."""
    left, right = compat.left_handle(strip), compat.right_handle(strip)
    return content_time_s(scene, strip, left), content_time_s(scene, strip, right)


def event_frames(scene: Any, strip: Any) -> tuple[float, float] | None:
    """Return start and end of the event under the playhead, in frames of the scene and within the strip."""
    event = event_at_playhead(scene, strip)
    if event is None:
        return None
    content_start, rate = compat.content_start(strip), float(scene_rate(scene))
    start = max(content_start + event.start_s * rate, compat.left_handle(strip))
    end = min(content_start + event.end_s * rate, compat.right_handle(strip))
    return (start, end) if start < end else None
