"""OpenTimelineIO hook that changes the media paths of a timeline before it is written.

    otioconvert -i cut.aaf -o mix/cut.otio -H rewas_media_paths=relative

- `rewas_media_paths`: relative (to the written file), absolute, or url.
- `rewas_source_folder`: where the relative paths of the timeline start now; the folder of the written file by default.

Without `rewas_media_paths`, it does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewas_otio.errors import PluginError
from rewas_otio.hook_arguments import MEDIA_PATHS, SOURCE_FOLDER, own_arguments

_OUTPUT = "_filepath"
"""OpenTimelineIO's own argument: the file that is written."""


def hook_function(in_timeline: Any, argument_map: Mapping[str, Any] | None = None) -> Any:
    """Return a copy of the timeline with other media paths, or the timeline itself. Raises PluginError."""
    arguments = own_arguments(argument_map)
    if MEDIA_PATHS not in arguments or argument_map is None or _OUTPUT not in argument_map:
        return in_timeline
    from rewas_server.otio.clips import timelines_in
    from rewas_server.otio.formats import MediaPaths
    from rewas_server.otio.media_paths import rename_media

    # Only our own writer embeds sounds.
    styles = [style for style in MediaPaths if style is not MediaPaths.EMBEDDED]
    style = next((style for style in styles if style == arguments[MEDIA_PATHS]), None)
    if style is None:
        known = ", ".join(styles)
        raise PluginError(f"{arguments[MEDIA_PATHS]!r} is not a kind of media path.", f"Use one of these: {known}.")
    folder = Path(str(argument_map[_OUTPUT])).absolute().parent
    source = arguments.get(SOURCE_FOLDER)
    written = in_timeline.clone()
    for timeline in timelines_in(written):
        rename_media(timeline, style, folder, None if source is None else Path(str(source)))
    return written
