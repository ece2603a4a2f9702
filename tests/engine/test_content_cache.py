"""The content cache: keys, limits and errors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine.runtime.cache import ContentCache, content_key

contents = st.recursive(
    st.one_of(st.text(max_size=5), st.integers(), st.floats(allow_nan=False), st.none()),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


def _typed(content: object) -> object:
    return [_typed(part) for part in content] if isinstance(content, list) else (type(content), repr(content))


@pytest.mark.slow
@given(contents, contents)
def test_keys_are_equal_exactly_if_contents_are(one: object, other: object) -> None:
    assert (content_key(one) == content_key(other)) == (_typed(one) == _typed(other))


def test_array_keys_depend_on_values_shape_and_dtype() -> None:
    values = np.arange(6, dtype=np.float32)
    assert content_key(values) == content_key(values.copy()) == content_key(torch.from_numpy(values))
    assert content_key(values[::2]) == content_key(values[::2].copy())
    others = [values.reshape(2, 3), values.astype(np.float64), values + 1, values[:5], list(values.tolist())]
    assert len({content_key(values), *map(content_key, others)}) == 1 + len(others)
    with pytest.raises(TypeError):
        content_key(object())


def test_a_result_is_computed_once() -> None:
    cache, worked = ContentCache(), []

    def work() -> np.ndarray:
        worked.append(1)
        return np.zeros(3)

    first = cache.get_or_compute("words", ["a dog"], work)
    assert cache.get_or_compute("words", ["a dog"], work) is first
    cache.get_or_compute("hints", ["a dog"], work)
    cache.get_or_compute("words", ["a cat"], work)
    assert (len(worked), cache.hits, cache.misses) == (3, 1, 3)
    cache.clear()
    cache.get_or_compute("words", ["a dog"], work)
    assert len(worked) == 4


def test_the_cache_is_bounded_and_drops_the_least_recently_used() -> None:
    cache = ContentCache(limit_bytes=3 * 800)
    for number in range(3):
        cache.get_or_compute("row", number, lambda: np.zeros(100))
    cache.get_or_compute("row", 0, lambda: np.ones(100))
    cache.get_or_compute("row", 3, lambda: np.zeros(100))
    assert cache.size_bytes == 3 * 800
    assert cache.get_or_compute("row", 0, lambda: np.ones(100)).sum() == 0  # still cached
    assert cache.get_or_compute("row", 1, lambda: np.ones(100)).sum() == 100  # computed again
    cache.get_or_compute("row", "large", lambda: np.zeros(1000))
    assert cache.size_bytes == 3 * 800
    nothing = ContentCache(0)
    nothing.get_or_compute("row", 1, lambda: np.zeros(1))
    assert nothing.size_bytes == 0


def test_failures_are_not_cached() -> None:
    cache = ContentCache()

    def failing() -> None:
        raise ValueError("failed")

    with pytest.raises(ValueError, match="failed"):
        cache.get_or_compute("row", 1, failing)
    assert cache.get_or_compute("row", 1, lambda: 7) == 7
