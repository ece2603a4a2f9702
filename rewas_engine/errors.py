"""The engine's errors: what happened, and what to do about it."""

from __future__ import annotations

from pathlib import Path


class EngineError(Exception):
    """An error meant for the person in front of the screen.

    what: one sentence on what happened, naming the clip, file or field.
    remedy: one sentence on what to do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.what = what
        self.remedy = remedy


class SettingsError(EngineError):
    """A setting, prompt or range is out of bounds or contradicts another."""


class MediaError(EngineError):
    """The media is missing, unreadable, truncated, or holds no picture or sound where it is needed."""


class PackError(EngineError):
    """The pack is absent, damaged, made for a newer version, or cannot do what was asked."""


class CheckpointError(PackError):
    """A released checkpoint cannot be converted.

    path: the file or folder. found, expected: what it is, and what was wanted there; both are part of the sentence.
    """

    def __init__(self, path: Path, found: str, expected: str, remedy: str) -> None:
        super().__init__(f"{path.name or path} {found}; expected was {expected}.", remedy)
        self.path, self.found, self.expected = path, found, expected


class InsufficientMemoryError(EngineError):
    """The memory ran out, with one thing at a time too.

    what: the work, as it stands in a sentence. remedy: what to do.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"Out of memory while {what}, even at batch size 1.", remedy)


class Cancelled(EngineError):
    """The caller asked the work to stop."""

    def __init__(self) -> None:
        super().__init__("The work was cancelled.", "Start it again to get a result.")
