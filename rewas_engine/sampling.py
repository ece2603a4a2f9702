"""Sampling: from noise to a latent, by a schedule, with a callback that can stop it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

PredictNoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From latents [C, T, F] and a timestep to the model's prediction, guidance included."""


@torch.inference_mode()
def sample(
    predict: PredictNoise,
    noise: torch.Tensor,
    schedule: Any,
    *,
    num_steps: int,
    eta: float,
    generator: torch.Generator,
    step_noise: Callable[[int], torch.Tensor] | None = None,
    on_step: Callable[[int], object] | None = None,
) -> torch.Tensor:
    """DDIM (Song et al. 2021, eq. 12) over one latent.

    noise: [C, T, F], standard normal. schedule: a diffusers DDIMScheduler; it is copied, not changed.
    eta: 0 is deterministic, 1 adds the noise of DDPM. generator: of that noise. step_noise: the noise itself, by step
    from 0 on, where it is given.
    on_step: called with the number of finished steps after each; what it raises ends the sampling.
    """
    schedule = copy.deepcopy(schedule)
    schedule.set_timesteps(num_steps, device=noise.device)
    latents: torch.Tensor = noise * schedule.init_noise_sigma
    for finished, timestep in enumerate(schedule.timesteps, start=1):
        prediction = predict(latents, timestep)
        added: dict[str, Any] = {"generator": generator}
        if step_noise is not None:
            added = {"variance_noise": step_noise(finished - 1)}
        latents = schedule.step(prediction, timestep, latents, eta=eta, **added).prev_sample
        if on_step is not None:
            on_step(finished)
    return latents


def guided(conditional: torch.Tensor, unconditional: torch.Tensor, scale: float) -> torch.Tensor:
    """Classifier-free guidance (Ho and Salimans 2021): e = e_u + s (e_c - e_u)."""
    return unconditional + scale * (conditional - unconditional)
