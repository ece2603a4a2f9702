"""The conflict check as its users get it: scores, verdicts, moments and better words, on scenes with known answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import PackError, SettingsError
from rewas_engine.evaluation.figures import Figure, Section, not_supported
from rewas_engine.evaluation.joint_retrieval import calibration_error, calibration_table, ranking_auc, relations
from rewas_engine.evaluation.splits import Split
from rewas_engine.evaluation.test_bench import Bench
from rewas_engine.matching.embedding_matcher import EmbeddingMatcher, VideoEmbedding
from rewas_engine.matching.evidence import Evidence, conflict_report, gather_evidence
from rewas_engine.matching.report import ConflictMoment, ConflictReport
from rewas_engine.pipeline import ReWaS
from rewas_engine.world import Scene, render_brightness

WRONG_PROMPTS = 4
"""Prompts of other clips that each picture is held against."""
FOUND_FROM = 0.5
"""Intersection over union from which the half of a clip that shows something else is found."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One prompt before one picture.

    own: whether the prompt is the picture's own. belongs: 1 where both are of one class, 0 where one sounds behind the
    other, -1 where they do not belong together. names_it: whether a suggestion means what the picture is of.
    """

    own: bool
    belongs: int
    report: ConflictReport
    names_it: bool


@dataclass(frozen=True, eq=False)
class Halved:
    """A picture whose second half, from border_s on, is of another class than its prompt."""

    report: ConflictReport
    evidence: Evidence
    prompt: str
    border_s: Fraction
    end_s: Fraction

    @property
    def overlap(self) -> float:
        """Intersection over union of the moments that were told and the half that shows something else."""
        wrong_s = self.end_s - self.border_s
        return float(self._rightly_told_s / (self._told_s + wrong_s - self._rightly_told_s))

    @property
    def false_share(self) -> float:
        """Part of the half that goes with the prompt of which it was told that it does not."""
        return float((self._told_s - self._rightly_told_s) / self.border_s)

    @property
    def _told_s(self) -> Fraction:
        return sum((moment.end_s - moment.start_s for moment in self.report.moments), Fraction(0))

    @property
    def _rightly_told_s(self) -> Fraction:
        return sum((_after(moment, self.border_s) for moment in self.report.moments), Fraction(0))


def _after(moment: ConflictMoment, border_s: Fraction) -> Fraction:
    return max(Fraction(0), moment.end_s - max(moment.start_s, border_s))


def judge_scenes(
    model: ReWaS, scenes: Sequence[Scene], on_scene: Callable[[int, int], object] | None = None
) -> tuple[list[Judged], list[Halved]]:
    """Hold each scene's picture, alone and followed by another's, against its own prompt and those of others.

    scenes: heard and in the picture, of two classes or more. Raises PackError for a pack whose own joint space does not
    do the check, SettingsError for too few scenes.
    """
    matcher = model.matcher
    if not isinstance(matcher, EmbeddingMatcher):
        raise PackError(f"The pack {model.pack.name} has no joint space that checks.", "Measure a pack with one.")
    if len({scene.class_name for scene in scenes}) < 2 or len(scenes) <= WRONG_PROMPTS:
        raise SettingsError("There are too few clips to tell apart.", "Measure more scenes.")
    rate, width, height = model.picture_format
    pictures = [render_brightness(scene, frame_rate=rate, width=width, height=height) for scene in scenes]
    meanings = {label.words: label.meaning for label in matcher.labels}
    relation = relations(scenes)

    def held_against(prompt: str, looked: VideoEmbedding) -> tuple[ConflictReport, Evidence]:
        evidence = gather_evidence(matcher, prompt, matcher.sighting(prompt, looked))
        return conflict_report(prompt, evidence, matcher.name), evidence

    judged, halved = [], []
    for number, (scene, frames) in enumerate(zip(scenes, pictures, strict=True)):
        looked = matcher.look(frames)
        meant = matcher.familiarity(scene.caption)[0]
        # Spread over all clips, so that no two clips trade their prompts.
        others = [(number + 1 + step * len(scenes) // WRONG_PROMPTS) % len(scenes) for step in range(WRONG_PROMPTS)]
        for other in dict.fromkeys([number, *others]):
            report, _ = held_against(scenes[other].caption, looked)
            named = any(meanings[better.words] == meant for better in report.suggestions)
            judged.append(Judged(other == number, int(relation[number, other]), report, named))
        after = next((other for other in others if relation[number, other] < 0), None)
        if after is not None:
            both = matcher.look(np.concatenate([frames, pictures[after]]))
            report, evidence = held_against(scene.caption, both)
            border_s = Fraction(len(frames)) / rate
            end_s = border_s + Fraction(len(pictures[after])) / rate
            halved.append(Halved(report, evidence, scene.caption, border_s, end_s))
        if on_scene is not None:
            on_scene(number + 1, len(scenes))
    return judged, halved


def conflict_section(bench: Bench, split: Split, scenes: int) -> Section:
    """How well the check tells right prompts from wrong ones, how honest its scores are, and what it says."""
    if not isinstance(bench.model.matcher, EmbeddingMatcher):
        figure = not_supported("conflict_auc", _AUC, "the pack has no joint space that checks")
        return Section("conflict", "Conflict between words and picture", (figure,))
    chosen = [scene for scene in split.any_scenes(scenes) if not (scene.is_silent or scene.off_screen)]
    judged, halved = judge_scenes(
        bench.model, chosen, lambda done, total: bench.watch.tell("Words and pictures", done, total)
    )
    return section_of(judged, halved)


def section_of(judged: Sequence[Judged], halved: Sequence[Halved]) -> Section:
    """The figures of what was judged."""
    scores = np.array([one.report.score for one in judged], np.float64)
    own, belongs = np.array([one.own for one in judged]), np.array([one.belongs for one in judged])
    counts, apart = belongs != 0, belongs < 0
    verdicts = np.array([one.report.verdict for one in judged])
    suggested = np.array([one.names_it for one in judged])[apart & (verdicts == "conflict")]
    overlaps = np.array([one.overlap for one in halved])

    def share(among: NDArray[np.bool_], verdict: str) -> float:
        return float((verdicts[among] == verdict).mean())

    measured: tuple[tuple[str, str, float | None], ...] = (
        ("auc", _AUC, ranking_auc(scores[own], scores[~own])),
        ("auc_other_class", "Right against another class's prompts (AUC)", ranking_auc(scores[own], scores[apart])),
        ("ece", "Calibration error of the score (ECE)", calibration_error(scores[counts], belongs[counts] > 0)),
        ("right_agree", "Right prompts that agree", share(own, "agree")),
        ("right_conflict", "Right prompts called a conflict", share(own, "conflict")),
        ("wrong_agree", "Another class's prompts that agree", share(apart, "agree")),
        ("wrong_conflict", "Another class's prompts called a conflict", share(apart, "conflict")),
        ("suggested", "Conflicts whose suggestions name the picture", _mean(suggested)),
        ("half_found", "Half that shows something else found", _mean(overlaps >= FOUND_FROM)),
        ("half_overlap", "Its overlap with what was told (IoU)", _mean(overlaps)),
        ("half_false", "Of the right half told to be wrong", _mean(np.array([one.false_share for one in halved]))),
    )
    figures = tuple(Figure(f"conflict_{key}", label, value) for key, label, value in measured)
    table = calibration_table(scores[counts], belongs[counts] > 0)
    details = {
        "prompts": {"right": int(own.sum()), "wrong": int((~own).sum()), "another_class": int(apart.sum())},
        "halved_clips": len(halved),
        "calibration": [
            {"probability": round(tenth.probability, 4), "share": round(tenth.share, 4), "pairs": tenth.pairs}
            for tenth in table
        ],
    }
    drawn = {"right": scores[own], "wrong": scores[apart], "halved": _typical(halved)}
    return Section("conflict", "Conflict between words and picture", figures, details, drawn)


def _typical(halved: Sequence[Halved]) -> Halved | None:
    """The one of middling overlap."""
    return sorted(halved, key=lambda one: one.overlap)[len(halved) // 2] if halved else None


def _mean(values: NDArray[np.generic]) -> float | None:
    return float(np.mean(values.astype(np.float64))) if values.size else None


_AUC = "Right against shuffled prompts (AUC)"
