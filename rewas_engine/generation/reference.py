"""Bring generated sounds close to a reference sound: the timbre to follow, and the filter that matches its spectrum."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.conditioning.timbre import (
    Timbre,
    Values,
    apply_gains_db,
    matching_gains_db,
    measure_spectrum,
    spectrum_distance_db,
)
from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import MediaError
from rewas_engine.media.audio import limit_peak

MATCH_SHARES = (1.0, 0.75, 0.5, 0.25)
"""Shares of the matching filter, in dB, that are tried in order."""
MAX_LOG_ODDS_LOSS = 1.0
"""How much the filter may lower the score of the sound against its prompt, in log odds: from 0.95 to 0.87."""
_MIN_SCORE = 1e-6


def timbre_of(sound: FloatArray, name: str, front_end: AudioFrontEnd) -> Timbre:
    """Measure the timbre of a reference sound `[samples]`. Raises MediaError, with its name, if it is silent."""
    timbre = Timbre.measure(front_end.encode(sound), front_end.config.silence_nats)
    if timbre is None:
        raise MediaError(f"The reference sound {name} is silent.", "Choose an audible sound, or an audible part of it.")
    return timbre


def match_spectrum(
    waveform: FloatArray,
    wanted: Timbre,
    front_end: AudioFrontEnd,
    score: Callable[[FloatArray], float | None],
    *,
    is_loop: bool = False,
) -> FloatArray:
    """Filter a generated sound so that its long-term spectrum comes close to that of a reference.

    The prompt decides what the sound is. If the whole filter lowers the score of the sound against its prompt by more
    than MAX_LOG_ODDS_LOSS, a smaller share of it is used, or none.

    Args:
        waveform: `[samples]` at the sample rate of the front end.
        wanted: Timbre of the reference.
        front_end: Front end of the pack.
        score: Scores a waveform against the prompt, 0 to 1; None if it cannot be scored.
        is_loop: Whether the end of the waveform continues at its start.
    """
    produced = spectrum_of(waveform, front_end)
    if produced is None:
        return waveform
    gains_db, before = matching_gains_db(produced, wanted.spectrum), score(waveform)
    for share in MATCH_SHARES:
        filtered = limit_peak(apply_gains_db(waveform, share * gains_db, front_end, is_loop=is_loop))
        after = None if before is None else score(filtered)
        if before is None or after is None or _log_odds(after) >= _log_odds(before) - MAX_LOG_ODDS_LOSS:
            return filtered
    return waveform


def distance_from_reference(waveform: FloatArray, wanted: Timbre, front_end: AudioFrontEnd) -> float | None:
    """Distance of the spectrum of a waveform `[samples]` from that of a reference, in dB; None if it is silent."""
    spectrum = spectrum_of(waveform, front_end)
    return None if spectrum is None else spectrum_distance_db(spectrum, wanted.spectrum)


def spectrum_of(waveform: FloatArray, front_end: AudioFrontEnd) -> Values | None:
    """Long-term spectrum of a waveform `[samples]` at the level of the training sounds; None if it is silent."""
    if not np.any(waveform):
        return None
    return measure_spectrum(front_end.encode(normalise(waveform)), front_end.config.silence_nats)


def _log_odds(score: float) -> float:
    limited = min(max(score, _MIN_SCORE), 1 - _MIN_SCORE)
    return math.log(limited / (1 - limited))
