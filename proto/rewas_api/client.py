"""Synchronous, typed client for Blender's Python and for the command line.

    with RewasClient("127.0.0.1:50071") as client:
        client.get_server_info()
        job = client.submit(SoundWork(clip_otio_json=clip.to_json_string(), settings=settings.to_proto()))
        job = client.wait(job.id, on_snapshot=print)
        client.fetch_artifact(job.id, job.sound.takes[0].stems[0].artifact, "growl.wav")
        energy = EnergyInput(flat_nats=-5, edits=["fade in 0.5"])
        job = client.submit(EnergyWork(clip_otio_json=clip.to_json_string(), energy=energy))
        client.wait(job.id).energy.events

Calls raise ServerUnavailable, ContractMismatch, or another ProblemError from the server, and nothing else. Calls block:
in Blender, make them in a thread. Several threads may share a client.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import grpc

from rewas_api import CONTRACT_MINOR_VERSION, CONTRACT_VERSION, DEFAULT_PORT
from rewas_api.access import TokenSource
from rewas_api.addresses import validate_address
from rewas_api.errors import JobCancelled, JobFailed, ProblemError, ProblemKind, ServerUnavailable
from rewas_api.transfer import GrowingProgress, PartialFile, TransferProgress, hash_file, upload_messages
from rewas_api.transport_errors import closed_problem, contract_problem, problem_from_call
from rewas_api.v1 import rewas_pb2, rewas_pb2_grpc

DEFAULT_ADDRESS = f"127.0.0.1:{DEFAULT_PORT}"
MAX_MESSAGE_BYTES = 8 * 1024**2
"""Longest message to a server. gRPC has one limit for all methods, so any call may take this much memory."""
MAX_RESPONSE_BYTES = 128 * 1024**2
"""Longest message from a server: a sound with the curves of many takes."""
MAX_SENT_TIMELINE_CHARACTERS = 1_000_000
"""Longest timeline that is sent in the request; longer ones are uploaded."""
TIMELINE_TIMEOUT_S = 180.0
"""Time limit for submitting a timeline. A server may take up to two and a half minutes to read a long one."""
FINAL_STATES = frozenset({rewas_pb2.JOB_STATE_SUCCEEDED, rewas_pb2.JOB_STATE_FAILED, rewas_pb2.JOB_STATE_CANCELLED})
PAGE_SIZE = 100
RECONNECT_PAUSE_S = 0.25
CANCEL_POLL_S = 0.05

Work = (
    rewas_pb2.EnergyWork
    | rewas_pb2.ConflictWork
    | rewas_pb2.DescriptionWork
    | rewas_pb2.SoundWork
    | rewas_pb2.TimelineWork
    | rewas_pb2.AudibleVideoWork
)

_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Reconnect to a restarted server within a second, not after a backoff of minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # The time limit of an attempt to connect: a busy server may need more than a moment to answer.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Detect a server that hangs in the middle of a stream.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A web proxy has no place between two programs on one machine.
    ("grpc.enable_http_proxy", 0),
]


class CancelSignal(Protocol):
    """States whether the caller wants to stop. A threading.Event is one."""

    def is_set(self) -> bool: ...


class RewasClient:
    """A connection to a ReWaS server. It connects with the first call.

    Args:
        address: "HOST:PORT", on this machine unless there is a certificate.
        timeout_s: Time limit of a call, in seconds. Transfers and watching a job have none, as long as the server is
            alive.
        token: The server's token. If None, it is taken from the environment variable REWAS_TOKEN or, for a server on
            this machine, from its file.
        certificate: File with the server's certificate, or with that of its authority. With it, the connection is
            encrypted, and the server may be on another machine.

    Raises:
        ProblemError: SETTINGS for an address that is malformed or a certificate that cannot be read, PERMISSION for
            another machine without a certificate.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 10.0,
        token: str | None = None,
        certificate: str | Path | None = None,
    ) -> None:
        self.address = validate_address(address, allow_remote=certificate is not None)
        self._timeout_s = timeout_s
        self._token = TokenSource(self.address, token)
        self._closed = threading.Event()
        self._contract_checked = False
        self._channel = _open_channel(self.address, certificate)
        self._stub: Any = rewas_pb2_grpc.RewasServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Pending calls in other threads end with ServerUnavailable."""
        self._closed.set()
        self._channel.close()

    def get_server_info(self) -> rewas_pb2.GetServerInfoResponse:
        """Get the server's version and state. Raises ContractMismatch if its contract differs from the client's."""
        info: rewas_pb2.GetServerInfoResponse = self._call(
            self._stub.GetServerInfo,
            rewas_pb2.GetServerInfoRequest(
                contract_version=CONTRACT_VERSION, contract_minor_version=CONTRACT_MINOR_VERSION
            ),
        )
        mismatch = contract_problem(info, self.address)
        if mismatch is not None:
            raise mismatch
        self._contract_checked = True
        return info

    def list_packs(self) -> list[rewas_pb2.Pack]:
        """List the installed model packs, the default pack first."""
        packs: list[rewas_pb2.Pack] = []
        page_token = ""
        while True:
            request = rewas_pb2.ListPacksRequest(page_size=PAGE_SIZE, page_token=page_token)
            response: rewas_pb2.ListPacksResponse = self._call(self._stub.ListPacks, request)
            packs += response.packs
            page_token = response.next_page_token
            if not page_token:
                return packs

    def load_pack(self, pack: str = "") -> None:
        """Have the server load a pack before its first job. Returns at once; `get_server_info` shows when it is loaded.

        pack: its name; "" for the default one. Raises ProblemError (PACK) if it is damaged or not installed.
        """
        self._call(self._stub.LoadPack, rewas_pb2.LoadPackRequest(pack=pack))

    def submit(
        self,
        work: Work,
        *,
        idempotency_key: str | None = None,
        project_folders: Iterable[str] = (),
        priority: rewas_pb2.Priority = rewas_pb2.PRIORITY_UNSPECIFIED,
        cancel: CancelSignal | None = None,
        on_lost: Callable[[ServerUnavailable], object] | None = None,
        reconnect_timeout_s: float = 0.0,
    ) -> rewas_pb2.Job:
        """Submit work. The job is durable when this returns. A long timeline is uploaded first.

        Args:
            work: The work to do.
            idempotency_key: Unique key of the work. Submitting twice with the same key creates one job. Random if None.
            project_folders: Folders whose media the server may read for this job, if it runs on this machine.
            priority: Order among the waiting jobs.
            cancel: Ends the wait for a server that does not answer.
            on_lost: Called once if the server does not answer.
            reconnect_timeout_s: How long to retry while the server does not answer, in seconds. A server that has
                just started may need longer than `timeout_s`.

        Returns:
            The first snapshot of the job.

        Raises:
            ProblemError: For invalid work.
            ContractMismatch: If the contracts of server and client differ.
            ServerUnavailable: If the server does not answer in time.
        """
        if not self._contract_checked:
            self.get_server_info()
        request = rewas_pb2.SubmitJobRequest(
            idempotency_key=idempotency_key or uuid.uuid4().hex, project_folders=project_folders, priority=priority
        )
        getattr(request, _WORK_FIELDS[type(work)]).CopyFrom(work)
        if len(request.timeline.timeline_otio_json) > MAX_SENT_TIMELINE_CHARACTERS:
            request.timeline.timeline_sha256 = self._upload_text(request.timeline.timeline_otio_json)
        size_bytes = request.ByteSize()
        if size_bytes > MAX_MESSAGE_BYTES:
            raise ProblemError(
                f"The request is {size_bytes / 1e6:.1f} MB; the limit is {MAX_MESSAGE_BYTES / 1e6:.1f} MB.",
                "Remove metadata that the clip does not need, or choose a shorter clip.",
                ProblemKind.RESOURCES,
            )
        timeout_s = max(self._timeout_s, TIMELINE_TIMEOUT_S) if request.HasField("timeline") else self._timeout_s
        outage = _Outage(reconnect_timeout_s, on_lost)
        while True:
            try:
                job: rewas_pb2.Job = self._call(self._stub.SubmitJob, request, timeout_s).job
                return job
            except ServerUnavailable as problem:
                is_over = not reconnect_timeout_s or outage.is_too_long(problem) or self._closed.is_set()
                if is_over or (cancel is not None and cancel.is_set()):
                    raise
            # The server may already have the job. The same key then returns it.
            self._closed.wait(RECONNECT_PAUSE_S)

    def get_job(self, job_id: str) -> rewas_pb2.Job:
        """Get the latest snapshot of a job."""
        job: rewas_pb2.Job = self._call(self._stub.GetJob, rewas_pb2.GetJobRequest(id=job_id)).job
        return job

    def list_jobs(
        self, *, page_size: int = PAGE_SIZE, parent_id: str = "", states: Collection[rewas_pb2.JobState] = ()
    ) -> Iterator[rewas_pb2.Job]:
        """Iterate over jobs, newest first, without their results.

        Args:
            page_size: Number of jobs for each call to the server, 1 to 1000. Pages are read as they are needed.
            parent_id: Lists the children of this timeline job; "" lists the jobs without a parent.
            states: Lists only jobs in these states; empty lists all.
        """
        page_token = ""
        while True:
            request = rewas_pb2.ListJobsRequest(
                page_size=page_size, page_token=page_token, parent_id=parent_id, states=states
            )
            response: rewas_pb2.ListJobsResponse = self._call(self._stub.ListJobs, request)
            yield from response.jobs
            page_token = response.next_page_token
            if not page_token:
                return

    def cancel(self, job_id: str) -> rewas_pb2.Job:
        """Request the cancellation of a job. A job in a final state is returned unchanged."""
        job: rewas_pb2.Job = self._call(self._stub.CancelJob, rewas_pb2.CancelJobRequest(id=job_id)).job
        return job

    def pause(self, job_id: str) -> rewas_pb2.Job:
        """Keep a job from running until it is resumed. A job in a final state is returned unchanged."""
        job: rewas_pb2.Job = self._call(self._stub.PauseJob, rewas_pb2.PauseJobRequest(id=job_id)).job
        return job

    def resume(self, job_id: str) -> rewas_pb2.Job:
        """Put a paused job back into the queue. Other jobs are returned unchanged."""
        job: rewas_pb2.Job = self._call(self._stub.ResumeJob, rewas_pb2.ResumeJobRequest(id=job_id)).job
        return job

    def retry(self, job_id: str) -> rewas_pb2.Job:
        """Run a failed or cancelled job again; of a timeline, the clips without a sound. Others are unchanged."""
        job: rewas_pb2.Job = self._call(self._stub.RetryJob, rewas_pb2.RetryJobRequest(id=job_id)).job
        return job

    def pin(self, job_id: str, pinned: bool = True) -> rewas_pb2.Job:
        """Keep the files of a job, or permit the server to delete them to make room. pinned: whether to keep them."""
        request = rewas_pb2.PinJobRequest(id=job_id, pinned=pinned)
        job: rewas_pb2.Job = self._call(self._stub.PinJob, request).job
        return job

    def delete(self, job_id: str) -> None:
        """Delete a job in a final state with its files. Raises ProblemError (SETTINGS) if it has not ended."""
        self._call(self._stub.DeleteJob, rewas_pb2.DeleteJobRequest(id=job_id))

    def watch(
        self,
        job_id: str,
        *,
        cancel: CancelSignal | None = None,
        on_lost: Callable[[ServerUnavailable], object] | None = None,
        reconnect_timeout_s: float | None = None,
    ) -> Iterator[rewas_pb2.Job]:
        """Iterate over snapshots of a job, up to the final one, each newer than the one before.

        While the job waits, there are further snapshots with the same revision when its place in the queue changes.
        Jobs survive the end of their server, so the iteration continues when the server is back.

        Args:
            job_id: Identifier of the job.
            cancel: Ends the iteration with ServerUnavailable if it is set while the server is away.
            on_lost: Called once each time that the server goes away.
            reconnect_timeout_s: How long to wait for the server to come back, in seconds, before raising
                ServerUnavailable. None waits until the client is closed.
        """
        seen = rewas_pb2.Job()
        outage = _Outage(reconnect_timeout_s, on_lost)
        while True:
            try:
                for response in self._stream(self._stub.WatchJob, rewas_pb2.WatchJobRequest(id=job_id)):
                    outage.end()
                    job = response.job
                    if job.revision >= seen.revision and job != seen:
                        seen = job
                        yield job
                    if job.state in FINAL_STATES:
                        return
            except ServerUnavailable as problem:
                if outage.is_too_long(problem) or self._closed.is_set() or (cancel is not None and cancel.is_set()):
                    raise
            self._closed.wait(RECONNECT_PAUSE_S)

    def wait(
        self,
        job_id: str,
        *,
        on_snapshot: Callable[[rewas_pb2.Job], object] | None = None,
        cancel: CancelSignal | None = None,
        on_lost: Callable[[ServerUnavailable], object] | None = None,
        reconnect_timeout_s: float | None = None,
    ) -> rewas_pb2.Job:
        """Wait for the end of a job. The wait continues when a server that went away is back.

        Args:
            job_id: Identifier of the job.
            on_snapshot: Called with each snapshot.
            cancel: Cancels the job once it is set. While the server is away, it ends the wait.
            on_lost: Called once each time that the server goes away.
            reconnect_timeout_s: How long to wait for the server to come back, in seconds. None waits until the client
                is closed.

        Returns:
            The final snapshot, with the result.

        Raises:
            JobFailed: If the job failed.
            JobCancelled: If the job was cancelled.
            ServerUnavailable: If the server does not come back in time.
        """
        with self._forward_cancel(job_id, cancel):
            snapshots = self.watch(job_id, cancel=cancel, on_lost=on_lost, reconnect_timeout_s=reconnect_timeout_s)
            for job in snapshots:
                if on_snapshot is not None:
                    on_snapshot(job)
        if job.state == rewas_pb2.JOB_STATE_FAILED:
            raise JobFailed(job)
        if job.state == rewas_pb2.JOB_STATE_CANCELLED:
            raise JobCancelled(job)
        return job

    def fetch_artifact(
        self,
        job_id: str,
        artifact: rewas_pb2.Artifact,
        destination: str | Path,
        *,
        on_progress: TransferProgress | None = None,
        reconnect_timeout_s: float | None = None,
    ) -> Path:
        """Download an artifact of a job to `destination`, complete and verified, or not at all.

        A broken transfer resumes where it stopped, even in a later call.

        Args:
            job_id: Identifier of the job.
            artifact: The artifact, from the job's result.
            destination: Path of the new file.
            on_progress: Called with the received and the total number of bytes. May raise to abort; then no partial
                file is left behind.
            reconnect_timeout_s: How long to wait for the server to come back, in seconds. None waits until the client
                is closed.

        Returns:
            The path of the file.

        Raises:
            ProblemError: RESOURCES if the file cannot be written, or if its bytes arrived damaged.
        """
        part = PartialFile(artifact, Path(destination))
        outage = _Outage(reconnect_timeout_s)
        try:
            while part.received_bytes < artifact.size_bytes:
                request = rewas_pb2.FetchArtifactRequest(
                    job_id=job_id, name=artifact.name, offset_bytes=part.received_bytes
                )
                try:
                    received_before = part.received_bytes
                    for chunk in self._stream(self._stub.FetchArtifact, request):
                        outage.end()
                        part.append(chunk.data)
                        if on_progress is not None:
                            with part.discard_on_error():
                                on_progress(part.received_bytes, artifact.size_bytes)
                    if part.received_bytes == received_before:
                        break
                except ServerUnavailable as problem:
                    if outage.is_too_long(problem) or self._closed.is_set():
                        raise
                    self._closed.wait(RECONNECT_PAUSE_S)
            return part.finish()
        finally:
            part.close()

    def timeline_result(self, job: rewas_pb2.Job) -> rewas_pb2.TimelineResult:
        """Return the whole result of a timeline job, which is fetched if it is too long for a message.

        Raises ProblemError: NOT_FOUND if the server has deleted the files of the job.
        """
        if not job.timeline.HasField("file"):
            return job.timeline
        with tempfile.TemporaryDirectory(prefix="rewas-") as folder:
            path = self.fetch_artifact(job.id, job.timeline.file, Path(folder) / "timeline")
            return rewas_pb2.TimelineResult.FromString(path.read_bytes())

    def has_media(self, sha256: str) -> bool:
        """Check whether a file with this content is on the server. sha256: lower-case hex."""
        return bool(self._call(self._stub.FindMedia, rewas_pb2.FindMediaRequest(sha256=sha256)).present)

    def upload_media(
        self,
        path: str | Path,
        *,
        sha256: str | None = None,
        on_progress: TransferProgress | None = None,
        reconnect_timeout_s: float = 20.0,
    ) -> str:
        """Upload a media file unless the server has its content already.

        A broken transfer resumes where it stopped, even in a later call.

        Args:
            path: Path of the file.
            sha256: SHA-256 of the file, in lower-case hex. If None, the whole file is read first to compute it.
            on_progress: Called with the sent and the total number of bytes, which never falls. May raise to abort.
            reconnect_timeout_s: Time to reconnect after a broken connection, in seconds.

        Returns:
            The SHA-256 of the file, for `uploaded_media`.

        Raises:
            ProblemError: MEDIA if the file cannot be read, RESOURCES if the server cannot store it.
            ServerUnavailable: If the server does not come back in time.
        """
        path = Path(path)
        sha256 = sha256 or hash_file(path)
        progress = GrowingProgress(on_progress)
        outage = _Outage(reconnect_timeout_s)
        offset_bytes = reached_bytes = 0
        refused_offsets: set[int] = set()
        while True:
            try:
                found = self._call(self._stub.FindMedia, rewas_pb2.FindMediaRequest(sha256=sha256))
                if found.present:
                    return sha256
                offset_bytes = found.received_bytes
                if offset_bytes > reached_bytes:
                    reached_bytes = offset_bytes
                    outage.end()
                self._send_media(path, sha256, offset_bytes, progress)
                return sha256
            except ServerUnavailable as problem:
                if outage.is_too_long(problem) or self._closed.is_set():
                    raise
                self._closed.wait(RECONNECT_PAUSE_S)
            except ProblemError as problem:
                # Another client may have sent more of the same content, or the bytes on the server may be damaged.
                # Each offset is tried once, so that this ends.
                if problem.kind is not ProblemKind.SETTINGS or offset_bytes in refused_offsets:
                    raise
                refused_offsets.add(offset_bytes)

    def _upload_text(self, text: str) -> str:
        with tempfile.TemporaryDirectory(prefix="rewas-") as folder:
            path = Path(folder) / "timeline.otio"
            path.write_text(text, encoding="utf-8", newline="")
            return self.upload_media(path)

    def _send_media(self, path: Path, sha256: str, offset_bytes: int, progress: TransferProgress) -> None:
        raised: list[ProblemError] = []

        def messages() -> Iterator[rewas_pb2.UploadMediaRequest]:
            # gRPC swallows exceptions of a request iterator and reports UNKNOWN, so keep the true reason.
            try:
                yield from upload_messages(path, sha256, progress, offset_bytes)
            except ProblemError as problem:
                raised.append(problem)
                raise

        try:
            self._call(self._stub.UploadMedia, messages(), timeout_s=None)
        except ProblemError as problem:
            raise (raised[0] if raised else problem) from None

    def _call(self, method: Any, request: Any, timeout_s: float | None = -1.0) -> Any:
        timeout_s = self._timeout_s if timeout_s == -1.0 else timeout_s
        try:
            with self._report_closing():
                return method(request, timeout=timeout_s, metadata=self._token.metadata())
        except grpc.RpcError as error:
            # An iterator of requests cannot be sent again.
            if isinstance(request, Iterator) or not self._renew_token(error):
                raise self._problem(error) from error
        return self._call(method, request, timeout_s)

    def _stream(self, method: Any, request: Any) -> Iterator[Any]:
        with self._report_closing():
            call = method(request, metadata=self._token.metadata())
        try:
            yield from call
            return
        except grpc.RpcError as error:
            if not self._renew_token(error):
                raise self._problem(error) from error
        finally:
            call.cancel()
        yield from self._stream(method, request)

    @contextlib.contextmanager
    def _report_closing(self) -> Iterator[None]:
        """Within, begin a call, which fails if this client is closed, also by another thread at this moment."""
        if self._closed.is_set():
            raise closed_problem(self.address)
        try:
            yield
        except ValueError:
            # The error of gRPC for a call on a closed channel.
            if self._closed.is_set():
                raise closed_problem(self.address) from None
            raise

    def _renew_token(self, error: Any) -> bool:
        """After a call that the server refused for its token: whether it has another one now."""
        return error.code() is grpc.StatusCode.UNAUTHENTICATED and self._token.renew()

    def _problem(self, error: Any) -> ProblemError:
        if self._closed.is_set():
            return closed_problem(self.address)
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return self._token.refusal()
        return problem_from_call(error, self.address)

    @contextlib.contextmanager
    def _forward_cancel(self, job_id: str, cancel: CancelSignal | None) -> Iterator[None]:
        if cancel is None:
            yield
            return
        ended = threading.Event()

        def forward_cancel() -> None:
            while not ended.wait(CANCEL_POLL_S):
                if cancel.is_set():
                    with contextlib.suppress(ServerUnavailable):
                        self.cancel(job_id)
                        return

        thread = threading.Thread(target=forward_cancel, name=f"rewas-cancel-{job_id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _open_channel(address: str, certificate: str | Path | None) -> Any:
    if certificate is None:
        return grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
    try:
        roots = Path(certificate).read_bytes()
    except OSError as error:
        raise ProblemError(
            f"The certificate {certificate} cannot be read ({error.strerror or error}).",
            "Copy certificate.pem from the server's state folder, and give its path.",
            ProblemKind.SETTINGS,
        ) from error
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), options=_CHANNEL_OPTIONS)


class _Outage:
    """The time during which a server does not answer.

    Args:
        timeout_s: Longest outage to wait for, in seconds; None for no limit.
        on_lost: Called when an outage begins.
    """

    def __init__(self, timeout_s: float | None, on_lost: Callable[[ServerUnavailable], object] | None = None) -> None:
        self._timeout_s = timeout_s
        self._on_lost = on_lost
        self._began_s: float | None = None

    def end(self) -> None:
        """The server has answered."""
        self._began_s = None

    def is_too_long(self, problem: ServerUnavailable) -> bool:
        """The server has not answered. Returns whether that has lasted too long."""
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s
            if self._on_lost is not None:
                self._on_lost(problem)
        return self._timeout_s is not None and now_s - self._began_s > self._timeout_s


_WORK_FIELDS: dict[type, str] = {
    rewas_pb2.EnergyWork: "energy",
    rewas_pb2.ConflictWork: "conflict",
    rewas_pb2.DescriptionWork: "description",
    rewas_pb2.SoundWork: "sound",
    rewas_pb2.TimelineWork: "timeline",
    rewas_pb2.AudibleVideoWork: "audible_video",
}

__all__ = ["DEFAULT_ADDRESS", "FINAL_STATES", "CancelSignal", "RewasClient", "Work"]
