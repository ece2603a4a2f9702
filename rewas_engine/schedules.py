"""Samplers by name: how the noise schedule that a pack was trained with is walked through."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

from rewas_engine.errors import SettingsError
from rewas_engine.packs import SAMPLER_NAMES

_SOLVERS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "dpm++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "dpm++-sde": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++", "solver_order": 2}),
    "unipc": (UniPCMultistepScheduler, {"solver_order": 2, "solver_type": "bh2"}),
}
"""DPM-Solver++ (Lu et al. 2022) of second order, with noise of its own too, and UniPC (Zhao et al. 2023)."""


def schedule_for(sampler: str, schedule: DDIMScheduler) -> Any:
    """The scheduler by which a pack is sampled.

    schedule: the pack's own, which is what "ddim" (Song et al. 2021) takes. The few steps of the others begin at its
    noisiest end ("trailing"; Lin et al. 2024): what starts lower is given noise where it expects a noisy sound.
    Raises SettingsError for another name.
    """
    if sampler not in SAMPLER_NAMES:
        raise SettingsError(f"There is no sampler {sampler!r}.", f"Choose one of {', '.join(SAMPLER_NAMES)}.")
    if sampler == "ddim":
        return schedule
    solver, options = _SOLVERS[sampler]
    return solver.from_config(schedule.config, timestep_spacing="trailing", **options)


def step_options(schedule: Any, **given: Any) -> dict[str, Any]:
    """Those of the given options that a scheduler's step knows: not every one adds noise."""
    known = inspect.signature(schedule.step).parameters
    return {name: value for name, value in given.items() if name in known}
