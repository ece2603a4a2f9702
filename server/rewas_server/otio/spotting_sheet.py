"""Spotting sheets: CSV files that describe which sound each clip of a timeline gets.

A sheet is written from a timeline, edited in a spreadsheet, and read back. Spreadsheets change delimiters, encodings,
decimal points and the order of columns, so reading accepts all of these. A row with the name of a clip applies
to this clip, even after the clip has moved. A row without a name applies to its range of the timeline.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewas_api.clip_settings import ClipSettings
from rewas_api.errors import ProblemError, SettingsProblem
from rewas_api.layer_settings import LayerSettings
from rewas_engine.runtime.atomic_files import atomic_path
from rewas_server.otio.flat_settings import flat_values, settings_fields
from rewas_server.otio.names import shorten_quote

IN, OUT, CLIP, PICTURE_TRACK, AMBIENCE, TRACK = "in", "out", "clip", "picture track", "ambience", "track"
NONE_MARK = "-"
"""A cell with this alone means none: no sound, no ambience, or the default."""
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t"}
MAX_SHEET_BYTES = 64_000_000
_HEADER_ROWS = 20
"""The number of rows in which the header is searched, because a person may add titles above it."""
_SETTINGS = {
    "prompt": "prompt",
    "negative prompt": "negative_prompt",
    "pack": "pack",
    "seed": "seed",
    "takes": "takes",
    "gain db": "gain_db",
    "control strength": "control_strength",
    "steps": "num_inference_steps",
    "guidance scale": "guidance_scale",
    "loop": "loop",
    "mix": "mix",
    "level": "level",
    "like": "like",
    "recording": "performance.place",
    "tail": "performance.tail",
    "room": "performance.room",
}
"""Column -> setting of a clip, as in `flat_values`."""
_WRITTEN = (
    IN, OUT, CLIP, PICTURE_TRACK, "prompt", AMBIENCE, "negative prompt", TRACK, "pack", "seed", "takes", "gain db",
    "control strength", "loop",
)  # fmt: skip
_TITLES = {"gain db": "gain dB"}
_ALIASES = {
    "tc in": IN, "timecode in": IN, "record in": IN, "start": IN, "start tc": IN, "begin": IN,
    "tc out": OUT, "timecode out": OUT, "record out": OUT, "end": OUT, "end tc": OUT,
    "clip name": CLIP, "shot": CLIP, "name": CLIP,
    "video track": PICTURE_TRACK,
    "sound": "prompt",
    "ambiance": AMBIENCE, "amb": AMBIENCE,
    "stem": TRACK, "role": TRACK,
    "gain": "gain db", "strength": "control strength", "num inference steps": "steps", "negative": "negative prompt",
    "place": "recording",
    "sounds like": "like", "reference": "like", "reference sound": "like",
}  # fmt: skip
_INTEGERS, _FLOATS, _FLAGS = (
    {"seed", "takes", "steps", "recording"},
    {"gain db", "control strength", "guidance scale"},
    {"loop", "mix"},
)
_YES, _NO = (
    {"yes", "y", "true", "1", "x", "ja", "oui", "si", "sí", "wahr"},
    {"no", "n", "false", "0", "nein", "non", "falsch"},
)
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


@dataclass(frozen=True)
class SheetRow:
    """A row of a spotting sheet.

    Attributes:
        number: As a spreadsheet shows it, from 1.
        begin: Timecode at which it begins, as written; "" without one.
        end: Timecode at which it ends, as written: of the first frame after it.
        clip: Name of the clip; "" for a row that applies to its range.
        picture_track: Name of the video track; "" for any.
        values: Settings by the names of `flat_values`, and "ambience" and "track"; None means none.
        own: Text of the columns that are not ours, by title.
        problem: What is wrong with its cells.
    """

    number: int
    begin: str
    end: str
    clip: str
    picture_track: str
    values: Mapping[str, Any]
    own: Mapping[str, str] = field(default_factory=dict)
    problem: ProblemError | None = None


@dataclass(frozen=True)
class SpottingSheet:
    """A spotting sheet as it was read.

    Attributes:
        name: Of the file, for reports.
        rows: Without empty ones.
        own_columns: Titles of the columns that are not ours.
        is_drop_frame: Whether its timecodes count drop-frame: a semicolon in one of them says so.
        note: A sentence about how it was read; "" if there is none.
    """

    name: str
    rows: tuple[SheetRow, ...]
    own_columns: tuple[str, ...] = ()
    is_drop_frame: bool = False
    note: str = ""


@dataclass(frozen=True)
class SheetLine:
    """A line to write.

    Attributes:
        begin: Timecode.
        end: Timecode of the first frame after it.
        clip: Name; "" if the line applies to its range.
        picture_track: Name of the video track.
        values: Settings, as in SheetRow.
        own: Text of the columns that are not ours, by title.
    """

    begin: str
    end: str
    clip: str = ""
    picture_track: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)


def read_sheet(path: Path) -> SpottingSheet:
    """Read a spotting sheet.

    It may be in UTF-8, UTF-16 or Windows-1252, and separated by commas, semicolons or tabs, with its columns in any
    order. Raises ProblemError (SETTINGS) for a file that is not a spotting sheet.
    """
    try:
        size = path.stat().st_size
        if size > MAX_SHEET_BYTES:
            raise SettingsProblem(
                f"The spotting sheet {path.name} is {size / 1e6:.0f} MB large.",
                f"Check that it is the right file. The limit is {MAX_SHEET_BYTES // 1_000_000} MB.",
            )
        data = path.read_bytes()
    except OSError as error:
        raise SettingsProblem(
            f"The spotting sheet {path} cannot be read ({error.strerror or error}).", "Check the path."
        ) from error
    text, note = _decode(data, path.name)
    return parse_sheet(text, path.name, note)


def parse_sheet(text: str, name: str, note: str = "") -> SpottingSheet:
    """Parse the text of a spotting sheet. name: of its file, for errors. See `read_sheet`."""
    delimiter, skipped = "", 0
    if match := re.match(r"\ufeff?sep=(.)\r?\n", text):  # Written for Excel.
        delimiter, skipped, text = match[1], 1, text[match.end() :]
    text = text.removeprefix("\ufeff")
    found = max(
        (_find_header(text, each) for each in ([delimiter] if delimiter else DELIMITERS.values())),
        key=lambda header: len(header.columns),
    )
    if "prompt" not in found.columns or not found.columns.keys() & {IN, CLIP}:
        raise SettingsProblem(
            f"{name} is not a spotting sheet: none of its first {_HEADER_ROWS} rows names the columns.",
            "Write one with `rewas timeline sheet`, or name your columns in, out, clip and prompt.",
        )
    own = {title: place for place, title in found.own}
    rows = []
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=found.delimiter), start=1):
            if number > found.row and any(cell.strip() for cell in cells):
                rows.append(_parse_row(cells, number + skipped, found.columns, own, name))
    except csv.Error as error:
        raise _unreadable(name, error) from error
    is_drop_frame = any(";" in text for row in rows for text in (row.begin, row.end))
    return SpottingSheet(name, tuple(rows), tuple(own), is_drop_frame, note)


def check_delimiter(delimiter: str) -> None:
    """Raise ProblemError (SETTINGS) if a delimiter is not one of DELIMITERS."""
    if delimiter not in DELIMITERS:
        raise SettingsProblem(
            f'--delimiter is "{shorten_quote(delimiter)}".', f"Choose one of {', '.join(DELIMITERS)}."
        )


def write_sheet(
    path: Path, lines: Sequence[SheetLine], own_columns: Sequence[str] = (), delimiter: str = "comma"
) -> None:
    """Write a spotting sheet completely or not at all. delimiter: one of DELIMITERS."""
    text = format_sheet(lines, own_columns, delimiter)
    with atomic_path(path) as unfinished:
        # Without a byte order mark, Excel reads a file in the encoding of the system.
        unfinished.write_bytes(text.encode("utf-8-sig"))


def format_sheet(lines: Sequence[SheetLine], own_columns: Sequence[str] = (), delimiter: str = "comma") -> str:
    """Return the text of a spotting sheet. Cells that a spreadsheet would treat as formulas get an apostrophe."""
    held = [_line_cells(line) for line in lines]
    further = [name for name in _SETTINGS if name not in _WRITTEN and any(name in cells for cells in held)]
    columns = [*_WRITTEN, *further]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=DELIMITERS[delimiter], lineterminator="\r\n")
    writer.writerow([_guard(title) for title in (*(_TITLES.get(name, name) for name in columns), *own_columns)])
    for line, cells in zip(lines, held, strict=True):
        own = (_guard(line.own.get(title, "")) for title in own_columns)
        writer.writerow([*(_guard(cells.get(name, "")) for name in columns), *own])
    return buffer.getvalue()


def _decode(data: bytes, name: str) -> tuple[str, str]:
    """Return the text of a file, and a note if its encoding is a guess."""
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16"), ""
        # Latin letters in UTF-16 have a zero in every second byte.
        if data[1:64:2].count(0) > 16:
            return data.decode("utf-16-le"), ""
        if data[0:64:2].count(0) > 16:
            return data.decode("utf-16-be"), ""
    except UnicodeDecodeError as error:
        raise _unreadable(name, error) from error
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        note = f"{name} is not in UTF-8 and was read as Windows-1252. If letters are wrong, save it as “CSV UTF-8”."
        return data.decode("cp1252", errors="replace"), note


@dataclass(frozen=True)
class _Header:
    """The header of a sheet: its row, our columns with their indexes, and the indexes and titles of all others."""

    delimiter: str
    row: int
    columns: Mapping[str, int]
    own: Sequence[tuple[int, str]]


def _find_header(text: str, delimiter: str) -> _Header:
    best = _Header(delimiter, 0, {}, [])
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), start=1):
            if number > _HEADER_ROWS:
                break
            columns: dict[str, int] = {}
            own: dict[str, int] = {}
            for place, cell in enumerate(cells):
                title = _unguard(cell).strip()
                name = _column(title)
                if name is not None and name not in columns:
                    columns[name] = place
                elif title:
                    own.setdefault(title, place)
            if len(columns) > len(best.columns):
                best = _Header(delimiter, number, columns, [(place, title) for title, place in own.items()])
    except csv.Error:
        return best
    return best


def _column(title: str) -> str | None:
    name = " ".join(re.sub(r"[\W_]+", " ", title).lower().split())
    name = _ALIASES.get(name, name)
    return name if name in _SETTINGS or name in (IN, OUT, CLIP, PICTURE_TRACK, AMBIENCE, TRACK) else None


def _parse_row(
    cells: Sequence[str], number: int, columns: Mapping[str, int], own: Mapping[str, int], name: str
) -> SheetRow:
    def cell(place: int) -> str:
        return cells[place] if place < len(cells) else ""

    texts = {column: cell(place) for column, place in columns.items()}
    values: dict[str, Any] = {}
    problem = None
    for column, raw in texts.items():
        if column in (IN, OUT, CLIP, PICTURE_TRACK) or not raw.strip():
            continue
        key = _SETTINGS.get(column, column)
        if raw.strip() == NONE_MARK:
            values[key] = None
            continue
        try:
            values[key] = _parse_cell(column, _unguard(raw).strip())
        except ProblemError as error:
            what = (
                f'The cell "{_TITLES.get(column, column)}" in row {number} of {name} is "{shorten_quote(raw.strip())}".'
            )
            problem = problem or SettingsProblem(what, error.remedy)
    begin, end, clip, track = (_unguard(texts.get(key, "")).strip() for key in (IN, OUT, CLIP, PICTURE_TRACK))
    held = {title: _unguard(cell(place)) for title, place in own.items() if cell(place)}
    return SheetRow(number, begin.lstrip("'"), end.lstrip("'"), clip, track, values, held, problem)


def _parse_cell(column: str, text: str) -> Any:
    """Return the value of a cell. Raises ProblemError with a remedy that says what to write."""
    value: Any = text
    if column in _INTEGERS or column in _FLOATS:
        value = _parse_number(text, column in _INTEGERS)
    elif column in _FLAGS:
        if text.casefold() not in _YES | _NO:
            raise SettingsProblem("", "Write yes or no.")
        value = text.casefold() in _YES
    if column == AMBIENCE:
        LayerSettings(AMBIENCE, text)
    elif column == TRACK:
        if len(text) > 60:
            raise SettingsProblem("", "Use at most 60 characters.")
    else:
        ClipSettings(**settings_fields({_SETTINGS[column]: value}))
    return value


def _parse_number(text: str, whole: bool) -> int | float:
    if re.fullmatch(r"\d+([.,]\d+)?[eE]\+\d+", text):
        raise SettingsProblem(
            "", "The spreadsheet has rounded this number. Format the column as text, and type it again."
        )
    number = re.fullmatch(r"[+\-−]?\d+(?:[.,]\d+)?", text)
    if number is None:
        raise SettingsProblem("", "Write a whole number." if whole else "Write a number.")
    plain = text.replace(",", ".").replace("−", "-")
    if not whole:
        return float(plain)
    digits, _, rest = plain.partition(".")
    if rest.strip("0"):
        raise SettingsProblem("", "Write a whole number.")
    return int(digits)


def settings_values(settings: ClipSettings) -> dict[str, Any]:
    """Return settings as the values of a row. Layers other than the ambience have no column."""
    values = {name: value for name, value in flat_values(settings).items() if name in _SETTINGS.values()}
    ambience = next((layer.prompt for layer in settings.layers or () if layer.name == AMBIENCE), None)
    return values if ambience is None else values | {AMBIENCE: ambience}


def _line_cells(line: SheetLine) -> dict[str, str | None]:
    cells: dict[str, str | None] = {
        IN: line.begin, OUT: line.end, CLIP: line.clip, PICTURE_TRACK: line.picture_track
    }  # fmt: skip
    names = {setting: column for column, setting in _SETTINGS.items()}
    for name, value in line.values.items():
        cells[names.get(name, name)] = None if value is None else _format_value(value)
    return cells


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _guard(text: str | None) -> str:
    """Return a cell that no spreadsheet treats as a formula. None means none."""
    if text is None:
        return NONE_MARK
    return f"'{text}" if _FORMULA.match(text) else text


def _unguard(text: str) -> str:
    return text[1:] if _GUARDED.match(text) else text


def _unreadable(name: str, error: Exception) -> ProblemError:
    return SettingsProblem(
        f"The spotting sheet {name} cannot be read ({error}).",
        "Check that it is a CSV file, and save it again in UTF-8.",
    )
