"""How a sound is sampled: what a pack does by default, and what was asked for instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rewas_engine.checks import (
    MAX_CONTROL_STRENGTH,
    MAX_GUIDANCE_SCALE,
    MAX_STEPS,
    MIN_NEGATIVE_GUIDANCE,
    ControlName,
    check_integer,
    check_range,
    validate_control_range,
    validate_prompt,
)
from rewas_engine.errors import SettingsError
from rewas_engine.models.sampler_names import SAMPLER_NAMES


@dataclass(frozen=True)
class SamplingSettings:
    """How a latent is sampled.

    num_steps: at least 1. guidance_scale: 1 is none. control_strength: factor of the adapter, 0 is the base alone.
    eta: of the sampler ddim; 0 is deterministic, 1 adds the noise of DDPM. unguided_share: last part of the noise
    schedule, 0 to 1, in which there is no guidance (Kynkäänniemi et al. 2024): there it only makes loud frames louder.
    precision: of the networks' inner arithmetic, one of `rewas_engine.runtime.precision.DTYPES`. control_part: from
    where to
    where in the sampling the controls act, 0 being its noise and 1 its end. negative_prompt: words that guidance leads
    away from; "" is no words. sampler: one of `rewas_engine.models.sampler_names.SAMPLER_NAMES`. prompt_weight: how
    much the prompt counts, 0 to 1; what is missing is filled up with no words.
    """

    num_steps: int
    guidance_scale: float
    control_strength: float
    eta: float
    unguided_share: float = 0.0
    precision: str = "float32"
    control_part: tuple[float, float] = (0.0, 1.0)
    negative_prompt: str = ""
    sampler: str = "ddim"
    prompt_weight: float = 1.0


def resolve_settings(
    defaults: Mapping[str, Any],
    precision: str,
    num_steps: int | None,
    guidance_scale: float | None,
    control_strength: float,
    control_part: tuple[float, float],
    negative_prompt: str | None,
    control: ControlName,
    sampler: str | None,
) -> SamplingSettings:
    """Settings where None stands for the defaults of a pack. Raises SettingsError for one out of its range.

    defaults: the table `sampling` of its description. The others as in `rewas_engine.ReWaS.sampling_settings`.
    """
    away_from = "" if negative_prompt is None else validate_prompt(negative_prompt, "negative prompt")
    usual = float(defaults["guidance_scale"])
    if control == "onsets":
        usual = float(defaults.get("onsets_guidance_scale", usual))
    own_sampler = str(defaults.get("sampler", "ddim"))
    steps = int(defaults["num_steps"])
    if sampler == "ddim" != own_sampler:
        steps = int(defaults.get("ddim_steps", steps))
    settings = SamplingSettings(
        steps if num_steps is None else num_steps,
        (max(usual, MIN_NEGATIVE_GUIDANCE) if away_from else usual) if guidance_scale is None else guidance_scale,
        control_strength,
        float(defaults["eta"]),
        float(defaults.get("unguided_share", 0.0)),
        precision,
        validate_control_range(control_part),
        away_from,
        own_sampler if sampler is None else sampler,
    )
    if settings.sampler not in SAMPLER_NAMES:
        raise SettingsError(f"There is no sampler {sampler!r}.", f"Choose one of {', '.join(SAMPLER_NAMES)}.")
    check_integer("num_steps", settings.num_steps, 1, MAX_STEPS)
    check_range("guidance_scale", settings.guidance_scale, 0, MAX_GUIDANCE_SCALE)
    check_range("control_strength", control_strength, 0, MAX_CONTROL_STRENGTH)
    if away_from and settings.guidance_scale <= 1:
        raise SettingsError(
            f"There is a negative prompt, but a guidance_scale of {settings.guidance_scale:g} does not guide.",
            "Give a guidance_scale above 1, or leave it out.",
        )
    return settings
