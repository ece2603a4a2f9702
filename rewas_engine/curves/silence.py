"""Requested silence: find gaps in an energy curve, and mute a sound in them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.curve import find_runs
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.exact_time import sample_count

SILENCE_MARGIN_NATS = 0.25
"""Energies at most this far above silence count as silence, because rounding and resampling change them."""
MIN_GAP_S = Fraction(3, 10)
"""Gaps up to this length are not muted, so that sounds can ring out."""
FADE_S = Fraction(1, 100)

Gap = tuple[Fraction, Fraction]
"""Start and end in seconds."""


def find_silence(energy: EnergyCurve, silence_nats: float) -> list[Gap]:
    """Find the gaps longer than MIN_GAP_S in which an energy requests silence.

    An energy that is silent throughout is one gap, however short it is.
    """
    silent = find_runs(energy.values <= silence_nats + SILENCE_MARGIN_NATS)
    gaps = [(first / energy.rate_hz, end / energy.rate_hz) for first, end in silent]
    whole = (Fraction(0), energy.duration_s)
    return [gap for gap in gaps if gap[1] - gap[0] > MIN_GAP_S or gap == whole]


def mute_gaps(waveform: NDArray[np.float32], gaps: list[Gap], sample_rate_hz: int) -> None:
    """Mute a waveform `[..., samples]` in gaps, in place, with fades of FADE_S inside each gap.

    Otherwise the vocoder would hiss in silence, and strikes would ring beyond their end. There is no fade at the start
    and end of the waveform.
    """
    samples = waveform.shape[-1]
    fade = max(1, sample_count(FADE_S, sample_rate_hz))
    falling = (0.5 + 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)).astype(np.float32)
    for begin_s, end_s in gaps:
        begin, end = (min(samples, sample_count(time_s, sample_rate_hz)) for time_s in (begin_s, end_s))
        gain = np.zeros(end - begin, np.float32)
        if begin > 0:
            gain[:fade] = falling[: gain.size]
        if end < samples:
            gain[-fade:] = falling[::-1]
        waveform[..., begin:end] *= gain
