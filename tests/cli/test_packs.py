"""`rewas packs`: converting, looking at, checking, adding and removing packs, as users type it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rewas_command import Ran, Rewas

from rewas_engine.conversion.released import ReleasedFiles
from rewas_engine.conversion.sizes import SMALL
from rewas_engine.parity.synthetic_checkpoints import write_synthetic_checkpoints

BAD_INPUT = 2
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "measure"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ReleasedFiles:
    return write_synthetic_checkpoints(tmp_path_factory.mktemp("checkpoints"), SMALL)


def convert(rewas: Rewas, files: ReleasedFiles, *arguments: object, **changed: object) -> Ran:
    """The conversion of synthetic checkpoints, with some files exchanged."""
    given = {
        "--rewas-ckpt": files.rewas,
        "--phi": files.phi,
        "--synchformer": files.synchformer,
        "--vae": files.vae,
        "--vocoder": files.vocoder,
        "--clap": files.clap,
        "--tokenizer": files.tokenizer,
        **{f"--{option}": value for option, value in changed.items()},
    }
    options = [part for option, value in given.items() for part in (option, value)]
    return rewas("packs", "convert", "rewas", *options, "--size", "small", *arguments, "--json")


def test_a_converted_pack_from_checkpoints_to_sound(
    bare_rewas: Rewas, files: ReleasedFiles, media: Path, tmp_path: Path
) -> None:
    pack = tmp_path / "released"
    made = convert(bare_rewas, files, "-o", pack)
    assert made.code == 0, made.errors
    assert made.json()["licence"] == "CC-BY-NC-SA-4.0"
    assert "Non-commercial" in made.errors
    assert "Writing the adapter" in made.errors
    ran = bare_rewas(
        "generate", media / "ball.mp4", "-p", "a ball", "--pack", pack, "--steps", 1, "-o", tmp_path, "--json"
    )
    assert ran.code == 0, ran.errors
    report = ran.json()
    assert report["pack"]["licence"] == "CC-BY-NC-SA-4.0"
    (stem,) = report["takes"][0]["stems"].values()
    # The licence of what made it stands in the file itself.
    assert b"CC-BY-NC-SA-4.0" in Path(stem["path"]).read_bytes()


def test_the_command_that_is_printed_with_synthetic_checkpoints_converts_them(
    bare_rewas: Rewas, tmp_path: Path
) -> None:
    program = [sys.executable, SCRIPTS / "write_synthetic_checkpoints.py", tmp_path / "check points", "--small"]
    printed = subprocess.run(program, check=True, capture_output=True, text=True).stdout
    command, *arguments = shlex.split(printed.strip().splitlines()[-1])
    assert command == "rewas"
    arguments[arguments.index("DIR")] = str(tmp_path / "pack")
    made = bare_rewas(*arguments, "--json")
    assert made.code == 0, made.errors
    assert made.json()["path"] == str(tmp_path / "pack")


def test_packs_are_added_listed_checked_and_removed(bare_rewas: Rewas, packs: Path) -> None:
    added = bare_rewas("packs", "add", packs / "starter", "--name", "own", "--json").json()
    assert (added["name"], added["licence"]) == ("own", "Apache-2.0")
    own = Path(added["path"])
    assert "own" in [pack["name"] for pack in bare_rewas("packs", "list", "--json").json()["packs"]]
    about = bare_rewas("packs", "info", "--pack", "own", "--json").json()
    assert about["name"] == "own"
    # Sounds name the pack as its makers did: it is told wherever that is not what it is called here.
    assert about["named_in_sounds"] == "starter 0.0.1"
    assert about["permits"]
    assert (about["checks_conflict"], about["scores_words"]) == (False, False)
    shown = bare_rewas("packs", "info", "--pack", "own").output
    assert "Sound files name it starter 0.0.1" in shown
    assert "Compares prompts with the video: no; scores takes against the prompt: no" in shown
    listed = {pack["name"]: pack for pack in bare_rewas("packs", "list", "--json").json()["packs"]}
    assert (listed["starter"]["checks_conflict"], listed["starter"]["scores_words"]) == (True, True)
    assert listed["own"]["checks_conflict"] is False
    assert about["size_bytes"] == sum(file.stat().st_size for file in own.rglob("*") if file.is_file())
    assert bare_rewas("packs", "verify", "--pack", "own", "--json").json()["whole"] is True

    again = bare_rewas("packs", "add", packs / "starter", "--name", "own", "--json")
    assert again.code == BAD_INPUT
    assert "A pack own already exists" in again.json()["error"]["what"]

    spoilt = own / "phi" / "model.safetensors"
    content = bytearray(spoilt.read_bytes())
    content[-1] ^= 1
    spoilt.write_bytes(content)
    verified = bare_rewas("packs", "verify", "--pack", "own", "--json")
    assert verified.code == BAD_INPUT
    assert "phi/model.safetensors is not the original file" in verified.json()["error"]["what"]
    refused = bare_rewas("packs", "add", own, "--name", "copy", "--json")
    assert refused.code == BAD_INPUT

    assert bare_rewas("packs", "remove", "--pack", "own", "--json").code == 0
    assert list(own.parent.iterdir()) == []
    gone = bare_rewas("packs", "remove", "--pack", "own", "--json")
    assert gone.code == BAD_INPUT
    assert "not installed" in gone.json()["error"]["what"]


def test_a_pack_for_another_rate_is_not_whole(bare_rewas: Rewas, packs: Path, media: Path, tmp_path: Path) -> None:
    pack = Path(shutil.copytree(packs / "starter", tmp_path / "fast"))
    told = (pack / "pack.toml").read_text("utf-8")
    (pack / "pack.toml").write_text(told.replace("sample_rate_hz = 16000", "sample_rate_hz = 22050"), "utf-8")
    made = ("generate", media / "ball.mp4", "-p", "a ball", "--pack", pack, "-o", tmp_path)
    for arguments in (("packs", "verify", "--pack", pack), made):
        ran = bare_rewas(*arguments, "--json")
        assert ran.code == BAD_INPUT
        assert "audio.sample_rate_hz is 22050" in ran.json()["error"]["what"]
        assert "16000" in ran.json()["error"]["what"]


def test_a_training_that_continues_a_pack_shows_its_licence(bare_rewas: Rewas, tmp_path: Path) -> None:
    terms = ("--name", "mine", "--licence", "CC0-1.0", "--permits", "Anything.")
    ran = bare_rewas("train", "pack", "--sounds", tmp_path, "-o", tmp_path / "run", "--start-from", "starter", *terms)
    assert ran.code == BAD_INPUT  # there is no sound
    assert "(Apache-2.0): Any use is free" in ran.errors
    settings = tmp_path / "settings.toml"
    settings.write_text('start_from = "starter"', "utf-8")
    named = bare_rewas("train", "pack", "--sounds", tmp_path, "-o", tmp_path / "run", "--config", settings, *terms)
    assert "Continuing starter " in named.errors


def test_what_a_broken_conversion_left_is_listed(bare_rewas: Rewas, packs: Path) -> None:
    added = bare_rewas("packs", "add", packs / "starter", "--name", "own", "--json").json()
    left = Path(added["path"]).with_name(".large.partial")
    (left / "denoiser").mkdir(parents=True)
    listed = bare_rewas("packs", "list")
    assert listed.code == 0
    assert f"{left}: not a pack" in listed.output
    assert "delete that folder" in listed.output
    assert bare_rewas("packs", "list", "--json").json()["unfinished"] == [str(left)]
    left.joinpath("denoiser").rmdir()
    left.rmdir()
    assert bare_rewas("packs", "list", "--json").json()["unfinished"] == []
    assert bare_rewas("packs", "remove", "--pack", "own", "--json").code == 0


def test_what_came_with_rewas_stays(bare_rewas: Rewas) -> None:
    ran = bare_rewas("packs", "remove", "--pack", "starter", "--json")
    assert ran.code == BAD_INPUT
    assert "is part of ReWaS" in ran.json()["error"]["what"]


def test_no_pack_takes_the_name_of_one_that_came_with_rewas(bare_rewas: Rewas, packs: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(packs / "starter", tmp_path / "other"))
    for arguments in ((other, "--name", "starter"), (packs / "starter",)):
        ran = bare_rewas("packs", "add", *arguments, "--json")
        assert ran.code == BAD_INPUT
        assert ran.json()["error"]["what"] == "A pack starter is part of ReWaS."
    assert [pack["name"] for pack in bare_rewas("packs", "list", "--json").json()["packs"]] == ["starter"]


@pytest.mark.parametrize("name", ["../out", ".hidden", "a/b", "", " ", " own", "own ", "a\\b", "a\nb", ".", "\u00a0"])
def test_names_that_cannot_be_one(bare_rewas: Rewas, packs: Path, name: str) -> None:
    ran = bare_rewas("packs", "add", packs / "starter", "--name", name, "--json")
    assert ran.code == BAD_INPUT
    assert "is not a valid pack name" in ran.json()["error"]["what"]


def test_a_swapped_file_is_told_apart(bare_rewas: Rewas, files: ReleasedFiles, tmp_path: Path) -> None:
    ran = convert(bare_rewas, files, "-o", tmp_path / "pack", phi=files.vocoder)
    assert ran.code == BAD_INPUT
    error = ran.json()["error"]
    assert error["kind"] == "PACK"
    assert error["what"].startswith("hifigan_16k_64bins.ckpt is the vocoder checkpoint, as the checkpoint of φ (--phi)")
    assert "--vocoder" in error["remedy"]
    assert "Traceback" not in ran.errors
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_not_there(bare_rewas: Rewas, files: ReleasedFiles, tmp_path: Path) -> None:
    ran = convert(bare_rewas, files, "-o", tmp_path / "pack", synchformer=tmp_path / "gone.pt")
    assert ran.code == BAD_INPUT
    assert "gone.pt does not exist" in ran.json()["error"]["what"]
