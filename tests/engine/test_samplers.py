"""Samplers by name: correct solutions on every schedule, inpainting, and use in a pack."""

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
    """A perfect prediction for clean latents that are normal with mean CENTRE and deviation SPREAD."""

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


def _sample(
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
    samples = _sample(name, schedule, 40)
    assert float(samples.mean()) == pytest.approx(CENTRE, abs=0.06)
    assert float(samples.std()) == pytest.approx(SPREAD, abs=0.06)


@pytest.mark.parametrize("schedule", [released_schedule(), STARTER_LIKE], ids=["released", "zero terminal SNR"])
@pytest.mark.parametrize("name", ["dpm++", "unipc"])
def test_second_order_solvers_are_closer_in_few_steps(name: str, schedule: DDIMScheduler) -> None:
    # The exact result for the same noise is known: a linear map takes one normal distribution to another.
    noise = torch.randn(2, 40, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    signal = schedule.alphas_cumprod[-1].double()
    exact = CENTRE + SPREAD * (noise - signal.sqrt() * CENTRE) / (signal * SPREAD**2 + 1 - signal).sqrt()
    far, near = (float((_sample(one, schedule, 12) - exact).abs().mean()) for one in ("ddim", name))
    assert near < 0.25 * far


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_the_same_seed_gives_the_same_result_and_the_schedule_is_unchanged(name: str) -> None:
    schedule = released_schedule()
    before = dict(schedule.config), schedule.alphas_cumprod.clone()
    torch.testing.assert_close(_sample(name, schedule, 6), _sample(name, schedule, 6), rtol=0, atol=0)
    assert dict(schedule.config) == before[0]
    assert torch.equal(schedule.alphas_cumprod, before[1])


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_kept_latents_are_unchanged(name: str) -> None:
    known = torch.full((2, 40, 16), 2.0, dtype=torch.float64)
    keep_mask = torch.zeros(40, dtype=torch.bool)
    keep_mask[:25] = True
    steps: list[int] = []
    output = _sample(name, released_schedule(), 10, known_latents=KnownLatents(known, keep_mask), on_step=steps.append)
    assert torch.equal(output[:, keep_mask], known[:, keep_mask])
    assert float((output[:, ~keep_mask] - 2).abs().mean()) > 0.1
    near = _sample(
        name,
        released_schedule(),
        10,
        known_latents=KnownLatents(known, torch.zeros_like(keep_mask), 0.3),
        is_partial=True,
    )
    assert float((near - 2).abs().mean()) < 0.45
    assert steps == list(range(1, 11))


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_a_pack_works_with_each_sampler(model: ReWaS, name: str) -> None:
    settings = model.sampling_settings(Sampling(num_inference_steps=4, sampler=name))
    controls = Controls(energy=np.full(300, -5.0, np.float32))
    log_mel = model.sound_generator.generate_log_mel("rain", controls, 3, settings)
    assert torch.isfinite(log_mel).all()
    repeated = model.sound_generator.generate_log_mel("rain", controls, 3, settings)
    assert torch.equal(log_mel, repeated)
    earlier = InpaintSource(log_mel[:300], np.ones(300, np.bool_), 0.5)
    revised = model.sound_generator.generate_log_mel("rain", controls, 4, settings, inpaint_source=earlier)
    assert torch.isfinite(revised).all()


def test_engine_and_contract_have_the_same_sampler_names() -> None:
    assert SAMPLERS == SAMPLER_NAMES


def test_an_unknown_sampler_is_refused(model: ReWaS) -> None:
    with pytest.raises(SettingsError, match="sampler 'euler' is unknown"):
        model.sampling_settings(Sampling(sampler="euler"))
    with pytest.raises(SettingsError, match="sampler 'euler' is unknown"):
        build_schedule("euler", released_schedule())
    settings = replace(model.sampling_settings(Sampling(num_inference_steps=2)), sampler="euler")
    with pytest.raises(SettingsError, match="sampler 'euler' is unknown"):
        model.sound_generator.generate_log_mel("rain", Controls(energy=np.full(8, -5.0, np.float32)), 0, settings)
