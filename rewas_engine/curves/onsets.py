"""Detect onsets in a waveform and compare two lists of onsets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal.windows import hann
from transformers.audio_utils import mel_filter_bank

TimesArray = NDArray[np.float64]

TOLERANCE_S = 0.05
"""Onsets at most this far apart match."""
ROUNDING_S = 1e-9
"""Rounding tolerance, so that onsets exactly TOLERANCE_S apart match."""

# Tuned on the synthetic struck classes for F1 at ±50 ms, with and without background sound.
WINDOW_S, HOP_S, RISE_S = 0.064, 0.005, 0.03
BANDS, LOWEST_HZ = 40, 60.0
FLOOR = 1e-3
"""Share of the spectrogram's peak below which sound is ignored: -60 dB."""
NOISE_PERCENTILE, NOISE_SHARE = 25.0, 6.0
"""Percentile that estimates a band's steady noise, and how many times as loud a rise must be to count fully."""
FLUX_POWER = 3.0
THRESHOLD_NATS, THRESHOLD_SHARE, THRESHOLD_REACH_S = 0.25, 1.0, 0.1
MIN_SEPARATION_S = 0.08
"""Onsets closer than this are merged."""
REPLACE_RATIO = 2.0
MASKING_S, MASKING_DB = 0.15, 5.0
"""Time for which an onset masks onsets that are softer by this much, such as the ring or echo of a strike."""


@dataclass(frozen=True)
class OnsetScore:
    """Agreement of two lists of onsets, each figure from 0 to 1.

    Attributes:
        precision: Share of the estimated onsets that match.
        recall: Share of the reference onsets that match.
        f1: Harmonic mean of the two.
    """

    precision: float
    recall: float
    f1: float


def detect_onsets(waveform: NDArray[np.floating], sample_rate_hz: int) -> tuple[TimesArray, TimesArray]:
    """Detect the onsets of a mono waveform `[samples]`.

    The method is spectral flux (Bello et al. 2005; Dixon 2006) of a log-mel spectrogram: the rise of its bands above
    their steady noise within 30 ms, averaged with the third power so that narrow-band sounds count. An onset is a local
    maximum above a threshold plus the moving mean. Onsets closer than MIN_SEPARATION_S are merged, and masked ones are
    removed. Silence is added before the waveform, so that a sound at its first sample has an onset there. The last half
    window (32 ms) is ignored. The result does not depend on the level of the waveform.

    Returns:
        Times `[N]` in seconds, ascending, and strengths `[N]` above 0 in nats.
    """
    bands, times_s = _spectrogram(np.asarray(waveform, np.float64), sample_rate_hz)
    if bands.size == 0 or bands.max() <= 0:
        return np.empty(0), np.empty(0)
    flux = _flux(bands)
    local_maximum = flux == maximum_filter1d(flux, 2 * round(MIN_SEPARATION_S / 2 / HOP_S) + 1)
    moving_mean = uniform_filter1d(flux, 2 * round(THRESHOLD_REACH_S / HOP_S) + 1)
    peaks = np.flatnonzero(local_maximum & (flux > THRESHOLD_NATS + THRESHOLD_SHARE * moving_mean))
    kept = _remove_masked(_merge_close_peaks(peaks, flux), bands)
    return times_s[kept], flux[kept]


def _spectrogram(waveform: NDArray[np.float64], sample_rate_hz: int) -> tuple[TimesArray, TimesArray]:
    """Magnitudes `[T, bands]` of the windows within the waveform, and their centres in seconds."""
    window, hop = round(WINDOW_S * sample_rate_hz), HOP_S * sample_rate_hz
    silence_first = np.concatenate([np.zeros(window), waveform])
    starts = np.round(np.arange(0, silence_first.size - window + 1, hop)).astype(int)
    pieces = np.lib.stride_tricks.sliding_window_view(silence_first, window)[starts]
    bank = mel_filter_bank(
        num_frequency_bins=window // 2 + 1,
        num_mel_filters=BANDS,
        min_frequency=LOWEST_HZ,
        max_frequency=sample_rate_hz / 2,
        sampling_rate=sample_rate_hz,
        norm="slaney",
    )
    return np.abs(rfft(pieces * hann(window, sym=False))) @ bank, (starts - window / 2) / sample_rate_hz


def _flux(bands: TimesArray) -> TimesArray:
    """Mean rise `[T]` of bands `[T, bands]` within RISE_S, above floor and noise, in nats."""
    noise = NOISE_SHARE * np.percentile(bands, NOISE_PERCENTILE, axis=0)
    levels = np.log((bands + noise) / bands.max() + FLOOR)
    frames = round(RISE_S / HOP_S)
    rise = np.zeros_like(levels)
    rise[frames:] = np.maximum(levels[frames:] - levels[:-frames], 0.0)
    return np.asarray(np.mean(rise**FLUX_POWER, axis=1) ** (1 / FLUX_POWER))


def _merge_close_peaks(peaks: NDArray[np.int64], flux: TimesArray) -> list[int]:
    """Merge peaks closer than MIN_SEPARATION_S. The first is kept unless the next is much stronger.

    The latch of a door, for example, is not an onset next to the slam.
    """
    kept: list[int] = []
    for peak in peaks:
        if not kept or (peak - kept[-1]) * HOP_S >= MIN_SEPARATION_S - ROUNDING_S:
            kept.append(int(peak))
        elif flux[peak] > REPLACE_RATIO * flux[kept[-1]]:
            kept[-1] = int(peak)
    return kept


def _remove_masked(peaks: list[int], bands: TimesArray) -> list[int]:
    """Remove peaks that an earlier, louder one masks."""
    levels_db = 10 * np.log10(np.square(bands).sum(axis=1) + 1e-30)
    loudest_soon_db = maximum_filter1d(levels_db, 7, origin=-3)
    kept: list[int] = []
    for peak in peaks:
        before = [other for other in kept if (peak - other) * HOP_S <= MASKING_S + ROUNDING_S]
        if all(loudest_soon_db[peak] >= loudest_soon_db[other] - MASKING_DB for other in before):
            kept.append(peak)
    return kept


def match_onsets(
    reference_s: NDArray[np.floating], estimated_s: NDArray[np.floating], tolerance_s: float = TOLERANCE_S
) -> NDArray[np.int64]:
    """Find a maximum one-to-one matching of onsets.

    Args:
        reference_s: Times in seconds, in any order.
        estimated_s: Times in seconds, in any order.
        tolerance_s: Largest distance of a pair.

    Returns:
        `[M, 2]` indices into `reference_s` and `estimated_s`, ascending in time.
    """
    # Not mir_eval.util.match_events, which picks other pairs and does not allow for rounding: figures would change.
    reference_order, estimated_order = np.argsort(reference_s, kind="stable"), np.argsort(estimated_s, kind="stable")
    pairs: list[tuple[int, int]] = []
    row, column = 0, 0
    # With equal tolerances, the earliest partner is always an optimal choice.
    while row < reference_order.size and column < estimated_order.size:
        ahead_s = float(estimated_s[estimated_order[column]]) - float(reference_s[reference_order[row]])
        if abs(ahead_s) <= tolerance_s + ROUNDING_S:
            pairs.append((int(reference_order[row]), int(estimated_order[column])))
            row, column = row + 1, column + 1
        elif ahead_s < 0:
            column += 1
        else:
            row += 1
    return np.array(pairs, np.int64).reshape(-1, 2)


def onset_f1(
    reference_s: NDArray[np.floating], estimated_s: NDArray[np.floating], tolerance_s: float = TOLERANCE_S
) -> OnsetScore:
    """Compare estimated onsets `[N]` with reference onsets `[M]`, both in seconds.

    Two empty lists score 1.0 throughout. If only one is empty, the score is 0.0.
    """
    if len(reference_s) == 0 and len(estimated_s) == 0:
        return OnsetScore(1.0, 1.0, 1.0)
    matched = len(match_onsets(reference_s, estimated_s, tolerance_s))
    if matched == 0:
        return OnsetScore(0.0, 0.0, 0.0)
    return OnsetScore(
        matched / len(estimated_s), matched / len(reference_s), 2 * matched / (len(reference_s) + len(estimated_s))
    )
