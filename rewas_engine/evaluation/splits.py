"""Scenes of the synthetic world for choosing settings and for testing, with seeds that training never uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice

from rewas_engine.errors import SettingsError
from rewas_engine.world import ALL_CLASSES, CLASS_NAMES, Scene, has_picture, sample_scene

HELD_OUT_SEED = 900_000_000
"""Scenes from this seed on are held out; training uses lower seeds."""
DEVELOPMENT_SEED = 910_000_000
TEST_SEED = 920_000_000
_SEEDS_A_CLASS = 100_000
"""Seeds reserved for each class in a split, far more than any evaluation uses, so that classes never overlap."""
_MIXED_SEEDS = 5_000_000
"""Offset in a split of the scenes that are drawn regardless of class."""
_MIXED_UNSEEN_SEEDS = 5_500_000
"""Offset in a split of the scenes that are drawn from any of the classes without a picture."""
_UNSEEN_SEEDS = 6_000_000
"""Offset in a split of the classes without a picture."""
_SEARCHED_SEEDS = 4_000
"""Number of mixed scenes that are searched for rare ones."""


@dataclass(frozen=True)
class Split:
    """A range of held-out seeds.

    Attributes:
        name: "development" or "test".
        first_seed: First of its 10 000 000 seeds.
    """

    name: str
    first_seed: int

    def audible(self, class_name: str, clips: int) -> list[Scene]:
        """Return the first audible scenes of a class, without ambience.

        Raises:
            SettingsError: The class is unknown.
        """
        if class_name not in ALL_CLASSES:
            raise SettingsError(f"The world has no class {class_name!r}.", f"Choose from {', '.join(ALL_CLASSES)}.")
        number = ALL_CLASSES.index(class_name)
        # The seeds of classes without a picture follow those of the mixed scenes.
        unseen = 0 if has_picture(class_name) else _UNSEEN_SEEDS - len(CLASS_NAMES) * _SEEDS_A_CLASS
        first_seed = self.first_seed + unseen + number * _SEEDS_A_CLASS
        scenes = (drop_ambience(sample_scene(seed, class_name)) for seed in count(first_seed))
        return list(islice((scene for scene in scenes if not scene.is_silent), clips))

    def visible(self, clips: int) -> list[Scene]:
        """Return audible scenes of any class with a visible source, without ambience."""
        scenes = (drop_ambience(scene) for scene in self._scenes() if not (scene.is_silent or scene.off_screen))
        return list(islice(scenes, clips))

    def any_scenes(self, clips: int) -> list[Scene]:
        """Return the first scenes of any class, with or without sound, ambience and a visible source."""
        return list(islice(self._scenes(), clips))

    def unseen(self, clips: int, classes: Sequence[str]) -> list[Scene]:
        """Return the first scenes of any of these classes without a picture."""
        first_seed = self.first_seed + _MIXED_UNSEEN_SEEDS
        return [sample_scene(first_seed + number, classes=classes) for number in range(clips)]

    def silent_motion(self, clips: int) -> list[Scene]:
        """Return scenes with motion but no sound."""
        return list(islice((scene for scene in self._scenes() if scene.silent_motion), clips))

    def off_screen(self, clips: int) -> list[Scene]:
        """Return audible scenes whose source is off screen."""
        scenes = (scene for scene in self._scenes() if scene.off_screen and not scene.is_silent)
        return list(islice(scenes, clips))

    def _scenes(self) -> Iterator[Scene]:
        first_seed = self.first_seed + _MIXED_SEEDS
        return (sample_scene(seed) for seed in range(first_seed, first_seed + _SEARCHED_SEEDS))


DEVELOPMENT = Split("development", DEVELOPMENT_SEED)
"""For choosing settings."""
TEST = Split("test", TEST_SEED)
"""For reporting figures."""


def drop_ambience(scene: Scene) -> Scene:
    """Return a scene without its ambience."""
    return replace(scene, ambience=None) if scene.ambience is not None else scene
