"""The joint space: matching prompts, videos and sounds, and generated sounds with their prompts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.bench import Bench
from rewas_engine.evaluation.figures import Figure, Section, unsupported_figure
from rewas_engine.evaluation.joint_retrieval import PairFigures, measure_joint
from rewas_engine.evaluation.splits import Split
from rewas_engine.world import CLASS_NAMES

_NAMES = {"text_picture": "picture", "text_sound": "sound", "picture_sound": "picture_sound"}
_LABELS = {
    "text_picture": "prompts and videos",
    "text_sound": "prompts and sounds",
    "picture_sound": "videos and sounds",
}


def joint_section(bench: Bench, split: Split, scenes: int, *, unseen_classes: Sequence[str] = ()) -> Section:
    """Build the section: ROC areas of right against shuffled partners, and cosines of sounds with prompts.

    Args:
        bench: The pack with its clips.
        split: Source of the scenes.
        scenes: Number of scenes of the classes with a picture.
        unseen_classes: Classes without a picture, which get as many scenes each.
    """
    scorer = bench.model.joint_scorer
    if scorer is None:
        why = "the pack has no joint space"
        figures = [
            unsupported_figure(f"joint_auc_{_NAMES[pair]}", f"Right against shuffled, {_LABELS[pair]} (AUC)", why)
            for pair in ("text_picture", "text_sound")
        ]
        return Section("joint", "Joint space", tuple(figures))
    watch = bench.watch
    drawn = split.any_scenes(scenes)
    if unseen_classes:
        drawn = [*drawn, *split.unseen(round(scenes * len(unseen_classes) / len(CLASS_NAMES)), unseen_classes)]
    figures_by_pair = measure_joint(
        bench.model, drawn, on_scene=lambda done, total: watch.report("Joint space", done, total)
    )
    figures = [figure for pair, row in figures_by_pair.pairs.items() for figure in _figures(pair, row)]
    if figures_by_pair.seen_classes is not None:
        figures += [
            Figure(f"{figure.key}_with_picture", f"{figure.label}, classes with a picture", figure.value)
            for figure in _figures("text_sound", figures_by_pair.seen_classes)
        ]
    words = scorer.embed_text([clip.plain for clip in bench.clips]).cpu().numpy()

    def mean_cosine(log_mels: Sequence[FloatArray] | NDArray[np.float32]) -> float:
        sounds = np.stack([scorer.embed_sound(torch.from_numpy(log_mel)).cpu().numpy() for log_mel in log_mels])
        return float((words * sounds).sum(axis=1).mean())

    made, real = (f"Prompts against {which} sounds, mean cosine (CLAP-like)" for which in ("generated", "original"))
    if bench.model.pack.is_library:
        figures.append(unsupported_figure("joint_score_made", made, "recordings are not scored in the joint space"))
    else:
        figures.append(Figure("joint_score_made", made, mean_cosine(bench.plain)))
    figures.append(Figure("joint_score_real", real, mean_cosine([clip.log_mel for clip in bench.clips])))
    details = {
        "scenes": {"heard": figures_by_pair.heard, "seen": figures_by_pair.seen},
        "calibration": {
            pair: [
                {"probability": round(tenth.probability, 4), "share": round(tenth.share, 4), "pairs": tenth.pairs}
                for tenth in row.calibration
            ]
            for pair, row in figures_by_pair.pairs.items()
        },
    }
    return Section("joint", "Joint space", tuple(figures), details)


def _figures(pair: str, row: PairFigures) -> list[Figure]:
    name, label = _NAMES[pair], _LABELS[pair]
    figures = [
        Figure(f"joint_auc_{name}", f"Right against shuffled, {label} (AUC)", row.shuffled_auc),
        Figure(f"joint_auc_{name}_other_class", f"Right against another class's, {label} (AUC)", row.auc),
    ]
    if row.paraphrase_auc is not None:
        key = f"joint_auc_{name}_paraphrased"
        figures.append(Figure(key, f"The same with unseen phrasings, {label} (AUC)", row.paraphrase_auc))
    return figures
