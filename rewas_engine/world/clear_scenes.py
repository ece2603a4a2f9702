"""Scenes that are easy to see and to hear, for models that make tiny clips."""

from __future__ import annotations

from rewas_engine.errors import SettingsError
from rewas_engine.world.scene import Scene, sample_scene
from rewas_engine.world.video import first_frames_of_shots

CLEAR_PATTERNS = ("few", "regular", "irregular", "bursts", "pulses")
"""Patterns with gaps, so that motion and sound have something to agree on."""
SEEDS_PER_SCENE = 64
"""Seeds that are searched for one scene."""
_FARTHEST, _QUIETEST = 0.5, 0.7


def clear_scene(class_name: str, first_seed: int, duration_s: float) -> Scene:
    """Return the first clear scene of a class from a seed on.

    It is close and loud, in one shot, with its source on screen and no other sound behind it.

    Raises:
        SettingsError: The class or the duration is not possible, or no scene from these seeds is clear.
    """
    scenes = (
        sample_scene(seed, class_name, duration_s, pattern=CLEAR_PATTERNS[seed % len(CLEAR_PATTERNS)])
        for seed in range(first_seed, first_seed + SEEDS_PER_SCENE)
    )
    found = next((scene for scene in scenes if _is_clear(scene) and not first_frames_of_shots(scene)), None)
    if found is None:
        raise SettingsError(
            f"None of {SEEDS_PER_SCENE} scenes of {class_name!r} of {duration_s:g} s is clear.",
            "Use another seed, a shorter clip or another class.",
        )
    return found


def _is_clear(scene: Scene) -> bool:
    alone = not scene.off_screen and scene.ambience is None and scene.floor == 0
    return alone and scene.distance <= _FARTHEST and float(scene.envelope.max()) >= _QUIETEST
