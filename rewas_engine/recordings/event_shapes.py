"""The exact onset, peak and decay of sound events, from an envelope with two values per millisecond."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

STEPS_HZ = 2000
"""Values of the envelope per second, or slightly more."""
RISE_DB = 6.0
"""Least rise of an event above the level just before it."""
DECAY_DB = 20.0
END_DB = 60.0
"""Fall from the peak at which a decay ends, unless it reaches the background first."""
BACKGROUND_DB = 3.0
"""Distance from the background at which a decay ends."""
SILENCE = 3e-5
"""Amplitude (-90 dBFS) that counts as silence."""
SEARCH_BEFORE_S, SEARCH_AFTER_S = 0.06, 0.045
"""How far the approximate onset may be after or before the exact one."""
PEAK_BEFORE_S = 0.015
"""How far the peak of the attack may be before the approximate onset."""
ATTACK_SHARE = 0.1
"""Share of the attack's peak (-20 dB) that the envelope exceeds from the onset on."""
SHORTEST_GAP_S = 0.02
"""Two onsets closer than this are one."""
PEAK_WITHIN_S = 0.5
LEAD_S = 0.004
"""The start is at most this many seconds before the onset."""

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class EventShape:
    """Positions and measures of one event, as in `SoundEvent`."""

    start_sample: int
    onset_sample: int
    end_sample: int
    peak_db: float
    decay_s: float

    def later(self, samples: int) -> EventShape:
        """Return the same event, moved."""
        return replace(
            self,
            start_sample=self.start_sample + samples,
            onset_sample=self.onset_sample + samples,
            end_sample=self.end_sample + samples,
        )


@dataclass(frozen=True, eq=False)
class Envelope:
    """Envelopes of a sound. Value i covers the samples from i * hop_samples.

    Attributes:
        mono: The samples `[samples]`.
        peaks: Largest magnitude of all channels of each sample, `[samples]`.
        fast: Largest magnitude of the mix, `[T]`.
        level: RMS over 10 ms, centred, `[T]`.
        slow_level: RMS over 50 ms, centred, `[T]`.
    """

    mono: FloatArray
    peaks: FloatArray
    hop_samples: int
    rate_hz: int
    fast: FloatArray
    level: FloatArray
    slow_level: FloatArray

    @classmethod
    def of(cls, mono: FloatArray, peaks: FloatArray, rate_hz: int) -> Envelope:
        """Measure a sound."""
        hop = max(1, rate_hz // STEPS_HZ)
        count = -(-len(mono) // hop)
        steps = np.pad(mono, (0, count * hop - len(mono))).reshape(count, hop)
        power = np.einsum("ij,ij->i", steps, steps) / hop
        fast = np.maximum(steps.max(axis=1), -steps.min(axis=1))
        level, slow_level = (
            np.sqrt(np.maximum(uniform_filter1d(power, max(1, round(length_s * rate_hz / hop)), mode="nearest"), 0.0))
            for length_s in (0.01, 0.05)
        )
        return cls(mono, peaks, hop, rate_hz, fast, level, slow_level)

    def steps(self, seconds: float) -> int:
        """Number of values in a duration."""
        return round(seconds * self.rate_hz / self.hop_samples)


def find_shapes(envelope: Envelope, onsets_s: NDArray[np.float64]) -> Iterator[EventShape]:
    """Find the exact shapes of the events at approximate onsets in seconds, ascending.

    An onset without a rise of RISE_DB above the sound just before it is skipped.
    """
    found: list[tuple[int, int]] = []
    for onset_s in onsets_s:
        onset = _exact_onset(envelope, envelope.steps(float(onset_s)))
        if onset is None:
            continue
        if found and onset[0] - found[-1][0] < envelope.steps(SHORTEST_GAP_S):
            continue
        found.append(onset)
    for number, (onset_step, quiet_step) in enumerate(found):
        limit = found[number + 1][1] if number + 1 < len(found) else len(envelope.fast)
        yield _shape(envelope, onset_step, quiet_step, max(limit, onset_step + 1))


def whole_shape(envelope: Envelope) -> EventShape | None:
    """The shape of a recording that is one sound without an onset, such as a whoosh; None if it is silent.

    The onset is where the sound first comes within 20 dB of its peak. The end is the last moment above the background.
    """
    if not len(envelope.level) or (peak := float(envelope.level.max())) < SILENCE:
        return None
    onset = int((envelope.level > ATTACK_SHARE * peak).argmax())
    above_background = float(envelope.slow_level.min()) * 10 ** (BACKGROUND_DB / 20)
    bound = max(min(above_background, ATTACK_SHARE * peak), peak * 10 ** (-END_DB / 20), SILENCE)
    loud = np.flatnonzero(envelope.slow_level > bound)
    return _measured(envelope, onset, int(loud[-1]) + 1, peak) if len(loud) else None


def _exact_onset(envelope: Envelope, near: int) -> tuple[int, int] | None:
    """The onset near a step, and the quietest step before it; None if nothing rises enough."""
    first, last = max(0, near - envelope.steps(SEARCH_BEFORE_S)), near + envelope.steps(SEARCH_AFTER_S)
    window = envelope.fast[first:last]
    if near >= len(envelope.fast):
        return None
    rises_from = max(0, near - envelope.steps(PEAK_BEFORE_S) - first)
    peak_at = rises_from + int(window[rises_from:].argmax())
    smooth = uniform_filter1d(window, max(1, envelope.steps(0.003)), mode="nearest")
    quiet_at = int(smooth[: peak_at + 1].argmin()) if peak_at else 0
    # At the start of a recording, there is nothing before the sound.
    before = float(window[max(0, quiet_at - envelope.steps(0.005)) : quiet_at + 1].max())
    if first == 0 and peak_at <= envelope.steps(0.02) and quiet_at == 0:
        before = 0.0
    attack = float(window[peak_at])
    if attack < SILENCE or attack < before * 10 ** (RISE_DB / 20):
        return None
    over = window[quiet_at : peak_at + 1] > max(2 * before, ATTACK_SHARE * attack, SILENCE)
    onset = quiet_at + (int(over.argmax()) if over.any() else len(over) - 1)
    return first + onset, first + quiet_at


def _shape(envelope: Envelope, onset: int, quiet: int, limit: int) -> EventShape:
    peak_at = onset + int(envelope.level[onset : min(limit, onset + envelope.steps(PEAK_WITHIN_S)) or None].argmax())
    peak = float(envelope.level[peak_at])
    after = envelope.slow_level[peak_at:limit]
    background = min(float(after.min()), max(float(envelope.slow_level[quiet]), SILENCE))
    bound = max(min(background * 10 ** (BACKGROUND_DB / 20), peak * 0.5), peak * 10 ** (-END_DB / 20), SILENCE)
    is_over = after <= bound
    end = peak_at + int(is_over.argmax()) if is_over.any() else limit
    return _measured(envelope, onset, end, peak)


def _measured(envelope: Envelope, onset: int, end: int, peak: float) -> EventShape:
    hop = envelope.hop_samples
    end = max(end, onset + 1)
    loud = np.flatnonzero(envelope.level[onset:end] > peak * 10 ** (-DECAY_DB / 20))
    decayed = onset + (int(loud[-1]) + 1 if len(loud) else 1)
    onset_sample, end_sample = onset * hop, min(end * hop, len(envelope.mono))
    highest = float(envelope.peaks[onset_sample : max(end_sample, onset_sample + 1)].max(initial=0.0))
    return EventShape(
        _start(envelope, onset_sample),
        onset_sample,
        max(end_sample, onset_sample + 1),
        max(-120.0, 20 * float(np.log10(max(highest, 1e-9)))),
        (decayed - onset) * hop / envelope.rate_hz,
    )


def _start(envelope: Envelope, onset_sample: int) -> int:
    """The last silence or zero crossing before an onset, or the smallest sample if there is neither."""
    first = max(0, onset_sample - round(LEAD_S * envelope.rate_hz))
    before = envelope.mono[first : onset_sample + 1]
    silent = np.flatnonzero(np.abs(before) < SILENCE)
    if len(silent):
        return first + int(silent[-1])
    crossings = np.flatnonzero(np.diff(np.signbit(before)))
    if len(crossings):
        pair = before[crossings[-1] : crossings[-1] + 2]
        return first + int(crossings[-1]) + int(np.abs(pair).argmin())
    return first + int(np.abs(before).argmin())
