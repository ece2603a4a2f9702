"""Every tensor of our full-size networks has a name and a shape in the released checkpoints, and none is left over."""

import hashlib

import numpy as np
import pytest
import torch

from rewas_engine.conversion.names import ema_name
from rewas_engine.conversion.parts import fold_weight_norm, released_parts
from rewas_engine.conversion.sizes import RELEASED
from rewas_engine.parity.synthetic_weights import recipe_weight

# For each part: number of released tensors, and a hash of their sorted names and shapes in the release.
LISTED = {
    "denoiser": (690, "7cdce467cbeb3781"),
    "adapter": (332, "2a7f2f94c8cb980a"),
    "codec": (204, "1770d4ddd274d30c"),
    "vocoder": (194, "68db2f7532661095"),
    "text_encoder": (203, "e74072c51978e6ff"),
    "video_encoder": (236, "0f2d8896326d05dc"),
    "phi": (52, "c65b9a220b0a1b41"),
}
PARAMETERS = {"denoiser": 415_954_568, "adapter": 182_462_672, "vocoder": 55_264_897, "phi": 21_966_561}


@pytest.mark.parametrize("role", LISTED)
def test_our_names_are_the_released_ones(role: str) -> None:
    stored = released_parts(RELEASED)[role].released_shapes(RELEASED)
    lines = "\n".join(f"{name} {'x'.join(map(str, stored[name]))}" for name in sorted(stored))
    assert (len(stored), hashlib.sha256(lines.encode()).hexdigest()[:16]) == LISTED[role]


@pytest.mark.parametrize("role", PARAMETERS)
def test_the_networks_are_of_the_released_size(role: str) -> None:
    assert sum(parameter.numel() for parameter in RELEASED.build_on_meta(role).parameters()) == PARAMETERS[role]


def test_denoiser_heads_have_32_channels_and_class_embeddings_are_concatenated() -> None:
    config = RELEASED.build_on_meta("denoiser").config
    assert tuple(config.attention_head_dim) == (6, 12, 18, 30)
    assert config.class_embeddings_concat
    assert RELEASED.build_on_meta("text_encoder").config.layer_norm_eps == 1e-5


def test_moving_averages_are_named_without_dots() -> None:
    assert ema_name("input_blocks.0.0.weight") == "diffusion_modelinput_blocks00weight"
    names = [ema_name(name) for name in released_parts(RELEASED)["denoiser"].released_shapes(RELEASED)]
    assert len(set(names)) == 690


def test_weight_norm_is_folded_as_in_torch() -> None:
    convolution = torch.nn.utils.parametrizations.weight_norm(torch.nn.ConvTranspose1d(6, 4, 5))
    with torch.no_grad():
        convolution.parametrizations.weight.original0.mul_(1.7)
    stored = {
        "ups.0.weight_g": convolution.parametrizations.weight.original0.detach(),
        "ups.0.weight_v": convolution.parametrizations.weight.original1.detach(),
        "ups.0.bias": convolution.bias.detach(),
    }
    folded = fold_weight_norm(stored)
    assert set(folded) == {"ups.0.weight", "ups.0.bias"}
    torch.testing.assert_close(folded["ups.0.weight"], convolution.weight.detach())


def test_an_incomplete_weight_norm_pair_is_not_folded() -> None:
    assert set(fold_weight_norm({"a.weight_v": torch.ones(2, 2)})) == {"a.weight_v"}
    assert set(fold_weight_norm({"a.weight_g": torch.ones(2, 1)})) == {"a.weight_g"}


def test_the_recipe_derives_weights_from_names() -> None:
    weight = recipe_weight("projection1.0.weight", (64, 32))
    assert weight.dtype == torch.float32
    assert float(weight.std()) == pytest.approx(32**-0.5, rel=0.1)
    assert float(recipe_weight("norm.weight", (500,)).mean()) == pytest.approx(1, abs=0.02)
    assert float(recipe_weight("norm.bias", (500,)).std()) == pytest.approx(0.1, rel=0.15)
    expected = np.random.RandomState(0xE8B7BE43).standard_normal(3)  # CRC-32 of "a"
    np.testing.assert_allclose(recipe_weight("a", (3,)), 0.1 * expected, rtol=1e-6)
    assert not torch.equal(recipe_weight("x.weight", (4, 4)), recipe_weight("yx.weight", (4, 4)))
