"""The words of the synthetic world's classes, read from words.toml beside this file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class ClassWords:
    """Words of one class.

    thing: the thing that moves, with its article.
    training: plain phrasings, in which clips are captioned, all lower case and without a full stop.
    further: other words for the same, from which sentences are learnt to be read.
    held_out: phrasings that training never uses.
    """

    thing: str
    training: tuple[str, ...]
    further: tuple[str, ...]
    held_out: tuple[str, ...]


def read_class_words() -> Mapping[str, ClassWords]:
    """The words of every class, by its name."""
    document = tomllib.loads(files(__package__).joinpath("words.toml").read_text("utf-8"))
    return {
        name: ClassWords(table["thing"], tuple(table["training"]), tuple(table["further"]), tuple(table["held_out"]))
        for name, table in document.items()
    }
