"""`rewas packs library`: it makes and updates a library from a folder of recordings. Generation refuses the library."""

from pathlib import Path

import numpy as np
import soundfile
from rewas_command import Rewas

RATE_HZ = 16_000
BAD_INPUT = 2


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
    assert again["files_read"] == 1
    assert again["permits"] == "Non-commercial use only."
    shown = bare_rewas("packs", "info", "--pack", "foley")
    assert "A library of 3 recordings, 6 s of sound." in shown.output
    assert "Non-commercial use only." in shown.output
    listed = bare_rewas("packs", "list")
    assert "library packs cannot generate sounds yet" in listed.output
    refused = bare_rewas("generate", media / "ball.mp4", "-p", "door", "--pack", "foley", "-o", tmp_path)
    assert refused.code != 0
    assert "library packs cannot generate sounds yet" in refused.errors
    assert bare_rewas("packs", "remove", "--pack", "foley").code == 0


def test_a_folder_without_sounds_is_an_error(bare_rewas: Rewas, tmp_path: Path) -> None:
    refused = bare_rewas("packs", "library", tmp_path, "-o", "foley")
    assert refused.code == BAD_INPUT
    assert "The folders contain no sound files." in refused.errors
    assert "Give folders that contain sound files." in refused.errors
