r"""OpenTimelineIO media linker that finds media on this machine: by folder, by name and timecode, and by path maps.

    otioconvert -i cut.edl -o cut.otio -m rewas -M search_folders=/mnt/rushes -M "path_maps=X:\Media=/mnt/media"

A clip whose media is found gets its absolute path, and an available range in the timecode of the file. If the media is
not found, the clip keeps its reference, and a warning says what to do.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import opentimelineio as otio

from rewas_server.otio.media_links import MediaResolver, ResolveOptions
from rewas_server.otio.media_search import parse_path_map

FOLDER, SEARCH_FOLDERS, PATH_MAPS = "folder", "search_folders", "path_maps"
_VARIABLES = {
    FOLDER: "REWAS_MEDIA_FOLDER",
    SEARCH_FOLDERS: "REWAS_SEARCH_FOLDERS",
    PATH_MAPS: "REWAS_PATH_MAPS",
}
_log = logging.getLogger(__name__)


def link_media_reference(
    in_clip: otio.schema.Clip, media_linker_argument_map: Mapping[str, Any] | None = None
) -> otio.core.MediaReference | None:
    r"""Return the media reference of a clip with the file on this machine.

    Arguments, with the environment variables that can be used instead:

    - folder (REWAS_MEDIA_FOLDER): where relative paths start; the current folder by default.
    - search_folders (REWAS_SEARCH_FOLDERS): folders in which media is searched by name, separated as in PATH.
    - path_maps (REWAS_PATH_MAPS): where folders of other machines are, separated by semicolons: X:\Media=/mnt/media.
    """
    arguments = media_linker_argument_map or {}
    folder, search, maps = (_argument(arguments, name) for name in _VARIABLES)
    clip = in_clip.clone()
    link = _resolver(folder, search, maps).link(clip)
    if link.problem is not None:
        _log.warning("%s", link.problem)
        return in_clip.media_reference
    for note in link.notes:
        _log.info("%s: %s", clip.name, note)
    return clip.media_reference.clone() if clip.media_reference is not None else None


def _argument(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    return str(value) if value is not None else os.environ.get(_VARIABLES[name], "")


@lru_cache(maxsize=4)
def _resolver(folder: str, search: str, maps: str) -> MediaResolver:
    """Return the resolver for these arguments. It remembers the contents of the folders for the next clips."""
    return MediaResolver(
        ResolveOptions(
            folder=Path(folder).expanduser() if folder else Path.cwd(),
            search_folders=tuple(Path(each).expanduser() for each in search.split(os.pathsep) if each),
            path_maps=tuple(parse_path_map(each) for each in maps.split(";") if each.strip()),
        )
    )
