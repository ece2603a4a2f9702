"""Fades at the ends of delivered sounds."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.media.audio import END_FADE_S, fade_ends


def apply_fades(
    waveform: NDArray[np.float32],
    sample_rate_hz: int,
    *,
    at_start: bool = True,
    at_end: bool = True,
    fade_s: Fraction = END_FADE_S,
) -> NDArray[np.float32]:
    """Return a waveform `[channels, samples]` whose ends do not click.

    A silent end is not faded, and no fade is longer than half the sound.

    Args:
        waveform: The sound.
        sample_rate_hz: Sample rate of the waveform.
        at_start: Whether to fade in.
        at_end: Whether to fade out.
        fade_s: Duration of a fade in seconds, 0 for none.
    """
    faded = waveform.copy()
    fade_ends(faded, sample_rate_hz, at_start=at_start, at_end=at_end, fade_s=fade_s)
    return faded
