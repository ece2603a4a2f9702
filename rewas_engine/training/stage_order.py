"""The stages of a training: order, dependencies, settings and completion.

This module does not import torch, because the command-line help lists the stages.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewas_engine.errors import SettingsError
from rewas_engine.runtime.atomic_files import write_text_atomic
from rewas_engine.training.settings_diff import describe_difference, flatten_settings

if TYPE_CHECKING:
    from rewas_engine.training.config import StarterConfig

STAGES = ("corpus", "words", "codec", "base", "adapter", "vocoder", "picture", "joint", "pack")
WORLD_STAGES = ("words", "joint")
"""Stages that run only on clips of the world."""
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
_OPTIONAL = {"pack": ("joint",)}
"""Stages whose results another stage uses if they exist."""
_STAGE_OF_SETTING = {
    "classes": "corpus",
    "grains_folder": "corpus",
    "sounds": "corpus",
    "pictures": "corpus",
    "widths": "base",
    "heads": "base",
    "denoiser": "base",
    "phi_blocks": "picture",
}
"""Stages of settings whose names do not begin with the stage."""


class StageLedger:
    """Record of the finished stages of a run, in a file `<stage>.finished` with the settings of each.

    Args:
        folder: Folder of the run.
        config: Settings of the run.
        start_fingerprint: Fingerprint of the continued pack, "" for none.
        uses_world: Whether the clips are from the synthetic world.
    """

    def __init__(self, folder: Path, config: StarterConfig, start_fingerprint: str, uses_world: bool) -> None:
        self.folder, self._of_the_world = folder, uses_world
        self._settings = {**asdict(config), "start_from": start_fingerprint}

    def check(self, stages: Sequence[str], has_corpus: bool) -> None:
        """Check that stages can run.

        Args:
            stages: Stages to run, in this order.
            has_corpus: Whether all clips are prepared.

        Raises:
            SettingsError: A stage does not exist, needs an earlier stage, or was finished with other settings.
        """
        for stage in stages:
            if stage not in STAGES:
                raise SettingsError(f"There is no stage {stage!r}.", f"Choose from {', '.join(STAGES)}.")
        done = {"corpus"} if has_corpus else set()
        for stage in stages:
            # Earlier stages are checked too, because a stage must not use results of other settings.
            finished = {each for each in self._before(stage) if self.is_finished(each)}
            missing = [each for each in self._before(stage, needed=True) if each not in finished | done]
            if not self.is_finished(stage) and missing:
                named = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
                raise SettingsError(
                    f"The stage {stage} needs the stage{'s' if len(missing) > 1 else ''} {named} first.",
                    f"Add {' '.join(f'--stage {each}' for each in missing)} before it, or give no stage to run all.",
                )
            done.add(stage)

    def is_finished(self, stage: str) -> bool:
        """Whether a stage is finished. Raises SettingsError if it was finished with other settings."""
        marker = self._marker(stage)
        if not marker.is_file():
            return False
        # Runs of earlier versions left empty files, whose settings are unknown.
        content = marker.read_text("utf-8")
        differing = describe_difference(json.loads(content)["settings"], self.settings(stage)) if content else ""
        if differing:
            raise SettingsError(
                f"The stage {stage} in {self.folder} was finished with other settings: {differing}.",
                "Use those settings, train into another folder, or delete the .finished and .checkpoint files of this "
                "stage and all later ones, and the folder pack.",
            )
        return True

    def finish(self, stage: str) -> None:
        """Record that a stage is finished with the settings of this run."""
        write_text_atomic(self._marker(stage), json.dumps({"settings": self.settings(stage)}, indent=1))

    def settings(self, stage: str) -> dict[str, Any]:
        """Return the settings that determine the result of a stage: its own and those of the stages it depends on."""
        deciding = {stage, *self._before(stage)}
        return flatten_settings({name: value for name, value in self._settings.items() if self._counts(name, deciding)})

    def _counts(self, name: str, stages: set[str]) -> bool:
        stage = _STAGE_OF_SETTING.get(name, name.split("_")[0])
        if stage not in STAGES:
            return True  # such as the seed
        return stage in stages and (self._of_the_world or stage not in ("corpus", *WORLD_STAGES))

    def _before(self, stage: str, needed: bool = False) -> list[str]:
        """Return the stages that a stage depends on, transitively; with `needed`, without the optional ones."""
        found: set[str] = set()
        waiting = [stage]
        while waiting:
            each = waiting.pop()
            nearest = _NEEDS.get(each, ()) + (() if needed else _OPTIONAL.get(each, ()))
            waiting += [before for before in nearest if before not in found]
            found.update(nearest)
        return [each for each in STAGES if each in found and (self._of_the_world or each not in WORLD_STAGES)]

    def _marker(self, stage: str) -> Path:
        return self.folder / f"{stage}.finished"
