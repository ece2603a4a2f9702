"""What the shell completes: names of installed packs, samplers and other values."""

from __future__ import annotations

from collections.abc import Callable


def complete_pack(incomplete: str) -> list[tuple[str, str]]:
    """Return the installed packs whose names begin with the typed text, each with its summary."""
    from rewas_engine.packs.description import installed_packs

    return [
        (pack.name, pack.info.summary if pack.info is not None else "cannot be used")
        for pack in installed_packs()
        if pack.name.startswith(incomplete)
    ]


def complete_profile(incomplete: str) -> list[str]:
    """Return the delivery profiles whose names begin with the typed text."""
    from rewas_server.delivery.profiles import list_profiles

    return [name for name in list_profiles() if name.startswith(incomplete)]


def complete_sampler(incomplete: str) -> list[str]:
    """Return the samplers whose names begin with the typed text."""
    from rewas_engine.models.sampler_names import SAMPLER_NAMES

    return [name for name in SAMPLER_NAMES if name.startswith(incomplete)]


def complete_from(*values: str) -> Callable[[str], list[str]]:
    """Return a completion that offers these values."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete
