"""Weights that are not what they should be: each is told of by its name in the file that holds it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from spoilt_files import NORM, Change, refused, set_to, spoiled, with_folder_alone, with_spoilt

from rewas_engine.conversion.released import ReleasedFiles, convert_released
from rewas_engine.conversion.sizes import SMALL
from rewas_engine.errors import CheckpointError

pytestmark = pytest.mark.slow


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
    files, stages = with_spoilt(released_files, kind, tmp_path, spoiled(name, value)), []
    error = refused(files, tmp_path, lambda progress: stages.append(progress.stage))
    assert error.path.name == "amiss.ckpt"
    assert f"holds values in {name} that are not finite, as the " in error.found
    assert option in error.found
    assert "Download" in error.remedy
    assert any("Checking" in stage for stage in stages)
    assert not any("Writing" in stage for stage in stages)


@pytest.mark.parametrize(("value", "dtype", "kind"), [(7e4, "fp16", "float16"), (1e39, "bf16", "bfloat16")])
def test_a_number_too_large_for_the_precision(
    value: float, dtype: str, kind: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    def enlarge(tensors: dict[str, torch.Tensor]) -> None:
        tensors[NORM] = torch.full((32,), value, dtype=torch.float64)

    files = with_spoilt(released_files, "phi", tmp_path, enlarge)
    with pytest.raises(CheckpointError) as caught:
        convert_released(files, tmp_path / "pack", sizes=SMALL, dtype=dtype)
    assert f"holds values in {NORM} up to {value:.4g}, more than {kind} can hold" in caught.value.found
    assert "fp32" in caught.value.remedy


@pytest.mark.parametrize("shape", [(3, 3), (), (0,), (64,)])
@pytest.mark.parametrize("half", ["weight_v", "weight_g"])
def test_half_a_weight_of_the_vocoder_in_another_shape(
    half: str, shape: tuple[int, ...], released_files: ReleasedFiles, tmp_path: Path
) -> None:
    files = with_spoilt(released_files, "vocoder", tmp_path, set_to(f"conv_pre.{half}", torch.ones(shape)))
    error = refused(files, tmp_path)
    assert f"holds conv_pre.{half} with shape {list(shape)}, as the vocoder checkpoint (--vocoder)" in error.found
    assert ("[64, 64, 7]" if half == "weight_v" else "[64, 1, 1]") in error.expected


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.bool])
def test_half_a_weight_of_the_vocoder_that_is_no_floating_number(
    dtype: torch.dtype, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    wrong = torch.ones((64, 64, 7), dtype=dtype)
    error = refused(with_spoilt(released_files, "vocoder", tmp_path, set_to("conv_pre.weight_v", wrong)), tmp_path)
    assert f"holds conv_pre.weight_v as {dtype}" in error.found
    assert "torch.float32" in error.expected


def test_weights_of_the_vocoder_whose_product_is_no_number(released_files: ReleasedFiles, tmp_path: Path) -> None:
    without_direction = set_to("conv_pre.weight_v", torch.zeros(64, 64, 7))
    error = refused(with_spoilt(released_files, "vocoder", tmp_path, without_direction), tmp_path)
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

    error = refused(with_spoilt(released_files, "vocoder", tmp_path, change), tmp_path)
    assert found in error.found
    assert name in error.found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (set_to("model.diffusion_model.foo.weight", torch.zeros(1)), "no place in the denoiser"),
        (set_to("first_stage_model.foo.weight", torch.zeros(1)), "no place in the VAE"),
        (set_to("first_stage_model.vocoder.foo.weight", torch.zeros(1)), "no place in the vocoder"),
        (set_to("cond_stage_models.0.model.foo.weight", torch.zeros(1)), "no place in CLAP's text branch"),
        (
            set_to("model.diffusion_model.out.2.weight", torch.zeros(3)),
            "model.diffusion_model.out.2.weight with shape [3]",
        ),
        (lambda tensors: tensors.pop("model.diffusion_model.out.2.weight"), "lacks 1 of"),
        (lambda tensors: tensors.pop("first_stage_model.decoder.conv_in.weight"), "lacks 1 of"),
        (spoiled("first_stage_model.vocoder.conv_pre.bias", torch.nan), "not finite"),
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

    files = with_spoilt(released_files, "rewas", tmp_path, noted)
    error = refused(files if elsewhere == "files" else with_folder_alone(files, audioldm_folder), tmp_path)
    assert error.path.name == "amiss.ckpt"
    assert found in error.found
    assert changed.pop() in error.found
    assert "as the ReWaS checkpoint (--rewas-ckpt)" in error.found


@pytest.mark.parametrize(
    ("factor", "shown"),
    [
        (torch.tensor(torch.nan), "nan"),
        (torch.tensor(torch.inf), "inf"),
        (torch.tensor(0.0), "0"),
        (torch.tensor(-1.0), "-1"),
        (torch.tensor([0.9, 0.9]), "2 numbers"),
        (torch.zeros(0), "0 numbers"),
    ],
)
def test_a_factor_of_latents_that_is_none(
    factor: torch.Tensor, shown: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    error = refused(with_spoilt(released_files, "rewas", tmp_path, set_to("scale_factor", factor)), tmp_path)
    assert f"holds {shown} as scale_factor, as the ReWaS checkpoint (--rewas-ckpt)" in error.found
    assert "one finite number above 0" in error.expected


@pytest.mark.parametrize("name", ["scale_factor", "betas"])
def test_settings_beside_the_weights_that_are_no_real_numbers(
    name: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    wrong = torch.ones(1, dtype=torch.complex64)
    error = refused(with_spoilt(released_files, "rewas", tmp_path, set_to(name, wrong)), tmp_path)
    assert f"holds {name} as torch.complex64" in error.found


@pytest.mark.parametrize("betas", [torch.full((1000,), torch.nan), torch.zeros(0), torch.tensor(0.1)])
def test_a_noise_schedule_that_is_none(betas: torch.Tensor, released_files: ReleasedFiles, tmp_path: Path) -> None:
    error = refused(with_spoilt(released_files, "rewas", tmp_path, set_to("betas", betas)), tmp_path)
    assert "another noise schedule" in error.found


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("phi", "holds 1 tensor that has no place in φ, the energy estimator, first extra.weight"),
        ("clap", "holds 1 tensor that has no place in CLAP's text branch, first extra.weight"),
        ("vocoder", "holds 1 tensor that has no place in the vocoder, first extra.weight"),
        ("synchformer", "holds extra.weight"),
    ],
)
@pytest.mark.parametrize("wrapper", ["", "module."])
def test_one_tensor_too_many_without_what_stands_before_the_others(
    wrapper: str, kind: str, found: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        bare = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
        tensors.clear()
        tensors |= {wrapper + name: tensor for name, tensor in bare.items()}
        tensors["extra.weight"] = torch.zeros(1)

    error = refused(with_spoilt(released_files, kind, tmp_path, change), tmp_path)
    assert found in error.found


def test_a_tensor_twice_with_and_without_what_stands_before_the_others(
    released_files: ReleasedFiles, tmp_path: Path
) -> None:
    bare = NORM.removeprefix("module.")
    error = refused(with_spoilt(released_files, "phi", tmp_path, set_to(bare, torch.ones(32))), tmp_path)
    assert f"first {bare}, as" in error.found


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: torch.ones(32).to_sparse(), "as torch.sparse_coo"),
        (lambda: torch.ones(32, 1).to_sparse_csr(), "as torch.sparse_csr"),
        (lambda: torch.ones(32, device="meta"), "without its numbers"),
        (lambda: torch.quantize_per_tensor(torch.ones(32), 0.1, 0, torch.qint8), "quantized"),
        (lambda: torch.nested.nested_tensor([torch.ones(32)]), "nested"),
        (lambda: torch.empty(32, dtype=torch.bits8), "as torch.bits8"),
    ],
)
@pytest.mark.parametrize("name", [NORM, "module.extra"])
def test_a_tensor_whose_numbers_do_not_lie_in_the_file_one_by_one(
    name: str, make: Callable[[], torch.Tensor], found: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    error = refused(with_spoilt(released_files, "phi", tmp_path, set_to(name, make())), tmp_path)
    assert f"holds {name} {found}, as the checkpoint of φ (--phi)" in error.found
