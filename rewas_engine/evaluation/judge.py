"""The judge: says which class of the world a log-mel is of. Trained apart from every pack, on real clips only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

JUDGE_FOLDER = Path(__file__).resolve().parents[1] / "data" / "judge"


class Judge:
    """A classifier of the world's classes, in evaluation mode.

    classes: names in the order of the probabilities. figures: of the judge itself on real clips that it was not trained
    on: "accuracy", "worst_class", "class_accuracies", "confusion" (rows true) and how it was trained.
    """

    classes: tuple[str, ...]
    figures: dict[str, object]

    @classmethod
    def load(cls, folder: Path = JUDGE_FOLDER) -> Judge:
        """The judge in a folder; the shipped one by default. Raises PackError where it is missing or damaged."""
        raise NotImplementedError

    def classify(self, log_mels: torch.Tensor) -> NDArray[np.float32]:
        """Probabilities [B, C] of the classes for log-mels [B, T, 64] in nats; T is best 512. A gain matters little."""
        raise NotImplementedError

    def names(self, log_mels: torch.Tensor) -> list[str]:
        """The likeliest class of each log-mel [B, T, 64]."""
        return [self.classes[row] for row in self.classify(log_mels).argmax(axis=1)]


def confusion(true: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """How often each class (row) was taken for each (column): [C, C].

    Raises SettingsError where a name is not among the classes, or the rows differ in length.
    """
    raise NotImplementedError


def accuracy(table: NDArray[np.int64]) -> float | None:
    """Share of clips on the diagonal of a confusion table, None for an empty one."""
    return float(np.trace(table) / table.sum()) if table.sum() else None


def class_accuracies(table: NDArray[np.int64], classes: Sequence[str]) -> dict[str, float]:
    """Share of right clips of each class that has clips."""
    return {name: float(table[row, row] / table[row].sum()) for row, name in enumerate(classes) if table[row].sum()}
