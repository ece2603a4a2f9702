# SPDX-License-Identifier: GPL-3.0-or-later
"""Locations of media in timelines: paths and URLs in the styles of all systems, and files that have moved."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

_MAX_SEARCHED_FILES = 200_000


class MediaFinder:
    """Finds the files that a timeline names.

    folder: that of the timeline, where relative locations start. search: folders that are searched, with all folders
    in them, for a file or folder of the same name if it is not where the timeline says.

    Attributes:
        stopped_in: The folder in which the search stopped because it has too many files, or None.
        searched_files: How many files and folders the search has seen.
    """

    def __init__(self, folder: Path, search: Iterable[Path] = ()) -> None:
        self._folder = folder
        self._search = tuple(search)
        self._index: dict[str, list[Path]] | None = None
        self.stopped_in: Path | None = None
        self.searched_files = 0

    def locate(self, location: str) -> str:
        """Return the absolute path that a location stands for. Without such a file, it is where the file should be."""
        if not location or "\0" in location:
            return ""
        plain = local_path(location)
        wanted = self._folder / plain
        candidates = [wanted, self._folder / unquote(plain), self._folder / _parts(plain)[-1]]
        found = next((path for path in candidates if _exists(path)), None) or self._find(plain)
        return os.path.normpath(found or wanted)

    def _find(self, plain: str) -> Path | None:
        """Return the file or folder in the searched folders with the same name, and the most folders in common."""
        if not self._search:
            return None
        if self._index is None:
            self._index = self._index_files()
        parts = [part.casefold() for part in _parts(plain)]
        if not parts:
            return None
        found = self._index.get(parts[-1], ())
        return max(found, key=lambda path: _common_end(parts, path), default=None)

    def _index_files(self) -> dict[str, list[Path]]:
        index: dict[str, list[Path]] = defaultdict(list)
        for folder in self._search:
            for where, folders, files in os.walk(folder):
                for name in (*folders, *files):
                    if self.searched_files >= _MAX_SEARCHED_FILES:
                        self.stopped_in = folder
                        return index
                    index[name.casefold()].append(Path(where) / name)
                    self.searched_files += 1
        return index


def local_path(location: str) -> str:
    """Return the path in a location: a path in the style of any system, or a file URL."""
    is_drive = location[1:2] == ":"
    if is_drive or not location.lower().startswith("file:"):
        is_windows = is_drive or location.startswith("\\\\")
        return location.replace("\\", "/") if is_windows and os.name != "nt" else location
    try:
        parts = urlsplit(location)
    except ValueError:
        return location
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost"):
        # A share of another computer: file://server/share/shot.mov
        return f"//{parts.netloc}{path}"
    # file:///C:/shot.mov
    return path[1:] if path[2:3] == ":" and path[:1] == "/" else path


def relative_location(path: str, folder: Path) -> str:
    """Return the location of a file as seen from a folder, with forward slashes. On another drive, it is absolute."""
    try:
        return PurePosixPath(os.path.relpath(path, folder).replace(os.sep, "/")).as_posix()
    except ValueError:  # a different drive on Windows
        return path


def _parts(plain: str) -> tuple[str, ...]:
    parts = PureWindowsPath(plain).parts if "\\" in plain or plain[1:2] == ":" else PurePosixPath(plain).parts
    return parts or ("",)


def _exists(path: Path) -> bool:
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):
        return False


def _common_end(parts: list[str], path: Path) -> int:
    count = 0
    for wanted, found in zip(reversed(parts), reversed(path.parts), strict=False):
        if wanted != found.casefold():
            break
        count += 1
    return count
