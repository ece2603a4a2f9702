"""The settings of one sampling: a request's settings with the defaults of a pack filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rewas_engine.checks import MAX_GUIDANCE_SCALE, MAX_STEPS, MIN_NEGATIVE_GUIDANCE, check_integer, check_range
from rewas_engine.errors import SettingsError
from rewas_engine.generation.options import Control, Sampling
from rewas_engine.models.sampler_names import check_sampler


@dataclass(frozen=True)
class SamplingSettings:
    """How a latent is sampled.

    Args:
        num_inference_steps: Denoising steps, at least 1.
        guidance_scale: 1 is no guidance.
        control_strength: Factor of the adapter's residuals; 0 runs the base model alone.
        eta: Noise of the sampler "ddim": 0 is deterministic, 1 adds the noise of DDPM.
        unguided_share: Share of the noise schedule, 0 to 1, at its end that runs without guidance (Kynkäänniemi et al.
            2024). There, guidance would only make loud frames louder.
        precision: Precision of the arithmetic in the networks, a key of `rewas_engine.runtime.precision.DTYPES`.
        control_start: Part of the sampling after which the controls act, 0 to 1; 0 is the initial noise.
        control_end: Part of the sampling up to which they act, above `control_start` and up to 1.
        negative_prompt: What guidance leads away from; "" is the empty prompt.
        sampler: One of `rewas_engine.models.sampler_names.SAMPLER_NAMES`.
        prompt_weight: Weight of the prompt, 0 to 1: its embedding is mixed with that of the empty prompt.
    """

    num_inference_steps: int
    guidance_scale: float
    control_strength: float
    eta: float
    unguided_share: float = 0.0
    precision: str = "float32"
    control_start: float = 0.0
    control_end: float = 1.0
    negative_prompt: str = ""
    sampler: str = "ddim"
    prompt_weight: float = 1.0


def resolve_settings(
    defaults: Mapping[str, Any], precision: str, sampling: Sampling, control: Control
) -> SamplingSettings:
    """Fill in the defaults of a pack.

    Args:
        defaults: The table `sampling` of the pack's description.
        precision: Precision of the denoiser.
        sampling: Settings of the request; None in a field means the default of the pack.
        control: Control of the request; its kind decides the default guidance scale.

    Raises:
        SettingsError: A default of the pack is out of its range, or there is a negative prompt without guidance.
    """
    scale = float(defaults["guidance_scale"])
    if control.kind == "onsets":
        scale = float(defaults.get("onsets_guidance_scale", scale))
    if sampling.negative_prompt:
        scale = max(scale, MIN_NEGATIVE_GUIDANCE)
    if sampling.guidance_scale is not None:
        scale = sampling.guidance_scale
    own_sampler = str(defaults.get("sampler", "ddim"))
    steps = int(defaults["num_steps"])
    if sampling.sampler == "ddim" != own_sampler:
        steps = int(defaults.get("ddim_steps", steps))
    if sampling.num_inference_steps is not None:
        steps = sampling.num_inference_steps
    check_integer("num_inference_steps", steps, 1, MAX_STEPS)
    check_range("guidance_scale", scale, 0, MAX_GUIDANCE_SCALE)
    if sampling.negative_prompt and scale <= 1:
        raise SettingsError(
            f"A negative prompt needs guidance, but guidance_scale is {scale:g}.",
            "Use a guidance_scale above 1, or leave it out.",
        )
    sampler = own_sampler if sampling.sampler is None else sampling.sampler
    check_sampler(sampler)
    return SamplingSettings(
        num_inference_steps=steps,
        guidance_scale=scale,
        control_strength=control.strength,
        eta=float(defaults["eta"]),
        unguided_share=float(defaults.get("unguided_share", 0.0)),
        precision=precision,
        control_start=float(control.start),
        control_end=float(control.end),
        negative_prompt=sampling.negative_prompt or "",
        sampler=sampler,
    )
