"""Schedule, sampler, vocoder length and AV-Align of the release, and the comparison of arrays."""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from rewas_engine import ReWaS
from rewas_engine.conversion.sizes import SMALL, released_schedule
from rewas_engine.evaluation.av_align import av_align
from rewas_engine.generation.sampling import sample
from rewas_engine.models.schedules import rescale_exact
from rewas_engine.parity.comparison import compare, table


def test_the_schedule_matches_the_release() -> None:
    schedule = released_schedule()
    schedule.set_timesteps(200)
    assert schedule.timesteps.tolist() == list(range(996, 0, -5))
    betas = np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2
    # Multiplied in float64 and rounded once. Rounding a thousand times would give an error of 1e-6.
    np.testing.assert_array_equal(schedule.betas.numpy(), betas.astype(np.float32))
    np.testing.assert_array_equal(schedule.alphas_cumprod.numpy(), np.cumprod(1 - betas).astype(np.float32))


def test_a_converted_pack_has_the_released_schedule(released_model: ReWaS) -> None:
    loaded = released_model._components["schedule"]
    torch.testing.assert_close(loaded.alphas_cumprod, released_schedule().alphas_cumprod, rtol=0, atol=0)
    assert loaded.final_alpha_cumprod == loaded.alphas_cumprod[0]


def test_a_zero_snr_schedule_is_not_changed() -> None:
    def new_schedule() -> DDIMScheduler:
        return DDIMScheduler(beta_schedule="scaled_linear", rescale_betas_zero_snr=True)

    torch.testing.assert_close(
        rescale_exact(new_schedule()).alphas_cumprod, new_schedule().alphas_cumprod, rtol=0, atol=0
    )


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_sampling_matches_ddim_with_given_noise(eta: float) -> None:
    # Song et al. 2021, equation 12, in float64, with a prediction that depends on latents and time.
    random = np.random.default_rng(0)
    start, noises = random.normal(size=(2, 6, 4)), random.normal(size=(8, 2, 6, 4))
    alphas = np.concatenate([np.cumprod(1 - np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2)])
    times = [1 + 125 * index for index in reversed(range(8))]
    expected = start.copy()
    for step, time in enumerate(times):
        predicted = np.tanh(expected) * (0.5 + time / 1000)
        alpha, previous_alpha = alphas[time], alphas[max(time - 125, 0)]
        clean = (expected - np.sqrt(1 - alpha) * predicted) / np.sqrt(alpha)
        sigma = eta * np.sqrt((1 - previous_alpha) / (1 - alpha) * (1 - alpha / previous_alpha))
        expected = (
            np.sqrt(previous_alpha) * clean + np.sqrt(1 - previous_alpha - sigma**2) * predicted + sigma * noises[step]
        )

    def predict(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return torch.tanh(latents) * (0.5 + float(timestep) / 1000)

    sampled = sample(
        predict,
        torch.from_numpy(start),
        released_schedule(),
        num_inference_steps=8,
        eta=eta,
        generator=torch.Generator(),
        step_noise=lambda step: torch.from_numpy(noises[step]),
    )
    assert compare("final", sampled, expected, 1e-5).passed


def test_the_vocoder_output_is_slightly_longer_than_its_input() -> None:
    # The first layer of HiFi-GAN lengthens its input, so 512 frames become 81 952 samples, not 81 920.
    with torch.no_grad():
        assert SMALL.new_vocoder().eval()(torch.zeros(1, 512, 64)).shape == (1, 81_952)


@pytest.mark.parametrize(
    ("audio", "video", "rate", "score"),
    [
        ([0.1, 0.5, 0.9], [0.11, 0.52, 2.0], 25, 2 / 4),
        ([1.0], [1.04], 25, 0.0),
        ([1.0], [1.039], 25, 1.0),
        ([1.0, 1.01], [1.0], 25, 2.0),
        ([], [1.0], 25, 0.0),
    ],
)
def test_peaks_match_only_within_one_frame(audio, video, rate: int, score: float) -> None:
    assert av_align(np.array(audio), np.array(video), rate) == pytest.approx(score)


def test_a_comparison_fails_if_arrays_differ() -> None:
    reference = np.array([0.0, 2.0, 4.0])
    assert compare("same", reference, reference).difference == 0
    near = compare("near", reference + 1e-5, reference, 1e-4)
    assert near.passed
    assert near.difference == pytest.approx(1e-5 / reference.std())
    assert not compare("far", reference + 1e-2, reference).passed
    assert not compare("shape", reference[:2], reference).passed
    assert not compare("nan", [0.0, 2.0, np.nan], reference).passed
    assert compare("one number", 0.5 + 1e-6, 0.5).difference == pytest.approx(2e-6)
    assert table([near])[-1].startswith("| near | 6.1e-06 | 1.0e-04 | yes |")
