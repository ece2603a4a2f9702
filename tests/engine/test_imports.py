"""Imports of large packages run without the garbage collector, which runs again afterwards."""

import gc
from collections.abc import Iterator

import pytest

from rewas_engine.runtime.imports import without_collection


@pytest.fixture(autouse=True)
def collection() -> Iterator[None]:
    yield
    gc.enable()


def test_the_collector_is_off_in_the_block_only() -> None:
    with without_collection():
        assert not gc.isenabled()
        with without_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_failed_import_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), without_collection():
        raise ImportError("no torch")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with without_collection():
        pass
    assert not gc.isenabled()
