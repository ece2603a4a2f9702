"""Where the clips of a training come from: the world, or recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.picture_stage import PictureCorpus
from rewas_engine.training.stages import SoundCorpus
from rewas_engine.training.vocoder_stage import WaveformCorpus

ReportShards = Callable[[int, int], object]
"""Called with finished and total parts of what is prepared."""


class SoundSource(Protocol):
    """Sounds with captions to train on: the world's, or one's own recordings."""

    def write(self, workers: int, report: ReportShards | None, cancel: CancelSignal | None) -> None:
        """Prepare what is not there yet."""

    def is_written(self) -> bool:
        """Whether all of it is there. Raises SettingsError where what is there is something else."""

    def sounds(self, front_end: AudioFrontEnd, embed: Callable[[Sequence[str]], torch.Tensor]) -> SoundCorpus:
        """All log-mels, prompts and onsets."""

    def waveforms(self) -> WaveformCorpus:
        """All sounds."""

    def captions(self) -> list[str]:
        """One caption for each clip."""


class PictureSource(Protocol):
    """Pictures with the energies of their sounds."""

    def write(self, workers: int, report: ReportShards | None, cancel: CancelSignal | None) -> None:
        """Prepare what is not there yet."""

    def is_written(self) -> bool:
        """Whether all of it is there. Raises SettingsError where what is there is something else."""

    def seen(self, front_end: AudioFrontEnd) -> PictureCorpus:
        """All pictures and energies."""
