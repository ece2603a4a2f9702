"""Samplers by name: that each solves what it should, on any schedule, and fits what is already there."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from rewas_api.clip_settings import SAMPLERS
from rewas_engine import ReWaS, Sampling, SettingsError
from rewas_engine.conditioning.controls import Controls
from rewas_engine.conversion.sizes import released_schedule
from rewas_engine.generation.sampling import KnownLatents, sample
from rewas_engine.generation.synthesis import InpaintSource
from rewas_engine.models.sampler_names import SAMPLER_NAMES
from rewas_engine.models.schedules import build_schedule

STARTER_LIKE = DDIMScheduler(
    beta_start=0.0015,
    beta_end=0.0195,
    beta_schedule="scaled_linear",
    clip_sample=False,
    set_alpha_to_one=False,
    timestep_spacing="trailing",
    rescale_betas_zero_snr=True,
    prediction_type="v_prediction",
)
SPREAD, CENTRE = 0.5, 2.0
"""Of a normal distribution, for which the best prediction is known in closed form."""


def _best_prediction(schedule: DDIMScheduler):
    """What a perfect network predicts where clean latents are normal with SPREAD about CENTRE."""

    def predict(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        kept = schedule.alphas_cumprod[int(timestep)].double()
        signal, noise = kept.sqrt(), (1 - kept).sqrt()
        variance = (signal * SPREAD) ** 2 + noise**2
        clean = CENTRE + signal * SPREAD**2 / variance * (latents - signal * CENTRE)
        predicted_noise = (latents - signal * clean) / noise
        if schedule.config.prediction_type == "epsilon":
            return predicted_noise
        return signal * predicted_noise - noise * clean

    return predict


def _sampled(
    name: str, schedule: DDIMScheduler, steps: int, *, eta: float = 0.0, is_partial: bool = False, **more
) -> torch.Tensor:
    noise = torch.randn(2, 40, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    return sample(
        _best_prediction(schedule),
        noise,
        build_schedule(name, schedule, is_partial=is_partial),
        num_inference_steps=steps,
        eta=eta,
        generator=generator,
        **more,
    )


@pytest.mark.parametrize("schedule", [released_schedule(), STARTER_LIKE], ids=["released", "zero terminal SNR"])
@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_each_sampler_finds_the_distribution(name: str, schedule: DDIMScheduler) -> None:
    made = _sampled(name, schedule, 40)
    assert float(made.mean()) == pytest.approx(CENTRE, abs=0.06)
    assert float(made.std()) == pytest.approx(SPREAD, abs=0.06)


@pytest.mark.parametrize("schedule", [released_schedule(), STARTER_LIKE], ids=["released", "zero terminal SNR"])
@pytest.mark.parametrize("name", ["dpm++", "unipc"])
def test_solvers_of_second_order_come_nearer_in_few_steps(name: str, schedule: DDIMScheduler) -> None:
    # The exact end of the same noise is known: what maps one normal distribution onto another is a straight line.
    noise = torch.randn(2, 40, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    signal = schedule.alphas_cumprod[-1].double()
    exact = CENTRE + SPREAD * (noise - signal.sqrt() * CENTRE) / (signal * SPREAD**2 + 1 - signal).sqrt()
    far, near = (float((_sampled(one, schedule, 12) - exact).abs().mean()) for one in ("ddim", name))
    assert near < 0.25 * far


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_one_seed_is_one_sound_and_the_schedule_stays_as_it_was(name: str) -> None:
    schedule = released_schedule()
    before = dict(schedule.config), schedule.alphas_cumprod.clone()
    torch.testing.assert_close(_sampled(name, schedule, 6), _sampled(name, schedule, 6), rtol=0, atol=0)
    assert dict(schedule.config) == before[0]
    assert torch.equal(schedule.alphas_cumprod, before[1])


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_what_is_kept_comes_out_as_it_is(name: str) -> None:
    there = torch.full((2, 40, 16), 2.0, dtype=torch.float64)
    kept = torch.zeros(40, dtype=torch.bool)
    kept[:25] = True
    steps: list[int] = []
    made = _sampled(name, released_schedule(), 10, known_latents=KnownLatents(there, kept), on_step=steps.append)
    assert torch.equal(made[:, kept], there[:, kept])
    assert float((made[:, ~kept] - 2).abs().mean()) > 0.1
    near = _sampled(
        name, released_schedule(), 10, known_latents=KnownLatents(there, torch.zeros_like(kept), 0.3), is_partial=True
    )
    assert float((near - 2).abs().mean()) < 0.45
    assert steps == list(range(1, 11))


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_a_pack_is_sampled_by_each(model: ReWaS, name: str) -> None:
    settings = model.sampling_settings(Sampling(num_inference_steps=4, sampler=name))
    controls = Controls(energy=np.full(300, -5.0, np.float32))
    made = model.sound_generator.generate_log_mel("rain", controls, 3, settings)
    assert torch.isfinite(made).all()
    again = model.sound_generator.generate_log_mel("rain", controls, 3, settings)
    assert torch.equal(made, again)
    earlier = InpaintSource(made[:300], np.ones(300, np.bool_), 0.5)
    revised = model.sound_generator.generate_log_mel("rain", controls, 4, settings, inpaint_source=earlier)
    assert torch.isfinite(revised).all()


def test_names_are_known_on_both_sides_of_the_contract() -> None:
    assert SAMPLERS == SAMPLER_NAMES


def test_another_sampler_is_refused(model: ReWaS) -> None:
    with pytest.raises(SettingsError, match="sampler 'euler' is unknown"):
        model.sampling_settings(Sampling(sampler="euler"))
    with pytest.raises(SettingsError, match="sampler 'euler' is unknown"):
        build_schedule("euler", released_schedule())
    settings = replace(model.sampling_settings(Sampling(num_inference_steps=2)), sampler="euler")
    with pytest.raises(SettingsError, match="sampler 'euler' is unknown"):
        model.sound_generator.generate_log_mel("rain", Controls(energy=np.full(8, -5.0, np.float32)), 0, settings)
