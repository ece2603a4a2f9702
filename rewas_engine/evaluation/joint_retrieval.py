"""Retrieval and calibration of a joint space on prompts, videos and sounds of held-out scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.levels import normalise
from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import PackError, SettingsError
from rewas_engine.matching.embedding import JointScorer
from rewas_engine.models.joint import PAIRS
from rewas_engine.pipeline import ReWaS
from rewas_engine.world import Scene, has_picture, held_out_captions, render_brightness, render_sound

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class CalibrationBin:
    """Pairs whose probability is in one tenth of the range.

    Attributes:
        probability: Mean predicted probability.
        share: Share of matching pairs, with right and wrong pairs weighted equally.
        pairs: Number of pairs.
        weight: Share of all pairs, with the same weights.
    """

    probability: float
    share: float
    pairs: int
    weight: float


@dataclass(frozen=True)
class PairFigures:
    """Figures of one pair of modalities.

    Attributes:
        auc: How often the right partner is closer than that of a clip of another class.
        shuffled_auc: How often the right partner is closer than that of any other clip, including indistinguishable
            clips of the same class.
        paraphrase_auc: Like auc, with phrases that training has not used; None without prompts.
        calibration: The tenths of the range of probability that contain pairs.
    """

    auc: float
    shuffled_auc: float
    paraphrase_auc: float | None
    calibration: tuple[CalibrationBin, ...]


@dataclass(frozen=True)
class JointFigures:
    """Figures by pair.

    Attributes:
        pairs: Figures for each of `rewas_engine.models.joint.PAIRS`.
        heard: Number of scenes with sound.
        seen: Number of scenes with a visible source.
        seen_classes: Prompts and sounds of classes with a picture only; None if there are no others.
    """

    pairs: dict[str, PairFigures] = field(default_factory=dict)
    heard: int = 0
    seen: int = 0
    seen_classes: PairFigures | None = None

    def summary(self) -> dict[str, float]:
        """Return the areas under the curve by name."""
        figures: dict[str, float] = {"joint_scenes_heard": self.heard, "joint_scenes_seen": self.seen}
        for pair, found in self.pairs.items():
            figures[f"joint_{pair}_auc"] = round(found.auc, 4)
            figures[f"joint_{pair}_shuffled_auc"] = round(found.shuffled_auc, 4)
            if found.paraphrase_auc is not None:
                figures[f"joint_{pair}_paraphrase_auc"] = round(found.paraphrase_auc, 4)
        return figures


def measure_joint(
    model: ReWaS, scenes: Sequence[Scene], *, on_scene: Callable[[int, int], object] | None = None
) -> JointFigures:
    """Compare the prompts, videos and sounds of scenes with those of all others.

    Silent scenes and videos of scenes with their source off screen are left out, because their class cannot be
    recognised. A pair in which one class is the background of the other counts as neither right nor wrong.

    Args:
        model: A pack with a joint space.
        scenes: The scenes.
        on_scene: Called with finished and total scenes.

    Raises:
        PackError: The pack has no joint space.
        SettingsError: Fewer than two classes are audible and visible.
    """
    scorer = model.joint_scorer
    if scorer is None:
        raise PackError(f"The pack {model.pack.name} has no joint space.", "Use a pack with a joint space.")
    rate, width, height = model.frame_format
    heard = [scene for scene in scenes if not scene.is_silent]
    seen = [position for position, scene in enumerate(heard) if not scene.off_screen]
    for classes in ({scene.class_name for scene in heard}, {heard[position].class_name for position in seen}):
        if len(classes) < 2:
            raise SettingsError("There are fewer than two classes to compare.", "Use more scenes.")
    sounds, pictures = [], []
    for number, scene in enumerate(heard):
        sounds.append(scorer.embed_sound(model.front_end.encode(normalise(render_sound(scene)))).cpu().numpy())
        if not scene.off_screen:
            frames = render_brightness(scene, frame_rate=rate, width=width, height=height)
            pictures.append(scorer.embed_video(frames).cpu().numpy())
        if on_scene is not None:
            on_scene(number + 1, len(heard))
    words = scorer.embed_text([scene.caption for scene in heard]).cpu().numpy()
    unseen = scorer.embed_text([_paraphrase(scene, number) for number, scene in enumerate(heard)]).cpu().numpy()
    shown, relation = np.stack(pictures), relations(heard)
    of_seen = relation[np.ix_(seen, seen)]
    by_words, by_paraphrase = words @ np.stack(sounds).T, unseen @ np.stack(sounds).T
    cosines = {
        "text_sound": (by_words, by_paraphrase, relation),
        "text_picture": (words[seen] @ shown.T, unseen[seen] @ shown.T, of_seen),
        "picture_sound": (shown @ np.stack(sounds)[seen].T, None, of_seen),
    }
    kept = [position for position, scene in enumerate(heard) if has_picture(scene.class_name)]
    alone = np.ix_(kept, kept)
    return JointFigures(
        {pair: pair_figures(scorer, pair, *cosines[pair]) for pair in PAIRS},
        len(heard),
        len(seen),
        None
        if len(kept) == len(heard)
        else pair_figures(scorer, "text_sound", by_words[alone], by_paraphrase[alone], relation[alone]),
    )


def pair_figures(
    scorer: JointScorer, pair: str, cosines: FloatArray, paraphrased: FloatArray | None, relation: NDArray[np.int64]
) -> PairFigures:
    """Figures of the cosines [N, N] between N items and their N partners; see `relations`."""
    own, others = np.eye(len(cosines), dtype=bool), ~np.eye(len(cosines), dtype=bool)
    apart, counts = relation < 0, relation != 0
    return PairFigures(
        auc=ranking_auc(cosines[own], cosines[apart]),
        shuffled_auc=ranking_auc(cosines[own], cosines[others]),
        paraphrase_auc=None if paraphrased is None else ranking_auc(paraphrased[own], paraphrased[apart]),
        calibration=calibration_table(scorer.probabilities(pair, cosines[counts]), relation[counts] > 0),
    )


def relations(scenes: Sequence[Scene]) -> NDArray[np.int64]:
    """Relation of scenes, [N, N]: 1 for the same class, 0 if they share a sound in another way, else -1."""
    primary = np.array([scene.class_name for scene in scenes])
    behind = np.array([scene.ambience.class_name if scene.ambience is not None else "" for scene in scenes])
    mixed = primary[:, None] == behind[None]
    both = (behind[:, None] == behind[None]) & (behind[:, None] != "")
    return np.where(primary[:, None] == primary[None], 1, np.where(mixed | mixed.T | both, 0, -1))


def ranking_auc(right: NDArray[np.floating[Any]], wrong: NDArray[np.floating[Any]]) -> float:
    """Exact area under the ROC curve: how often a right score is above a wrong one. A tie counts as half.

    Args:
        right: [N] scores.
        wrong: [M] scores.

    Raises:
        SettingsError: One of the two is empty.
    """
    if not right.size or not wrong.size:
        raise SettingsError("There are no right or no wrong scores to compare.", "Give at least one of each.")
    ordered = np.sort(wrong)
    below = np.searchsorted(ordered, right, side="left").astype(np.float64)
    not_above = np.searchsorted(ordered, right, side="right")
    return float(((below + not_above) / 2).mean() / wrong.size)


def calibration_error(probabilities: NDArray[np.floating], truths: NDArray[np.bool_]) -> float:
    """Expected calibration error over tenths of probability, with right and wrong pairs weighted equally.

    Returns:
        Mean difference, 0..1, between the predicted probability and the share of matching pairs.
    """
    tenths = calibration_table(probabilities, truths)
    return sum(tenth.weight * abs(tenth.probability - tenth.share) for tenth in tenths)


def calibration_table(probabilities: NDArray[np.floating], truths: NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    """Divide pairs into tenths of the range of probability, from low to high, without empty ones.

    Right and wrong pairs are weighted equally, as the probability assumes.

    Args:
        probabilities: [N], 0..1.
        truths: [N], whether each pair matches.

    Raises:
        SettingsError: There are only right or only wrong pairs.
    """
    if truths.all() or not truths.any():
        raise SettingsError("There are only right or only wrong pairs.", "Give at least one of each.")
    weights = np.where(truths, 0.5 / truths.sum(), 0.5 / (~truths).sum())
    tenths = np.minimum((probabilities * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    table = []
    for tenth in np.unique(tenths):
        held = tenths == tenth
        mean, share = (np.average(values[held], weights=weights[held]) for values in (probabilities, truths))
        table.append(CalibrationBin(float(mean), float(share), int(held.sum()), float(weights[held].sum())))
    return tuple(table)


def _paraphrase(scene: Scene, number: int) -> str:
    phrases = held_out_captions(scene.class_name)
    return phrases[number % len(phrases)]
