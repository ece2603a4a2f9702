"""The built-in captioners: the nearest labels of a pack's joint space. They need no further files."""

from __future__ import annotations

from dataclasses import dataclass

from rewas_engine.annotation.stages import Caption
from rewas_engine.matching.report import Suggestion
from rewas_engine.media.clip import VideoClip
from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.progress import CancelSignal


@dataclass(frozen=True)
class PictureLabels:
    """Names what the picture shows, as the suggestions for a prompt do."""

    model: ReWaS
    has_labels: bool = True

    @property
    def name(self) -> str:
        """Name for reports."""
        return "no model" if self.model.matcher is None else self.model.matcher.name

    def caption(self, clip: VideoClip, cancel: CancelSignal | None) -> tuple[Caption, ...]:
        """Return the labels that match the picture, the most probable first."""
        return _captions(self.model.suggest_prompts(clip, cancel=cancel))


@dataclass(frozen=True)
class SoundLabels:
    """Names the clip's own sound."""

    model: ReWaS
    has_labels: bool = True

    @property
    def name(self) -> str:
        """Name for reports."""
        return f"the joint space of the pack {self.model.pack.name}"

    def caption(self, clip: VideoClip, cancel: CancelSignal | None) -> tuple[Caption, ...]:
        """Return the labels that match the sound, the most probable first; none for silence."""
        return _captions(self.model.suggest_from_sound(clip, cancel=cancel))


def _captions(suggestions: tuple[Suggestion, ...]) -> tuple[Caption, ...]:
    return tuple(Caption(suggestion.text, suggestion.score) for suggestion in suggestions)
