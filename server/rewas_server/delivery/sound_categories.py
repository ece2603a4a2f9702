"""The category of a sound from its prompt: CatID in the Universal Category System, and department."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from rewas_engine.matching.sound_kinds import MIN_SIMILARITY, SoundKinds, kind_of_phrase, table_digest
from rewas_server.delivery.profiles import Department

_TABLE = Path(__file__).with_name("sound_categories.toml")


@dataclass(frozen=True)
class SoundCategory:
    """cat_id: in the Universal Category System, for example "DOORWood". department: for example "foley"."""

    cat_id: str
    department: Department


class SoundCategories:
    """Finds the category of prompts.

    The sentence encoder is loaded for the first prompt that is neither remembered nor a phrase of the table.

    Args:
        remembered: Names of kinds by prompt, "" for none. New prompts are added.
        kinds: The table of sound kinds, to share its encoder.
    """

    def __init__(self, remembered: MutableMapping[str, str] | None = None, kinds: SoundKinds | None = None) -> None:
        self._remembered: MutableMapping[str, str] = {} if remembered is None else remembered
        self._kinds = kinds

    def of(self, prompt: str) -> SoundCategory | None:
        """Return the category of a prompt; None if no kind in the table is similar."""
        if prompt not in self._remembered:
            self._remembered[prompt] = self._kind(prompt)
        return categories().get(self._remembered[prompt])

    def _kind(self, prompt: str) -> str:
        """Return the name of the kind of a prompt, "" for none."""
        known = kind_of_phrase(prompt)
        if known is not None:
            return known.name
        if self._kinds is None:
            self._kinds = SoundKinds()
        match = self._kinds.nearest(prompt)
        return match.kind.name if match.similarity >= MIN_SIMILARITY else ""


@functools.cache
def categories() -> dict[str, SoundCategory]:
    """Return the category of each kind of sound, by the name of the kind."""
    table = tomllib.loads(_TABLE.read_text("utf-8"))
    return {kind: SoundCategory(cat_id, department) for kind, (cat_id, department) in table.items()}


def categories_version() -> str:
    """Return the version of the table of kinds. Remembered kinds are only valid for one version."""
    return table_digest()
