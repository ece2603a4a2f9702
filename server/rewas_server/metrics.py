"""Prometheus metrics of a server, and the endpoint on loopback that serves them.

The endpoint needs no token: it shows counts and sizes, no names, prompts or paths. It listens on 127.0.0.1 only, and
only if a port is configured. A request whose Host header names another machine is refused, so that no web page can
read it through a name that it controls.
"""

from __future__ import annotations

import contextlib
import os
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rewas_api import enum_names
from rewas_api.errors import ProblemError, ProblemKind

METRICS_HOST = "127.0.0.1"
REQUEST_TIMEOUT_S = 10.0
DISK_REFRESH_S = 30.0
_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_WAIT_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
_RUN_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)


class ServerMetrics:
    """The metrics of one server. `registry` holds them all."""

    def __init__(self) -> None:
        # Their times of creation would double the number of series.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        options: dict[str, Any] = {"registry": self.registry}
        self.jobs = Gauge("rewas_jobs", "Unfinished jobs.", ["state", "kind"], **options)
        self.queue_length = Gauge("rewas_queue_length", "Jobs that wait for the worker.", **options)
        self.submitted = Counter("rewas_jobs_submitted", "Jobs stored.", ["kind"], **options)
        self.finished = Counter(
            "rewas_jobs_finished", "Jobs that ended, with the kind of problem.", ["state", "kind", "problem"], **options
        )
        self.wait_s = Histogram(
            "rewas_job_wait_seconds", "From the submission of a job to its first attempt.", ["kind"],
            buckets=_WAIT_BUCKETS_S, **options,
        )  # fmt: skip
        self.run_s = Histogram(
            "rewas_job_run_seconds", "From the start of a job's last attempt to its end.", ["kind"],
            buckets=_RUN_BUCKETS_S, **options,
        )  # fmt: skip
        self.stage_s = Histogram(
            "rewas_stage_seconds", "Time in each stage of a job.", ["stage"], buckets=_RUN_BUCKETS_S, **options
        )
        self.interruptions = Counter("rewas_job_interruptions", "Interrupted jobs.", ["cause"], **options)
        self.retries = Counter("rewas_job_retries", "Jobs that a client ran again.", **options)
        self.worker_up = Gauge("rewas_worker_up", "1 while a worker process runs.", **options)
        self.worker_starts = Counter("rewas_worker_starts", "Worker processes that became ready.", **options)
        self.worker_ends = Counter(
            "rewas_worker_ends", "Worker processes that ended before the server stopped.", ["cause"], **options
        )
        self.calls = Counter("rewas_calls", "Finished gRPC calls.", ["method", "code"], **options)
        self.uploaded = Counter("rewas_uploaded_bytes", "Bytes of media received.", **options)
        self.fetched = Counter("rewas_fetched_bytes", "Bytes of artifacts sent.", **options)
        self.store_errors = Counter("rewas_store_errors", "Failures of the job store.", **options)

        # A rate can only be computed of a series that exists before the first event.
        for cause in enum_names.INTERRUPTION_CAUSE.all:
            self.interruptions.labels(cause)
            self.worker_ends.labels(cause)

    def report_processes(self, pids: Callable[[], Mapping[str, int]]) -> None:
        """Report the memory of processes. pids: returns the process id for each name, at the time of a request."""
        self.registry.register(_ProcessMemory(pids))

    def report_folders(self, folders: Mapping[str, Path]) -> None:
        """Report the size of folders, by name, and the free space of their disk."""
        self.registry.register(_FolderSizes(folders))


@contextlib.contextmanager
def serve_metrics(metrics: ServerMetrics, port: int) -> Iterator[int]:
    """Within, serve the metrics over HTTP on 127.0.0.1. Yields the port.

    port: 0 picks a free one. Raises ProblemError (RESOURCES) if it is taken.
    """
    application = make_wsgi_app(metrics.registry)

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        name = environ.get("HTTP_HOST", "").rpartition(":")[0] or environ.get("HTTP_HOST", "")
        if name not in _LOCAL_NAMES:
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"Use the address 127.0.0.1.\n"]
        if environ.get("PATH_INFO") not in ("/", "/metrics"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"The metrics are at /metrics.\n"]
        response: Iterable[bytes] = application(environ, start_response)
        return response

    try:
        server = make_server(METRICS_HOST, port, answer, _Server, _Handler)
    except OSError as error:
        raise ProblemError(
            f"Cannot serve metrics on port {port} ({error.strerror or error}).",
            "Choose another port with `rewas serve --metrics-port`.",
            ProblemKind.RESOURCES,
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="rewas-metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def folder_size_bytes(folder: Path) -> int:
    """Return the size of all files in a folder; 0 if it does not exist. Files that disappear meanwhile are skipped."""
    total, waiting = 0, [str(folder)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        else:
                            total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total


class _ProcessMemory(Collector):
    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("rewas_process_memory_bytes", "Resident memory.", labels=["process"])
        for name, pid in self._pids().items():
            with contextlib.suppress(psutil.Error):
                family.add_metric([name], psutil.Process(pid).memory_info().rss)
        yield family


class _FolderSizes(Collector):
    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders
        self._lock = threading.Lock()
        self._measured_at_s = float("-inf")
        self._sizes: dict[str, int] = {}

    def collect(self) -> Iterator[Metric]:
        sizes = GaugeMetricFamily("rewas_disk_used_bytes", "Size of a folder of the server.", labels=["folder"])
        for name, size_bytes in self._measure().items():
            sizes.add_metric([name], size_bytes)
        yield sizes
        free = GaugeMetricFamily("rewas_disk_free_bytes", "Free space of the disk of a folder.", labels=["folder"])
        for name, folder in self._folders.items():
            with contextlib.suppress(OSError):
                free.add_metric([name], psutil.disk_usage(str(folder)).free)
        yield free

    def _measure(self) -> dict[str, int]:
        # Thousands of folders take a while, so repeated requests share one measurement.
        with self._lock:
            if time.monotonic() - self._measured_at_s > DISK_REFRESH_S:
                self._sizes = {name: folder_size_bytes(folder) for name, folder in self._folders.items()}
                self._measured_at_s = time.monotonic()
            return self._sizes


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # The base class looks up the name of the address, which may ask a name server.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = METRICS_HOST, self.server_address[1]
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        pass
