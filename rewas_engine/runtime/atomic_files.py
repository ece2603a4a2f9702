"""Atomic writes: a file appears complete or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, which is renamed to `path` at the end and removed on an error.

    The temporary path keeps the suffix and is unique, so that several threads and processes may write the same file.

    Raises:
        OSError: The file cannot be written. The error names `path`, not the temporary path.
    """
    unfinished = path.with_name(f".{path.stem[:40]}.{os.getpid()}-{secrets.token_hex(3)}.partial{path.suffix}")
    try:
        yield unfinished
        unfinished.replace(path)
    except OSError as error:
        # Some libraries raise OSError without a number.
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for an atomic write that also survives a power failure.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_path(path) as unfinished, unfinished.open("x+b") as file:
        yield file
        flush_to_disk(file)


def flush_to_disk(file: IO[bytes]) -> None:
    """Wait until an open file is completely on disk. Call this before renaming the file."""
    file.flush()
    os.fsync(file.fileno())


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write bytes. Raises OSError if the file cannot be written."""
    with open_atomic(path) as file:
        file.write(content)


def write_text_atomic(path: Path, text: str) -> None:
    """Write text in UTF-8. Raises OSError if the file cannot be written."""
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, "utf-8")


def save_array_atomic(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy; `path` must have that suffix. Raises OSError if the file cannot be written."""
    with atomic_path(path) as unfinished:
        np.save(unfinished, array)


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk. Windows has no such call and needs none. Raises OSError."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
