"""Spotting sheets: a written sheet is read back, even after a spreadsheet has changed the file."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.clip_settings import ClipSettings
from rewas_api.errors import ProblemError
from rewas_api.layer_settings import LayerSettings
from rewas_server.otio.spotting_sheet import (
    DELIMITERS,
    SheetLine,
    SheetRow,
    format_sheet,
    parse_sheet,
    read_sheet,
    settings_values,
    write_sheet,
)

TEXT = (
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=60)
    .map(str.strip)
    .filter(bool)
)
NAMES = TEXT.filter(lambda text: text == text.lstrip("'"))


def lines(*settings: ClipSettings) -> list[SheetLine]:
    return [
        SheetLine("01:00:00:00", "01:00:01:00", f"shot {n}", "V1", settings_values(each))
        for n, each in enumerate(settings)
    ]


def sheet_text(*rows: str) -> str:
    return "in,out,clip,prompt,ambience,track,seed,gain dB,loop\n" + "\n".join(rows)


def only_row(text: str) -> SheetRow:
    (row,) = parse_sheet(text, "sheet.csv").rows
    return row


@given(
    settings=st.builds(
        ClipSettings,
        prompt=TEXT,
        negative_prompt=st.none() | TEXT,
        pack=st.none() | TEXT,
        seed=st.none() | st.integers(0, 2**63 - 1),
        takes=st.none() | st.integers(1, 100),
        gain_db=st.none() | st.integers(-600, 240).map(lambda tenths: tenths / 10),
        control_strength=st.none() | st.integers(0, 200).map(lambda percent: percent / 100),
        num_inference_steps=st.none() | st.integers(1, 1000),
        loop=st.none() | st.booleans(),
        layers=st.none() | TEXT.map(lambda text: (LayerSettings("ambience", text),)),
    ),
    clip=TEXT,
    track=st.none() | TEXT,
    own=TEXT,
    delimiter=st.sampled_from(list(DELIMITERS)),
)
def test_a_sheet_is_read_as_it_was_written(
    settings: ClipSettings, clip: str, track: str | None, own: str, delimiter: str
) -> None:
    values = settings_values(settings) | ({"track": track} if track else {})
    line = SheetLine("01:00:00;02", "01:00:01;00", clip, "V1", values, {"Notes for Ann": own})
    text = format_sheet([line], ["Notes for Ann"], delimiter)
    sheet = parse_sheet(text, "sheet.csv")
    (row,) = sheet.rows
    expected = {name: value for name, value in vars(settings).items() if value is not None and name != "layers"}
    if settings.layers:
        expected["ambience"] = settings.layers[0].prompt
    if track:
        expected["track"] = track
    assert row.problem is None
    assert row.values == expected
    assert (row.begin, row.end, row.clip, row.picture_track) == ("01:00:00;02", "01:00:01;00", clip, "V1")
    assert row.own == {"Notes for Ann": own}
    assert sheet.is_drop_frame


@given(cells=st.lists(st.text(alphabet="'=+-@\t\rab ", min_size=1, max_size=6), min_size=1, max_size=5))
def test_no_spreadsheet_treats_a_cell_as_a_formula(cells: list[str]) -> None:
    settings = [ClipSettings(cell) for cell in cells if cell.strip()]
    for row in list(csv.reader(io.StringIO(format_sheet(lines(*settings)), newline="")))[1:]:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("delimiter", DELIMITERS.values())
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_spreadsheet_may_change_the_form_of_the_file(
    encoding: str, delimiter: str, line_end: str, tmp_path: Path
) -> None:
    rows = [
        ["PROMPT", "Clip Name", "TC in", "tc-out", "Gain (dB)"],
        ["Tür, “laut”", "Küche; 1", "1:00:00:00", "", "-3,5"],
    ]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    path = tmp_path / "sheet.csv"
    path.write_bytes(buffer.getvalue().encode(encoding))
    sheet = read_sheet(path)
    (row,) = sheet.rows
    assert (row.number, row.begin, row.end, row.clip) == (2, "1:00:00:00", "", "Küche; 1")
    assert row.values == {"prompt": "Tür, “laut”", "gain_db": -3.5}
    assert ("Windows-1252" in sheet.note) == (encoding == "cp1252")


def test_titles_above_the_header_and_empty_rows_are_skipped() -> None:
    text = "sep=;\nReel 3;;\n;;\nin;prompt;Ann's notes\n;;\n01:00:00:00;rain;loud\n;;\n"
    sheet = parse_sheet(text, "sheet.csv")
    assert [(row.number, row.values, row.own) for row in sheet.rows] == [
        (6, {"prompt": "rain"}, {"Ann's notes": "loud"})
    ]


def test_a_hyphen_means_none() -> None:
    row = only_row(sheet_text("01:00:00:00,,shot,-,-,,-"))
    assert row.values == {"prompt": None, "ambience": None, "seed": None}
    again = format_sheet([SheetLine(row.begin, row.end, row.clip, values=row.values)])
    assert only_row(again).values == row.values
    assert only_row(sheet_text("01:00:00:00,,shot,'-")).values == {"prompt": "-"}


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("rain,,,1.23457E+15", "The spreadsheet has rounded this number"),
        ("rain,,,seven", 'The cell "seed" in row 2 of sheet.csv is "seven". Write a whole number.'),
        ("rain,,,1.5", "Write a whole number."),
        ("rain,,,-1", "Set a whole number from 0"),
        ("rain,,,,loud", 'The cell "gain dB" in row 2 of sheet.csv is "loud". Write a number.'),
        ("rain,,,,99", "Set a number from -60 to 24."),
        ("rain,,,,,perhaps", "Write yes or no."),
        (f"{'x' * 2001},,,", "Shorten it to at most 2000."),
    ],
)
def test_a_wrong_cell_is_named(cells: str, message: str) -> None:
    row = only_row(sheet_text(f"01:00:00:00,,shot,{cells}"))
    assert row.problem is not None
    assert message in str(row.problem)


@pytest.mark.parametrize(("cell", "seed"), [("7", 7), ("7.0", 7), ("7,00", 7), ("9223372036854775807", 2**63 - 1)])
def test_spreadsheets_may_add_decimals_to_whole_numbers(cell: str, seed: int) -> None:
    assert only_row(sheet_text(f'01:00:00:00,,shot,rain,,,"{cell}"')).values["seed"] == seed


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"a,b,c\n1,2,3", b"in;out\n1;2", b"\x00" * 100, codecs.BOM_UTF16_LE + b"\x00\xd8\x00"]
)
def test_other_files_are_refused_with_a_clear_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(content)
    with pytest.raises(ProblemError, match=r"notes\.csv (is not a spotting sheet|cannot be read)"):
        read_sheet(path)


@given(data=st.binary(max_size=300))
def test_any_file_is_read_or_refused(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"in,prompt\n" + data)
    with contextlib.suppress(ProblemError):
        read_sheet(path)


def test_a_missing_sheet_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match=r"none\.csv cannot be read"):
        read_sheet(tmp_path / "none.csv")


def test_a_sheet_opens_in_excel_with_its_letters(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    write_sheet(path, lines(ClipSettings("扉が閉まる")))
    assert path.read_bytes().startswith(codecs.BOM_UTF8)
    assert read_sheet(path).rows[0].values == {"prompt": "扉が閉まる"}
    assert [child.name for child in tmp_path.iterdir()] == ["sheet.csv"]
