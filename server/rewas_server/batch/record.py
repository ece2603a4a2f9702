"""The finished sounds of a batch, which are kept beside its stems in the folder `.rewas`.

    .rewas/sounds/<key[:2]>/<key>/sound.json    the key, range and seed of the sound
    .rewas/sounds/<key[:2]>/<key>/result.binpb  the SoundResult
    .rewas/sounds/<key[:2]>/<key>/*.wav         its stems
    .rewas/record.sqlite                        an index of the sounds, and what else a repeat needs

A sound appears as a whole folder or not at all, so it survives the loss of the index, which is then rebuilt.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from google.protobuf.message import DecodeError

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.transfer import TransferProgress, hash_file
from rewas_api.v1 import rewas_pb2
from rewas_engine.runtime.atomic_files import flush_folder, write_bytes_atomic
from rewas_engine.runtime.process_locks import AlreadyLocked, file_lock
from rewas_server.batch.content_key import SoundRange
from rewas_server.files.file_stamps import FileStamp, file_stamp

FOLDER_NAME = ".rewas"
_RECORD_NAME = "record.sqlite"
_RESULT_NAME = "result.binpb"
_VERSION = 2
_TABLES = """
CREATE TABLE sound (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    family TEXT NOT NULL,
    start_s TEXT NOT NULL,
    duration_s TEXT NOT NULL,
    begin_approximate_s REAL NOT NULL,
    end_approximate_s REAL NOT NULL,
    seed INTEGER NOT NULL
) STRICT;
CREATE INDEX sound_by_range ON sound (family, begin_approximate_s, end_approximate_s, number);
CREATE TABLE media (
    path TEXT PRIMARY KEY, size_bytes INTEGER, modified_ns INTEGER, inode INTEGER, sha256 TEXT NOT NULL
) STRICT;
CREATE TABLE variation (base TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT;
CREATE TABLE wanted (timeline TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (timeline, key)) STRICT;
CREATE TABLE server_job (id TEXT PRIMARY KEY, address TEXT NOT NULL, keys TEXT NOT NULL) STRICT;
CREATE TABLE finished (timeline TEXT PRIMARY KEY, inputs TEXT NOT NULL UNIQUE, content BLOB NOT NULL) STRICT;
"""
_APPROXIMATION_S = 1e-3


@dataclass(frozen=True)
class KeptSound:
    """A finished sound of a batch.

    Attributes:
        key: See `content_key`.
        family: See `SoundIdentity.family`.
        shown: The range for which it was generated, with its handles.
        seed: Of its first take.
        folder: Holds its stems, named as the artifacts of the result.
        result: Result of its generation; None until it is kept.
        result_stamp: Stamp of the file with the result, from before it was read.
    """

    key: str
    family: str
    shown: SoundRange
    seed: int
    folder: Path
    result: rewas_pb2.SoundResult | None = field(default=None, repr=False, compare=False)
    result_stamp: FileStamp | None = field(default=None, repr=False, compare=False)

    @property
    def result_file(self) -> str:
        """The file with the result."""
        return f"{self.folder}{os.sep}{_RESULT_NAME}"

    def stem_sizes(self) -> Iterator[tuple[str, int]]:
        """Yield the path and the size in bytes of each stem of a sound that is kept."""
        assert self.result is not None
        folder = str(self.folder)
        for take in self.result.takes:
            for stem in take.stems:
                yield f"{folder}{os.sep}{stem.artifact.name}", stem.artifact.size_bytes


@dataclass(frozen=True)
class ServerJob:
    """A job that a batch has submitted.

    Attributes:
        id: Its identifier, which no other server uses.
        address: Address of its server at that time. A restarted server may have another one.
        keys: Keys of the sounds of its children, in their order.
    """

    id: str
    address: str
    keys: tuple[str, ...]


class BatchRecord:
    """The record of all batches into one folder. One process at a time may open it.

    Use it as a context manager.

    Args:
        stems: The folder for the stems; it is created with its parents.
        on_note: Called with a sentence that the user should read.

    Raises:
        ProblemError: SETTINGS if another batch has opened it, or the folder cannot be written.
    """

    def __init__(self, stems: Path, on_note: Callable[[str], object] = lambda text: None) -> None:
        self.folder = stems.absolute() / FOLDER_NAME
        self._stems = stems.absolute()
        self._sounds = str(self.folder / "sounds")
        self._on_note = on_note
        self._held = contextlib.ExitStack()
        self._thread = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._media: dict[Path, str] = {}
        self._media_stamps: dict[Path, FileStamp] = {}
        self._known: dict[str, Sequence[Any]] = {}
        self._variations: dict[str, int] = {}
        self._earlier_count = 0
        self._has_jobs = False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            self._new_folders = [one for one in (self._stems, *self._stems.parents) if not one.exists()]
            self.folder.mkdir(parents=True, exist_ok=True)
            undo.callback(self._remove_if_empty)
            try:
                undo.enter_context(file_lock(self.folder / "lock"))
            except AlreadyLocked:
                undo.pop_all()
                raise ProblemError(
                    f"Another batch is writing stems to the folder {self._stems}.",
                    "Wait until it has ended, or choose another folder with --stems.",
                    ProblemKind.SETTINGS,
                ) from None
            # Left by a process that was killed.
            shutil.rmtree(self._making, ignore_errors=True)
            self._connection = self._open()
            ((self._earlier_count,),) = self._rows("SELECT coalesce(max(number), 0) FROM sound")
            for row in self._rows("SELECT key, family, start_s, duration_s, seed FROM sound"):
                self._known[row[0]] = row
            self._variations = {str(row[0]): int(row[1]) for row in self._rows("SELECT base, count FROM variation")}
            self._held = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._has_jobs = bool(self._connection.execute("SELECT 1 FROM server_job LIMIT 1").fetchall())
                self._connection.close()
        self._held.close()

    @contextlib.contextmanager
    def making(self, key: str) -> Iterator[Path]:
        """Yield a new folder for the stems of a sound. It is removed at the end, unless `keep` moves it."""
        folder = self._making / key
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, made: KeptSound, result: rewas_pb2.SoundResult) -> KeptSound:
        """Keep a sound durably whose stems are in the folder `made.folder`. Returns it at its final place.

        Raises OSError, ProblemError if the disk is full.
        """
        place = self._place(made.key)
        written = made.folder / _RESULT_NAME
        write_bytes_atomic(written, result.SerializeToString())
        kept = replace(made, folder=place, result=result, result_stamp=file_stamp(written))
        write_bytes_atomic(made.folder / "sound.json", json.dumps(_description(kept)).encode())
        place.parent.mkdir(parents=True, exist_ok=True)
        flush_folder(made.folder)
        if place.exists():
            shutil.rmtree(place)
        made.folder.rename(place)
        flush_folder(place.parent)
        self._index([kept])
        self._known[kept.key] = (kept.key, kept.family, kept.shown.start_s, kept.shown.duration_s, kept.seed)
        return kept

    def find(self, key: str) -> KeptSound | None:
        """Return a sound if it is kept with all its stems."""
        row = self._known.get(key)
        # A process may have been killed between the folder's rename and the entry in the index.
        found = _read_description(self._place(key)) if row is None else self._sound(row)
        found = None if found is None else _read_complete(found)
        if found is not None and row is None:
            self._index([found])
        return found

    def find_longer(self, family: str, shown: SoundRange) -> KeptSound | None:
        """Return the newest sound of a family whose range contains this one, without those that this run has generated.

        So the result does not depend on the order in which the sounds of a timeline are generated.
        """
        if not self._earlier_count:
            return None
        rows = self._rows(
            "SELECT key, family, start_s, duration_s, seed FROM sound WHERE family = ? AND begin_approximate_s <= ?"
            " AND end_approximate_s >= ? AND number <= ? ORDER BY number DESC",
            family,
            float(shown.start_s) + _APPROXIMATION_S,
            float(shown.end_s) - _APPROXIMATION_S,
            self._earlier_count,
        )
        for each in map(self._sound, rows):
            found = _read_complete(each) if each.shown.contains(shown) else None
            if found is not None:
                return found
        return None

    def media_sha256(self, path: Path, on_progress: TransferProgress | None = None) -> str:
        """Return the SHA-256 of a file, which is read again only if it has changed.

        on_progress: called with the number of bytes read and the size of the file. May raise to abort. Raises OSError,
        ProblemError (MEDIA) if the file cannot be read.
        """
        if path not in self._media:
            stamp = file_stamp(path)
            row = self._row("SELECT size_bytes, modified_ns, inode, sha256 FROM media WHERE path = ?", str(path))
            is_known = row is not None and stamp == tuple(row[:3])
            self._media[path] = (
                str(row[3]) if row is not None and is_known else self._hash_media(path, stamp, on_progress)
            )
            self._media_stamps[path] = stamp
        return self._media[path]

    def media_stamps(self) -> Mapping[Path, FileStamp]:
        """Return the stamps of the files whose hash was requested, from before they were read."""
        return self._media_stamps

    def variation(self, base: str) -> int:
        """Return how often another sound was requested. base: key of the sound without a variation."""
        return self._variations.get(base, 0)

    def raise_variation(self, base: str) -> int:
        """Request a new sound instead of the last one. Returns the new variation."""
        self._change("INSERT INTO variation VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1", [(base,)])
        self._variations[base] = self.variation(base) + 1
        return self._variations[base]

    def set_wanted(self, name: str, keys: Sequence[str]) -> None:
        """State which sounds a timeline uses. name: tells the timelines apart that share the folder."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM finished WHERE timeline = ?", (name,))
            connection.execute("DELETE FROM wanted WHERE timeline = ?", (name,))
            connection.executemany("INSERT OR IGNORE INTO wanted VALUES (?, ?)", ((name, key) for key in keys))

    def finished(self, inputs: str) -> bytes | None:
        """Return the content recorded for a finished batch; None if there is none. inputs: as in `set_finished`."""
        row = self._row("SELECT content FROM finished WHERE inputs = ?", inputs)
        return None if row is None else bytes(row[0])

    def set_finished(self, name: str, inputs: str, content: bytes) -> None:
        """Record a finished batch until `set_wanted` is called again.

        Args:
            name: As for `set_wanted`.
            inputs: A digest of everything that was known before it began.
            content: Any bytes.
        """
        self._change("INSERT OR REPLACE INTO finished VALUES (?, ?, ?)", [(name, inputs, content)])

    def revision(self) -> list[int]:
        """Return numbers that change when a sound is added or removed, or another one is requested."""
        (sounds,) = self._rows("SELECT count(*), coalesce(max(number), 0) FROM sound")
        (variations,) = self._rows("SELECT coalesce(sum(count), 0) FROM variation")
        return [*sounds, *variations]

    def server_jobs(self) -> list[ServerJob]:
        """Return the recorded jobs on all servers, the oldest first."""
        rows = self._rows("SELECT id, address, keys FROM server_job ORDER BY rowid")
        return [ServerJob(job_id, at, tuple(json.loads(keys))) for job_id, at, keys in rows]

    def add_server_job(self, job: ServerJob) -> None:
        """Remember a job on a server."""
        self._change(
            "INSERT OR REPLACE INTO server_job VALUES (?, ?, ?)", [(job.id, job.address, json.dumps(job.keys))]
        )

    def forget_server_job(self, job_id: str) -> None:
        """Forget a job on a server."""
        self._change("DELETE FROM server_job WHERE id = ?", [(job_id,)])

    def remove_unused(self) -> int:
        """Delete the sounds that no timeline uses. Returns their number."""
        rows = self._rows("SELECT key FROM sound WHERE key NOT IN (SELECT key FROM wanted)")
        for (key,) in rows:
            self._change("DELETE FROM sound WHERE key = ?", [(key,)])
            self._known.pop(key, None)
            shutil.rmtree(self._place(key), ignore_errors=True)
        return len(rows)

    @property
    def _making(self) -> Path:
        return self.folder / "making"

    def _place(self, key: str) -> Path:
        return Path(f"{self._sounds}{os.sep}{key[:2]}{os.sep}{key}")

    def _sound(self, row: Sequence[Any]) -> KeptSound:
        key, family, start_s, duration_s, seed = row
        return KeptSound(key, family, SoundRange(Fraction(start_s), Fraction(duration_s)), seed, self._place(key))

    def _hash_media(self, path: Path, stamp: FileStamp, on_progress: TransferProgress | None) -> str:
        sha256 = hash_file(path, on_progress)
        if file_stamp(path) == stamp:
            self._change("INSERT OR REPLACE INTO media VALUES (?, ?, ?, ?, ?)", [(str(path), *stamp, sha256)])
        return sha256

    def _index(self, sounds: Sequence[KeptSound]) -> None:
        self._change(
            "INSERT OR REPLACE INTO sound"
            " (key, family, start_s, duration_s, begin_approximate_s, end_approximate_s, seed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    sound.key, sound.family, str(sound.shown.start_s), str(sound.shown.duration_s),
                    float(sound.shown.start_s), float(sound.shown.end_s), sound.seed,
                )
                for sound in sounds
            ],
        )  # fmt: skip

    def _open(self) -> sqlite3.Connection:
        path = self.folder / _RECORD_NAME
        is_new = not path.exists()
        try:
            connection = _connect(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" not in str(error) and not _is_damage(error):
                raise _record_problem(path, error) from error
            aside = _free_name(path)
            path.replace(aside)
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._on_note(
                f"The record {path} is damaged. It was renamed to {aside.name}, and rebuilt from the finished sounds."
            )
            connection, is_new = _connect(path), True
        self._connection = connection
        if is_new:
            self._index(list(self._stored_sounds()))
        return connection

    def _stored_sounds(self) -> Iterator[KeptSound]:
        for path in sorted(self.folder.glob("sounds/*/*/sound.json"), key=lambda one: one.stat().st_mtime_ns):
            found = _read_description(path.parent)
            if found is not None:
                yield found

    def _row(self, statement: str, *values: object) -> Sequence[Any] | None:
        rows = self._rows(statement, *values)
        return rows[0] if rows else None

    def _rows(self, statement: str, *values: object) -> list[Sequence[Any]]:
        with self._thread, self._explain():
            assert self._connection is not None
            return self._connection.execute(statement, values).fetchall()

    def _change(self, statement: str, values: Sequence[Sequence[object]]) -> None:
        with self._transaction() as connection:
            connection.executemany(statement, values)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._thread, self._explain():
            assert self._connection is not None
            with self._connection:
                yield self._connection

    @contextlib.contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _record_problem(self.folder / _RECORD_NAME, error) from error

    def _remove_if_empty(self) -> None:
        """Leave no trace in a folder without any finished sound."""
        if self._has_jobs or (self.folder / "sounds").exists() or not self.folder.is_dir():
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        for folder in self._new_folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _connect(path: Path) -> sqlite3.Connection:
    """Open the record. Raises sqlite3.Error if it is damaged."""
    connection = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        # Exclusive locking needs no shared memory, which network drives lack. No other process may open the record.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            with connection:
                connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise sqlite3.DatabaseError(f"its version is {version}")
        (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise sqlite3.DatabaseError(str(state))
    except BaseException:
        connection.close()
        raise
    return connection


def _is_damage(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def _record_problem(path: Path, error: sqlite3.Error) -> ProblemError:
    return ProblemError(
        f"The record {path} cannot be written ({error}).",
        "Check that the disk has space and the folder is writable, and run the same command again. Finished sounds are "
        "kept.",
        ProblemKind.RESOURCES,
    )


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


def _description(sound: KeptSound) -> dict[str, Any]:
    return {
        "key": sound.key,
        "family": sound.family,
        "start_s": str(sound.shown.start_s),
        "duration_s": str(sound.shown.duration_s),
        "seed": sound.seed,
    }


def _read_description(folder: Path) -> KeptSound | None:
    try:
        held = json.loads((folder / "sound.json").read_bytes())
        shown = SoundRange(Fraction(held["start_s"]), Fraction(held["duration_s"]))
        found = KeptSound(str(held["key"]), str(held["family"]), shown, int(held["seed"]), folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.key == folder.name else None


def _read_complete(sound: KeptSound) -> KeptSound | None:
    """Return a sound with its result if it has all its stems, else None."""
    try:
        stamp = file_stamp(sound.result_file)
        with open(sound.result_file, "rb") as file:  # noqa: PTH123
            found = replace(sound, result=rewas_pb2.SoundResult.FromString(file.read()), result_stamp=stamp)
        is_complete = all(os.stat(path).st_size == size for path, size in found.stem_sizes())  # noqa: PTH116
        return found if is_complete else None
    except (OSError, DecodeError):
        return None


__all__ = ["FOLDER_NAME", "BatchRecord", "KeptSound", "ServerJob"]
