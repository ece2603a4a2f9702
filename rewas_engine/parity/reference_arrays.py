"""Arrays computed by the reference implementation, either complete or reduced to a size that fits the repository.

A reduced file stores only what a check needs. An array that is not stored completely has its shape in ``name@shape``,
and one of these entries:

- ``name@every``: ``name`` contains every n-th value in memory order, and ``name@std`` the standard deviation of all;
- ``name@drawn``: not stored; the values are drawn from this seed, see `draw_normal`;
- ``name@same``: not stored; the values equal those of another array, given as ``file/array``.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import EngineError

MARK = "@"
REMEDY = "Provide a complete folder of reference arrays: make parity PARITY=<folder>."


class ReferenceArraysError(EngineError):
    """A file of reference arrays is missing, unreadable or incomplete."""

    def __init__(self, what: str) -> None:
        super().__init__(what, REMEDY)


@dataclass(frozen=True)
class SampledArray:
    """An array of which only every n-th value is stored.

    Args:
        values: The stored values, flat.
        every: n.
        shape, std: Shape and standard deviation of the complete array.
    """

    values: NDArray[Any]
    every: int
    shape: tuple[int, ...]
    std: float

    def sample(self, whole: NDArray[Any]) -> NDArray[Any]:
        """Return the values of a complete array at the stored positions."""
        return whole.ravel()[:: self.every]


@dataclass(frozen=True)
class ReferenceArrays(Mapping[str, Any]):
    """The arrays of one npz file by name, each a complete array or a `SampledArray`, read on access.

    Access raises ReferenceArraysError if the file or array is missing or unreadable.
    """

    path: Path

    def __getitem__(self, name: str) -> Any:
        shape = self._read(f"{name}{MARK}shape")
        if shape is None:
            found = self._read(name)
            if found is None:
                raise ReferenceArraysError(f"{self.path} has no array {name}.")
            return found
        shape = tuple(int(size) for size in shape)
        every, seed, other = (self._read(f"{name}{MARK}{kind}") for kind in ("every", "drawn", "same"))
        if seed is not None:
            return draw_normal(int(seed), shape)
        if other is not None:
            file, _, array = str(other).partition("/")
            return ReferenceArrays(self.path.with_name(f"{file}.npz"))[array].reshape(shape)
        values, std = self._read(name), self._read(f"{name}{MARK}std")
        if values is None or every is None or std is None:
            raise ReferenceArraysError(f"The array {name} in {self.path} is incomplete.")
        return SampledArray(values, int(every), shape, float(std))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.partition(MARK)[0] for name in self._names))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def check(self) -> None:
        """Raise ReferenceArraysError if the file does not exist, without reading arrays."""
        _ = self._names

    @cached_property
    def _opened(self) -> Any:
        try:
            return np.load(self.path)
        except FileNotFoundError as error:
            raise ReferenceArraysError(f"The file {self.path} does not exist.") from error
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ReferenceArraysError(f"{self.path} cannot be read ({error}).") from error

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self._opened.files)

    def _read(self, name: str) -> Any:
        if name not in self._names:
            return None
        try:
            return self._opened[name]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise ReferenceArraysError(f"The array {name} in {self.path} cannot be read ({error}).") from error


def draw_normal(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Draw standard normal numbers as the reference draws its inputs: float64, rounded to float32."""
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def read_manifest(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the names and shapes of the tensors in a manifest. Raises ReferenceArraysError if it is unreadable."""
    try:
        listed = json.loads(path.read_text("utf-8"))["tensors"]
        return {name: tuple(entry["shape"]) for name, entry in listed.items()}
    except FileNotFoundError as error:
        raise ReferenceArraysError(f"The file {path} does not exist.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReferenceArraysError(f"{path} is not a list of tensors and their shapes ({error}).") from error
