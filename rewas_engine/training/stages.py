"""The stages of training a starter pack: what each learns, from what, and by which loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from scipy.signal import savgol_filter
from torch import nn

from rewas_engine.control import energy_hint
from rewas_engine.energy import SILENCE_NATS
from rewas_engine.mel import AudioFrontEnd
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.codec import PatchAutoencoder
from rewas_engine.models.motion import MotionEncoder
from rewas_engine.models.phi import Phi
from rewas_engine.models.vocoder import SpectralVocoder
from rewas_engine.training.loop import LossFunction, lower_precision

SOFTENED_VALUES = 112
"""φ of the paper gives 112 values for 5.12 s; the adapter is trained on curves as coarse as those too."""


@dataclass(frozen=True)
class SoundCorpus:
    """What the denoiser learns from.

    log_mels: [N, T, bins] float16 nats. prompts: [N, D] sentence embeddings. empty_prompt: [D], of "".
    """

    log_mels: torch.Tensor
    prompts: torch.Tensor
    empty_prompt: torch.Tensor


@dataclass(frozen=True)
class DenoiserRecipe:
    """How the denoiser and its adapter see the corpus.

    batch_size: crops in a step. crop_frames: mel frames of a crop. whole_from: part of the steps after which whole
    clips take the place of crops. text_dropout, hint_dropout: share of clips whose prompt or energy is taken away.
    quietest_nats: each clip is made quieter by up to so much.
    """

    batch_size: int = 16
    crop_frames: int = 256
    whole_from: float = 0.75
    text_dropout: float = 0.15
    hint_dropout: float = 0.2
    quietest_nats: float = 2.5


class DenoiserBatches:
    """Batches of latents, prompts and energies that depend on nothing but the step's generator."""

    def __init__(self, corpus: SoundCorpus, codec: PatchAutoencoder, recipe: DenoiserRecipe) -> None:
        self.corpus, self.codec, self.recipe = corpus, codec, recipe

    def draw(self, whole: bool, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents [B, C, T', F'], prompts [B, D] and energies [B, T] nats of one step."""
        recipe, log_mels, patch = self.recipe, self.corpus.log_mels, self.codec.config.patch_size
        frames = log_mels.shape[1] if whole else recipe.crop_frames
        # A whole clip costs what several crops do: fewer of them keep the steps alike.
        size = max(1, recipe.batch_size * recipe.crop_frames // frames)
        rows = torch.randint(len(log_mels), (size,), generator=generator)
        starts = torch.randint((log_mels.shape[1] - frames) // patch + 1, (size,), generator=generator) * patch
        crops = torch.stack(
            [log_mels[row, start : start + frames].float() for row, start in zip(rows, starts, strict=True)]
        )
        gains_nats = -recipe.quietest_nats * torch.rand((size, 1, 1), generator=generator)
        crops = (crops + gains_nats).clamp(min=SILENCE_NATS)
        prompts = self.corpus.prompts[rows].clone()
        prompts[torch.rand(size, generator=generator) < recipe.text_dropout] = self.corpus.empty_prompt
        with torch.no_grad():
            latents = self.codec.encode(crops[:, None]).latent_dist.mode() * self.codec.config.scaling_factor
        return latents, prompts, crops.mean(dim=-1)


def base_loss(
    batches: DenoiserBatches, denoiser: UNet2DConditionModel, schedule: DDIMScheduler, steps: int
) -> LossFunction:
    """The text-to-audio base: predicts the velocity of noisy latents from the prompt alone."""

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        latents, prompts, _ = batches.draw(step >= batches.recipe.whole_from * steps, generator)
        noisy, timesteps, velocity = _noised(latents, schedule, generator)
        with lower_precision(latents.device):
            predicted = denoiser(noisy, timesteps, encoder_hidden_states=None, class_labels=prompts).sample
        return nn.functional.mse_loss(predicted.float(), velocity)

    return loss_of


def adapter_loss(
    batches: DenoiserBatches,
    denoiser: UNet2DConditionModel,
    adapter: EnergyAdapter,
    schedule: DDIMScheduler,
    bins: int,
    steps: int,
) -> LossFunction:
    """The adapter on the frozen base: the same loss, with the energy as a hint that is sometimes taken away."""

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        latents, prompts, energies = batches.draw(step >= batches.recipe.whole_from * steps, generator)
        noisy, timesteps, velocity = _noised(latents, schedule, generator)
        softened = torch.rand(len(latents), generator=generator) < 0.5
        energies[softened] = softened_energies(energies[softened])
        with torch.no_grad():
            hints = energy_hint(energies, batches.codec, bins)
        hints[torch.rand(len(latents), generator=generator) < batches.recipe.hint_dropout] = 0
        with lower_precision(latents.device):
            skips, middle = adapter(noisy, timesteps, prompts, hints)
            predicted = denoiser(
                noisy,
                timesteps,
                encoder_hidden_states=None,
                class_labels=prompts,
                down_block_additional_residuals=skips,
                mid_block_additional_residual=middle,
            ).sample
        return nn.functional.mse_loss(predicted.float(), velocity)

    return loss_of


def softened_energies(energies: torch.Tensor) -> torch.Tensor:
    """Energies [B, T] as coarse and smooth as a picture gives them, still [B, T] (method: ground-truth energy)."""
    if not len(energies):
        return energies
    frames = energies.shape[1]
    tokens = max(9, round(SOFTENED_VALUES * frames / 512))
    coarse = energies[:, torch.arange(tokens) * frames // tokens].numpy()
    smooth = savgol_filter(coarse, 9, 2, mode="interp", axis=1)
    times = (np.arange(frames) + 0.5) * tokens / frames - 0.5
    lines = [np.interp(times, np.arange(tokens), row) for row in smooth]
    return torch.from_numpy(np.stack(lines)).float().clamp(min=SILENCE_NATS)


def _noised(
    latents: torch.Tensor, schedule: DDIMScheduler, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    noise = torch.randn(latents.shape, generator=generator)
    timesteps = torch.randint(schedule.config.num_train_timesteps, (len(latents),), generator=generator)
    return (
        schedule.add_noise(latents, noise, timesteps),
        timesteps,
        schedule.get_velocity(latents, noise, timesteps),
    )


@dataclass(frozen=True)
class PictureCorpus:
    """What picture to energy learns from: frames [N, T, H, W] uint8 brightness, energies [N, T] nats at its rate."""

    frames: torch.Tensor
    energies: torch.Tensor


def picture_loss(corpus: PictureCorpus, encoder: MotionEncoder, phi: Phi, batch_size: int) -> LossFunction:
    """Video encoder and φ together: ‖φ(E_v) − e‖², in a form that single outliers do not rule."""

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(corpus.frames), (batch_size,), generator=generator)
        frames = augmented(corpus.frames[rows].float() / 255, generator)
        with lower_precision(frames.device):
            tokens = encoder(frames)
            energies = phi(tokens)
        return nn.functional.smooth_l1_loss(energies.float(), corpus.energies[rows], beta=1.0)

    return loss_of


def augmented(frames: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Clips [B, T, H, W], each mirrored, zoomed, brightened, given other contrast and grain by its own draw."""
    size = len(frames)
    draws = torch.rand((6, size, 1, 1, 1), generator=generator)
    mirrored = torch.where(draws[0] < 0.5, frames, frames.flip(-1))
    zoom = 1.0 - 0.25 * draws[1].flatten()
    affine = torch.zeros(size, 2, 3)
    affine[:, 0, 0], affine[:, 1, 1] = zoom, zoom
    affine[:, :, 2] = (torch.rand((size, 2), generator=generator) * 2 - 1) * (1 - zoom[:, None])
    grid = nn.functional.affine_grid(affine, [size, 1, *frames.shape[2:]], align_corners=False)
    zoomed = nn.functional.grid_sample(mirrored, grid, padding_mode="border", align_corners=False)
    contrast = 0.5 + draws[2]
    brightness = 0.4 * (draws[3] - 0.5)
    grain = 0.03 * draws[4] * torch.randn(frames.shape, generator=generator)
    toned = (zoomed - 0.5) * contrast + 0.5 + brightness
    negative = torch.where(draws[5] < 0.15, 1 - toned, toned)
    return (negative + grain).clamp(0, 1)


@dataclass(frozen=True)
class WaveformCorpus:
    """What the vocoder learns from: waveforms [N, samples] int16."""

    waveforms: torch.Tensor


def vocoder_loss(
    corpus: WaveformCorpus, vocoder: SpectralVocoder, front_end: AudioFrontEnd, batch_size: int, crop_frames: int
) -> LossFunction:
    """Log-mel distance, and log and linear distance of spectra at three resolutions."""
    hop = front_end.config.hop_samples

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(corpus.waveforms), (batch_size,), generator=generator)
        room = corpus.waveforms.shape[1] // hop - crop_frames
        starts = torch.randint(room + 1, (batch_size,), generator=generator) * hop
        length = crop_frames * hop
        real = torch.stack(
            [corpus.waveforms[row, start : start + length].float() for row, start in zip(rows, starts, strict=True)]
        )
        real = real / 32768 * torch.exp(-2.5 * torch.rand((batch_size, 1), generator=generator))
        target = front_end.log_mel(real)
        with lower_precision(real.device):
            made = vocoder(target)
        made = made.float()
        loss = (front_end.log_mel(made) - target).abs().mean()
        for window in (256, 512, 2048):
            loss = loss + 0.5 * _spectral_distance(made, real, window)
        return loss

    return loss_of


def _spectral_distance(made: torch.Tensor, real: torch.Tensor, window_samples: int) -> torch.Tensor:
    window = torch.hann_window(window_samples)

    def magnitude(waveform: torch.Tensor) -> torch.Tensor:
        spectrum: Any = torch.stft(
            waveform, window_samples, window_samples // 4, window=window, center=True, return_complex=True
        )
        # The gradient of a magnitude has no limit at zero.
        return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + 1e-9)

    ours, theirs = magnitude(made), magnitude(real)
    floor = 1e-4
    logarithmic = (torch.log(ours + floor) - torch.log(theirs + floor)).abs().mean()
    linear = (ours - theirs).norm() / (theirs.norm() + 1e-3)
    return logarithmic + linear
