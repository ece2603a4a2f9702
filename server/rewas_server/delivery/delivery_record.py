"""The record of delivered files and their sounds, so that a second delivery writes only what has changed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, MutableMapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from rewas_server.delivery.loudness import LoudnessFigures

RECORD_FOLDER = ".rewas"
_FILE_NAME = "delivered.sqlite"
_VERSION = 1
_TABLES = """
CREATE TABLE files (
    timeline TEXT NOT NULL, wanted TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, sha256 TEXT NOT NULL,
    earlier_sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, modified_ns INTEGER NOT NULL, gain_db REAL NOT NULL,
    loudness TEXT NOT NULL, PRIMARY KEY (timeline, wanted)
) WITHOUT ROWID;
CREATE TABLE kinds (prompt TEXT PRIMARY KEY, kind TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE kinds_version (version TEXT NOT NULL);
"""


@dataclass(frozen=True)
class DeliveredFile:
    """A file as it was delivered.

    Attributes:
        timeline: Identity of its timeline.
        wanted: `name_key` of the name that the profile gives it.
        name: Its actual name, with extension.
        key: Text that changes with everything that determines its content.
        sha256: SHA-256 of its content.
        earlier_sha256: SHA-256 of the content that it replaces, still on disk if the process was killed.
        size_bytes: Size of the file.
        modified_ns: Modification time.
        gain_db: Gain that keeps the true peak within the profile's limit.
        loudness: Measured figures.
    """

    timeline: str
    wanted: str
    name: str
    key: str
    sha256: str
    earlier_sha256: str
    size_bytes: int
    modified_ns: int
    gain_db: float
    loudness: LoudnessFigures


class DeliveryRecord:
    """The record of one folder, in `.rewas/delivered.sqlite`. Use it as a context manager.

    If the record is damaged or of another version, it is renamed and a new one is started. Files that are not in the
    new record are then treated as the user's.

    Attributes:
        note: Why a new record was started, in two sentences; "" if the old one could be read.

    Raises OSError if the folder is not writable.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = record_path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.note = ""
        try:
            self._connection = _open(path)
            self._files = {(file.timeline, file.wanted): file for file in self._read_files()}
        except sqlite3.OperationalError as error:
            raise OSError(f"The record {path} cannot be opened: {error}.") from error
        except sqlite3.DatabaseError as error:
            what, suffix = "was damaged", "damaged"
            if isinstance(error, _OtherVersionError):
                what, suffix = "is from another version of ReWaS", f"version-{error.version}"
            self.note = f"The record of earlier deliveries {what}. It was kept, and a new one was started."
            path.replace(path.with_name(f"{_FILE_NAME}.{suffix}"))
            for part in ("-wal", "-shm"):
                path.with_name(f"{_FILE_NAME}{part}").unlink(missing_ok=True)
            self._connection = _open(path)
            self._files = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def find(self, timeline: str, wanted: str) -> DeliveredFile | None:
        """Return the file that was delivered for a timeline. wanted: `name_key` of its name."""
        return self._files.get((timeline, wanted))

    def files(self) -> list[DeliveredFile]:
        """Return the files of all timelines."""
        return list(self._files.values())

    def is_unchanged(self, file: DeliveredFile) -> bool:
        """Whether a file still exists and has the same content."""
        stamp = _stamp(self._folder / file.name)
        if stamp is None or stamp[0] != file.size_bytes:
            return False
        if stamp[1] == file.modified_ns:
            return True
        # A copied or restored folder has new times.
        if file_digest(self._folder / file.name) != file.sha256:
            return False
        self.add(replace(file, modified_ns=stamp[1]))
        return True

    def is_ours(self, file: DeliveredFile) -> bool:
        """Whether a file may be replaced or deleted: nobody has changed it, or it does not exist."""
        path = self._folder / file.name
        return not path.exists() or self.is_unchanged(file) or file_digest(path) == file.earlier_sha256

    def add(self, file: DeliveredFile) -> None:
        """Record a file, in place of the one with the same wanted name."""
        values = [*list(vars(file).values())[:-1], json.dumps(asdict(file.loudness))]
        self._connection.execute(f"INSERT OR REPLACE INTO files VALUES ({', '.join('?' * len(values))})", values)
        self._connection.commit()
        self._files[file.timeline, file.wanted] = file

    def forget(self, file: DeliveredFile) -> None:
        """Remove a file from the record."""
        self._connection.execute("DELETE FROM files WHERE timeline = ? AND wanted = ?", (file.timeline, file.wanted))
        self._connection.commit()
        self._files.pop((file.timeline, file.wanted), None)

    def kinds(self, version: str) -> MutableMapping[str, str]:
        """Return the kinds of sound by prompt. New ones are stored as they are added. version: of the kinds."""
        stored = self._connection.execute("SELECT version FROM kinds_version").fetchone()
        if stored != (version,):
            with self._connection:
                self._connection.execute("DELETE FROM kinds")
                self._connection.execute("DELETE FROM kinds_version")
                self._connection.execute("INSERT INTO kinds_version VALUES (?)", (version,))
        return _StoredKinds(self._connection)

    def _read_files(self) -> Iterator[DeliveredFile]:
        for values in map(list, self._connection.execute("SELECT * FROM files")):
            values[-1] = LoudnessFigures(**json.loads(values[-1]))
            yield DeliveredFile(*values)


class _StoredKinds(dict[str, str]):
    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection.execute("SELECT prompt, kind FROM kinds"))
        self._connection = connection

    def __setitem__(self, prompt: str, kind: str) -> None:
        super().__setitem__(prompt, kind)
        self._connection.execute("INSERT OR REPLACE INTO kinds VALUES (?, ?)", (prompt, kind))
        self._connection.commit()


class _OtherVersionError(sqlite3.DatabaseError):
    def __init__(self, version: int) -> None:
        super().__init__(f"version {version}")
        self.version = version


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise _OtherVersionError(version)
    except BaseException:
        connection.close()
        raise
    return connection


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return the size in bytes and the modification time in nanoseconds; None if there is no such file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def record_path(folder: Path) -> Path:
    """Return the file of a folder's record."""
    return folder / RECORD_FOLDER / _FILE_NAME


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file. Raises OSError."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
