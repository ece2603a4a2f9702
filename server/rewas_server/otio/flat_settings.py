"""Settings of a clip as single values by name, so that several sources can each give some of them.

The values of a performance have names such as "performance.place".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from rewas_api.clip_settings import ClipSettings
from rewas_api.performance_settings import PerformanceSettings

PERFORMANCE = "performance"
_PREFIX = f"{PERFORMANCE}."
_NAMES = frozenset(each.name for each in fields(ClipSettings))
_PERFORMANCE_NAMES = frozenset(each.name for each in fields(PerformanceSettings))


def flat_values(settings: ClipSettings) -> dict[str, Any]:
    """Return the values of settings by name, without what is None or empty."""
    values = {name: value for name, value in vars(settings).items() if value not in (None, "") and name != PERFORMANCE}
    if settings.performance is not None:
        values |= {f"{_PREFIX}{name}": value for name, value in settings.performance.to_metadata().items()}
    return values


def settings_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ClipSettings for values by name, without those that are None.

    Names that are not settings are left out. Raises ProblemError (SETTINGS) for an invalid performance.
    """
    given = {name: value for name, value in values.items() if name in _NAMES and value is not None}
    performance = {
        name.removeprefix(_PREFIX): value
        for name, value in values.items()
        if name.startswith(_PREFIX) and name.removeprefix(_PREFIX) in _PERFORMANCE_NAMES and value is not None
    }
    return given | ({PERFORMANCE: PerformanceSettings(**performance)} if performance else {})


__all__ = ["PERFORMANCE", "flat_values", "settings_fields"]
