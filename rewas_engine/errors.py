"""The engine's errors. Each states what happened and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class EngineError(Exception):
    """An error with a message for the user.

    Attributes:
        what: One sentence that states what happened and names the clip, file or field.
        remedy: One sentence that states what to do.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.what = what
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the error for another process. By default, Python would rebuild it from its message alone."""
        return _restore, (type(self), self.args, self.__dict__)


class SettingsError(EngineError):
    """A setting, prompt or range is out of bounds or contradicts another setting."""


class MediaError(EngineError):
    """The media is missing, unreadable or truncated, or lacks the video or sound that is needed."""


class PackError(EngineError):
    """The pack is missing or damaged, needs a newer version, or does not support the request."""


class CheckpointError(PackError):
    """A released checkpoint cannot be converted.

    Attributes:
        path: The file or folder.
        found: What it contains, as the predicate of a sentence.
        expected: What was expected, as a noun phrase.
    """

    def __init__(self, path: Path, found: str, expected: str, remedy: str, given_as: str = "") -> None:
        """given_as: What the user said the file is, such as "the VAE checkpoint (--vae)"; "" if nothing."""
        name = f"{path.name or path}, given as {given_as}," if given_as else f"{path.name or path}"
        super().__init__(f"{name} {found}; expected {expected}.", remedy)
        self.path, self.found, self.expected = path, found, expected


class InsufficientMemoryError(EngineError):
    """Out of memory, even at batch size 1."""

    def __init__(self, what: str, remedy: str) -> None:
        """what: The work that failed, as a gerund, such as "sampling"."""
        super().__init__(f"Out of memory while {what}, even at batch size 1.", remedy)


class Cancelled(EngineError):
    """The caller cancelled the work."""

    def __init__(self) -> None:
        super().__init__("The work was cancelled.", "Start it again to get a result.")


def _restore(kind: type[EngineError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> EngineError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(attributes)
    return error
