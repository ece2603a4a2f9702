"""The label bank: names of sounds that a video is compared with in addition to the prompt."""

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

    Args:
        text: The label, usable as a prompt.
        source: "pack" for a phrase of the pack, "vggsound" for a class name of VGGSound.
        meaning: The phrase that the label stands for. Labels with the same meaning count as one.
    """

    text: str
    source: LabelSource
    meaning: str


@functools.cache
def vggsound_names() -> tuple[str, ...]:
    """Return the 309 class names of VGGSound (Chen et al. 2020) in alphabetical order; names only, no data."""
    lines = (_FOLDER / "vggsound.txt").read_text("utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))
