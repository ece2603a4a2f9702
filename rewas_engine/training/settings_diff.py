"""Whether what is there already was made with the same settings, and where not, which of them differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SHOWN = 4
"""So many differences are named."""


def decisive(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by their names, those within others as `base.steps`, with values as JSON knows them.

    The device and the intervals of checkpoints and samples are left out: they change no weight.
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found.update({f"{name}.{inner}": part for inner, part in decisive(value).items()})
        elif name != "device" and not name.endswith("_every"):
            found[name] = json.loads(json.dumps(value))
    return found


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """What differs, as `base.steps (4, now 5), seed (1, now 2)`; "" where nothing does."""
    names = [name for name in {**ours, **theirs} if name not in ours or ours[name] != theirs.get(name, _MISSING)]
    told = [f"{name} ({_shown(theirs, name)}, now {_shown(ours, name)})" for name in names[:SHOWN]]
    if len(names) > SHOWN:
        told.append(f"and {len(names) - SHOWN} more")
    return ", ".join(told)


_MISSING = object()


def _shown(settings: Mapping[str, Any], name: str) -> str:
    return json.dumps(settings[name], ensure_ascii=False) if name in settings else "not told"
