"""The stages of a training: their order, what each needs, which settings decide what it makes, and which are done.

Nothing here imports torch: the command line names the stages in its help.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewas_engine.errors import SettingsError
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.training.settings_diff import decisive, difference

if TYPE_CHECKING:
    from rewas_engine.training.config import StarterConfig

STAGES = ("corpus", "words", "codec", "base", "adapter", "vocoder", "picture", "joint", "pack")
OF_THE_WORLD = ("words", "joint")
"""Stages that make nothing where the clips are not the world's."""
_NEEDS = {
    "words": ("corpus",),
    "codec": ("corpus",),
    "base": ("words", "codec"),
    "adapter": ("base",),
    "vocoder": ("corpus",),
    "picture": ("corpus",),
    "joint": ("corpus",),
    "pack": ("adapter", "vocoder", "picture"),
}
_TAKES_ALONG = {"pack": ("joint",)}
"""Stages whose work goes into that of another where it is there."""
_DECIDED_IN = {
    "sounds": "corpus",
    "pictures": "corpus",
    "widths": "base",
    "heads": "base",
    "denoiser": "base",
    "phi_blocks": "picture",
}
"""The stage of a setting whose name does not begin with it."""


class StageLedger:
    """Which stages of a run are finished, and with which settings: a file `<stage>.finished` for each.

    folder: of the run. begins_with: what tells the pack that is continued from every other, "" for none.
    of_the_world: whether the clips are the synthetic world's.
    """

    def __init__(self, folder: Path, config: StarterConfig, begins_with: str, of_the_world: bool) -> None:
        self.folder, self._of_the_world = folder, of_the_world
        self._settings = {**asdict(config), "start_from": begins_with}

    def check(self, stages: Sequence[str], has_corpus: bool) -> None:
        """Raise SettingsError for a stage that does not exist, lacks what it needs, or was made with other settings.

        stages: that are to be run, in this order. has_corpus: whether all clips are there.
        """
        for stage in stages:
            if stage not in STAGES:
                raise SettingsError(f"There is no stage {stage!r}.", f"Choose from {', '.join(STAGES)}.")
        done = {"corpus"} if has_corpus else set()
        for stage in stages:
            # Those before it too: no stage goes on with what its own settings would not have made.
            finished = {each for each in self._before(stage) if self.is_finished(each)}
            lacking = [each for each in self._before(stage, needed=True) if each not in finished | done]
            if not self.is_finished(stage) and lacking:
                named = " and ".join(filter(None, [", ".join(lacking[:-1]), lacking[-1]]))
                raise SettingsError(
                    f"The stage {stage} needs the stage{'s' if len(lacking) > 1 else ''} {named} first.",
                    f"Give {' '.join(f'--stage {each}' for each in lacking)} before it, or no stage, to run all.",
                )
            done.add(stage)

    def is_finished(self, stage: str) -> bool:
        """Whether a stage is; raises SettingsError where it was finished with other settings."""
        marker = self._marker(stage)
        if not marker.is_file():
            return False
        # Runs of earlier versions left empty files: of these it is not known.
        told = marker.read_text("utf-8")
        unlike = difference(json.loads(told)["settings"], self.settings(stage)) if told else ""
        if unlike:
            raise SettingsError(
                f"The stage {stage} in {self.folder} was finished with other settings: {unlike}.",
                "Give those again, train into another folder, or remove the .finished and .checkpoint files of this "
                "stage and of all after it, and the folder pack.",
            )
        return True

    def finish(self, stage: str) -> None:
        """Keep that a stage is finished with the settings of this run."""
        write_text_atomic(self._marker(stage), json.dumps({"settings": self.settings(stage)}, indent=1))

    def settings(self, stage: str) -> dict[str, Any]:
        """What decides what a stage makes, by name: its own settings and those of the stages before it."""
        deciding = {stage, *self._before(stage)}
        return decisive({name: value for name, value in self._settings.items() if self._counts(name, deciding)})

    def _counts(self, name: str, stages: set[str]) -> bool:
        stage = _DECIDED_IN.get(name, name.split("_")[0])
        if stage not in STAGES:
            return True  # as the seed
        return stage in stages and (self._of_the_world or stage not in ("corpus", *OF_THE_WORLD))

    def _before(self, stage: str, needed: bool = False) -> list[str]:
        """The stages that another needs, and those before these; and those that it takes along, but for `needed`."""
        found: set[str] = set()
        waiting = [stage]
        while waiting:
            each = waiting.pop()
            nearest = _NEEDS.get(each, ()) + (() if needed else _TAKES_ALONG.get(each, ()))
            waiting += [before for before in nearest if before not in found]
            found.update(nearest)
        return [each for each in STAGES if each in found and (self._of_the_world or each not in OF_THE_WORLD)]

    def _marker(self, stage: str) -> Path:
        return self.folder / f"{stage}.finished"
