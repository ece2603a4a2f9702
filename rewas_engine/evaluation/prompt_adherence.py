"""Does it say the right thing: the class that the judge hears, with own and with foreign energy, in unseen words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.evaluation.curve_agreement import certainty
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.judge import Judge, accuracy, class_accuracies, confusion
from rewas_engine.evaluation.test_bench import Bench, BenchClip

JUDGED_AT_ONCE = 64
CONDITIONS = ("real", "plain", "vocoded", "swapped", "paraphrased")
"""What is judged: the real clips; plain prompts, the same after the vocoder, with another class's energy, and unseen
words."""

Table = NDArray[np.int64]


def words_section(bench: Bench) -> Section:
    """Right classes in every condition, and the confusion of plain prompts."""
    classes = bench.judge.classes
    true = [clip.class_name for clip in bench.clips]
    log_mels = {
        "real": np.stack([clip.log_mel for clip in bench.clips]),
        "plain": bench.plain,
        "vocoded": bench.plain_heard,
        "swapped": bench.swapped,
        "paraphrased": bench.paraphrased,
    }
    heard = {name: heard_classes(bench.judge, made) for name, made in log_mels.items()}
    tables = {name: confusion(true, names, classes) for name, names in heard.items()}
    right = {name: np.equal(true, names).astype(np.float64) for name, names in heard.items()}
    shares = {name: accuracy(table) or 0.0 for name, table in tables.items()}
    by_class = {name: class_accuracies(table, classes) for name, table in tables.items()}
    worst, worst_vocoded = (min(by_class[name].items(), key=lambda row: row[1]) for name in ("plain", "vocoded"))
    figures = (
        Figure("real_class", "Right class, real clips", shares["real"], note="what the judge itself can do"),
        Figure("class", "Right class, plain prompts", shares["plain"]),
        Figure("class_worst", "Right class, worst class", worst[1], note=worst[0].replace("_", " ")),
        Figure("class_swapped", "Right class, another class's energy", shares["swapped"]),
        Figure("class_paraphrased", "Right class, unseen paraphrases", shares["paraphrased"]),
        Figure(
            "paraphrase_drop_points",
            "Unseen paraphrases below plain prompts",
            100 * (shares["plain"] - shares["paraphrased"]),
            "points",
            note=certainty(100 * (right["plain"] - right["paraphrased"])),
        ),
        Figure("vocoded_class", "Right class after the vocoder", shares["vocoded"]),
        Figure(
            "vocoded_class_worst",
            "Right class after the vocoder, worst class",
            worst_vocoded[1],
            note=worst_vocoded[0].replace("_", " "),
        ),
    )
    details = {
        "classes": list(classes),
        "by_class": {name: {key: round(value, 4) for key, value in row.items()} for name, row in by_class.items()},
        "confusion": {name: table.tolist() for name, table in tables.items()},
        "confused_most": {name: confused_most(tables[name], classes) for name in ("plain", "swapped", "paraphrased")},
    }
    return Section("words", "Words", figures, details)


def heard_classes(judge: Judge, log_mels: NDArray[np.float32]) -> list[str]:
    """The class that the judge hears in each of log-mels [N, T, bins]."""
    parts = torch.from_numpy(np.ascontiguousarray(log_mels)).split(JUDGED_AT_ONCE)
    return [name for part in parts for name in judge.names(part)]


def right_share(judge: Judge, clips: Sequence[BenchClip], log_mels: NDArray[np.float32]) -> float:
    """Share of log-mels [N, T, bins] that the judge takes for what their clips should be."""
    heard = heard_classes(judge, log_mels)
    return float(np.mean([clip.class_name == name for clip, name in zip(clips, heard, strict=True)]))


def confused_most(table: Table, classes: Sequence[str], pairs: int = 8) -> list[dict[str, object]]:
    """The most frequent mistakes of a confusion table [C, C], most frequent first."""
    wrong = table.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:pairs]
    places = [divmod(int(place), len(table)) for place in order]
    return [
        {"asked": classes[row], "heard": classes[column], "clips": int(wrong[row, column])}
        for row, column in places
        if wrong[row, column]
    ]
