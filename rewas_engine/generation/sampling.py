"""Sampling: from noise to a latent along a schedule, with a callback that can stop it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from rewas_engine.models.schedules import step_options

PredictNoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From latents [C, T, F] and a timestep to the model's prediction, guidance included."""


@dataclass(frozen=True, eq=False)
class KnownLatents:
    """An existing latent, to be regenerated in part or as a whole at some strength.

    Args:
        latents: [C, T, F].
        keep_mask: [T] bool, True for positions that stay as they are; the others adapt to them.
        strength: Share of the noise schedule to run, above 0 and up to 1 (SDEdit, Meng et al. 2022). At 1, only the
            kept positions remain of the existing latent; near 0, hardly anything changes.
    """

    latents: torch.Tensor
    keep_mask: torch.Tensor
    strength: float = 1.0


def effective_num_steps(num_inference_steps: int, strength: float) -> int:
    """Number of steps, at least one, of a regeneration at a strength from 0 to 1."""
    return max(1, min(num_inference_steps, round(num_inference_steps * strength)))


def effective_timesteps(schedule: Any, num_inference_steps: int, strength: float, device: Any = "cpu") -> torch.Tensor:
    """Timesteps of a regeneration at a strength from 0 to 1, the noisiest first.

    Args:
        schedule: A diffusers scheduler. Its number of steps is set.
        num_inference_steps: Steps of a complete sampling.
        strength: Share of the schedule to run.
        device: Device of the timesteps.
    """
    schedule.set_timesteps(num_inference_steps, device=device)
    timesteps: torch.Tensor = schedule.timesteps[-effective_num_steps(num_inference_steps, strength) :]
    return timesteps


@torch.inference_mode()
def sample(
    predict: PredictNoise,
    noise: torch.Tensor,
    schedule: Any,
    *,
    num_inference_steps: int,
    eta: float,
    generator: torch.Generator,
    step_noise: Callable[[int], torch.Tensor] | None = None,
    on_step: Callable[[int], object] | None = None,
    known_latents: KnownLatents | None = None,
) -> torch.Tensor:
    """Sample one latent, step by step along a schedule, for example DDIM (Song et al. 2021, eq. 12).

    Args:
        predict: The model.
        noise: [C, T, F], standard normal.
        schedule: A diffusers scheduler, see `rewas_engine.models.schedules`. It is copied, not changed.
        num_inference_steps: Steps of a complete sampling; with `known_latents` it may run fewer.
        eta: Noise of DDIM: 0 is deterministic, 1 adds the noise of DDPM.
        generator: Source of the noise that is added while sampling.
        step_noise: Returns that noise for a step, counted from 0, instead of the generator.
        on_step: Called with the number of finished steps after each. An exception from it ends the sampling.
        known_latents: An existing latent. Its kept positions are put back, with the noise of the step, after every
            step (RePaint, Lugmayr et al. 2022), so that the new positions adapt to them.

    Returns:
        The latent [C, T, F].
    """
    schedule = copy.deepcopy(schedule)
    strength = 1.0 if known_latents is None else known_latents.strength
    timesteps = effective_timesteps(schedule, num_inference_steps, strength, noise.device)
    latents: torch.Tensor = noise * schedule.init_noise_sigma
    if hasattr(schedule, "set_begin_index"):
        # Otherwise the scheduler searches for the timestep, and confuses two steps that round to the same one.
        schedule.set_begin_index(num_inference_steps - len(timesteps))
    if known_latents is not None and len(timesteps) < num_inference_steps:
        latents = schedule.add_noise(known_latents.latents, noise, timesteps[:1])
    for finished, timestep in enumerate(timesteps, start=1):
        prediction = predict(latents, timestep)
        noise_source: dict[str, Any] = {"generator": generator}
        if step_noise is not None:
            noise_source = {"variance_noise": step_noise(finished - 1)}
        options = step_options(schedule, eta=eta, **noise_source)
        latents = schedule.step(prediction, timestep, latents, **options).prev_sample
        if known_latents is not None:
            existing = known_latents.latents
            if finished < len(timesteps):
                existing = schedule.add_noise(existing, noise, timesteps[finished : finished + 1])
            latents = torch.where(known_latents.keep_mask[None, :, None], existing, latents)
        if on_step is not None:
            on_step(finished)
    return latents


def apply_guidance(conditional: torch.Tensor, unconditional: torch.Tensor, scale: float) -> torch.Tensor:
    """Classifier-free guidance (Ho and Salimans 2021): e = e_u + s (e_c - e_u)."""
    return unconditional + scale * (conditional - unconditional)
