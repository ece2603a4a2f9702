"""Phrases for the classes of the world, read from class_phrases.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class ClassPhrases:
    """Phrases for one class.

    Attributes:
        thing: The object that moves, with its article.
        training: Plain phrases for captions, in lower case without a full stop.
        further: Other phrases, from which the text projection learns.
        held_out: Phrases that training never uses.
    """

    thing: str
    training: tuple[str, ...]
    further: tuple[str, ...]
    held_out: tuple[str, ...]


def read_class_phrases() -> Mapping[str, ClassPhrases]:
    """Read the phrases of all classes, by class name."""
    document = tomllib.loads(files(__package__).joinpath("class_phrases.toml").read_text("utf-8"))
    return {
        name: ClassPhrases(table["thing"], tuple(table["training"]), tuple(table["further"]), tuple(table["held_out"]))
        for name, table in document.items()
    }
