"""The conflict check: evidence over time, and the verdict that follows from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.curve import find_runs
from rewas_engine.matching.label_bank import Label
from rewas_engine.matching.report import ConflictReport, ConflictSpan, Suggestion, VerdictName
from rewas_engine.media.probe import ProbedClip
from rewas_engine.runtime.progress import ProgressTracker

AGREE_THRESHOLD = 0.7
"""Lowest probability at which a video counts as matching a text."""
CONFLICT_THRESHOLD = 0.2
"""Probability below which a video counts as not matching a text."""
FAMILIARITY_THRESHOLD = 0.65
"""Lowest familiarity at which a prompt counts as known. Unknown prompts cannot be compared with a video."""
MAX_MISMATCH_SHARE = Fraction(1, 3)
"""Largest share of a clip that may show something else if the clip as a whole matches the prompt."""
MAX_SUGGESTIONS = 3
SUGGESTION_THRESHOLD = 0.5
MIN_PROMPT_WEIGHT = 0.5
"""Lowest weight of a softened prompt. Below it, the starter pack no longer follows the prompt at all."""
FrameLoader = Callable[[], NDArray[np.uint8]]
"""Reads the frames of a clip as the pack's video encoder needs them; a matcher with its own format does not call it.
"""
OnStep = Callable[[int, int], object]
"""Called with finished and total steps. An exception that it raises ends the work."""


@dataclass(frozen=True, eq=False)
class MatchScores:
    """Probabilities that a video matches a prompt and each of L labels, for the whole clip and for S spans.

    Args:
        prompt_probability: The prompt, whole clip.
        label_probabilities: The labels [L], whole clip.
        spans_s: Start and end of each span in seconds from the start of the clip, in order; spans may overlap.
        prompt_by_span: [S].
        label_by_span: [S, L].
    """

    prompt_probability: float
    label_probabilities: NDArray[np.floating]
    spans_s: Sequence[tuple[Fraction, Fraction]]
    prompt_by_span: NDArray[np.floating]
    label_by_span: NDArray[np.floating]


class VideoMatcher(Protocol):
    """A model that compares prompts with video: a pack's joint space or a CLIP model."""

    @property
    def name(self) -> str:
        """Name of the model, for reports."""

    @property
    def labels(self) -> Sequence[Label]:
        """The labels that it can judge."""

    @property
    def uses_estimator_frames(self) -> bool:
        """Whether it reads the frames that the energy is estimated from, instead of frames in its own format."""

    def familiarity(self, prompt: str) -> tuple[str, float]:
        """Return the meaning of a prompt, as in `Label.meaning`, and how well it is known, up to 1."""

    def load_frames(
        self, read: ProbedClip, load_estimator_frames: FrameLoader, tracker: ProgressTracker
    ) -> NDArray[np.uint8]:
        """Load the frames [T, …] of a clip in the format that it needs, T at least 1. Raises MediaError, Cancelled."""

    def match(self, prompt: str, read: ProbedClip, frames: NDArray[np.uint8], on_step: OnStep) -> MatchScores:
        """Compare the frames of a clip with a prompt and all labels."""


@dataclass(frozen=True)
class EvidenceSpan:
    """A range of a clip, and how probably it matches the prompt and the best other label (the rival)."""

    start_s: Fraction
    end_s: Fraction
    probability: float
    rival: str
    rival_probability: float

    @property
    def is_mismatch(self) -> bool:
        """Whether this range clearly shows something else, and more likely than not does not match the prompt."""
        return self.probability < 0.5 and self.rival_probability >= AGREE_THRESHOLD


@dataclass(frozen=True)
class Evidence:
    """The evidence for or against a match between a prompt and a video.

    Args:
        probability: Probability that they match.
        spans: Ranges from the first frame to the last, without gaps.
        rivals: Labels that do not mean the same as the prompt, one per meaning, most probable first.
        familiarity: How well the model knows the prompt.
    """

    probability: float
    spans: Sequence[EvidenceSpan]
    rivals: Sequence[Suggestion]
    familiarity: float

    @property
    def best_span(self) -> EvidenceSpan:
        """The range that matches the prompt best; the first of equals."""
        return max(self.spans, key=lambda span: span.probability)


def gather_evidence(matcher: VideoMatcher, prompt: str, scores: MatchScores) -> Evidence:
    """Collect the evidence for a prompt from its match scores."""
    meaning, familiarity = matcher.familiarity(prompt)
    meant = meaning if familiarity >= FAMILIARITY_THRESHOLD else None
    places = _most_probable(matcher.labels, scores, meant, prompt)
    rivals = _suggestions(matcher.labels, scores, places)
    spans = _merge_spans(scores, [rival.text for rival in rivals], scores.label_by_span[:, places])
    return Evidence(scores.prompt_probability, tuple(spans), tuple(rivals), familiarity)


def suggest_labels(labels: Sequence[Label], scores: MatchScores) -> tuple[Suggestion, ...]:
    """Return up to MAX_SUGGESTIONS labels that match a video, one per meaning, the most probable first."""
    found = _suggestions(labels, scores, _most_probable(labels, scores, None, ""))
    return tuple(each for each in found if each.score >= SUGGESTION_THRESHOLD)[:MAX_SUGGESTIONS]


def suggest_for_sound(labels: Sequence[Label], probabilities: NDArray[np.floating]) -> tuple[Suggestion, ...]:
    """Return up to MAX_SUGGESTIONS labels that match a sound, as `suggest_labels` does. `probabilities`: [L]."""
    nothing = np.zeros(0)
    return suggest_labels(labels, MatchScores(0.0, probabilities, (), nothing, nothing))


def _most_probable(labels: Sequence[Label], scores: MatchScores, meant: str | None, prompt: str) -> list[int]:
    """Return the indexes of one label per meaning, the most probable first, except those that mean the prompt."""
    one_each: dict[str, int] = {}
    for place in np.argsort(-scores.label_probabilities, kind="stable").tolist():
        label = labels[place]
        if label.meaning != meant and label.text != prompt:
            one_each.setdefault(label.meaning, place)
    return list(one_each.values())


def _suggestions(labels: Sequence[Label], scores: MatchScores, places: Sequence[int]) -> list[Suggestion]:
    return [
        Suggestion(labels[place].text, round(float(scores.label_probabilities[place]), 4), labels[place].source)
        for place in places
    ]


def _merge_spans(scores: MatchScores, rivals: Sequence[str], rival_by_span: NDArray[np.floating]) -> list[EvidenceSpan]:
    """Split the clip at every start and end of a span. Each range gets the mean of the spans that cover it.

    `rival_by_span`: [S, rivals].
    """
    times_s = scores.spans_s
    borders = sorted({border for span in times_s for border in span})
    spans = []
    for begin, end in pairwise(borders):
        covering = [number for number, (first, last) in enumerate(times_s) if first <= begin and end <= last]
        with_rivals = rival_by_span[covering].mean(axis=0)
        best = int(with_rivals.argmax())
        probability = float(scores.prompt_by_span[covering].mean())
        spans.append(EvidenceSpan(begin, end, probability, rivals[best], float(with_rivals[best])))
    return spans


def conflict_report(prompt: str, evidence: Evidence, encoder: str = "") -> ConflictReport:
    """Derive the verdict, and a sentence that explains it.

    The verdict is "conflict" only if the video clearly shows something else, the prompt is known, and no range matches
    it. `encoder`: name of the model that compared them.
    """
    verdict, explanation, spans = _verdict(prompt, evidence)
    better = [
        rival for rival in evidence.rivals if rival.score >= SUGGESTION_THRESHOLD and rival.score > evidence.probability
    ]
    suggestions = () if verdict == "agree" else tuple(better[:MAX_SUGGESTIONS])
    return ConflictReport(verdict, round(evidence.probability, 4), explanation, spans, suggestions, encoder)


def _verdict(prompt: str, evidence: Evidence) -> tuple[VerdictName, str, tuple[ConflictSpan, ...]]:
    probability, best, rival = evidence.probability, evidence.best_span, evidence.rivals[0]
    if evidence.familiarity < FAMILIARITY_THRESHOLD:
        looks = f"; it looks like “{rival.text}”" if rival.score >= AGREE_THRESHOLD else ""
        return "unsure", f"The prompt “{prompt}” is not known well enough to be compared with the video{looks}.", ()
    spans = mismatched_spans(evidence.spans)
    if probability >= AGREE_THRESHOLD:
        but = f", but looks like “{spans[0].looks_like}” {_format_range(spans[0])}" if spans else ""
        elsewhere_s = sum(span.end_s - span.start_s for span in spans)
        verdict: VerdictName = "unsure" if elsewhere_s > MAX_MISMATCH_SHARE * evidence.spans[-1].end_s else "agree"
        return verdict, f"The video matches “{prompt}”{but}.", spans
    if best.probability >= AGREE_THRESHOLD:
        return "unsure", f"The video matches “{prompt}” {_format_range(best)}, but not throughout.", spans
    if rival.score < AGREE_THRESHOLD:
        return "unsure", "The video shows nothing that the model knows well enough.", ()
    if probability < CONFLICT_THRESHOLD:
        return "conflict", f"The video looks like “{rival.text}”, not like “{prompt}”.", spans
    return "unsure", f"The video may match “{prompt}”, but looks more like “{rival.text}”.", spans


def mismatched_spans(spans: Sequence[EvidenceSpan]) -> tuple[ConflictSpan, ...]:
    """Join neighbouring ranges in which the video shows something else."""
    joined = []
    for first, last in find_runs(np.array([span.is_mismatch for span in spans], bool)):
        run = spans[first:last]
        weights = [float(span.end_s - span.start_s) for span in run]
        by_rival: dict[str, float] = defaultdict(float)
        for span, weight in zip(run, weights, strict=True):
            by_rival[span.rival] += weight * span.rival_probability
        score = float(np.average([span.probability for span in run], weights=weights))
        looks_like = max(by_rival, key=lambda rival: by_rival[rival])
        joined.append(ConflictSpan(run[0].start_s, run[-1].end_s, round(score, 4), looks_like))
    return tuple(joined)


def prompt_weight(report: ConflictReport) -> float:
    """Return the weight of a softened prompt, from MIN_PROMPT_WEIGHT to 1.

    It is 1 without a conflict, and falls in proportion to the score below CONFLICT_THRESHOLD.
    """
    if report.verdict != "conflict" or report.score is None:
        return 1.0
    return MIN_PROMPT_WEIGHT + (1 - MIN_PROMPT_WEIGHT) * min(1.0, report.score / CONFLICT_THRESHOLD)


def _format_range(span: EvidenceSpan | ConflictSpan) -> str:
    return f"from {float(span.start_s):.1f} s to {float(span.end_s):.1f} s"
