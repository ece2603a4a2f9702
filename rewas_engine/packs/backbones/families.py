"""Families of backbones, and finding the family of a pack. This module does not import torch.

A pack names its family; a family is Python code in this package or another installed one. Code in a pack's folder is
never run.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewas_engine.errors import PackError, SettingsError

if TYPE_CHECKING:
    import torch

    from rewas_engine.conditioning.mel import MelConfig
    from rewas_engine.packs.backbones.backbone import Backbone

ENTRY_POINT_GROUP = "rewas_engine.backbones"
"""Entry-point group in which an installed package lists its families, each as `name = "module:FAMILY"`."""
DEFAULT_FAMILY = "audioldm"
"""Family of packs that do not name one, because they are older than the other families."""
_BUILT_IN_FAMILIES = {
    "audioldm": "rewas_engine.packs.backbones.audioldm:FAMILY",
    "make-an-audio": "rewas_engine.packs.backbones.make_an_audio:FAMILY",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

ComponentLoader = Callable[[Path, "torch.dtype"], Any]
"""Function from a component's folder and the precision of its heavy layers to the component.

It raises ValueError if the files do not fit.
"""


@dataclass(frozen=True)
class Family:
    """A kind of text-to-audio model: the classes in its packs, and how its components work together.

    Args:
        name: Name in pack.toml, in lower case.
        loaders: Loaders of classes that only its packs may use, by class name. `rewas_engine.packs.components` has the
            common ones.
        backbone: Function from components by role, audio format and device to the backbone. The mapping is live, so a
            component that is replaced there takes effect.
    """

    name: str
    loaders: Mapping[str, ComponentLoader]
    backbone: Callable[[Mapping[str, Any], MelConfig, str], Backbone]


_runtime_families: dict[str, Family] = {}


def register_family(family: Family) -> None:
    """Register a family in this process, for code that is not an installed package.

    Raises SettingsError if the name is invalid or taken by another family.
    """
    if not is_family_name(family.name):
        raise SettingsError(
            f"{family.name!r} is not a valid name for a family of packs.", "Use lower-case letters and digits."
        )
    if _runtime_families.get(family.name) is not family and family.name in family_names():
        raise SettingsError(f"A family of packs named {family.name} already exists.", "Use another name.")
    _runtime_families[family.name] = family


def is_family_name(name: object) -> bool:
    """Return whether a value is a valid family name."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def family_names() -> tuple[str, ...]:
    """Return the names of all available families without importing them."""
    return tuple(
        sorted({*_BUILT_IN_FAMILIES, *_runtime_families, *(point.name for point in _installed_entry_points())})
    )


def find_family(name: str) -> Family:
    """Return the family of a name.

    Raises PackError if no installed package provides it, if two do, or if it cannot be loaded.
    """
    if name in _runtime_families:
        return _runtime_families[name]
    points = [point for point in _installed_entry_points() if point.name == name]
    if name in _BUILT_IN_FAMILIES:
        points.append(EntryPoint(name, _BUILT_IN_FAMILIES[name], ENTRY_POINT_GROUP))
    if not points:
        raise unknown_family_error(name)
    sources = sorted({point.value for point in points})
    if len(sources) > 1:
        raise PackError(
            f"Several packages provide the family of packs {name}: {', '.join(sources)}.",
            "Uninstall all but one of them.",
        )
    try:
        family = points[0].load()
    except (ImportError, AttributeError) as error:
        raise PackError(
            f"The family of packs {name} cannot be loaded from {sources[0]}: {error}",
            "Reinstall the package that provides it.",
        ) from error
    if not isinstance(family, Family) or family.name != name:
        raise PackError(
            f"{sources[0]} is not the family of packs {name}.",
            "Install another version of the package that provides it.",
        )
    return family


def unknown_family_error(name: str) -> PackError:
    """Return the error for a family that is not installed."""
    return PackError(
        f"The family of packs {name} is unknown. Available: {', '.join(family_names())}.",
        "Install the Python package that provides it, update ReWaS, or choose another pack.",
    )


@functools.cache
def _installed_entry_points() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=ENTRY_POINT_GROUP))
