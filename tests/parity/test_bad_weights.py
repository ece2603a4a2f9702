"""Invalid weights: each is reported by its name in the checkpoint."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from damaged_files import NORM, Change, convert_refused, replace_damaged, set_last_value, set_tensor, use_folder_only

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
def test_a_non_finite_weight_is_reported_by_its_name_in_the_file(
    kind: str, name: str, option: str, value: float, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    files, stages = replace_damaged(released_files, kind, tmp_path, set_last_value(name, value)), []
    error = convert_refused(files, tmp_path, lambda progress: stages.append(progress.stage))
    assert error.path.name == "damaged.ckpt"
    assert error.found == f"holds values in {name} that are not finite"
    assert ", given as the " in error.what
    assert option in error.what
    assert "Download" in error.remedy
    assert any("Checking" in stage for stage in stages)
    assert not any("Writing" in stage for stage in stages)


@pytest.mark.parametrize(("value", "dtype", "kind"), [(7e4, "fp16", "float16"), (1e39, "bf16", "bfloat16")])
def test_a_weight_too_large_for_the_precision_is_refused(
    value: float, dtype: str, kind: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    def enlarge(tensors: dict[str, torch.Tensor]) -> None:
        tensors[NORM] = torch.full((32,), value, dtype=torch.float64)

    files = replace_damaged(released_files, "phi", tmp_path, enlarge)
    with pytest.raises(CheckpointError) as caught:
        convert_released(files, tmp_path / "pack", sizes=SMALL, dtype=dtype)
    assert f"holds values in {NORM} up to {value:.4g}, more than {kind} can hold" in caught.value.found
    assert "fp32" in caught.value.remedy


@pytest.mark.parametrize("shape", [(3, 3), (), (0,), (64,)])
@pytest.mark.parametrize("half", ["weight_v", "weight_g"])
def test_a_weight_norm_tensor_of_another_shape_is_refused(
    half: str, shape: tuple[int, ...], released_files: ReleasedFiles, tmp_path: Path
) -> None:
    files = replace_damaged(released_files, "vocoder", tmp_path, set_tensor(f"conv_pre.{half}", torch.ones(shape)))
    error = convert_refused(files, tmp_path)
    assert error.found == f"holds conv_pre.{half} with shape {list(shape)}"
    assert "given as the vocoder checkpoint (--vocoder)" in error.what
    assert ("[64, 64, 7]" if half == "weight_v" else "[64, 1, 1]") in error.expected


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.bool])
def test_a_weight_norm_tensor_of_another_dtype_is_refused(
    dtype: torch.dtype, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    wrong = torch.ones((64, 64, 7), dtype=dtype)
    error = convert_refused(
        replace_damaged(released_files, "vocoder", tmp_path, set_tensor("conv_pre.weight_v", wrong)), tmp_path
    )
    assert f"holds conv_pre.weight_v as {dtype}" in error.found
    assert "torch.float32" in error.expected


def test_a_non_finite_weight_norm_product_is_refused(released_files: ReleasedFiles, tmp_path: Path) -> None:
    without_direction = set_tensor("conv_pre.weight_v", torch.zeros(64, 64, 7))
    error = convert_refused(replace_damaged(released_files, "vocoder", tmp_path, without_direction), tmp_path)
    assert "holds conv_pre.weight_g and conv_pre.weight_v, whose product is not finite" in error.found


@pytest.mark.parametrize(
    ("name", "found"),
    [("foo.weight_g", "2 tensors that have no place"), ("conv_pre.weight", "holds both conv_pre.weight and")],
)
def test_an_extra_vocoder_weight_is_refused(
    name: str, found: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors |= {name: torch.ones(64, 64, 7), "foo.weight_v": torch.ones(2)}

    error = convert_refused(replace_damaged(released_files, "vocoder", tmp_path, change), tmp_path)
    assert found in error.found
    assert name in error.found


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (set_tensor("model.diffusion_model.foo.weight", torch.zeros(1)), "no place in the denoiser"),
        (set_tensor("first_stage_model.foo.weight", torch.zeros(1)), "no place in the VAE"),
        (set_tensor("first_stage_model.vocoder.foo.weight", torch.zeros(1)), "no place in the vocoder"),
        (set_tensor("cond_stage_models.0.model.foo.weight", torch.zeros(1)), "no place in CLAP's text branch"),
        (
            set_tensor("model.diffusion_model.out.2.weight", torch.zeros(3)),
            "model.diffusion_model.out.2.weight with shape [3]",
        ),
        (lambda tensors: tensors.pop("model.diffusion_model.out.2.weight"), "lacks 1 of"),
        (lambda tensors: tensors.pop("first_stage_model.decoder.conv_in.weight"), "lacks 1 of"),
        (set_last_value("first_stage_model.vocoder.conv_pre.bias", torch.nan), "not finite"),
    ],
)
@pytest.mark.parametrize("source", ["files", "folder"])
def test_unused_parts_of_the_rewas_checkpoint_are_checked_too(
    change: Change, found: str, source: str, released_files: ReleasedFiles, audioldm_folder: Path, tmp_path: Path
) -> None:
    changed: set[str] = set()

    def record_changes(tensors: dict[str, torch.Tensor]) -> None:
        before = dict(tensors)
        change(tensors)
        changed.update(name for name in {*before, *tensors} if before.get(name) is not tensors.get(name))

    files = replace_damaged(released_files, "rewas", tmp_path, record_changes)
    error = convert_refused(files if source == "files" else use_folder_only(files, audioldm_folder), tmp_path)
    assert error.path.name == "damaged.ckpt"
    assert found in error.found
    assert changed.pop() in error.found
    assert "given as the ReWaS checkpoint (--rewas-ckpt)" in error.what


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
def test_an_invalid_scale_factor_is_refused(
    factor: torch.Tensor, shown: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    error = convert_refused(
        replace_damaged(released_files, "rewas", tmp_path, set_tensor("scale_factor", factor)), tmp_path
    )
    assert error.found == f"has the scale_factor {shown}"
    assert "given as the ReWaS checkpoint (--rewas-ckpt)" in error.what
    assert "one finite number above 0" in error.expected


@pytest.mark.parametrize("name", ["scale_factor", "betas"])
def test_complex_settings_are_refused(name: str, released_files: ReleasedFiles, tmp_path: Path) -> None:
    wrong = torch.ones(1, dtype=torch.complex64)
    error = convert_refused(replace_damaged(released_files, "rewas", tmp_path, set_tensor(name, wrong)), tmp_path)
    assert f"holds {name} as torch.complex64" in error.found


@pytest.mark.parametrize("betas", [torch.full((1000,), torch.nan), torch.zeros(0), torch.tensor(0.1)])
def test_an_invalid_noise_schedule_is_refused(
    betas: torch.Tensor, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    error = convert_refused(replace_damaged(released_files, "rewas", tmp_path, set_tensor("betas", betas)), tmp_path)
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
def test_an_extra_tensor_without_the_common_prefix_is_refused(
    wrapper: str, kind: str, found: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        bare = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
        tensors.clear()
        tensors |= {wrapper + name: tensor for name, tensor in bare.items()}
        tensors["extra.weight"] = torch.zeros(1)

    error = convert_refused(replace_damaged(released_files, kind, tmp_path, change), tmp_path)
    assert found in error.found


def test_a_tensor_with_and_without_the_common_prefix_is_refused(released_files: ReleasedFiles, tmp_path: Path) -> None:
    bare = NORM.removeprefix("module.")
    error = convert_refused(
        replace_damaged(released_files, "phi", tmp_path, set_tensor(bare, torch.ones(32))), tmp_path
    )
    assert error.found.endswith(f"first {bare}")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: torch.ones(32).to_sparse(), "as torch.sparse_coo"),
        (lambda: torch.ones(32, 1).to_sparse_csr(), "as torch.sparse_csr"),
        (lambda: torch.ones(32, device="meta"), "without values"),
        (lambda: torch.quantize_per_tensor(torch.ones(32), 0.1, 0, torch.qint8), "quantized"),
        (lambda: torch.nested.nested_tensor([torch.ones(32)]), "nested"),
        (lambda: torch.empty(32, dtype=torch.bits8), "as torch.bits8"),
    ],
)
@pytest.mark.parametrize("name", [NORM, "module.extra"])
def test_a_tensor_without_dense_storage_is_refused(
    name: str, make: Callable[[], torch.Tensor], found: str, released_files: ReleasedFiles, tmp_path: Path
) -> None:
    error = convert_refused(replace_damaged(released_files, "phi", tmp_path, set_tensor(name, make())), tmp_path)
    assert error.found == f"holds {name} {found}"
    assert "given as the φ checkpoint (--phi)" in error.what
