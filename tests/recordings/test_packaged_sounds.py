"""Recordings in packages: the archives, the table of those that may be used, and their collection in a folder."""

import contextlib
import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from made_archives import FontSample, c4group, gresources, qt_resources, soundfont

from rewas_engine.errors import SettingsError
from rewas_engine.recordings.captions import read_manifest
from rewas_engine.recordings.packaged.archives import read_archive
from rewas_engine.recordings.packaged.collecting import collect
from rewas_engine.recordings.packaged.table import PERMISSIVE_LICENCES, PackagedSound, read_table

NAMES = st.text("abcÄ音 .-_", min_size=1, max_size=12)
FILES = st.dictionaries(NAMES, st.binary(max_size=200), max_size=5)
TREES = st.dictionaries(NAMES, st.binary(max_size=200) | FILES, max_size=4)
PCM = np.arange(-400, 400, dtype=np.int16)
ARCHIVES = {
    "c4group": c4group({"Fire.ocg": {"Blast.wav": b"boom"}, "a.ogg": b"a" * 90}),
    "qt": qt_resources({"app": {"a.wav": b"boom", "b.wav": b"b" * 90}}, 3, is_compressed=True),
    "gtk": gresources({"/org/a.ogg": b"boom", "/org/b.ogg": b"b" * 90}, is_compressed=True),
    "font": soundfont([FontSample("Dog", PCM), FontSample("Siren", PCM, loop=(100, 700), is_looped=True)]),
}


def flat(tree: dict[str, object], folder: str = "") -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name, content in tree.items():
        files |= flat(content, f"{folder}{name}/") if isinstance(content, dict) else {f"{folder}{name}": content}
    return files


@given(TREES)
def test_a_c4group_archive_is_read(tree: dict[str, object]) -> None:
    assert read_archive(c4group(tree)) == flat(tree)


@given(TREES, st.sampled_from([1, 2, 3]), st.booleans())
def test_resources_of_qt_are_read(tree: dict[str, object], version: int, is_compressed: bool) -> None:
    assert read_archive(qt_resources(tree, version, is_compressed)) == flat(tree)


@given(FILES, st.booleans())
def test_resources_of_gtk_are_read(files: dict[str, bytes], is_compressed: bool) -> None:
    data = gresources({f"/org/app/{name}": content for name, content in files.items()}, is_compressed)
    assert read_archive(data) == {f"org/app/{name}": content for name, content in files.items()}


def test_samples_of_a_soundfont_are_wav_files() -> None:
    files = read_archive(
        soundfont(
            [
                FontSample("Dog", PCM),
                FontSample("Rain(R)", PCM[::-1], 22_050, kind=2, link=2),
                FontSample("Rain(L)", PCM, 22_050, kind=4, link=1),
                FontSample("Siren", PCM, 8000, loop=(100, 700), is_looped=True),
            ]
        )
    )
    assert files is not None
    sounds = {
        name: soundfile.read(io.BytesIO(content), dtype="int16", always_2d=True) for name, content in files.items()
    }
    assert {name: rate_hz for name, (_, rate_hz) in sounds.items()} == {"Dog": 16_000, "Rain": 22_050, "Siren": 8000}
    np.testing.assert_array_equal(sounds["Dog"][0][:, 0], PCM)
    np.testing.assert_array_equal(sounds["Rain"][0], np.stack([PCM, PCM[::-1]], axis=1))
    siren = sounds["Siren"][0][:, 0]
    assert 4 * 8000 <= len(siren) - 100 < 4 * 8000 + 600
    np.testing.assert_array_equal(siren[:100], PCM[:100])
    np.testing.assert_array_equal(siren[100:700], PCM[100:700])
    np.testing.assert_array_equal(siren[700:1300], PCM[100:700])


@given(st.sampled_from(sorted(ARCHIVES)), st.integers(4, 2000), st.integers(1, 255), st.booleans())
def test_a_damaged_archive_is_read_or_refused(name: str, place: int, change: int, is_cut: bool) -> None:
    data = bytearray(ARCHIVES[name])
    place = 4 + place % (len(data) - 4)
    if is_cut:
        del data[place:]
    else:
        data[place] ^= change
    with contextlib.suppress(ValueError):
        read_archive(bytes(data))


def test_other_files_are_not_archives() -> None:
    assert read_archive(b"") is None
    assert read_archive(b"OggS") is None
    assert read_archive(b"RIFF\0\0\0\0WAVEfmt ") is None


def test_the_shipped_table_names_permissive_licences_and_credits() -> None:
    sounds = read_table()
    assert len({sound.kind for sound in sounds}) >= 40
    assert len({(sound.packages, sound.path) for sound in sounds}) == len(sounds)
    for sound in sounds:
        assert set(sound.licence.split(" AND ")) <= PERMISSIVE_LICENCES
        assert re.match(r"\w", sound.credit)
    # Recordings of one kind are described alike, so that they are used together.
    assert len({sound.words for sound in sounds}) <= 1.2 * len({sound.kind for sound in sounds})


def test_the_documentation_states_how_many_recordings_there_are() -> None:
    sounds = read_table()
    page = (Path(__file__).parents[2] / "docs" / "recordings.md").read_text("utf-8")
    assert f"{len(sounds)} recordings of {len({sound.kind for sound in sounds})} kinds" in page
    for name in {name for sound in sounds for name in sound.packages}:
        assert f"`{name}`" in page


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("p,a.wav,door,door slam,CC-BY-SA-4.0,A", "the licence CC-BY-SA-4.0 is not one that permits any use"),
        ("p,a.wav,door,door slam,MIT AND GPL-2.0-only,A", "the licence MIT AND GPL-2.0-only is not one"),
        ("p,a.wav,door,,MIT,A", "the column words is empty"),
        ("p,a.wav,door,door slam,MIT", "the column credit is empty"),
        ("p,../a.wav,door,door slam,MIT,A", "the path contains “..”"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused(tmp_path: Path, line: str, problem: str) -> None:
    table = tmp_path / "sounds.csv"
    table.write_text(f"packages,path,kind,words,licence,credit\n{line}\n", "utf-8")
    with pytest.raises(SettingsError, match=re.escape(f"sounds.csv, line 2: {problem}")):
        read_table(table)


def sound(packages: str, path: str) -> PackagedSound:
    return PackagedSound(tuple(packages.split()), path, "door", "door slam", "MIT", "A. Recordist")


def test_recordings_are_collected_with_words_licence_and_credit(tmp_path: Path) -> None:
    game = tmp_path / "x" / "usr" / "share" / "games" / "clonk"
    (game / "mods").mkdir(parents=True)
    (game / "Sound.ocg").write_bytes(c4group({"Fire.ocg": {"Blast.wav": b"boom"}}))
    (game / "mods" / "door.ogg").write_bytes(b"slam")
    (game / "Broken.ocg").write_bytes(b"\x1e\x8cno")
    (game / "font.sf2").write_bytes(ARCHIVES["font"])
    wanted = [
        sound("new old", "clonk/Sound.ocg/Fire.ocg/Blast.wav"),
        sound("old", "mods/door.ogg"),
        sound("old", "font.sf2/Dog"),
        sound("old", "clonk/Sound.ocg/Fire.ocg/Gone.wav"),
        sound("old", "gone.ogg"),
        sound("old", "Broken.ocg/a.wav"),
        sound("old", "door.ogg/a.wav"),
        sound("elsewhere", "a.wav"),
    ]
    output = tmp_path / "sounds"
    made = collect(wanted, {"old": [tmp_path / "x"]}, output)
    assert sorted(made.sounds) == [
        "new/clonk/Sound.ocg/Fire.ocg/Blast.wav",
        "old/font.sf2/Dog.wav",
        "old/mods/door.ogg",
    ]
    assert (output / "new/clonk/Sound.ocg/Fire.ocg/Blast.wav").read_bytes() == b"boom"
    reasons = {each.what: each.why for each in made.left_out}
    assert reasons.pop("old: Broken.ocg/a.wav").startswith("Broken.ocg is damaged (")
    assert reasons == {
        "old: clonk/Sound.ocg/Fire.ocg/Gone.wav": "it is not in Sound.ocg",
        "old: gone.ogg": "it is not in the package",
        "old: door.ogg/a.wav": "door.ogg is not an archive of a known format",
    }
    rows, unusable = read_manifest(output / "metadata.csv")
    assert unusable == []
    assert {(row.file, row.captions, row.licence, row.credit) for row in rows} == {
        (name, ("door slam",), "MIT", "A. Recordist") for name in made.sounds
    }
    with (output / "metadata.csv").open(encoding="utf-8", newline="") as file:
        assert {row["kind"] for row in csv.DictReader(file)} == {"door"}


def test_a_second_collection_changes_only_what_has_changed(tmp_path: Path) -> None:
    package, output = tmp_path / "x", tmp_path / "sounds"
    package.mkdir()
    for name in ("a.wav", "b.wav", "c.wav"):
        (package / name).write_bytes(name.encode())
    wanted = [sound("p", name) for name in ("a.wav", "b.wav", "c.wav")]
    collect(wanted, {"p": [package]}, output)
    before = {name: (output / "p" / name).stat().st_mtime_ns for name in ("a.wav", "b.wav")}
    (output / "own.wav").touch()
    (package / "b.wav").write_bytes(b"new")
    collect(wanted[:2], {"p": [package]}, output)
    assert (output / "p" / "a.wav").stat().st_mtime_ns == before["a.wav"]
    assert (output / "p" / "b.wav").read_bytes() == b"new"
    assert not (output / "p" / "c.wav").exists()
    assert (output / "own.wav").exists()


def test_a_changed_table_of_an_earlier_run_deletes_nothing_outside_the_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside.wav"
    outside.touch()
    output = tmp_path / "sounds"
    output.mkdir()
    (output / "metadata.csv").write_text(f"file\n{outside}\n../outside.wav\n", "utf-8")
    collect([], {}, output)
    assert outside.exists()
