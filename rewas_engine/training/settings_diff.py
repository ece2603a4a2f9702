"""Compare the settings of existing results with the current ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MAX_ENTRIES = 4
"""Maximum number of differences in a message."""


def flatten_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten settings to names such as `base.steps`, with JSON values.

    The device and the intervals of checkpoints and samples are left out, because they do not change the weights.
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found.update({f"{name}.{inner}": part for inner, part in flatten_settings(value).items()})
        elif name != "device" and not name.endswith("_every"):
            found[name] = json.loads(json.dumps(value))
    return found


def describe_difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """Describe the differences, such as `base.steps (4, now 5), seed (1, now 2)`; "" if there are none."""
    names = [name for name in {**ours, **theirs} if name not in ours or ours[name] != theirs.get(name, _MISSING)]
    entries = [
        f"{name} ({_format_setting(theirs, name)}, now {_format_setting(ours, name)})" for name in names[:MAX_ENTRIES]
    ]
    if len(names) > MAX_ENTRIES:
        entries.append(f"and {len(names) - MAX_ENTRIES} more")
    return ", ".join(entries)


_MISSING = object()


def _format_setting(settings: Mapping[str, Any], name: str) -> str:
    return json.dumps(settings[name], ensure_ascii=False) if name in settings else "not set"
