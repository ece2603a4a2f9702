"""The vocabulary of the world's classes, read from words.toml in this folder."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class ClassWords:
    """Vocabulary of one class.

    Attributes:
        thing: The object that moves, with its article.
        training: Plain phrasings for captions, in lower case without a full stop.
        further: Other phrasings, for learning to read prompts.
        held_out: Phrasings that training never uses.
    """

    thing: str
    training: tuple[str, ...]
    further: tuple[str, ...]
    held_out: tuple[str, ...]


def read_class_words() -> Mapping[str, ClassWords]:
    """Read the vocabulary of every class, by its name."""
    document = tomllib.loads(files(__package__).joinpath("words.toml").read_text("utf-8"))
    return {
        name: ClassWords(table["thing"], tuple(table["training"]), tuple(table["further"]), tuple(table["held_out"]))
        for name, table in document.items()
    }
