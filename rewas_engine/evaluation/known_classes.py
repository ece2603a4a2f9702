"""The classes of the world that a pack knows."""

from __future__ import annotations

from rewas_engine.packs.description import PackInfo
from rewas_engine.world import ALL_CLASSES, CLASS_NAMES


def known_classes(pack: PackInfo) -> tuple[str, ...]:
    """Classes that a pack says it knows, in the order of the world.

    Packs that name fewer than two, such as those of earlier versions, are measured on the classes with a picture.
    """
    known = tuple(name for name in ALL_CLASSES if name in pack.kinds)
    return known if len(known) >= 2 else CLASS_NAMES
