"""Scoring of takes: their faults, how well they follow the request, and their order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.curve import find_runs
from rewas_engine.curves.energy import EnergyCurve, FloatArray
from rewas_engine.matching.avh import AvhScorer
from rewas_engine.matching.embedding import JointScorer
from rewas_engine.media.audio import sample_peak
from rewas_engine.requests.results import FaultName, Take

AUDIBLE_MARGIN_NATS = 2.0
"""An energy this far above silence is audible."""
MIN_SIGNAL_NATS = 1.0
"""An energy less than this above silence is below about -70 dBFS: the hiss of a vocoder, not a sound."""
MIN_AUDIBLE_S = 0.1
MIN_CLIPPED_RUN_SAMPLES = 4
"""A run of this many samples at the peak is clipped."""
MAX_CLIPPED_SHARE = 1e-3
MAX_STUCK_CHANGE_NATS = 0.02
"""Even a steady sound changes more than this from frame to frame, on average over its bins."""
MIN_STUCK_S = 1
MIN_REQUESTED_CHANGE_NATS = 1.0
MIN_TEXT_SCORE = 0.1
"""Sounds that match their prompt rarely score less than this."""


@dataclass(frozen=True)
class WordScorer:
    """Scores sounds against their prompts.

    Args:
        joint_scorer: Compares prompts with sounds; None if the pack cannot.
        front_end: Log-mel front end of the pack.
        known_prompts: Prompts that the pack can judge.
    """

    joint_scorer: JointScorer | None
    front_end: AudioFrontEnd
    known_prompts: frozenset[str]

    def __call__(self, prompt: str, waveform: FloatArray) -> float | None:
        """How well a waveform matches a prompt, 0 to 1; None for silence and for prompts the pack cannot judge."""
        if self.joint_scorer is None or not waveform.any() or prompt not in self.known_prompts:
            return None
        return self.joint_scorer.score_text_sound(prompt, self.front_end.encode(normalise(waveform))).probability


def find_faults(
    waveform: FloatArray,
    log_mel: NDArray[np.floating],
    requested_energy: EnergyCurve,
    silence_nats: float,
    text_score: float | None,
) -> tuple[FaultName, ...]:
    """Find the reasons not to use a sound.

    Args:
        waveform: [samples] within ±1, before resampling.
        log_mel: Log-mel of the waveform, [T, bins] in nats, on the grid of the requested energy.
        requested_energy: Energy that the sound should follow.
        silence_nats: Energy of silence.
        text_score: How well the sound matches its prompt, 0 to 1; None if unknown.

    Returns:
        "silent": The request is audible, but the sound is not. "clipped": Its peaks are cut off. "stuck": Its spectrum
        does not change although the requested energy does. "wrong": It matches other prompts better. Empty if the sound
        has no faults.
    """
    faults: list[FaultName] = []
    energy = log_mel.mean(axis=-1)
    frame_s = float(1 / requested_energy.rate_hz)
    requested = requested_energy.values > silence_nats + AUDIBLE_MARGIN_NATS
    audible = energy[: len(requested)] > silence_nats + MIN_SIGNAL_NATS
    if requested.sum() * frame_s >= MIN_AUDIBLE_S and not (audible & requested).any():
        faults.append("silent")
    if clipped_share(waveform) > MAX_CLIPPED_SHARE:
        faults.append("clipped")
    if _is_stuck(log_mel, requested_energy, silence_nats):
        faults.append("stuck")
    if text_score is not None and text_score < MIN_TEXT_SCORE and "silent" not in faults:
        faults.append("wrong")
    return tuple(faults)


def clipped_share(waveform: FloatArray) -> float:
    """Share of the samples [N], 0 to 1, that are in runs at the peak of the waveform."""
    peak = sample_peak(waveform)
    if peak == 0:
        return 0.0
    counted = 0
    for at_ceiling in (waveform >= 0.9999 * peak, waveform <= -0.9999 * peak):
        lengths = [end - first for first, end in find_runs(at_ceiling)]
        counted += sum(length for length in lengths if length >= MIN_CLIPPED_RUN_SAMPLES)
    return counted / waveform.size


def score_take(correlation: float | None, mae_nats: float, text_score: float | None) -> float:
    """Rate how well a take follows its request, 0 to 1: the mean of the scores for energy and prompt.

    Args:
        correlation: Correlation of requested and produced energy, -1 to 1. If one of them is constant, it is None and
            the difference of their levels counts instead.
        mae_nats: Mean absolute difference of the two energies.
        text_score: How well the sound matches the prompt, 0 to 1; None leaves it out.
    """
    following = math.exp(-mae_nats) if correlation is None else max(0.0, correlation)
    return following if text_score is None else (following + text_score) / 2


def sort_best_first(takes: Sequence[Take]) -> tuple[Take, ...]:
    """Sort takes: those without faults first, then by score, then by seed."""
    return tuple(sorted(takes, key=lambda take: (len(take.faults) > 0, -_rating(take), take.seed)))


def rank_by_avh(takes: Sequence[Take], scorer: AvhScorer) -> tuple[Take, ...]:
    """Measure the AVHScore of takes and sort them: those without faults first, then by AVHScore, then by seed."""
    scored = []
    for take in takes:
        mix = take.mix()
        scored.append(replace(take, avh_score=scorer.score(mix.waveform, mix.sample_rate_hz)))

    def place(take: Take) -> tuple[bool, float, int]:
        return len(take.faults) > 0, math.inf if take.avh_score is None else -take.avh_score, take.seed

    return tuple(sorted(scored, key=place))


def _rating(take: Take) -> float:
    """The score of a take, or without one how well it follows its energy."""
    return score_take(take.energy_correlation, take.energy_mae_nats, None) if take.score is None else take.score


def _is_stuck(log_mel: NDArray[np.floating], requested_energy: EnergyCurve, silence_nats: float) -> bool:
    """Whether an audible spectrum stays the same for long while the requested energy changes."""
    frames = min(len(log_mel), len(requested_energy.values))
    still = np.abs(np.diff(log_mel[:frames], axis=0)).mean(axis=-1) < MAX_STUCK_CHANGE_NATS
    audible = log_mel[1:frames].max(axis=-1) > silence_nats + AUDIBLE_MARGIN_NATS
    return any(
        (end - begin) / float(requested_energy.rate_hz) >= MIN_STUCK_S
        and np.ptp(requested_energy.values[begin:end]) > MIN_REQUESTED_CHANGE_NATS
        for begin, end in find_runs(still & audible)
    )
