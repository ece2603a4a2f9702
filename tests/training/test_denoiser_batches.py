"""Batches for base and adapter: crops with sound, a lower weight for silence, and losses with known values."""

from dataclasses import replace

import pytest
import torch

from rewas_engine.conditioning.controls import hint_channels
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.errors import SettingsError
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder
from rewas_engine.models.text_projection import TextProjection
from rewas_engine.recipes.starter import StarterTraining
from rewas_engine.training.config import StarterConfig
from rewas_engine.training.stages import (
    RISE_FRAMES,
    DenoiserBatches,
    DenoiserRecipe,
    SoundCorpus,
    _rises,
    _weighted_error,
    adapter_loss,
    add_noise,
    base_loss,
)

RECIPE = DenoiserRecipe(batch_size=16, crop_frames=64, quietest_nats=0.0, prompt_noise=0.0)
LATE = slice(448, 512)


def corpus(sounding: slice = LATE) -> SoundCorpus:
    """Six clips of 512 frames with sound in one range only."""
    log_mels = torch.full((6, 512, 64), SILENCE_NATS)
    log_mels[:, sounding] = -3.0
    prompts = torch.randn(6, 384, generator=torch.Generator().manual_seed(0))
    return SoundCorpus(log_mels.half(), prompts, torch.ones(384), torch.zeros(6, 512), torch.ones(6).bool())


@pytest.fixture(scope="module")
def codec() -> PatchAutoencoder:
    codec = PatchAutoencoder()
    codec.fit(torch.randn(4, 64, 64, generator=torch.Generator().manual_seed(0)).cumsum(dim=1) - 6)
    return codec


def sounding_share(louder_of: int, codec: PatchAutoencoder) -> float:
    batches = DenoiserBatches(corpus(), codec, replace(RECIPE, louder_of=louder_of))
    drawn = [batches.draw(False, torch.Generator().manual_seed(seed)) for seed in range(20)]
    return float(torch.cat([(batch.log_mels > -4).any(dim=(1, 2)) for batch in drawn]).float().mean())


def test_the_loudest_of_several_crops_is_used(codec) -> None:
    assert sounding_share(1, codec) < 0.25
    assert sounding_share(8, codec) > 0.6


def test_crops_of_continuous_sound_begin_anywhere(codec) -> None:
    sounding = corpus(slice(0, 512))
    steps = sounding.log_mels + torch.linspace(-1, 0, 512)[None, :, None]
    batches = DenoiserBatches(replace(sounding, log_mels=steps.half()), codec, replace(RECIPE, louder_of=3))
    firsts = torch.cat([batches.draw(False, torch.Generator().manual_seed(s)).log_mels[:, 0, 0] for s in range(20)])
    assert firsts.min() < -3.8
    assert firsts.max() > -3.2


def test_silence_has_a_lower_weight_in_clips_with_sound(codec) -> None:
    batches = DenoiserBatches(corpus(), codec, replace(RECIPE, silence_weight=0.25))
    weights = batches.weights(corpus().log_mels.float())[:, 0, :, 0]
    torch.testing.assert_close(weights.mean(dim=1), torch.ones(6))
    torch.testing.assert_close(weights[:, -1] / weights[:, 0], torch.full((6,), 4.0))
    silent = batches.weights(torch.full((2, 512, 64), SILENCE_NATS))
    torch.testing.assert_close(silent, torch.ones_like(silent))
    unheard = DenoiserBatches(corpus(), codec, replace(RECIPE, silence_weight=0.0))
    assert not unheard.weights(torch.full((2, 512, 64), SILENCE_NATS)).any()


def test_errors_are_weighted_over_time() -> None:
    weights = torch.tensor([2.0, 0.0])[None, None, :, None]
    target = torch.zeros(1, 8, 2, 16)
    wrong = target.clone()
    wrong[:, :, 1] = 5.0
    assert _weighted_error(wrong, target, weights) == 0
    assert _weighted_error(wrong.flip(2), target, weights) == 25


def test_rises_are_increases_within_some_frames() -> None:
    energies = torch.tensor([[0.0] * 5 + [4.0] * 5 + [1.0] * 5])
    rises = _rises(energies)
    assert rises.shape == (1, 15 - RISE_FRAMES)
    assert rises.max() == 4
    assert int((rises > 0).sum()) == RISE_FRAMES


def test_prompts_and_the_empty_prompt_pass_through_the_projection(codec) -> None:
    projection = TextProjection(384, 4, (3, 2), 1).requires_grad_(False)
    with torch.no_grad():
        projection.meanings.copy_(torch.randn(6, 384, generator=torch.Generator().manual_seed(1)))
    plain, projected = (DenoiserBatches(corpus(), codec, RECIPE, one) for one in (None, projection))
    first, second = (batches.draw(False, torch.Generator().manual_seed(2)) for batches in (plain, projected))
    torch.testing.assert_close(second.prompts, projection(first.prompts))
    emptied = projected.drop_prompts(second.prompts, 1.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(emptied[0], projection(torch.ones(1, 384))[0])


def test_a_trained_projection_gets_gradients(codec) -> None:
    projection = TextProjection(384, 4, (3, 2), 1)
    torch.nn.init.normal_(projection.meanings)
    batches = DenoiserBatches(corpus(), codec, RECIPE, projection)
    batches.draw(False, torch.Generator().manual_seed(2)).prompts.square().mul(torch.rand(384)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in projection.parameters())


def test_new_kinds_get_their_share_of_the_draws(codec: PatchAutoencoder) -> None:
    is_new = torch.tensor([True, False, False, False, False, False])

    def share_of_new(share: float) -> float:
        batches = DenoiserBatches(corpus(), codec, replace(RECIPE, new_kinds_share=share), is_new=is_new)
        prompts = torch.cat([batches.draw(False, torch.Generator().manual_seed(seed)).prompts for seed in range(25)])
        return float((prompts == corpus().prompts[0]).all(dim=1).float().mean())

    assert share_of_new(0.6) == pytest.approx(0.6, abs=0.1)
    assert share_of_new(0.0) == pytest.approx(1 / 6, abs=0.1)


def test_text_guidance_moves_the_target_away_from_the_prediction_without_a_prompt(codec: PatchAutoencoder) -> None:
    torch.manual_seed(0)
    denoiser = StarterConfig(widths=(64, 64), heads=(2, 2)).new_denoiser()
    schedule = StarterTraining.schedule()

    def loss(share: float, **settings: float) -> float:
        recipe = replace(RECIPE, batch_size=4, text_dropout=share, precision="float32", **settings)
        batches = DenoiserBatches(corpus(), codec, recipe)
        return float(base_loss(batches, denoiser, schedule, 10)(0, torch.Generator().manual_seed(5)).detach())

    plain, guided = loss(0.0), loss(0.0, text_guidance=0.5)
    # Without prompts there is nothing to follow.
    assert loss(1.0, text_guidance=0.5) == pytest.approx(loss(1.0))
    batches = DenoiserBatches(corpus(), codec, replace(RECIPE, batch_size=4))
    generator = torch.Generator().manual_seed(5)
    batch = batches.draw(False, generator)
    noisy, timesteps, velocity = add_noise(batch.latents, schedule, generator)
    with torch.no_grad():
        prompted, empty = (
            denoiser(noisy, timesteps, encoder_hidden_states=None, class_labels=given).sample
            for given in (batch.prompts, batches.no_prompts(batch.prompts))
        )
    weights = batches.weights(batch.log_mels)
    assert plain == pytest.approx(float(_weighted_error(prompted, velocity, weights)), rel=1e-4)
    assert (prompted - empty).abs().mean() > 0.01
    target = velocity + 0.5 * (prompted - empty)
    assert guided == pytest.approx(float(_weighted_error(prompted, target, weights)), rel=1e-4)


def test_the_adapter_learns_the_guided_target(codec: PatchAutoencoder) -> None:
    torch.manual_seed(0)
    denoiser = StarterConfig(widths=(64, 64), heads=(2, 2)).new_denoiser()
    schedule = StarterTraining.schedule()
    adapter = EnergyAdapter.from_denoiser(denoiser, 16, hint_channels(8, 4))

    def loss(guidance: float) -> float:
        recipe = replace(RECIPE, batch_size=4, hint_dropout=0.0, precision="float32", text_guidance=guidance)
        losses = adapter_loss(DenoiserBatches(corpus(), codec, recipe), denoiser, adapter, schedule, 64, 10)
        with torch.no_grad():
            return float(losses(0, torch.Generator().manual_seed(5)))

    assert loss(0.5) == loss(0.5)
    assert loss(0.5) != loss(0.0)


@pytest.mark.parametrize("settings", [{"text_guidance": 1.0}, {"text_guidance": -0.1}, {"precision": "float64"}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(settings))):
        replace(RECIPE, **settings)
