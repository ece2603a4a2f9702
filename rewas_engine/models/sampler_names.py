"""Names of the samplers, for code that must not import diffusers."""

from __future__ import annotations

from rewas_engine.errors import SettingsError

SAMPLER_NAMES = ("ddim", "dpm++", "dpm++-sde", "unipc")
"""The samplers: see `rewas_engine.models.schedules`."""


def check_sampler(name: str) -> None:
    """Raise SettingsError for a name that is not in SAMPLER_NAMES."""
    if name not in SAMPLER_NAMES:
        raise SettingsError(f"The sampler {name!r} is unknown.", f"Choose one of {', '.join(SAMPLER_NAMES)}.")
