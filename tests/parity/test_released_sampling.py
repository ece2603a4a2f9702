"""The release's schedule and sampler, its vocoder's length, its measure of alignment, and how arrays are compared."""

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


def test_the_schedule_is_the_released_one() -> None:
    schedule = released_schedule()
    schedule.set_timesteps(200)
    assert schedule.timesteps.tolist() == list(range(996, 0, -5))
    betas = np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2
    # Multiplied up in float64 and rounded once: a thousand roundings would leave it a millionth off.
    np.testing.assert_array_equal(schedule.betas.numpy(), betas.astype(np.float32))
    np.testing.assert_array_equal(schedule.alphas_cumprod.numpy(), np.cumprod(1 - betas).astype(np.float32))


def test_a_converted_pack_is_sampled_by_that_schedule(released_model: ReWaS) -> None:
    loaded = released_model._components["schedule"]
    torch.testing.assert_close(loaded.alphas_cumprod, released_schedule().alphas_cumprod, rtol=0, atol=0)
    assert loaded.final_alpha_cumprod == loaded.alphas_cumprod[0]


def test_a_schedule_that_ends_in_pure_noise_stays_as_it_is() -> None:
    def made() -> DDIMScheduler:
        return DDIMScheduler(beta_schedule="scaled_linear", rescale_betas_zero_snr=True)

    torch.testing.assert_close(rescale_exact(made()).alphas_cumprod, made().alphas_cumprod, rtol=0, atol=0)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_sampling_is_ddim_with_the_noise_of_each_step(eta: float) -> None:
    # Song et al. 2021, equation 12, written out in float64 with a prediction that depends on latents and time.
    random = np.random.default_rng(0)
    start, noises = random.normal(size=(2, 6, 4)), random.normal(size=(8, 2, 6, 4))
    alphas = np.concatenate([np.cumprod(1 - np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2)])
    times = [1 + 125 * index for index in reversed(range(8))]
    expected = start.copy()
    for step, time in enumerate(times):
        predicted = np.tanh(expected) * (0.5 + time / 1000)
        kept, before = alphas[time], alphas[max(time - 125, 0)]
        clean = (expected - np.sqrt(1 - kept) * predicted) / np.sqrt(kept)
        sigma = eta * np.sqrt((1 - before) / (1 - kept) * (1 - kept / before))
        expected = np.sqrt(before) * clean + np.sqrt(1 - before - sigma**2) * predicted + sigma * noises[step]

    def predict(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        return torch.tanh(latents) * (0.5 + float(timestep) / 1000)

    made = sample(
        predict,
        torch.from_numpy(start),
        released_schedule(),
        num_inference_steps=8,
        eta=eta,
        generator=torch.Generator(),
        step_noise=lambda step: torch.from_numpy(noises[step]),
    )
    assert compare("final", made, expected, 1e-5).passed


def test_the_vocoder_gives_a_frame_and_a_little_more() -> None:
    # The first layer of HiFi-GAN adds a sample to each of its inputs' rows: 512 frames are 81 952 samples, not 81 920.
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
def test_peaks_agree_within_a_frame_and_no_further(audio, video, rate: int, score: float) -> None:
    assert av_align(np.array(audio), np.array(video), rate) == pytest.approx(score)


def test_a_comparison_fails_where_arrays_differ() -> None:
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
