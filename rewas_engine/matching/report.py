"""The conflict report: verdict, moments and suggestions, and the error raised by the policy "refuse"."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from rewas_engine.errors import EngineError

VerdictName = Literal["agree", "unsure", "conflict", "unsupported"]
ConflictPolicy = Literal["off", "warn", "soften", "refuse"]
"""What is done about words that contradict the picture: nothing is checked; the verdict is told; the prompt loses
weight; nothing is made."""


@dataclass(frozen=True)
class ConflictSpan:
    """A stretch of a clip whose picture shows something else than the words say.

    start_s, end_s: seconds from the clip's start. score: how probably it goes with the words, 0 to 1, on average.
    looks_like: the label that it goes with best.
    """

    start_s: Fraction
    end_s: Fraction
    score: float
    looks_like: str


@dataclass(frozen=True)
class Suggestion:
    """Words that a picture goes with. score: how probably, 0 to 1. source: whose they are, "pack" or "vggsound"."""

    text: str
    score: float
    source: Literal["pack", "vggsound"]


@dataclass(frozen=True)
class ConflictReport:
    """Whether words and picture contradict each other.

    verdict: "unsupported" where there is nothing that could tell. score: the probability that words and picture belong
    together, where right and wrong ones are equally many, 0 to 1; None where that is not supported. moments: where the
    picture shows something else, in order. suggestions: words that it goes with better, the best first; none where it
    goes with the prompt. encoder: what has looked.
    """

    verdict: VerdictName
    score: float | None
    explanation: str
    spans: tuple[ConflictSpan, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    encoder: str = ""


class ConflictError(EngineError):
    """Words and picture of a clip contradict each other, and that was to be refused. report: the verdict."""

    def __init__(self, clip_name: str, report: ConflictReport) -> None:
        better = " or ".join(f"“{suggestion.text}”" for suggestion in report.suggestions)
        self.report = report
        super().__init__(
            f"No sound was made for the clip {clip_name}: {report.explanation[0].lower()}{report.explanation[1:]}",
            f"Try {better}, or choose the conflict policy warn or soften."
            if better
            else "Choose other words, or the conflict policy warn or soften.",
        )
