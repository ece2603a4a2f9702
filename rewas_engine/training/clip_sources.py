"""Sources of training clips: the synthetic world, or recordings."""

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
"""Called with finished and total parts."""


class SoundSource(Protocol):
    """Sounds with captions for training, from the synthetic world or from recordings."""

    def write(self, workers: int, report: ReportShards | None, cancel: CancelSignal | None) -> None:
        """Prepare everything that is missing."""

    def is_written(self) -> bool:
        """Whether everything is prepared. Raises SettingsError if the folder contains something else."""

    def sounds(self, front_end: AudioFrontEnd, embed: Callable[[Sequence[str]], torch.Tensor]) -> SoundCorpus:
        """All log-mels, prompt embeddings and onsets."""

    def waveforms(self) -> WaveformCorpus:
        """All waveforms."""

    def captions(self) -> list[str]:
        """One caption per clip."""


class PictureSource(Protocol):
    """Videos with the energies of their sounds."""

    def write(self, workers: int, report: ReportShards | None, cancel: CancelSignal | None) -> None:
        """Prepare everything that is missing."""

    def is_written(self) -> bool:
        """Whether everything is prepared. Raises SettingsError if the folder contains something else."""

    def videos(self, front_end: AudioFrontEnd) -> PictureCorpus:
        """All frames and energies."""
