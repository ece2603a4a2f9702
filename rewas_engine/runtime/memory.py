"""Handle running out of memory: retry with a smaller batch, then report it."""

from __future__ import annotations

import functools
import gc
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np
import psutil
import scipy.linalg
import torch

from rewas_engine.errors import InsufficientMemoryError
from rewas_engine.runtime.memory_errors import ONEDNN_MESSAGE, is_out_of_memory

_log = logging.getLogger("rewas.engine")
Result = TypeVar("Result")
Params = ParamSpec("Params")

_BLAS_BUFFER_BYTES = 80_000_000
"""Buffer that OpenBLAS allocates for one thread when numpy and scipy first use it, with a margin."""


def run_within_memory(work: Callable[[int], Result], batch_size: int, what: str, remedy: str) -> Result:
    """Run work at a batch size; if memory runs out, run it again at batch size 1.

    If oneDNN fails even at batch size 1, the last attempt uses torch's own, slower kernels; see `_stop_using_onednn`.

    Args:
        work: Called with a batch size.
        batch_size: The first batch size to try.
        what: The work as a gerund, for messages: "sampling".
        remedy: What the user can do.

    Raises:
        InsufficientMemoryError: Batch size 1 does not fit either.
    """
    attempts = list(dict.fromkeys((batch_size, 1)))
    for count in attempts:
        try:
            return work(count)
        except Exception as error:  # every library has its own exception type
            if isinstance(error, InsufficientMemoryError) or not is_out_of_memory(error):
                raise
            if count == 1 and _stop_using_onednn(error):
                attempts.append(1)
        # After the except block, because the traceback keeps the objects that filled the memory alive.
        release_memory()
        if count > 1:
            _log.warning("Out of memory while %s; trying again at batch size 1.", what)
    raise InsufficientMemoryError(what, remedy)


def _stop_using_onednn(error: Exception) -> bool:
    """Use torch's own kernels in this process from now on, if this error is the first that oneDNN has caused.

    Once oneDNN has failed to allocate a primitive, it keeps failing for the life of the process, however much memory is
    free. Returns whether oneDNN was in use until now.
    """
    if ONEDNN_MESSAGE not in str(error).lower() or not torch.backends.mkldnn.enabled:
        return False
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    _log.warning("oneDNN ran out of memory. This process now runs without it, which is slower.")
    return True


def raises_out_of_memory(what: str, remedy: str) -> Callable[[Callable[Params, Result]], Callable[Params, Result]]:
    """Decorate a function so that it raises InsufficientMemoryError if memory runs out anywhere in it.

    For `what` and `remedy` see `run_within_memory`.
    """

    def decorate(work: Callable[Params, Result]) -> Callable[Params, Result]:
        @functools.wraps(work)
        def wrapper(*args: Params.args, **kwargs: Params.kwargs) -> Result:
            try:
                return work(*args, **kwargs)
            except Exception as error:
                if isinstance(error, InsufficientMemoryError) or not is_out_of_memory(error):
                    raise
                _stop_using_onednn(error)
            release_memory()
            raise InsufficientMemoryError(what, remedy)

        return wrapper

    return decorate


@functools.cache
def reserve_blas_buffers() -> None:
    """Make OpenBLAS allocate its buffers now, because it ends the process if it cannot allocate them later.

    Raises:
        MemoryError: There is not enough memory.
    """
    np.empty(_BLAS_BUFFER_BYTES, np.uint8)
    square = np.ones((256, 256))
    np.linalg.solve(square + np.eye(256), square @ square)
    scipy.linalg.lstsq(square, square)


def free_memory_bytes(device: str) -> int:
    """Return the free memory of a device. For "cpu", it is that of the machine."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def release_memory() -> None:
    """Collect garbage and return cached GPU memory."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
