"""Prompt adherence: whether the judge recognises the prompted class, in several conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.evaluation.bench import Bench, BenchClip
from rewas_engine.evaluation.curve_agreement import mean_note
from rewas_engine.evaluation.figures import Figure, Section, unsupported_figure
from rewas_engine.evaluation.figures_with_picture import figure_with_picture
from rewas_engine.evaluation.judge import Judge, accuracy, class_accuracies, confusion
from rewas_engine.evaluation.sound_sources import NO_VOCODER

BATCH_CLIPS = 64
CONDITIONS = ("real", "plain", "vocoded", "swapped", "paraphrased")
"""Real clips, plain prompts before the vocoder, plain prompts after it (if the pack has one), energy of another class,
and unseen paraphrases."""
_LABELS = {
    "real": ("real_class", "Class accuracy, original sounds"),
    "plain": ("class", "Class accuracy, plain prompts"),
    "vocoded": ("vocoded_class", "Class accuracy after the vocoder"),
    "swapped": ("class_swapped", "Class accuracy, another class's energy"),
    "paraphrased": ("class_paraphrased", "Class accuracy, unseen paraphrases"),
}
"""Key and label of the figure of each condition."""

Table = NDArray[np.int64]


def prompt_section(bench: Bench) -> Section:
    """Build the section: class accuracy and confusion table in every condition."""
    classes = bench.judge.classes
    true = [clip.class_name for clip in bench.clips]
    log_mels = {
        "real": np.stack([clip.log_mel for clip in bench.clips]),
        "plain": bench.plain,
        **({"vocoded": bench.plain_vocoded} if bench.source.has_vocoder else {}),
        "swapped": bench.swapped,
        "paraphrased": bench.paraphrased,
    }
    judged = {name: classify_sounds(bench.judge, mels) for name, mels in log_mels.items()}
    tables = {name: confusion(true, names, classes) for name, names in judged.items()}
    right = {name: np.equal(true, names).astype(np.float64) for name, names in judged.items()}
    shares = {name: accuracy(table) or 0.0 for name, table in tables.items()}
    by_class = {name: class_accuracies(table, classes) for name, table in tables.items()}
    worst = _worst(by_class["plain"])
    figures = (
        Figure(*_LABELS["real"], shares["real"], note="limit of the judge"),
        Figure(*_LABELS["plain"], shares["plain"]),
        Figure("class_worst", "Class accuracy, worst class", worst[1], note=worst[0].replace("_", " ")),
        Figure(*_LABELS["swapped"], shares["swapped"]),
        Figure(*_LABELS["paraphrased"], shares["paraphrased"]),
        Figure(
            "paraphrase_drop_points",
            "Drop from plain prompts to unseen paraphrases",
            100 * (shares["plain"] - shares["paraphrased"]),
            "points",
            note=mean_note(100 * (right["plain"] - right["paraphrased"])),
        ),
        *_vocoded_figures(shares, by_class),
        *chain.from_iterable(
            figure_with_picture(*_LABELS[name], bench.clips, row.tolist()) for name, row in right.items()
        ),
    )
    details = {
        "classes": list(classes),
        "by_class": {name: {key: round(value, 4) for key, value in row.items()} for name, row in by_class.items()},
        "confusion": {name: table.tolist() for name, table in tables.items()},
        "confused_most": {name: top_confusions(tables[name], classes) for name in ("plain", "swapped", "paraphrased")},
    }
    return Section("words", "Words", figures, details)


def _vocoded_figures(shares: Mapping[str, float], by_class: Mapping[str, Mapping[str, float]]) -> tuple[Figure, Figure]:
    mean = _LABELS["vocoded"]
    lowest = ("vocoded_class_worst", "Class accuracy after the vocoder, worst class")
    if "vocoded" not in shares:
        return unsupported_figure(*mean, NO_VOCODER), unsupported_figure(*lowest, NO_VOCODER)
    name, share = _worst(by_class["vocoded"])
    return Figure(*mean, shares["vocoded"]), Figure(*lowest, share, note=name.replace("_", " "))


def _worst(by_class: Mapping[str, float]) -> tuple[str, float]:
    """The class with the lowest accuracy, and that accuracy."""
    return min(by_class.items(), key=lambda row: row[1])


def classify_sounds(judge: Judge, log_mels: NDArray[np.float32]) -> list[str]:
    """Classify log-mels [N, T, bins] with the judge."""
    parts = torch.from_numpy(np.ascontiguousarray(log_mels)).split(BATCH_CLIPS)
    return [name for part in parts for name in judge.names(part)]


def share_correct(judge: Judge, clips: Sequence[BenchClip], log_mels: NDArray[np.float32]) -> float:
    """Share of log-mels [N, T, bins] that the judge assigns to their clips' classes."""
    judged = classify_sounds(judge, log_mels)
    return float(np.mean([clip.class_name == name for clip, name in zip(clips, judged, strict=True)]))


def top_confusions(table: Table, classes: Sequence[str], pairs: int = 8) -> list[dict[str, object]]:
    """The most frequent confusions of a table [C, C], most frequent first."""
    wrong = table.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:pairs]
    places = [divmod(int(place), len(table)) for place in order]
    return [
        {"asked": classes[row], "heard": classes[column], "clips": int(wrong[row, column])}
        for row, column in places
        if wrong[row, column]
    ]
