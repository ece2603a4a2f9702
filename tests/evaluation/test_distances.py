"""Distances and scores of embeddings: known answers, other ways to compute them, and what is not defined."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from scipy.stats import entropy

from rewas_engine.evaluation.distances import (
    UndefinedMeasureError,
    cosines,
    desync_s,
    frechet_distance,
    inception_score,
    is_underdetermined,
    kernel_distance,
    kl_divergences,
)

Matrix = NDArray[np.float64]
seeds = st.integers(0, 2**32 - 1)


def _rows(rows: int, width: int, seed: int = 0, scale: float = 1.0, shift: float = 0.0) -> Matrix:
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((rows, width)) @ rng.standard_normal((width, width)) + shift


class TestFrechetDistance:
    def test_of_a_shifted_copy_is_the_squared_length_of_the_shift(self) -> None:
        rows = _rows(50, 4)
        shift = np.array([3.0, 0.0, -4.0, 0.0])
        assert frechet_distance(rows, rows + shift) == pytest.approx(25.0, abs=1e-8)

    def test_of_one_dimension_is_that_of_means_and_deviations(self) -> None:
        one, other = np.array([[0.0], [2.0]]), np.array([[10.0], [18.0]])
        spread, other_spread = math.sqrt(2.0), math.sqrt(32.0)
        assert frechet_distance(one, other) == pytest.approx((14 - 1) ** 2 + (other_spread - spread) ** 2)

    def test_of_scaled_rows_is_that_of_the_scaled_root(self) -> None:
        # B = 9A, so tr((AB)^½) = 3·tr(A) and the covariances contribute 4·tr(A).
        rows = _rows(100, 5)
        rows -= rows.mean(axis=0)
        trace = float(np.trace(np.cov(rows, rowvar=False)))
        assert frechet_distance(rows, 3 * rows) == pytest.approx(4 * trace, rel=1e-9)

    @settings(max_examples=25, deadline=None)
    @given(seeds, st.integers(2, 12), st.integers(20, 60))
    def test_equals_the_formula_with_the_matrix_root_of_scipy(self, seed: int, width: int, count: int) -> None:
        one, other = _rows(count, width, seed), _rows(count + 7, width, seed + 1, 0.7, 0.4)
        covariance, other_covariance = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
        root = np.real(sqrtm(covariance @ other_covariance))
        difference = one.mean(axis=0) - other.mean(axis=0)
        expected = difference @ difference + np.trace(covariance + other_covariance - 2 * root)
        assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6, abs=1e-6)

    @settings(max_examples=25, deadline=None)
    @given(seeds, st.integers(1, 8), st.integers(2, 20))
    def test_is_symmetric_and_zero_for_equal_rows(self, seed: int, width: int, count: int) -> None:
        one, other = _rows(count, width, seed), _rows(count, width, seed + 1)
        scale = 1 + float(np.abs(one).max() + np.abs(other).max()) ** 2
        assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-6 * scale)
        assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-5, abs=1e-6 * scale)

    def test_works_with_fewer_rows_than_dimensions(self) -> None:
        one = np.random.default_rng(0).standard_normal((3, 40))
        assert frechet_distance(one, one + 1) == pytest.approx(40.0, rel=1e-6)
        assert is_underdetermined(3, 40)
        assert not is_underdetermined(41, 40)

    @pytest.mark.parametrize("count", [0, 1])
    def test_of_too_few_clips_is_not_defined(self, count: int) -> None:
        with pytest.raises(UndefinedMeasureError, match=r"is not defined for (one clip|0 clips)") as caught:
            frechet_distance(_rows(5, 3), _rows(5, 3)[:count])
        assert "at least 2 clips" in caught.value.remedy

    def test_names_clips_whose_values_are_not_finite(self) -> None:
        rows = _rows(5, 3)
        rows[[1, 3], 0] = np.nan, np.inf
        with pytest.raises(UndefinedMeasureError, match="values of clip 2, 4 are not finite"):
            frechet_distance(_rows(5, 3), rows)

    def test_refuses_embeddings_of_another_encoder(self) -> None:
        with pytest.raises(UndefinedMeasureError, match="of 3 and of 4 values"):
            frechet_distance(_rows(5, 3), _rows(5, 4))


class TestKernelDistance:
    def test_of_two_pairs_by_hand(self) -> None:
        # Width 1, kernel (xy + 1)³: within one (0·2 + 1)³ = 1, within the other (1·3 + 1)³ = 64, across
        # (0 + 1)³ + (0 + 1)³ + (2 + 1)³ + (6 + 1)³ = 372.
        one, other = np.array([[0.0], [2.0]]), np.array([[1.0], [3.0]])
        assert kernel_distance(one, other) == pytest.approx(1 + 64 - 2 * 372 / 4)

    @settings(max_examples=25, deadline=None)
    @given(seeds, st.integers(1, 6), st.integers(2, 9), st.integers(2, 9))
    def test_equals_the_sum_over_pairs(self, seed: int, width: int, count: int, other_count: int) -> None:
        one, other = _rows(count, width, seed), _rows(other_count, width, seed + 1)

        def kernel(x: Matrix, y: Matrix) -> float:
            return float((x @ y / width + 1) ** 3)

        def mean_within(rows: Matrix) -> float:
            pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if i != j]
            return float(np.mean([kernel(rows[i], rows[j]) for i, j in pairs]))

        across = float(np.mean([kernel(x, y) for x in one for y in other]))
        expected = mean_within(one) + mean_within(other) - 2 * across
        scale = max(kernel(x, x) for x in (*one, *other))
        assert kernel_distance(one, other) == pytest.approx(expected, rel=1e-9, abs=1e-9 * scale)

    def test_is_near_zero_for_one_distribution_and_large_for_two(self) -> None:
        rng = np.random.default_rng(0)
        same = kernel_distance(rng.standard_normal((400, 8)), rng.standard_normal((400, 8)))
        apart = kernel_distance(rng.standard_normal((400, 8)), rng.standard_normal((400, 8)) + 1)
        assert abs(same) < 0.05 < 0.5 < apart

    def test_does_not_depend_on_the_blocks_in_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        one, other = _rows(50, 4), _rows(40, 4, 1)
        whole = kernel_distance(one, other)
        monkeypatch.setattr("rewas_engine.evaluation.distances.MAX_KERNEL_BLOCK_ROWS", 7)
        assert kernel_distance(one, other) == pytest.approx(whole, rel=1e-9)

    def test_of_one_clip_is_not_defined(self) -> None:
        with pytest.raises(UndefinedMeasureError, match="The kernel distance is not defined for one clip"):
            kernel_distance(_rows(1, 3), _rows(4, 3))


class TestInceptionScore:
    def test_of_certain_and_evenly_spread_classes_is_their_number(self) -> None:
        assert inception_score(1e4 * np.eye(7)) == pytest.approx(7.0)

    def test_of_equal_clips_is_one(self) -> None:
        assert inception_score(np.tile([3.0, -1.0, 0.5], (6, 1))) == pytest.approx(1.0)

    @settings(max_examples=25, deadline=None)
    @given(seeds, st.integers(2, 9), st.integers(1, 12))
    def test_equals_the_mean_divergence_of_scipy(self, seed: int, classes: int, clips: int) -> None:
        logits = 3 * np.random.default_rng(seed).standard_normal((clips, classes))
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        divergences = [entropy(row, shares.mean(axis=0)) for row in shares]
        assert inception_score(logits) == pytest.approx(math.exp(np.mean(divergences)), rel=1e-9)

    def test_survives_impossible_classes(self) -> None:
        assert inception_score(np.array([[0.0, -5000.0], [0.0, -4000.0]])) == pytest.approx(1.0)


class TestKlDivergence:
    def test_by_hand(self) -> None:
        real, generated = np.log([[0.5, 0.5], [0.9, 0.1]]), np.log([[0.25, 0.75], [0.9, 0.1]])
        expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
        assert kl_divergences(real, generated) == pytest.approx([expected, 0.0])

    @settings(max_examples=25, deadline=None)
    @given(seeds, st.integers(2, 9))
    def test_equals_that_of_scipy_and_ignores_an_offset(self, seed: int, classes: int) -> None:
        rng = np.random.default_rng(seed)
        real, generated = rng.standard_normal((4, classes)), rng.standard_normal((4, classes))
        expected = [entropy(np.exp(p), np.exp(q)) for p, q in zip(real, generated, strict=True)]
        assert kl_divergences(real + 100, generated - 30) == pytest.approx(expected, rel=1e-6, abs=1e-9)

    def test_refuses_another_number_of_clips_or_classes(self) -> None:
        with pytest.raises(UndefinedMeasureError, match="there are 3 and 2 clips"):
            kl_divergences(np.zeros((3, 4)), np.zeros((2, 4)))
        with pytest.raises(UndefinedMeasureError, match="of 4 and of 5 values"):
            kl_divergences(np.zeros((3, 4)), np.zeros((3, 5)))


class TestCosines:
    def test_by_hand(self) -> None:
        one = np.array([[1.0, 0.0], [3.0, 4.0], [0.0, -2.0]])
        other = np.array([[5.0, 0.0], [4.0, 3.0], [0.0, 1.0]])
        assert cosines(one, other) == pytest.approx([1.0, 0.96, -1.0])

    def test_of_all_rows_with_one(self) -> None:
        assert cosines(np.eye(3), np.array([[0.0, 2.0, 0.0]])) == pytest.approx([0.0, 1.0, 0.0])

    def test_of_a_zero_vector_is_not_defined(self) -> None:
        with pytest.raises(UndefinedMeasureError, match="clip 2 is 0"):
            cosines(np.array([[1.0, 0.0], [0.0, 0.0]]), np.eye(2))

    def test_stays_within_one_in_spite_of_rounding(self) -> None:
        rows = np.random.default_rng(0).standard_normal((1000, 5)).astype(np.float32)
        assert (np.abs(cosines(rows, rows)) <= 1).all()


def test_desync_is_the_mean_absolute_offset() -> None:
    assert desync_s(np.array([0.2, -0.4, 0.0])) == pytest.approx(0.2)
    with pytest.raises(UndefinedMeasureError, match="DeSync is not defined for 0 clips"):
        desync_s(np.zeros(0))
