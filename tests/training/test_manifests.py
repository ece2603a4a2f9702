"""Captions from tables, text files and file names, and tables with paths outside the folder."""

import contextlib
import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewas_engine.errors import SettingsError
from rewas_engine.recordings.captions import (
    LONGEST_CAPTION,
    caption_of_folder,
    caption_of_name,
    clean_caption,
    read_manifest,
)
from rewas_engine.training.recording_catalog import CaptionSource, list_recordings

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
files = texts.filter(str.strip)
captions = texts.filter(clean_caption)
in_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)


def table(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8", newline="")
    return path


@in_folder
@given(rows=st.lists(st.tuples(files, captions), max_size=5), delimiter=st.sampled_from(",;\t|"))
def test_a_written_table_is_read_unchanged(rows, delimiter: str, tmp_path: Path) -> None:
    # A carriage return in a cell cannot be distinguished from an old line ending.
    rows = [(file.replace("\r", "\n"), caption) for file, caption in rows]
    rows = [row for row in rows if row[0].strip()]
    written = io.StringIO(newline="")
    csv.writer(written, delimiter=delimiter).writerows([("n", "file", "caption"), *((0, *row) for row in rows)])
    suffix = ".tsv" if delimiter == "\t" else ".csv"
    found, left_out = read_manifest(table(tmp_path / f"rows{suffix}", written.getvalue()))
    assert [(row.file, row.captions) for row in found] == [
        (file.strip(), (clean_caption(caption),)) for file, caption in rows
    ]
    assert left_out == []


@in_folder
@given(rows=st.lists(st.tuples(files, captions), max_size=5), is_ascii=st.booleans())
def test_written_json_lines_are_read_unchanged(rows, is_ascii: bool, tmp_path: Path) -> None:
    lines = [json.dumps({"audio_filepath": file, "text": caption}, ensure_ascii=is_ascii) for file, caption in rows]
    found, left_out = read_manifest(table(tmp_path / "rows.jsonl", "\n".join(lines)))
    assert [(row.line, row.file, row.captions) for row in found] == [
        (line, file.strip(), (clean_caption(caption),)) for line, (file, caption) in enumerate(rows, start=1)
    ]
    assert left_out == []


@in_folder
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".csv", ".tsv", ".jsonl"]))
def test_any_content_is_read_or_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"any{suffix}"
    path.write_bytes(content)
    rows = []
    with contextlib.suppress(SettingsError):
        rows, _ = read_manifest(path)
    assert all(row.file and row.captions for row in rows)


@given(text=st.text())
def test_a_cleaned_caption_is_one_line(text: str) -> None:
    cleaned = clean_caption(text)
    assert cleaned == clean_caption(cleaned)
    assert cleaned == " ".join(cleaned.split())
    assert len(cleaned) <= LONGEST_CAPTION
    assert bool(cleaned) == any(mark.isalpha() for mark in cleaned)
    cleaned.encode()


@given(name=st.text())
def test_the_caption_from_a_name_has_no_numbers_or_punctuation(name: str) -> None:
    assert all(mark.isalnum() or mark == " " for mark in caption_of_name(name) if ord(mark) < 128)
    assert not any(mark.isdigit() for mark in caption_of_name(name))


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("dog-bark_03", "dog bark"),
        ("DogBark03", "dog bark"),
        ("  rain (on a roof), take 2", "rain on a roof take"),
        ("123456__some_body__glass-breaking-2", "glass breaking"),
        ("Käfer_Brummen", "käfer brummen"),
        ("clip_0001", ""),
        ("Audio Track 2", ""),
        ("0001", ""),
        ("", ""),
    ],
)
def test_names_of_files_become_captions(name: str, caption: str) -> None:
    assert caption_of_name(name) == caption


@pytest.mark.parametrize(
    ("folder", "caption"),
    [
        ("dog bark", "dog bark"),
        ("dog_bark/fold1", "dog bark"),
        ("train/audio", ""),
        ("", ""),
        ("a/Wind/wav_48", "wind"),
    ],
)
def test_folders_that_only_sort_give_no_caption(folder: str, caption: str) -> None:
    assert caption_of_folder(Path("data") / folder, Path("data")) == caption


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "file_name,caption_1,caption_2\nx.wav,a dog,a hound\n", [("x.wav", ("a dog", "a hound"))]),
        ("a.csv", "id;category\n7;rain\n", [("7", ("rain",))]),
        ("a.csv", "\ufeffFile Name,LABEL\r\nx.wav,rain\r\n", [("x.wav", ("rain",))]),
        ("a.csv", 'path,text\nx.wav,"rain, heavy"\n', [("x.wav", ("rain, heavy",))]),
        ("a.tsv", "label\tfilename\n\nrain\tx, y.wav\n", [("x, y.wav", ("rain",))]),
        ("a.jsonl", '{"path": "x.wav", "captions": ["a dog", "a  dog", "two"]}', [("x.wav", ("a dog", "two"))]),
        ("a.csv", "name,label,caption,file\n1,2,rain,x.wav\n", [("x.wav", ("rain",))]),
    ],
)
def test_common_tables_are_read(name: str, text: str, expected, tmp_path: Path) -> None:
    rows, left_out = read_manifest(table(tmp_path / name, text))
    assert [(row.file, row.captions) for row in rows] == expected
    assert left_out == []


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "file,caption\nx.wav,\n", "line 2: x.wav has no caption"),
        ("a.csv", "file,caption\nx.wav,  17\n", "line 2: x.wav has no caption"),
        ("a.csv", "file,caption\nx.wav\n", "line 2: x.wav has no caption"),
        ("a.csv", "file,caption\n ,rain\n", "line 2: it has no file name"),
        ("a.jsonl", '{"file": "x.wav", "caption": 3}', "line 1: x.wav has no caption"),
        ("a.jsonl", '{"file": ["x.wav"], "caption": "rain"}', "line 1: it has no file name"),
        ("a.jsonl", '{"file": "x.wav"}\n{"caption": "rain"}', "line 1: x.wav has no caption"),
        ("a.jsonl", '{"file": "x.wav", "capt', "line 1: it is not a JSON object"),
        ("a.jsonl", "[" * 100_000, "line 1: it is not a JSON object"),
    ],
)
def test_unusable_lines_are_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    rows, left_out = read_manifest(table(tmp_path / name, text))
    assert rows == []
    assert message in str(left_out[0])


@pytest.mark.parametrize(
    ("name", "text", "columns", "message"),
    [
        (
            "a.csv",
            "one,two\nx.wav,rain\n",
            (None, None),
            "no column for the files; its columns are 'one', 'two'",
        ),
        ("a.csv", "file,two\nx.wav,rain\n", (None, None), "no column for the captions"),
        ("a.csv", "file,caption\nx.wav,rain\n", ("datei", None), "no column 'datei'"),
        ("a.csv", "file,caption\nx.wav,rain\n", (None, "worte"), "no column 'worte'"),
        ("a.csv", "file,caption\nx.wav," + "a" * 200_000, (None, None), "cannot be read as a table: line 2"),
        ("a.xlsx", "", (None, None), "is not a table of captions"),
    ],
)
def test_unreadable_tables_are_refused_with_a_reason(
    name: str, text: str, columns, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=message):
        read_manifest(table(tmp_path / name, text), *columns)


def test_a_missing_or_binary_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"file,caption\n\xff\xfe\n")
    for name in ("a.csv", "b.csv"):
        with pytest.raises(SettingsError, match=f"{name} cannot be read"):
            read_manifest(tmp_path / name)


def test_columns_may_have_any_name(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", "worte,file,datei\nRegen,no.wav,x.wav\n")
    rows, _ = read_manifest(path, "datei", "worte")
    assert [(row.file, row.captions) for row in rows] == [("x.wav", ("Regen",))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with empty media files, next to another folder that was not given."""
    inside = tmp_path / "given"
    for name in (
        "given/rain/heavy_01.wav",
        "given/rain/heavy_02.FLAC",
        "given/dog.wav",
        "given/deep/er/dog.wav",
        "given/deep/0002.mp4",
        "given/.hidden.wav",
        "given/notes.pdf",
        "secret.wav",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return inside


def list_captions(folder: Path, text: str | None = None, **source):
    """Names and captions of the recordings of a folder, and the skipped entries."""
    if text is not None:
        source["manifest"] = table(folder.parent / "table.csv", text)
    found = list_recordings(folder, None, CaptionSource(**source))
    return {each.name: each.captions for each in found.recordings}, [str(each) for each in found.left_out]


def test_without_a_table_names_and_text_files_are_used(folder: Path) -> None:
    (folder / "deep/er/dog.txt").write_text("a small dog\n\n the same dog ", "utf-8")
    found, left_out = list_captions(folder)
    assert found == {
        "rain/heavy_01.wav": ("rain",),
        "rain/heavy_02.FLAC": ("rain",),
        "dog.wav": ("dog",),
        "deep/er/dog.wav": ("a small dog", "the same dog"),
        "deep/0002.mp4": ("deep",),
    }
    assert left_out == []


@pytest.mark.parametrize(
    ("options", "found", "left_out"),
    [
        ("name", {"dog.wav": ("dog",), "rain/heavy_01.wav": ("heavy",)}, "deep/0002.mp4: neither"),
        ("folder", {"deep/0002.mp4": ("deep",), "rain/heavy_01.wav": ("rain",)}, "dog.wav: neither"),
        ("text", {"deep/er/dog.wav": ("hound",)}, "dog.wav: there is no dog.txt next to it"),
    ],
)
def test_the_caption_source_can_be_chosen(options, found, left_out: str, folder: Path) -> None:
    (folder / "deep/er/dog.txt").write_text("hound", "utf-8")
    recordings, problems = list_captions(folder, words=options)
    assert found.items() <= recordings.items()
    assert any(problem.startswith(left_out) for problem in problems)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("rain/heavy_01.wav", "rain/heavy_01.wav"),
        ("./rain/../rain/heavy_01.wav", "rain/heavy_01.wav"),
        ("rain\\heavy_01.wav", "rain/heavy_01.wav"),
        ("rain/heavy_01", "rain/heavy_01.wav"),
        ("heavy_02.FLAC", "rain/heavy_02.FLAC"),
        ("0002", "deep/0002.mp4"),
        ("dog.wav", "dog.wav"),
        ("given/deep/0002.mp4", "deep/0002.mp4"),
        ("{folder}/deep/0002.mp4", "deep/0002.mp4"),
    ],
)
def test_tables_name_files_in_several_ways(written: str, expected: str, folder: Path) -> None:
    found, left_out = list_captions(folder, f"file,caption\n{written.format(folder=folder)},rain\n")
    assert found == {expected: ("rain",)}
    assert left_out == ["4 files: table.csv does not list them"]


@pytest.mark.parametrize(
    "written",
    ["../secret.wav", "rain/../../secret.wav", "{folder}/../secret.wav", "{folder.parent}/secret.wav", "/etc/passwd"],
)
def test_paths_outside_the_folder_are_refused(written: str, folder: Path) -> None:
    row = written.format(folder=folder)
    found, left_out = list_captions(folder, f"file,caption\n{row},mine\ndog.wav,dog\n")
    assert found == {"dog.wav": ("dog",)}
    assert left_out[0] == f"table.csv, line 2: {row} is outside the folder or does not exist"


@in_folder
@given(row=st.text(st.sampled_from("./\\~ $ab\0:") | st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_path_of_a_table_lies_in_the_folder(row: str, folder: Path) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerows([("file", "caption"), (row, "rain"), ("dog.wav", "dog")])
    found, _ = list_captions(folder, written.getvalue())
    assert found.keys() <= {"rain/heavy_01.wav", "rain/heavy_02.FLAC", "dog.wav", "deep/er/dog.wav", "deep/0002.mp4"}


def test_symlinks_out_of_the_folder_are_not_followed(folder: Path) -> None:
    (folder / "linked.wav").symlink_to(folder.parent / "secret.wav")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "dog.txt").symlink_to(folder.parent / "words.txt")
    (folder.parent / "words.txt").write_text("secret words")
    found, left_out = list_captions(folder)
    assert "linked.wav" not in found
    assert "dog.wav" not in found
    assert not any("secret" in name for name in found)
    assert sorted(left_out) == [
        "dog.wav: dog.txt is a link out of the folder",
        "linked.wav: it is a link out of the folder",
        "linked: links to folders are not followed",
    ]


def test_missing_and_ambiguous_files_are_named(folder: Path) -> None:
    (folder / "dog.wav").rename(folder / "rain/dog.wav")
    found, left_out = list_captions(folder, "file,caption\nno.wav,rain\ndog.wav,dog\nheavy_01,rain\nheavy_01,drops\n")
    assert found == {"rain/heavy_01.wav": ("rain", "drops")}
    assert left_out[0].startswith("table.csv, line 2: there is no sound or video no.wav in ")
    assert left_out[1] == "table.csv, line 3: dog.wav matches 2 files"


def test_one_table_covers_both_folders(folder: Path) -> None:
    manifest = table(folder / "any.csv", "file,caption\nrain/heavy_01.wav,rain\n0002.mp4,film\n")
    found = list_recordings(folder / "rain", folder / "deep", CaptionSource(manifest=manifest))
    assert [(each.name, each.is_seen) for each in found.recordings] == [("heavy_01.wav", False), ("0002.mp4", True)]


def test_one_folder_may_hold_sounds_and_videos(folder: Path) -> None:
    found = list_recordings(folder, folder)
    assert len(found.recordings) == 5
    assert [each.name for each in found.recordings if each.is_seen] == ["deep/0002.mp4"]


def test_a_table_in_the_folder_is_found_automatically(folder: Path) -> None:
    table(folder / "metadata.csv", "file_name,text\ndog.wav,a hound\n")
    assert list_captions(folder)[0] == {"dog.wav": ("a hound",)}
    assert list_captions(folder, words="name")[0]["dog.wav"] == ("dog",)
    table(folder / "captions.tsv", "file_name\ttext\n")
    with pytest.raises(SettingsError, match=r"2 tables of captions: captions.tsv, metadata.csv"):
        list_captions(folder)


@pytest.mark.parametrize(
    ("content", "captions"),
    [
        ('{"caption": "a dog", "full_caption": "a dog in the rain"}', ("a dog in the rain",)),
        ('{"captions": ["one", "two"], "label": "three"}', ("one", "two")),
        ('{"caption": null}', None),
        ('{"title": "a dog"}', None),
        ("[]", None),
        ("{", None),
    ],
)
def test_text_files_beside_the_media_are_read(content: str, captions, folder: Path) -> None:
    (folder / "dog.json").write_text(content, "utf-8")
    found, left_out = list_captions(folder)
    assert found.get("dog.wav") == captions
    assert left_out == ([] if captions else ["dog.wav: dog.json has no caption"])


def test_empty_text_files_skip_the_file(folder: Path) -> None:
    (folder / "dog.txt").write_bytes(b"\xff\xfe\xff")
    (folder / "deep/0002.txt").write_text("  \n 12\n")
    _, left_out = list_captions(folder)
    assert sorted(left_out) == ["deep/0002.mp4: 0002.txt has no word", "dog.wav: dog.txt is not text in UTF-8"]


def test_a_folder_without_media_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No recordings are given"):
        list_recordings(None, None)
    with pytest.raises(SettingsError, match=r"The folder .* does not exist"):
        list_recordings(tmp_path / "nowhere", None)
    (tmp_path / "0001.wav").touch()
    with pytest.raises(SettingsError, match=r"No recording with a caption .* First of 1 problems: 0001.wav: neither"):
        list_recordings(tmp_path, None)
