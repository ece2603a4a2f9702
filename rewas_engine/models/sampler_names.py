"""Names of the samplers, for code that must not import diffusers."""

from __future__ import annotations

SAMPLER_NAMES = ("ddim", "dpm++", "dpm++-sde", "unipc")
"""Names of the samplers; see `rewas_engine.models.schedules`."""
