"""`rewas packs`: converting, showing, verifying, adding and removing packs."""

from __future__ import annotations

import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from rewas_command import CommandResult, Rewas

from rewas_engine.conversion.released import ReleasedFiles
from rewas_engine.conversion.sizes import SMALL
from rewas_engine.parity.synthetic_checkpoints import write_synthetic_checkpoints

BAD_INPUT = 2
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "measure"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ReleasedFiles:
    return write_synthetic_checkpoints(tmp_path_factory.mktemp("checkpoints"), SMALL)


def convert(rewas: Rewas, files: ReleasedFiles, *arguments: object, **changed: object) -> CommandResult:
    """Convert synthetic checkpoints, with some files replaced."""
    paths = {
        "--rewas-ckpt": files.rewas,
        "--phi": files.phi,
        "--synchformer": files.synchformer,
        "--vae": files.vae,
        "--vocoder": files.vocoder,
        "--clap": files.clap,
        "--tokenizer": files.tokenizer,
        **{f"--{option}": value for option, value in changed.items()},
    }
    options = [part for option, value in paths.items() for part in (option, value)]
    return rewas("packs", "convert", "rewas", *options, "--size", "small", *arguments, "--json")


def test_a_converted_pack_from_checkpoints_to_sound(
    bare_rewas: Rewas, files: ReleasedFiles, media: Path, tmp_path: Path
) -> None:
    pack = tmp_path / "released"
    converted = convert(bare_rewas, files, "-o", pack)
    assert converted.code == 0, converted.errors
    assert converted.json()["licence"] == "CC-BY-NC-SA-4.0"
    assert "Non-commercial" in converted.errors
    assert "Writing the adapter" in converted.errors
    result = bare_rewas(
        "generate", media / "ball.mp4", "-p", "a ball", "--pack", pack, "--steps", 1, "-o", tmp_path, "--json"
    )
    assert result.code == 0, result.errors
    report = result.json()
    assert report["pack"]["licence"] == "CC-BY-NC-SA-4.0"
    (stem,) = report["takes"][0]["stems"].values()
    # The file itself states the licence of the pack.
    assert b"CC-BY-NC-SA-4.0" in Path(stem["path"]).read_bytes()


def test_the_printed_conversion_command_works(
    bare_rewas: Rewas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    script = str(SCRIPTS / "write_synthetic_checkpoints.py")
    monkeypatch.setattr(sys, "argv", [script, str(tmp_path / "check points"), "--small"])
    runpy.run_path(script, run_name="__main__")
    printed = capfd.readouterr().out
    command, *arguments = shlex.split(printed.strip().splitlines()[-1])
    assert command == "rewas"
    arguments[arguments.index("DIR")] = str(tmp_path / "pack")
    converted = bare_rewas(*arguments, "--json")
    assert converted.code == 0, converted.errors
    assert converted.json()["path"] == str(tmp_path / "pack")


def test_packs_are_added_listed_verified_and_removed(bare_rewas: Rewas, packs: Path) -> None:
    added = bare_rewas("packs", "add", packs / "starter", "--name", "own", "--json").json()
    assert (added["name"], added["licence"]) == ("own", "Apache-2.0")
    own = Path(added["path"])
    assert "own" in [pack["name"] for pack in bare_rewas("packs", "list", "--json").json()["packs"]]
    info = bare_rewas("packs", "info", "--pack", "own", "--json").json()
    assert info["name"] == "own"
    # Sound files have the original name of the pack, which is shown if the pack was renamed.
    assert info["named_in_sounds"] == "starter 0.0.1"
    assert info["permits"]
    assert (info["checks_conflict"], info["scores_words"]) == (False, False)
    shown = bare_rewas("packs", "info", "--pack", "own").output
    assert "Sound files name it starter 0.0.1" in shown
    assert "Compares prompts with the video: no; scores takes against the prompt: no" in shown
    listed = {pack["name"]: pack for pack in bare_rewas("packs", "list", "--json").json()["packs"]}
    assert (listed["starter"]["checks_conflict"], listed["starter"]["scores_words"]) == (True, True)
    assert listed["own"]["checks_conflict"] is False
    assert info["size_bytes"] == sum(file.stat().st_size for file in own.rglob("*") if file.is_file())
    assert bare_rewas("packs", "verify", "--pack", "own", "--json").json()["whole"] is True
    assert info["kinds"] == []
    assert "kinds of sound" not in shown
    description = own / "pack.toml"
    description.write_text('kinds = ["rain", "heel_steps"]\n' + description.read_text("utf-8"), "utf-8")
    assert bare_rewas("packs", "info", "--pack", "own", "--json").json()["kinds"] == ["rain", "heel_steps"]
    assert "Knows 2 kinds of sound: rain, heel steps" in bare_rewas("packs", "info", "--pack", "own").output

    again = bare_rewas("packs", "add", packs / "starter", "--name", "own", "--json")
    assert again.code == BAD_INPUT
    assert "A pack own already exists" in again.json()["error"]["what"]

    damaged_file = own / "phi" / "model.safetensors"
    content = bytearray(damaged_file.read_bytes())
    content[-1] ^= 1
    damaged_file.write_bytes(content)
    verified = bare_rewas("packs", "verify", "--pack", "own", "--json")
    assert verified.code == BAD_INPUT
    assert "phi/model.safetensors is not the original file" in verified.json()["error"]["what"]
    refused = bare_rewas("packs", "add", own, "--name", "copy", "--json")
    assert refused.code == BAD_INPUT

    assert bare_rewas("packs", "remove", "--pack", "own", "--json").code == 0
    assert list(own.parent.iterdir()) == []
    removed_again = bare_rewas("packs", "remove", "--pack", "own", "--json")
    assert removed_again.code == BAD_INPUT
    assert "not installed" in removed_again.json()["error"]["what"]


def test_a_pack_with_a_wrong_sample_rate_is_refused(
    bare_rewas: Rewas, packs: Path, media: Path, tmp_path: Path
) -> None:
    pack = Path(shutil.copytree(packs / "starter", tmp_path / "fast"))
    description = (pack / "pack.toml").read_text("utf-8")
    (pack / "pack.toml").write_text(description.replace("sample_rate_hz = 16000", "sample_rate_hz = 22050"), "utf-8")
    generate = ("generate", media / "ball.mp4", "-p", "a ball", "--pack", pack, "-o", tmp_path)
    for arguments in (("packs", "verify", "--pack", pack), generate):
        result = bare_rewas(*arguments, "--json")
        assert result.code == BAD_INPUT
        assert "audio.sample_rate_hz is 22050" in result.json()["error"]["what"]
        assert "16000" in result.json()["error"]["what"]


def test_training_from_a_pack_shows_its_licence(bare_rewas: Rewas, tmp_path: Path) -> None:
    terms = ("--name", "mine", "--licence", "CC0-1.0", "--permits", "Anything.")
    result = bare_rewas(
        "train", "pack", "--sounds", tmp_path, "-o", tmp_path / "run", "--start-from", "starter", *terms
    )
    assert result.code == BAD_INPUT  # the folder has no sound
    assert "(Apache-2.0): Free for any use" in result.errors
    settings = tmp_path / "settings.toml"
    settings.write_text('start_from = "starter"', "utf-8")
    from_config = bare_rewas(
        "train", "pack", "--sounds", tmp_path, "-o", tmp_path / "run", "--config", settings, *terms
    )
    assert "Continuing starter " in from_config.errors


def test_leftovers_of_a_failed_conversion_are_listed(bare_rewas: Rewas, packs: Path) -> None:
    added = bare_rewas("packs", "add", packs / "starter", "--name", "own", "--json").json()
    unfinished = Path(added["path"]).with_name(".large.partial")
    (unfinished / "denoiser").mkdir(parents=True)
    listed = bare_rewas("packs", "list")
    assert listed.code == 0
    assert f"{unfinished}: not a pack" in listed.output
    assert "delete that folder" in listed.output
    assert bare_rewas("packs", "list", "--json").json()["unfinished"] == [str(unfinished)]
    unfinished.joinpath("denoiser").rmdir()
    unfinished.rmdir()
    assert bare_rewas("packs", "list", "--json").json()["unfinished"] == []
    assert bare_rewas("packs", "remove", "--pack", "own", "--json").code == 0


def test_the_shipped_pack_cannot_be_removed(bare_rewas: Rewas) -> None:
    result = bare_rewas("packs", "remove", "--pack", "starter", "--json")
    assert result.code == BAD_INPUT
    assert "is part of ReWaS" in result.json()["error"]["what"]


def test_the_name_of_the_shipped_pack_is_refused(bare_rewas: Rewas, packs: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(packs / "starter", tmp_path / "other"))
    for arguments in ((other, "--name", "starter"), (packs / "starter",)):
        result = bare_rewas("packs", "add", *arguments, "--json")
        assert result.code == BAD_INPUT
        assert result.json()["error"]["what"] == "A pack starter is part of ReWaS."
    assert [pack["name"] for pack in bare_rewas("packs", "list", "--json").json()["packs"]] == ["starter"]


@pytest.mark.parametrize("name", ["../out", ".hidden", "a/b", "", " ", " own", "own ", "a\\b", "a\nb", ".", "\u00a0"])
def test_invalid_pack_names_are_refused(bare_rewas: Rewas, packs: Path, name: str) -> None:
    result = bare_rewas("packs", "add", packs / "starter", "--name", name, "--json")
    assert result.code == BAD_INPUT
    assert "is not a valid pack name" in result.json()["error"]["what"]


def test_a_swapped_checkpoint_is_recognised(bare_rewas: Rewas, files: ReleasedFiles, tmp_path: Path) -> None:
    result = convert(bare_rewas, files, "-o", tmp_path / "pack", phi=files.vocoder)
    assert result.code == BAD_INPUT
    error = result.json()["error"]
    assert error["kind"] == "PACK"
    assert error["what"].startswith(
        "hifigan_16k_64bins.ckpt, given as the φ checkpoint (--phi), is the vocoder checkpoint"
    )
    assert "--vocoder" in error["remedy"]
    assert "Traceback" not in result.errors
    assert list(tmp_path.iterdir()) == []


def test_a_missing_checkpoint_is_named(bare_rewas: Rewas, files: ReleasedFiles, tmp_path: Path) -> None:
    result = convert(bare_rewas, files, "-o", tmp_path / "pack", synchformer=tmp_path / "gone.pt")
    assert result.code == BAD_INPUT
    assert (
        "gone.pt, given as the Synchformer checkpoint (--synchformer), does not exist" in result.json()["error"]["what"]
    )
