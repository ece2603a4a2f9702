"""A new sound at every cut: the controls and seed of each shot, and how the sounds are joined."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import numpy as np
import torch

from rewas_engine.checks import MAX_SEED
from rewas_engine.conditioning.controls import Controls
from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.curves.energy import FloatArray
from rewas_engine.exact_time import sample_count
from rewas_engine.generation.vocoding import OnWindow, WindowedVocoder
from rewas_engine.media.audio import limit_peak

FADE_S = Fraction(1, 100)
"""Length of the crossfade after a cut."""
_TAIL_FRAMES = 1
"""Mel frames that are generated beyond the end of each shot, to fade out after the cut."""


@dataclass(frozen=True)
class ShotPlan:
    """The shots of a sound.

    Args:
        starts: First mel frame of each shot; the first is 0.
        frames: Mel frames of all shots together.
    """

    starts: tuple[int, ...]
    frames: int

    @classmethod
    def from_cuts(cls, cuts_s: Sequence[Fraction], frame_rate_hz: Fraction, frames: int) -> ShotPlan:
        """Divide a sound at its cuts, each moved to the nearest mel frame."""
        return cls((0, *(round(cut_s * frame_rate_hz) for cut_s in cuts_s)), frames)

    def split_controls(self, whole: Controls) -> list[Controls]:
        """Return the controls of each shot. All but the last hold their last values for the tail after the cut."""
        ends = [*self.starts[1:], self.frames]
        own = [whole.window(start, end - start) for start, end in zip(self.starts, ends, strict=True)]
        return [*(shot.pad(shot.frames + _TAIL_FRAMES) for shot in own[:-1]), own[-1]]

    def derive_seeds(self, seed: int) -> list[int]:
        """Return a seed for each shot of a take. The first shot has the seed of the take."""
        return [seed, *(_derive_shot_seed(seed, number) for number in range(1, len(self.starts)))]

    def vocode(
        self,
        vocoder: WindowedVocoder,
        log_mels: Sequence[torch.Tensor],
        seed: int,
        samples: int,
        front_end: MelConfig,
        on_shot: OnWindow | None = None,
    ) -> FloatArray:
        """Vocode the shots and join them.

        Args:
            vocoder: Vocoder of the pack.
            log_mels: [T, bins] of each shot.
            seed: Seed of the take.
            samples: Length of the waveform.
            front_end: Rate and hop of the log-mels.
            on_shot: Called with finished and total shots, more than once for a long shot. An exception that it raises
                ends the work.

        Returns:
            Waveform [samples] at the sample rate of the pack, within ±1.
        """
        hop, count = front_end.hop_samples, len(self.starts)
        starts = [start * hop for start in self.starts]
        ends = [start + _TAIL_FRAMES * hop for start in starts[1:]] + [samples]
        parts = []
        for number, (log_mel, own_seed, start, end) in enumerate(
            zip(log_mels, self.derive_seeds(seed), starts, ends, strict=True)
        ):
            on_window = None if on_shot is None else partial(_report_shot_progress, on_shot, number, count)
            parts.append(vocoder.vocode_unlimited(log_mel, end - start, on_window, seed=own_seed))
        fade = min(_TAIL_FRAMES * hop, sample_count(FADE_S, front_end.sample_rate_hz))
        return crossfade_shots(parts, starts, samples, fade)


def _report_shot_progress(on_shot: OnWindow, number: int, shots: int, window: int, windows: int) -> None:
    on_shot(number + (window == windows), shots)


def _derive_shot_seed(seed: int, number: int) -> int:
    digest = hashlib.sha256(f"{seed} shot {number}".encode()).digest()
    return int.from_bytes(digest[:8]) % (MAX_SEED + 1)


def crossfade_shots(parts: Sequence[FloatArray], starts: Sequence[int], samples: int, fade: int) -> FloatArray:
    """Join waveforms with crossfades of constant power.

    Args:
        parts: [N] or [channels, N] samples of each shot.
        starts: First sample of each shot in the result.
        samples: Length of the result.
        fade: Length of each crossfade in samples. A shot fades in while the previous one fades out, as far as that
            one reaches.

    Returns:
        Waveform [samples] or [channels, samples] within ±1.
    """
    whole = np.zeros((*parts[0].shape[:-1], samples), np.float32)
    angle = (np.arange(fade, dtype=np.float32) + 0.5) / fade * np.pi / 2
    for number, (part, start) in enumerate(zip(parts, starts, strict=True)):
        own = part[..., : samples - start].copy()
        if number:
            rising = np.sin(angle)[: own.shape[-1]]
            own[..., : rising.size] *= rising
        if number + 1 < len(parts):
            length = starts[number + 1] - start
            falling = np.cos(angle)[: max(0, own.shape[-1] - length)]
            own[..., length : length + falling.size] *= falling
            own = own[..., : length + falling.size]
        whole[..., start : start + own.shape[-1]] += own
    return limit_peak(whole)
