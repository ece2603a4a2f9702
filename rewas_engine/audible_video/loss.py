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
    apart_share: float = 0.0,
) -> torch.Tensor:
    """Loss of a batch of clips: mean squared errors of both streams plus the weighted alignment loss.

    Both streams have the same time step but different noise. The target is what the schedule's prediction_type
    names: the noise, or v.

    A share of the clips can have time steps that are drawn for each stream on its own, as in UniDiffuser (Bao et al.
    2023, section 3.2). A stream then learns to follow the other one where that has less noise.

    Args:
        denoiser: TwoStreamDenoiser.
        schedule: The noise schedule.
        picture: Clean latents [B, T, C, H, W].
        sound: Clean latents [B, C', T', F'].
        text: [B, L, D].
        generator: Source of noise and time steps, on the CPU.
        alignment_weight: Weight of the alignment loss; 0 leaves it out.
        apart_share: Share of the clips whose streams have different time steps.
    """
    count = int(schedule.config.num_train_timesteps)
    steps = torch.randint(count, (len(picture),), generator=generator)
    sound_steps = steps
    if apart_share:
        other = torch.randint(count, (len(picture),), generator=generator)
        sound_steps = torch.where(torch.rand(len(picture), generator=generator) < apart_share, other, steps)
    noises = [torch.randn(clean.shape, generator=generator).to(clean) for clean in (picture, sound)]
    times = (steps.to(picture.device), sound_steps.to(picture.device))
    noisy = [
        schedule.add_noise(clean, noise, at) for clean, noise, at in zip((picture, sound), noises, times, strict=True)
    ]
    predicted = denoiser(*noisy, times[0], text, times[1])
    loss = torch.zeros((), device=picture.device)
    found = (predicted.picture, predicted.sound)
    for clean, noise, guess, at in zip((picture, sound), noises, found, times, strict=True):
        loss = loss + functional.mse_loss(guess.float(), _target(schedule, clean, noise, at).float())
    if alignment_weight:
        loss = loss + alignment_weight * denoiser.alignment(predicted.picture_tokens, predicted.sound_tokens)
    return loss


def _target(schedule: DDIMScheduler, clean: torch.Tensor, noise: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    if schedule.config.prediction_type == "v_prediction":
        return schedule.get_velocity(clean, noise, steps)
    return noise
