"""How a timeline names its media files: relative to itself, with absolute paths, or with URLs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from urllib.parse import quote, unquote

import opentimelineio as otio

from rewas_api.clip_settings import METADATA_KEY
from rewas_server.otio.formats import MediaPaths
from rewas_server.otio.metadata import has_key

_DRIVE = re.compile(r"[A-Za-z]:[/\\]")


def find_path(target_url: str, folder: Path) -> PurePath | None:
    """Return the absolute path that a media reference names, or None if it is not a file.

    folder: where relative references start. Windows paths stay Windows paths on other systems, so that they can be
    written unchanged.
    """
    if not target_url:
        return None
    if target_url.lower().startswith("file:"):
        return _path_of_file_url(target_url)
    windows = PureWindowsPath(target_url)
    if windows.drive and (_DRIVE.match(target_url) or target_url.startswith("\\\\")):
        return windows if os.name != "nt" else Path(target_url)
    if "://" in target_url:
        return None
    if target_url.startswith("/") and "%" not in target_url:
        return Path(target_url)
    plain = Path(os.path.normpath(folder.absolute() / target_url))
    decoded = Path(os.path.normpath(folder.absolute() / unquote(target_url)))
    # Some programs write relative URLs (my%20shot.mov), others relative paths: use the one that exists.
    return decoded if not plain.exists() and decoded.exists() else plain


def name_media(path: PurePath, style: MediaPaths, folder: Path) -> str:
    """Return how a timeline in `folder` names the file at an absolute path.

    A file on another drive, or of another system, has no relative path and keeps its absolute one.
    """
    if style is MediaPaths.URL:
        return file_url(path)
    if style is MediaPaths.RELATIVE and isinstance(path, Path):
        try:
            return PurePosixPath(os.path.relpath(path, folder.absolute()).replace(os.sep, "/")).as_posix()
        except ValueError:  # on another drive
            return str(path)
    return str(path)


def file_url(path: PurePath, host: str = "") -> str:
    """Return the URL of an absolute path. host: between the slashes, for programs that expect "localhost" there."""
    text = path.as_posix()
    if text.startswith("//"):  # \\server\share
        return "file:" + quote(text, safe="/")
    return f"file://{host}{'' if text.startswith('/') else '/'}" + quote(text, safe="/:")


def media_references(clip: otio.schema.Clip) -> Iterator[otio.core.MediaReference]:
    """Yield all media references of a clip that name files."""
    references = list(clip.media_references().values())
    for reference in references:
        if isinstance(reference, otio.schema.ExternalReference | otio.schema.ImageSequenceReference):
            yield reference


def location(reference: otio.core.MediaReference) -> str:
    """Return the file, or the folder of an image sequence, that a media reference names."""
    if isinstance(reference, otio.schema.ImageSequenceReference):
        return str(reference.target_url_base)
    return str(reference.target_url or "") if isinstance(reference, otio.schema.ExternalReference) else ""


def relocate(reference: otio.core.MediaReference, url: str) -> None:
    """Change the file, or the folder of an image sequence, that a media reference names."""
    if isinstance(reference, otio.schema.ImageSequenceReference):
        reference.target_url_base = url
    else:
        reference.target_url = url


@contextmanager
def renamed_media(
    timeline: otio.schema.Timeline,
    style: MediaPaths | None,
    folder: Path,
    source_folder: Path | None,
    *,
    keeps_foreign: bool = True,
) -> Iterator[None]:
    """Call `rename_media`, and undo it at the end. That takes a tenth of the time of a copy."""
    before = rename_media(timeline, style, folder, source_folder, keeps_foreign=keeps_foreign)
    try:
        yield
    finally:
        for reference, url in before:
            relocate(reference, url)


def rename_media(
    timeline: otio.schema.Timeline,
    style: MediaPaths | None,
    folder: Path,
    source_folder: Path | None,
    *,
    keeps_foreign: bool = True,
) -> list[tuple[otio.core.MediaReference, str]]:
    """Change the media references of a timeline for a file in `folder`.

    Args:
        timeline: The timeline, which changes.
        style: None: relative for files in or next to `folder`, so that they can move with it, otherwise absolute.
        folder: Of the file to write.
        source_folder: Where the relative references of the timeline start now; `folder` if None.
        keeps_foreign: Without a style, whether references stay unchanged as long as they name the same file. References
            to generated sounds always change.

    Returns the references that changed, and what they named before.
    """
    source_folder = source_folder or folder
    same_folder = source_folder.absolute().resolve() == folder.absolute().resolve()
    beside = _beside(folder)
    before: list[tuple[otio.core.MediaReference, str]] = []
    for clip in timeline.find_clips():
        keeps = style is None and keeps_foreign and not _is_ours(clip)
        for reference in media_references(clip):
            url = location(reference)
            path = None if keeps and (same_folder or _is_absolute(url)) else find_path(url, source_folder)
            if path is None:
                continue
            wanted = style
            if wanted is None:
                moves_with = isinstance(path, Path) and path.is_relative_to(beside)
                wanted = MediaPaths.RELATIVE if moves_with else MediaPaths.ABSOLUTE
            name = name_media(path, wanted, folder)
            is_folder = isinstance(reference, otio.schema.ImageSequenceReference)
            before.append((reference, url))
            relocate(reference, f"{name}/" if is_folder else name)
    return before


def _beside(folder: Path) -> Path:
    """Return the folder that contains everything in a folder or next to it."""
    whole = Path(os.path.normpath(folder.absolute()))
    return whole.parent if whole.parent != whole.parent.parent else whole


def _is_ours(clip: otio.schema.Clip) -> bool:
    """Whether a clip is a generated sound."""
    if not has_key(clip.metadata, METADATA_KEY):
        return False
    ours = clip.metadata[METADATA_KEY]
    return hasattr(ours, "items") and has_key(ours, "role")


def _is_absolute(url: str) -> bool:
    return "://" in url or url.lower().startswith("file:") or url.startswith(("/", "\\")) or bool(_DRIVE.match(url))


def _path_of_file_url(url: str) -> PurePath:
    # Many tools do not encode "#" and "?" in file names.
    text = unquote(url.partition(":")[2])
    host = ""
    if text.startswith("//"):
        host, _, rest = text[2:].partition("/")
        text = f"/{rest}"
    if re.match(r"/[A-Za-z]:[/\\]", text):
        return Path(text[1:]) if os.name == "nt" else PureWindowsPath(text[1:])
    if host.lower() not in ("", "localhost", "127.0.0.1"):
        return PureWindowsPath(f"//{host}{text}")
    if text.startswith("//"):
        return PureWindowsPath(text)
    return Path(text)
