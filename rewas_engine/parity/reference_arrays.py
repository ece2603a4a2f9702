"""Files of the reference implementation's numbers: whole as they were computed, or small enough for a repository.

A small file keeps of each array no more than a check needs. How an array is kept stands beside it, under its name with
a mark: ``name@shape`` of an array that is not kept as it is, and one of

- ``name@every``: ``name`` holds every n-th value, in the order of memory, and ``name@std`` the deviation of all;
- ``name@drawn``: nothing is held; the values are those of a seed (`drawn`);
- ``name@same``: nothing is held; the values are those of another array, as ``file/array``.
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
REMEDY = "Give a whole folder of the reference's numbers: make parity PARITY=<folder>."


class ReferenceArraysError(EngineError):
    """A file of the reference's numbers is missing, unreadable or incomplete."""

    def __init__(self, what: str) -> None:
        super().__init__(what, REMEDY)


@dataclass(frozen=True)
class SampledArray:
    """An array of which only every n-th value is kept.

    values: flat. shape, std: of the whole array.
    """

    values: NDArray[Any]
    every: int
    shape: tuple[int, ...]
    std: float

    def sample(self, whole: NDArray[Any]) -> NDArray[Any]:
        """The values of an array at the places that are kept of this one."""
        return whole.ravel()[:: self.every]


@dataclass(frozen=True)
class ReferenceArrays(Mapping[str, Any]):
    """The arrays of one npz file by name, each read on access: a whole array or a `SampledArray`.

    Raises ReferenceArraysError where the file is missing or unreadable, or lacks the array.
    """

    path: Path

    def __getitem__(self, name: str) -> Any:
        shape = self._read(f"{name}{MARK}shape")
        if shape is None:
            found = self._read(name)
            if found is None:
                raise ReferenceArraysError(f"{self.path} holds no array {name}.")
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
            raise ReferenceArraysError(f"{self.path} says of {name} neither what it holds nor how to come by it.")
        return SampledArray(values, int(every), shape, float(std))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.partition(MARK)[0] for name in self._names))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def check(self) -> None:
        """Raises ReferenceArraysError where there is no such file; of its arrays nothing is read."""
        _ = self._names

    @cached_property
    def _opened(self) -> Any:
        try:
            return np.load(self.path)
        except FileNotFoundError as error:
            raise ReferenceArraysError(f"There is no file {self.path}.") from error
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
    """Standard normal numbers of a seed, as the reference's inputs were made: float64, then rounded to float32."""
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def read_manifest(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that a manifest lists. Raises ReferenceArraysError if it cannot be read."""
    try:
        listed = json.loads(path.read_text("utf-8"))["tensors"]
        return {name: tuple(entry["shape"]) for name, entry in listed.items()}
    except FileNotFoundError as error:
        raise ReferenceArraysError(f"There is no file {path}.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReferenceArraysError(f"{path} is no list of tensors and their shapes ({error}).") from error
