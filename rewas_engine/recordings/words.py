"""Describe each sound file of a library in words, from tables, text files, folders, names and metadata."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rewas_engine.errors import Cancelled
from rewas_engine.recordings.captions import (
    LeftOut,
    ManifestRow,
    caption_of_name,
    captions_of_folders,
    read_manifest,
    terms_of_entry,
)
from rewas_engine.recordings.file_state import FileState
from rewas_engine.recordings.files import SOUND_SUFFIXES, MediaFolder, find_sidecar, read_sidecar
from rewas_engine.recordings.known_files import KnownFiles
from rewas_engine.recordings.metadata import SoundMetadata, read_metadata
from rewas_engine.recordings.names import words_of_name
from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback

STAGE = "files"
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
        state: State of the file when it was found.
        metadata: Its metadata.
    """

    path: Path
    source: Path
    words: str
    licence: str | None
    credit: str | None
    state: FileState
    metadata: SoundMetadata


def find_sound_files(
    folders: Sequence[Path],
    table: Path | None = None,
    *,
    known: KnownFiles | None = None,
    on_progress: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> tuple[list[SoundFile], list[LeftOut]]:
    """Find the sound files in folders, with their words.

    The words come from a table or a text file next to the sound. Without either, those of folder, name and metadata are
    joined.

    Args:
        folders: Folders to search, with their subfolders. A file found in two of them is used once.
        table: A table of captions for all folders; None uses the one at the top of each folder, if any.
        known: What is known about files. The metadata of unchanged ones is not read again.
        on_progress: Called after each file.
        cancel: Stops the search.

    Returns:
        The files in the order of the folders and of their names, and the files and lines that were left out.

    Raises:
        SettingsError: A folder does not exist, or a table cannot be read.
        Cancelled: The caller asked to stop.
    """
    places: list[MediaFolder] = []
    seen: set[Path] = set()
    for folder in folders:
        places.append(MediaFolder.search(folder.absolute(), SOUND_SUFFIXES, is_seen=False, but=seen))
        seen.update(Path(os.path.realpath(path)) for path in places[-1].media.values())
    all_rows, problems = _table_rows(places, table)
    left_out = [*(problem for place in places for problem in place.left_out), *problems]
    files: list[SoundFile] = []
    done, count = 0, sum(len(place.media) for place in places)
    for place, rows in zip(places, all_rows, strict=True):
        for name, path in place.media.items():
            if cancel is not None and cancel.is_set():
                raise Cancelled
            try:
                files.append(_describe(place, path, rows.get(name), known, left_out))
            except OSError as error:
                left_out.append(LeftOut(name, f"it cannot be read ({error.strerror})"))
            done += 1
            if on_progress is not None:
                on_progress(Progress(STAGE, done, count, done / count))
    return files, left_out


def _table_rows(
    places: Sequence[MediaFolder], table: Path | None
) -> tuple[list[dict[str, ManifestRow]], list[LeftOut]]:
    """The table row of each file in each folder that a table lists, and the lines that cannot be used."""
    found: list[dict[str, ManifestRow]] = [{} for _ in places]
    problems: dict[LeftOut, None] = {}
    own = {number: place.find_table() for number, place in enumerate(places)} if table is None else {}
    # A table for all folders is read once.
    for used, numbers in [(table, range(len(places)))] if table else [(own[number], [number]) for number in own]:
        if used is None:
            continue
        rows, unusable = read_manifest(used, needs_captions=False)
        problems |= dict.fromkeys(unusable)
        for row in rows:
            each_names = {number: _named_files(row, places[number]) for number in numbers}
            for number, names in each_names.items():
                if len(names) == 1:
                    found[number][names[0]] = row
                elif names:
                    problems[LeftOut(f"{used.name}, line {row.line}", f"{row.file} matches {len(names)} files")] = None
            if not any(each_names.values()) and not any(place.matches(row.file) for place in places):
                problems[LeftOut(f"{used.name}, line {row.line}", f"there is no sound file {row.file}")] = None
    return found, list(problems)


def _named_files(row: ManifestRow, place: MediaFolder) -> list[str]:
    """The files of a folder that a row can mean."""
    names = place.matches(row.file)
    if len(names) > 1 and row.path:
        written = "/" + row.path.replace("\\", "/")
        return [name for name in names if written.endswith(f"/{name}")] or names
    return names


def _describe(
    place: MediaFolder, path: Path, row: ManifestRow | None, known: KnownFiles | None, left_out: list[LeftOut]
) -> SoundFile:
    state = FileState.of(path)
    unchanged = known.unchanged(place.folder, path, state) if known is not None and known.has_metadata else None
    metadata = unchanged.metadata if unchanged is not None else read_metadata(path)
    licence, credit = (row.licence, row.credit) if row is not None else (None, None)
    captions = list(row.captions) if row is not None else []
    text = None if captions else find_sidecar(path)
    if text is not None:
        captions, why = read_sidecar(text, place.folder)
        if captions:
            stated_licence, stated_credit = _sidecar_terms(text)
            licence, credit = licence or stated_licence, credit or stated_credit
        else:
            left_out.append(LeftOut(path.relative_to(place.folder).as_posix(), f"only its text file, because {why}"))
    words = ", ".join(captions) or _joined_words(place.folder, path, metadata)
    return SoundFile(
        path,
        place.folder,
        words[:LONGEST_WORDS].strip(),
        licence or metadata.licence or None,
        credit or metadata.credit or None,
        state,
        metadata,
    )


def _joined_words(folder: Path, path: Path, metadata: SoundMetadata) -> str:
    """The words of folders, name and metadata, without those that only repeat others."""
    own = [words_of_name(path.stem), metadata.description, metadata.category]
    # "gravel/0001.wav" needs the folder above, such as "footsteps".
    count = 1 if any(own) else 2
    parts = [*reversed(list(itertools.islice(captions_of_folders(path.parent, folder), count))), *own]
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
