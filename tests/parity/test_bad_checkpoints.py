"""Files that are not what they should be: a sentence says which, what was found, what was expected; no pack is left."""

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rewas_engine.conversion.checkpoints import read_checkpoint
from rewas_engine.conversion.released import OnProgress, ReleasedFiles, convert_released
from rewas_engine.conversion.sizes import SMALL
from rewas_engine.errors import CheckpointError, PackError

KINDS = ("rewas", "phi", "synchformer", "vae", "vocoder", "clap")
Change = Callable[[dict[str, torch.Tensor]], None]


def refused(files: ReleasedFiles, folder: Path, on_progress: OnProgress | None = None) -> CheckpointError:
    """Why the conversion was refused; it has left nothing."""
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(CheckpointError) as caught:
        convert_released(files, folder / "pack", sizes=SMALL, on_progress=on_progress)
    assert sorted(path.name for path in folder.iterdir()) == before
    error = caught.value
    assert isinstance(error, PackError)
    assert error.path.name in error.what
    assert error.found in error.what
    assert error.expected in error.what
    assert error.remedy
    return error


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file(kind: str, released_files: ReleasedFiles, tmp_path: Path) -> None:
    error = refused(replace(released_files, **{kind: tmp_path / "gone.ckpt"}), tmp_path)
    assert "gone.ckpt does not exist" in error.what


@pytest.mark.parametrize("kept", [0.5, 0.99])
@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file(kind: str, kept: float, released_files: ReleasedFiles, tmp_path: Path) -> None:
    whole = getattr(released_files, kind).read_bytes()
    path = tmp_path / "cut.ckpt"
    path.write_bytes(whole[: int(len(whole) * kept)])
    error = refused(replace(released_files, **{kind: path}), tmp_path)
    assert "table of contents" in error.found
    assert "Download" in error.remedy


@pytest.mark.parametrize("kind", KINDS)
def test_a_swapped_file(kind: str, released_files: ReleasedFiles, tmp_path: Path) -> None:
    other = KINDS[(KINDS.index(kind) + 1) % len(KINDS)]
    options = {"rewas": "--rewas-ckpt"}
    error = refused(replace(released_files, **{kind: getattr(released_files, other)}), tmp_path)
    assert options.get(kind, f"--{kind}") in error.what
    assert f"Give it to {options.get(other, f'--{other}')}" in error.remedy


@pytest.mark.parametrize("kind", KINDS)
def test_a_zip_that_is_no_checkpoint(kind: str, released_files: ReleasedFiles, tmp_path: Path) -> None:
    path = tmp_path / "holiday.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("beach.jpg", b"sand")
    error = refused(replace(released_files, **{kind: path}), tmp_path)
    assert "zip archive of something else (beach.jpg)" in error.found


class _Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("way", ["torch", "legacy", "plain"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_with_code_in_it_is_not_run(
    kind: str, way: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    path, sprung = tmp_path / "trap.ckpt", tmp_path / "sprung"
    content = {"state_dict": {"control_model.x": torch.zeros(1)}, "trap": _Trap(sprung)}
    if way == "plain":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=way == "torch")
    error = refused(replace(released_files, **{kind: path}), tmp_path)
    assert "holds code" in error.found
    assert "mkdir" in error.found
    assert not sprung.exists()


def test_what_training_programs_leave_beside_the_weights_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "trained.ckpt"
    torch.save({"state_dict": {"a": torch.ones(2)}, "where": Path("/tmp"), "order": OrderedDict(a=1)}, path)
    assert list(read_checkpoint(path, "a checkpoint").tensors) == ["a"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "pointer of Git LFS"),
        (b"RIFF....WAVE", "is no checkpoint"),
        (b"\x80\x02garbage", "is damaged"),
        (b"PK\x03\x04garbage", "without its table of contents"),
    ],
)
def test_what_is_no_checkpoint_at_all(content: bytes, said: str, released_files: ReleasedFiles, tmp_path: Path) -> None:
    path = tmp_path / "odd.ckpt"
    path.write_bytes(content)
    assert said in refused(replace(released_files, phi=path), tmp_path).found


def test_a_checkpoint_without_tensors(released_files: ReleasedFiles, tmp_path: Path) -> None:
    path = tmp_path / "bare.ckpt"
    torch.save({"epoch": 3}, path)
    assert "holds no tensors" in refused(replace(released_files, phi=path), tmp_path).found


def test_a_checkpoint_of_some_other_model(released_files: ReleasedFiles, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"layer.weight": torch.zeros(2, 2)}, path)
    error = refused(replace(released_files, clap=path), tmp_path)
    assert "1 tensors of some other model, first layer.weight" in error.found
    assert "clap_music_speech_audioset" in error.remedy


def test_a_safetensors_file_that_is_cut_off(released_files: ReleasedFiles, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file({"layer.weight": torch.zeros(20, 20)}, path)
    path.write_bytes(path.read_bytes()[:100])
    assert "damaged or cut off" in refused(replace(released_files, vae=path), tmp_path).found


@pytest.mark.parametrize("written_by", ["safetensors", "torch", "torch, legacy"])
@pytest.mark.parametrize("name", ["phi.ckpt", "phi.safetensors", "phi.pt", "phi"])
def test_the_name_of_a_file_does_not_say_what_it_is(written_by: str, name: str, tmp_path: Path) -> None:
    path, tensors = tmp_path / name, {"layer.weight": torch.arange(6.0).reshape(2, 3)}
    if written_by == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=written_by == "torch")
    read = read_checkpoint(path, "a checkpoint").tensors
    assert list(read) == list(tensors)
    assert torch.equal(read["layer.weight"], tensors["layer.weight"])


def _rename(old: str, new: str) -> Change:
    return lambda tensors: tensors.update({new: tensors.pop(old)})


def _set(name: str, value: torch.Tensor) -> Change:
    return lambda tensors: tensors.update({name: value})


NORM = "module.hint_blocks.blocks.0.norm_1.weight"
AVERAGE = "model_ema.diffusion_modelout0weight"


@pytest.mark.parametrize(
    ("kind", "change", "found", "expected"),
    [
        ("phi", lambda tensors: tensors.pop(NORM), "lacks 1 of", "every one"),
        ("phi", _rename(NORM, "module.hint_blocks.blocks.0.norm_9.weight"), "lacks 1 of", "every one"),
        ("phi", _set("module.extra", torch.zeros(1)), "holds 1 tensors that have no place", "no others"),
        ("phi", _set(NORM, torch.ones(31)), "shape [31]", "[32]"),
        ("phi", _set(NORM, torch.ones(32, dtype=torch.int64)), "as torch.int64", "torch.float32"),
        ("phi", _set(NORM, torch.ones(32, dtype=torch.complex64)), "as torch.complex64", "torch.float32"),
        ("rewas", lambda tensors: tensors.pop("control_model.film_emb.bias"), "lacks 1 of", "every one"),
        ("rewas", lambda tensors: tensors.pop(AVERAGE), "lacks 1 of", "every one"),
        ("rewas", _set("model_ema.nothing", torch.zeros(1)), "average of no tensor", "none such"),
        ("rewas", _set("discriminator.weight", torch.zeros(1)), "belong to no part", "none such"),
        ("rewas", _set("betas", torch.linspace(1e-4, 2e-2, 1000)), "another noise schedule", "1000 betas"),
        ("rewas", lambda tensors: tensors.pop("scale_factor"), "no scale_factor", "the factor of its latents"),
    ],
)
def test_a_file_with_something_amiss(
    kind: str, change: Change, found: str, expected: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    content = torch.load(getattr(released_files, kind), weights_only=True)
    change(content["state_dict"] if kind == "rewas" else content)
    path = tmp_path / "amiss.ckpt"
    torch.save(content, path)
    error = refused(replace(released_files, **{kind: path}), tmp_path)
    assert found in error.found
    assert expected in error.expected


def _spoilt(files: ReleasedFiles, kind: str, folder: Path, change: Change) -> ReleasedFiles:
    """The files with a changed copy of one of them."""
    content = torch.load(getattr(files, kind), weights_only=True)
    change(next((content[key] for key in ("state_dict", "model", "generator") if key in content), content))
    path = folder / "amiss.ckpt"
    torch.save(content, path)
    return replace(files, **{kind: path})


def _with_folder(files: ReleasedFiles, folder: Path) -> ReleasedFiles:
    """The parts of AudioLDM out of a folder alone."""
    return replace(files, audioldm=folder, vae=None, vocoder=None, clap=None)


def _spoil(name: str, value: float) -> Change:
    """A tensor with one number of it exchanged."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[-1] = value

    return change


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(
    ("kind", "name", "option"),
    [
        ("rewas", "control_model.input_blocks.0.0.weight", "--rewas-ckpt"),
        ("rewas", "model_ema.diffusion_modelout2weight", "--rewas-ckpt"),
        ("phi", NORM, "--phi"),
        ("synchformer", "vfeat_extractor.blocks.0.norm3.weight", "--synchformer"),
        ("vae", "decoder.mid.attn_1.q.weight", "--vae"),
        ("vocoder", "conv_pre.weight_v", "--vocoder"),
        ("vocoder", "ups.0.weight_g", "--vocoder"),
        ("vocoder", "conv_pre.bias", "--vocoder"),
        ("clap", "module.text_branch.embeddings.word_embeddings.weight", "--clap"),
    ],
)
def test_a_value_that_is_no_number_is_named_as_the_file_has_it_before_anything_is_written(
    kind: str, name: str, option: str, value: float, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    files, said = _spoilt(released_files, kind, tmp_path, _spoil(name, value)), []
    error = refused(files, tmp_path, lambda words, *_: said.append(words))
    assert error.path.name == "amiss.ckpt"
    assert f"holds values in {name} that are not finite, as the " in error.found
    assert option in error.found
    assert "Download" in error.remedy
    assert not any("Writing" in words for words in said)


@pytest.mark.parametrize(("value", "dtype", "kind"), [(7e4, "fp16", "float16"), (1e39, "bf16", "bfloat16")])
def test_a_number_too_large_for_the_precision(
    value: float, dtype: str, kind: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    def enlarge(tensors: dict[str, torch.Tensor]) -> None:
        tensors[NORM] = torch.full((32,), value, dtype=torch.float64)

    files = _spoilt(released_files, "phi", tmp_path, enlarge)
    with pytest.raises(CheckpointError) as caught:
        convert_released(files, tmp_path / "pack", sizes=SMALL, dtype=dtype)
    assert f"holds values in {NORM} up to {value:.4g}, more than {kind} can hold" in caught.value.found
    assert "fp32" in caught.value.remedy


@pytest.mark.parametrize("shape", [(3, 3), (), (0,), (64,)])
@pytest.mark.parametrize("half", ["weight_v", "weight_g"])
def test_half_a_weight_of_the_vocoder_in_another_shape(
    half: str, shape: tuple[int, ...], released_files: ReleasedFiles, tmp_path: Path
) -> None:
    files = _spoilt(released_files, "vocoder", tmp_path, _set(f"conv_pre.{half}", torch.ones(shape)))
    error = refused(files, tmp_path)
    assert f"holds conv_pre.{half} with shape {list(shape)}, as the vocoder checkpoint (--vocoder)" in error.found
    assert ("[64, 64, 7]" if half == "weight_v" else "[64, 1, 1]") in error.expected


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.bool])
def test_half_a_weight_of_the_vocoder_that_is_no_floating_number(
    dtype: torch.dtype, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    wrong = torch.ones((64, 64, 7), dtype=dtype)
    error = refused(_spoilt(released_files, "vocoder", tmp_path, _set("conv_pre.weight_v", wrong)), tmp_path)
    assert f"holds conv_pre.weight_v as {dtype}" in error.found
    assert "torch.float32" in error.expected


def test_weights_of_the_vocoder_whose_product_is_no_number(released_files: ReleasedFiles, tmp_path: Path) -> None:
    without_direction = _set("conv_pre.weight_v", torch.zeros(64, 64, 7))
    error = refused(_spoilt(released_files, "vocoder", tmp_path, without_direction), tmp_path)
    assert "holds conv_pre.weight_g and conv_pre.weight_v, whose product is not finite" in error.found


@pytest.mark.parametrize(
    ("name", "found"),
    [("foo.weight_g", "2 tensors that have no place"), ("conv_pre.weight", "holds both conv_pre.weight and")],
)
def test_a_weight_of_the_vocoder_that_is_one_too_many(
    name: str, found: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors |= {name: torch.ones(64, 64, 7), "foo.weight_v": torch.ones(2)}

    error = refused(_spoilt(released_files, "vocoder", tmp_path, change), tmp_path)
    assert found in error.found
    assert name in error.found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_set("model.diffusion_model.foo.weight", torch.zeros(1)), "no place in the denoiser"),
        (_set("first_stage_model.foo.weight", torch.zeros(1)), "no place in the VAE"),
        (_set("first_stage_model.vocoder.foo.weight", torch.zeros(1)), "no place in the vocoder"),
        (_set("cond_stage_models.0.model.foo.weight", torch.zeros(1)), "no place in CLAP's text branch"),
        (
            _set("model.diffusion_model.out.2.weight", torch.zeros(3)),
            "model.diffusion_model.out.2.weight with shape [3]",
        ),
        (lambda tensors: tensors.pop("model.diffusion_model.out.2.weight"), "lacks 1 of"),
        (lambda tensors: tensors.pop("first_stage_model.decoder.conv_in.weight"), "lacks 1 of"),
        (_spoil("first_stage_model.vocoder.conv_pre.bias", torch.nan), "not finite"),
    ],
)
@pytest.mark.parametrize("elsewhere", ["files", "folder"])
def test_what_the_rewas_checkpoint_holds_of_parts_that_are_taken_from_elsewhere_is_whole_too(
    change: Change, found: str, elsewhere: str, released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    changed: set[str] = set()

    def noted(tensors: dict[str, torch.Tensor]) -> None:
        before = dict(tensors)
        change(tensors)
        changed.update(name for name in {*before, *tensors} if before.get(name) is not tensors.get(name))

    files = _spoilt(released_files, "rewas", tmp_path, noted)
    error = refused(files if elsewhere == "files" else _with_folder(files, audioldm_folder), tmp_path)
    assert error.path.name == "amiss.ckpt"
    assert found in error.found
    assert changed.pop() in error.found
    assert "as the ReWaS checkpoint (--rewas-ckpt)" in error.found


def test_a_part_that_nothing_holds(released_files: ReleasedFiles, tmp_path: Path) -> None:
    content = torch.load(released_files.rewas, weights_only=True)
    kept = {name: value for name, value in content["state_dict"].items() if not name.startswith("first_stage_model.v")}
    path = tmp_path / "lean.ckpt"
    torch.save({"state_dict": kept}, path)
    error = refused(replace(released_files, rewas=path, vocoder=None), tmp_path)
    assert "was not given" in error.found
    assert "--vocoder" in error.remedy


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
    _spoil(name, torch.nan)(tensors)
    save_file(tensors, path)
    error = refused(_with_folder(released_files, audioldm_folder), tmp_path)
    assert error.path == path
    assert f"holds values in {name} that are not finite, as {part} of audioldm (--audioldm)" in error.found


def test_a_tensor_of_a_folder_under_its_old_and_its_present_name(
    released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    path = audioldm_folder / "vae" / "diffusion_pytorch_model.safetensors"
    old, present = (f"decoder.mid_block.attentions.0.{layer}.weight" for layer in ("query", "to_q"))
    save_file(load_file(path) | {present: torch.zeros(1)}, path)
    error = refused(_with_folder(released_files, audioldm_folder), tmp_path)
    assert old in error.found
    assert present in error.found
