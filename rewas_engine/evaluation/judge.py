"""The judge: a classifier of log-mels into the classes of the world, trained on real clips independently of packs."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from rewas_engine.errors import PackError, SettingsError
from rewas_engine.evaluation.judge_network import JudgeNetwork
from rewas_engine.packs.components import CONFIG_FILE, WEIGHTS_FILE, load_strictly

JUDGE_FOLDER = Path(__file__).resolve().parents[1] / "data" / "judge"
FIGURES_FILE = "figures.json"
BATCH_CLIPS = 32


class Judge:
    """A classifier of the world's classes, in evaluation mode on the CPU.

    Attributes:
        network: The network.
        classes: Names that it chooses among, in the order of the probabilities.
        figures: The judge's own figures on held-out real clips ("accuracy", "worst_class", "worst_class_accuracy",
            "class_accuracies", "confusion" with true classes as rows), how it was trained, "licence" and "permits".
    """

    def __init__(self, network: JudgeNetwork, figures: dict[str, Any]) -> None:
        self.network = network.eval().requires_grad_(False)
        self.classes: tuple[str, ...] = tuple(network.config.classes)
        self.figures = figures
        self._columns = list(range(len(self.classes)))

    def among(self, classes: Collection[str]) -> Judge:
        """Return this judge with fewer answers: it then chooses only among some of its classes.

        Args:
            classes: The answers. Classes that the judge does not know are ignored.

        Raises:
            SettingsError: The judge knows fewer than two of them.
        """
        names = tuple(name for name in self.classes if name in classes)
        if len(names) < 2:
            raise SettingsError("The judge knows fewer than two of the classes.", "Name two or more that it knows.")
        if names == self.classes:
            return self
        narrowed = copy.copy(self)
        narrowed.classes = names
        narrowed._columns = [self._columns[self.classes.index(name)] for name in names]
        return narrowed

    @classmethod
    def load(cls, folder: Path = JUDGE_FOLDER) -> Judge:
        """Load the judge from a folder, by default the shipped one.

        Raises:
            PackError: The judge is missing or damaged.
        """
        try:
            # Drawing the initial weights, which are then replaced, must not advance the caller's random state.
            with torch.random.fork_rng(devices=[]):
                network = JudgeNetwork.from_config(json.loads((folder / CONFIG_FILE).read_text("utf-8")))
            load_strictly(network, load_file(folder / WEIGHTS_FILE))
            return cls(network, json.loads((folder / FIGURES_FILE).read_text("utf-8")))
        except Exception as error:  # an invalid config fails in several libraries with different exceptions
            raise PackError(f"The judge in {folder} cannot be loaded: {error}", "Reinstall ReWaS.") from error

    def classify(self, log_mels: torch.Tensor) -> NDArray[np.float32]:
        """Classify log-mels.

        Args:
            log_mels: [B, T, 64] nats, T at least 8; training used 512. The level does not matter if the floor of
                the log-mel is at least 9 nats below its peak. Clips do not affect each other.

        Returns:
            Probabilities [B, C].
        """
        with torch.inference_mode():
            parts = [
                self.network(part.float().cpu())[:, self._columns].softmax(dim=-1)
                for part in log_mels.split(BATCH_CLIPS)
            ]
        return torch.cat(parts).numpy() if parts else np.empty((0, len(self.classes)), np.float32)

    def describe(self, log_mels: torch.Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features [B, D] before the last layer, and class scores [B, C], of log-mels as for `classify`."""
        with torch.inference_mode():
            features = torch.cat([self.network.pool(part.float().cpu()) for part in log_mels.split(BATCH_CLIPS)])
            return features.numpy(), self.network.scores(features)[:, self._columns].numpy()

    def names(self, log_mels: torch.Tensor) -> list[str]:
        """Return the most likely class of each log-mel [B, T, 64]."""
        return [self.classes[row] for row in self.classify(log_mels).argmax(axis=1)]


def confusion(true: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """Confusion table [C, C]: how often each class (row) was classified as each class (column).

    Raises:
        SettingsError: A name is not among the classes, or the lengths differ.
    """
    if len(true) != len(predicted):
        raise SettingsError(
            f"There are {len(true)} true classes, but {len(predicted)} predicted ones.", "Give one of each per clip."
        )
    row_of = {name: row for row, name in enumerate(classes)}
    unknown = sorted({*true, *predicted} - row_of.keys())
    if unknown:
        raise SettingsError(f"The judge has no class {unknown[0]!r}.", f"Choose from {', '.join(classes)}.")
    table = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(table, ([row_of[name] for name in true], [row_of[name] for name in predicted]), 1)
    return table


def accuracy(table: NDArray[np.int64]) -> float | None:
    """Share of clips on the diagonal of a confusion table; None for an empty table."""
    return float(np.trace(table) / table.sum()) if table.sum() else None


def class_accuracies(table: NDArray[np.int64], classes: Sequence[str]) -> dict[str, float]:
    """Accuracy of each class that has clips."""
    return {name: float(table[row, row] / table[row].sum()) for row, name in enumerate(classes) if table[row].sum()}
