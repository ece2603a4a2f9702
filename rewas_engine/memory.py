"""Memory that runs out: known for what it is, tried again with less, and said plainly."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from rewas_engine.errors import MemoryShortage

_log = logging.getLogger("rewas.engine")
Made = TypeVar("Made")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out: Python's, a GPU's, or that of torch's allocator on a CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)


def within_memory(work: Callable[[int], Made], at_once: int, what: str, remedy: str) -> Made:
    """What `work` makes with so many things at once; where memory runs out, tried again with one at a time.

    what: the work, as it stands in a sentence ("sampling"). remedy: what to do where even one is too much.
    Raises MemoryShortage where that does not fit either.
    """
    for count in dict.fromkeys((at_once, 1)):
        try:
            return work(count)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # Here, and not while the error is handled: its traceback holds what filled the memory.
        release_memory()
        if count > 1:
            _log.warning("The memory ran out while %s; it is tried again with less at once.", what)
    raise MemoryShortage(what, remedy)


def release_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
