"""Which scenes of the synthetic world packs are chosen on and judged on: seeds that no training draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, islice

from rewas_engine.world import CLASS_NAMES, Scene, sample_scene

HELD_OUT_SEED = 900_000_000
"""From this seed on scenes are for measuring alone: every training draws below it."""
DEVELOPMENT_SEED = 910_000_000
TEST_SEED = 920_000_000
_SEEDS_A_CLASS = 100_000
"""Room for each class within a split: far more than is ever asked for, so that no class runs into the next."""
_MIXED_SEEDS = 5_000_000
"""Where in a split the scenes begin that are drawn without regard to class."""
_LOOKED_THROUGH = 4_000
"""Of those so many are looked through for rare ones; where the world has none, none are found."""


@dataclass(frozen=True)
class Split:
    """A range of held-out seeds. name: "development" or "test". first_seed: of the range, 10 000 000 wide."""

    name: str
    first_seed: int

    def audible(self, class_name: str, clips: int) -> list[Scene]:
        """The first scenes of a class that can be heard, without a second layer: what words and energy speak of.

        Raises SettingsError for an unknown class.
        """
        first_seed = self.first_seed + CLASS_NAMES.index(class_name) * _SEEDS_A_CLASS
        scenes = (without_ambience(sample_scene(seed, class_name)) for seed in count(first_seed))
        return list(islice((scene for scene in scenes if not scene.is_silent), clips))

    def visible(self, clips: int) -> list[Scene]:
        """Scenes of any class that are heard and whose source is in the picture, without a second layer."""
        scenes = (without_ambience(scene) for scene in self._mixed() if not (scene.is_silent or scene.off_screen))
        return list(islice(scenes, clips))

    def any_scenes(self, clips: int) -> list[Scene]:
        """The first scenes as they come: any class, with and without sound, ambience and a source in the picture."""
        return list(islice(self._mixed(), clips))

    def silent_motion(self, clips: int) -> list[Scene]:
        """Scenes in which things move and nothing sounds."""
        return list(islice((scene for scene in self._mixed() if scene.silent_motion), clips))

    def off_screen(self, clips: int) -> list[Scene]:
        """Scenes that are heard and whose source is not in the picture."""
        scenes = (scene for scene in self._mixed() if scene.off_screen and not scene.is_silent)
        return list(islice(scenes, clips))

    def _mixed(self) -> Iterator[Scene]:
        first_seed = self.first_seed + _MIXED_SEEDS
        return (sample_scene(seed) for seed in range(first_seed, first_seed + _LOOKED_THROUGH))


DEVELOPMENT = Split("development", DEVELOPMENT_SEED)
"""What settings are chosen on."""
TEST = Split("test", TEST_SEED)
"""What figures are reported on."""


def without_ambience(scene: Scene) -> Scene:
    """The scene with its primary layer alone."""
    return replace(scene, ambience=None) if scene.ambience is not None else scene
