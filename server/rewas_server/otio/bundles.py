"""Writes timelines with their media: .otioz, a zip file, and .otiod, a folder.

OTIO's own adapters refuse two files of the same name, image sequences and missing media, and pack only the active media
reference of each clip, so the other takes of a sound would be lost.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

import opentimelineio as otio

from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.delivery.file_names import safe_file_name
from rewas_server.otio.media_paths import find_path, location, media_references, relocate
from rewas_server.otio.schemas import restore_schemas

SUFFIXES = (".otioz", ".otiod")
CONTENT = "content.otio"
_MEDIA_FOLDER = "media"
_VERSION_FILE = "version.txt"
_VERSION = "1.0.0"
_IN_URLS = str.maketrans("#%", "__")


def pack_media(timeline: otio.schema.Timeline, source_folder: Path) -> dict[str, Path]:
    """Point the media references of a timeline into the bundle, and return its files by their path in the bundle.

    References to files that do not exist become absolute. Two files of the same name get different paths.

    source_folder: where relative references start.
    """
    files: dict[str, Path] = {}
    places: dict[Path, str] = {}
    taken: set[str] = set()
    for clip in timeline.find_clips():
        for reference in media_references(clip):
            path = find_path(location(reference), source_folder)
            if not isinstance(path, Path):
                continue
            members = _members(reference, path)
            if not members:
                is_folder = isinstance(reference, otio.schema.ImageSequenceReference)
                relocate(reference, f"{path}/" if is_folder else str(path))
                continue
            # All files of an image sequence keep their names, in their own folder.
            is_file = path.is_file()
            if path not in places:
                places[path] = _unused_name(path, taken, keep_suffix=is_file)
            place = f"{_MEDIA_FOLDER}/{places[path]}"
            files.update({place if is_file else f"{place}/{one.name}": one for one in members})
            relocate(reference, place if is_file else f"{place}/")
    return files


def check_media(timeline: otio.schema.Timeline, source_folder: Path, target: Path) -> list[str]:
    """Return what a bundle will not contain, such as "2 media files that do not exist".

    Args:
        timeline: The timeline to write.
        source_folder: Where relative references start.
        target: The bundle.

    Raises ProblemError (RESOURCES) if there is not enough space on the disk.
    """
    copy = timeline.clone()
    missing = {
        path
        for clip in timeline.find_clips()
        for reference in media_references(clip)
        if (path := find_path(location(reference), source_folder)) is not None
        and not (isinstance(path, Path) and path.exists())
    }
    needed = sum(file.stat().st_size for file in set(pack_media(copy, source_folder).values()))
    free = shutil.disk_usage(target.absolute().parent).free
    if needed > free:
        raise ProblemError(
            f"The media of {target.name} needs {needed / 2**30:.2f} GiB, but the disk has {free / 2**30:.2f} GiB free.",
            "Free some space, or write the timeline as .otio.",
            ProblemKind.RESOURCES,
        )
    if not missing:
        return []
    return [
        "1 media file that does not exist" if len(missing) == 1 else f"{len(missing)} media files that do not exist"
    ]


def write_archive(timeline: otio.schema.Timeline, files: Mapping[str, Path], path: Path) -> None:
    """Write an .otioz file. Raises OSError."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        archive.writestr(_VERSION_FILE, _VERSION, zipfile.ZIP_DEFLATED)
        archive.writestr(CONTENT, restore_schemas(timeline.to_json_string()), zipfile.ZIP_DEFLATED)
        for place, file in files.items():
            archive.write(file, place)


def write_folder(timeline: otio.schema.Timeline, files: Mapping[str, Path], path: Path) -> None:
    """Write an .otiod folder. Raises OSError."""
    path.mkdir()
    (path / _VERSION_FILE).write_text(_VERSION, "utf-8")
    (path / CONTENT).write_text(restore_schemas(timeline.to_json_string()), "utf-8")
    for place, file in files.items():
        copy = path / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def is_bundle_folder(path: Path) -> bool:
    """Whether a folder is a bundle, so that a new one may replace it."""
    return path.is_dir() and (path / CONTENT).is_file()


def _members(reference: otio.core.MediaReference, path: Path) -> list[Path]:
    if not isinstance(reference, otio.schema.ImageSequenceReference):
        return [path] if path.is_file() else []
    if not path.is_dir() or reference.available_range is None:
        return []
    named = (path / reference.target_url_for_image_number(number) for number in _image_numbers(reference))
    return [path / one.name for one in named if (path / one.name).is_file()]


def _image_numbers(reference: otio.schema.ImageSequenceReference) -> range:
    return range(reference.number_of_images_in_sequence())


def _unused_name(path: Path, taken: set[str], *, keep_suffix: bool) -> str:
    # A name in a bundle must be valid as part of a URL, and as a file name on any system.
    whole = safe_file_name(path.name.translate(_IN_URLS) or "images")
    stem, suffix = (Path(whole).stem, Path(whole).suffix) if keep_suffix else (whole, "")
    name, number = f"{stem}{suffix}", 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem} ({number}){suffix}"
    taken.add(name.casefold())
    return name
