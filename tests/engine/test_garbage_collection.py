"""Garbage collection is paused while objects are created that live long, and runs again afterwards."""

import gc
from collections.abc import Iterator

import pytest

from rewas_engine.runtime.garbage_collection import paused_garbage_collection


@pytest.fixture(autouse=True)
def collection() -> Iterator[None]:
    yield
    gc.enable()


def test_the_collector_is_off_in_the_block_only() -> None:
    with paused_garbage_collection():
        assert not gc.isenabled()
        with paused_garbage_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_failed_import_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), paused_garbage_collection():
        raise ImportError("no torch")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with paused_garbage_collection():
        pass
    assert not gc.isenabled()
