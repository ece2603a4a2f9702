"""Finds media files that a timeline from another machine names: by path, URL, drive letter or another spelling."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from rewas_api.errors import ProblemError, ProblemKind

MAX_SEARCHED_FILES = 500_000
"""Files in the search folders; further ones are not found."""
_MAX_DEPTH = 32
_DRIVE = re.compile(r"[A-Za-z]:(?=/|$)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


@dataclass(frozen=True)
class PathMap:
    r"""Where a folder of another machine is on this one.

    Attributes:
        prefix: The other machine's folder, as `plain_path` returns it: "X:/Media" or "//server/share".
        folder: The folder here.
    """

    prefix: str
    folder: Path


def parse_path_map(text: str) -> PathMap:
    r"""Parse "X:\Media=/mnt/media". The part before the first = may be a path of any system, or a URL.

    Raises ProblemError (SETTINGS) if a part is missing, or the folder does not exist.
    """
    prefix, equals, folder = text.partition("=")
    path = Path(folder.strip()).expanduser()
    plain = plain_path(prefix.strip()).rstrip("/")
    if not equals or not plain or not folder.strip():
        raise ProblemError(
            f'The path map "{text[:200]}" does not consist of two folders.',
            r"Write the folder in the timeline, = and the folder on this machine: X:\Media=/mnt/media.",
            ProblemKind.SETTINGS,
        )
    if not path.is_dir():
        raise ProblemError(
            f'The folder {path} of the path map "{text[:200]}" does not exist.',
            "Mount it, or correct the part after the =.",
            ProblemKind.SETTINGS,
        )
    return PathMap(plain, path.absolute())


def plain_path(location: str, *, decode: bool = True) -> str:
    """Return the path in a location, with slashes: "/a/b", "X:/a/b", "//server/share/a", or a relative path.

    URLs other than file URLs are returned as they are.

    Args:
        location: A path of any system, or a URL.
        decode: Whether "%20" in a file URL means a space. Some programs do not encode their URLs.
    """
    if location[:5].lower() == "file:":
        rest = location[5:].replace("\\", "/")
        rest = unquote(rest) if decode else rest
        if rest.startswith("//"):
            host, slash, path = rest[2:].partition("/")
            if _DRIVE.fullmatch(host):  # file://X:/a
                return f"{host}{slash}{path}"
            if host not in ("", "localhost", "127.0.0.1"):
                return f"//{host}{slash}{path}"
            rest = f"/{path}"
        # file:///X:/a, and file:////server/share
        return rest[1:] if _DRIVE.match(rest[1:]) else rest
    path = location.replace("\\", "/")
    if _SCHEME.match(location) and not _DRIVE.match(path):
        return location
    return path


def is_url(path: str) -> bool:
    """Whether `plain_path` returned a URL that is not a file URL."""
    return bool(_SCHEME.match(path)) and not _DRIVE.match(path)


def is_foreign(path: str) -> bool:
    """Whether a path from `plain_path` is one of Windows or of a network share, and this is another system."""
    return os.name != "nt" and (bool(_DRIVE.match(path)) or path.startswith("//"))


def last_name(location: str) -> str:
    """The file name in a location."""
    return plain_path(location).rstrip("/").rpartition("/")[2]


class MediaSearch:
    """Finds files on this machine. Folders are read once.

    Args:
        folder: Where relative paths start.
        search_folders: Folders that are searched for file names, with their subfolders.
        path_maps: Where folders of other machines are on this one.
    """

    def __init__(self, folder: Path, search_folders: Sequence[Path] = (), path_maps: Sequence[PathMap] = ()) -> None:
        self._folder = folder.absolute()
        self._search_folders = search_folders
        self._maps = sorted(path_maps, key=lambda each: -len(each.prefix))
        self._listed: dict[str, dict[str, list[str]]] = {}
        self._index: dict[str, list[Path]] | None = None
        self._is_incomplete = False

    @property
    def is_incomplete(self) -> bool:
        """Whether the search folders have more files than are searched."""
        return self._is_incomplete

    def at_location(self, location: str) -> tuple[Path | None, str]:
        """Return the file at a location, and "mapped" if a path map led there.

        Names that differ only in case or in how their accents are encoded count as equal, unless several files match.
        """
        for path, change in self._candidates(location):
            found = self._find(path)
            if found is not None:
                return found, change
        return None, ""

    def by_name(self, names: Iterable[str]) -> list[Path]:
        """Return the files in the search folders that have the first of these names for which there is one."""
        index = self._index_of_files()
        for name in names:
            found = index.get(_key(name))
            if found:
                return found
        return []

    def by_stem(self, stem: str) -> list[Path]:
        """Return the files in the search folders that have this name with any extension."""
        return self._index_of_files().get(_key(stem) + "\0", [])

    def folders_with(self, name: str) -> list[Path]:
        """Return the folders in the search folders with a file of this name."""
        return [path.parent for path in self.by_name([name])]

    def _candidates(self, location: str) -> Iterator[tuple[Path, str]]:
        """Yield the paths that a location may mean, the likeliest first."""
        spellings = dict.fromkeys([plain_path(location), plain_path(location, decode=False)])
        for path in spellings:
            for each in self._maps:
                rest = _below(path, each.prefix)
                if rest is not None:
                    yield each.folder / rest, "mapped"
                    yield each.folder / unquote(rest), "mapped"
        for path in spellings:
            if is_url(path) or is_foreign(path):
                continue
            for spelling in dict.fromkeys([path, unquote(path)]):
                yield self._folder / spelling, "" if Path(spelling).is_absolute() else "relative"

    def _find(self, path: Path) -> Path | None:
        try:
            if path.exists():
                return Path(os.path.normpath(path))
        except (OSError, ValueError):  # too long, or with a zero byte
            return None
        found = Path(path.anchor)
        for part in Path(os.path.normpath(path)).parts[1:]:
            exact = found / part
            if exact.exists():
                found = exact
                continue
            alike = self._names_in(found).get(_key(part), [])
            if len(alike) != 1:
                return None
            found = found / alike[0]
        return found

    def _names_in(self, folder: Path) -> dict[str, list[str]]:
        listed = self._listed.get(str(folder))
        if listed is None:
            listed = {}
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        listed.setdefault(_key(entry.name), []).append(entry.name)
            except OSError:
                pass
            self._listed[str(folder)] = listed
        return listed

    def _index_of_files(self) -> dict[str, list[Path]]:
        if self._index is None:
            self._index = {}
            count = 0
            for folder in self._search_folders:
                for path in _files_below(folder.absolute()):
                    count += 1
                    if count > MAX_SEARCHED_FILES:
                        self._is_incomplete = True
                        break
                    # A name and a stem may be equal, so the stem is marked.
                    for key in (_key(path.name), _key(path.stem) + "\0"):
                        self._index.setdefault(key, []).append(path)
        return self._index


def longest_common_end(paths: Sequence[Path], location: str) -> list[Path]:
    """Return the paths that share the most parts with a location, counted from the end."""
    wanted = [_key(part) for part in PurePosixPath(plain_path(location)).parts[::-1]]

    def shared(path: Path) -> int:
        count = 0
        for ours, theirs in zip((_key(part) for part in path.parts[::-1]), wanted, strict=False):
            if ours != theirs:
                break
            count += 1
        return count

    most = max(map(shared, paths), default=0)
    return [path for path in paths if shared(path) == most]


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and in those below it, in the order of their names. Hidden ones are left out."""
    waiting = [(folder, 0)]
    while waiting:
        current, depth = waiting.pop()
        try:
            with os.scandir(current) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue
        below = []
        for entry in found:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append((Path(entry.path), depth + 1))
            elif entry.is_file():
                yield Path(entry.path)
        if depth < _MAX_DEPTH:
            waiting += reversed(below)


def _below(path: str, prefix: str) -> str | None:
    """Return the rest of a path below a folder, "" for the folder itself; None if it is elsewhere."""
    is_posix = prefix.startswith("/") and not prefix.startswith("//")
    ours, theirs = (unicodedata.normalize("NFC", text) for text in (path, prefix))
    # Windows ignores case.
    head = ours[: len(theirs)]
    if head != theirs and (is_posix or head.casefold() != theirs.casefold()):
        return None
    rest = ours[len(theirs) :]
    return rest.lstrip("/") if not rest or rest.startswith("/") else None


def _key(name: str) -> str:
    """Equal for names that differ only in case or in how their accents are encoded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
