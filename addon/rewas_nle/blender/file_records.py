# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of jobs in the open file."""

from __future__ import annotations

import bpy

from ..core.records import JobRecord


def write_record(record: JobRecord) -> None:
    """Write a record into the open file, in case Blender saves the file by itself, as it does in a crash."""
    scene = bpy.data.scenes.get(record.scene_name) or bpy.data.scenes[0]
    job = scene.rewas.jobs.add()  # type: ignore[attr-defined]
    job.name = record.key
    job.record = record.for_file().to_json()


def written_keys() -> set[str]:
    """Return the keys of the records in the open file."""
    return {job.name for scene in bpy.data.scenes for job in scene.rewas.jobs}  # type: ignore[attr-defined]


def clear_records() -> None:
    """Remove all records from the open file."""
    for scene in bpy.data.scenes:
        scene.rewas.jobs.clear()  # type: ignore[attr-defined]
