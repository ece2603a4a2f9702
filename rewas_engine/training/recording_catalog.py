"""List the recordings in the user's folders with their captions."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rewas_engine.errors import SettingsError
from rewas_engine.training.manifests import (
    MANIFEST_SUFFIXES,
    LeftOut,
    ManifestRow,
    caption_of_folder,
    caption_of_name,
    captions_of_object,
    clean_caption,
    read_manifest,
)

VIDEO_SUFFIXES = frozenset({
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv",
    ".ts", ".webm", ".wmv",
})  # fmt: skip
SOUND_SUFFIXES = frozenset({
    ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".au", ".caf", ".flac", ".m4a", ".mka", ".mp2", ".mp3", ".oga",
    ".ogg", ".opus", ".w64", ".wav", ".wma", ".wv",
})  # fmt: skip
TEXT_SUFFIXES = (".txt", ".json")
MANIFEST_STEMS = ("metadata", "captions", "manifest", "labels")
"""Tables with these names at the top of a folder are read automatically."""

CaptionWords = Literal["auto", "text", "folder", "name"]
CAPTION_WORDS: tuple[CaptionWords, ...] = ("auto", "text", "folder", "name")


@dataclass(frozen=True)
class CaptionSource:
    """Source of captions.

    Attributes:
        manifest: A table; None uses the table at the top of the folder, if any.
        file_column, caption_column: Columns of the table; None recognises the usual names.
        words: Source without a table: the .txt or .json next to each file ("text"), the name of the nearest folder
            ("folder"), the file name ("name"), or the first of these that gives a caption ("auto").
    """

    manifest: Path | None = None
    file_column: str | None = None
    caption_column: str | None = None
    words: CaptionWords = "auto"


@dataclass(frozen=True)
class Recording:
    """One file of sound, or of video with sound, and its captions.

    Attributes:
        path: The file.
        name: Path within its folder, with slashes.
        captions: At least one.
        is_seen: Whether its video is used.
    """

    path: Path
    name: str
    captions: tuple[str, ...]
    is_seen: bool


@dataclass(frozen=True)
class RecordingCatalog:
    """The recordings of one or two folders, ordered by name, and the files and lines that were left out."""

    recordings: tuple[Recording, ...]
    left_out: tuple[LeftOut, ...] = field(default=())


def list_recordings(
    sounds: Path | None, videos: Path | None, captions: CaptionSource | None = None
) -> RecordingCatalog:
    """List all recordings with captions in a folder of sounds and a folder of videos.

    Subfolders are searched too; hidden files and links to files outside the folder are skipped. Videos in the folder of
    sounds are used for their sound. A file found in both folders counts as a video.

    Args:
        sounds: Folder of sounds, or None.
        videos: Folder of videos, or None.
        captions: Where captions come from.

    Raises:
        SettingsError: A folder does not exist, a table of captions cannot be read, or there is no recording with a
            caption.
    """
    captions = captions or CaptionSource()
    places = [] if videos is None else [_Folder.search(videos, VIDEO_SUFFIXES, is_seen=True)]
    if sounds is not None:
        seen = {path.resolve() for place in places for path in place.media.values()}
        places.append(_Folder.search(sounds, SOUND_SUFFIXES | VIDEO_SUFFIXES, is_seen=False, but=seen))
    if not places:
        raise SettingsError("No recordings are given.", "Give a folder of sounds, of videos, or both.")
    left_out = [problem for place in places for problem in place.left_out]
    if captions.manifest is not None:
        found = _match_table(places, captions, captions.manifest, left_out)
    else:
        found = [recording for place in places for recording in _find_captions(place, captions, left_out)]
    if not found:
        folders = " or ".join(str(place.folder) for place in places)
        first = f" First of {len(left_out)} problems: {left_out[0]}." if left_out else ""
        raise SettingsError(
            f"No recording with a caption was found in {folders}.{first}",
            "Add a table of captions or a .txt next to each file, or use descriptive names.",
        )
    return RecordingCatalog(
        tuple(sorted(found, key=lambda recording: (recording.is_seen, recording.name))), tuple(left_out)
    )


@dataclass(frozen=True)
class _Folder:
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
    def search(cls, folder: Path, suffixes: frozenset[str], is_seen: bool, but: Collection[Path] = ()) -> _Folder:
        if not folder.is_dir():
            raise SettingsError(f"The folder {folder} does not exist.", "Give the folder of the recordings.")
        media: dict[str, Path] = {}
        left_out = []
        inside = folder.resolve()
        for where, below, names in os.walk(folder):
            below[:] = sorted(name for name in below if not name.startswith("."))
            for name in sorted(names):
                path = Path(where) / name
                if name.startswith(".") or path.suffix.lower() not in suffixes:
                    continue
                if path.resolve() in but:
                    continue
                inner = path.relative_to(folder).as_posix()
                if not path.resolve().is_relative_to(inside):
                    left_out.append(LeftOut(inner, "it is a link out of the folder"))
                elif not _is_text(inner):
                    left_out.append(LeftOut(ascii(inner), "its name is not in UTF-8"))
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
        return whole_paths or next((self.aliases[tail] for tail in tails if tail in self.aliases), [])

    def recording(self, name: str, captions: Sequence[str]) -> Recording:
        return Recording(self.media[name], name, tuple(dict.fromkeys(captions)), self.is_seen)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _match_table(
    places: Sequence[_Folder], source: CaptionSource, manifest: Path, left_out: list[LeftOut]
) -> list[Recording]:
    rows, unusable = read_manifest(manifest, source.file_column, source.caption_column)
    left_out += unusable
    captions_of: dict[tuple[int, str], list[str]] = {}
    for row in rows:
        meant = [(index, name) for index, place in enumerate(places) for name in place.matches(row.file)]
        distinct = {places[index].media[name].resolve() for index, name in meant}
        if len(distinct) != 1:
            left_out.append(_unmatched(row, manifest, len(distinct), places))
        for where in meant if len(distinct) == 1 else []:
            captions_of.setdefault(where, []).extend(row.captions)
    unnamed = sum(len(place.media) for place in places) - len(captions_of)
    if unnamed:
        left_out.append(LeftOut(f"{unnamed} files", f"{manifest.name} does not list them"))
    return [places[index].recording(name, captions) for (index, name), captions in captions_of.items()]


def _unmatched(row: ManifestRow, manifest: Path, matches: int, places: Sequence[_Folder]) -> LeftOut:
    line = f"{manifest.name}, line {row.line}"
    if matches:
        return LeftOut(line, f"{row.file} matches {matches} files")
    folders = [place.folder for place in places]
    parts = row.file.replace("\\", "/").split("/")
    if Path(row.file).is_absolute() or ".." in parts:
        return LeftOut(line, f"{row.file} is outside the folder or does not exist")
    return LeftOut(line, f"there is no sound or video {row.file} in {' or '.join(map(str, folders))}")


def _find_captions(place: _Folder, source: CaptionSource, left_out: list[LeftOut]) -> list[Recording]:
    """Find the recordings of one folder, with captions from the table at its top, or from text files and names."""
    tables = sorted(
        path
        for path in place.folder.iterdir()
        if path.suffix.lower() in MANIFEST_SUFFIXES and path.stem.lower() in MANIFEST_STEMS
    )
    if source.words == "auto" and len(tables) > 1:
        raise SettingsError(
            f"{place.folder} contains {len(tables)} tables of captions: {', '.join(path.name for path in tables)}.",
            "Name the one to read.",
        )
    if source.words == "auto" and tables:
        return _match_table([place], source, tables[0], left_out)
    recordings = []
    for name, path in place.media.items():
        captions, why = _read_caption(path, place.folder, source.words)
        if captions:
            recordings.append(place.recording(name, captions))
        else:
            left_out.append(LeftOut(name, why))
    return recordings


def _read_caption(path: Path, folder: Path, words: CaptionWords) -> tuple[list[str], str]:
    """Read the captions of a file without a table. Returns also the reason if there are none."""
    text_file = next((path.with_suffix(suffix) for suffix in TEXT_SUFFIXES if path.with_suffix(suffix).is_file()), None)
    if text_file is not None and words in ("auto", "text"):
        return _read_text(text_file, folder)
    if words == "text":
        return [], f"there is no {path.stem}.txt next to it"
    caption = ""
    if words in ("auto", "folder"):
        caption = caption_of_folder(path.parent, folder)
    if not caption and words in ("auto", "name"):
        caption = caption_of_name(path.stem)
    return ([caption] if caption else []), "neither a .txt next to it nor its name describes the sound"


def _read_text(text: Path, folder: Path) -> tuple[list[str], str]:
    if not text.resolve().is_relative_to(folder.resolve()):
        return [], f"{text.name} is a link out of the folder"
    try:
        content = text.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return [], f"{text.name} is not text in UTF-8"
    if text.suffix == ".json":
        return list(captions_of_object(content)), f"{text.name} has no caption"
    return [caption for caption in map(clean_caption, content.splitlines()) if caption], f"{text.name} has no word"
