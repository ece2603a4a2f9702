"""Import packages of thousands of modules faster."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Collect no garbage in this block, which imports modules.

    Most of the objects that an import makes live as long as the process. Searching them for garbage takes a seventh of
    the import of torch, diffusers and transformers.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
