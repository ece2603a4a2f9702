"""Figures on the classes with a picture, which the first starters knew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rewas_engine.evaluation.bench import BenchClip
from rewas_engine.evaluation.figures import Figure
from rewas_engine.world import has_picture


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
