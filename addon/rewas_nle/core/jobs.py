# SPDX-License-Identifier: GPL-3.0-or-later
"""Use case: submit jobs to a server, watch them and fetch their stems, even across outages of the server."""

from __future__ import annotations

import contextlib
import queue
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..timeline.names import sound_file_name, unique_name
from .contract import ServerChoice, UserProblemError, open_client, problem_from
from .journal import RecordBook
from .messages import (
    JobAccepted,
    JobCancelled,
    JobFailed,
    JobProgress,
    Message,
    Problem,
    ServerFound,
    ServerLost,
    StemsReceived,
)
from .records import JobRecord
from .requests import MeasuringError, build_request, decode_request, encode_request, read_progress, read_result, submit

if TYPE_CHECKING:
    from rewas_api.client import RewasClient
    from rewas_api.v1 import rewas_pb2

POLL_INTERVAL_S = 0.2
RETRY_PAUSE_S = 1.0
_FEW_JOBS = 8
_LONGEST_PAGE = 1000
MOST_ON_SERVER = 200
"""Jobs beyond this number wait in the add-on: a server refuses a client that fills its queue."""
PostMessage = Callable[[Message], object]


class _CancelledError(Exception):
    """The user cancelled the job before it was submitted."""


class ServerJobs:
    """The jobs of one server.

    Three threads submit, watch and fetch. Each job ends with one StemsReceived, JobFailed or JobCancelled, unless the
    threads are closed first; closing cancels no job. While the server does not answer, jobs wait for it.

    Args:
        server: The server.
        book: The records of the jobs. They are in the journal before a job is submitted.
        post: Called with messages in the threads.
    """

    def __init__(self, server: ServerChoice, book: RecordBook, *, post: PostMessage) -> None:
        self.server = server
        self._book = book
        self._post = post
        self._client: RewasClient | None = None
        # Connecting imports gRPC, which is slow, and the main thread must never wait for it.
        self._connecting = threading.Lock()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._to_submit: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._to_fetch: queue.SimpleQueue[tuple[str, rewas_pb2.Job] | None] = queue.SimpleQueue()
        self._unfinished: dict[str, None] = {}
        self._watched: dict[str, int] = {}
        """Revision of the last snapshot, by key, of the jobs that the server has accepted."""
        self._measuring: dict[str, None] = {}
        """Keys of the jobs that wait for the measurement of a sound and are then submitted."""
        self._cancelled: set[str] = set()
        self._to_cancel: set[str] = set()
        self._retried: set[str] = set()
        self._outage: Problem | None = None
        self._threads: list[threading.Thread] = []

    def add(self, keys: Iterable[str], *, retry: bool = False) -> None:
        """Submit the jobs with these keys, or continue them. retry: run jobs again that have failed on the server."""
        added = list(keys)
        with self._lock:
            self._unfinished |= dict.fromkeys(added)
            self._cancelled.difference_update(added)
            if retry:
                self._retried.update(added)
            outage = self._outage
            if not self._threads:
                for work in (self._submit_all, self._watch_all, self._fetch_all):
                    thread = threading.Thread(target=work, name=f"rewas-{work.__name__.strip('_')}", daemon=True)
                    self._threads.append(thread)
                    thread.start()
        if outage is not None:
            self._post(ServerLost(tuple(added), outage))
        for key in added:
            self._to_submit.put(key)

    def cancel(self, key: str) -> bool:
        """Cancel a job. Returns False if it is not one of this server's unfinished jobs. Returns immediately."""
        with self._lock:
            if key not in self._unfinished:
                return False
            self._cancelled.add(key)
            away = self._outage is not None
        record = self._book.change(key, is_cancelled=True)
        if record is not None and record.job_id:
            self._to_cancel.add(key)
        if away:
            # The user does not have to wait for the server. The threads do, and the journal stores the request.
            self._post(JobCancelled(key))
        self._wake.set()
        return True

    def forget(self, key: str) -> None:
        """Stop working on a job, because another server now has it."""
        with self._lock:
            self._unfinished.pop(key, None)
            self._watched.pop(key, None)
            self._measuring.pop(key, None)
            self._to_cancel.discard(key)

    def close(self) -> None:
        """End the threads and the connection. The jobs continue. Returns at once; follow with join()."""
        self._closed.set()
        self._wake.set()
        self._to_submit.put(None)
        self._to_fetch.put(None)
        client = self._client
        if client is not None:
            client.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads to end. Returns False if one is still running after `timeout_s` seconds."""
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def _connect(self) -> RewasClient:
        with self._connecting:
            if self._client is None:
                self._client = open_client(self.server)
                if self._closed.is_set():
                    self._client.close()
            return self._client

    # Submitting

    def _submit_all(self) -> None:
        while (key := self._to_submit.get()) is not None and not self._closed.is_set():
            while len(self._watched) >= MOST_ON_SERVER and key not in self._cancelled:
                if self._closed.wait(POLL_INTERVAL_S):
                    return
            self._until_reachable(key, lambda key=key: self._submit(key))  # type: ignore[misc]

    def _submit(self, key: str) -> None:
        record = self._book.get(key)
        if record is None:
            return
        client = self._connect()
        if record.is_cancelled and not _may_be_on_server(record):
            raise _CancelledError
        job = self._find_job(client, record) or self._submit_record(client, self._book.get(key) or record)
        self._found_server()
        self._book.change_durably(key, job_id=job.id, problem=None)
        with self._lock:
            self._retried.discard(key)
            self._watched[key] = 0
            if key in self._cancelled or record.is_cancelled:
                self._to_cancel.add(key)
        self._post(JobAccepted(key, job.id))
        self._wake.set()

    def _find_job(self, client: RewasClient, record: JobRecord) -> rewas_pb2.Job | None:
        """Return the record's job on the server, or None if it must be submitted."""
        from rewas_api.errors import ProblemError, ProblemKind
        from rewas_api.v1 import rewas_pb2

        if not record.job_id:
            return None
        try:
            job = client.get_job(record.job_id)
            if record.key in self._retried:
                job = client.retry(record.job_id)
        except ProblemError as problem:
            if problem.kind is not ProblemKind.NOT_FOUND:
                raise
            return None
        if job.state == rewas_pb2.JOB_STATE_SUCCEEDED and job.files_deleted:
            # Only a new job can generate the files again.
            self._book.change_durably(record.key, submission=record.submission + 1, job_id="")
            return None
        return job

    def _submit_record(self, client: RewasClient, record: JobRecord) -> rewas_pb2.Job:
        from rewas_api.errors import ProblemError, ServerUnavailable

        key = record.key

        def report(sent: int, total: int) -> None:
            if key in self._cancelled:
                raise _CancelledError
            self._post(JobProgress(key, 0, "sending", "upload", 0, 0, sent / max(total, 1), None))

        if not record.request:
            request = build_request(client, record, report, retry=key in self._retried)
            # Written to disk before the server can have the job: a crash in between must not create a second one.
            self._book.change_durably(key, request=encode_request(request))
        else:
            request = decode_request(record)
        try:
            return submit(client, request, report)
        except ServerUnavailable:
            raise
        except ProblemError:
            # The server does not have the job, so another attempt may send something else.
            self._book.change_durably(key, request="")
            raise

    # Watching

    def _watch_all(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(POLL_INTERVAL_S if self._watched or self._measuring else None)
            self._wake.clear()
            if self._closed.is_set():
                continue
            self._resubmit()
            if not self._watched:
                continue
            try:
                client = self._connect()
                self._send_cancels(client)
                self._poll(client)
                self._found_server()
            except Exception as error:
                if _is_outage(error):
                    self._lost_server(error)
                    self._closed.wait(RETRY_PAUSE_S)
                else:
                    for key in list(self._watched):
                        self._fail(key, error)

    def _resubmit(self) -> None:
        """Submit the jobs that wait for a measurement. Those that still wait come back."""
        with self._lock:
            waiting = list(self._measuring)
            self._measuring.clear()
        if waiting and not self._closed.wait(POLL_INTERVAL_S):
            for key in waiting:
                self._to_submit.put(key)

    def _send_cancels(self, client: RewasClient) -> None:
        for key in list(self._to_cancel):
            record = self._book.get(key)
            if record is not None and record.job_id:
                client.cancel(record.job_id)
            self._to_cancel.discard(key)

    def _poll(self, client: RewasClient) -> None:
        from rewas_api.errors import ProblemError, ProblemKind, ServerUnavailable
        from rewas_api.v1 import rewas_pb2

        watched = {record.job_id: key for key in list(self._watched) if (record := self._book.get(key)) is not None}
        snapshots: dict[str, rewas_pb2.Job] = {}
        if len(watched) > _FEW_JOBS:
            # One call for all jobs that have not ended.
            states = [
                rewas_pb2.JOB_STATE_QUEUED,
                rewas_pb2.JOB_STATE_RUNNING,
                rewas_pb2.JOB_STATE_CANCELLING,
                rewas_pb2.JOB_STATE_PAUSING,
                rewas_pb2.JOB_STATE_PAUSED,
            ]
            snapshots = {job.id: job for job in client.list_jobs(page_size=_LONGEST_PAGE, states=states)}
        for job_id, key in watched.items():
            if self._closed.is_set():
                return
            try:
                self._handle_snapshot(key, snapshots.get(job_id) or client.get_job(job_id))
            except ServerUnavailable:
                raise
            except ProblemError as problem:
                if problem.kind is ProblemKind.NOT_FOUND:
                    # The server was replaced, or someone has deleted the job.
                    self._book.change(key, job_id="")
                self._fail(key, problem)

    def _handle_snapshot(self, key: str, job: rewas_pb2.Job) -> None:
        from rewas_api.errors import JobFailed as JobFailedError
        from rewas_api.v1 import rewas_pb2

        if job.revision > self._watched.get(key, 0):
            with self._lock:
                self._watched[key] = job.revision
            self._post(read_progress(key, job))
        if job.state == rewas_pb2.JOB_STATE_SUCCEEDED:
            with self._lock:
                self._watched.pop(key, None)
            self._to_fetch.put((key, job))
        elif job.state == rewas_pb2.JOB_STATE_FAILED:
            self._fail(key, JobFailedError(job))
        elif job.state == rewas_pb2.JOB_STATE_CANCELLED:
            self._end(key, JobCancelled(key))

    # Fetching

    def _fetch_all(self) -> None:
        while (item := self._to_fetch.get()) is not None and not self._closed.is_set():
            key, job = item
            self._until_reachable(key, lambda key=key, job=job: self._fetch(key, job))  # type: ignore[misc]

    def _fetch(self, key: str, job: rewas_pb2.Job) -> None:
        record = self._book.get(key)
        if record is None:
            return
        if key in self._cancelled:
            raise _CancelledError
        client = self._connect()
        stems: dict[str, Path] = {}
        for number, take in enumerate(job.sound.takes, start=1):
            for stem in take.stems:
                name = sound_file_name(record.clip.name, stem.role, number, job.id)
                stems[stem.artifact.name] = _fetch_stem(client, job.id, stem.artifact, record.stems_folder / name)
        received = read_result(key, job, stems)
        self._book.change_durably(key, received=received, problem=None)
        self._end(key, received)

    # Ends and outages

    def _until_reachable(self, key: str, act: Callable[[], None]) -> None:
        """Act, and retry while the server does not answer. Any other error fails the job."""
        while not self._closed.is_set() and key in self._unfinished:
            try:
                act()
                return
            except _CancelledError:
                self._end(key, JobCancelled(key))
                return
            except MeasuringError:
                # Other jobs are submitted in the meantime.
                with self._lock:
                    self._measuring[key] = None
                self._post(JobProgress(key, 0, "sending", "measure", 0, 0, 0.0, None))
                self._wake.set()
                return
            except Exception as error:
                if not _is_outage(error):
                    self._fail(key, error)
                    return
                self._lost_server(error)
            self._closed.wait(POLL_INTERVAL_S if key in self._cancelled else RETRY_PAUSE_S)
            record = self._book.get(key)
            if key in self._cancelled and (record is None or not _may_be_on_server(record)):
                self._end(key, JobCancelled(key))
                return

    def _fail(self, key: str, error: Exception) -> None:
        if self._closed.is_set():
            return
        if _is_bug(error):
            traceback.print_exception(error)
        problem = problem_from(error)
        self._book.change(key, problem=problem)
        self._end(key, JobFailed(key, problem))

    def _end(self, key: str, message: StemsReceived | JobFailed | JobCancelled) -> None:
        with self._lock:
            self._unfinished.pop(key, None)
            self._watched.pop(key, None)
            self._to_cancel.discard(key)
        if isinstance(message, JobCancelled):
            self._book.discard([key])
        if not self._closed.is_set():
            self._post(message)

    def _lost_server(self, error: Exception) -> None:
        problem = problem_from(error)
        with self._lock:
            if self._closed.is_set() or self._outage is not None:
                return
            self._outage = problem
            keys = tuple(self._unfinished)
        self._post(ServerLost(keys, problem))

    def _found_server(self) -> None:
        with self._lock:
            if self._outage is None:
                return
            self._outage = None
            keys = tuple(self._unfinished)
        self._post(ServerFound(keys))


def _fetch_stem(client: RewasClient, job_id: str, artifact: rewas_pb2.Artifact, path: Path) -> Path:
    """Fetch a stem unless it has already been fetched. A different file with its name is kept."""
    from rewas_api.transfer import hash_file

    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size == artifact.size_bytes and hash_file(path) == artifact.sha256:
            return path
    name = unique_name(path.name, lambda name: (path.parent / name).exists())
    return client.fetch_artifact(job_id, artifact, path.with_name(name))


def _may_be_on_server(record: JobRecord) -> bool:
    return bool(record.job_id or record.request)


def _is_outage(error: Exception) -> bool:
    if isinstance(error, UserProblemError):
        return False
    from rewas_api.errors import ServerUnavailable

    return isinstance(error, ServerUnavailable)


def _is_bug(error: Exception) -> bool:
    if isinstance(error, UserProblemError | OSError):
        return False
    from rewas_api.errors import ProblemError

    return not isinstance(error, ProblemError)
