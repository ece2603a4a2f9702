"""The parts of an annotation: what captions a picture or a sound, and what writes sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rewas_engine.media.clip import VideoClip
from rewas_engine.runtime.progress import CancelSignal


@dataclass(frozen=True)
class Caption:
    """A short description of what is seen or heard.

    Attributes:
        text: The description.
        score: Probability that it is right, 0 to 1; None if the captioner gives none.
    """

    text: str
    score: float | None = None


class Captioner(Protocol):
    """Describes the picture or the sound of a clip."""

    @property
    def name(self) -> str:
        """Name for reports."""

    @property
    def has_labels(self) -> bool:
        """Whether its captions are alternatives from a list of labels, the best first.

        Otherwise they are sentences, in the order of time.
        """

    def caption(self, clip: VideoClip, cancel: CancelSignal | None) -> tuple[Caption, ...]:
        """Return captions, which may be empty or too long. Raises MediaError, Cancelled."""


class LanguageModel(Protocol):
    """Writes text."""

    @property
    def name(self) -> str:
        """Name for reports."""

    def answer(self, instruction: str, text: str, cancel: CancelSignal | None) -> str:
        """Follow an instruction about a text. The answer may be empty or too long. Raises EngineError, Cancelled."""
