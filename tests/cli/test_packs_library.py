"""`rewas packs` with libraries: making, updating, verifying, adding and removing them."""

import csv
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rewas_command import Rewas

RATE_HZ = 16_000
FAILED_WORK, BAD_INPUT = 1, 2


def write_sounds(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("DOORWood_Slam Hard_JD_LIB.wav", "rain/heavy.flac", "0001.ogg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, rng.normal(0, 0.1, 2 * RATE_HZ), RATE_HZ)
    (folder / "empty.wav").touch()


def test_a_library_is_made_brought_up_to_date_and_removed(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    write_sounds(tmp_path / "1234")
    made = bare_rewas("packs", "library", tmp_path / "1234", "-o", "foley", "--licence", "CC0-1.0", "--json")
    assert made.code == 0, made.errors
    report = made.json()
    assert (report["recordings"], report["files_read"], report["without_words"]) == (3, 4, 1)
    assert report["left_out"] == [{"what": "empty.wav", "why": "it is empty"}]
    assert "left out: empty.wav: it is empty" in made.errors
    assert "0001.ogg has no words" in made.errors
    again = bare_rewas("packs", "library", tmp_path / "1234", "-o", "foley", "--non-commercial", "--json").json()
    assert again["files_read"] == 0
    assert again["left_out"] == report["left_out"]
    assert again["permits"] == "Non-commercial use only."
    shown = bare_rewas("packs", "info", "--pack", "foley")
    assert "A library of 3 recordings, 6 s of sound." in shown.output
    assert "Non-commercial use only." in shown.output
    assert "foley 1.0.0 (no stated licence): A library of 3 recordings" in bare_rewas("packs", "list").output
    result = bare_rewas("generate", media / "ball.mp4", "-p", "door slam", "--pack", "foley", "-o", tmp_path, "--json")
    assert result.code == 0, result.errors
    assert result.json()["pack"]["name"] == "foley"
    result = bare_rewas("generate", media / "ball.mp4", "-p", "door slam", "--pack", "foley", "-o", tmp_path / "again")
    assert "with foley 1.0.0 (no stated licence)" in result.output
    assert bare_rewas("packs", "remove", "--pack", "foley").code == 0


def test_a_folder_without_sounds_is_an_error(bare_rewas: Rewas, tmp_path: Path) -> None:
    refused = bare_rewas("packs", "library", tmp_path, "-o", "foley")
    assert refused.code == BAD_INPUT
    assert "The folders contain no sound files." in refused.errors
    assert "Give folders that contain sound files." in refused.errors


def make_library(bare_rewas: Rewas, folder: Path, output: Path, *options: str) -> None:
    write_sounds(folder)
    (folder / "empty.wav").unlink()
    made = bare_rewas("packs", "library", folder, "-o", output, *options, "--json")
    assert made.code == 0, made.errors


def test_a_library_is_verified_with_its_recordings(bare_rewas: Rewas, tmp_path: Path) -> None:
    make_library(bare_rewas, tmp_path / "sounds", tmp_path / "own")
    verified = bare_rewas("packs", "verify", "--pack", tmp_path / "own")
    assert verified.code == 0, verified.errors
    assert "own is intact: its index and all 3 recordings match their hashes." in verified.output
    (tmp_path / "sounds" / "0001.ogg").unlink()
    changed = tmp_path / "sounds" / "rain" / "heavy.flac"
    content, state = bytearray(changed.read_bytes()), changed.stat()
    content[-1] ^= 1
    changed.write_bytes(content)
    os.utime(changed, ns=(state.st_atime_ns, state.st_mtime_ns))
    verified = bare_rewas("packs", "verify", "--pack", tmp_path / "own", "--json")
    assert verified.code == FAILED_WORK
    assert verified.json()["whole"] is False
    assert verified.json()["problems"] == [
        f"{tmp_path / 'sounds' / '0001.ogg'}: it is missing.",
        f"{changed}: it has changed since the library was made.",
    ]
    (tmp_path / "sounds").rename(tmp_path / "elsewhere")
    verified = bare_rewas("packs", "verify", "--pack", tmp_path / "own")
    assert verified.code == FAILED_WORK
    assert f"The folder {tmp_path / 'sounds'} with 3 recordings does not exist." in verified.output
    assert "3 of 3 recordings are missing or have changed." in verified.output
    assert (
        f"Recordings: {tmp_path / 'sounds'} (does not exist)"
        in bare_rewas("packs", "info", "--pack", tmp_path / "own").output
    )
    (index,) = (tmp_path / "own").glob("index-*/index.json")
    index.write_text(index.read_text("utf-8") + " ", "utf-8")
    verified = bare_rewas("packs", "verify", "--pack", tmp_path / "own")
    assert verified.code == BAD_INPUT
    assert "index.json is not the original file" in verified.errors


@pytest.mark.parametrize("is_archive", [False, True])
@pytest.mark.parametrize("has_folder", [False, True])
def test_a_copied_library_is_added_whole(bare_rewas: Rewas, tmp_path: Path, is_archive: bool, has_folder: bool) -> None:
    make_library(bare_rewas, tmp_path / "sounds", tmp_path / "own", "--copy")
    shutil.rmtree(tmp_path / "sounds")
    source = tmp_path / "own"
    if is_archive:
        root = tmp_path if has_folder else source
        source = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", root, "own" if has_folder else "."))
    added = bare_rewas("packs", "add", source, "--name", "mine", "--json")
    assert added.code == 0, added.errors
    assert "refers to recordings" not in added.errors
    assert bare_rewas("packs", "verify", "--pack", "mine", "--json").json()["whole"] is True
    recordings = sorted(Path(added.json()["path"]).glob("recordings/**/*.*"))
    assert [path.stat().st_mtime_ns for path in recordings] == [
        path.stat().st_mtime_ns for path in sorted((tmp_path / "own").glob("recordings/**/*.*"))
    ]
    names = [path.name for path in Path(added.json()["path"]).parent.iterdir()]
    assert names == ["mine"]


def test_a_copied_library_that_lacks_a_recording_is_not_added(bare_rewas: Rewas, tmp_path: Path) -> None:
    make_library(bare_rewas, tmp_path / "sounds", tmp_path / "own", "--copy")
    next((tmp_path / "own").glob("recordings/**/*.ogg")).unlink()
    refused = bare_rewas("packs", "add", tmp_path / "own", "--name", "mine")
    assert refused.code == BAD_INPUT
    assert "The library own lacks recordings that belong to it. recordings/sounds/0001.ogg: it is missing." in (
        refused.errors
    )
    assert "mine" not in bare_rewas("packs", "list").output


def test_a_library_that_refers_to_recordings_elsewhere_says_so(bare_rewas: Rewas, tmp_path: Path) -> None:
    make_library(bare_rewas, tmp_path / "sounds", tmp_path / "own")
    added = bare_rewas("packs", "add", tmp_path / "own", "--name", "here")
    assert added.code == 0, added.errors
    assert f"here refers to recordings in {tmp_path / 'sounds'}. They were not copied." in added.errors
    assert "cannot be used here" not in added.errors
    shutil.rmtree(tmp_path / "sounds")
    added = bare_rewas("packs", "add", tmp_path / "own", "--name", "there")
    assert added.code == 0, added.errors
    assert f"The folder {tmp_path / 'sounds'} with 3 recordings does not exist." in added.errors
    assert "3 of 3 recordings cannot be used here." in added.errors


def test_archives_that_contain_no_pack_are_refused(bare_rewas: Rewas, tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("not an archive", "utf-8")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("../../outside.txt", "nothing")
    for name, what in (("text.zip", "text.zip is not a ZIP archive"), ("empty.zip", "empty.zip contains no pack.")):
        refused = bare_rewas("packs", "add", tmp_path / name)
        assert refused.code == BAD_INPUT
        assert what in refused.errors
    assert not list(tmp_path.parent.glob("outside.txt"))
    assert bare_rewas("packs", "list", "--json").json()["unfinished"] == []


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_archives_are_refused(bare_rewas: Rewas, tmp_path: Path, compression: int) -> None:
    archive = tmp_path / "damaged.zip"
    with zipfile.ZipFile(archive, "w", compression) as content:
        content.writestr("own/pack.toml", bytes(np.random.default_rng(0).integers(0, 256, 4000, np.uint8)))
        start = content.infolist()[0].header_offset + len("own/pack.toml") + 30
    damaged = bytearray(archive.read_bytes())
    damaged[start + 9 : start + 1000] = b"\xff" * 991
    archive.write_bytes(damaged)
    refused = bare_rewas("packs", "add", archive)
    assert refused.code == BAD_INPUT
    assert "damaged.zip is not a ZIP archive, or it is damaged or encrypted" in refused.errors
    assert bare_rewas("packs", "list", "--json").json()["unfinished"] == []


@pytest.mark.parametrize("options", [(), ("--copy",)])
def test_words_are_listed_edited_in_a_table_and_read_again(
    bare_rewas: Rewas, tmp_path: Path, options: tuple[str, ...]
) -> None:
    make_library(bare_rewas, tmp_path / "sounds", tmp_path / "own", *options)
    listed = bare_rewas("packs", "recordings", "--pack", tmp_path / "own")
    assert "slam hard, door wood: sounds/DOORWood_Slam Hard_JD_LIB.wav" in listed.output.splitlines()
    table = tmp_path / "words.csv"
    written = bare_rewas("packs", "recordings", "--pack", tmp_path / "own", "-o", table, "--json")
    assert written.code == 0, written.errors
    rows = list(csv.DictReader(table.read_text("utf-8-sig").splitlines()))
    assert rows == [{name: str(value) for name, value in row.items()} for row in written.json()["recordings"]]
    assert (rows[1]["file"], rows[1]["duration_s"], rows[1]["channels"]) == (
        "sounds/DOORWood_Slam Hard_JD_LIB.wav",
        "2.0",
        "1",
    )
    table.write_text(table.read_text("utf-8-sig").replace('"slam hard, door wood"', "a gate"), "utf-8-sig")
    made = bare_rewas(
        "packs", "library", tmp_path / "sounds", "-o", tmp_path / "own", "--captions", table, *options, "--json"
    )
    assert made.json()["files_read"] == 0
    listed = bare_rewas("packs", "recordings", "--pack", tmp_path / "own")
    assert "a gate: sounds/DOORWood_Slam Hard_JD_LIB.wav" in listed.output.splitlines()
    for output, what in ((table, "already exists."), (tmp_path / "words.txt", "is not a CSV file.")):
        refused = bare_rewas("packs", "recordings", "--pack", tmp_path / "own", "-o", output)
        assert refused.code == BAD_INPUT
        assert what in refused.errors
    model = bare_rewas("packs", "recordings", "--pack", "starter")
    assert model.code == BAD_INPUT
    assert "The pack starter is not a library of recordings." in model.errors
