"""Onset accuracy and average precision as defined by the Greatest Hits benchmark.

The protocol is from "Conditional Generation of Audio from Video via Foley Analogies" (Du et al., CVPR 2023) and is
used by later papers, including ReWaS. Onsets are detected in the real and in the generated sound.

- *Number accuracy* ("onset accuracy", "# Onset Acc."): share of clips whose generated sound has exactly as many
  onsets as the real one.
- *Matched share* ("detection accuracy" in the release): share of the real onsets that have a partner in the generated
  sound within ±0.1 s.
- *Average precision* ("Onset AP"): generated onsets are detections. Their confidence is the highest amplitude within
  ±0.05 s as a share of the clip's peak; a detection is correct if it has a partner within ±0.1 s.

The tolerance of 0.1 s is that of the release; `onsets.onset_f1` uses the stricter ±0.05 s. There are two differences
from the release. Partners are found by a maximum one-to-one matching, while the release visits the real onsets in order
and takes the loudest remaining one. The detectors differ too (`onsets.detect_onsets` here, librosa's in the release).
Figures are therefore comparable with published ones only approximately.

The release counts missed onsets as positives of confidence 0, so that a silent sound scores 1.0. Here they lower the
recall. For comparison with published tables, `credited_average_precision` includes that credit, except that a silent
sound scores 0.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.onsets import TimesArray, detect_onsets, match_onsets

TOLERANCE_S = 0.1
CONFIDENCE_REACH_S = 0.05


@dataclass(frozen=True)
class GreatestHitsScore:
    """Scores of one clip's onsets against the real ones.

    Attributes:
        same_number: Whether there are as many onsets as in the real sound.
        matched_share: Share of the real onsets with a partner, 0..1.
        average_precision: Average precision of the generated onsets by confidence, 0..1.
        credited_average_precision: The same, with missed onsets as positives of confidence 0, as in the release.
    """

    same_number: bool
    matched_share: float
    average_precision: float
    credited_average_precision: float


def compare_sounds(
    real: NDArray[np.floating], generated: NDArray[np.floating], sample_rate_hz: int, tolerance_s: float = TOLERANCE_S
) -> GreatestHitsScore:
    """Score a generated waveform [samples] against the real one [samples] by the onsets detected in both."""
    real_s, _ = detect_onsets(real, sample_rate_hz)
    generated_s, _ = detect_onsets(generated, sample_rate_hz)
    return compare_onsets(real_s, generated_s, onset_confidences(generated, sample_rate_hz, generated_s), tolerance_s)


def compare_onsets(
    real_s: TimesArray, generated_s: TimesArray, confidences: NDArray[np.floating], tolerance_s: float = TOLERANCE_S
) -> GreatestHitsScore:
    """Score onsets against the real ones.

    Two empty sets agree perfectly; if only one is empty, every score is 0.

    Args:
        real_s: [M] seconds.
        generated_s: [N] seconds.
        confidences: [N], confidences of the generated onsets.
        tolerance_s: Largest distance between partners.
    """
    if len(real_s) == 0 or len(generated_s) == 0:
        agree = len(real_s) == len(generated_s)
        return GreatestHitsScore(agree, float(agree), float(agree), float(agree))
    right = np.zeros(len(generated_s), bool)
    right[match_onsets(real_s, generated_s, tolerance_s)[:, 1]] = True
    missed = len(real_s) - int(right.sum())
    return GreatestHitsScore(
        len(real_s) == len(generated_s),
        int(right.sum()) / len(real_s),
        average_precision(right, confidences, positives=len(real_s)),
        average_precision(
            np.concatenate([right, np.ones(missed, bool)]),
            np.concatenate([confidences, np.zeros(missed)]),
            positives=len(real_s),
        ),
    )


def average_precision(right: NDArray[np.bool_], confidences: NDArray[np.floating], *, positives: int) -> float:
    """Σ (R_k − R_{k−1})·P_k over the distinct confidences in falling order, 0..1.

    Detections of equal confidence are counted together, so that their order does not matter.

    Args:
        right: [N], whether each detection is correct.
        confidences: [N].
        positives: Number of onsets to find, at least right.sum().
    """
    order = np.argsort(-confidences, kind="stable")
    found = np.cumsum(right[order])
    last_of_its_confidence = np.append(np.diff(confidences[order]) != 0, True)
    recall = found[last_of_its_confidence] / positives
    precision = found[last_of_its_confidence] / (np.flatnonzero(last_of_its_confidence) + 1)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def onset_confidences(waveform: NDArray[np.floating], sample_rate_hz: int, times_s: TimesArray) -> TimesArray:
    """Highest amplitude within ±CONFIDENCE_REACH_S of each onset as a share of the waveform's peak: [N] in 0..1."""
    loudness = np.abs(np.asarray(waveform, np.float64))
    reach = round(CONFIDENCE_REACH_S * sample_rate_hz)
    centres = np.round(times_s * sample_rate_hz).astype(int)
    peak = max(float(loudness.max(initial=0.0)), 1e-12)
    return np.array([loudness[max(0, at - reach) : at + reach + 1].max(initial=0.0) / peak for at in centres])


def mean_scores(scores: Sequence[GreatestHitsScore]) -> dict[str, float]:
    """Means over clips, each in 0..1: number_accuracy, matched_share and both average precisions."""
    return {
        "number_accuracy": float(np.mean([score.same_number for score in scores])),
        "matched_share": float(np.mean([score.matched_share for score in scores])),
        "average_precision": float(np.mean([score.average_precision for score in scores])),
        "credited_average_precision": float(np.mean([score.credited_average_precision for score in scores])),
    }
