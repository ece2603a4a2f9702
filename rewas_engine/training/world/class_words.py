"""The words of one class of the synthetic world."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassWords:
    """Words of one class.

    thing: the thing that moves, with its article.
    training: phrasings that training uses, all lower case and without a full stop.
    held_out: phrasings that training never uses.
    """

    thing: str
    training: tuple[str, ...]
    held_out: tuple[str, ...]
