"""The server: grpc.aio with its services, job store, scheduler and worker."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2, rewas_pb2_grpc
from rewas_server.checking.checker import CheckingLimits, RequestChecker
from rewas_server.checking.messages import CheckingSettings
from rewas_server.cluster.workers import ClusterWorkers
from rewas_server.config import ServerConfig
from rewas_server.database_url import passwords_of
from rewas_server.files.content_store import ContentStore
from rewas_server.files.media import MediaLibrary
from rewas_server.files.private_files import keep_new_files_private
from rewas_server.files.uploads import UploadLimits, UploadStore
from rewas_server.grpc.access import TokenCheck, announce_token, load_token
from rewas_server.grpc.call_frame import CallFrame
from rewas_server.grpc.calls import CallObserver
from rewas_server.grpc.certificates import server_credentials
from rewas_server.grpc.limits import channel_options
from rewas_server.grpc.service import ContractService
from rewas_server.jobs.backup import NightlyBackup
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.retention import Retention, RetentionLimits
from rewas_server.jobs.scheduler import Scheduler
from rewas_server.jobs.sqlite_store import SqliteJobStore
from rewas_server.jobs.state_identity import StateIdentity
from rewas_server.jobs.state_lock import lock_state_folder
from rewas_server.jobs.store import JobStore
from rewas_server.jobs.timelines import TimelineJobs
from rewas_server.jobs.tracking import JobTracker
from rewas_server.logs import LogPrivacy, log_to_file, log_to_terminal
from rewas_server.metrics import METRICS_HOST, ServerMetrics, serve_metrics
from rewas_server.web.links import WEB_HOST, make_link

STOP_GRACE_S = 1.0
SERVICE_NAME = rewas_pb2.DESCRIPTOR.services_by_name["RewasService"].full_name

_log = logging.getLogger("rewas.server")


def serve(
    config: ServerConfig,
    on_ready: Callable[[int], None] | None = None,
    *,
    on_web_page: Callable[[str], None] | None = None,
    log_on_terminal: bool = False,
) -> None:
    """Serve on 127.0.0.1 until Ctrl-C or SIGTERM, then stop the worker and return.

    Call it in the main thread, which receives signals. `on_ready` is called with the port when calls are accepted.
    `on_web_page` is called with a link that opens the web page once, if there is one.
    `log_on_terminal` prints the log to standard error, in addition to the file.
    Raises ProblemError (RESOURCES) if the port is taken, if the state folder is unusable or used by another server, or
    if the job store fails permanently.
    """
    keep_new_files_private()
    privacy = LogPrivacy(config.log_prompts)
    if log_on_terminal:
        log_to_terminal(privacy)
    asyncio.run(_serve_until_signal(config, on_ready, on_web_page, privacy))


async def run_server(
    config: ServerConfig,
    stop: asyncio.Event,
    on_ready: Callable[[int], None] | None = None,
    privacy: LogPrivacy | None = None,
    on_web_page: Callable[[str], None] | None = None,
) -> None:
    """Serve until `stop` is set. privacy: what stays out of the log. See `serve` for the rest."""
    privacy, metrics = privacy or LogPrivacy(config.log_prompts), ServerMetrics()
    with (
        lock_state_folder(config.state_dir),
        _open_log(config, privacy),
        _open_metrics(config, metrics),
        contextlib.closing(_open_store(config, privacy)) as store,
    ):
        media = MediaLibrary(config.allowed_roots, config.uploads_dir)
        uploads = UploadStore(config.uploads_dir, upload_limits(config))
        retention = Retention(
            store,
            config.artifacts_dir,
            config.uploads_dir,
            retention_limits(config),
            content=_open_content(config),
            active_uploads=uploads.active_uploads,
        )
        uploads.make_room = retention.make_room
        tracker = JobTracker(metrics, privacy)
        board = JobBoard(store, tracker)
        checker = RequestChecker(functools.partial(_checking_settings, config))
        cluster = ClusterWorkers(config) if config.backend == "ray" else None
        scheduler = Scheduler(
            board,
            config,
            TimelineJobs(board, checker, uploads, config.artifacts_dir),
            None if cluster is None else cluster.start,
        )
        metrics.report_processes(lambda: _process_ids(scheduler, checker))
        token = load_token(config.token_path)
        privacy.hide("token", [token])
        frame = CallFrame(TokenCheck(token), config.limits, CallObserver(metrics), config.state_dir)
        server = grpc.aio.server(interceptors=[frame], options=channel_options(config.limits))
        service = ContractService(board, scheduler, checker, media, uploads, retention, config)
        rewas_pb2_grpc.add_RewasServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
        health_servicer = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
        port = _bind(server, config)
        await server.start()
        await health_servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        starting = asyncio.create_task(checker.start())
        scheduling = asyncio.create_task(scheduler.run())
        deleting = asyncio.create_task(retention.run())
        backing_up = asyncio.create_task(_back_up(config))
        reporting = asyncio.create_task(_report_readiness(scheduler, health_servicer, metrics))
        try:
            _log.info("Listening on %s:%d; state in %s.", config.host, port, config.state_dir)
            async with _open_web_page(config, token, board, scheduler, retention) as service.web_port:
                with announce_token(port, token):
                    if on_web_page is not None and service.web_port:
                        on_web_page(make_link(service.web_port, token))
                    if on_ready is not None:
                        on_ready(port)
                    await _wait_until_stopped(stop, scheduling)
        finally:
            reporting.cancel()
            deleting.cancel()
            backing_up.cancel()
            await health_servicer.enter_graceful_shutdown()
            board.stop_watching()
            await server.stop(STOP_GRACE_S)
            scheduling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await scheduling
            await _stop_processes(checker, starting, cluster)


async def _stop_processes(
    checker: RequestChecker, starting: asyncio.Task[None], cluster: ClusterWorkers | None
) -> None:
    if cluster is not None:
        await cluster.stop()
    await checker.stop()
    # A stop that interrupts the start of the process is no failure of the server.
    with contextlib.suppress(ProblemError):
        await starting


def _checking_settings(config: ServerConfig, limits: CheckingLimits) -> CheckingSettings:
    return CheckingSettings(
        allowed_roots=config.allowed_roots,
        uploads_dir=config.uploads_dir,
        default_pack=config.default_pack,
        time_limit_s=limits.time_s,
        memory_limit_bytes=limits.memory_bytes,
        has_video_model=config.video_model is not None,
    )


def upload_limits(config: ServerConfig) -> UploadLimits:
    """Return the limits of uploads. No file may be larger than all files together."""
    client_bytes = config.client_uploads_limit_bytes
    if client_bytes is None:
        client_bytes = config.uploads_limit_bytes
    return UploadLimits(
        upload_bytes=min(config.upload_limit_bytes, config.uploads_limit_bytes, client_bytes),
        total_bytes=config.uploads_limit_bytes,
        client_bytes=client_bytes,
    )


def _open_store(config: ServerConfig, privacy: LogPrivacy) -> JobStore:
    """Open the job store. Raises ProblemError if it can never be used."""
    identity = StateIdentity(config.state_dir, config.artifacts_dir, config.uploads_dir)
    if not config.database:
        return SqliteJobStore(config.database_path, config.backups_dir, identity=identity)
    privacy.hide("database", passwords_of(config.database))
    try:
        from rewas_server.jobs.postgres_store import PostgresJobStore
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise ProblemError(
            "The setting `database` needs the package psycopg, which is not installed.",
            'Install it with `pip install "rewas-nle[postgres]"`.',
            ProblemKind.SETTINGS,
        ) from error
    return PostgresJobStore(config.database, identity=identity)


async def _back_up(config: ServerConfig) -> None:
    """Copy the jobs every night. A PostgreSQL database is backed up with PostgreSQL's own tools."""
    if not config.database:
        await NightlyBackup(config.database_path, config.backups_dir).run()


@contextlib.contextmanager
def _open_log(config: ServerConfig, privacy: LogPrivacy) -> Iterator[None]:
    """Within, log to the file. A file that cannot be written is reported, and does not keep the server from running."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(
                log_to_file(
                    config.log_path,
                    privacy,
                    max_bytes=config.log_file_bytes,
                    file_count=config.log_files,
                    level=config.log_level.upper(),
                )
            )
        except OSError as error:
            _log.error("The log %s cannot be written (%s).", config.log_path, error)
        yield


@contextlib.contextmanager
def _open_metrics(config: ServerConfig, metrics: ServerMetrics) -> Iterator[None]:
    if config.metrics_port is None:
        yield
        return
    metrics.report_folders({"artifacts": config.artifacts_dir, "uploads": config.uploads_dir})
    with serve_metrics(metrics, config.metrics_port) as port:
        _log.info("Metrics at http://%s:%d/metrics.", METRICS_HOST, port)
        yield


@contextlib.asynccontextmanager
async def _open_web_page(
    config: ServerConfig, token: str, board: JobBoard, scheduler: Scheduler, retention: Retention
) -> AsyncIterator[int]:
    """Within, serve the web page, if a port is configured. Yields its port, or 0."""
    if config.web_port is None:
        yield 0
        return
    # Here, because a server without a page starts faster without the HTTP library.
    from rewas_server.web.site import serve_web_page

    async with serve_web_page(config.web_port, token, board, scheduler, retention.fetches, config) as port:
        _log.info("Web page at http://%s:%d/.", WEB_HOST, port)
        yield port


def _process_ids(scheduler: Scheduler, checker: RequestChecker) -> dict[str, int]:
    own = {"server": os.getpid()} | dict(zip(["worker"], scheduler.worker_pids, strict=False))
    return own | dict(zip(["checking"], checker.process_ids, strict=False))


async def _report_readiness(scheduler: Scheduler, servicer: Any, metrics: ServerMetrics) -> None:
    """Keep the health of the service, and the metrics of the worker, up to date.

    The service "" is the front process: it accepts jobs and answers as long as it runs. SERVICE_NAME needs a worker.
    """
    changed = asyncio.Event()
    scheduler.on_readiness_change.append(changed.set)
    scheduler.on_worker_end.append(lambda cause: metrics.worker_ends.labels(cause).inc())
    was_ready, seen_pids = None, set[int]()
    while True:
        changed.clear()
        ready = scheduler.worker_ready
        if ready != was_ready:
            was_ready = ready
            status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
            await servicer.set(SERVICE_NAME, status)
        pids = set(scheduler.worker_pids) if ready else set()
        metrics.worker_up.set(ready)
        metrics.worker_starts.inc(len(pids - seen_pids))
        seen_pids = pids
        await changed.wait()


def retention_limits(config: ServerConfig) -> RetentionLimits:
    """Return what the server keeps."""
    return RetentionLimits(
        stems_bytes=config.stems_limit_bytes,
        uploads_bytes=config.uploads_limit_bytes,
        requests_bytes=config.requests_limit_bytes,
        max_age_s=config.max_age_days * 24 * 3600,
        content_bytes=config.content_limit_bytes,
    )


def _open_content(config: ServerConfig) -> ContentStore | None:
    """Return the files that the server shares with a cluster. Raises ProblemError (SETTINGS) for an unusable URL."""
    return ContentStore(config.content_store_url, config.artifacts_dir) if config.backend == "ray" else None


async def _serve_until_signal(
    config: ServerConfig,
    on_ready: Callable[[int], None] | None,
    on_web_page: Callable[[str], None] | None,
    privacy: LogPrivacy,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # A closed terminal sends SIGHUP, which Windows does not have.
    for number in (signal.SIGINT, signal.SIGTERM, *filter(None, [getattr(signal, "SIGHUP", None)])):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:
            # Windows: the handler runs in the main thread between steps of the loop.
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    await run_server(config, stop, on_ready, privacy, on_web_page)


async def _wait_until_stopped(stop: asyncio.Event, scheduling: asyncio.Task[None]) -> None:
    """Wait until `stop` is set. If the scheduler fails, stop too, so that no job waits forever."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopping, scheduling], return_when=asyncio.FIRST_COMPLETED)
        if scheduling.done():
            scheduling.result()
    finally:
        stopping.cancel()


def _bind(server: Any, config: ServerConfig) -> int:
    """Listen, with TLS if there is a certificate. Raises ProblemError (RESOURCES, SETTINGS, ACCESS)."""
    credentials = server_credentials(config)
    host = f"[{config.host}]" if ":" in config.host and not config.host.startswith("[") else config.host
    address = f"{host}:{config.port}"
    try:
        bound: int = (
            server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
        )
    except RuntimeError:
        bound = 0
    if bound == 0:
        raise ProblemError(
            f"Cannot use port {config.port} on {config.host}. Another program may be using it.",
            "Stop the other program, or choose another port with `rewas serve --port`.",
            ProblemKind.RESOURCES,
        )
    return bound
