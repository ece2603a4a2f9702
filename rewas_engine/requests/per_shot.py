"""A new sound at every cut: what each shot follows, with which seed, and how their sounds are joined."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from rewas_engine.checks import MAX_SEED
from rewas_engine.conditioning.controls import Controls
from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import Seconds, exact_seconds, sample_count
from rewas_engine.generation.vocoding import OnWindow, WindowedVocoder
from rewas_engine.media.audio import limit_peak
from rewas_engine.media.cuts import MIN_SHOT_S

FADE_S = Fraction(1, 100)
"""How long an old sound fades out under the new one after a cut."""
_TAIL_FRAMES = 1
"""So much longer a shot is made than it is shown: what fades out after the cut."""


def validate_cuts(cuts: Sequence[Seconds], duration_s: Fraction) -> tuple[Fraction, ...]:
    """Cuts in seconds from a clip's start. Raises SettingsError where they are unsorted, outside or too close."""
    exact = tuple(exact_seconds(cut, "A cut") for cut in cuts)
    outside = [cut for cut in exact if not 0 < cut < duration_s]
    if outside:
        raise SettingsError(
            f"A cut at {float(outside[0]):g} s does not lie in the clip, which lasts {float(duration_s):g} s.",
            "Give times after its start and before its end.",
        )
    for earlier_s, later_s in pairwise((Fraction(0), *exact, duration_s)):
        if later_s - earlier_s < MIN_SHOT_S:
            raise SettingsError(
                f"The cuts leave a shot from {float(earlier_s):g} s to {float(later_s):g} s.",
                f"Give cuts in order of time, each shot at least {float(MIN_SHOT_S):g} s long.",
            )
    return exact


@dataclass(frozen=True)
class Shots:
    """The shots of a sound. begins: first mel frame of each, from 0 on. frames: mel frames of all."""

    begins: tuple[int, ...]
    frames: int

    @classmethod
    def between(cls, cuts_s: Sequence[Fraction], frame_rate_hz: Fraction, frames: int) -> Shots:
        """The shots between cuts, each of which is heard from the nearest mel frame on."""
        return cls((0, *(round(cut_s * frame_rate_hz) for cut_s in cuts_s)), frames)

    def controls(self, whole: Controls) -> list[Controls]:
        """What each shot follows; all but the last go on a little as they end."""
        ends = [*self.begins[1:], self.frames]
        own = [whole.window(begin, end - begin) for begin, end in zip(self.begins, ends, strict=True)]
        return [*(shot.pad(shot.frames + _TAIL_FRAMES) for shot in own[:-1]), own[-1]]

    def seeds(self, seed: int) -> list[int]:
        """A seed for each; the first shot's is the take's."""
        return [seed, *(_derive_shot_seed(seed, number) for number in range(1, len(self.begins)))]

    def waveform(
        self,
        vocoding: WindowedVocoder,
        log_mels: Sequence[torch.Tensor],
        seed: int,
        samples: int,
        front_end: MelConfig,
        on_shot: OnWindow | None = None,
    ) -> FloatArray:
        """Waveform [samples] at the pack's rate, within ±1, of the shots' log-mels.

        seed: the take's. on_shot: called with finished and total shots, more than once for a long one; what it raises
        ends the work.
        """
        hop, count = front_end.hop_samples, len(self.begins)
        begins = [begin * hop for begin in self.begins]
        ends = [begin + _TAIL_FRAMES * hop for begin in begins[1:]] + [samples]
        parts = []
        for number, (log_mel, own_seed, begin, end) in enumerate(
            zip(log_mels, self.seeds(seed), begins, ends, strict=True)
        ):
            on_window = None if on_shot is None else partial(_report_shot_progress, on_shot, number, count)
            parts.append(vocoding.vocode_unlimited(log_mel, end - begin, on_window, seed=own_seed))
        fade = min(_TAIL_FRAMES * hop, sample_count(FADE_S, front_end.sample_rate_hz))
        return joined(parts, begins, samples, fade)


def _report_shot_progress(on_shot: OnWindow, number: int, shots: int, window: int, windows: int) -> None:
    on_shot(number + (window == windows), shots)


def _derive_shot_seed(seed: int, number: int) -> int:
    digest = hashlib.sha256(f"{seed} shot {number}".encode()).digest()
    return int.from_bytes(digest[:8]) % (MAX_SEED + 1)


def joined(parts: Sequence[FloatArray], begins: Sequence[int], samples: int, fade: int) -> FloatArray:
    """Waveforms [N] put end to end: [samples], within ±1.

    begins: first sample of each. There it fades in over `fade` samples, while the one before it, as far as it goes,
    fades out: together they keep their power.
    """
    whole = np.zeros(samples, np.float32)
    angle = (np.arange(fade, dtype=np.float32) + 0.5) / fade * np.pi / 2
    for number, (part, begin) in enumerate(zip(parts, begins, strict=True)):
        own = part[: samples - begin].copy()
        if number:
            rising = np.sin(angle)[: own.size]
            own[: rising.size] *= rising
        if number + 1 < len(parts):
            length = begins[number + 1] - begin
            falling = np.cos(angle)[: max(0, own.size - length)]
            own[length : length + falling.size] *= falling
            own = own[: length + falling.size]
        whole[begin : begin + own.size] += own
    return limit_peak(whole)
