"""Families of backbones, and how a pack's family is found. Nothing here imports torch.

A pack names its family; a family is Python code of this package or of another installed one. Nothing in a pack's folder
is ever run.
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
"""The group in which an installed package names its families, each as `name = "module:FAMILY"`."""
DEFAULT_FAMILY = "audioldm"
"""The family of packs that name none: there was only this one when they were written."""
_BUILT_IN_FAMILIES = {
    "audioldm": "rewas_engine.packs.backbones.audioldm:FAMILY",
    "make-an-audio": "rewas_engine.packs.backbones.make_an_audio:FAMILY",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

ComponentLoader = Callable[[Path, "torch.dtype"], Any]
"""From a component's folder in a pack, and what its heavy layers are to be held in
(`rewas_engine.runtime.precision`), to the component; raises ValueError where its files do not fit."""


@dataclass(frozen=True)
class Family:
    """A kind of text-to-audio model: what its packs are made of, and how their parts work together.

    name: as packs write it, in lower case. loaders: class names that its packs may give to components, beside those
    that every pack may (`rewas_engine.packs.components`). backbone: from role -> component, the pack's audio geometry
    and a
    device to the backbone. The mapping is the loaded pack's own, so that a component which is replaced there counts.
    """

    name: str
    loaders: Mapping[str, ComponentLoader]
    backbone: Callable[[Mapping[str, Any], MelConfig, str], Backbone]


_runtime_families: dict[str, Family] = {}


def register_family(family: Family) -> None:
    """Make a family known to this process, for code that brings its own and is no installed package.

    Raises SettingsError where the name is none or is taken by another.
    """
    if not is_family_name(family.name):
        raise SettingsError(f"{family.name!r} is no name for a family of packs.", "Use lower-case letters and digits.")
    if _runtime_families.get(family.name) is not family and family.name in family_names():
        raise SettingsError(f"There is already a family of packs called {family.name}.", "Give it another name.")
    _runtime_families[family.name] = family


def is_family_name(name: object) -> bool:
    """Whether a pack may call its family so."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def family_names() -> tuple[str, ...]:
    """Names of all families that there are, without importing any."""
    return tuple(
        sorted({*_BUILT_IN_FAMILIES, *_runtime_families, *(point.name for point in _installed_entry_points())})
    )


def find_family(name: str) -> Family:
    """The family that a pack names.

    Raises PackError where no installed package brings it, where two do, and where the one that does cannot be loaded.
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
            f"The family of packs {name} is brought by {' and by '.join(sources)}.", "Uninstall all but one of them."
        )
    try:
        family = points[0].load()
    except (ImportError, AttributeError) as error:
        raise PackError(
            f"The family of packs {name} cannot be loaded from {sources[0]}: {error}",
            "Install the package that brings it again.",
        ) from error
    if not isinstance(family, Family) or family.name != name:
        raise PackError(
            f"{sources[0]} is not the family of packs {name}.", "Install another version of the package that brings it."
        )
    return family


def unknown_family_error(name: str) -> PackError:
    """What is wrong with a pack of a family that there is not."""
    return PackError(
        f"The family of packs {name} is unknown; known are {', '.join(family_names())}.",
        "Install the Python package that brings it, update ReWaS, or choose another pack.",
    )


@functools.cache
def _installed_entry_points() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=ENTRY_POINT_GROUP))
