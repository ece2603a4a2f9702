"""Sampling: from noise to a latent, by a schedule, with a callback that can stop it."""

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
class Known:
    """A latent that is there already, of which a part is made again, or all of it to some degree.

    latents: [C, T, F]. kept: [T] bool, positions that come out as they are; the others fit in between them.
    renoised: part of the noise schedule, above 0 and up to 1, that is gone through again: at 1 nothing but the kept
    positions is left of the old, near 0 the new is hardly another (SDEdit, Meng et al. 2022).
    """

    latents: torch.Tensor
    kept: torch.Tensor
    renoised: float = 1.0


def effective_num_steps(num_steps: int, renoised: float) -> int:
    """How many of `num_steps` are run where that part of the noise schedule is gone through: at least one."""
    return max(1, min(num_steps, round(num_steps * renoised)))


def effective_timesteps(schedule: Any, num_steps: int, renoised: float, device: Any = "cpu") -> torch.Tensor:
    """The timesteps that are run, from noise on, where that part of the noise schedule is gone through.

    schedule: a diffusers scheduler, which is set to these steps.
    """
    schedule.set_timesteps(num_steps, device=device)
    timesteps: torch.Tensor = schedule.timesteps[-effective_num_steps(num_steps, renoised) :]
    return timesteps


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
    known: Known | None = None,
) -> torch.Tensor:
    """One latent, step by step along a schedule: DDIM (Song et al. 2021, eq. 12), or what else it is.

    noise: [C, T, F], standard normal. schedule: a diffusers scheduler, see `rewas_engine.models.schedules`; it is
    copied, not
    changed. eta: of DDIM; 0 is deterministic, 1 adds the noise of DDPM. generator: of that noise. step_noise: the noise
    itself, by step from 0 on, where it is given.
    on_step: called with the number of finished steps after each; what it raises ends the sampling.
    known: what is there already; its kept positions are put back, as noisy as the rest, after every step (RePaint,
    Lugmayr et al. 2022), so that what is new grows into them.
    """
    schedule = copy.deepcopy(schedule)
    timesteps = effective_timesteps(schedule, num_steps, 1.0 if known is None else known.renoised, noise.device)
    latents: torch.Tensor = noise * schedule.init_noise_sigma
    if hasattr(schedule, "set_begin_index"):
        # Left to look a timestep up, a scheduler mistakes two steps that round to the same one.
        schedule.set_begin_index(num_steps - len(timesteps))
    if known is not None and len(timesteps) < num_steps:
        latents = schedule.add_noise(known.latents, noise, timesteps[:1])
    for finished, timestep in enumerate(timesteps, start=1):
        prediction = predict(latents, timestep)
        added: dict[str, Any] = {"generator": generator}
        if step_noise is not None:
            added = {"variance_noise": step_noise(finished - 1)}
        options = step_options(schedule, eta=eta, **added)
        latents = schedule.step(prediction, timestep, latents, **options).prev_sample
        if known is not None:
            there = known.latents
            if finished < len(timesteps):
                there = schedule.add_noise(there, noise, timesteps[finished : finished + 1])
            latents = torch.where(known.kept[None, :, None], there, latents)
        if on_step is not None:
            on_step(finished)
    return latents


def guided(conditional: torch.Tensor, unconditional: torch.Tensor, scale: float) -> torch.Tensor:
    """Classifier-free guidance (Ho and Salimans 2021): e = e_u + s (e_c - e_u)."""
    return unconditional + scale * (conditional - unconditional)
