"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside the real one, which takes its name once it is written; it goes where writing fails.

    It ends as the real one does and is another in every process: several may write the same file. Raises OSError that
    names the real one.
    """
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        # Nobody has heard of the temporary name; some libraries raise without a number.
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def write_text_atomic(path: Path, text: str) -> None:
    """Write text in UTF-8. Raises OSError where it cannot be written."""
    with written_whole(path) as unfinished:
        unfinished.write_text(text, "utf-8")


def save_array_atomic(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy, which the path must end with. Raises OSError where it cannot be written."""
    with written_whole(path) as unfinished:
        np.save(unfinished, array)
