"""The functions that decode media, and where they run: here, or in a separate process."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from rewas_engine.runtime.progress import CancelSignal

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class Decoder(Protocol):
    """Runs functions that decode media."""

    def call(self, name: str, path: Path, arguments: Mapping[str, Any], cancel: CancelSignal | None) -> Any:
        """Call a function of `FUNCTIONS`, and return its result. Raises MediaError and Cancelled."""

    def stream(
        self, name: str, path: Path, arguments: Mapping[str, Any], cancel: CancelSignal | None
    ) -> Iterator[NDArray[np.uint8]]:
        """Call a function of `STREAMS`, and yield its frames. Raises MediaError and Cancelled."""


FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""Functions that decode media and return a value, by name."""
STREAMS: dict[str, Callable[..., Iterator[NDArray[np.uint8]]]] = {}
"""Functions that decode media and yield frames, by name."""
RECORDS: dict[str, type] = {}
"""Dataclasses that the functions return, by name."""
_decoder: Decoder | None = None
_cancel: ContextVar[CancelSignal | None] = ContextVar("cancel", default=None)


def set_decoder(decoder: Decoder | None) -> None:
    """Have all media of this process decoded by a decoder; None decodes it here."""
    global _decoder
    _decoder = decoder


@contextlib.contextmanager
def cancels_decoding(cancel: CancelSignal) -> Iterator[None]:
    """Within the block, have a signal end each call of a decoder, including short ones that take no signal."""
    token = _cancel.set(cancel)
    try:
        yield
    finally:
        _cancel.reset(token)


def record(cls: type[_Result]) -> type[_Result]:
    """Declare a dataclass that functions in `FUNCTIONS` return."""
    RECORDS[cls.__name__] = cls
    return cls


def decodes_media(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Have a function called by the decoder, if there is one.

    Its first parameter is a path. All others, such as `cancel`, are passed as keywords.
    """
    name = function.__name__
    FUNCTIONS[name] = function

    @functools.wraps(function)
    def run(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        if _decoder is None:
            return function(*args, **kwargs)
        path, cancel, arguments = _split(*args, **kwargs)
        return cast(_Result, _decoder.call(name, path, arguments, cancel))

    return run


def streams_frames(
    function: Callable[_Parameters, Iterator[NDArray[np.uint8]]],
) -> Callable[_Parameters, Iterator[NDArray[np.uint8]]]:
    """Have a generator of frames run by the decoder, if there is one. Its parameters are as in `decodes_media`."""
    name = function.__name__
    STREAMS[name] = function

    @functools.wraps(function)
    def run(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> Iterator[NDArray[np.uint8]]:
        if _decoder is None:
            return function(*args, **kwargs)
        path, cancel, arguments = _split(*args, **kwargs)
        return _decoder.stream(name, path, arguments, cancel)

    return run


def _split(path: Any, *, cancel: Any = None, **arguments: Any) -> tuple[Path, CancelSignal | None, dict[str, Any]]:
    return Path(path), cancel if cancel is not None else _cancel.get(), arguments
