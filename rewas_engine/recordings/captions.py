"""Captions of recordings, from tables (CSV, TSV, JSONL) or from the names of files and folders."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewas_engine.errors import SettingsError

MANIFEST_SUFFIXES = (".csv", ".tsv", ".jsonl")
FILE_COLUMNS = (
    "file",
    "filename",
    "file_name",
    "path",
    "filepath",
    "file_path",
    "pathname",
    "audio",
    "audio_file",
    "audio_path",
    "audio_filepath",
    "video",
    "video_file",
    "video_path",
    "slice_file_name",
    "fname",
    "wav",
    "clip",
    "name",
    "id",
)
"""Usual names of the file column, most specific first."""
CAPTION_COLUMNS = (
    "full_caption",
    "caption",
    "captions",
    "text",
    "prompt",
    "description",
    "fxname",
    "fx_name",
    "label",
    "labels",
    "category",
    "class",
)
"""Usual names of the caption column, best first. Numbered columns (caption_1, caption_2 …) are used together. The next
column is used for rows without a word in the best one."""
PATH_COLUMNS = ("path", "filepath", "file_path", "pathname")
"""Columns that tell files of the same name apart in the exports of sound libraries."""
LICENCE_COLUMNS = ("licence", "license")
CREDIT_COLUMNS = ("credit", "attribution", "author", "artist", "creator", "username", "designer", "recordist")
LONGEST_CAPTION = 2000

_DELIMITERS = {".csv": (",", ";", "\t", "|"), ".tsv": ("\t",)}
_SOUND_ARCHIVE = re.compile(r"^\d+__.+?__")
"""File names of large sound archives: number__author__title."""
_COUNTED_BY_A_DEVICE = re.compile(
    r"(?:zoom|dr|ste|rec|tascam|ls|vn|img|mvi|dsc|dscn|dscf|gopr|gh|gx|mov|vid|untitled)[-_ ]?\d+"
    r"(?:[-_ ]*(?:tr|lr|ms)\d*|[-_ ]+\d+)*",
    re.IGNORECASE,
)
"""File names from recorders and cameras, such as "ZOOM0042" and "IMG_1234"."""
_UNINFORMATIVE_WORDS = {
    "audio", "audios", "batch", "channel", "clip", "clips", "data", "dataset", "eval", "fold", "mp", "part", "record",
    "recording", "recordings", "samples", "set", "sound", "sounds", "split", "take", "test", "track", "train",
    "training", "val", "valid", "validation", "video", "videos", "wav", "wavs",
}  # fmt: skip
"""Words in file names that organise recordings instead of describing a sound."""


@dataclass(frozen=True)
class LeftOut:
    """An item that was left out of the training data: the file or line, and the reason as a clause."""

    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


@dataclass(frozen=True)
class ManifestRow:
    """One file and its captions in a manifest, with its licence and credit if there are any.

    `line` is counted from 1. `path` is the whole path of the file if the table has a column for it beside the name.
    """

    line: int
    file: str
    captions: tuple[str, ...]
    licence: str | None = None
    credit: str | None = None
    path: str | None = None


def read_manifest(
    path: Path, file_column: str | None = None, caption_column: str | None = None, *, needs_captions: bool = True
) -> tuple[list[ManifestRow], list[LeftOut]]:
    """Read a table of captions.

    Args:
        path: .csv (with commas, semicolons, tabs or bars), .tsv or .jsonl (one object per line), in UTF-8 or in UTF-16
            with a byte order mark, with a header.
        file_column: Name of the file column; None recognises the usual names.
        caption_column: Name of the caption column; None recognises the usual names.
        needs_captions: Leave out lines without a caption.

    Returns:
        The rows, and the lines that were left out.

    Raises:
        SettingsError: The table cannot be read or lacks a column.
    """
    suffix = path.suffix.lower()
    if suffix not in MANIFEST_SUFFIXES:
        raise SettingsError(
            f"{path.name} is not a table of captions.", f"Give a file that ends with {', '.join(MANIFEST_SUFFIXES)}."
        )
    try:
        content = path.read_bytes()
        text = content.decode(
            "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        )
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The captions in {path} cannot be read ({error}).", "Give a table in UTF-8.") from error
    entries, left_out = _json_lines(text, path.name) if suffix == ".jsonl" else (_table_lines(text, path), [])
    if not entries:
        return [], left_out
    # Each JSONL object has its own keys, while a table has one header.
    names = list(dict.fromkeys(name for _, entry in entries for name in entry))
    columns = _Columns.find(names, path.name, file_column, caption_column)
    rows: list[ManifestRow] = []
    for line, entry in entries:
        file = entry.get(columns.file)
        each_group = (_captions_in([entry.get(name) for name in group]) for group in columns.captions)
        captions = next(filter(None, each_group), ())
        if not isinstance(file, str) or not file.strip():
            left_out.append(LeftOut(f"{path.name}, line {line}", "it has no file name"))
        elif needs_captions and not captions:
            left_out.append(LeftOut(f"{path.name}, line {line}", f"{file.strip()} has no caption with a word"))
        else:
            whole = entry.get(columns.path) if columns.path else None
            rows.append(
                ManifestRow(
                    line, file.strip(), captions, *terms_of_entry(entry), path=whole if isinstance(whole, str) else None
                )
            )
    return rows, left_out


def captions_of_object(text: str) -> tuple[str, ...]:
    """Return the captions in a JSON object that describes one recording; empty if the text is no such object."""
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    if not isinstance(entry, dict):
        return ()
    groups = _Columns.all_recognised(list(entry), CAPTION_COLUMNS)
    return next(filter(None, (_captions_in([entry[name] for name in group]) for group in groups)), ())


def terms_of_entry(entry: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the licence and the credit in a row or object that describes one recording."""

    def first(known: Sequence[str]) -> str | None:
        names = _Columns.recognised(list(entry), known)
        text = entry[names[0]] if names else None
        return (clean_caption(text) or None) if isinstance(text, str) else None

    return first(LICENCE_COLUMNS), first(CREDIT_COLUMNS)


def clean_caption(text: str) -> str:
    """Normalise a caption to one line of NFC Unicode without control characters; "" if it has no letter.

    Text is truncated to LONGEST_CAPTION characters, more than any sentence encoder reads.
    """
    spaced = "".join(" " if unicodedata.category(mark) in ("Cc", "Cs") else mark for mark in text)
    line = " ".join(unicodedata.normalize("NFC", spaced).split())[:LONGEST_CAPTION].strip()
    return line if any(mark.isalpha() for mark in line) else ""


def caption_of_name(name: str) -> str:
    """Turn the name of a file or folder into a caption without numbers: "dog-bark_03" becomes "dog bark".

    Names that only organise recordings, such as "clip 7", "train" or "fold 3", give "".
    """
    title = _SOUND_ARCHIVE.sub("", unicodedata.normalize("NFC", name))
    if _COUNTED_BY_A_DEVICE.fullmatch(title.strip()):
        return ""
    separated = re.sub(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])", " ", title)
    # Vowel signs, as in Hindi and Thai, are not letters but marks. They are part of a word.
    spaced = "".join(
        mark if mark.isalnum() or unicodedata.category(mark).startswith("M") else " " for mark in separated
    )
    words = [word for word in spaced.split() if not any(mark.isdigit() for mark in word)]
    caption = clean_caption(" ".join(words).lower())
    return "" if set(caption.split()) <= _UNINFORMATIVE_WORDS else caption


def caption_of_folder(folder: Path, within: Path) -> str:
    """Return the caption of the nearest descriptive folder name, from `folder` up to but not including `within`."""
    return next(captions_of_folders(folder, within), "")


def captions_of_folders(folder: Path, within: Path) -> Iterator[str]:
    """Yield the captions of descriptive folder names, from `folder` up to but not including `within`."""
    while folder != within and folder.is_relative_to(within):
        if caption := caption_of_name(folder.name):
            yield caption
        folder = folder.parent


@dataclass(frozen=True)
class _Columns:
    """The columns to read, with the names in the table.

    Attributes:
        captions: Groups of columns, the best first.
        path: A column of whole paths beside that of the file names; "" if there is none.
    """

    file: str
    captions: tuple[list[str], ...]
    path: str

    @classmethod
    def find(cls, names: Sequence[str], source: str, file_column: str | None, caption_column: str | None) -> _Columns:
        file = cls._named(names, file_column, source) if file_column else cls.recognised(names, FILE_COLUMNS)
        captions = (
            [cls._named(names, caption_column, source)]
            if caption_column
            else cls.all_recognised(names, CAPTION_COLUMNS)
        )
        if not file or not captions:
            lacking = "the files" if not file else "the captions"
            raise SettingsError(
                f"{source} has no column for {lacking}; its columns are {_quote_names(names)}.",
                "Put the column names on the first line, or name the columns to read.",
            )
        path = cls.recognised(names, PATH_COLUMNS)
        return cls(file[0], tuple(captions), path[0] if path and path[0] != file[0] else "")

    @staticmethod
    def _named(names: Sequence[str], wanted: str, source: str) -> list[str]:
        if wanted in names:
            return [wanted]
        raise SettingsError(f"{source} has no column {wanted!r}.", f"Its columns are {_quote_names(names)}.")

    @classmethod
    def recognised(cls, names: Sequence[str], known: Sequence[str]) -> list[str]:
        """The columns with the best of the known names."""
        return next(iter(cls.all_recognised(names, known)), [])

    @staticmethod
    def all_recognised(names: Sequence[str], known: Sequence[str]) -> list[list[str]]:
        """The columns with each of the known names, the best first."""
        # Called for every line of a table, which can have a hundred columns.
        plain_of = {name: _plain(name) for name in names}
        groups: list[list[str]] = []
        for wanted in known:
            plain = [name for name in names if plain_of[name] == wanted]
            numbered: list[str] = []
            if not plain and known is CAPTION_COLUMNS:
                numbered = [name for name in names if re.fullmatch(rf"{wanted}_?\d+", plain_of[name])]
            if plain or numbered:
                groups.append(plain[:1] or numbered)
        return groups


def _plain(column: str) -> str:
    return re.sub(r"[\s-]+", "_", column.strip().lower())


def _quote_names(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:12]) or "none"


def _captions_in(cells: Sequence[Any]) -> tuple[str, ...]:
    texts = [text for cell in cells for text in (cell if isinstance(cell, list) else [cell])]
    cleaned = [clean_caption(text) for text in texts if isinstance(text, str)]
    return tuple(dict.fromkeys(caption for caption in cleaned if caption))


_Entries = list[tuple[int, Mapping[str, Any]]]


def _json_lines(text: str, source: str) -> tuple[_Entries, list[LeftOut]]:
    entries: _Entries = []
    left_out: list[LeftOut] = []
    # Not splitlines(): JSON strings can contain other line separators.
    for line, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        try:
            entry = json.loads(row)
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict):
            entries.append((line, entry))
        else:
            left_out.append(LeftOut(f"{source}, line {line}", "it is not a JSON object"))
    return entries, left_out


def _table_lines(text: str, path: Path) -> _Entries:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, path.suffix.lower()))
    header: list[str] | None = None
    entries: _Entries = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = cells
            else:
                entries.append((reader.line_num, dict(zip(header, [*cells, *[""] * len(header)], strict=False))))
    except csv.Error as error:
        raise SettingsError(
            f"{path.name} cannot be read as a table: line {reader.line_num}, {error}.", "Save it again as CSV or TSV."
        ) from error
    return entries


def _delimiter(text: str, suffix: str) -> str:
    """Return the delimiter of the columns: the candidate that occurs most often in the header."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(_DELIMITERS[suffix], key=header.count)
