"""The stages of training a starter pack: what each learns, from what, and by which loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from scipy.signal import savgol_filter
from torch import nn

from rewas_engine.conditioning.controls import ControlBatch, control_hint, measure_textures
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder, encode_scaled
from rewas_engine.models.text_projection import TextProjection
from rewas_engine.training.loop import LossFunction, lower_precision

SOFTENED_VALUES = 112
"""φ of the paper gives 112 values for 5.12 s; the adapter is trained on curves as coarse as those too."""

CLOSE_NATS = 0.1
"""Errors of energy above this count by their size, below it by their square."""

FAINT_NATS = 0.5
"""What is louder than silence by so much is heard."""

RISE_FRAMES = 3
"""An onset is a rise within so many mel frames."""

UNSTEERED_WITHOUT_WORDS = 0.7
"""Share of the clips without controls that have no words either, while the adapter is trained."""


@dataclass(frozen=True)
class SoundCorpus:
    """What the denoiser learns from.

    log_mels: [N, T, bins] float16 nats. prompts: [N, D] sentence embeddings. empty_prompt: [D], of "".
    onsets: [N, T] float16 strengths, 0 to 1, in the frames where something begins. has_onsets: [N] bool, whether that
    is known of a clip.
    """

    log_mels: torch.Tensor
    prompts: torch.Tensor
    empty_prompt: torch.Tensor
    onsets: torch.Tensor
    has_onsets: torch.Tensor


@dataclass(frozen=True)
class DenoiserRecipe:
    """How the denoiser and its adapter see the corpus.

    batch_size: crops in a step. crop_frames: mel frames of a crop. whole_from: part of the steps after which whole
    clips take the place of crops. text_dropout: share of clips whose prompt is taken away from the base.
    hint_dropout: share of clips whose controls are taken away from the adapter. quietest_nats: each clip is made
    quieter by up to so much. onsets_share, texture_share: share of clips that are steered by onsets and not by energy,
    and of those that are given the texture too. energy_weight, onsets_weight, texture_weight: of the errors of
    the predicted clip's energy, its rises and its texture, in nats, beside the denoising loss. silence_weight: of that
    loss where nothing sounds, against 1 where something does. louder_of: so many crops of a clip are drawn, and the
    one in which most sounds is taken. prompt_noise: standard deviation of what is added to each component of a
    prompt, so that words that were never read land near those that were.
    """

    batch_size: int = 24
    crop_frames: int = 256
    whole_from: float = 0.75
    text_dropout: float = 0.15
    hint_dropout: float = 0.12
    quietest_nats: float = 2.5
    onsets_share: float = 0.4
    texture_share: float = 0.3
    energy_weight: float = 0.4
    onsets_weight: float = 0.2
    texture_weight: float = 0.2
    silence_weight: float = 0.3
    louder_of: int = 3
    prompt_noise: float = 0.5


@dataclass(frozen=True)
class DenoiserBatch:
    """Clips of one step: latents [B, C, T', F'], scaled; prompts [B, D]; log_mels [B, T, bins] nats; onsets [B, T]."""

    latents: torch.Tensor
    prompts: torch.Tensor
    log_mels: torch.Tensor
    onsets: torch.Tensor
    has_onsets: torch.Tensor


class DenoiserBatches:
    """Batches that depend on nothing but the step's generator."""

    def __init__(
        self,
        corpus: SoundCorpus,
        codec: PatchAutoencoder,
        recipe: DenoiserRecipe,
        projection: TextProjection | None = None,
    ) -> None:
        self.corpus, self.codec, self.recipe, self.projection = corpus, codec, recipe, projection
        # One value for each position of the latent: a crop begins at one of them.
        self._energies = torch.cat(
            [
                part.float().mean(dim=-1).unflatten(1, (-1, codec.config.patch_size)).mean(dim=-1)
                for part in corpus.log_mels.split(256)
            ]
        )

    def draw(self, whole: bool, generator: torch.Generator) -> DenoiserBatch:
        """The clips of one step, on the codec's device; every prompt is there."""
        recipe, log_mels, patch = self.recipe, self.corpus.log_mels, self.codec.config.patch_size
        frames = log_mels.shape[1] if whole else recipe.crop_frames
        # A whole clip costs what several crops do: fewer of them keep the steps alike.
        size = max(1, recipe.batch_size * recipe.crop_frames // frames)
        rows = torch.randint(len(log_mels), (size,), generator=generator)
        starts = self._starts(rows, frames // patch, generator) * patch

        def cropped(clips: torch.Tensor) -> torch.Tensor:
            parts = [clips[row, start : start + frames] for row, start in zip(rows, starts, strict=True)]
            return torch.stack(parts).to(self.codec.device).float()

        gains_nats = -recipe.quietest_nats * torch.rand((size, 1, 1), generator=generator)
        crops = (cropped(log_mels) + gains_nats.to(self.codec.device)).clamp(min=SILENCE_NATS)
        prompts = self.corpus.prompts[rows].clone()
        prompts += recipe.prompt_noise * torch.randn(prompts.shape, generator=generator)
        with torch.no_grad():
            latents = encode_scaled(self.codec, crops)
        return DenoiserBatch(
            latents,
            self._projected(prompts.to(self.codec.device)),
            crops,
            cropped(self.corpus.onsets),
            self.corpus.has_onsets[rows].to(self.codec.device),
        )

    def without_words(self, prompts: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
        """Prompts [B, D], that share of them emptied."""
        emptied = (torch.rand(len(prompts), generator=generator) < share).to(prompts.device)
        empty = self._projected(self.corpus.empty_prompt[None].to(prompts))
        return torch.where(emptied[:, None], empty, prompts)

    def weights(self, log_mels: torch.Tensor) -> torch.Tensor:
        """How much the positions of latents [B, 1, T', 1] of log-mels [B, T, bins] count; their mean is 1 in each clip.

        A short sound would else be a small part of a clip that is mostly silence. Where silence has no weight, a silent
        clip counts for nothing.
        """
        sounding = log_mels.mean(dim=-1).unflatten(1, (-1, self.codec.config.patch_size)).amax(dim=-1)
        audible = (sounding > SILENCE_NATS + FAINT_NATS).float()
        weights = self.recipe.silence_weight + (1 - self.recipe.silence_weight) * audible
        return (weights / weights.mean(dim=1, keepdim=True).clamp(min=1e-6))[:, None, :, None]

    def _starts(self, rows: torch.Tensor, positions: int, generator: torch.Generator) -> torch.Tensor:
        """Where the crops of clips begin, [B] positions of the latent."""
        room = self._energies.shape[1] - positions + 1
        drawn = torch.randint(room, (self.recipe.louder_of, len(rows)), generator=generator)
        sums = nn.functional.pad((self._energies[rows] - SILENCE_NATS).cumsum(dim=1), (1, 0))
        heard = sums.gather(1, drawn.T + positions) - sums.gather(1, drawn.T)
        return drawn.T.gather(1, heard.argmax(dim=1, keepdim=True))[:, 0]

    def _projected(self, prompts: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = prompts if self.projection is None else self.projection(prompts)
        return projected

    def controls(self, batch: DenoiserBatch, generator: torch.Generator) -> ControlBatch:
        """What the adapter is told of a batch: energy sharp or softened, or onsets instead, some with their texture."""
        recipe, size = self.recipe, len(batch.latents)
        device = batch.latents.device
        draws = torch.rand((4, size), generator=generator).to(device)
        energies = batch.log_mels.mean(dim=-1)
        softened = draws[0] < 0.5
        energies[softened] = softened_energies(energies[softened])
        by_onsets = (draws[1] < recipe.onsets_share) & batch.has_onsets
        # Half of those that know both are given both: then a picture's soft energy may be sharpened by onsets.
        with_onsets = by_onsets | ((draws[1] > 1 - recipe.onsets_share / 2) & batch.has_onsets)
        with_texture = draws[2] < recipe.texture_share
        given = torch.stack([~by_onsets, with_onsets, with_texture], dim=1)
        given[draws[3] < recipe.hint_dropout] = False
        return ControlBatch(energies, batch.onsets, measure_textures(batch.log_mels), given)


def base_loss(
    batches: DenoiserBatches, denoiser: UNet2DConditionModel, schedule: DDIMScheduler, steps: int
) -> LossFunction:
    """The text-to-audio base: predicts the velocity of noisy latents from the prompt alone."""

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        batch = batches.draw(step >= batches.recipe.whole_from * steps, generator)
        noisy, timesteps, velocity = noised(batch.latents, schedule, generator)
        prompts = batches.without_words(batch.prompts, batches.recipe.text_dropout, generator)
        with lower_precision(noisy.device):
            predicted = denoiser(noisy, timesteps, encoder_hidden_states=None, class_labels=prompts).sample
        return _weighted_error(predicted, velocity, batches.weights(batch.log_mels))

    return loss_of


def adapter_loss(
    batches: DenoiserBatches,
    denoiser: UNet2DConditionModel,
    adapter: EnergyAdapter,
    schedule: DDIMScheduler,
    bins: int,
    steps: int,
) -> LossFunction:
    """The adapter on the frozen base: the same loss, with controls as a hint that is sometimes taken away.

    Of each control that is given, the error of the clip that the prediction amounts to is added: the hint holds all
    that is needed for energy and texture at every noise level, and for where sounds begin and where they do not.
    """
    codec, encode = batches.codec, partial(encode_scaled, batches.codec)
    signal_rates = schedule.alphas_cumprod.sqrt()

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        batch = batches.draw(step >= batches.recipe.whole_from * steps, generator)
        noisy, timesteps, velocity = noised(batch.latents, schedule, generator)
        controls = batches.controls(batch, generator)
        # Words are taken away only together with the controls, as guidance will. An adapter that had to do without
        # them while it hears an energy would learn to guess from its shape what sounds.
        steered = controls.given.any(dim=1, keepdim=True)
        emptied = batches.without_words(batch.prompts, UNSTEERED_WITHOUT_WORDS, generator)
        prompts = torch.where(steered, batch.prompts, emptied)
        with torch.no_grad():
            hints = control_hint(controls, encode, bins, adapter)
        with lower_precision(noisy.device):
            skips, middle = adapter(noisy, timesteps, prompts, hints)
            predicted = denoiser(
                noisy,
                timesteps,
                encoder_hidden_states=None,
                class_labels=prompts,
                down_block_additional_residuals=skips,
                mid_block_additional_residual=middle,
            ).sample
        loss = _weighted_error(predicted, velocity, batches.weights(batch.log_mels))
        signal = signal_rates.to(noisy.device)[timesteps][:, None, None, None]
        clips = signal * noisy - (1 - signal.square()).sqrt() * predicted.float()
        decoded = codec.decode(clips / codec.config.scaling_factor).sample[:, 0]
        # Below silence there is nothing: a sound is cut off there too, and its loudest bins are what is left.
        decoded = decoded.clamp(min=SILENCE_NATS)
        energies, wanted = decoded.mean(dim=-1), batch.log_mels.mean(dim=-1)
        recipe = batches.recipe
        errors = torch.stack(
            [
                recipe.energy_weight * _distance(energies, wanted),
                recipe.onsets_weight * _distance(_rises(energies), _rises(wanted)),
                recipe.texture_weight * _distance(measure_textures(decoded), controls.textures),
            ],
            dim=1,
        )
        return loss + (errors * controls.given).sum(dim=1).mean()

    return loss_of


def _weighted_error(predicted: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return ((predicted.float() - wanted).square() * weights).mean()


def _distance(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Of each clip, [B]. Not the square: what the hint says is to be followed in quiet frames as in loud ones."""
    errors = nn.functional.smooth_l1_loss(made, wanted, beta=CLOSE_NATS, reduction="none")
    return errors.flatten(1).mean(dim=1)


def _rises(energies: torch.Tensor) -> torch.Tensor:
    """By how much energies [B, T] rise within RISE_FRAMES."""
    return (energies[:, RISE_FRAMES:] - energies[:, :-RISE_FRAMES]).clamp(min=0)


def softened_energies(energies: torch.Tensor) -> torch.Tensor:
    """Energies [B, T] as coarse and smooth as a picture gives them, still [B, T] (method: ground-truth energy)."""
    if not len(energies):
        return energies
    frames = energies.shape[1]
    tokens = max(9, round(SOFTENED_VALUES * frames / 512))
    coarse = energies[:, torch.arange(tokens) * frames // tokens].cpu().numpy()
    smooth = savgol_filter(coarse, 9, 2, mode="interp", axis=1)
    times = (np.arange(frames) + 0.5) * tokens / frames - 0.5
    lines = [np.interp(times, np.arange(tokens), row) for row in smooth]
    return torch.from_numpy(np.stack(lines)).to(energies).clamp(min=SILENCE_NATS)


def noised(
    latents: torch.Tensor, schedule: DDIMScheduler, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents [B, C, T, F] made noisy at drawn timesteps [B], these, and what the schedule's networks predict."""
    noise, timesteps = (drawn.to(latents.device) for drawn in drawn_noise(latents.shape, schedule, generator))
    wanted = wanted_prediction(latents, noise, timesteps, schedule)
    return schedule.add_noise(latents, noise, timesteps), timesteps, wanted


def drawn_noise(
    shape: Sequence[int], schedule: DDIMScheduler, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise for latents of a shape [B, C, T, F], and timesteps [B]."""
    noise = torch.randn(tuple(shape), generator=generator)
    return noise, torch.randint(schedule.config.num_train_timesteps, (shape[0],), generator=generator)


def wanted_prediction(
    latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor, schedule: DDIMScheduler
) -> torch.Tensor:
    """What the schedule's networks predict of latents [B, C, T, F] at timesteps [B]: their noise or their velocity.

    Raises ValueError for any other kind of prediction.
    """
    kind = schedule.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise ValueError(f"nobody is trained to predict {kind!r} here")
    wanted: torch.Tensor = noise if kind == "epsilon" else schedule.get_velocity(latents, noise, timesteps)
    return wanted
