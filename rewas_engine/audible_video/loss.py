"""The loss of a training step: the noise of both streams, and the alignment of their features."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMScheduler
from torch.nn import functional

ALIGNMENT_WEIGHT = 0.1
"""Weight of the alignment loss in TAVDiffusion."""


def training_loss(
    denoiser: Any,
    schedule: DDIMScheduler,
    picture: torch.Tensor,
    sound: torch.Tensor,
    text: torch.Tensor,
    generator: torch.Generator,
    alignment_weight: float = ALIGNMENT_WEIGHT,
) -> torch.Tensor:
    """Loss of a batch of clips: mean squared errors of both streams plus the weighted alignment loss.

    Both streams have the same time step but different noise. The target is what the schedule's prediction_type
    names: the noise, or v.

    Args:
        denoiser: TwoStreamDenoiser.
        schedule: The noise schedule.
        picture: Clean latents [B, T, C, H, W].
        sound: Clean latents [B, C', T', F'].
        text: [B, L, D].
        generator: Source of noise and time steps, on the CPU.
        alignment_weight: Weight of the alignment loss; 0 leaves it out.
    """
    steps = torch.randint(int(schedule.config.num_train_timesteps), (len(picture),), generator=generator)
    noises = [torch.randn(clean.shape, generator=generator).to(clean) for clean in (picture, sound)]
    steps = steps.to(picture.device)
    noisy = [schedule.add_noise(clean, noise, steps) for clean, noise in zip((picture, sound), noises, strict=True)]
    predicted = denoiser(*noisy, steps, text)
    loss = torch.zeros((), device=picture.device)
    for clean, noise, found in zip((picture, sound), noises, (predicted.picture, predicted.sound), strict=True):
        loss = loss + functional.mse_loss(found.float(), _target(schedule, clean, noise, steps).float())
    if alignment_weight:
        loss = loss + alignment_weight * denoiser.alignment(predicted.picture_tokens, predicted.sound_tokens)
    return loss


def _target(schedule: DDIMScheduler, clean: torch.Tensor, noise: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    if schedule.config.prediction_type == "v_prediction":
        return schedule.get_velocity(clean, noise, steps)
    return noise
