"""The conflict check on scenes with known answers: scores, verdicts, spans and suggestions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import PackError, SettingsError
from rewas_engine.evaluation.bench import Bench
from rewas_engine.evaluation.figures import Figure, Section, unsupported_figure
from rewas_engine.evaluation.joint_retrieval import calibration_error, calibration_table, ranking_auc, relations
from rewas_engine.evaluation.splits import Split
from rewas_engine.matching.embedding_matcher import EmbeddingMatcher, VideoEmbedding
from rewas_engine.matching.evidence import Evidence, conflict_report, gather_evidence
from rewas_engine.matching.report import ConflictReport, ConflictSpan
from rewas_engine.pipeline import ReWaS
from rewas_engine.world import Scene, render_brightness

WRONG_PROMPTS = 4
"""Number of other clips' prompts that each video is compared with."""
FOUND_FROM = 0.5
"""Intersection over union at which the mismatched half of a clip counts as found."""


@dataclass(frozen=True, eq=False)
class CheckedPrompt:
    """The check of one prompt against one video.

    Attributes:
        own: Whether the prompt belongs to the video.
        belongs: 1 if both have the same class, 0 if one is the background of the other, -1 otherwise.
        report: The report of the check.
        names_it: Whether a suggestion names the class in the video.
    """

    own: bool
    belongs: int
    report: ConflictReport
    names_it: bool


@dataclass(frozen=True, eq=False)
class HalvedClip:
    """The check of a video whose second half, from border_s on, does not match the prompt."""

    report: ConflictReport
    evidence: Evidence
    prompt: str
    border_s: Fraction
    end_s: Fraction

    @property
    def overlap(self) -> float:
        """Intersection over union of the reported spans and the mismatched half."""
        wrong_s = self.end_s - self.border_s
        return float(self._correctly_reported_s / (self._reported_s + wrong_s - self._correctly_reported_s))

    @property
    def false_share(self) -> float:
        """Share of the matching half that is wrongly reported as a conflict."""
        return float((self._reported_s - self._correctly_reported_s) / self.border_s)

    @property
    def _reported_s(self) -> Fraction:
        return sum((span.end_s - span.start_s for span in self.report.spans), Fraction(0))

    @property
    def _correctly_reported_s(self) -> Fraction:
        return sum((_duration_after(span, self.border_s) for span in self.report.spans), Fraction(0))


def _duration_after(span: ConflictSpan, border_s: Fraction) -> Fraction:
    return max(Fraction(0), span.end_s - max(span.start_s, border_s))


def judge_scenes(
    model: ReWaS, scenes: Sequence[Scene], on_scene: Callable[[int, int], object] | None = None
) -> tuple[list[CheckedPrompt], list[HalvedClip]]:
    """Check the videos of scenes against their own prompts and those of other scenes.

    Each video is checked alone, and also against its own prompt when another scene's video follows it.

    Args:
        model: A pack whose own joint space does the check.
        scenes: Audible scenes with a visible source, of two classes or more.
        on_scene: Called with finished and total scenes.

    Raises:
        PackError: The conflict check of the pack does not use a joint space.
        SettingsError: There are too few scenes.
    """
    matcher = model.matcher
    if not isinstance(matcher, EmbeddingMatcher):
        raise PackError(
            f"The pack {model.pack.name} has no joint space for the conflict check.", "Use a pack with a joint space."
        )
    if len({scene.class_name for scene in scenes}) < 2 or len(scenes) <= WRONG_PROMPTS:
        raise SettingsError("There are too few clips to compare.", "Use more scenes.")
    rate, width, height = model.frame_format
    pictures = [render_brightness(scene, frame_rate=rate, width=width, height=height) for scene in scenes]
    meanings = {label.text: label.meaning for label in matcher.labels}
    relation = relations(scenes)

    def check(prompt: str, embedding: VideoEmbedding) -> tuple[ConflictReport, Evidence]:
        evidence = gather_evidence(matcher, prompt, matcher.score_embedding(prompt, embedding))
        return conflict_report(prompt, evidence, matcher.name), evidence

    judged, halved = [], []
    for number, (scene, frames) in enumerate(zip(scenes, pictures, strict=True)):
        embedding = matcher.embed(frames)
        meant = matcher.familiarity(scene.caption)[0]
        # Spread over all clips, so that no two clips swap their prompts.
        others = [(number + 1 + step * len(scenes) // WRONG_PROMPTS) % len(scenes) for step in range(WRONG_PROMPTS)]
        for other in dict.fromkeys([number, *others]):
            report, _ = check(scenes[other].caption, embedding)
            named = any(meanings[better.text] == meant for better in report.suggestions)
            judged.append(CheckedPrompt(other == number, int(relation[number, other]), report, named))
        after = next((other for other in others if relation[number, other] < 0), None)
        if after is not None:
            both = matcher.embed(np.concatenate([frames, pictures[after]]))
            report, evidence = check(scene.caption, both)
            border_s = Fraction(len(frames)) / rate
            end_s = border_s + Fraction(len(pictures[after])) / rate
            halved.append(HalvedClip(report, evidence, scene.caption, border_s, end_s))
        if on_scene is not None:
            on_scene(number + 1, len(scenes))
    return judged, halved


def conflict_section(bench: Bench, split: Split, scenes: int) -> Section:
    """Build the section: separation of right and wrong prompts, calibration, spans and suggestions."""
    if not isinstance(bench.model.matcher, EmbeddingMatcher):
        figure = unsupported_figure("conflict_auc", _AUC, "the pack has no joint space for the conflict check")
        return Section("conflict", "Conflict between prompt and video", (figure,))
    chosen = [scene for scene in split.any_scenes(scenes) if not (scene.is_silent or scene.off_screen)]
    judged, halved = judge_scenes(
        bench.model, chosen, lambda done, total: bench.watch.report("Prompts and videos", done, total)
    )
    return build_section(judged, halved)


def build_section(judged: Sequence[CheckedPrompt], halved: Sequence[HalvedClip]) -> Section:
    """Compute the section's figures from all checks."""
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
        ("right_agree", "Right prompts with verdict agree", share(own, "agree")),
        ("right_conflict", "Right prompts with verdict conflict", share(own, "conflict")),
        ("wrong_agree", "Another class's prompts with verdict agree", share(apart, "agree")),
        ("wrong_conflict", "Another class's prompts with verdict conflict", share(apart, "conflict")),
        ("suggested", "Conflicts whose suggestions name the class in the video", _mean(suggested)),
        ("half_found", "Mismatched halves found", _mean(overlaps >= FOUND_FROM)),
        ("half_overlap", "Overlap of reported moments with the mismatched half (IoU)", _mean(overlaps)),
        (
            "half_false",
            "Share of the matching half reported as a conflict",
            _mean(np.array([one.false_share for one in halved])),
        ),
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
    plot_data = {"right": scores[own], "wrong": scores[apart], "halved": _typical(halved)}
    return Section("conflict", "Conflict between prompt and video", figures, details, plot_data)


def _typical(halved: Sequence[HalvedClip]) -> HalvedClip | None:
    """The clip with the median overlap."""
    return sorted(halved, key=lambda one: one.overlap)[len(halved) // 2] if halved else None


def _mean(values: NDArray[np.generic]) -> float | None:
    return float(np.mean(values.astype(np.float64))) if values.size else None


_AUC = "Right against shuffled prompts (AUC)"
