"""Samplers by name: how the noise schedule that a pack was trained with is walked through."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

from rewas_engine.errors import SettingsError
from rewas_engine.models.sampler_names import SAMPLER_NAMES

_SOLVERS: Mapping[str, tuple[Any, Mapping[str, Any], str]] = {
    "dpm++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}, "use_lu_lambdas"),
    "dpm++-sde": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}, "use_lu_lambdas"),
    "unipc": (UniPCMultistepScheduler, {"solver_type": "bh2"}, "use_exponential_sigmas"),
}
"""DPM-Solver++ (Lu et al. 2022), with noise of its own too, and UniPC (Zhao et al. 2023), all of second order; how each
calls steps that are even in the logarithm of the noise."""


def build_schedule(sampler: str, schedule: DDIMScheduler, *, is_partial: bool = False) -> Any:
    """The scheduler by which a pack is sampled.

    schedule: the pack's own, which is what "ddim" (Song et al. 2021) takes: its steps are even in time. Those of the
    others are even in the logarithm of the noise, from its most on: with few steps that are even in time, the last one
    alone costs more than all others together. is_partial: only a last part of the schedule's time is gone through; then
    steps are even in time for all, so that a part is the same part whatever the sampler.
    Raises SettingsError for another name.
    """
    if sampler not in SAMPLER_NAMES:
        raise SettingsError(f"There is no sampler {sampler!r}.", f"Choose one of {', '.join(SAMPLER_NAMES)}.")
    if sampler == "ddim":
        return schedule
    solver, options, even_in_noise = _SOLVERS[sampler]
    spacing = {"timestep_spacing": "trailing"} if is_partial else {even_in_noise: True}
    return solver.from_config(schedule.config, solver_order=2, **options, **spacing)


def rescale_exact(schedule: DDIMScheduler) -> DDIMScheduler:
    """The schedule, its share of the clean signal multiplied up in float64 and rounded once, as DDPM's authors did.

    diffusers multiplies the up to a thousand factors in float32, which leaves it a millionth off. Only for schedules
    named "scaled_linear" (Rombach et al. 2022) that do not end in pure noise; others are given back as they are.
    """
    config = schedule.config
    if config.beta_schedule == "scaled_linear" and config.trained_betas is None and not config.rescale_betas_zero_snr:
        roots = torch.linspace(
            config.beta_start**0.5, config.beta_end**0.5, config.num_train_timesteps, dtype=torch.float64
        )
        kept = torch.cumprod(1 - roots.square(), dim=0)
        schedule.betas, schedule.alphas_cumprod = roots.square().float(), kept.float()
        schedule.alphas = 1 - schedule.betas
        if not config.set_alpha_to_one:
            schedule.final_alpha_cumprod = schedule.alphas_cumprod[0]
    return schedule


def step_options(schedule: Any, **options: Any) -> dict[str, Any]:
    """Those of the given options that a scheduler's step knows: not every one adds noise."""
    known = inspect.signature(schedule.step).parameters
    return {name: value for name, value in options.items() if name in known}
