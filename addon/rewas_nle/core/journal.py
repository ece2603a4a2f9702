# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of jobs: one file for each unfinished job, in a folder that outlives a crash and the extension."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from .records import JobRecord, RecordsFound, is_key, merge_records

KEPT_S = 60 * 24 * 3600
"""Records of files that nobody opens again are deleted after this time, in seconds."""


class Journal:
    """The folder with the records, one file `<key>.json` each, readable by the user alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, record: JobRecord) -> None:
        """Write a record. It is on disk when this returns. Raises OSError."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self.folder / f".{record.key}.{os.getpid()}.{threading.get_ident()}"
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(record.to_json())
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._path(record.key))
        finally:
            unfinished.unlink(missing_ok=True)

    def remove(self, key: str) -> None:
        """Delete a record, if it exists. Raises OSError."""
        self._path(key).unlink(missing_ok=True)

    def read(self, key: str) -> JobRecord | None:
        """Return a record, or None if there is none or if it is damaged."""
        try:
            return JobRecord.from_json(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def records(self) -> list[JobRecord]:
        """Return all records that can be read."""
        try:
            keys = [path.stem for path in self.folder.glob("*.json")]
        except OSError:
            return []
        found = [self.read(key) for key in keys if is_key(key)]
        return [record for record in found if record is not None]

    def prune(self, now_s: float) -> None:
        """Delete records that are older than KEPT_S."""
        for record in self.records():
            if now_s - record.created_at_s > KEPT_S:
                with contextlib.suppress(OSError):
                    self.remove(record.key)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


class RecordBook:
    """The records of this session, in memory and in the journal.

    Its methods may be called by any thread. `put`, `change` and `discard` return at once and a thread writes the
    journal; after `change_durably` the change is on disk.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._records: dict[str, JobRecord] = {}
        self._lock = threading.Lock()
        self._disk_lock = threading.Lock()
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def get(self, key: str) -> JobRecord | None:
        """Return a record, or None."""
        with self._lock:
            return self._records.get(key)

    def all(self) -> list[JobRecord]:
        """Return all records, oldest first."""
        with self._lock:
            return list(self._records.values())

    def put(self, records: Iterable[JobRecord]) -> None:
        """Add records, or replace them."""
        added = {record.key: record for record in records}
        with self._lock:
            self._records |= added
        self._do_soon(lambda: self._save(list(added)))

    def change(self, key: str, **changes: Any) -> JobRecord | None:
        """Change fields of a record and return it, or None if there is none."""
        record = self._change(key, changes)
        if record is not None:
            self._do_soon(lambda: self._save([key]))
        return record

    def change_durably(self, key: str, **changes: Any) -> JobRecord | None:
        """Change a record and write the journal before returning. Not for the main thread. Raises OSError."""
        record = self._change(key, changes)
        if record is not None:
            self._write(key)
        return record

    def discard(self, keys: Iterable[str]) -> None:
        """Remove records, also from the journal."""
        removed = list(keys)
        with self._lock:
            for key in removed:
                self._records.pop(key, None)
        self._do_soon(lambda: self._save(removed))

    def find_for_file(
        self,
        blend_file: str,
        stems_folder: Path,
        in_file: Iterable[str],
        *,
        token: object,
        post: Callable[[RecordsFound], object],
    ) -> None:
        """Find the records of a .blend file in a thread, and post them as RecordsFound.

        Args:
            blend_file: Absolute path of the file, "" if it is unsaved.
            stems_folder: The folder of its sounds. Stems that have arrived may have moved with the .blend file.
            in_file: The records that the file contains, as JSON.
            token: Returned in the message, so that the answer for a file that was closed can be recognised.
            post: Receives the message.
        """
        texts = list(in_file)

        def find() -> None:
            records = self._find(blend_file, texts)
            post(RecordsFound(token, tuple(_with_present_stems(record, stems_folder) for record in records)))

        self._do_soon(find)

    def close(self, timeout_s: float) -> bool:
        """Write the remaining records and end the thread. Returns False if it did not end in time."""
        thread = self._thread
        if thread is None:
            return True
        self._tasks.put(None)
        thread.join(timeout_s)
        return not thread.is_alive()

    def _find(self, blend_file: str, texts: list[str]) -> list[JobRecord]:
        self._journal.prune(time.time())
        in_file: list[JobRecord] = []
        for text in texts:
            with contextlib.suppress(ValueError):
                in_file.append(JobRecord.from_json(text))
        keys = {record.key for record in in_file}
        in_journal = [
            record
            for record in self._journal.records()
            if record.key in keys or (blend_file and record.blend_file == blend_file)
        ]
        # The records in memory are newer than those on disk.
        known = [record for record in self.all() if record.key in keys or record.blend_file == blend_file != ""]
        return merge_records(in_file, [*in_journal, *known])

    def _change(self, key: str, changes: dict[str, Any]) -> JobRecord | None:
        with self._lock:
            record = self._records.get(key)
            if record is not None:
                record = self._records[key] = replace(record, **changes)
            return record

    def _save(self, keys: list[str]) -> None:
        for key in keys:
            try:
                self._write(key)
            except OSError as error:
                # The job continues; after a crash, only the records in the .blend file are left.
                print(f"ReWaS: the journal of jobs cannot be written ({error}).")  # noqa: T201

    def _write(self, key: str) -> None:
        # Under the lock, so that an older version of a record never replaces a newer one.
        with self._disk_lock:
            record = self.get(key)
            if record is None:
                self._journal.remove(key)
            else:
                self._journal.write(record)

    def _do_soon(self, task: Callable[[], None]) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="rewas-journal", daemon=True)
                self._thread.start()
        self._tasks.put(task)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()


def _with_present_stems(record: JobRecord, stems_folder: Path) -> JobRecord:
    """Return the record with the present paths of its stems, or without the result if a stem is missing."""
    received = record.received
    if received is None:
        return record
    moved = {path: stems_folder / path.name for path in received.stem_paths if not path.is_file()}
    if not all(path.is_file() for path in moved.values()):
        return replace(record, received=None)
    return replace(record, received=received.with_moved_stems(moved))
