"""Making a sound again: a range of it, all of it to a degree, or what comes after its end."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.edits import Offset, apply_edits
from rewas_engine.curves.energy import MAX_ENERGY_NATS, EnergyCurve, FloatArray
from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import Seconds, exact_seconds, sample_count
from rewas_engine.generation.synthesis import InpaintSource
from rewas_engine.media.audio import resample
from rewas_engine.media.stem import Stem
from rewas_engine.requests.scoring import AUDIBLE_MARGIN_NATS

CROSSFADE_S = Fraction(20, 1000)
"""How long old and new cross over, before a range and after it."""
MIN_LEVEL_MEASUREMENT_S = Fraction(1, 10)
"""So much of a sound has to be heard for its level to be known."""


@dataclass(frozen=True, eq=False)
class Revision:
    """What is to be made again of a sound that is there, from a take or from anywhere.

    stem: the sound, from the clip's start on; it may end before the clip does. start_s, end_s: the range that is made
    again, in seconds from the clip's start; None is from the beginning, or to the clip's end. degree: above 0 and up to
    1; 1 makes another sound in the character of what is around it, less keeps so much of the old.
    Raises SettingsError for a sound beyond full scale.
    """

    stem: Stem
    start_s: Seconds | None = None
    end_s: Seconds | None = None
    degree: float = 1.0

    def __post_init__(self) -> None:
        peak = float(np.abs(self.stem.waveform).max(initial=0.0))
        if peak > 1 + 1e-6:
            raise SettingsError(
                f"The sound that is to be made again goes {20 * np.log10(peak):.1f} dB beyond full scale.",
                "Lower it first: what stays of it could not be delivered as it is.",
            )

    def range_s(self, duration_s: Fraction) -> tuple[Fraction, Fraction]:
        """The range in a clip of a duration. Raises SettingsError where it lies outside, is empty, or leaves a gap."""
        start_s = Fraction(0) if self.start_s is None else exact_seconds(self.start_s, "The start of the range")
        end_s = duration_s if self.end_s is None else exact_seconds(self.end_s, "The end of the range")
        if not 0 <= start_s < end_s <= duration_s:
            raise SettingsError(
                f"The range from {float(start_s):g} to {float(end_s):g} s does not lie in the clip, which lasts "
                f"{float(duration_s):g} s.",
                "Give a start before the end, both within the clip.",
            )
        if not 0 < self.degree <= 1:
            raise SettingsError(f"A sound is to be made again to the degree {self.degree:g}.", "Give 0 to 1, not 0.")
        heard_s = Fraction(self.stem.waveform.shape[1], self.stem.sample_rate_hz)
        if heard_s > duration_s + Fraction(1, self.stem.sample_rate_hz):
            raise SettingsError(
                f"The sound lasts {float(heard_s):g} s, longer than the clip.", "Cut it to the clip's length."
            )
        if start_s > heard_s or (end_s < duration_s and end_s > heard_s):
            raise SettingsError(
                f"The sound ends at {float(heard_s):g} s; the range leaves a part of the clip without any.",
                "Begin the range where the sound ends or before, and let it end with the clip.",
            )
        return start_s, end_s

    def earlier(self, duration_s: Fraction, front_end: AudioFrontEnd) -> InpaintSource:
        """The sound as a pack hears it, with the frames that stay."""
        start_s, end_s = self.range_s(duration_s)
        rate_hz = front_end.config.sample_rate_hz
        heard = self.heard(rate_hz)
        log_mel = front_end.encode(heard)
        times_s = [Fraction(frame * front_end.config.hop_samples, rate_hz) for frame in range(len(log_mel) + 1)]
        kept = np.array([later_s <= start_s or time_s >= end_s for time_s, later_s in pairwise(times_s)], np.bool_)
        # The last frame is filled up with silence, which is not the sound's.
        if heard.size < len(log_mel) * front_end.config.hop_samples and len(kept):
            kept[-1] = kept[-1] and end_s <= times_s[-2]
        return InpaintSource(log_mel, kept, self.degree)

    def heard(self, sample_rate_hz: int) -> FloatArray:
        """The sound [samples] in mono at a rate."""
        waveform, from_hz = self.stem.waveform, self.stem.sample_rate_hz
        samples = sample_count(Fraction(waveform.shape[1], from_hz), sample_rate_hz)
        return np.asarray(resample(waveform.mean(axis=0, keepdims=True), from_hz, sample_rate_hz, samples)[0])

    def splice(self, made: NDArray[np.float32], duration_s: Fraction) -> NDArray[np.float32]:
        """The sound [channels, samples] with its range taken from `made`, as long as the clip and at the stem's rate.

        Outside the range every sample is the old one to the bit, but for CROSSFADE_S before and after it, in which old
        and new cross over.
        """
        start_s, end_s = self.range_s(duration_s)
        old, rate_hz, total = self.stem.waveform, self.stem.sample_rate_hz, made.shape[1]
        whole = np.zeros((old.shape[0], total), np.float32)
        there = min(total, old.shape[1])
        whole[:, :there] = old[:, :there]
        begin = sample_count(start_s, rate_hz)
        end = total if end_s == duration_s else sample_count(end_s, rate_hz)
        fade = int(CROSSFADE_S * rate_hz)
        first, last = max(0, begin - fade), min(total, end + fade)
        places = np.arange(first, last)
        distance = np.maximum(begin - places, places - (end - 1))
        share = np.clip(1 - distance / (fade + 1), 0, 1).astype(np.float32)
        whole[:, first:last] = share * made[:, first:last] + (1 - share) * whole[:, first:last]
        return whole


def match_level(earlier: InpaintSource | None, energy: EnergyCurve, front_end: AudioFrontEnd) -> EnergyCurve:
    """An energy as much higher or lower as what stays of a sound was made louder or softer since it was made.

    The difference is the median one where both can be heard. Unchanged where nothing stays, or too little is heard.
    """
    if earlier is None:
        return energy
    config = front_end.config
    asked = energy.resample(config.frame_rate_hz, len(earlier.log_mel))
    heard = earlier.log_mel.mean(dim=-1).cpu().numpy()
    audible = config.silence_nats + AUDIBLE_MARGIN_NATS
    both = earlier.kept & (asked > audible) & (heard > audible)
    if both.sum() < MIN_LEVEL_MEASUREMENT_S * config.frame_rate_hz:
        return energy
    difference_nats = float(np.median(heard[both] - asked[both]))
    loudest = MAX_ENERGY_NATS - float(energy.values.max())
    return apply_edits(energy, [Offset(min(difference_nats, loudest))])
