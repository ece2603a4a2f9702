"""AudioLDM-M folders in diffusers layout with invalid or missing content."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from damaged_files import convert_refused, replace_damaged, set_last_value, use_folder_only
from safetensors.torch import load_file, save_file

from rewas_engine.conversion.released import ReleasedFiles, convert_released
from rewas_engine.conversion.sizes import SMALL

pytestmark = pytest.mark.slow


def test_a_folder_without_audioldm_is_refused(released_files: ReleasedFiles, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no part" in convert_refused(replace(released_files, audioldm=tmp_path / "empty"), tmp_path).found
    assert "is not a folder" in convert_refused(replace(released_files, audioldm=tmp_path / "gone"), tmp_path).found


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("unet", "conv_out.weight"),
        ("vae", "decoder.mid_block.attentions.0.query.weight"),
        ("vocoder", "conv_pre.weight"),
        ("text_encoder", "text_projection.linear1.weight"),
    ],
)
def test_a_non_finite_value_is_reported_with_its_file(
    part: str, name: str, released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    path = audioldm_folder / part / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    set_last_value(name, torch.nan)(tensors)
    save_file(tensors, path)
    error = convert_refused(use_folder_only(released_files, audioldm_folder), tmp_path)
    assert error.path == path
    assert error.found == f"holds values in {name} that are not finite"
    assert f"given as {part} of audioldm (--audioldm)" in error.what


def test_a_tensor_under_both_old_and_new_name_is_refused(
    released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    path = audioldm_folder / "vae" / "diffusion_pytorch_model.safetensors"
    old, present = (f"decoder.mid_block.attentions.0.{layer}.weight" for layer in ("query", "to_q"))
    save_file(load_file(path) | {present: torch.zeros(1)}, path)
    error = convert_refused(use_folder_only(released_files, audioldm_folder), tmp_path)
    assert old in error.found
    assert present in error.found


@pytest.mark.parametrize("factor", ["NaN", "Infinity", "0", "-1", "true", '"0.5"', "[0.5]", "1" + "0" * 400])
def test_an_invalid_scaling_factor_is_refused(
    factor: str, released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    (audioldm_folder / "vae" / "config.json").write_text(f'{{"scaling_factor": {factor}}}')
    files = replace_damaged(released_files, "rewas", tmp_path, lambda tensors: tensors.pop("scale_factor"))
    error = convert_refused(use_folder_only(files, audioldm_folder), tmp_path)
    assert error.path == audioldm_folder / "vae" / "config.json"
    assert "has the scaling_factor" in error.found


@pytest.mark.parametrize("left", ["config.json", "diffusion_pytorch_model-00001-of-00002.safetensors", None])
@pytest.mark.parametrize("part", ["unet", "vae", "vocoder", "text_encoder"])
def test_a_part_without_weights_is_refused(
    part: str, left: str | None, released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    weights = audioldm_folder / part / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    if left is not None:
        (audioldm_folder / part / left).write_text("{}")
    error = convert_refused(use_folder_only(released_files, audioldm_folder), tmp_path)
    assert f"{part} holds no weights" in error.what
    assert error.path == audioldm_folder / part


@pytest.mark.parametrize("variant", ["diffusion_pytorch_model.fp16.safetensors", "model.fp16.safetensors"])
def test_half_precision_weights_alone_are_used(
    variant: str, released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    weights = audioldm_folder / "unet" / "diffusion_pytorch_model.safetensors"
    halved = {name: tensor.half() for name, tensor in load_file(weights).items()}
    weights.unlink()
    save_file(halved, weights.with_name(variant))
    files = use_folder_only(released_files, audioldm_folder)
    pack = convert_released(files, tmp_path / "pack", sizes=SMALL)
    found = load_file(pack / "denoiser" / "model.safetensors")
    assert found.keys() == halved.keys()
    assert all(torch.equal(found[name], tensor.float()) for name, tensor in halved.items())


def test_full_precision_weights_are_preferred(
    released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    weights = audioldm_folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = load_file(weights)
    zeros = {name: torch.zeros_like(tensor).half() for name, tensor in whole.items()}
    save_file(zeros, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    pack = convert_released(use_folder_only(released_files, audioldm_folder), tmp_path / "pack", sizes=SMALL)
    assert torch.equal(load_file(pack / "denoiser" / "model.safetensors")["conv_in.bias"], whole["conv_in.bias"])
