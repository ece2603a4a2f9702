"""AudioLDM-M as a folder in diffusers layout that is not what it should be."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from spoilt_files import refused, spoiled, with_folder_alone, with_spoilt

from rewas_engine.conversion.released import ReleasedFiles


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
