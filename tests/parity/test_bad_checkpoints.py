"""Invalid files: the error names the file, what was found and what was expected, and no pack is left."""

import os
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from damaged_files import NORM, Change, convert_refused, load_trusted, rename_tensor, set_tensor
from safetensors.torch import save_file

from rewas_engine.conversion.checkpoints import read_checkpoint
from rewas_engine.conversion.released import ReleasedFiles

pytestmark = pytest.mark.slow

KINDS = ("rewas", "phi", "synchformer", "vae", "vocoder", "clap")


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file_is_refused(kind: str, released_files: ReleasedFiles, tmp_path: Path) -> None:
    error = convert_refused(replace(released_files, **{kind: tmp_path / "gone.ckpt"}), tmp_path)
    assert error.path.name == "gone.ckpt"
    assert error.found == "does not exist"


@pytest.mark.parametrize("kept", [0.5, 0.99])
@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_refused(kind: str, kept: float, released_files: ReleasedFiles, tmp_path: Path) -> None:
    whole = getattr(released_files, kind).read_bytes()
    path = tmp_path / "cut.ckpt"
    path.write_bytes(whole[: int(len(whole) * kept)])
    error = convert_refused(replace(released_files, **{kind: path}), tmp_path)
    assert "table of contents" in error.found
    assert "Download" in error.remedy


@pytest.mark.parametrize("kind", KINDS)
def test_a_swapped_file_is_recognised(kind: str, released_files: ReleasedFiles, tmp_path: Path) -> None:
    other = KINDS[(KINDS.index(kind) + 1) % len(KINDS)]
    options = {"rewas": "--rewas-ckpt"}
    error = convert_refused(replace(released_files, **{kind: getattr(released_files, other)}), tmp_path)
    assert options.get(kind, f"--{kind}") in error.what
    assert f"Use {options.get(other, f'--{other}')} for this file" in error.remedy


@pytest.mark.parametrize("kind", KINDS)
def test_a_zip_that_is_not_a_checkpoint_is_refused(kind: str, released_files: ReleasedFiles, tmp_path: Path) -> None:
    path = tmp_path / "holiday.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("beach.jpg", b"sand")
    error = convert_refused(replace(released_files, **{kind: path}), tmp_path)
    assert "zip archive with other contents (beach.jpg)" in error.found


class _Trap:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("way", ["torch", "legacy", "plain"])
@pytest.mark.parametrize("kind", KINDS)
def test_code_in_a_pickle_is_not_run(kind: str, way: str, released_files: ReleasedFiles, tmp_path: Path) -> None:
    path, sprung = tmp_path / "trap.ckpt", tmp_path / "sprung"
    content = {"state_dict": {"control_model.x": torch.zeros(1)}, "trap": _Trap(sprung)}
    if way == "plain":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=way == "torch")
    error = convert_refused(replace(released_files, **{kind: path}), tmp_path)
    assert "contains code" in error.found
    assert "mkdir" in error.found
    assert not sprung.exists()


def test_training_state_beside_the_weights_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "trained.ckpt"
    torch.save({"state_dict": {"a": torch.ones(2)}, "where": Path("/tmp"), "order": OrderedDict(a=1)}, path)
    assert list(read_checkpoint(path, "a checkpoint").tensors) == ["a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"RIFF....WAVE", "is not a checkpoint"),
        (b"\x80\x02garbage", "is damaged"),
        (b"PK\x03\x04garbage", "without its table of contents"),
    ],
)
def test_other_content_is_refused(content: bytes, message: str, released_files: ReleasedFiles, tmp_path: Path) -> None:
    path = tmp_path / "odd.ckpt"
    path.write_bytes(content)
    assert message in convert_refused(replace(released_files, phi=path), tmp_path).found


def test_a_checkpoint_without_tensors_is_refused(released_files: ReleasedFiles, tmp_path: Path) -> None:
    path = tmp_path / "bare.ckpt"
    torch.save({"epoch": 3}, path)
    assert "holds no tensors" in convert_refused(replace(released_files, phi=path), tmp_path).found


def test_a_checkpoint_of_another_model_is_refused(released_files: ReleasedFiles, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"layer.weight": torch.zeros(2, 2)}, path)
    error = convert_refused(replace(released_files, clap=path), tmp_path)
    assert "1 tensors of another model, first layer.weight" in error.found
    assert "clap_music_speech_audioset" in error.remedy


def test_a_truncated_safetensors_file_is_refused(released_files: ReleasedFiles, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file({"layer.weight": torch.zeros(20, 20)}, path)
    path.write_bytes(path.read_bytes()[:100])
    assert "damaged or cut off" in convert_refused(replace(released_files, vae=path), tmp_path).found


@pytest.mark.parametrize("written_by", ["safetensors", "torch", "torch, legacy"])
@pytest.mark.parametrize("name", ["phi.ckpt", "phi.safetensors", "phi.pt", "phi"])
def test_the_format_does_not_depend_on_the_file_name(written_by: str, name: str, tmp_path: Path) -> None:
    path, tensors = tmp_path / name, {"layer.weight": torch.arange(6.0).reshape(2, 3)}
    if written_by == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=written_by == "torch")
    read = read_checkpoint(path, "a checkpoint").tensors
    assert list(read) == list(tensors)
    assert torch.equal(read["layer.weight"], tensors["layer.weight"])


AVERAGE = "model_ema.diffusion_modelout0weight"


@pytest.mark.parametrize(
    ("kind", "change", "found", "expected"),
    [
        ("phi", lambda tensors: tensors.pop(NORM), "lacks 1 of", "all of them"),
        ("phi", rename_tensor(NORM, "module.hint_blocks.blocks.0.norm_9.weight"), "lacks 1 of", "all of them"),
        ("phi", set_tensor("module.extra", torch.zeros(1)), "holds 1 tensor that has no place", "no others"),
        ("phi", set_tensor(NORM, torch.ones(31)), "shape [31]", "[32]"),
        ("phi", set_tensor(NORM, torch.ones(32, dtype=torch.int64)), "as torch.int64", "torch.float32"),
        ("phi", set_tensor(NORM, torch.ones(32, dtype=torch.complex64)), "as torch.complex64", "torch.float32"),
        ("rewas", lambda tensors: tensors.pop("control_model.film_emb.bias"), "lacks 1 of", "all of them"),
        ("rewas", lambda tensors: tensors.pop(AVERAGE), "lacks 1 of", "all of them"),
        (
            "rewas",
            set_tensor("model_ema.nothing", torch.zeros(1)),
            "average of an unknown tensor",
            "averages of the denoiser",
        ),
        ("rewas", set_tensor("discriminator.weight", torch.zeros(1)), "belong to no part", "no such tensors"),
        ("rewas", set_tensor("betas", torch.linspace(1e-4, 2e-2, 1000)), "another noise schedule", "1000 betas"),
        ("rewas", lambda tensors: tensors.pop("scale_factor"), "no scale_factor", "the scaling factor of its latents"),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    kind: str, change: Change, found: str, expected: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    content = load_trusted(getattr(released_files, kind))
    change(content["state_dict"] if kind == "rewas" else content)
    path = tmp_path / "damaged.ckpt"
    torch.save(content, path)
    error = convert_refused(replace(released_files, **{kind: path}), tmp_path)
    assert found in error.found
    assert expected in error.expected


def test_a_part_in_no_file_is_refused(released_files: ReleasedFiles, tmp_path: Path) -> None:
    content = load_trusted(released_files.rewas)
    kept = {name: value for name, value in content["state_dict"].items() if not name.startswith("first_stage_model.v")}
    path = tmp_path / "lean.ckpt"
    torch.save({"state_dict": kept}, path)
    error = convert_refused(replace(released_files, rewas=path, vocoder=None), tmp_path)
    assert "was not given" in error.found
    assert "--vocoder" in error.remedy
