"""The worker process: it owns the models and runs one job after another, so that a crash does not end the server.

    python -m rewas_server.worker.run

It uses the protocol of `rewas_server.worker.messages` over standard input and output, and ends when its input closes.
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import queue
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cachetools import LRUCache

from rewas_api.errors import ProblemError
from rewas_engine import Cancelled, EngineError, InsufficientMemoryError, Progress
from rewas_engine.media.isolation.pool import isolated_decoding
from rewas_engine.runtime.memory_errors import is_out_of_memory
from rewas_engine.runtime.parent_death import end_with_parent
from rewas_server.files.media import MediaLibrary
from rewas_server.files.private_files import keep_new_files_private
from rewas_server.logs import LogPrivacy, log_to_server, private_texts
from rewas_server.work.amount import amount_s
from rewas_server.work.context import WorkContext
from rewas_server.work.dispatch import run_work
from rewas_server.work.requests import parse_request
from rewas_server.work.translation import job_problem
from rewas_server.worker import messages

if TYPE_CHECKING:
    from rewas_engine import ReWaS

MAX_LOADED_MODELS = 2
HEARTBEAT_S = 1.0
OUT_OF_MEMORY_STATUS = 75
"""Exit status of a worker that ends after a job for which memory did not suffice."""
_log = logging.getLogger("rewas.worker")


class Worker:
    """Runs the jobs that a reader thread receives from the server."""

    def __init__(self, start: messages.Start, output: BinaryIO, privacy: LogPrivacy) -> None:
        self._start = start
        self._output = output
        self._privacy = privacy
        self._media = MediaLibrary(start.allowed_roots, start.uploads_dir)
        self._waiting: queue.SimpleQueue[messages.Work] = queue.SimpleQueue()
        self._stopped_jobs: set[str] = set()
        self._sending = threading.Lock()
        self._models: LRUCache[str, ReWaS] = LRUCache(maxsize=MAX_LOADED_MODELS)

    def read(self, source: BinaryIO) -> None:
        """Read messages until the server closes the pipe, then exit immediately.

        Otherwise a long computation would keep the orphaned process alive. Files are written atomically.
        """
        try:
            for line in source:
                message = messages.from_line(line)
                if isinstance(message, messages.Work):
                    self._waiting.put(message)
                elif isinstance(message, messages.Stop):
                    self._stopped_jobs.add(message.job_id)
        except ValueError:
            _log.exception("Invalid message from the server.")
        finally:
            os._exit(0)

    def send_heartbeats(self) -> None:
        """Report every second that this process is alive."""
        try:
            while True:
                self._send(messages.Heartbeat())
                time.sleep(HEARTBEAT_S)
        except OSError:
            # The server has ended.
            os._exit(0)

    def work(self) -> None:
        """Load the default pack, then run jobs for ever."""
        self._send(messages.Loading(self._start.default_pack))
        self._load_default_pack()
        self._send(messages.Ready(self._devices()))
        while True:
            self._do(self._waiting.get())

    def _devices(self) -> tuple[str, ...]:
        if self._start.device != "auto":
            return ()
        from rewas_engine.runtime.devices import list_devices

        return list_devices()

    def _do(self, work: messages.Work) -> None:
        job_id = work.job_id
        about = {"job_id": job_id}
        self._privacy.hide(job_id, private_texts(work.request))
        output_dir = self._start.artifacts_dir / job_id
        stopped = _StopSignal(job_id, self._stopped_jobs)
        try:
            if stopped.is_set():
                raise Cancelled
            self._send(messages.Begun(job_id))
            request = parse_request(work.request)
            self._send(messages.Measured(job_id, amount_s(request)))
            # An earlier attempt may have left stems.
            shutil.rmtree(output_dir, ignore_errors=True)
            context = WorkContext(
                engine=lambda pack: self._load_for_job(pack, job_id),
                default_pack=self._start.default_pack,
                output_dir=output_dir,
                locate_media=functools.partial(self._media.locate, project_folders=work.request.project_folders),
            )
            result = run_work(
                request, context, on_progress=lambda progress: self._report(job_id, progress), cancel=stopped
            )
            self._send(messages.Done(job_id, result))
        except Cancelled:
            _remove(output_dir)
            self._send(messages.Stopped(job_id))
        except Exception as error:
            if isinstance(error, EngineError | ProblemError):
                _log.debug("The job failed.", exc_info=error, extra=about)
            else:
                _log.exception("The job failed with an unexpected error.", extra=about)
            _remove(output_dir)
            self._send(messages.Failed(job_id, job_problem(error, job_id, self._start.artifacts_dir.parent)))
            if _ran_out_of_memory(error):
                # Fragments of the failed work may keep memory that the next job needs.
                _log.warning("The worker process starts afresh, because memory ran out.", extra=about)
                os._exit(OUT_OF_MEMORY_STATUS)
        self._stopped_jobs.discard(job_id)
        self._privacy.release(job_id)

    def _load_for_job(self, pack: str, job_id: str) -> ReWaS:
        if pack not in self._models:
            self._report(job_id, Progress("load", 0, 1, 0.0))
        return self._load(pack)

    def _load_default_pack(self) -> None:
        """Load the default pack early, so that the first request is fast."""
        try:
            self._load(self._start.default_pack)
        except EngineError as error:
            # Requests for this pack will report it; other packs still work.
            _log.warning("The pack %s cannot be loaded: %s", self._start.default_pack, error)

    def _load(self, pack: str) -> ReWaS:
        if pack in self._models:
            return self._models[pack]
        from rewas_engine import ReWaS

        start = self._start
        load = functools.partial(
            ReWaS.from_pretrained,
            pack,
            device=start.device,
            execution=start.execution,
            conflict_model=start.conflict_model,
        )
        try:
            model = load()
        except InsufficientMemoryError:
            if not self._models:
                raise
            _log.warning("The pack %s needs the memory of the other loaded packs.", pack)
            self._models.clear()
            gc.collect()
            model = load()
        self._models[pack] = model
        self._send(messages.Loaded(pack, model.device))
        return model

    def _report(self, job_id: str, progress: Progress) -> None:
        self._send(messages.JobProgress(job_id, progress))

    def _send(self, message: messages.Message) -> None:
        line = messages.to_line(message)
        with self._sending:
            self._output.write(line)
            self._output.flush()


class _StopSignal:
    """Whether one job was cancelled or paused."""

    def __init__(self, job_id: str, stopped_jobs: set[str]) -> None:
        self._job_id = job_id
        self._stopped_jobs = stopped_jobs

    def is_set(self) -> bool:
        return self._job_id in self._stopped_jobs


def _ran_out_of_memory(error: BaseException) -> bool:
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, InsufficientMemoryError):
            return True
        chain = chain.__cause__
    return is_out_of_memory(error)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _private_output() -> BinaryIO:
    """Return the pipe to the server and redirect prints of libraries to standard error."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    return output


def main() -> None:
    """Run until standard input closes."""
    keep_new_files_private()
    # Ctrl-C reaches the whole process group; the server decides when the worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    output = _private_output()
    source = sys.stdin.buffer
    first_line = source.readline()
    if not first_line:
        return
    start = messages.from_line(first_line)
    if not isinstance(start, messages.Start):
        raise SystemExit("The first message must be the start message.")
    privacy = LogPrivacy(start.log_prompts)
    log_to_server("worker", privacy, start.log_level.upper())
    worker = Worker(start, output, privacy)
    for name, target in (("reader", lambda: worker.read(source)), ("heartbeat", worker.send_heartbeats)):
        threading.Thread(target=target, name=f"rewas-{name}", daemon=True).start()
    try:
        # A file that crashes its decoder must not end the worker, and one that takes it over must not reach other jobs.
        with isolated_decoding():
            worker.work()
    except BrokenPipeError:
        # The server has ended.
        os._exit(0)


if __name__ == "__main__":
    main()
