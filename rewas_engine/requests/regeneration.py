"""Regeneration of a range of an existing sound, of all of it at some strength, or of what follows its end."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rewas_engine.checks import check_strength
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.edits import Offset, apply_edits
from rewas_engine.curves.energy import MAX_ENERGY_NATS, EnergyCurve, FloatArray
from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import Seconds, exact_seconds, sample_count
from rewas_engine.generation.synthesis import InpaintSource
from rewas_engine.media.audio import resample
from rewas_engine.media.stem import Stem
from rewas_engine.recordings.credits import UsedRecording
from rewas_engine.requests.scoring import AUDIBLE_MARGIN_NATS

CROSSFADE_S = Fraction(20, 1000)
"""Length of the crossfade between existing and new sound, before a range and after it."""
MIN_LEVEL_MEASUREMENT_S = Fraction(1, 10)
"""Least duration of audible sound from which a level can be measured."""


@dataclass(frozen=True, eq=False)
class Regenerate:
    """An existing sound, from a take or any other source, and the range to regenerate.

    Args:
        stem: The sound, from the start of the clip on. It may end before the clip does.
        start_s: Start of the range in seconds from the start of the clip; None is the start of the clip.
        end_s: End of the range in seconds from the start of the clip; None is the end of the clip.
        strength: How much the range may change, above 0 and up to 1. 1 starts from pure noise and fits the new sound
            to its surroundings.
        recordings: The recordings in the sound, which still sound outside the range.

    Raises:
        SettingsError: The sound is beyond full scale, or the strength is out of its range.
    """

    stem: Stem
    start_s: Seconds | None = None
    end_s: Seconds | None = None
    strength: float = 1.0
    recordings: tuple[UsedRecording, ...] = ()

    def __post_init__(self) -> None:
        check_strength(self.strength)
        peak = float(np.abs(self.stem.waveform).max(initial=0.0))
        if peak > 1 + 1e-6:
            raise SettingsError(
                f"The sound to regenerate is {20 * np.log10(peak):.1f} dB beyond full scale.",
                "Lower its level first; otherwise the kept part could not be delivered unchanged.",
            )

    def range_s(self, duration_s: Fraction) -> tuple[Fraction, Fraction]:
        """Return start and end of the range, in seconds, in a clip of the given duration.

        Raises:
            SettingsError: The range is empty, lies outside the clip or leaves a gap after the existing sound.
        """
        start_s = Fraction(0) if self.start_s is None else exact_seconds(self.start_s, "The start of the range")
        end_s = duration_s if self.end_s is None else exact_seconds(self.end_s, "The end of the range")
        if not 0 <= start_s < end_s <= duration_s:
            raise SettingsError(
                f"The range from {float(start_s):g} to {float(end_s):g} s is not within the clip, which lasts "
                f"{float(duration_s):g} s.",
                "Give a start before the end, both within the clip.",
            )
        sound_s = Fraction(self.stem.waveform.shape[1], self.stem.sample_rate_hz)
        if sound_s > duration_s + Fraction(1, self.stem.sample_rate_hz):
            raise SettingsError(
                f"The sound lasts {float(sound_s):g} s, longer than the clip.", "Cut it to the clip's length."
            )
        if start_s > sound_s or (end_s < duration_s and end_s > sound_s):
            raise SettingsError(
                f"The sound ends at {float(sound_s):g} s, so the range would leave part of the clip without sound.",
                "Start the range at the end of the sound or earlier, and end it with the clip.",
            )
        return start_s, end_s

    def kept_recordings(self, duration_s: Fraction) -> tuple[UsedRecording, ...]:
        """The recordings in the kept part of the sound; none if the whole clip is regenerated."""
        return () if self.range_s(duration_s) == (Fraction(0), duration_s) else self.recordings

    def inpaint_source(self, duration_s: Fraction, front_end: AudioFrontEnd) -> InpaintSource:
        """Return the log-mel of the sound for a pack, with the mask of the frames to keep.

        Raises:
            SettingsError: As for `range_s`.
        """
        start_s, end_s = self.range_s(duration_s)
        rate_hz = front_end.config.sample_rate_hz
        waveform = self.mono_waveform(rate_hz)
        log_mel = front_end.encode(waveform)
        times_s = [Fraction(frame * front_end.config.hop_samples, rate_hz) for frame in range(len(log_mel) + 1)]
        keep_mask = np.array([later_s <= start_s or time_s >= end_s for time_s, later_s in pairwise(times_s)], np.bool_)
        # The last frame may be padded with silence, which does not belong to the sound.
        if waveform.size < len(log_mel) * front_end.config.hop_samples and len(keep_mask):
            keep_mask[-1] = keep_mask[-1] and end_s <= times_s[-2]
        return InpaintSource(log_mel, keep_mask, self.strength)

    def mono_waveform(self, sample_rate_hz: int) -> FloatArray:
        """Return the sound in mono at a sample rate, [samples]."""
        waveform, from_hz = self.stem.waveform, self.stem.sample_rate_hz
        samples = sample_count(Fraction(waveform.shape[1], from_hz), sample_rate_hz)
        return np.asarray(resample(waveform.mean(axis=0, keepdims=True), from_hz, sample_rate_hz, samples)[0])

    def splice(self, generated: NDArray[np.float32], duration_s: Fraction) -> NDArray[np.float32]:
        """Insert the range of a new sound into the existing one.

        Args:
            generated: [channels, samples] as long as the clip, at the sample rate of the stem.
            duration_s: Duration of the clip.

        Returns:
            [channels, samples]. Outside the range and the crossfades of CROSSFADE_S around it, every sample is that of
            the existing sound, bit for bit.
        """
        start_s, end_s = self.range_s(duration_s)
        existing, rate_hz, total = self.stem.waveform, self.stem.sample_rate_hz, generated.shape[1]
        spliced = np.zeros((existing.shape[0], total), np.float32)
        length = min(total, existing.shape[1])
        spliced[:, :length] = existing[:, :length]
        begin = sample_count(start_s, rate_hz)
        end = total if end_s == duration_s else sample_count(end_s, rate_hz)
        fade = int(CROSSFADE_S * rate_hz)
        first, last = max(0, begin - fade), min(total, end + fade)
        places = np.arange(first, last)
        distance = np.maximum(begin - places, places - (end - 1))
        share = np.clip(1 - distance / (fade + 1), 0, 1).astype(np.float32)
        spliced[:, first:last] = share * generated[:, first:last] + (1 - share) * spliced[:, first:last]
        return spliced


def match_level(source: InpaintSource | None, energy: EnergyCurve, front_end: AudioFrontEnd) -> EnergyCurve:
    """Offset an energy so that its level matches that of the kept part of a sound.

    The offset is the median difference over the frames in which both are audible. The energy stays unchanged if there
    are too few of them.
    """
    if source is None:
        return energy
    config = front_end.config
    requested = energy.resample(config.frame_rate_hz, len(source.log_mel))
    measured = source.log_mel.mean(dim=-1).cpu().numpy()
    audible = config.silence_nats + AUDIBLE_MARGIN_NATS
    both = source.keep_mask & (requested > audible) & (measured > audible)
    if both.sum() < MIN_LEVEL_MEASUREMENT_S * config.frame_rate_hz:
        return energy
    difference_nats = float(np.median(measured[both] - requested[both]))
    loudest = MAX_ENERGY_NATS - float(energy.values.max())
    return apply_edits(energy, [Offset(min(difference_nats, loudest))])
