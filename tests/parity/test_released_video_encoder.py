"""The video encoder: its attention, the times of its tokens, and the time map of the release."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from rewas_engine.energy_estimation.estimator import EnergyEstimator
from rewas_engine.energy_estimation.token_times import (
    interpolate_at_token_times,
    released_control,
    released_smoothing,
    resample_nearest,
)
from rewas_engine.models.motionformer import MotionFormer, _DividedAttention

TIMES, PLACES, WIDTH = 3, 5, 8


@pytest.fixture(scope="module")
def encoder() -> MotionFormer:
    torch.manual_seed(0)
    encoder = MotionFormer(width=16, blocks=1, heads=2, side=32).eval().requires_grad_(False)
    for parameter in encoder.parameters():
        parameter.copy_(0.3 * torch.randn(parameter.shape))
    return encoder


@pytest.mark.parametrize("along_time", [True, False])
def test_divided_attention_is_attention_under_a_mask(along_time: bool) -> None:
    # Equivalent: full attention with a mask that leaves each token its own group and the class token.
    torch.manual_seed(1)
    attention = _DividedAttention(WIDTH, 2).eval()
    whole = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
    with torch.no_grad():
        whole.in_proj_weight.copy_(attention.qkv.weight)
        whole.in_proj_bias.copy_(attention.qkv.bias)
        whole.out_proj.weight.copy_(attention.out.weight)
        whole.out_proj.bias.copy_(attention.out.bias)
    index = torch.arange(TIMES * PLACES)
    group = index % PLACES if along_time else index // PLACES
    hidden = torch.ones(1 + TIMES * PLACES, 1 + TIMES * PLACES, dtype=torch.bool)
    hidden[1:, 1:] = group[:, None] != group[None]
    hidden[0, :], hidden[:, 0] = False, False
    tokens = torch.randn(2, 1 + TIMES * PLACES, WIDTH)
    with torch.no_grad():
        divided = attention(tokens, TIMES, along_time=along_time)
        masked = whole(tokens, tokens, tokens, attn_mask=hidden, need_weights=False)[0]
    torch.testing.assert_close(divided, masked, atol=1e-5, rtol=1e-5)


def test_five_seconds_give_14_segments_from_the_third_frame(encoder: MotionFormer) -> None:
    assert encoder.segment_starts(125) == [2 + 8 * index for index in range(14)]
    times = encoder.token_times_frames(125)
    assert len(times) == 112
    assert times[:9].tolist() == [3, 5, 7, 9, 11, 13, 15, 17, 11]
    assert float(times[-1]) == 121


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40, 126, 333])
def test_token_times_lie_within_any_number_of_frames(encoder: MotionFormer, count: int) -> None:
    frames = torch.rand(1, count, 32, 32, 3)
    tokens, times = encoder(frames), encoder.token_times_frames(count)
    assert tokens.shape == (1, len(times), 16)
    assert len(times) % 8 == 0
    assert float(times.max()) <= max(count, 16)
    # The uncovered rest at each end is shorter than a stride.
    assert float(times.min()) <= 1 + 4
    assert float(times.max()) >= count - 1 - 4


def test_segments_do_not_affect_each_other(encoder: MotionFormer) -> None:
    frames = torch.rand(1, 48, 32, 32, 3)
    changed = frames.clone()
    changed[:, 40:] = 0
    difference = (encoder(changed) - encoder(frames))[0].abs().amax(dim=1)
    starts = encoder.segment_starts(48)
    touched = [start + 16 > 40 for start in starts for _ in range(8)]
    assert (difference > 0).tolist() == touched


def test_energy_is_at_the_time_of_a_flash() -> None:
    encoder = MotionFormer(width=16, blocks=1, heads=2, side=32)
    times = encoder.token_times_frames(125).numpy()
    energies = -np.abs(times - 61.0)
    assert int(interpolate_at_token_times(energies, times, 125).argmax()) in (60, 61)
    # With the time map of the release, the flash at 2.44 s is placed elsewhere on its 5.12 s grid.
    released = (np.argmax(released_control(energies.astype(np.float32))) + 0.5) / 100
    assert abs(released - 61 / 25) > 0.05


def test_token_times_of_the_release_are_up_to_half_a_second_off() -> None:
    true_s = MotionFormer(width=16, blocks=1, heads=2, side=32).token_times_frames(125).numpy() / 25
    released_s = (np.arange(112) + 0.5) * 5.12 / 112
    error_s = released_s - true_s
    assert error_s.min() == pytest.approx(-0.34, abs=0.01)
    assert error_s.max() == pytest.approx(0.50, abs=0.01)
    assert np.sqrt((error_s**2).mean()) == pytest.approx(0.22, abs=0.01)


def test_nearest_resampling_only_repeats_and_drops_values() -> None:
    values = np.arange(7, dtype=np.float32)
    np.testing.assert_array_equal(resample_nearest(values, 14), np.repeat(values, 2))
    np.testing.assert_array_equal(resample_nearest(resample_nearest(values, 21), 7), values)
    control = released_control(np.arange(112, dtype=np.float32))
    assert control.shape == (512,)
    # The filter keeps straight lines, so only the grid remains.
    np.testing.assert_allclose(control, np.arange(512) * 112 // 512, atol=1e-4)


def test_smoothing_keeps_parabolas_and_reduces_noise() -> None:
    parabola = (0.01 * (np.arange(112) - 40.0) ** 2).astype(np.float32)
    np.testing.assert_allclose(released_smoothing(parabola), parabola, atol=1e-3)
    noise = np.random.default_rng(0).normal(size=112).astype(np.float32)
    assert released_smoothing(noise).std() < 0.6 * noise.std()


class _Brightness(nn.Module):
    """Replaces φ: the energy of a token is its mean."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.mean(dim=-1)


def _estimator(token_times: str, window: int) -> EnergyEstimator:
    torch.manual_seed(2)
    encoder = MotionFormer(width=16, blocks=1, heads=2, side=32).eval()
    video_settings = {
        "frame_rate": "25",
        "width": 32,
        "height": 32,
        "window_frames": window,
        "overlap_frames": 32,
        "colours": True,
        "token_times": token_times,
    }
    return EnergyEstimator({"video_encoder": encoder, "phi": _Brightness()}, video_settings, -11.5, "cpu")


def _frames(count: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 255, (count, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("count", [3, 60, 125, 128, 200])
def test_both_time_maps_cover_any_clip(count: int) -> None:
    centred, released = _estimator("centres", 125), _estimator("released", 128)
    curve = centred.estimate(_frames(count))
    assert (curve.rate_hz, curve.values.size) == (Fraction(25), count)
    released_curve = released.estimate(_frames(count))
    assert (released_curve.rate_hz, released_curve.values.size) == (Fraction(100), 4 * count)
    assert released_curve.duration_s == curve.duration_s


def test_five_seconds_match_the_released_control() -> None:
    estimator, frames = _estimator("released", 128), _frames(125)
    with torch.no_grad():
        tokens = (
            estimator._components["video_encoder"](torch.from_numpy(frames)[None].float() / 255).mean(dim=-1)[0].numpy()
        )
    np.testing.assert_allclose(estimator.estimate(frames).values, released_control(tokens)[:500], atol=1e-5)


def test_grey_frames_are_repeated_as_colours() -> None:
    estimator, grey = _estimator("centres", 125), _frames(40)[..., 0]
    np.testing.assert_array_equal(
        estimator.estimate(grey).values, estimator.estimate(np.repeat(grey[..., None], 3, axis=-1)).values
    )
