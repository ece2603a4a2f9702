"""Labels: words of sounds that a picture can be held against beside a prompt, and where they come from."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LabelSource = Literal["pack", "vggsound"]
_FOLDER = Path(__file__).resolve().parents[1] / "data" / "labels"


@dataclass(frozen=True)
class Label:
    """One entry of a label bank.

    words: as they may stand in a prompt. source: "pack" for the pack's own words, "vggsound" for a class of VGGSound.
    meaning: what it is taken for; labels of one meaning are not told apart.
    """

    text: str
    source: LabelSource
    meaning: str


@functools.cache
def vggsound_names() -> tuple[str, ...]:
    """The 309 class names of VGGSound (Chen et al. 2020), in alphabetical order; names alone, no data."""
    lines = (_FOLDER / "vggsound.txt").read_text("utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))
