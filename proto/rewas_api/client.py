"""The client: synchronous, typed, for Blender's Python and for the command line.

    with RewasClient("127.0.0.1:50071") as client:
        client.server_info()
        job = client.submit(SoundWork(clip_otio_json=clip.to_json_string(), settings=settings.to_proto()))
        job = client.wait(job.id, on_snapshot=print)
        client.fetch(job.id, job.sound.takes[0].stems[0].artifact, "growl.wav")
        curve = EnergyWork(clip_otio_json=clip.to_json_string(), flat_nats=-5, edits=["fade in 0.5"])
        client.wait(client.submit(curve).id).energy.events

Every call may raise ServerUnavailable, ContractMismatch, or another ProblemError that the server sent; nothing else.
Calls block: in Blender, make them in a thread. One client may be used by several threads.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import grpc

from rewas_api import CONTRACT_VERSION, DEFAULT_PORT
from rewas_api.addresses import validate_address
from rewas_api.errors import JobCancelled, JobFailed, ProblemError, ServerUnavailable
from rewas_api.transfer import PartialFile, TransferProgress, sha256_of, upload_messages
from rewas_api.transport_errors import closed_problem, contract_problem, problem_from_call
from rewas_api.v1 import rewas_pb2, rewas_pb2_grpc

DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
FINAL_STATES = frozenset({rewas_pb2.JOB_STATE_SUCCEEDED, rewas_pb2.JOB_STATE_FAILED, rewas_pb2.JOB_STATE_CANCELLED})
RECONNECT_PAUSE_S = 0.25
CANCEL_POLL_S = 0.05

Work = rewas_pb2.EnergyWork | rewas_pb2.ConflictWork | rewas_pb2.SoundWork | rewas_pb2.TimelineWork

_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A server that comes back should be found at once, not after a backoff of minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A server that hangs should be noticed in the middle of a stream, too.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A proxy for the web has no business between two programs on one machine.
    ("grpc.enable_http_proxy", 0),
]


class CancelSignal(Protocol):
    """Anything that can say that the caller wants to stop; a threading.Event does."""

    def is_set(self) -> bool: ...


class RewasClient:
    """A connection to one ReWaS server.

    address: "HOST:PORT", on this machine unless `allow_remote`. timeout_s: how long a call may take, in seconds;
    transfers and watching a job may take for ever, as long as the server is alive.

    Connecting happens with the first call. Raises ProblemError for an address that is malformed or not permitted.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, *, timeout_s: float = 10.0, allow_remote: bool = False) -> None:
        self.address = validate_address(address, allow_remote=allow_remote)
        self._timeout_s = timeout_s
        self._closed = threading.Event()
        self._contract_checked = False
        self._channel = grpc.insecure_channel(self.address, options=_CHANNEL_OPTIONS)
        self._stub: Any = rewas_pb2_grpc.RewasStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls that are waiting in other threads end with ServerUnavailable."""
        self._closed.set()
        self._channel.close()

    def server_info(self) -> rewas_pb2.ServerInfo:
        """Who answers. Raises ContractMismatch where the server is older or newer than this client."""
        info: rewas_pb2.ServerInfo = self._call(
            self._stub.GetServerInfo, rewas_pb2.GetServerInfoRequest(contract_version=CONTRACT_VERSION)
        )
        mismatch = contract_problem(info, self.address)
        if mismatch is not None:
            raise mismatch
        self._contract_checked = True
        return info

    def packs(self) -> list[rewas_pb2.Pack]:
        """The installed model packs, the default one first."""
        return list(self._call(self._stub.ListPacks, rewas_pb2.ListPacksRequest()).packs)

    def submit(self, work: Work, *, idempotency_key: str | None = None) -> rewas_pb2.Job:
        """Hand in work; it is durable when this returns.

        idempotency_key: names this piece of work, so that handing it in twice makes one job; drawn when None. Raises
        ProblemError where the work cannot be right, and ContractMismatch where server and client differ in version.
        """
        if not self._contract_checked:
            self.server_info()
        request = rewas_pb2.SubmitJobRequest(idempotency_key=idempotency_key or uuid.uuid4().hex)
        getattr(request, _WORK_FIELDS[type(work)]).CopyFrom(work)
        job: rewas_pb2.Job = self._call(self._stub.SubmitJob, request)
        return job

    def job(self, job_id: str) -> rewas_pb2.Job:
        """The newest snapshot of a job."""
        job: rewas_pb2.Job = self._call(self._stub.GetJob, rewas_pb2.GetJobRequest(id=job_id))
        return job

    def jobs(self, limit: int = 100) -> list[rewas_pb2.Job]:
        """The newest jobs, newest first."""
        return list(self._call(self._stub.ListJobs, rewas_pb2.ListJobsRequest(limit=limit)).jobs)

    def cancel(self, job_id: str) -> rewas_pb2.Job:
        """Ask a job to stop; one that has ended is returned as it is."""
        job: rewas_pb2.Job = self._call(self._stub.CancelJob, rewas_pb2.CancelJobRequest(id=job_id))
        return job

    def watch(self, job_id: str, *, reconnect_timeout_s: float = 20.0) -> Iterator[rewas_pb2.Job]:
        """Snapshots of a job, each newer than the one before, up to the final one.

        A broken connection is taken up again; after `reconnect_timeout_s` seconds without one, ServerUnavailable is
        raised.
        """
        seen_revision = 0
        lost_at_s: float | None = None
        while True:
            try:
                for job in self._stream(self._stub.WatchJob, rewas_pb2.WatchJobRequest(id=job_id)):
                    lost_at_s = None
                    if job.revision > seen_revision:
                        seen_revision = job.revision
                        yield job
                    if job.state in FINAL_STATES:
                        return
            except ServerUnavailable:
                lost_at_s = lost_at_s or time.monotonic()
                if self._closed.is_set() or time.monotonic() - lost_at_s > reconnect_timeout_s:
                    raise
            self._closed.wait(RECONNECT_PAUSE_S)

    def wait(
        self,
        job_id: str,
        *,
        on_snapshot: Callable[[rewas_pb2.Job], object] | None = None,
        cancel: CancelSignal | None = None,
        reconnect_timeout_s: float = 20.0,
    ) -> rewas_pb2.Job:
        """Wait for a job's end and return its final snapshot, which holds the result.

        on_snapshot: called with each snapshot. cancel: once it is set, the job is asked to stop. Raises JobFailed,
        JobCancelled, and ServerUnavailable where the server stays away.
        """
        with self._forward_cancel(job_id, cancel):
            for job in self.watch(job_id, reconnect_timeout_s=reconnect_timeout_s):
                if on_snapshot is not None:
                    on_snapshot(job)
        if job.state == rewas_pb2.JOB_STATE_FAILED:
            raise JobFailed(job)
        if job.state == rewas_pb2.JOB_STATE_CANCELLED:
            raise JobCancelled(job)
        return job

    def fetch(
        self,
        job_id: str,
        artifact: rewas_pb2.Artifact,
        destination: str | Path,
        *,
        on_progress: TransferProgress | None = None,
        reconnect_timeout_s: float = 20.0,
    ) -> Path:
        """Bring an artifact of a job to `destination`: whole and checked, or not at all.

        A broken transfer goes on where it stopped, also in a later call; one that on_progress ends by raising leaves
        nothing. Raises ProblemError (RESOURCES) where the file cannot be written or its bytes are not those that the
        job made.
        """
        part = PartialFile(artifact, Path(destination))
        lost_at_s: float | None = None
        try:
            while part.received_bytes < artifact.size_bytes:
                request = rewas_pb2.FetchArtifactRequest(
                    job_id=job_id, name=artifact.name, offset_bytes=part.received_bytes
                )
                try:
                    received_before = part.received_bytes
                    for chunk in self._stream(self._stub.FetchArtifact, request):
                        lost_at_s = None
                        part.append(chunk.data)
                        if on_progress is not None:
                            with part.discard_on_error():
                                on_progress(part.received_bytes, artifact.size_bytes)
                    if part.received_bytes == received_before:
                        break
                except ServerUnavailable:
                    lost_at_s = lost_at_s or time.monotonic()
                    if self._closed.is_set() or time.monotonic() - lost_at_s > reconnect_timeout_s:
                        raise
                    self._closed.wait(RECONNECT_PAUSE_S)
            return part.finish()
        finally:
            part.close()

    def find_media(self, sha256: str) -> bool:
        """Whether a file with these bytes is on the server. sha256: lower-case hex."""
        return bool(self._call(self._stub.FindMedia, rewas_pb2.FindMediaRequest(sha256=sha256)).present)

    def upload(self, path: str | Path, *, on_progress: TransferProgress | None = None) -> str:
        """See that a media file is on the server, and return its SHA-256 for `uploaded_media`.

        Nothing is sent where the server has the bytes already. Raises ProblemError (MEDIA) where the file cannot be
        read, and (RESOURCES) where the server cannot take it.
        """
        path = Path(path)
        sha256 = sha256_of(path)
        if self.find_media(sha256):
            return sha256
        raised: list[ProblemError] = []

        def messages() -> Iterator[rewas_pb2.UploadMediaRequest]:
            # gRPC swallows what a request iterator raises and reports UNKNOWN: keep the true reason.
            try:
                yield from upload_messages(path, sha256, on_progress)
            except ProblemError as problem:
                raised.append(problem)
                raise

        try:
            self._call(self._stub.UploadMedia, messages(), timeout_s=None)
        except ProblemError as problem:
            raise (raised[0] if raised else problem) from None
        return sha256

    def _call(self, method: Any, request: Any, timeout_s: float | None = -1.0) -> Any:
        timeout_s = self._timeout_s if timeout_s == -1.0 else timeout_s
        if self._closed.is_set():
            raise closed_problem(self.address)
        try:
            return method(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise self._problem(error) from error

    def _stream(self, method: Any, request: Any) -> Iterator[Any]:
        if self._closed.is_set():
            raise closed_problem(self.address)
        call = method(request)
        try:
            yield from call
        except grpc.RpcError as error:
            raise self._problem(error) from error
        finally:
            call.cancel()

    def _problem(self, error: grpc.RpcError) -> ProblemError:
        return closed_problem(self.address) if self._closed.is_set() else problem_from_call(error, self.address)

    @contextlib.contextmanager
    def _forward_cancel(self, job_id: str, cancel: CancelSignal | None) -> Iterator[None]:
        if cancel is None:
            yield
            return
        ended = threading.Event()

        def forward() -> None:
            while not ended.wait(CANCEL_POLL_S):
                if cancel.is_set():
                    with contextlib.suppress(ServerUnavailable):
                        self.cancel(job_id)
                        return

        thread = threading.Thread(target=forward, name=f"rewas-cancel-{job_id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


_WORK_FIELDS: dict[type, str] = {
    rewas_pb2.EnergyWork: "energy",
    rewas_pb2.ConflictWork: "conflict",
    rewas_pb2.SoundWork: "sound",
    rewas_pb2.TimelineWork: "timeline",
}

__all__ = ["DEFAULT_ADDRESS", "FINAL_STATES", "CancelSignal", "RewasClient", "Work"]
