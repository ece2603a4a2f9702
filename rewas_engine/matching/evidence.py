"""Whether words and picture contradict each other: what is seen from span to span, and what that amounts to."""

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
"""Probability from which a picture goes with words."""
CONFLICT_THRESHOLD = 0.2
"""Probability below which it does not."""
FAMILIARITY_THRESHOLD = 0.65
"""Familiarity from which words are known: of others no picture can be said not to show them."""
MAX_MISMATCH_SHARE = Fraction(1, 3)
"""Part of a clip that may show something else where the whole goes with the words."""
MAX_SUGGESTIONS = 3
SUGGESTION_THRESHOLD = 0.5
MIN_PROMPT_WEIGHT = 0.5
"""What is left of a prompt that a picture plainly contradicts, where it is softened. With less the starter's sounds no
longer do what the words say at all."""
FrameLoader = Callable[[], NDArray[np.uint8]]
"""Reads a clip's picture as the pack's video encoder wants it; a matcher that has other wants does not call it."""
OnStep = Callable[[int, int], object]
"""Called with finished and total steps; what it raises ends the work."""


@dataclass(frozen=True, eq=False)
class MatchScores:
    """How probably a picture goes with a prompt and with each label, as a whole and stretch by stretch.

    prompt: of the whole. labels: [L] of the whole. spans_s: begin and end of the S stretches, in seconds from the
    clip's start, in order; they may overlap. prompt_by_span: [S]. label_by_span: [S, L].
    """

    prompt_probability: float
    label_probabilities: NDArray[np.floating]
    spans_s: Sequence[tuple[Fraction, Fraction]]
    prompt_by_span: NDArray[np.floating]
    label_by_span: NDArray[np.floating]


class VideoMatcher(Protocol):
    """What can hold pictures against words: a pack's joint space, or a CLIP model."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def labels(self) -> Sequence[Label]:
        """The bank that it can judge."""

    @property
    def uses_estimator_frames(self) -> bool:
        """Whether it looks at the pictures that the energy is estimated from, and not at pictures of its own."""

    def familiarity(self, prompt: str) -> tuple[str, float]:
        """What a prompt is taken for, as in `Label.meaning`, and how well such words are known, up to 1."""

    def load_frames(
        self, read: ProbedClip, load_estimator_frames: FrameLoader, tracker: ProgressTracker
    ) -> NDArray[np.uint8]:
        """Pictures [T, …] of a clip as it wants them, T at least 1. Raises MediaError, Cancelled."""

    def match(self, prompt: str, read: ProbedClip, pictures: NDArray[np.uint8], on_step: OnStep) -> MatchScores:
        """Hold the pictures of a clip against words."""


@dataclass(frozen=True)
class EvidenceSpan:
    """A part of a picture between two of its spans: how probably it goes with the prompt, and with a rival."""

    start_s: Fraction
    end_s: Fraction
    probability: float
    rival: str
    rival_probability: float

    @property
    def is_mismatch(self) -> bool:
        """Whether something else is plainly seen there, and the words are less probable than not."""
        return self.probability < 0.5 and self.rival_probability >= AGREE_THRESHOLD


@dataclass(frozen=True)
class Evidence:
    """What is known of a prompt and a picture.

    probability: that they belong together. spans: from the first picture to the last, each beginning where the one
    before ends. rivals: labels that do not mean the prompt, one for each meaning, the most probable first.
    familiarity: how well the prompt's words are known.
    """

    probability: float
    spans: Sequence[EvidenceSpan]
    rivals: Sequence[Suggestion]
    familiarity: float

    @property
    def best_span(self) -> EvidenceSpan:
        """The part of the picture that goes best with the words, the first of equals."""
        return max(self.spans, key=lambda span: span.probability)


def gather_evidence(matcher: VideoMatcher, prompt: str, scores: MatchScores) -> Evidence:
    """What a scores says of the prompt that it was made for."""
    meaning, familiarity = matcher.familiarity(prompt)
    meant = meaning if familiarity >= FAMILIARITY_THRESHOLD else None
    labels = matcher.labels
    one_each: dict[str, int] = {}
    for place in np.argsort(-scores.label_probabilities, kind="stable").tolist():
        label = labels[place]
        if label.meaning != meant and label.text != prompt:
            one_each.setdefault(label.meaning, place)
    places = list(one_each.values())
    rivals = [
        Suggestion(labels[place].text, round(float(scores.label_probabilities[place]), 4), labels[place].source)
        for place in places
    ]
    spans = _merge_spans(scores, [rival.text for rival in rivals], scores.label_by_span[:, places])
    return Evidence(scores.prompt_probability, tuple(spans), tuple(rivals), familiarity)


def _merge_spans(scores: MatchScores, rivals: Sequence[str], rival_by_span: NDArray[np.floating]) -> list[EvidenceSpan]:
    """The parts between all begins and ends of stretches, each with the mean of those that cover it.

    rival_by_span: [S, rivals], of each stretch with each rival.
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
    """The verdict, and a sentence that says what it rests on.

    "conflict" only where the picture plainly shows something else, the words are known, and no span goes with them.
    encoder: what has looked.
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
        return "unsure", f"Words like “{prompt}” are not known well enough to be held against a picture{looks}.", ()
    spans = mismatched_spans(evidence.spans)
    if probability >= AGREE_THRESHOLD:
        but = f", but looks like “{spans[0].looks_like}” {_format_range(spans[0])}" if spans else ""
        elsewhere_s = sum(span.end_s - span.start_s for span in spans)
        verdict: VerdictName = "unsure" if elsewhere_s > MAX_MISMATCH_SHARE * evidence.spans[-1].end_s else "agree"
        return verdict, f"The picture goes with “{prompt}”{but}.", spans
    if best.probability >= AGREE_THRESHOLD:
        return "unsure", f"The picture goes with “{prompt}” {_format_range(best)}, but not all along.", spans
    if rival.score < AGREE_THRESHOLD:
        return "unsure", "The picture shows nothing that is known well enough.", ()
    if probability < CONFLICT_THRESHOLD:
        return "conflict", f"The picture looks like “{rival.text}” and not like “{prompt}”.", spans
    return "unsure", f"The picture may go with “{prompt}”, but looks rather like “{rival.text}”.", spans


def mismatched_spans(spans: Sequence[EvidenceSpan]) -> tuple[ConflictSpan, ...]:
    """The stretches in which a picture shows something else, neighbours joined."""
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
    """How much a softened prompt still counts, MIN_PROMPT_WEIGHT to 1: less, the surer the contradiction.

    1 where there is none; below CONFLICT_THRESHOLD it falls in proportion to the score.
    """
    if report.verdict != "conflict" or report.score is None:
        return 1.0
    return MIN_PROMPT_WEIGHT + (1 - MIN_PROMPT_WEIGHT) * min(1.0, report.score / CONFLICT_THRESHOLD)


def _format_range(span: EvidenceSpan | ConflictSpan) -> str:
    return f"from {float(span.start_s):.1f} s to {float(span.end_s):.1f} s"
