"""Recognise errors that mean "out of memory", without importing torch."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator

from safetensors import SafetensorError

from rewas_engine.errors import Cancelled

ONEDNN_MESSAGE = "could not create a primitive"
_OUT_OF_MEMORY_MESSAGES = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    ONEDNN_MESSAGE,
    "can't start new thread",
    "failed to map segment",
    "bad_alloc",
    "alloc_failed",
)
"""Messages of torch, oneDNN, CUDA, the shared library loader and Python's threads."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that caused it, means that Python, the GPU or the system is out of memory."""
    return not isinstance(error, Cancelled) and any(_is_memory_error(each) for each in _exception_chain(error))


def _is_memory_error(error: BaseException) -> bool:
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        # By number, since the text may contain a file name. FFmpeg reports EAGAIN if it cannot start a thread.
        return error.errno in (errno.ENOMEM, errno.EAGAIN)
    message = str(error).lower()
    kinds = (RuntimeError, OSError, ImportError, SafetensorError)
    return isinstance(error, kinds) and any(phrase in message for phrase in _OUT_OF_MEMORY_MESSAGES)


def _exception_chain(error: BaseException) -> Iterator[BaseException]:
    """An error, the error that caused it, and so on."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
