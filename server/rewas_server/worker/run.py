"""The worker process: it owns the models and runs one job after another, so that a crash does not end the server.

    python -m rewas_server.worker.run

It uses the protocol of `rewas_server.worker.messages` over standard input and output, and ends when its input closes.
"""

from __future__ import annotations

import functools
import logging
import os
import queue
import signal
import sys
import threading
import time
from typing import BinaryIO

from rewas_api.v1 import rewas_pb2
from rewas_engine.media.isolation.pool import isolated_decoding
from rewas_engine.runtime.parent_death import end_with_parent
from rewas_server.files.media import MediaLibrary
from rewas_server.files.private_files import keep_new_files_private
from rewas_server.logs import LogPrivacy, log_to_server
from rewas_server.work.context import DescriptionModels
from rewas_server.work.requests import LocateMedia
from rewas_server.worker import messages
from rewas_server.worker.job_runner import OUT_OF_MEMORY_STATUS, JobFiles, JobRunner, PackSettings

HEARTBEAT_S = 1.0
_log = logging.getLogger("rewas.worker")


class Worker:
    """Runs the jobs that a reader thread receives from the server."""

    def __init__(self, start: messages.Start, output: BinaryIO, privacy: LogPrivacy) -> None:
        self._start = start
        self._output = output
        self._media = MediaLibrary(start.allowed_roots, start.uploads_dir)
        self._waiting: queue.SimpleQueue[messages.Work | messages.LoadPack] = queue.SimpleQueue()
        self._stopped_jobs: set[str] = set()
        self._sending = threading.Lock()
        settings = PackSettings(
            start.default_pack,
            start.device,
            start.execution,
            start.conflict_model,
            start.avh_model,
            DescriptionModels(start.picture_model, start.sound_model, start.language_model),
            start.video_model,
        )
        self._runner = JobRunner(settings, self._send, privacy)

    def read(self, source: BinaryIO) -> None:
        """Read messages until the server closes the pipe, then exit immediately.

        Otherwise a long computation would keep the orphaned process alive. Files are written atomically.
        """
        try:
            for line in source:
                message = messages.from_line(line)
                if isinstance(message, messages.Work | messages.LoadPack):
                    self._waiting.put(message)
                elif isinstance(message, messages.Prepare):
                    self._runner.prepare(message, self._locate_media(message.request))
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
        self._runner.load_default_pack()
        self._send(messages.Ready(self._devices(), loads_packs=True))
        while True:
            message = self._waiting.get()
            can_continue = self._do(message) if isinstance(message, messages.Work) else self._runner.load_pack(message)
            if not can_continue:
                os._exit(OUT_OF_MEMORY_STATUS)

    def _devices(self) -> tuple[str, ...]:
        if self._start.device != "auto":
            return ()
        from rewas_engine.runtime.devices import list_devices

        return list_devices()

    def _do(self, work: messages.Work) -> bool:
        """Run a job. Returns whether this process can continue."""
        files = JobFiles(self._start.artifacts_dir, self._locate_media(work.request))
        can_continue = self._runner.run(work, files, _StopSignal(work.job_id, self._stopped_jobs))
        self._stopped_jobs.discard(work.job_id)
        return can_continue

    def _locate_media(self, request: rewas_pb2.SubmitJobRequest) -> LocateMedia:
        return functools.partial(self._media.locate, project_folders=request.project_folders)

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
        with isolated_decoding(start.decoding):
            worker.work()
    except BrokenPipeError:
        # The server has ended.
        os._exit(0)


if __name__ == "__main__":
    main()
