"""Words of sound files: UCS names, metadata, folders, texts and tables, in the right order."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine.errors import SettingsError
from rewas_engine.recordings.captions import LeftOut
from rewas_engine.recordings.metadata import SoundMetadata, read_metadata
from rewas_engine.recordings.names import take_apart, words_of_name
from rewas_engine.recordings.words import find_sound_files

IXML = """<?xml version="1.0" encoding="UTF-8"?><BWFXML><USER><FXNAME>Schwere Tür schlägt zu</FXNAME>
<DESIGNER>A. Recordist</DESIGNER></USER></BWFXML>"""


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def wave(path: Path, *chunks: bytes) -> Path:
    """A short WAV file with more chunks before its samples."""
    samples = chunk(b"data", (np.random.default_rng(0).normal(0, 3000, 4000)).astype("<i2").tobytes())
    body = b"WAVE" + chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)) + b"".join(chunks) + samples
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def bext(description: str, originator: str = "") -> bytes:
    return chunk(b"bext", description.encode().ljust(256, b"\0") + originator.encode().ljust(32, b"\0") + bytes(314))


def info(**tags: str) -> bytes:
    return chunk(
        b"LIST", b"INFO" + b"".join(chunk(name.encode(), text.encode() + b"\0") for name, text in tags.items())
    )


def words_in(folder: Path) -> dict[str, str]:
    files, _ = find_sound_files([folder])
    return {file.path.relative_to(folder).as_posix(): file.words for file in files}


@pytest.mark.parametrize(
    ("stem", "words"),
    [
        ("DOORWood_Slam Hard_JD_OLDFARM", "slam hard, door wood"),
        ("FEETHmn-Boots_Gravel Walk Slow_AB_LIB01_MKH 8040_take 3", "gravel walk slow, boots, footsteps hmn"),
        ("RAIN_Heavy On Tin Roof_XY_WEATHER", "heavy on tin roof, rain"),
        ("AMBForst_Birds At Dawn_XY_WOODS", "birds at dawn, ambience forst"),
        ("dog-bark_03", "dog bark"),
        ("12345__someone__wooden_door", "wooden door"),
        ("a_b_c_d", "a b c d"),
        ("戸を閉める", "戸を閉める"),
        ("0001", ""),
    ],
)
def test_words_of_file_names(stem: str, words: str) -> None:
    assert words_of_name(stem) == words


def test_all_parts_of_a_ucs_name() -> None:
    taken = take_apart("DOORWood-Barn_Old-Creaky Door_JD_OLDFARM_Sennheiser_96k")
    assert taken is not None
    assert (taken.category_id, taken.user_category, taken.effect) == ("DOORWood", "Barn", "Old-Creaky Door")
    assert (taken.creator, taken.source, taken.user_data) == ("JD", "OLDFARM", "Sennheiser_96k")


@given(st.text(max_size=60))
def test_any_name_has_words_or_none(stem: str) -> None:
    words = words_of_name(stem)
    assert words == words.strip()
    assert "\n" not in words


def test_metadata_of_wave_files(tmp_path: Path) -> None:
    path = wave(tmp_path / "a.wav", bext("Heavy door", "Recorder"), info(INAM="Door", IART="Someone", ICOP="CC0-1.0"))
    assert read_metadata(path) == SoundMetadata("Heavy door", "CC0-1.0", "Someone")
    path = wave(tmp_path / "b.wav", bext("Heavy door"), chunk(b"iXML", IXML.encode()))
    assert read_metadata(path) == SoundMetadata("Heavy door", "", "A. Recordist")
    assert (
        read_metadata(wave(tmp_path / "c.wav", chunk(b"iXML", IXML.encode()))).description == "Schwere Tür schlägt zu"
    )
    assert read_metadata(wave(tmp_path / "d.wav")) == SoundMetadata()


@pytest.mark.parametrize(
    "damage", [chunk(b"iXML", b"<a><b>"), chunk(b"LIST", b"INFOINAM\xff\xff\xff\xff"), chunk(b"bext", b"x"), b"odd\0",
               chunk(b"iXML", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')]
)  # fmt: skip
def test_damaged_metadata_is_ignored(tmp_path: Path, damage: bytes) -> None:
    assert read_metadata(wave(tmp_path / "a.wav", damage)).licence == ""


def test_tags_of_mp3(tmp_path: Path) -> None:
    with av.open(tmp_path / "a.mp3", "w") as container:
        container.metadata.update({"title": "Dogs barking", "artist": "A. Recordist", "copyright": "CC-BY-4.0"})
        stream = container.add_stream("libmp3lame", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44_100
        for part in (frame, None):
            container.mux(stream.encode(part))
    assert read_metadata(tmp_path / "a.mp3") == SoundMetadata("Dogs barking", "CC-BY-4.0", "A. Recordist")


@pytest.mark.parametrize("suffix", ["flac", "ogg"])
def test_vorbis_comments(tmp_path: Path, suffix: str) -> None:
    with soundfile.SoundFile(tmp_path / f"a.{suffix}", "w", 44_100, 1) as file:
        file.title, file.artist, file.copyright = "Dogs barking", "A. Recordist", "CC-BY-4.0"
        file.write(np.zeros(44_100))
    assert read_metadata(tmp_path / f"a.{suffix}") == SoundMetadata("Dogs barking", "CC-BY-4.0", "A. Recordist")


def test_folder_name_and_metadata_are_joined_without_repetition(tmp_path: Path) -> None:
    wave(tmp_path / "doors" / "DOORWood_Slam_JD_LIB.wav", bext("Wood door slam, interior"))
    wave(tmp_path / "doors" / "003.wav", bext("doors"))
    wave(tmp_path / "0001.wav")
    assert words_in(tmp_path) == {
        "doors/DOORWood_Slam_JD_LIB.wav": "doors, slam, door wood, Wood door slam, interior",
        "doors/003.wav": "doors",
        "0001.wav": words_of_name(tmp_path.name),
    }


def test_a_text_or_a_table_says_everything(tmp_path: Path) -> None:
    wave(tmp_path / "doors" / "one.wav", bext("ignored"))
    wave(tmp_path / "doors" / "two.wav", bext("ignored"))
    wave(tmp_path / "doors" / "three.wav", bext("metadata"))
    (tmp_path / "doors" / "one.txt").write_text("a heavy oak door", "utf-8")
    (tmp_path / "doors" / "two.json").write_text('{"description": "a gate", "license": "CC0-1.0", "username": "me"}')
    assert words_in(tmp_path) == {
        "doors/one.wav": "a heavy oak door",
        "doors/two.wav": "a gate",
        "doors/three.wav": "doors, three, metadata",
    }
    (tmp_path / "metadata.csv").write_text(
        "file,description,licence,credit\ndoors/one.wav,from the table,CC-BY-4.0,B\n"
    )
    files = {file.path.name: file for file in find_sound_files([tmp_path])[0]}
    assert (files["one.wav"].words, files["one.wav"].licence, files["one.wav"].credit) == (
        "from the table",
        "CC-BY-4.0",
        "B",
    )
    assert (files["two.wav"].words, files["two.wav"].licence, files["two.wav"].credit) == ("a gate", "CC0-1.0", "me")


def test_problems_of_tables_are_listed_once(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        wave(tmp_path / folder / "same" / "x.wav")
        wave(tmp_path / folder / "other" / "x.wav")
    table = tmp_path / "words.csv"
    table.write_text("file,caption\nx.wav,ambiguous\nmissing.wav,nothing\n")
    _, left_out = find_sound_files([tmp_path / "a", tmp_path / "b"], table)
    assert [str(each) for each in left_out] == [
        "words.csv, line 2: x.wav matches 2 files",
        "words.csv, line 3: there is no sound file missing.wav",
    ]


def test_problems_of_a_long_table_are_not_compared_with_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave(tmp_path / "x.wav")
    rows = [f"missing {number}.wav,{'a door' if number % 2 else 7}" for number in range(300)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,caption", *rows]))
    compared = []
    monkeypatch.setattr(LeftOut, "__eq__", lambda one, other: compared.append(one) or one is other)
    assert len(find_sound_files([tmp_path])[1]) == 300
    assert len(compared) < 300


def test_a_file_in_two_folders_is_used_once_and_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    wave(tmp_path / "all" / "steps" / "x.wav")
    (tmp_path / "all" / "loop").symlink_to(tmp_path / "all")
    files, left_out = find_sound_files([tmp_path / "all" / "steps", tmp_path / "all"])
    assert [file.path for file in files] == [tmp_path / "all" / "steps" / "x.wav"]
    assert [str(each) for each in left_out] == ["loop: links to folders are not followed"]


def test_a_file_that_is_shorter_than_its_header_is_recognised(tmp_path: Path) -> None:
    path = wave(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:-100])
    soundfile.write(tmp_path / "b.aiff", np.zeros(1000), 8000)
    (tmp_path / "b.aiff").write_bytes((tmp_path / "b.aiff").read_bytes()[:-100])
    soundfile.write(tmp_path / "c.aiff", np.zeros(1000), 8000)
    soundfile.write(tmp_path / "d.wav", np.zeros(1001, np.int16), 8000, format="RF64")
    found = {file.path.name: file.is_cut_short for file in find_sound_files([tmp_path])[0]}
    assert found == {"a.wav": True, "b.aiff": True, "c.aiff": False, "d.wav": False}


def test_a_beginning_of_a_header_is_no_sound(tmp_path: Path) -> None:
    (tmp_path / "a.aiff").write_bytes(b"FORM\0")
    assert [file.path.name for file in find_sound_files([tmp_path])[0]] == ["a.aiff"]


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        find_sound_files([tmp_path / "none"])
