"""The conflict report: verdict, spans and suggestions, and the error raised by the policy "refuse"."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from rewas_engine.errors import EngineError

VerdictName = Literal["agree", "unsure", "conflict", "unsupported"]
ConflictPolicy = Literal["off", "warn", "soften", "refuse"]
"""What happens when the prompt contradicts the video.

"off" checks nothing, "warn" reports the verdict, "soften" weakens the prompt, and "refuse" generates nothing.
"""


@dataclass(frozen=True)
class Familiarity:
    """How well a pack knows a prompt.

    Attributes:
        is_known: Whether the pack can generate and judge such a sound.
        score: Similarity to the nearest phrase that the pack was trained on, -1 to 1; see
            `rewas_engine.matching.embedding.JointScorer.familiarities`.
        nearest: Prompts that the pack knows, the most similar first. Empty if none is similar.
    """

    is_known: bool
    score: float
    nearest: tuple[str, ...]


@dataclass(frozen=True)
class ConflictSpan:
    """A range of a clip in which the video shows something other than the prompt describes.

    Args:
        start_s, end_s: Seconds from the start of the clip.
        score: Mean probability that this range matches the prompt, 0 to 1.
        looks_like: The label that matches best.
    """

    start_s: Fraction
    end_s: Fraction
    score: float
    looks_like: str


@dataclass(frozen=True)
class Suggestion:
    """A label that matches the video.

    Args:
        text: The label, usable as a prompt.
        score: Probability that it matches, 0 to 1.
        source: "pack" for a phrase of the pack, "vggsound" for a class name of VGGSound.
    """

    text: str
    score: float
    source: Literal["pack", "vggsound"]


@dataclass(frozen=True)
class ConflictReport:
    """Whether the prompt contradicts the video.

    Args:
        verdict: "unsupported" if the pack has no model that can compare them.
        score: Probability that prompt and video match, 0 to 1, with right and wrong pairs equally likely.
            None if unsupported.
        explanation: One sentence that explains the verdict to the user.
        spans: Where the video shows something else, in order.
        suggestions: Labels that match the video better, best first. Empty if the verdict is "agree".
        encoder: Name of the model that compared them.
    """

    verdict: VerdictName
    score: float | None
    explanation: str
    spans: tuple[ConflictSpan, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    encoder: str = ""


class ConflictError(EngineError):
    """The prompt contradicts the video, and the policy is "refuse". `report` holds the verdict."""

    def __init__(self, clip_name: str, report: ConflictReport) -> None:
        better = " or ".join(f"“{suggestion.text}”" for suggestion in report.suggestions)
        self.report = report
        super().__init__(
            f"No sound was generated for the clip {clip_name}: {report.explanation[0].lower()}{report.explanation[1:]}",
            f"Try {better}, or choose the conflict policy warn or soften."
            if better
            else "Change the prompt, or choose the conflict policy warn or soften.",
        )
