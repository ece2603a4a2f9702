"""AudioLDM-M as a folder in diffusers layout that is not what it should be."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from spoilt_files import refused, spoiled, with_folder_alone, with_spoilt

from rewas_engine.conversion.released import ReleasedFiles, convert_released
from rewas_engine.conversion.sizes import SMALL

pytestmark = pytest.mark.slow


def test_a_folder_that_holds_no_audioldm(released_files: ReleasedFiles, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no part" in refused(replace(released_files, audioldm=tmp_path / "empty"), tmp_path).found
    assert "is not a folder" in refused(replace(released_files, audioldm=tmp_path / "gone"), tmp_path).found


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("unet", "conv_out.weight"),
        ("vae", "decoder.mid_block.attentions.0.query.weight"),
        ("vocoder", "conv_pre.weight"),
        ("text_encoder", "text_projection.linear1.weight"),
    ],
)
def test_a_value_that_is_no_number_in_a_folder_is_told_of_the_file_that_holds_it(
    part: str, name: str, released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    path = audioldm_folder / part / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    spoiled(name, torch.nan)(tensors)
    save_file(tensors, path)
    error = refused(with_folder_alone(released_files, audioldm_folder), tmp_path)
    assert error.path == path
    assert f"holds values in {name} that are not finite, as {part} of audioldm (--audioldm)" in error.found


def test_a_tensor_of_a_folder_under_its_old_and_its_present_name(
    released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    path = audioldm_folder / "vae" / "diffusion_pytorch_model.safetensors"
    old, present = (f"decoder.mid_block.attentions.0.{layer}.weight" for layer in ("query", "to_q"))
    save_file(load_file(path) | {present: torch.zeros(1)}, path)
    error = refused(with_folder_alone(released_files, audioldm_folder), tmp_path)
    assert old in error.found
    assert present in error.found


@pytest.mark.parametrize("factor", ["NaN", "Infinity", "0", "-1", "true", '"0.5"', "[0.5]", "1" + "0" * 400])
def test_a_factor_of_latents_in_a_folder_that_is_none(
    factor: str, released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    (audioldm_folder / "vae" / "config.json").write_text(f'{{"scaling_factor": {factor}}}')
    files = with_spoilt(released_files, "rewas", tmp_path, lambda tensors: tensors.pop("scale_factor"))
    error = refused(with_folder_alone(files, audioldm_folder), tmp_path)
    assert error.path == audioldm_folder / "vae" / "config.json"
    assert "says scaling_factor" in error.found


@pytest.mark.parametrize("left", ["config.json", "diffusion_pytorch_model-00001-of-00002.safetensors", None])
@pytest.mark.parametrize("part", ["unet", "vae", "vocoder", "text_encoder"])
def test_a_part_of_a_folder_without_weights(
    part: str, left: str | None, released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    weights = audioldm_folder / part / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    if left is not None:
        (audioldm_folder / part / left).write_text("{}")
    error = refused(with_folder_alone(released_files, audioldm_folder), tmp_path)
    assert f"{part} holds no weights" in error.what
    assert error.path == audioldm_folder / part


@pytest.mark.parametrize("variant", ["diffusion_pytorch_model.fp16.safetensors", "model.fp16.safetensors"])
def test_weights_of_half_precision_alone_are_taken(
    variant: str, released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    weights = audioldm_folder / "unet" / "diffusion_pytorch_model.safetensors"
    halved = {name: tensor.half() for name, tensor in load_file(weights).items()}
    weights.unlink()
    save_file(halved, weights.with_name(variant))
    files = with_folder_alone(released_files, audioldm_folder)
    pack = convert_released(files, tmp_path / "pack", sizes=SMALL)
    found = load_file(pack / "denoiser" / "model.safetensors")
    assert found.keys() == halved.keys()
    assert all(torch.equal(found[name], tensor.float()) for name, tensor in halved.items())


def test_weights_of_full_precision_come_first(
    released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    weights = audioldm_folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = load_file(weights)
    zeros = {name: torch.zeros_like(tensor).half() for name, tensor in whole.items()}
    save_file(zeros, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    pack = convert_released(with_folder_alone(released_files, audioldm_folder), tmp_path / "pack", sizes=SMALL)
    assert torch.equal(load_file(pack / "denoiser" / "model.safetensors")["conv_in.bias"], whole["conv_in.bias"])
