"""Onsets: when something begins to sound, found in a waveform, and how well two rows of onsets agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TimesArray = NDArray[np.float64]

TOLERANCE_S = 0.05
"""Two onsets at most this far apart are the same one."""
ROUNDING_S = 1e-9
"""Onsets that lie exactly a tolerance apart agree, whatever the last bit says."""


@dataclass(frozen=True)
class OnsetScore:
    """Agreement of two rows of onsets, each figure in 0..1.

    precision: share of the estimated onsets that have a partner. recall: share of the reference. f1: harmonic mean.
    """

    precision: float
    recall: float
    f1: float


def detect_onsets(waveform: NDArray[np.floating], sample_rate_hz: int) -> tuple[TimesArray, TimesArray]:
    """Onsets of a mono waveform [samples]: times [N] in seconds, ascending, and strengths [N] > 0.

    Silence has none; a gain changes neither times nor number.
    """
    raise NotImplementedError


def match_onsets(
    reference_s: NDArray[np.floating], estimated_s: NDArray[np.floating], tolerance_s: float = TOLERANCE_S
) -> NDArray[np.int64]:
    """As many one-to-one pairs as the tolerance permits: [M, 2] positions in reference_s and estimated_s.

    The order of either row does not matter. Pairs ascend in time.
    """
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
