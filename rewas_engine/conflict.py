"""Whether words and picture contradict each other: what the joint space's scores amount to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.joint import JointScorer, Moment
from rewas_engine.results import ConflictReport

AGREES_FROM = 0.7
"""Probability from which a picture goes with words."""
DENIES_BELOW = 0.2
"""Probability below which it does not."""
FAMILIAR_FROM = 0.7
"""Cosine to the nearest known words from which words are known: of others no picture can be said not to show them."""


@dataclass(frozen=True)
class Evidence:
    """What is known of a prompt and a picture.

    probability: that they belong together. moments: how well each stretch does. rival: the known words that the picture
    goes with best, other than those that mean the prompt; rival_probability: how well. familiarity: cosine of the
    prompt to the nearest known words.
    """

    probability: float
    moments: Sequence[Moment]
    rival: str
    rival_probability: float
    familiarity: float

    @property
    def best_moment(self) -> Moment:
        """The stretch of the picture that goes best with the words, the first of equals."""
        return max(self.moments, key=lambda moment: moment.score.probability)

    @property
    def worst_moment(self) -> Moment:
        """The stretch of the picture that goes least with the words, the first of equals."""
        return min(self.moments, key=lambda moment: moment.score.probability)


def gather_evidence(scorer: JointScorer, prompt: str, frames: NDArray[np.uint8], frame_rate: Fraction) -> Evidence:
    """Hold words against a picture. frames: [T, H, W] brightness in the pack's picture format, T at least 1."""
    meant, familiarity = scorer.familiarity(prompt)
    others = [(words, score) for words, score in scorer.seen(frames) if words != meant or familiarity < FAMILIAR_FROM]
    rival, rival_score = others[0]
    return Evidence(
        scorer.text_picture(prompt, frames).probability,
        scorer.moments(prompt, frames, frame_rate),
        rival,
        rival_score.probability,
        familiarity,
    )


def conflict_report(prompt: str, evidence: Evidence) -> ConflictReport:
    """The verdict, and a sentence that says what it rests on.

    "conflict" only where the picture plainly shows something else, the words are known, and no moment goes with them.
    """
    probability, best = evidence.probability, evidence.best_moment
    score = round(probability, 4)
    if probability >= AGREES_FROM:
        worst = evidence.worst_moment
        doubt = f", least of all {_span(worst)}" if worst.score.probability < DENIES_BELOW else ""
        return ConflictReport("agree", score, f"The picture goes with “{prompt}”{doubt}.")
    if best.score.probability >= AGREES_FROM:
        return ConflictReport("unsure", score, f"The picture goes with “{prompt}” {_span(best)}, but not all along.")
    if evidence.rival_probability < AGREES_FROM:
        return ConflictReport("unsure", score, "The picture shows nothing that the pack knows well enough.")
    if evidence.familiarity < FAMILIAR_FROM:
        return ConflictReport(
            "unsure",
            score,
            f"The pack does not know words like “{prompt}”; the picture looks to it like “{evidence.rival}”.",
        )
    if probability < DENIES_BELOW:
        worst = evidence.worst_moment
        where = f", most of all {_span(worst)}" if len(evidence.moments) > 1 else ""
        return ConflictReport(
            "conflict", score, f"The picture looks like “{evidence.rival}” and not like “{prompt}”{where}."
        )
    return ConflictReport(
        "unsure", score, f"The picture may go with “{prompt}”, but looks rather like “{evidence.rival}”."
    )


def _span(moment: Moment) -> str:
    return f"from {float(moment.start_s):.1f} s to {float(moment.end_s):.1f} s"
