"""Onsets: when something begins to sound, found in a waveform, and how well two rows of onsets agree."""

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
"""Two onsets at most this far apart are the same one."""
ROUNDING_S = 1e-9
"""Onsets that lie exactly a tolerance apart agree, whatever the last bit says."""

# Found on the world's struck classes: F1 at ±50 ms is highest about here, with murmur beneath the strikes and without.
WINDOW_S, HOP_S, RISE_S = 0.064, 0.005, 0.03
BANDS, LOWEST_HZ = 40, 60.0
FLOOR = 1e-3
"""Of the spectrogram's peak: what lies more than 60 dB below the loudest moment is not heard."""
NOISE_PERCENTILE, NOISE_SHARE = 25.0, 6.0
"""A band's steady noise, and how many times as loud a rise must be to count in full."""
FLUX_POWER = 3.0
THRESHOLD_NATS, THRESHOLD_SHARE, THRESHOLD_REACH_S = 0.25, 1.0, 0.1
MIN_SEPARATION_S = 0.08
"""Onsets that follow each other faster are taken for one."""
REPLACE_RATIO = 2.0
MASKING_S, MASKING_DB = 0.15, 5.0
"""For so long an onset hides others that are softer by so much: the ring, rattle and echo of a strike."""


@dataclass(frozen=True)
class OnsetScore:
    """Agreement of two rows of onsets, each figure in 0..1.

    precision: share of the estimated onsets that have a partner. recall: share of the reference. f1: harmonic mean.
    """

    precision: float
    recall: float
    f1: float


def detect_onsets(waveform: NDArray[np.floating], sample_rate_hz: int) -> tuple[TimesArray, TimesArray]:
    """Onsets of a mono waveform [samples]: times [N] in seconds, ascending, and strengths [N] > 0 in nats.

    Spectral flux (Bello et al. 2005; Dixon 2006) of a log-mel spectrogram: how much its bands have risen within 30 ms
    above their steady noise, as their mean of third power, which lets few bands count where a sound is narrow. An onset
    is a local maximum of it that stands above a fixed height plus its moving mean; the height is the strength. Onsets
    closer than MIN_SEPARATION_S are one, and those that an earlier one masks are left out. Silence comes before the
    waveform, so that what sounds from its first sample on begins there; its last half window (32 ms) is too short to be
    judged. Silence has none, and a gain changes nothing.
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
    """Magnitudes [T, bands] of the windows that end within the waveform, and the times of their centres in seconds."""
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
    """Rise of the bands [T, bands] within RISE_S, above floor and noise, in nats: [T]."""
    noise = NOISE_SHARE * np.percentile(bands, NOISE_PERCENTILE, axis=0)
    levels = np.log((bands + noise) / bands.max() + FLOOR)
    frames = round(RISE_S / HOP_S)
    rise = np.zeros_like(levels)
    rise[frames:] = np.maximum(levels[frames:] - levels[:-frames], 0.0)
    return np.asarray(np.mean(rise**FLUX_POWER, axis=1) ** (1 / FLUX_POWER))


def _merge_close_peaks(peaks: NDArray[np.int64], flux: TimesArray) -> list[int]:
    """Frames of the peaks, ascending, no two closer than MIN_SEPARATION_S: the first stays unless the next is far
    stronger.

    A door's latch falls in after the slam; the slam is the onset.
    """
    kept: list[int] = []
    for peak in peaks:
        if not kept or (peak - kept[-1]) * HOP_S >= MIN_SEPARATION_S - ROUNDING_S:
            kept.append(int(peak))
        elif flux[peak] > REPLACE_RATIO * flux[kept[-1]]:
            kept[-1] = int(peak)
    return kept


def _remove_masked(peaks: list[int], bands: TimesArray) -> list[int]:
    """Frames of the peaks, ascending, that no earlier and louder one hides."""
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
    """As many one-to-one pairs as the tolerance permits: [M, 2] positions in reference_s and estimated_s.

    The order of either row does not matter. Pairs ascend in time.
    """
    # Not mir_eval.util.match_events, which picks other pairs and does not allow for rounding: figures would change.
    reference_order, estimated_order = np.argsort(reference_s, kind="stable"), np.argsort(estimated_s, kind="stable")
    pairs: list[tuple[int, int]] = []
    row, column = 0, 0
    # All windows are equally wide: taking the earliest partner never costs a later pair.
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
    """Precision, recall and F1 of estimated onsets [N] against a reference [M], both in seconds.

    Two empty rows agree perfectly: 1.0 throughout. One empty row against one that is not: 0.0 throughout.
    """
    if len(reference_s) == 0 and len(estimated_s) == 0:
        return OnsetScore(1.0, 1.0, 1.0)
    matched = len(match_onsets(reference_s, estimated_s, tolerance_s))
    if matched == 0:
        return OnsetScore(0.0, 0.0, 0.0)
    return OnsetScore(
        matched / len(estimated_s), matched / len(reference_s), 2 * matched / (len(reference_s) + len(estimated_s))
    )
