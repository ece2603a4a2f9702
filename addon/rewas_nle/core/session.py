# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs of one Blender session, the threads that work on them, and the queue of their messages."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .analysis import Analyses, AnalysisEnded, AnalysisRequest
from .board import Board, JobStatus, apply_message
from .contract import ServerChoice
from .folders import journal_folder
from .jobs import ServerJobs
from .journal import Journal, RecordBook
from .messages import JobCancelled, JobFailed, Message, Problem
from .records import JobRecord, RecordsFound
from .server_watch import ServerWatch

JOIN_TIMEOUT_S = 5.0


@dataclass(frozen=True, eq=False)
class OpenFile:
    """The open .blend file: its absolute path, "" while it is unsaved, and the folder of its sounds."""

    blend_file: str
    stems_folder: Path


class Session:
    """The jobs of one Blender session and the board that shows them.

    Some of the jobs belong to the open .blend file: its `open_keys`. The others continue while it is open, and their
    sound waits on the disk for their own file. Call the methods on the main thread. They return immediately, except
    close(), which waits at most JOIN_TIMEOUT_S seconds for each thread.

    Args:
        journal: Folder of the journal; the user's if None.
    """

    def __init__(self, journal: Path | None = None) -> None:
        self.board = Board()
        self.book = RecordBook(Journal(journal or journal_folder()))
        self.open_keys: set[str] = set()
        self._file: OpenFile | None = None
        self.is_looking = False
        self._messages: queue.SimpleQueue[Message | RecordsFound | AnalysisEnded] = queue.SimpleQueue()
        self._servers: dict[ServerChoice, ServerJobs] = {}
        self._analyses: dict[ServerChoice, Analyses] = {}
        self._watch: ServerWatch | None = None
        self._closed_watches: list[ServerWatch] = []

    def watch_server(self, server: ServerChoice) -> None:
        """Poll the server at this address. A new address takes effect immediately."""
        watch = self._watch
        if watch is not None and watch.server == server:
            return
        if watch is not None:
            watch.close()
            self._closed_watches.append(watch)
        self.board = replace(self.board, server=None)
        self._watch = ServerWatch(server, post=self._messages.put)
        self._watch.start()

    def poll_server_now(self) -> None:
        """Poll the watched server now."""
        if self._watch is not None:
            self._watch.poll_now()

    # Jobs of the open file

    @property
    def is_busy(self) -> bool:
        """Whether a job is unfinished, or the search for jobs of the open file is still running."""
        return self.is_looking or self.board.is_busy

    def generate(self, records: Sequence[JobRecord], server: ServerChoice) -> None:
        """Start jobs for the open file."""
        started = [replace(record, server=server.address) for record in records]
        self.book.put(started)
        self.open_keys.update(record.key for record in started)
        self.board = self.board.with_jobs(JobStatus(record.key, record.clip.name) for record in started)
        self._jobs_on(server).add(record.key for record in started)

    def announce(self, key: str, name: str, note: str = "") -> None:
        """Show a job that is being prepared. `generate` or `refuse` with this key continues it."""
        self.board = self.board.with_job(JobStatus(key, name, state="preparing", note=note))

    def prepare(self, record: JobRecord) -> None:
        """Keep a job for the open file that cannot be submitted yet, because its picture must be rendered first."""
        self.book.put([record])
        self.open_keys.add(record.key)
        self.announce(record.key, record.clip.name)

    def show_preparation(self, key: str, frames: int, total_frames: int) -> None:
        """Show how many frames of the picture of a prepared job have been rendered."""
        job = self.board.jobs.get(key)
        if job is not None and job.state == "preparing":
            fraction = frames / max(total_frames, 1)
            shown = replace(job, stage="picture", step=frames, total_steps=total_frames, fraction=fraction)
            self.board = self.board.with_job(shown)

    def submit_prepared(self, key: str, server: ServerChoice) -> bool:
        """Submit a prepared job, whose file may no longer be the open one. Returns False if it is gone."""
        record = self.book.get(key)
        if record is None:
            return False
        self.board = self.board.with_job(JobStatus(key, record.clip.name))
        self._jobs_on(server).add([key])
        return True

    def fail_preparation(self, key: str, problem: Problem) -> None:
        """Fail a prepared job whose picture cannot be rendered."""
        self.book.change(key, problem=problem)
        self._messages.put(JobFailed(key, problem))

    def cancel_preparation(self, key: str) -> None:
        """Cancel a prepared job, which no server knows."""
        self.book.discard([key])
        self._messages.put(JobCancelled(key))

    def refuse(self, key: str, name: str, problem: Problem, *, can_retry: bool = False, strip_uid: str = "") -> None:
        """Show a strip that cannot get sound."""
        refused = JobStatus(key, name, state="failed", note="Not generated", problem=problem)
        self.board = self.board.with_job(replace(refused, can_retry=can_retry, strip_uid=strip_uid))

    def cancel(self, key: str) -> bool:
        """Cancel a job. Returns False if no running job has this key."""
        job = self.board.jobs.get(key)
        if job is None or job.is_finished or job.state == "arriving":
            return False
        self.board = self.board.with_job(replace(job, state="cancelling"))
        return any(jobs.cancel(key) for jobs in self._servers.values())

    def retry(self, key: str, server: ServerChoice) -> bool:
        """Run a failed job again, or move one that waits for another server. Returns False if it is neither."""
        job, record = self.board.jobs.get(key), self.book.get(key)
        if job is None or record is None:
            return False
        if job.server_problem is not None and not job.is_finished:
            if record.server == server.address:
                return False
            # The key is the same, so a server that has the state of the other one continues its job.
            for jobs in self._servers.values():
                jobs.forget(key)
        elif job.state != "failed":
            return False
        self.book.change(key, problem=None, server=server.address)
        self.board = self.board.with_job(JobStatus(key, job.clip_name))
        self._jobs_on(server).add([key], retry=True)
        return True

    def finish(self, key: str, note: str, problem: Problem | None = None) -> None:
        """Show the result of a job whose stems were handled. The record is kept until the file is saved."""
        self.book.change(key, is_placed=True)
        job = self.board.jobs.get(key)
        if job is not None:
            self.board = self.board.with_job(replace(job, state="done", note=note, problem=problem))

    def store(self, key: str, note: str) -> None:
        """Keep the stems of a job that have arrived while its file is not open."""
        job = self.board.jobs.get(key)
        if job is not None:
            self.board = self.board.with_job(replace(job, state="stored", note=note))

    def clear_finished(self) -> None:
        """Remove finished jobs from the board. Failed jobs can then no longer be retried."""
        finished = self.board.finished_keys()
        failed = [key for key in finished if self.board.jobs[key].state == "failed"]
        self._forget(failed)
        self.board = self.board.without_jobs(finished)

    def analyse(self, request: AnalysisRequest, server: ServerChoice) -> None:
        """Ask the server about a clip. The answer arrives as a message of the type AnalysisEnded."""
        if server not in self._analyses:
            self._analyses[server] = Analyses(server, post=self._messages.put)
        self._analyses[server].ask(request)

    def withdraw(self, key: str) -> None:
        """Cancel a question. key: that of its request."""
        for analyses in self._analyses.values():
            analyses.withdraw(key)

    # Files

    def open_file(self, blend_file: str, stems_folder: Path, in_file: Iterable[str]) -> None:
        """Use another .blend file, which was opened. A thread finds its jobs, which then continue.

        Args:
            blend_file: Its absolute path, "" for an unsaved one.
            stems_folder: Where its sounds go.
            in_file: The records that it contains, as JSON.
        """
        self.open_keys = set()
        self._file = OpenFile(blend_file, stems_folder)
        self.is_looking = True
        self.book.find_for_file(blend_file, stems_folder, in_file, token=self._file, post=self._messages.put)

    def save_file(self, blend_file: str, stems_folder: Path) -> None:
        """Note that the open file was saved under this path. The sound that is placed in it is now safe."""
        placed = []
        for key in self.open_keys:
            record = self.book.get(key)
            if record is None:
                continue
            if record.is_placed:
                placed.append(key)
            elif (record.blend_file, record.stems_folder) != (blend_file, stems_folder):
                self.book.change(key, blend_file=blend_file, stems_folder=stems_folder)
        self._forget(placed)

    def open_records(self) -> list[JobRecord]:
        """Return the records to store in the open file."""
        records = (self.book.get(key) for key in sorted(self.open_keys))
        return [record for record in records if record is not None and not record.is_placed]

    def resume(
        self, found: RecordsFound, server_at: Callable[[str], ServerChoice]
    ) -> Generator[None, None, list[JobRecord]]:
        """Continue the jobs of the open file, one per slice. Returns those whose picture must be rendered first.

        Args:
            found: The answer to `open_file`. It is ignored if that file is no longer open.
            server_at: Returns the server with an address.
        """
        file = self._file
        without_picture: list[JobRecord] = []
        if file is None or found.token is not file:
            return without_picture
        for record in found.records:
            if file is self._file:
                resumed = self._resume_record(record, file, server_at)
                if resumed is not None and resumed.needs_picture:
                    without_picture.append(resumed)
                yield
        if file is self._file:
            self.is_looking = False
        return without_picture

    def _resume_record(
        self, record: JobRecord, file: OpenFile, server_at: Callable[[str], ServerChoice]
    ) -> JobRecord | None:
        """Continue a job unless its picture must be rendered first. Returns its record, None if it is running."""
        key = record.key
        if not record.is_cancelled:
            self.open_keys.add(key)
        if self._is_running(key):
            self.book.change(key, blend_file=file.blend_file, stems_folder=file.stems_folder)
            return None
        current = replace(
            self.book.get(key) or record,
            blend_file=file.blend_file,
            stems_folder=file.stems_folder,
            received=record.received,
            is_placed=False,
        )
        self.book.put([current])
        status = JobStatus(key, current.clip.name, job_id=current.job_id)
        if current.received is None and current.problem is not None:
            status = replace(status, state="failed", note="Failed", problem=current.problem, can_retry=True)
        if not current.is_cancelled:
            self.board = self.board.with_job(status)
        if current.received is not None:
            self._messages.put(current.received)
        elif current.problem is None and not current.needs_picture:
            self._jobs_on(server_at(current.server)).add([key])
        return None if current.problem is not None else current

    # Messages

    def drain(self, handle: Callable[[Message | RecordsFound | AnalysisEnded], object], *, deadline_s: float) -> int:
        """Apply waiting messages to the board and pass each to `handle`, until there are none or time is up.

        `deadline_s`: on the clock of time.monotonic(). At least one message is handled. Returns the number handled.
        """
        drained = 0
        while drained == 0 or time.monotonic() < deadline_s:
            try:
                message = self._messages.get_nowait()
            except queue.Empty:
                break
            if not isinstance(message, RecordsFound | AnalysisEnded):
                self.board = apply_message(self.board, message)
            if isinstance(message, JobCancelled):
                self.open_keys.discard(message.key)
            handle(message)
            drained += 1
        return drained

    def close(self) -> bool:
        """End the threads and connections. Jobs continue. Returns False if a thread did not end in time."""
        watches = [*self._closed_watches, *([self._watch] if self._watch is not None else [])]
        ending: list[ServerJobs | ServerWatch | Analyses] = [
            *self._servers.values(),
            *self._analyses.values(),
            *watches,
        ]
        for threads in ending:
            threads.close()
        ended = [threads.join(JOIN_TIMEOUT_S) for threads in ending]
        ended.append(self.book.close(JOIN_TIMEOUT_S))
        self._servers.clear()
        self._analyses.clear()
        self._closed_watches.clear()
        self._watch = None
        return all(ended)

    def _jobs_on(self, server: ServerChoice) -> ServerJobs:
        if server not in self._servers:
            self._servers[server] = ServerJobs(server, self.book, post=self._messages.put)
        return self._servers[server]

    def _is_running(self, key: str) -> bool:
        job = self.board.jobs.get(key)
        return job is not None and not job.is_finished

    def _forget(self, keys: Collection[str]) -> None:
        self.book.discard(keys)
        self.open_keys.difference_update(keys)
