"""The state and the content of a file, by which a changed file is recognised."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from rewas_engine.errors import Cancelled, MediaError
from rewas_engine.runtime.progress import CancelSignal

_HASH_BYTES = 1 << 20


@dataclass(frozen=True)
class FileState:
    """Size and times of a file.

    Attributes:
        modified_ns: When its content was last written. Copies can have the time of their original.
        changed_ns: When anything about it was last changed, including its permissions. On Windows: when it was created.
    """

    size_bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """The present state of a file. Raises OSError."""
        state = path.stat()
        return cls(state.st_size, state.st_mtime_ns, state.st_ctime_ns)

    def has_content_of(self, other: FileState) -> bool:
        """Whether the content is that of the other state, as far as size and modification time show."""
        return (self.size_bytes, self.modified_ns) == (other.size_bytes, other.modified_ns)


def state_of(path: Path) -> FileState:
    """The present state of a file. Raises MediaError if the file cannot be read."""
    try:
        return FileState.of(path)
    except OSError as error:
        raise unreadable_error(path, error) from error


def content_of(path: Path, cancel: CancelSignal | None = None) -> str:
    """SHA-256 of a file in hex. Raises MediaError if it cannot be read, and Cancelled."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_HASH_BYTES):
                if cancel is not None and cancel.is_set():
                    raise Cancelled
                digest.update(block)
    except OSError as error:
        raise unreadable_error(path, error) from error
    return digest.hexdigest()


def unreadable_error(path: Path, error: OSError) -> MediaError:
    """Return the error for a file that cannot be read."""
    return MediaError(f"{path.name} cannot be read ({error.strerror}).", "Check the file and its folder.")


def changed_error(path: Path) -> MediaError:
    """Return the error for a file that changes while it is read."""
    return MediaError(f"{path.name} changed while it was read.", "Run the command again when the file is complete.")


def clause_of(error: MediaError, path: Path) -> str:
    """What an error says about a file, as a clause that follows the name of the file."""
    clause = error.what.removesuffix(".")
    return f"it {clause.removeprefix(path.name).lstrip()}" if clause.startswith(f"{path.name} ") else clause
