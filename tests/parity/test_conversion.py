"""Conversion: the pack has the weights of the files, and is written completely or not at all."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from damaged_files import load_trusted
from safetensors.torch import load_file

from rewas_engine import PackError, ReWaS, SettingsError, installed_packs
from rewas_engine.conversion.parts import diffusers_parts
from rewas_engine.conversion.released import DTYPES, ReleasedFiles, convert_released
from rewas_engine.conversion.sizes import SMALL
from rewas_engine.packs.description import read_pack, verify_files
from rewas_engine.parity.synthetic_weights import recipe_part
from rewas_engine.runtime.progress import Progress

pytestmark = pytest.mark.slow

ROLES = ("denoiser", "adapter", "codec", "vocoder", "text_encoder", "video_encoder", "phi")


@pytest.mark.parametrize("role", ROLES)
def test_every_weight_is_stored_under_our_name(role: str, released_pack: Path) -> None:
    # In these files the denoiser's last state is all zeros, so its moving average must be used.
    found, expected = load_file(released_pack / role / "model.safetensors"), recipe_part(role, SMALL)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=2e-6, rtol=1e-6)
        assert role == "vocoder" or torch.equal(found[name], tensor)


def test_the_pack_has_a_description_and_its_terms(released_pack: Path) -> None:
    description = read_pack(released_pack)
    verify_files(description)
    info = description.info
    assert (info.name, info.licence, info.controls) == ("released", "CC-BY-NC-SA-4.0", ("energy",))
    assert "Non-commercial" in info.permits
    assert description.sampling["guidance_scale"] == 3.0
    assert json.loads((released_pack / "codec" / "config.json").read_text())["scaling_factor"] == pytest.approx(0.9)
    assert json.loads((released_pack / "phi" / "config.json").read_text())["attends_over"] == "batch"


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_are_stored_in_the_requested_dtype(dtype: str, released_files: ReleasedFiles, tmp_path: Path) -> None:
    pack = convert_released(released_files, tmp_path / "pack", dtype=dtype, sizes=SMALL)
    for role in ROLES:
        stored = load_file(pack / role / "model.safetensors")
        assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {DTYPES[dtype]}
    assert ReWaS.from_pretrained(pack, device="cpu").pack.name == "pack"


def test_without_a_moving_average_the_denoiser_itself_is_used(released_files: ReleasedFiles, tmp_path: Path) -> None:
    content = load_trusted(released_files.rewas)
    kept = {name: tensor for name, tensor in content["state_dict"].items() if not name.startswith("model_ema.")}
    path = tmp_path / released_files.rewas.name
    torch.save({"state_dict": kept}, path)
    pack = convert_released(replace(released_files, rewas=path), tmp_path / "pack", sizes=SMALL)
    assert all(not tensor.any() for tensor in load_file(pack / "denoiser" / "model.safetensors").values())


def test_parts_of_the_rewas_checkpoint_need_no_separate_files(
    released_files: ReleasedFiles, released_pack: Path, tmp_path: Path
) -> None:
    fewer = replace(released_files, vae=None, vocoder=None, clap=None)
    pack = convert_released(fewer, tmp_path / "pack", sizes=SMALL)
    for role in ("codec", "text_encoder"):
        name = f"{role}/model.safetensors"
        assert read_pack(pack).files[name] == read_pack(released_pack).files[name]


@pytest.mark.parametrize("kept", ["first_stage_model.loss.logvar", "cond_stage_models.0.model.logit_scale_a"])
def test_leftovers_of_separately_given_parts_are_accepted(
    kept: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    content = load_trusted(released_files.rewas)["state_dict"]
    parts = ("first_stage_model.", "cond_stage_models.", "model.diffusion_model.")
    lean = {name: tensor for name, tensor in content.items() if name == kept or not name.startswith(parts)}
    assert kept in lean
    torch.save({"state_dict": lean}, tmp_path / "lean.ckpt")
    files = replace(released_files, rewas=tmp_path / "lean.ckpt")
    pack = convert_released(files, tmp_path / "pack", sizes=SMALL)
    assert {path.name for path in pack.iterdir() if path.is_dir()} >= set(ROLES)


def test_a_diffusers_folder_replaces_the_files_of_its_parts(
    released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    files = ReleasedFiles(
        released_files.rewas,
        released_files.phi,
        released_files.synchformer,
        audioldm=audioldm_folder,
        tokenizer=released_files.tokenizer,
    )
    pack = convert_released(files, tmp_path / "pack", sizes=SMALL)
    for role in diffusers_parts():
        found, expected = load_file(pack / role / "model.safetensors"), recipe_part(role, SMALL, prefix="folder.")
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    config = json.loads((pack / "denoiser" / "config.json").read_text())
    assert config["attention_head_dim"] == [1, 2]
    assert config["class_embeddings_concat"] is True


def test_a_missing_tokenizer_is_named_with_the_download_command(released_files: ReleasedFiles, tmp_path: Path) -> None:
    with pytest.raises(PackError, match="tokenizer of RoBERTa is missing") as caught:
        convert_released(replace(released_files, tokenizer=None), tmp_path / "pack", sizes=SMALL)
    assert "hf download" in caught.value.remedy


def test_another_tokenizer_is_refused(released_files: ReleasedFiles, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    vocabulary = json.loads((released_files.tokenizer / "vocab.json").read_text())
    vocabulary["<s>"], vocabulary["<pad>"] = vocabulary["<pad>"], vocabulary["<s>"]
    (other / "vocab.json").write_text(json.dumps(vocabulary))
    (other / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(PackError, match=r"other has .*; expected at most"):
        convert_released(replace(released_files, tokenizer=other), tmp_path / "pack", sizes=SMALL)


@pytest.mark.parametrize(("name", "value"), [("dtype", "fp8"), ("token_times", "later")])
def test_invalid_settings_are_refused(name: str, value: str, released_files: ReleasedFiles, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=value):
        convert_released(released_files, tmp_path / "pack", sizes=SMALL, **{name: value})


def test_an_existing_folder_is_not_changed(released_files: ReleasedFiles, tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "mine.txt").write_text("mine")
    with pytest.raises(PackError, match="already exists"):
        convert_released(released_files, tmp_path / "pack", sizes=SMALL)
    assert (tmp_path / "pack" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("step", [0, 7, 10, 14])
def test_a_stopped_conversion_leaves_no_files(step: int, released_files: ReleasedFiles, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        assert progress.total_steps == 15
        if progress.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_released(released_files, tmp_path / "pack", sizes=SMALL, on_progress=stop)
    assert not list(tmp_path.iterdir())


def test_a_killed_conversion_leaves_no_pack(
    released_files: ReleasedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "from rewas_engine.conversion.released import ReleasedFiles, convert_released\n"
        "from rewas_engine.conversion.sizes import SMALL\n"
        "die = lambda progress: os.kill(os.getpid(), 9) if progress.step == 14 else None\n"
        "pack, *six, tokenizer = [Path(path) for path in sys.argv[1:]]\n"
        "convert_released(ReleasedFiles(*six, tokenizer=tokenizer), pack, sizes=SMALL, on_progress=die)"
    )
    files = released_files
    paths = (files.rewas, files.phi, files.synchformer, files.vae, files.vocoder, files.clap, files.tokenizer)
    completed = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "pack", *paths], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert completed.returncode == -9
    monkeypatch.setenv("REWAS_PACKS", str(tmp_path))
    assert not (tmp_path / "pack").exists()
    assert all(tmp_path not in pack.path.parents for pack in installed_packs())
    # The next conversion removes the leftovers.
    convert_released(files, tmp_path / "pack", sizes=SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]
