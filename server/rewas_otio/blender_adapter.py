"""OpenTimelineIO adapter that reads the video sequencer of .blend files, with sounds, takes and prompts.

    otioconvert -i film.blend -o film.otio -a scene=Edit

It starts Blender in the background, without the user's add-ons and without the scripts in the file.
"""

from __future__ import annotations

from pathlib import Path

import opentimelineio as otio

from rewas_otio.blender_process import DEFAULT_TIME_LIMIT_S, read_blend


def read_from_file(
    filepath: str,
    scene: str = "",
    blender: str = "",
    extension: str = "",
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
) -> otio.schema.Timeline | otio.schema.SerializableCollection:
    """Return the timeline of a .blend file, or a collection of timelines if several scenes have strips.

    Args:
        filepath: The .blend file.
        scene: Name of the scene to read; "" reads every scene that has strips.
        blender: Path of Blender, or of a Python with the module bpy. "" uses the environment variable REWAS_BLENDER,
            or finds Blender on PATH or where its installer puts it.
        extension: Folder of the ReWaS extension. "" uses the environment variable REWAS_EXTENSION, or the one that is
            installed in Blender.
        time_limit_s: How long Blender may take, in seconds.

    Raises BlendError if the file cannot be read.
    """
    path = Path(filepath)
    timelines = read_blend(path, str(scene), str(blender), str(extension), float(time_limit_s))
    read = [otio.core.deserialize_json_from_string(text) for text in timelines]
    if len(read) == 1:
        return read[0]
    collection = otio.schema.SerializableCollection(name=path.stem)
    collection.extend(read)
    return collection
