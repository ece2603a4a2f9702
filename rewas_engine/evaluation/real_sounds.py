"""Real recordings by kind, to compare sounds with."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from rewas_engine.errors import SettingsError
from rewas_engine.recordings.captions import caption_of_name
from rewas_engine.recordings.files import SOUND_SUFFIXES

TABLE_NAME = "metadata.csv"
HELD_OUT = "held-out"
FEWEST = 2
"""Recordings of a kind: one alone has nothing to be compared with."""


@dataclass(frozen=True)
class RealSound:
    """A recording. kind: a few words, usable as a prompt."""

    path: Path
    kind: str


def real_sounds(folder: Path) -> dict[str, list[RealSound]]:
    """List the recordings of a folder by kind, in the order of their names.

    A metadata.csv has the columns `file` and `kind`. With a column `split`, only rows with "held-out" count. Without
    the table, the name of each subfolder is the kind of the recordings in it.

    Raises:
        SettingsError: The table is invalid, or no kind has two recordings.
    """
    table = folder / TABLE_NAME
    if not folder.is_dir():
        raise SettingsError(f"The folder {folder} does not exist.", "Give a folder of recordings.")
    found = _listed(table) if table.is_file() else _sorted_into_folders(folder)
    kinds: dict[str, list[RealSound]] = {}
    for sound in sorted(found, key=lambda one: one.path):
        kinds.setdefault(sound.kind, []).append(sound)
    kinds = {kind: sounds for kind, sounds in sorted(kinds.items()) if len(sounds) >= FEWEST}
    if not kinds:
        raise SettingsError(
            f"No kind in {folder} has {FEWEST} recordings.",
            f"Put recordings into subfolders with the names of their kinds, or list them in {TABLE_NAME} with the "
            "columns “file” and “kind”.",
        )
    return kinds


def _sorted_into_folders(folder: Path) -> list[RealSound]:
    return [
        RealSound(path, caption_of_name(path.parent.name) or path.parent.name)
        for path in folder.rglob("*")
        if path.parent != folder
        and path.suffix.lower() in SOUND_SUFFIXES
        and not path.name.startswith(".")  # macOS writes such files beside others
        and path.is_file()
    ]


def _listed(table: Path) -> list[RealSound]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            rows = [(reader.line_num, row) for row in reader]
            columns = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"The table {table} cannot be read ({error}).", "Save it as CSV in UTF-8.") from error
    if not {"file", "kind"} <= set(columns):
        raise SettingsError(f"The table {table} has no columns “file” and “kind”.", "Add them.")
    sounds = {}
    for line, row in rows:
        file, kind, split = ((row.get(name) or "").strip() for name in ("file", "kind", "split"))
        if "split" in columns and split != HELD_OUT:
            continue
        path = table.parent / file
        if not file or not kind or not path.is_file():
            raise SettingsError(
                f"Line {line} of {table} has no kind, or its file does not exist.", "Correct or remove the line."
            )
        sounds[path] = RealSound(path, kind)
    return list(sounds.values())
