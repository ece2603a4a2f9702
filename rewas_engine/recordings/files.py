"""Find the media in a folder, the text files next to them, and the files that a table lists."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rewas_engine.errors import SettingsError
from rewas_engine.recordings.captions import MANIFEST_SUFFIXES, LeftOut, captions_of_object, clean_caption

TEXT_SUFFIXES = (".txt", ".json")
MANIFEST_STEMS = ("metadata", "captions", "manifest", "labels")
"""Tables with these names at the top of a folder are read automatically."""

VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv",
    ".ts", ".webm", ".wmv",
})  # fmt: skip
SOUND_SUFFIXES = frozenset({
    ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".mka", ".mp2", ".mp3", ".oga",
    ".ogg", ".opus", ".w64", ".wav", ".wma", ".wv",
})  # fmt: skip


@dataclass(frozen=True)
class MediaFolder:
    """A folder and its media.

    Attributes:
        folder: The folder.
        is_seen: Whether its videos are used as videos.
        media: Path within the folder, with slashes -> path.
        aliases: Path without suffix, or file name with or without suffix -> the paths that it can mean.
        left_out: Files that cannot be used.
    """

    folder: Path
    is_seen: bool
    media: dict[str, Path]
    aliases: dict[str, list[str]]
    left_out: tuple[LeftOut, ...]

    @classmethod
    def search(cls, folder: Path, suffixes: frozenset[str], is_seen: bool, but: Collection[Path] = ()) -> MediaFolder:
        if not folder.is_dir():
            what = f"{folder} is not a folder." if folder.exists() else f"The folder {folder} does not exist."
            raise SettingsError(what, "Give the folder of the recordings.")
        media: dict[str, Path] = {}
        left_out = []
        inside = folder.resolve()

        def note_unreadable(error: OSError) -> None:
            inner = os.path.relpath(error.filename, folder)
            left_out.append(LeftOut(inner if is_text(inner) else ascii(inner), f"it cannot be read ({error.strerror})"))

        for where, below, names in os.walk(folder, onerror=note_unreadable):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for link in [Path(where) / name for name in below if (Path(where) / name).is_symlink()]:
                inner = link.relative_to(folder).as_posix()
                shown = inner if is_text(inner) else ascii(inner)
                left_out.append(LeftOut(shown, "links to folders are not followed"))
            for name in sorted(names):
                path = Path(where) / name
                if name.startswith(".") or path.suffix.lower() not in suffixes:
                    continue
                # Links to folders are not followed, so only the file itself can be a link.
                # Unlike Path.resolve(), os.path.realpath() accepts links that lead to each other.
                real = Path(os.path.realpath(path)) if path.is_symlink() else inside / path.relative_to(folder)
                if real in but:
                    continue
                inner = path.relative_to(folder).as_posix()
                if why := _why_left_out(path, inner, real.is_relative_to(inside)):
                    left_out.append(LeftOut(inner if is_text(inner) else ascii(inner), why))
                else:
                    media[inner] = path
        aliases: dict[str, list[str]] = {}
        for name in media:
            last = name.rpartition("/")[2]
            for alias in {name.rpartition(".")[0], last, last.rpartition(".")[0]}:
                aliases.setdefault(alias, []).append(name)
        return cls(folder, is_seen, media, aliases, tuple(left_out))

    def matches(self, file: str) -> list[str]:
        """Return the names of the media that `file` in a table can mean.

        A table can use paths relative to a parent folder, file names without folders, and names without suffix. Only
        media in the folder match.
        """
        written = file.replace("\\", "/")
        if Path(written).is_absolute():
            # Compared as text, so that files elsewhere are not accessed.
            roots = [root.as_posix() + "/" for root in (self.folder.absolute(), self.folder.resolve())]
            root = next((root for root in roots if written.startswith(root)), None)
            if root is None:
                return []
            written = written.removeprefix(root)
        parts = os.path.normpath(written).replace(os.sep, "/").split("/")
        if ".." in parts:
            return []
        above = self.folder.resolve().parts
        tails = [
            "/".join(parts[start:]) for start in range(len(parts)) if above[len(above) - start :] == (*parts[:start],)
        ]
        whole_paths = next(([tail] for tail in tails if tail in self.media), None)
        named = whole_paths or next((self.aliases[tail] for tail in tails if tail in self.aliases), None)
        # Spreadsheets and other systems write accents and capital letters differently.
        return named or next((self._folded[_fold(tail)] for tail in tails if _fold(tail) in self._folded), [])

    @cached_property
    def _folded(self) -> dict[str, list[str]]:
        """The names of the media by every name and alias, without regard to case and to the encoding of accents."""
        folded: dict[str, list[str]] = {}
        for alias, names in [*((name, [name]) for name in self.media), *self.aliases.items()]:
            known = folded.setdefault(_fold(alias), [])
            known += [name for name in names if name not in known]
        return folded

    def find_table(self) -> Path | None:
        """Return the table of captions at the top of the folder, if any. Raises SettingsError if there are several."""
        tables = sorted(
            path
            for path in self.folder.iterdir()
            if path.suffix.lower() in MANIFEST_SUFFIXES and path.stem.lower() in MANIFEST_STEMS
        )
        if len(tables) > 1:
            raise SettingsError(
                f"{self.folder} contains {len(tables)} tables of captions: {', '.join(path.name for path in tables)}.",
                "Name the one to read.",
            )
        return tables[0] if tables else None


def find_sidecar(path: Path) -> Path | None:
    """Return the .txt or .json next to a media file, if any."""
    return next((path.with_suffix(suffix) for suffix in TEXT_SUFFIXES if path.with_suffix(suffix).is_file()), None)


def read_sidecar(text: Path, folder: Path) -> tuple[list[str], str]:
    """Read the captions in a text file of a folder. Returns also the reason if there are none."""
    if not text.resolve().is_relative_to(folder.resolve()):
        return [], f"{text.name} is a link out of the folder"
    try:
        content = text.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return [], f"{text.name} is not text in UTF-8"
    if text.suffix == ".json":
        return list(captions_of_object(content)), f"{text.name} has no caption"
    return [caption for caption in map(clean_caption, content.splitlines()) if caption], f"{text.name} has no word"


def _why_left_out(path: Path, inner: str, is_inside: bool) -> str:
    """Why a file that was found is not used, as a clause; "" if it is used."""
    if not is_inside:
        return "it is a link out of the folder"
    if not is_text(inner):
        return "its name is not in UTF-8"
    # Opening a pipe could wait forever.
    return "it is not a file" if path.exists() and not path.is_file() else ""


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def is_text(name: str) -> bool:
    """Whether a name can be written in UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
