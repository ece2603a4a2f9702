"""The relay: a worker process without a model, which passes jobs on to a replica of a cluster, and its messages back.

    python -m rewas_server.cluster.relay

It uses the protocol of `rewas_server.worker.messages` over standard input and output, and ends when its input closes.
If it ends for any reason, its connection to the cluster is closed, and the replica stops the job.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import BinaryIO

import aiohttp

from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine.runtime.parent_death import end_with_parent
from rewas_server.cluster.readiness import find_problem, open_session
from rewas_server.cluster.remote_work import RemoteWork, result_artifacts
from rewas_server.files.content_store import ContentStore
from rewas_server.files.media import MediaLibrary
from rewas_server.files.private_files import keep_new_files_private
from rewas_server.logs import LogPrivacy, log_to_server
from rewas_server.work.requests import SoundRequest, TimelineRequest, parse_request
from rewas_server.work.translation import job_problem
from rewas_server.worker import messages

HEARTBEAT_S = 1.0
READY_POLL_S = 2.0
MAX_READY_FAILURES = 3
"""Number of checks after which a cluster without a running replica counts as not ready."""
MAX_RETRY_DELAY_S = 30.0
REPLICA_ENDED_STATUS = 76
"""Exit status of a relay whose replica ended during a job."""
NOT_READY_STATUS = 77
"""Exit status of a relay that waits for jobs while no replica runs."""
_log = logging.getLogger("rewas.worker")


class NotBegun(Exception):
    """The cluster could not begin the job, which is sent again."""


class ReplicaEnded(Exception):
    """The replica ended during the job, or broke the protocol."""


class Relay:
    """Passes on one job after another. output: the pipe to the server."""

    def __init__(
        self, start: messages.Start, connect: messages.Connect, output: BinaryIO, session: aiohttp.ClientSession
    ) -> None:
        self._start = start
        self._connect = connect
        self._output = output
        self._session = session
        self._media = MediaLibrary(start.allowed_roots, start.uploads_dir)
        self._content = ContentStore(connect.content_store, start.artifacts_dir)
        self._known_sha256: dict[tuple[Path, int, int], str] = {}
        self._listens = False
        self._has_begun = False

    async def run(self, source: asyncio.StreamReader) -> None:
        """Wait for a replica, then pass on jobs forever."""
        self._send(messages.Loading(self._start.default_pack))
        heartbeats = asyncio.create_task(self._send_heartbeats())
        incoming: asyncio.Queue[messages.Message] = asyncio.Queue()
        reading = asyncio.create_task(_read(source, incoming))
        try:
            await self._wait_until_ready()
            self._send(messages.Ready())
            checking = asyncio.create_task(self._end_if_not_ready())
            while True:
                message = await incoming.get()
                if isinstance(message, messages.Work):
                    checking.cancel()
                    await self._run_job(message, incoming)
                    checking = asyncio.create_task(self._end_if_not_ready())
        finally:
            heartbeats.cancel()
            reading.cancel()

    async def _wait_until_ready(self) -> None:
        shown = ""
        while problem := await find_problem(self._session, self._connect.url):
            if problem != shown:
                _log.warning("%s", problem)
                self._send(messages.Waiting(problem))
                shown = problem
            await asyncio.sleep(READY_POLL_S)

    async def _end_if_not_ready(self) -> None:
        failures = 0
        while failures < MAX_READY_FAILURES:
            await asyncio.sleep(READY_POLL_S)
            problem = await find_problem(self._session, self._connect.url)
            failures = failures + 1 if problem else 0
        _log.warning("%s", problem)
        sys.stderr.flush()
        os._exit(NOT_READY_STATUS)

    async def _run_job(self, work: messages.Work, incoming: asyncio.Queue[messages.Message]) -> None:
        """Pass on a job, until it has ended or is stopped."""
        self._has_begun = False
        job = asyncio.create_task(self._pass_on(work))
        while True:
            next_message = asyncio.create_task(incoming.get())
            await asyncio.wait([job, next_message], return_when=asyncio.FIRST_COMPLETED)
            if job.done():
                next_message.cancel()
                job.result()
                return
            message = next_message.result()
            if isinstance(message, messages.Stop) and message.job_id == work.job_id:
                # The replica stops when the connection is closed.
                job.cancel()
                await asyncio.wait([job])
                self._remove_stems(work.job_id)
                self._send(messages.Stopped(work.job_id))
                return

    async def _pass_on(self, work: messages.Work) -> None:
        about = {"job_id": work.job_id}
        delay_s = 0.5
        while True:
            try:
                remote = await asyncio.to_thread(self._prepare, work)
                final = await self._follow(remote)
                break
            except NotBegun as reason:
                _log.warning("The cluster cannot begin the job yet: %s", reason, extra=about)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, MAX_RETRY_DELAY_S)
            except ReplicaEnded as reason:
                _log.warning("The replica ended during the job: %s", reason, extra=about)
                sys.stderr.flush()
                os._exit(REPLICA_ENDED_STATUS)
            except Exception as error:
                final = self._failed(work.job_id, error)
                break
        if isinstance(final, messages.Done):
            fetching = asyncio.ensure_future(asyncio.to_thread(self._fetch_stems, final))
            try:
                await asyncio.shield(fetching)
            except asyncio.CancelledError:
                # Otherwise, it could write stems after those of the stopped job have been removed.
                await asyncio.wait([fetching])
                raise
            except Exception as error:
                self._remove_stems(work.job_id)
                final = self._failed(work.job_id, error)
        if not self._has_begun:
            self._send(messages.Begun(work.job_id))
        self._send(final)

    def _failed(self, job_id: str, error: Exception) -> messages.Failed:
        if not isinstance(error, ProblemError):
            _log.exception("The job failed with an unexpected error.", extra={"job_id": job_id})
        return messages.Failed(job_id, job_problem(error, job_id, self._start.artifacts_dir.parent))

    def _prepare(self, work: messages.Work) -> RemoteWork:
        """Store the media of a job where the replica finds it. Raises ProblemError, NotBegun."""
        locate = functools.partial(self._media.locate, project_folders=work.request.project_folders)
        media: dict[str, str] = {}

        def store(target_url: str, uploaded_media: Mapping[str, str]) -> Path:
            path = locate(target_url, uploaded_media)
            try:
                media[target_url] = self._store(path, uploaded_media.get(target_url))
            except ProblemError as problem:
                raise NotBegun(str(problem)) from problem
            return path

        request = parse_request(work.request)
        assert not isinstance(request, TimelineRequest), "the clips of a timeline are separate jobs"
        request.check_media(store)
        if isinstance(request, SoundRequest):
            request.locate_sound(store)
        return RemoteWork(
            work.job_id,
            work.request,
            self._start.default_pack,
            media,
            self._connect.stop_grace_s,
            self._start.log_level,
            self._start.log_prompts,
            work.is_alone,
        )

    def _store(self, path: Path, known_sha256: str | None) -> str:
        """Store a file, and return its SHA-256."""
        status = path.stat()
        key = (path, status.st_size, status.st_mtime_ns)
        try:
            sha256 = self._content.put(path, known_sha256 or self._known_sha256.get(key))
        except ProblemError:
            # The file may have changed although its modification time is the same.
            self._known_sha256.pop(key, None)
            raise
        self._known_sha256[key] = sha256
        return sha256

    async def _follow(self, remote: RemoteWork) -> messages.Done | messages.Failed | messages.Stopped:
        """Send a job to the cluster, and pass on its messages. Returns the last one. Raises NotBegun, ReplicaEnded."""
        try:
            async with contextlib.aclosing(self._stream(remote)) as stream:
                async for message in stream:
                    if isinstance(message, messages.Done | messages.Failed | messages.Stopped):
                        return message
                    if isinstance(message, messages.Postponed):
                        raise NotBegun(message.reason)
                    self._pass_back(message)
            reason = "its connection was closed"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
        if self._has_begun:
            raise ReplicaEnded(reason)
        raise NotBegun(reason)

    def _pass_back(self, message: messages.Message) -> None:
        if isinstance(message, messages.Logged):
            sys.stderr.write(f"{message.line}\n")
            sys.stderr.flush()
            return
        if isinstance(message, messages.Begun):
            self._has_begun = True
        self._send(message)

    async def _stream(self, remote: RemoteWork) -> AsyncGenerator[messages.Message]:
        """Yield the messages of a replica. Raises ValueError for others, and the errors of aiohttp."""
        body = remote.to_bytes()
        async with self._session.post(f"{self._connect.url}/work", data=body) as response:
            if response.status != 200:
                raise NotBegun(f"HTTP status {response.status}")
            self._listens = True
            try:
                async for line in response.content:
                    message = messages.from_line(line)
                    if not isinstance(message, _FROM_REPLICA):
                        raise ValueError(f"unexpected message {message.kind}")
                    if getattr(message, "job_id", remote.job_id) != remote.job_id:
                        raise ValueError("a message about another job")
                    yield message
            finally:
                self._listens = False

    def _fetch_stems(self, done: messages.Done) -> None:
        """Fetch the files of a result, and replace their paths. Raises ProblemError."""
        folder = self._start.artifacts_dir / done.job_id
        shutil.rmtree(folder, ignore_errors=True)
        for artifact in result_artifacts(done.result):
            path = folder / artifact.name
            if path.parent != folder or path.name != artifact.name:
                raise ValueError("a file name with a folder")
            self._content.fetch(artifact.sha256, path)
            if path.stat().st_size != artifact.size_bytes:
                raise ProblemError(
                    f"The size of the stem {artifact.name} differs from the one that the cluster reported.",
                    "Generate the sound again.",
                    ProblemKind.RESOURCES,
                )
            artifact.path = str(path.absolute())

    def _remove_stems(self, job_id: str) -> None:
        shutil.rmtree(self._start.artifacts_dir / job_id, ignore_errors=True)

    async def _send_heartbeats(self) -> None:
        """Report every second that this process is alive. While a replica runs a job, its own heartbeats count."""
        while True:
            if not self._listens:
                self._send(messages.Heartbeat())
            await asyncio.sleep(HEARTBEAT_S)

    def _send(self, message: messages.Message) -> None:
        try:
            self._output.write(messages.to_line(message))
            self._output.flush()
        except OSError:
            # The server has ended.
            os._exit(0)


_FROM_REPLICA = (
    messages.Loaded,
    messages.Heartbeat,
    messages.Begun,
    messages.Measured,
    messages.JobProgress,
    messages.Done,
    messages.Failed,
    messages.Stopped,
    messages.Postponed,
    messages.Logged,
)


async def _read(source: asyncio.StreamReader, incoming: asyncio.Queue[messages.Message]) -> None:
    """Read messages until the server closes the pipe, then exit immediately."""
    try:
        while (line := await source.readline()).endswith(b"\n"):
            incoming.put_nowait(messages.from_line(line))
    except ValueError:
        _log.exception("Invalid message from the server.")
    finally:
        os._exit(0)


async def _main() -> None:
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    source = asyncio.StreamReader(limit=messages.MAX_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(source), sys.stdin.buffer)
    start, connect = [messages.from_line(await source.readline()) for _ in range(2)]
    if not isinstance(start, messages.Start) or not isinstance(connect, messages.Connect):
        raise SystemExit("The first two messages must be `start` and `connect`.")
    privacy = LogPrivacy(start.log_prompts)
    privacy.hide("token", [connect.token])
    log_to_server("worker", privacy, start.log_level.upper())
    async with open_session(connect.token, messages.MAX_LINE_BYTES) as session:
        await Relay(start, connect, output, session).run(source)


def main() -> None:
    """Run until standard input closes."""
    keep_new_files_private()
    # Ctrl-C reaches the whole process group; the server decides when the relay ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    asyncio.run(_main())


if __name__ == "__main__":
    main()
