"""The classes of the world that a pack knows, and figures on those with a picture, which the first starters knew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rewas_engine.evaluation.bench import BenchClip
from rewas_engine.evaluation.figures import Figure
from rewas_engine.packs.description import PackInfo
from rewas_engine.world import ALL_CLASSES, CLASS_NAMES, has_picture


def known_classes(pack: PackInfo) -> tuple[str, ...]:
    """Classes that a pack says it knows, in the order of the world.

    Packs that name fewer than two, such as those of earlier versions, are measured on the classes with a picture.
    """
    known = tuple(name for name in ALL_CLASSES if name in pack.kinds)
    return known if len(known) >= 2 else CLASS_NAMES


def figure_with_picture(
    key: str, label: str, clips: Sequence[BenchClip], values: Sequence[float], unit: str = ""
) -> tuple[Figure, ...]:
    """Repeat a figure for the classes with a picture alone, to compare packs that know more with those that do not.

    Args:
        key: Key of the figure for all clips.
        label: Its label.
        clips: The clips.
        values: One value per clip, of which the figure is the mean.
        unit: Its unit.

    Returns:
        One figure; none if all clips, or no clips, are of such classes.
    """
    shown = [value for clip, value in zip(clips, values, strict=True) if has_picture(clip.class_name)]
    if not 0 < len(shown) < len(clips):
        return ()
    mean, note = float(np.mean(shown)), f"{len(shown)} clips"
    return (Figure(f"{key}_with_picture", f"{label}, classes with a picture", mean, unit, note),)
