"""The arguments of the hooks. Without arguments, the hooks do not change what other programs read and write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewas_otio.errors import PluginError

SHEET, PROMPT, PROMPT_FOR, MARKERS, VISIBLE, EXACT_RATES, MEDIA_PATHS, SOURCE_FOLDER = (
    "rewas_sheet",
    "rewas_prompt",
    "rewas_prompt_for",
    "rewas_markers",
    "rewas_visible",
    "rewas_exact_rates",
    "rewas_media_paths",
    "rewas_source_folder",
)
_KNOWN = frozenset({SHEET, PROMPT, PROMPT_FOR, MARKERS, VISIBLE, EXACT_RATES, MEDIA_PATHS, SOURCE_FOLDER})
_PREFIX = "rewas_"


def own_arguments(argument_map: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the arguments that belong to this project's hooks. Raises PluginError for an unknown one."""
    own = {name: value for name, value in (argument_map or {}).items() if name.startswith(_PREFIX)}
    unknown = sorted(set(own) - _KNOWN)
    if unknown:
        raise PluginError(f"The hook argument {unknown[0]} does not exist.", f"Use {', '.join(sorted(_KNOWN))}.")
    return own
