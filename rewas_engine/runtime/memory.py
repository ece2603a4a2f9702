"""Memory that runs out: known for what it is, tried again with less, and said plainly."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import numpy as np
import scipy.linalg
import torch

from rewas_engine.errors import InsufficientMemoryError
from rewas_engine.runtime.memory_errors import ONEDNN_MESSAGE, is_out_of_memory

_log = logging.getLogger("rewas.engine")
Made = TypeVar("Made")
Given = ParamSpec("Given")

_BLAS_BUFFER_BYTES = 80_000_000
"""What OpenBLAS takes for one thread when numpy and scipy first use it, and a little more."""


def run_within_memory(work: Callable[[int], Made], at_once: int, what: str, remedy: str) -> Made:
    """What `work` makes with so many things at once; where memory runs out, tried again with one at a time.

    oneDNN goes on to refuse what it was once short of memory for, as long as the process lives, however much there is
    by then: where it was that, torch's own kernels are tried in the end, which are slower.

    what: the work, as it stands in a sentence ("sampling"). remedy: what to do where even one is too much.
    Raises InsufficientMemoryError where that does not fit either.
    """
    ways = [(count, True) for count in dict.fromkeys((at_once, 1))]
    for count, with_onednn in ways:
        try:
            with contextlib.nullcontext() if with_onednn else _without_onednn():
                return work(count)
        except Exception as error:  # libraries say it in types of their own
            if isinstance(error, InsufficientMemoryError) or not is_out_of_memory(error):
                raise
            if count == 1 and with_onednn and ONEDNN_MESSAGE in str(error).lower():
                ways.append((1, False))
        # Here, and not while the error is handled: its traceback holds what filled the memory.
        release_memory()
        if count > 1:
            _log.warning("Out of memory while %s; trying again at batch size 1.", what)
    raise InsufficientMemoryError(what, remedy)


@contextlib.contextmanager
def _without_onednn() -> Iterator[None]:
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


def raises_out_of_memory(what: str, remedy: str) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """For a function that does much: where memory runs out in it, outside of what is tried again, that is said plainly.

    what, remedy: as for `run_within_memory`. The function then raises InsufficientMemoryError.
    """

    def telling(work: Callable[Given, Made]) -> Callable[Given, Made]:
        @functools.wraps(work)
        def told(*given: Given.args, **named: Given.kwargs) -> Made:
            try:
                return work(*given, **named)
            except Exception as error:
                if isinstance(error, InsufficientMemoryError) or not is_out_of_memory(error):
                    raise
            release_memory()
            raise InsufficientMemoryError(what, remedy)

        return told

    return telling


@functools.cache
def reserve_blas_buffers() -> None:
    """Let numpy's and scipy's OpenBLAS take their buffers, once, while there is room: without any they end the process.

    Raises MemoryError where there is none.
    """
    np.empty(_BLAS_BUFFER_BYTES, np.uint8)
    square = np.ones((256, 256))
    np.linalg.solve(square + np.eye(256), square @ square)
    scipy.linalg.lstsq(square, square)


def release_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
