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
from rewas_engine.recordings import captions
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
        ("FEETHmn-Boots_Gravel Walk Slow_AB_LIB01_MKH 8040_take 3", "gravel walk slow, boots, footsteps human"),
        ("RAIN_Heavy On Tin Roof_XY_WEATHER", "heavy on tin roof, rain"),
        ("AMBForst_Birds At Dawn_XY_WOODS", "birds at dawn, ambience forest"),
        ("dog-bark_03", "dog bark"),
        ("12345__someone__wooden_door", "wooden door"),
        ("a_b_c_d", "a b c d"),
        ("戸を閉める", "戸を閉める"),
        ("0001", ""),
        ("ZOOM0042", ""),
        ("ZOOM0001_Tr1", ""),
        ("DR0000_0123", ""),
        ("IMG_1234", ""),
        ("REC001", ""),
        ("zoom", "zoom"),
        ("recoil 12", "recoil"),
        ("DOORMetl_Gate_JD_LIB", "gate, door metal"),
        ("WATRMisc_Splash_JD_LIB", "splash, water"),
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


def test_categories_in_ixml_become_words(tmp_path: Path) -> None:
    xml = "<BWFXML><ASWG><category>DOORS</category><subCategory>WOOD</subCategory></ASWG></BWFXML>"
    path = wave(tmp_path / "sounds" / "0001.wav", bext("Slam, close"), chunk(b"iXML", xml.encode()))
    assert read_metadata(path) == SoundMetadata("Slam, close", category="doors wood")
    assert words_in(tmp_path / "sounds") == {"0001.wav": "Slam, close, doors wood"}


@pytest.mark.parametrize("name", [b"id3 ", b"ID3 "])
def test_id3_in_wave_files_is_read_where_nothing_else_says_more(tmp_path: Path, name: bytes) -> None:
    def tag(kind: bytes, text: str) -> bytes:
        return kind + struct.pack(">I", len(text) + 1) + b"\0\0\0" + text.encode()

    tags = tag(b"TIT2", "Dogs barking") + tag(b"TPE1", "A. Recordist")
    id3 = chunk(name, b"ID3\x03\0\0" + bytes([0, 0, len(tags) >> 7, len(tags) & 127]) + tags)
    assert read_metadata(wave(tmp_path / "a.wav", id3)) == SoundMetadata("Dogs barking", "", "A. Recordist")
    assert read_metadata(wave(tmp_path / "b.wav", bext(""), info(INAM="Two dogs"), id3)) == SoundMetadata(
        "Two dogs", "", "A. Recordist"
    )


@pytest.mark.parametrize("cut_bytes", [1, 2, 3])
def test_a_character_that_the_end_of_a_field_cuts_is_left_out(tmp_path: Path, cut_bytes: int) -> None:
    text = "x" * (256 - cut_bytes) + "🚪"
    path = wave(tmp_path / "a.wav", chunk(b"bext", text.encode()[:256] + bytes(346)))
    assert read_metadata(path).description == "x" * (256 - cut_bytes)
    path = wave(tmp_path / "b.wav", chunk(b"bext", "Tür".encode("latin-1").ljust(256, b"\0") + bytes(346)))
    assert read_metadata(path).description == "Tür"


def test_the_chunks_of_aiff_files_are_read(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "a.aiff", "w", 44_100, 1) as file:
        file.title, file.artist, file.copyright, file.comment = "Dogs", "A. Recordist", "CC0-1.0", "far away"
        file.write(np.zeros(1000))
    assert read_metadata(tmp_path / "a.aiff") == SoundMetadata("Dogs", "CC0-1.0", "A. Recordist")


EXPORT = """Filename\tPathname\tDescription\tFXName\tCatID\tCategory\tSubCategory\tDesigner\tLibrary
x.wav\tD:\\Library\\doors\\x.wav\tHeavy oak door slams\tSlam\tDOORWood\tDOORS\tWOOD\tA. Recordist\tLIB
x.wav\tD:\\Library\\gates\\x.wav\t\tIron gate\tDOORMetl\tDOORS\tMETAL\tA. Recordist\tLIB
y.wav\tD:\\Library\\gates\\y.wav\t\t\tDOORMetl\tDOORS\tMETAL\t\tLIB
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_exports_of_sound_libraries_are_tables(tmp_path: Path, encoding: str, separator: str) -> None:
    for name in ("doors/x.wav", "gates/x.wav", "gates/y.wav"):
        wave(tmp_path / "sounds" / name)
    table = tmp_path / "export.csv"
    table.write_text(EXPORT.replace("\t", separator), encoding)
    files, left_out = find_sound_files([tmp_path / "sounds"], table)
    assert left_out == []
    assert [(file.words, file.credit) for file in files] == [
        ("Heavy oak door slams", "A. Recordist"), ("Iron gate", "A. Recordist"), ("DOORS", None),
    ]  # fmt: skip


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


def test_numbered_files_have_the_words_of_two_folders(tmp_path: Path) -> None:
    wave(tmp_path / "library" / "foley" / "footsteps" / "gravel" / "0001.wav")
    wave(tmp_path / "library" / "foley" / "footsteps" / "gravel" / "boots.wav")
    wave(tmp_path / "library" / "foley" / "ZOOM0001.wav")
    assert words_in(tmp_path / "library") == {
        "foley/ZOOM0001.wav": "foley",
        "foley/footsteps/gravel/0001.wav": "footsteps, gravel",
        "foley/footsteps/gravel/boots.wav": "gravel, boots",
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


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("Tu\u0308r.wav", "T\u00fcr.wav"),
        ("T\u00fcr.wav", "Tu\u0308r"),
        ("DOOR.WAV", "Door.wav"),
        ("x/Door.wav", "X\\door"),
    ],
)
def test_tables_may_write_accents_and_capitals_differently(tmp_path: Path, name: str, written: str) -> None:
    wave(tmp_path / name)
    (tmp_path / "metadata.csv").write_text(f"file,description\n{written},a gate\n", "utf-8")
    assert words_in(tmp_path) == {name: "a gate"}


def test_capitals_decide_between_files(tmp_path: Path) -> None:
    wave(tmp_path / "door.wav")
    wave(tmp_path / "Door.wav")
    (tmp_path / "metadata.csv").write_text("file,description\nDoor.wav,big\ndoor.wav,small\nDOOR.wav,unclear\n")
    files, left_out = find_sound_files([tmp_path])
    assert {file.path.name: file.words for file in files} == {"Door.wav": "big", "door.wav": "small"}
    assert [each.why for each in left_out] == ["DOOR.wav matches 2 files"]


def test_a_line_without_a_description_still_states_terms(tmp_path: Path) -> None:
    wave(tmp_path / "doors" / "one.wav")
    wave(tmp_path / "doors" / "two.wav")
    (tmp_path / "doors" / "two.txt").write_text("a gate", "utf-8")
    (tmp_path / "metadata.csv").write_text("file,description,licence\none.wav,,CC0-1.0\ntwo.wav,,CC-BY-4.0\n")
    files, left_out = find_sound_files([tmp_path])
    assert left_out == []
    assert [(file.words, file.licence) for file in files] == [("doors, one", "CC0-1.0"), ("a gate", "CC-BY-4.0")]


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


def test_the_columns_of_a_table_are_compared_once_for_each_line(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {f"Column {number}": "x" for number in range(60)} | {"Licence": "CC0-1.0", "Designer": "J. Doe"}
    plain, compared = captions._plain, []
    monkeypatch.setattr(captions, "_plain", lambda name: compared.append(name) or plain(name))
    assert captions.terms_of_entry(entry) == ("CC0-1.0", "J. Doe")
    assert len(compared) == 2 * len(entry)


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
    found = {file.path.name: file.metadata.is_cut_short for file in find_sound_files([tmp_path])[0]}
    assert found == {"a.wav": True, "b.aiff": True, "c.aiff": False, "d.wav": False}


def test_a_beginning_of_a_header_is_no_sound(tmp_path: Path) -> None:
    (tmp_path / "a.aiff").write_bytes(b"FORM\0")
    assert [file.path.name for file in find_sound_files([tmp_path])[0]] == ["a.aiff"]


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        find_sound_files([tmp_path / "none"])
