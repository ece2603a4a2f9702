"""A replica: one process with loaded packs, which Ray Serve starts on a machine of the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from rewas_api.errors import ProblemError, ProblemKind
from rewas_engine import Execution
from rewas_engine.media.isolation.pool import isolated_decoding
from rewas_engine.media.limits import DecodingLimits
from rewas_server.cluster.remote_work import ClusterSettings, RemoteWork, result_artifacts
from rewas_server.cluster.turns import Turns
from rewas_server.files.content_store import ContentStore
from rewas_server.files.private_files import keep_new_files_private
from rewas_server.logs import LogPrivacy, passing_on_records
from rewas_server.work.context import DescriptionModels, Result
from rewas_server.worker import messages
from rewas_server.worker.job_runner import OUT_OF_MEMORY_STATUS, JobFiles, JobRunner, PackSettings

HEARTBEAT_S = 1.0
CHUNK_INTERVAL_S = 0.1
"""Shortest time between two parts of a response: each passes through three processes of Ray."""
END_DELAY_S = 1.0
"""Time in which a replica can send its last message before it ends."""
STOP_STATUS = 76
"""Exit status of a replica that did not stop a job."""
_log = logging.getLogger("rewas.worker")


@dataclass(frozen=True, eq=False)
class _Call:
    """A call from a relay, with the job to run."""

    work: RemoteWork
    stream: _LineStream
    stopped: threading.Event = field(default_factory=threading.Event)


_call: ContextVar[_Call | None] = ContextVar("call", default=None)
"""The call whose job this thread runs."""


class Replica:
    """Runs the jobs that it gets. The application sets how many run at the same time.

    When a `run` has ended, Ray Serve sends it another job. arguments: those of the application.
    """

    def __init__(self, arguments: Mapping[str, object]) -> None:
        settings = ClusterSettings(**arguments)  # type: ignore[arg-type]
        if settings.loopback_only:
            listen_on_loopback()
        keep_new_files_private()
        self._folder = Path(tempfile.mkdtemp(prefix="rewas-replica-"))
        cache_dir = Path(settings.cache_dir) if settings.cache_dir else self._folder / "media"
        self._content = ContentStore(settings.content_store, cache_dir)
        self._cache_limit_bytes = settings.cache_limit_bytes
        self._privacy = LogPrivacy()
        self._calls: dict[str, _Call] = {}
        self._calls_lock = threading.Lock()
        self._loaded: dict[str, messages.Loaded] = {}
        self._turns = Turns(settings.jobs_per_replica)
        self._ending: asyncio.Future[None] | None = None
        packs = PackSettings(
            settings.default_pack,
            settings.device,
            Execution(**(settings.execution or {})),  # type: ignore[arg-type]
            Path(settings.conflict_model) if settings.conflict_model else None,
            Path(settings.avh_model) if settings.avh_model else None,
            DescriptionModels(
                *(
                    Path(folder) if folder else None
                    for folder in (settings.picture_model, settings.sound_model, settings.language_model)
                )
            ),
            Path(settings.video_model) if settings.video_model else None,
        )
        self._runner = JobRunner(packs, self._send, self._privacy)
        self._until_closed = contextlib.ExitStack()
        self._until_closed.enter_context(passing_on_records(self._log, self._privacy))
        # The decoders stay as long as the process. On Linux, they end with it.
        self._until_closed.enter_context(isolated_decoding(DecodingLimits(**(settings.decoding or {}))))  # type: ignore[arg-type]
        self._threads = ThreadPoolExecutor(settings.jobs_per_replica, "rewas-job")
        self._threads.submit(self._runner.load_default_pack).result()

    def close(self) -> None:
        """End the decoders. Ray ends the whole process instead."""
        self._until_closed.close()
        self._threads.shutdown()

    async def run(self, body: bytes) -> AsyncIterator[bytes]:
        """Run a job. Yields lines of `rewas_server.worker.messages`, at least a heartbeat every second.

        If the caller hangs up, the job is stopped before this ends. If it does not stop, the process ends.
        """
        work = RemoteWork.from_bytes(body)
        # If this process is about to end, no turn begins any more, and the job goes to another replica.
        turn = self._turns.ask(work.job_id, is_alone=work.is_alone)
        try:
            while not turn.begun.is_set():
                yield messages.to_line(messages.Heartbeat())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT_S):
                        await turn.begun.wait()
            async with contextlib.aclosing(self._follow(work)) as lines:
                async for each in lines:
                    yield each
        finally:
            self._turns.leave(turn)

    async def _follow(self, work: RemoteWork) -> AsyncGenerator[bytes]:
        """Run a job, and yield its lines until it has ended."""
        loop = asyncio.get_running_loop()
        call = _Call(work, _LineStream(loop))
        job = asyncio.ensure_future(self._run_job(call))
        job.add_done_callback(lambda _: call.stream.end())
        try:
            while True:
                is_done = job.done()
                if lines := await call.stream.collect(0.0 if is_done else HEARTBEAT_S):
                    yield lines
                if is_done:
                    break
            job.result()
        finally:
            call.stopped.set()
            loop.call_later(work.stop_grace_s, _end_unless_done, job, work.job_id)
            await asyncio.wait([job])

    async def _run_job(self, call: _Call) -> None:
        self._change_calls(lambda: self._calls.update({call.work.job_id: call}))
        try:
            media = await asyncio.to_thread(self._fetch_media, call.work)
            loop = asyncio.get_running_loop()
            if not await loop.run_in_executor(self._threads, self._run_in_thread, call, media):
                self._turns.close()
                self._ending = asyncio.ensure_future(self._end_when_idle())
        except ProblemError as problem:
            call.stream.add(messages.Postponed(call.work.job_id, str(problem)))
        finally:
            self._change_calls(lambda: self._calls.pop(call.work.job_id))

    async def _end_when_idle(self) -> None:
        await self._turns.idle.wait()
        await asyncio.sleep(END_DELAY_S)
        os._exit(OUT_OF_MEMORY_STATUS)

    def _run_in_thread(self, call: _Call, media: Mapping[str, Path]) -> bool:
        def locate(target_url: str, uploaded_media: Mapping[str, str]) -> Path:
            return media[target_url]

        work = call.work
        # An earlier attempt of the same job may have left files.
        artifacts_dir = self._folder / uuid.uuid4().hex
        token = _call.set(call)
        try:
            for loaded in tuple(self._loaded.values()):
                call.stream.add(loaded)
            files = JobFiles(artifacts_dir, locate, lambda result: self._deliver(result, artifacts_dir / work.job_id))
            job = messages.Work(work.job_id, work.request, work.is_alone)
            return self._runner.run(job, files, call.stopped, work.default_pack)
        finally:
            _call.reset(token)
            shutil.rmtree(artifacts_dir, ignore_errors=True)

    def _change_calls(self, change: Callable[[], object]) -> None:
        """Add or remove a call. The log then has the lowest level of all jobs, and prompts only if all allow them."""
        with self._calls_lock:
            change()
            works = [call.work for call in self._calls.values()]
            if works:
                self._privacy.log_prompts = all(work.log_prompts for work in works)
                levels = logging.getLevelNamesMapping()
                logging.getLogger("rewas").setLevel(min(levels[work.log_level.upper()] for work in works))

    def _fetch_media(self, work: RemoteWork) -> dict[str, Path]:
        """Return a local copy of each media file. Raises ProblemError."""
        media = {}
        for url, sha256 in work.media.items():
            try:
                media[url] = self._content.get(sha256)
            except ProblemError as problem:
                if problem.kind is ProblemKind.MEDIA:
                    # The server stores it again.
                    self._content.delete(sha256)
                raise
        with self._calls_lock:
            needed = {sha256 for call in self._calls.values() for sha256 in call.work.media.values()}
        self._content.trim_cache(self._cache_limit_bytes, keep=needed)
        return media

    def _deliver(self, result: Result, folder: Path) -> None:
        """Store the stems of a result, and delete the local ones. Raises ProblemError."""
        for artifact in result_artifacts(result):
            self._content.put(folder / artifact.name, artifact.sha256)
            (folder / artifact.name).unlink()

    def _send(self, message: messages.Message) -> None:
        """Send a message to the relay of its job, or to all relays if it is about no job."""
        if isinstance(message, messages.Loaded):
            self._loaded[message.pack] = message
        job_id = getattr(message, "job_id", None)
        with self._calls_lock:
            calls = [call for call in self._calls.values() if job_id in (None, call.work.job_id)]
        for call in calls:
            call.stream.add(message)

    def _log(self, line: str) -> None:
        """Send a record to the relay of the job that this thread runs, or to any relay if it runs none."""
        call = _call.get()
        if call is None:
            with self._calls_lock:
                call = next(iter(self._calls.values()), None)
        if call is not None:
            call.stream.add(messages.Logged(line))


class _LineStream:
    """Messages of a job, from its thread to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._messages: list[messages.Message] = []
        self._lock = threading.Lock()
        self._arrived = asyncio.Event()
        self._ended = asyncio.Event()
        self._collected_s = float("-inf")

    def add(self, message: messages.Message) -> None:
        """Add a message, in any thread."""
        with self._lock:
            # Outdated progress is not sent, because nobody needs it.
            if self._messages and isinstance(message, messages.JobProgress):
                last = self._messages[-1]
                if isinstance(last, messages.JobProgress) and last.progress.stage == message.progress.stage:
                    self._messages.pop()
            self._messages.append(message)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._arrived.set)

    def end(self) -> None:
        """Report that the job has ended."""
        self._ended.set()
        self._arrived.set()

    async def collect(self, timeout_s: float) -> bytes:
        """Return the lines that have arrived, or a heartbeat if none arrive in time. With 0, there is no heartbeat."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._collected_s + CHUNK_INTERVAL_S - time.monotonic()):
                await self._ended.wait()
        self._arrived.clear()
        self._collected_s = time.monotonic()
        with self._lock:
            collected, self._messages = self._messages, []
        if not collected and timeout_s:
            collected.append(messages.Heartbeat())
        return b"".join(map(messages.to_line, collected))


def _end_unless_done(job: asyncio.Future[None], job_id: str) -> None:
    if not job.done():
        _log.warning("The replica could not stop the job %s, and ends.", job_id, extra={"job_id": job_id})
        os._exit(STOP_STATUS)


def listen_on_loopback() -> None:
    """Make the replica listen only on 127.0.0.1: Ray's server for calls between deployments has no setting for this."""
    from ray.serve._private import replica

    original = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: original(server, address.replace("[::]", "127.0.0.1"))
