"""Distances and scores of embeddings and class scores, in float64, without any model.

Every function takes one row per clip (or per part of a clip) and returns one number. A value that is not defined for
the rows, such as the Fréchet distance of a single clip, is an UndefinedMeasureError, never a number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from rewas_engine.errors import EngineError

Matrix = NDArray[np.float64]

KERNEL_DEGREE = 3
MAX_KERNEL_BLOCK_ROWS = 2048
"""Rows of the kernel matrix in memory at a time."""


class UndefinedMeasureError(EngineError):
    """A measure has no value for the clips at hand: too few of them, or embeddings that cannot be compared."""


def frechet_distance(real: NDArray[np.floating], generated: NDArray[np.floating]) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson and Landau 1982), as in FID, FAD, FD and FVD.

    |m − n|² + tr(A) + tr(B) − 2·tr((AB)^½) with means m, n and unbiased covariances A, B. With A = FᵀF and B = GᵀG, the
    trace of the root is the sum of the singular values of FGᵀ, so that nothing becomes complex, and few rows are fast.

    Args:
        real: Embeddings [N, D], N at least 2.
        generated: Embeddings [M, D], M at least 2. With fewer rows than D, the distance depends on the number of rows.

    Raises:
        UndefinedMeasureError: A side has fewer than two rows, values that are not finite, or another width.
    """
    one, other = _comparable(real, generated, "The Fréchet distance")
    mean_difference = one.mean(axis=0) - other.mean(axis=0)
    factor, other_factor = _covariance_factor(one), _covariance_factor(other)
    root_trace = np.linalg.svd(factor @ other_factor.T, compute_uv=False).sum()
    distance = mean_difference @ mean_difference + (factor**2).sum() + (other_factor**2).sum() - 2 * root_trace
    return max(0.0, float(distance))


def kernel_distance(real: NDArray[np.floating], generated: NDArray[np.floating]) -> float:
    """Unbiased squared maximum mean discrepancy (Gretton et al. 2012) of the kernel (x·y / D + 1)³, as in KID and KVD.

    All pairs are used, instead of the mean over random subsets of many implementations: the expected value is the same,
    without their noise. The estimate is unbiased, so it can be slightly negative for equal distributions.

    Args:
        real: Embeddings [N, D], N at least 2.
        generated: Embeddings [M, D], M at least 2.

    Raises:
        UndefinedMeasureError: As in `frechet_distance`.
    """
    one, other = _comparable(real, generated, "The kernel distance")
    within = sum(
        (_kernel_sum(rows, rows) - _kernel_diagonal_sum(rows)) / (len(rows) * (len(rows) - 1)) for rows in (one, other)
    )
    return within - 2 * _kernel_sum(one, other) / (len(one) * len(other))


def inception_score(logits: NDArray[np.floating]) -> float:
    """Inception score (Salimans et al. 2016): exp of the mean of KL(p(class | clip) ‖ p(class)), from 1 to C.

    Args:
        logits: Unnormalised log-probabilities [N, C] of generated clips, N at least 1.

    Raises:
        UndefinedMeasureError: There are no rows, or values that are not finite.
    """
    scores = _finite(logits, "The inception score", at_least=1)
    log_shares = log_softmax(scores, axis=1)
    shares = np.exp(log_shares)
    mean = shares.mean(axis=0)
    # Where the mean underflows to 0, so does each share.
    log_mean = np.log(np.where(mean > 0, mean, 1.0))
    return float(np.exp((shares * (log_shares - log_mean)).sum(axis=1).mean()))


def kl_divergences(real_logits: NDArray[np.floating], generated_logits: NDArray[np.floating]) -> Matrix:
    """KL(p(class | real clip) ‖ p(class | generated clip)) of each pair, in nats: [N]. Its mean is MKL.

    Args:
        real_logits: Unnormalised log-probabilities [N, C] of the real clips.
        generated_logits: [N, C], those of the sound that was generated for each of them.

    Raises:
        UndefinedMeasureError: The two have different shapes, no rows, or values that are not finite.
    """
    one = _finite(real_logits, "The KL divergence", at_least=1)
    other = _finite(generated_logits, "The KL divergence", at_least=1)
    _check_pairs(one, other, "The KL divergence")
    log_shares = log_softmax(one, axis=1)
    differences = np.exp(log_shares) * (log_shares - log_softmax(other, axis=1))
    return np.asarray(np.clip(differences.sum(axis=1), 0, None), np.float64)


def cosines(one: NDArray[np.floating], other: NDArray[np.floating]) -> Matrix:
    """Cosine of each pair of rows, [N]: the CLAP score of texts with sounds, or CLIPSIM of texts with frames.

    Args:
        one: [N, D], of any length above 0.
        other: [N, D], or [1, D] to compare all rows with one vector.

    Raises:
        UndefinedMeasureError: The shapes do not fit, or a vector is 0 or not finite.
    """
    rows = _finite(one, "The cosine", at_least=1)
    others = _finite(other, "The cosine", at_least=1)
    if len(others) == 1:
        others = np.broadcast_to(others, (len(rows), others.shape[1]))
    _check_pairs(rows, others, "The cosine")
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    if not lengths.all():
        raise UndefinedMeasureError(
            f"The cosine is not defined: the embedding of clip {int(np.argmin(lengths)) + 1} is 0.",
            "Check the weights of the encoder.",
        )
    return np.asarray(np.clip((rows * others).sum(axis=1) / lengths, -1, 1), np.float64)


def desync_s(offsets_s: NDArray[np.floating]) -> float:
    """DeSync: mean of the absolute offsets of sound and picture that a synchroniser predicts, in seconds.

    Args:
        offsets_s: [N], one per clip.

    Raises:
        UndefinedMeasureError: There are no values, or values that are not finite.
    """
    return float(np.abs(_finite(np.asarray(offsets_s)[:, None], "DeSync", at_least=1)).mean())


def is_underdetermined(rows: int, width: int) -> bool:
    """Whether a Fréchet distance of so many rows depends on their number: the covariance cannot have full rank."""
    return rows <= width


def _comparable(real: NDArray[np.floating], generated: NDArray[np.floating], measure: str) -> tuple[Matrix, Matrix]:
    one, other = _finite(real, measure, at_least=2), _finite(generated, measure, at_least=2)
    if one.shape[1] != other.shape[1]:
        raise _width_error(measure, one, other)
    return one, other


def _check_pairs(one: Matrix, other: Matrix, measure: str) -> None:
    if len(one) != len(other):
        raise UndefinedMeasureError(
            f"{measure} compares pairs, but there are {len(one)} and {len(other)} clips.", "Give one of each per pair."
        )
    if one.shape[1] != other.shape[1]:
        raise _width_error(measure, one, other)


def _finite(rows: NDArray[np.floating], measure: str, *, at_least: int) -> Matrix:
    values = np.asarray(rows, np.float64)
    if values.ndim != 2 or not values.shape[1]:
        raise UndefinedMeasureError(
            f"{measure} needs one row of values per clip, but the shape is {list(values.shape)}.",
            "Give a matrix of clips and values.",
        )
    if len(values) < at_least:
        count = "one clip" if len(values) == 1 else f"{len(values)} clips"
        raise UndefinedMeasureError(
            f"{measure} is not defined for {count}.", f"Measure at least {at_least} clip{'s' if at_least > 1 else ''}."
        )
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if wrong.size:
        places = ", ".join(str(place + 1) for place in wrong[:5])
        raise UndefinedMeasureError(
            f"{measure} is not defined: values of clip {places}{' and others' if wrong.size > 5 else ''} "
            "are not finite.",
            "Check the weights of the encoder and these clips.",
        )
    return values


def _width_error(measure: str, one: Matrix, other: Matrix) -> UndefinedMeasureError:
    return UndefinedMeasureError(
        f"{measure} is not defined for embeddings of {one.shape[1]} and of {other.shape[1]} values.",
        "Use the same encoder for both.",
    )


def _covariance_factor(rows: Matrix) -> Matrix:
    """A matrix F of at most D rows for which FᵀF is the covariance [D, D] of rows [N, D]."""
    factor = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
    return np.asarray(np.linalg.qr(factor, mode="r")) if len(rows) > rows.shape[1] else factor


def _kernel_sum(one: Matrix, other: Matrix) -> float:
    """Sum of the kernel over all pairs of rows."""
    blocks = range(0, len(one), MAX_KERNEL_BLOCK_ROWS)
    return sum(
        float(((one[first : first + MAX_KERNEL_BLOCK_ROWS] @ other.T / one.shape[1] + 1) ** KERNEL_DEGREE).sum())
        for first in blocks
    )


def _kernel_diagonal_sum(rows: Matrix) -> float:
    return float(((np.square(rows).sum(axis=1) / rows.shape[1] + 1) ** KERNEL_DEGREE).sum())
