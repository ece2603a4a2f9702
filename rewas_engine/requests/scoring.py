"""Takes: what is wrong with one, how well it does what was asked, and which is the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.curve import find_runs
from rewas_engine.curves.energy import EnergyCurve, FloatArray
from rewas_engine.requests.results import FaultName, Take

AUDIBLE_MARGIN_NATS = 2.0
"""What is louder than silence by so much is asked to be heard."""
MIN_SIGNAL_NATS = 1.0
"""What is not louder than silence by so much is below about -70 dBFS: a vocoder's hiss, not a sound."""
MIN_AUDIBLE_S = 0.1
MIN_CLIPPED_RUN_SAMPLES = 4
"""So many samples on end that are as loud as the loudest are no crest but a ceiling."""
MAX_CLIPPED_SHARE = 1e-3
MAX_STUCK_CHANGE_NATS = 0.02
"""Even a steady sound changes by more from frame to frame, in the mean over its bins."""
MIN_STUCK_S = 1
MIN_REQUESTED_CHANGE_NATS = 1.0
MIN_TEXT_SCORE = 0.1
"""Scores of sound and words below this are as good as never those of a sound that was meant."""


def find_faults(
    waveform: FloatArray,
    log_mel: NDArray[np.floating],
    requested: EnergyCurve,
    silence_nats: float,
    text_score: float | None,
) -> tuple[FaultName, ...]:
    """What makes a take useless; nothing where it may be used.

    waveform: [samples] within ±1, before any resampling. log_mel: [T, bins] nats of it, on the grid of the requested
    energy. text_score: how well it does what the words say, 0 to 1; None where that is not known.
    "silent": something was asked for and nothing is heard. "clipped": its crests are cut off. "stuck": its spectrum
    stands still while the request goes on. "wrong": it does what other words would say.
    """
    faults: list[FaultName] = []
    energy = log_mel.mean(axis=-1)
    seconds = float(1 / requested.rate_hz)
    asked = requested.values > silence_nats + AUDIBLE_MARGIN_NATS
    heard = energy[: len(asked)] > silence_nats + MIN_SIGNAL_NATS
    if asked.sum() * seconds >= MIN_AUDIBLE_S and not (heard & asked).any():
        faults.append("silent")
    if clipped_share(waveform) > MAX_CLIPPED_SHARE:
        faults.append("clipped")
    if _is_stuck(log_mel, requested, silence_nats):
        faults.append("stuck")
    if text_score is not None and text_score < MIN_TEXT_SCORE and "silent" not in faults:
        faults.append("wrong")
    return tuple(faults)


def clipped_share(waveform: FloatArray) -> float:
    """Part of the samples [N] that belong to runs at the waveform's own ceiling."""
    peak = max(float(waveform.max(initial=0.0)), -float(waveform.min(initial=0.0)))
    if peak == 0:
        return 0.0
    counted = 0
    for at_ceiling in (waveform >= 0.9999 * peak, waveform <= -0.9999 * peak):
        lengths = [end - first for first, end in find_runs(at_ceiling)]
        counted += sum(length for length in lengths if length >= MIN_CLIPPED_RUN_SAMPLES)
    return counted / waveform.size


def score_take(correlation: float | None, mae_nats: float, text_score: float | None) -> float:
    """How well a take does what was asked, 0 to 1: the mean of how it follows the energy and how it does the words.

    It follows the energy as far as the two correlate; where one of them is constant, as far as the levels agree.
    """
    following = math.exp(-mae_nats) if correlation is None else max(0.0, correlation)
    return following if text_score is None else (following + text_score) / 2


def sort_best_first(takes: Sequence[Take]) -> tuple[Take, ...]:
    """Takes in the order of their use: those without faults first, each by its score; equal ones by their seeds."""
    return tuple(sorted(takes, key=lambda take: (len(take.faults) > 0, -take.score, take.seed)))


def _is_stuck(log_mel: NDArray[np.floating], requested: EnergyCurve, silence_nats: float) -> bool:
    """Whether an audible spectrum stands still for long while its energy is asked to change."""
    frames = min(len(log_mel), len(requested.values))
    still = np.abs(np.diff(log_mel[:frames], axis=0)).mean(axis=-1) < MAX_STUCK_CHANGE_NATS
    audible = log_mel[1:frames].max(axis=-1) > silence_nats + AUDIBLE_MARGIN_NATS
    return any(
        (end - begin) / float(requested.rate_hz) >= MIN_STUCK_S
        and np.ptp(requested.values[begin:end]) > MIN_REQUESTED_CHANGE_NATS
        for begin, end in find_runs(still & audible)
    )
