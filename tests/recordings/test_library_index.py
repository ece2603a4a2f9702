"""The index of a library: it reads back as it was written, and an error reports any damage."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine.errors import MediaError
from rewas_engine.recordings.index import INDEX_FILE, LibraryIndex, Recording, SoundEvent, Stretch

LENGTH = 96_000


def recording(path: Path, **changed: object) -> Recording:
    plain = Recording(path, 12_345, 1_700_000_000_123_456_789, "ab" * 32, 48_000, 2, LENGTH, "door", None, None, -70.5,
                      -3.25, 0.4)  # fmt: skip
    return replace(plain, **changed)


def index_of(folder: Path) -> LibraryIndex:
    sounds = folder / "sounds"
    return LibraryIndex(
        (sounds, Path("/elsewhere")),
        (
            recording(sounds / "Türen" / "戸を閉める.wav", words="戸, Türe", licence="CC0-1.0"),
            recording(Path("/elsewhere/knock.flac"), credit="A. Person", channels=64),
        ),
        (SoundEvent(0, 10, 12, 4000, -3.3, -4.25, 812.5, 0.125, 0), SoundEvent(1, 0, 0, 1, -60.0, -11.0, 90.0, 0.0, 3)),
        (Stretch(1, 0, LENGTH, 480, 95_000, -31.5, -6.5, 2000.0),),
        np.array([[1, 0, 0], [0, 0.6, 0.8]], np.float16),
    )


def contents(index: LibraryIndex) -> tuple[object, ...]:
    return index.sources, index.recordings, index.events, index.stretches, index.embeddings.tolist()


def test_an_index_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    index = index_of(tmp_path)
    index.save(tmp_path / "index")
    read = LibraryIndex.load(tmp_path / "index")
    assert contents(read) == contents(index)
    assert read.embeddings.dtype == np.float16
    assert [event.recording for event in read.events_of(1)] == [1]
    assert read.stretches_of(0) == []


@given(
    events=st.lists(
        st.builds(
            lambda positions, numbers, round_number: SoundEvent(
                0, positions[0], positions[1], positions[2] + 1, *numbers, round_number
            ),
            st.lists(st.integers(0, LENGTH - 1), min_size=3, max_size=3).map(sorted),
            st.tuples(*[st.floats(-1e6, 1e6)] * 4),
            st.integers(0, 2**40),
        ),
        max_size=20,
    ),
    words=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_every_number_and_text_survives(
    tmp_path_factory: pytest.TempPathFactory, events: list[SoundEvent], words: str
) -> None:
    folder = tmp_path_factory.mktemp("library")
    index = LibraryIndex(
        (folder,), (recording(folder / "a.wav", words=words),), tuple(events), (), np.zeros((1, 4), np.float16)
    )
    index.save(folder / "index")
    assert contents(LibraryIndex.load(folder / "index")) == contents(index)


@pytest.mark.skipif(os.name == "nt", reason="The folder can exist on Windows.")
def test_a_folder_of_a_windows_computer_is_not_in_the_pack(tmp_path: Path) -> None:
    folder = tmp_path / "pack" / "index"
    index_of(tmp_path).save(folder)
    document = json.loads((folder / INDEX_FILE).read_text("utf-8"))
    document["sources"][0] = "C:\\Users\\me\\Sounds"
    (folder / INDEX_FILE).write_text(json.dumps(document), "utf-8")
    source = LibraryIndex.load(folder).sources[0]
    assert source.is_absolute()
    assert not source.is_relative_to(tmp_path)


def test_an_empty_index_is_valid(tmp_path: Path) -> None:
    LibraryIndex((tmp_path,), ()).save(tmp_path / "index")
    assert contents(LibraryIndex.load(tmp_path / "index")) == ((tmp_path,), (), (), (), [])


def test_recordings_next_to_the_index_move_with_it(tmp_path: Path) -> None:
    index_of(tmp_path / "before").save(tmp_path / "before" / "index")
    (tmp_path / "before").rename(tmp_path / "after")
    moved = LibraryIndex.load(tmp_path / "after" / "index")
    assert moved.sources == (tmp_path / "after" / "sounds", Path("/elsewhere"))
    assert moved.recordings[0].path == tmp_path / "after" / "sounds" / "Türen" / "戸を閉める.wav"


def test_a_new_index_replaces_the_old_one(tmp_path: Path) -> None:
    index_of(tmp_path).save(tmp_path / "index")
    LibraryIndex((tmp_path,), ()).save(tmp_path / "index")
    assert not LibraryIndex.load(tmp_path / "index").recordings
    assert len(list((tmp_path / "index").iterdir())) == 2


def test_a_write_that_fails_keeps_the_old_index(tmp_path: Path) -> None:
    folder = tmp_path / "index"
    index_of(tmp_path).save(folder)
    stray = LibraryIndex((tmp_path,), (recording(Path("/stray/a.wav")),), embeddings=np.zeros((1, 3), np.float16))
    with pytest.raises(ValueError, match="none of the library's folders"):
        stray.save(folder)
    assert contents(LibraryIndex.load(folder)) == contents(index_of(tmp_path))


DAMAGES = ["missing", "no numbers", "other numbers", "cut", "no list", "too few", "outside", "absolute", "newer"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_reported_in_a_sentence(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "index"
    index_of(tmp_path).save(folder)
    file, (numbers,) = folder / INDEX_FILE, tuple(folder.glob("*.safetensors"))
    document = json.loads(file.read_text("utf-8"))
    match damage:
        case "missing":
            file.unlink()
        case "no numbers":
            numbers.unlink()
        case "other numbers":
            numbers.write_bytes(numbers.read_bytes()[:-1] + b"\1")
        case "cut":
            file.write_text(file.read_text("utf-8")[:-20], "utf-8")
        case "no list":
            file.write_text("[]", "utf-8")
        case "too few":
            file.write_text(json.dumps(document | {"recordings": document["recordings"][:1]}), "utf-8")
        case "outside":
            document["recordings"][0]["path"] = "../../secret.wav"
            file.write_text(json.dumps(document), "utf-8")
        case "absolute":
            document["recordings"][0]["path"] = "/secret.wav"
            file.write_text(json.dumps(document), "utf-8")
        case "newer":
            file.write_text(json.dumps(document | {"format": 99}), "utf-8")
    with pytest.raises(MediaError) as caught:
        LibraryIndex.load(folder)
    assert str(folder) in caught.value.what
    assert "Make the library again" in caught.value.remedy or "make the library again" in caught.value.remedy


@pytest.mark.parametrize(
    "event",
    [
        SoundEvent(2, 0, 0, 10, 0, 0, 0, 0, 0),
        SoundEvent(0, 0, 10, 10, 0, 0, 0, 0, 0),
        SoundEvent(0, 11, 10, 20, 0, 0, 0, 0, 0),
        SoundEvent(0, -1, 10, 20, 0, 0, 0, 0, 0),
        SoundEvent(0, 0, 10, LENGTH + 1, 0, 0, 0, 0, 0),
    ],
)
def test_an_index_that_contradicts_itself_cannot_be_built(tmp_path: Path, event: SoundEvent) -> None:
    with pytest.raises(ValueError):
        replace(index_of(tmp_path), events=(event,))
