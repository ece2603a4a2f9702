"""Messages between the caller and the decoder's process: JSON, and arrays as raw bytes.

The decoder reads hostile files, so nothing that it sends is trusted: no pickle, no code, and sizes are checked before
memory is reserved.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from fractions import Fraction
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_HEADER = struct.Struct("<cQ")
_ARRAY_TYPES = ("uint8", "float32")


FRAMES_BYTES = 1 << 18
"""Small frames are sent together up to this size, since a message takes about as long as a small frame."""


class Kind(Enum):
    """Kinds of messages."""

    CALL = b"C"
    """The caller wants a function called."""
    ACTIVE = b"A"
    """The decoder is ready, or has read another packet."""
    ARRAY = b"D"
    """The bytes of an array, which belongs to the next result."""
    RESULT = b"R"
    """The result of a call."""
    FRAMES = b"F"
    """Frames of a stream."""
    END = b"Z"
    """The end of a stream."""
    REFUSED = b"E"
    """The file cannot be read, and why."""
    FAULT = b"X"
    """The decoder failed, and the trace of its error."""


class BrokenMessage(Exception):
    """A message does not have the form that it must have."""


def write_message(file: IO[bytes], kind: Kind, content: bytes | bytearray | memoryview) -> None:
    """Write a message. Raises OSError if the other side has ended."""
    file.write(_HEADER.pack(kind.value, len(content)))
    file.write(content)
    file.flush()


def read_message(file: BufferedIOBase, max_bytes: int) -> tuple[Kind, bytearray] | None:
    """Read a message; None at the end. Raises BrokenMessage if it is longer than max_bytes, or not a message."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    letter, size = _HEADER.unpack(header)
    try:
        kind = Kind(letter)
    except ValueError as error:
        raise BrokenMessage("an unknown kind of message") from error
    if size > max_bytes:
        raise BrokenMessage(f"a message of {size} bytes")
    content = bytearray(size)
    place = memoryview(content)
    while place:
        count = file.readinto(place)
        if not count:
            return None
        place = place[count:]
    return kind, content


def bytes_of(array: NDArray[Any]) -> memoryview:
    """The bytes of an array in the order of its last axis."""
    return np.ascontiguousarray(array).data.cast("B")


def to_json(value: Any, arrays: list[NDArray[Any]] | None = None) -> bytes:
    """Encode a value. Arrays are left out, and added to a list."""
    return json.dumps(_plain(value, [] if arrays is None else arrays)).encode()


def _plain(value: Any, arrays: list[NDArray[Any]]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, Fraction):
        return {"fraction": [value.numerator, value.denominator]}
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": [value.dtype.name, list(value.shape)]}
    if isinstance(value, tuple | list):
        return {"tuple": [_plain(each, arrays) for each in value]}
    if isinstance(value, Mapping):
        return {"mapping": {str(name): _plain(each, arrays) for name, each in value.items()}}
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "record": [
                type(value).__name__,
                {each.name: _plain(getattr(value, each.name), arrays) for each in fields(value)},
            ]
        }
    raise TypeError(f"{type(value).__name__} cannot be sent to a decoder")


def from_json(
    content: bytes | bytearray, arrays: list[bytearray] | None = None, records: Mapping[str, type] | None = None
) -> Any:
    """Decode a value, with the bytes of its arrays and the dataclasses that are allowed in it.

    Raises BrokenMessage if it is not one.
    """
    waiting = list(arrays or ())
    try:
        value = _value(json.loads(content.decode()), waiting, records or {})
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BrokenMessage(str(error)) from error
    if waiting:
        raise BrokenMessage("an array that belongs to no result")
    return value


def _value(plain: Any, arrays: list[bytearray], records: Mapping[str, type]) -> Any:
    if not isinstance(plain, dict):
        if isinstance(plain, list):
            raise ValueError("a list without a name")
        return plain
    ((name, content),) = plain.items()
    if name == "path":
        return Path(content)
    if name == "fraction":
        return Fraction(*content)
    if name == "tuple":
        return tuple(_value(each, arrays, records) for each in content)
    if name == "mapping":
        return {key: _value(each, arrays, records) for key, each in content.items()}
    if name == "record":
        return records[content[0]](**{key: _value(each, arrays, records) for key, each in content[1].items()})
    if name == "array":
        return array_from(arrays.pop(0), *content)
    raise ValueError(f"an unknown value {name}")


def array_from(content: bytearray, dtype: str, shape: list[int] | tuple[int, ...]) -> NDArray[Any]:
    """An array from its bytes. Raises ValueError if they do not fit."""
    if dtype not in _ARRAY_TYPES:
        raise ValueError(f"an array of {dtype}")
    return np.frombuffer(content, dtype).reshape(shape)
