"""The sound stages of the starter pack: data, batches and losses of base and adapter."""

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
from rewas_engine.errors import SettingsError
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder, encode_scaled
from rewas_engine.models.text_projection import TextProjection
from rewas_engine.training.loop import LossFunction, lower_precision

SOFTENED_VALUES = 112
"""The paper's φ estimates 112 values for 5.12 s, so the adapter is also trained on curves of this resolution."""

CLOSE_NATS = 0.1
"""Energy errors are linear above this value and quadratic below it."""

FAINT_NATS = 0.5
"""A sound counts as audible from this energy above silence."""

RISE_FRAMES = 3
"""An onset is a rise within this many mel frames."""

TRAINING_PRECISIONS = ("auto", "float32", "bfloat16")

EMPTY_PROMPT_SHARE = 0.7
"""Share of the clips without controls that also have no prompt in the training of the adapter."""


@dataclass(frozen=True)
class SoundCorpus:
    """Training data of the denoiser.

    Attributes:
        log_mels: [N, T, bins] float16 nats.
        prompts: [N, D] sentence embeddings.
        empty_prompt: [D], embedding of "".
        onsets: [N, T] float16 strengths, 0 to 1, in the frames of the onsets.
        has_onsets: [N] bool, whether a clip's onsets are known.
    """

    log_mels: torch.Tensor
    prompts: torch.Tensor
    empty_prompt: torch.Tensor
    onsets: torch.Tensor
    has_onsets: torch.Tensor


@dataclass(frozen=True)
class DenoiserRecipe:
    """Sampling of the corpus and weights of the losses, for denoiser and adapter.

    Attributes:
        batch_size: Crops per step.
        crop_frames: Mel frames of a crop.
        whole_from: Share of the steps after which whole clips replace crops.
        text_dropout: Share of clips without prompt in the base's training.
        hint_dropout: Share of clips without controls in the adapter's training.
        quietest_nats: Largest random attenuation of a clip.
        onsets_share: Share of clips controlled by onsets instead of energy.
        texture_share: Share of clips with texture as a further control.
        energy_weight, onsets_weight, texture_weight: Weights of the errors of the predicted clip's energy, rises and
            texture, in nats, which are added to the denoising loss.
        silence_weight: Weight of the denoising loss in silence, relative to 1 elsewhere.
        louder_of: Number of candidate crops of a clip; the one with the most sound is used.
        prompt_noise: Standard deviation of the noise that is added to each component of a prompt embedding, so that
            unseen phrases are near known ones.
        text_guidance: Weight of what the prompt changes in the prediction, which is added to the target, 0 to below 1.
            The denoiser learns to predict as if it were guided with a scale of 1 / (1 - text_guidance), so that
            sampling needs no guidance (Tang et al. 2025, arXiv 2502.12154).
        precision: Type of the forward passes: "float32", "bfloat16", or "auto" for bfloat16 where it is sure to be
            faster.
        new_kinds_share: Share of the clips whose kind of sound the continued pack does not know; 0 draws all clips
            alike.
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
    new_kinds_share: float = 0.0
    text_guidance: float = 0.0
    precision: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.text_guidance < 1:
            raise SettingsError(f"denoiser.text_guidance is {self.text_guidance}.", "Give a value from 0 to below 1.")
        if self.precision not in TRAINING_PRECISIONS:
            raise SettingsError(
                f"denoiser.precision is {self.precision!r}.", f"Choose from {', '.join(TRAINING_PRECISIONS)}."
            )


@dataclass(frozen=True)
class DenoiserBatch:
    """Clips of one step.

    Attributes:
        latents: [B, C, T', F'], scaled.
        prompts: [B, D].
        log_mels: [B, T, bins] nats.
        onsets: [B, T].
        has_onsets: [B].
    """

    latents: torch.Tensor
    prompts: torch.Tensor
    log_mels: torch.Tensor
    onsets: torch.Tensor
    has_onsets: torch.Tensor


class DenoiserBatches:
    """Draws batches that depend only on the generator of the step.

    Args:
        is_new: [N] bool, the clips that `new_kinds_share` refers to; None if there are none.
    """

    def __init__(
        self,
        corpus: SoundCorpus,
        codec: PatchAutoencoder,
        recipe: DenoiserRecipe,
        projection: TextProjection | None = None,
        is_new: torch.Tensor | None = None,
    ) -> None:
        self.corpus, self.codec, self.recipe, self.projection = corpus, codec, recipe, projection
        self._weights = None if is_new is None else _share_weights(is_new, recipe.new_kinds_share)
        # One value per latent position, because crops start at latent positions.
        self._energies = torch.cat(
            [
                part.float().mean(dim=-1).unflatten(1, (-1, codec.config.patch_size)).mean(dim=-1)
                for part in corpus.log_mels.split(256)
            ]
        )

    def draw(self, whole: bool, generator: torch.Generator) -> DenoiserBatch:
        """Draw the clips of one step, on the codec's device, all with prompts."""
        recipe, log_mels, patch = self.recipe, self.corpus.log_mels, self.codec.config.patch_size
        frames = log_mels.shape[1] if whole else recipe.crop_frames
        # A whole clip costs as much as several crops, so a step has fewer of them.
        size = max(1, recipe.batch_size * recipe.crop_frames // frames)
        rows = self._rows(size, generator)
        starts = self._starts(rows, frames // patch, generator) * patch

        def crop(clips: torch.Tensor) -> torch.Tensor:
            parts = [clips[row, start : start + frames] for row, start in zip(rows, starts, strict=True)]
            return torch.stack(parts).to(self.codec.device).float()

        gains_nats = -recipe.quietest_nats * torch.rand((size, 1, 1), generator=generator)
        crops = (crop(log_mels) + gains_nats.to(self.codec.device)).clamp(min=SILENCE_NATS)
        prompts = self.corpus.prompts[rows].clone()
        prompts += recipe.prompt_noise * torch.randn(prompts.shape, generator=generator)
        with torch.no_grad():
            latents = encode_scaled(self.codec, crops)
        return DenoiserBatch(
            latents,
            self._project(prompts.to(self.codec.device)),
            crops,
            crop(self.corpus.onsets),
            self.corpus.has_onsets[rows].to(self.codec.device),
        )

    def drop_prompts(self, prompts: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
        """Replace a share of prompts [B, D] by the empty prompt."""
        emptied = (torch.rand(len(prompts), generator=generator) < share).to(prompts.device)
        return torch.where(emptied[:, None], self.no_prompts(prompts), prompts)

    def no_prompts(self, prompts: torch.Tensor) -> torch.Tensor:
        """The empty prompt, as often as there are prompts [B, D]."""
        return self._project(self.corpus.empty_prompt[None].to(prompts)).expand_as(prompts)

    def weights(self, log_mels: torch.Tensor) -> torch.Tensor:
        """Weights of latent positions [B, 1, T', 1] for log-mels [B, T, bins], with mean 1 in each clip.

        Otherwise a short sound would have little weight in a clip that is mostly silent. If the weight of silence is 0,
        silent clips do not count.
        """
        sounding = log_mels.mean(dim=-1).unflatten(1, (-1, self.codec.config.patch_size)).amax(dim=-1)
        audible = (sounding > SILENCE_NATS + FAINT_NATS).float()
        weights = self.recipe.silence_weight + (1 - self.recipe.silence_weight) * audible
        return (weights / weights.mean(dim=1, keepdim=True).clamp(min=1e-6))[:, None, :, None]

    def _rows(self, size: int, generator: torch.Generator) -> torch.Tensor:
        """Numbers of random clips, [size]."""
        if self._weights is None:
            return torch.randint(len(self.corpus.log_mels), (size,), generator=generator)
        return torch.multinomial(self._weights, size, replacement=True, generator=generator)

    def _starts(self, rows: torch.Tensor, positions: int, generator: torch.Generator) -> torch.Tensor:
        """Starts of the crops, [B] latent positions."""
        room = self._energies.shape[1] - positions + 1
        drawn = torch.randint(room, (self.recipe.louder_of, len(rows)), generator=generator)
        sums = nn.functional.pad((self._energies[rows] - SILENCE_NATS).cumsum(dim=1), (1, 0))
        loudness = sums.gather(1, drawn.T + positions) - sums.gather(1, drawn.T)
        return drawn.T.gather(1, loudness.argmax(dim=1, keepdim=True))[:, 0]

    def _project(self, prompts: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = prompts if self.projection is None else self.projection(prompts)
        return projected

    def controls(self, batch: DenoiserBatch, generator: torch.Generator) -> ControlBatch:
        """Draw the controls of a batch: exact or softened energy, or onsets instead, some with texture."""
        recipe, size = self.recipe, len(batch.latents)
        device = batch.latents.device
        draws = torch.rand((4, size), generator=generator).to(device)
        energies = batch.log_mels.mean(dim=-1)
        softened = draws[0] < 0.5
        energies[softened] = soften_energies(energies[softened])
        by_onsets = (draws[1] < recipe.onsets_share) & batch.has_onsets
        # Some clips get both, so that onsets can sharpen a smooth energy from video.
        with_onsets = by_onsets | ((draws[1] > 1 - recipe.onsets_share / 2) & batch.has_onsets)
        with_texture = draws[2] < recipe.texture_share
        given = torch.stack([~by_onsets, with_onsets, with_texture], dim=1)
        given[draws[3] < recipe.hint_dropout] = False
        return ControlBatch(energies, batch.onsets, measure_textures(batch.log_mels), given)


def _share_weights(chosen: torch.Tensor, share: float) -> torch.Tensor | None:
    """Weights of clips [N] that give the chosen ones [N] a share of all draws; None for equal weights."""
    count = int(chosen.sum())
    if share == 0 or count in (0, len(chosen)):
        return None
    return torch.where(chosen, share / count, (1 - share) / (len(chosen) - count))


def base_loss(
    batches: DenoiserBatches, denoiser: UNet2DConditionModel, schedule: DDIMScheduler, steps: int
) -> LossFunction:
    """Loss of the text-to-audio base, which predicts the velocity of noisy latents from the prompt alone."""

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        batch = batches.draw(step >= batches.recipe.whole_from * steps, generator)
        noisy, timesteps, velocity = add_noise(batch.latents, schedule, generator)
        prompts = batches.drop_prompts(batch.prompts, batches.recipe.text_dropout, generator)

        def predict(given: torch.Tensor) -> torch.Tensor:
            with lower_precision(noisy.device, batches.recipe.precision):
                predicted: torch.Tensor = denoiser(
                    noisy, timesteps, encoder_hidden_states=None, class_labels=given
                ).sample
            return predicted

        predicted = predict(prompts)
        if batches.recipe.text_guidance:
            with torch.no_grad():
                # Where the prompt was dropped, nothing is added.
                velocity = velocity + batches.recipe.text_guidance * (predicted - predict(batches.no_prompts(prompts)))
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
    """Loss of the adapter on the frozen base: as for the base, with controls as a hint that is dropped at random.

    For each given control, the error of the predicted clip is added, because the hint determines energy, texture and
    the starts of sounds at every noise level.
    """
    codec, encode = batches.codec, partial(encode_scaled, batches.codec)
    signal_rates = schedule.alphas_cumprod.sqrt()

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        batch = batches.draw(step >= batches.recipe.whole_from * steps, generator)
        noisy, timesteps, velocity = add_noise(batch.latents, schedule, generator)
        controls = batches.controls(batch, generator)
        # Prompts are dropped only together with the controls, as in guidance. With energy but no prompt, the adapter
        # would learn to guess the class from the shape of the energy.
        is_controlled = controls.is_given.any(dim=1, keepdim=True)
        emptied = batches.drop_prompts(batch.prompts, EMPTY_PROMPT_SHARE, generator)
        prompts = torch.where(is_controlled, batch.prompts, emptied)
        if batches.recipe.text_guidance:
            # What the prompt changes without controls, because the adapter knows no controls without a prompt.
            with torch.no_grad(), lower_precision(noisy.device, batches.recipe.precision):
                guiding, empty = denoiser(
                    noisy.repeat(2, 1, 1, 1),
                    timesteps.repeat(2),
                    encoder_hidden_states=None,
                    class_labels=torch.cat([prompts, batches.no_prompts(prompts)]),
                ).sample.chunk(2)
            velocity = velocity + batches.recipe.text_guidance * (guiding - empty).float()
        with torch.no_grad():
            hints = control_hint(controls, encode, bins, adapter)
        with lower_precision(noisy.device, batches.recipe.precision):
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
        # The output of the decoder is clamped at silence, as in generation.
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
        return loss + (errors * controls.is_given).sum(dim=1).mean()

    return loss_of


def _weighted_error(predicted: torch.Tensor, wanted: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return ((predicted.float() - wanted).square() * weights).mean()


def _distance(produced: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Error per clip, [B]. Not squared: the controls apply to quiet and loud frames alike."""
    errors = nn.functional.smooth_l1_loss(produced, wanted, beta=CLOSE_NATS, reduction="none")
    return errors.flatten(1).mean(dim=1)


def _rises(energies: torch.Tensor) -> torch.Tensor:
    """Rise of energies [B, T] within RISE_FRAMES."""
    return (energies[:, RISE_FRAMES:] - energies[:, :-RISE_FRAMES]).clamp(min=0)


def soften_energies(energies: torch.Tensor) -> torch.Tensor:
    """Reduce energies [B, T] to the resolution and smoothness of an estimate from video (ground-truth energy of the
    paper).
    """
    if not len(energies):
        return energies
    frames = energies.shape[1]
    tokens = max(9, round(SOFTENED_VALUES * frames / 512))
    coarse = energies[:, torch.arange(tokens) * frames // tokens].cpu().numpy()
    smooth = savgol_filter(coarse, 9, 2, mode="interp", axis=1)
    times = (np.arange(frames) + 0.5) * tokens / frames - 0.5
    lines = [np.interp(times, np.arange(tokens), row) for row in smooth]
    return torch.from_numpy(np.stack(lines)).to(energies).clamp(min=SILENCE_NATS)


def add_noise(
    latents: torch.Tensor, schedule: DDIMScheduler, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Add noise to latents [B, C, T, F].

    Returns:
        The noisy latents, their random timesteps [B], and the prediction target.
    """
    noise, timesteps = (drawn.to(latents.device) for drawn in draw_noise(latents.shape, schedule, generator))
    wanted = prediction_target(latents, noise, timesteps, schedule)
    return schedule.add_noise(latents, noise, timesteps), timesteps, wanted


def draw_noise(
    shape: Sequence[int], schedule: DDIMScheduler, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw noise for latents of a shape [B, C, T, F], and timesteps [B]."""
    noise = torch.randn(tuple(shape), generator=generator)
    return noise, torch.randint(schedule.config.num_train_timesteps, (shape[0],), generator=generator)


def prediction_target(
    latents: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor, schedule: DDIMScheduler
) -> torch.Tensor:
    """Return the prediction target for latents [B, C, T, F] at timesteps [B]: noise or velocity, as the schedule says.

    Raises:
        ValueError: The schedule has another prediction type.
    """
    kind = schedule.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise ValueError(f"prediction type {kind!r} is not supported")
    wanted: torch.Tensor = noise if kind == "epsilon" else schedule.get_velocity(latents, noise, timesteps)
    return wanted
