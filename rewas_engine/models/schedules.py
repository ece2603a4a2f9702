"""Samplers by name, on the noise schedule that a pack was trained with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

from rewas_engine.models.sampler_names import check_sampler

_SOLVERS: Mapping[str, tuple[Any, Mapping[str, Any], str]] = {
    "dpm++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}, "use_lu_lambdas"),
    "dpm++-sde": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}, "use_lu_lambdas"),
    "unipc": (UniPCMultistepScheduler, {"solver_type": "bh2"}, "use_exponential_sigmas"),
}
"""Sampler name -> scheduler class, its options, and the option for steps that are even in log noise.

DPM-Solver++ (Lu et al. 2022), deterministic and SDE, and UniPC (Zhao et al. 2023), all of second order.
"""


def build_schedule(sampler: str, schedule: DDIMScheduler, *, is_partial: bool = False) -> Any:
    """Build the scheduler of a sampler.

    "ddim" (Song et al. 2021) uses the pack's own schedule with steps even in time. The others use steps even in log
    noise, starting at the highest: with few steps even in time, the last one would cause more error than all others
    together.

    Args:
        sampler: One of SAMPLER_NAMES.
        schedule: The pack's schedule.
        is_partial: Whether only the last part of the schedule is sampled. Steps are then even in time for every
            sampler, so that a part covers the same range of noise.

    Raises:
        SettingsError: The sampler is unknown.
    """
    check_sampler(sampler)
    if sampler == "ddim":
        return schedule
    solver, options, even_in_noise = _SOLVERS[sampler]
    spacing = {"timestep_spacing": "trailing"} if is_partial else {even_in_noise: True}
    return solver.from_config(schedule.config, solver_order=2, **options, **spacing)


def rescale_exact(schedule: DDIMScheduler) -> DDIMScheduler:
    """Recompute a schedule's cumulative alphas in float64 with one rounding, as DDPM's authors did.

    diffusers multiplies up to a thousand factors in float32, an error of about 1e-6. This applies to "scaled_linear"
    schedules (Rombach et al. 2022) that do not end in pure noise; others are returned unchanged.
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
    """Return those of the options that the scheduler's step accepts: not every scheduler adds noise."""
    known = inspect.signature(schedule.step).parameters
    return {name: value for name, value in options.items() if name in known}
