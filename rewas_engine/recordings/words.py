"""Describe each sound file of a library in words, from tables, text files, folders, names and metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewas_engine.recordings.captions import (
    LeftOut,
    ManifestRow,
    caption_of_folder,
    caption_of_name,
    read_manifest,
    terms_of_entry,
)
from rewas_engine.recordings.files import SOUND_SUFFIXES, MediaFolder, find_sidecar, read_sidecar
from rewas_engine.recordings.metadata import SoundMetadata, read_metadata
from rewas_engine.recordings.names import words_of_name

LONGEST_WORDS = 300
"""Maximum number of characters in one description. An encoder reads little more."""


@dataclass(frozen=True)
class SoundFile:
    """A sound file with what is said about it.

    Attributes:
        path: The file, absolute.
        source: The folder that it was found in, absolute.
        words: What it sounds like; "" if unknown.
        licence, credit: Its terms and whom to name, if they are stated for this file.
        is_cut_short: Whether the file is shorter than its header says.
    """

    path: Path
    source: Path
    words: str
    licence: str | None
    credit: str | None
    is_cut_short: bool


def find_sound_files(folders: Sequence[Path], table: Path | None = None) -> tuple[list[SoundFile], list[LeftOut]]:
    """Find the sound files in folders, with their words.

    The words come from a table or a text file next to the sound. Without either, those of folder, name and metadata are
    joined.

    Args:
        folders: Folders to search, with their subfolders. A file found in two of them is used once.
        table: A table of captions for all folders; None uses the one at the top of each folder, if any.

    Returns:
        The files in the order of the folders and of their names, and the files and lines that were left out.

    Raises:
        SettingsError: A folder does not exist, or a table cannot be read.
    """
    places: list[MediaFolder] = []
    for folder in folders:
        seen = {path.resolve() for place in places for path in place.media.values()}
        places.append(MediaFolder.search(folder.absolute(), SOUND_SUFFIXES, is_seen=False, but=seen))
    left_out = [problem for place in places for problem in place.left_out]
    files: list[SoundFile] = []
    for place in places:
        rows = _table_rows(place, table, left_out, others=[other for other in places if other is not place])
        for name, path in place.media.items():
            try:
                files.append(_describe(place, path, rows.get(name), left_out))
            except OSError as error:
                left_out.append(LeftOut(name, f"it cannot be read ({error.strerror})"))
    return files, left_out


def _table_rows(
    place: MediaFolder, table: Path | None, left_out: list[LeftOut], others: Sequence[MediaFolder]
) -> Mapping[str, ManifestRow]:
    """The table row of each file in a folder that a table lists."""
    used = table or place.find_table()
    if used is None:
        return {}
    rows, unusable = read_manifest(used)
    problems = dict.fromkeys([*left_out, *unusable])
    found: dict[str, ManifestRow] = {}
    for row in rows:
        names = place.matches(row.file)
        if len(names) == 1:
            found[names[0]] = row
        elif names or not any(other.matches(row.file) for other in others):
            why = f"{row.file} matches {len(names)} files" if names else f"there is no sound file {row.file}"
            problems[LeftOut(f"{used.name}, line {row.line}", why)] = None
    left_out[:] = problems
    return found


def _describe(place: MediaFolder, path: Path, row: ManifestRow | None, left_out: list[LeftOut]) -> SoundFile:
    metadata = read_metadata(path)
    licence, credit = (row.licence, row.credit) if row is not None else (None, None)
    captions = list(row.captions) if row is not None else []
    text = find_sidecar(path) if row is None else None
    if text is not None:
        captions, why = read_sidecar(text, place.folder)
        if captions:
            licence, credit = _sidecar_terms(text)
        else:
            left_out.append(LeftOut(path.relative_to(place.folder).as_posix(), f"only its text file, because {why}"))
    words = ", ".join(captions) or _joined_words(place.folder, path, metadata)
    return SoundFile(
        path,
        place.folder,
        words[:LONGEST_WORDS].strip(),
        licence or metadata.licence or None,
        credit or metadata.credit or None,
        metadata.is_cut_short,
    )


def _joined_words(folder: Path, path: Path, metadata: SoundMetadata) -> str:
    """The words of folder, name and metadata, without those that only repeat others."""
    parts = [caption_of_folder(path.parent, folder), words_of_name(path.stem), metadata.description]
    if not any(parts):
        return caption_of_name(folder.name)
    said: list[str] = []
    for part in filter(None, parts):
        known = {word for each in said for word in each.lower().replace(",", " ").split()}
        if not set(part.lower().replace(",", " ").split()) <= known:
            said.append(part)
    return ", ".join(said)


def _sidecar_terms(text: Path) -> tuple[str | None, str | None]:
    if text.suffix != ".json":
        return None, None
    entry = json.loads(text.read_text("utf-8-sig"))
    return terms_of_entry(entry)
