"""The calls of the gRPC contract."""

# ruff: noqa: N802 - the contract names the calls

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from rewas_api import CONTRACT_MINOR_VERSION, CONTRACT_VERSION
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.transfer import CHUNK_BYTES
from rewas_api.v1 import rewas_pb2, rewas_pb2_grpc
from rewas_engine import installed_packs
from rewas_server import __version__
from rewas_server.checking.checker import RequestChecker
from rewas_server.checking.messages import CheckedWork
from rewas_server.config import ServerConfig
from rewas_server.files.media import MediaLibrary
from rewas_server.files.uploads import UploadStore
from rewas_server.grpc.decoding import Submission
from rewas_server.grpc.security import client_name, is_on_this_machine, refuse_remote_project_folders
from rewas_server.jobs import lifecycle
from rewas_server.jobs.artifacts import artifact_path
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.retention import Retention
from rewas_server.jobs.scheduler import Scheduler
from rewas_server.work.translation import pack_message

MAX_KEY_CHARACTERS = 128
DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000


class ContractService(rewas_pb2_grpc.RewasServiceServicer):
    """Handles the contract's calls. `CallFrame` maps exceptions to status codes."""

    def __init__(
        self,
        board: JobBoard,
        scheduler: Scheduler,
        checker: RequestChecker,
        media: MediaLibrary,
        uploads: UploadStore,
        retention: Retention,
        config: ServerConfig,
    ) -> None:
        self._board = board
        self._scheduler = scheduler
        self._checker = checker
        self._media = media
        self._uploads = uploads
        self._retention = retention
        self._config = config
        self.web_port = 0
        """Port of the web page; 0 if there is none."""

    async def GetServerInfo(
        self, request: rewas_pb2.GetServerInfoRequest, context: Any
    ) -> rewas_pb2.GetServerInfoResponse:
        is_local, problem = is_on_this_machine(context), self._scheduler.load_problem
        return rewas_pb2.GetServerInfoResponse(
            version=__version__,
            contract_version=CONTRACT_VERSION,
            contract_minor_version=CONTRACT_MINOR_VERSION,
            device=self._scheduler.device,
            default_pack=self._config.default_pack,
            jobs_ahead=await self._board.count_unfinished(),
            worker_ready=self._scheduler.worker_ready,
            worker_problem=self._scheduler.worker_problem,
            allowed_roots=[str(root) for root in self._media.allowed_roots] if is_local else [],
            upload_limit_bytes=self._uploads.limits.upload_bytes,
            reads_project_folders=is_local,
            web_port=self.web_port,
            loaded_packs=self._scheduler.packs,
            coming_packs=self._scheduler.coming_packs,
            load_problem=None if problem is None else problem.to_proto(),
            makes_audible_video=self._config.video_model is not None,
        )

    async def ListPacks(self, request: rewas_pb2.ListPacksRequest, context: Any) -> rewas_pb2.ListPacksResponse:
        has_matcher = self._config.conflict_model is not None
        installed = await asyncio.to_thread(installed_packs)
        packs = [pack_message(pack, has_matcher=has_matcher) for pack in installed]
        packs.sort(key=lambda pack: pack.name != self._config.default_pack)
        start, size = parse_page_token(request.page_token) or 0, page_size(request.page_size)
        end = start + size
        next_page_token = str(end) if end < len(packs) else ""
        return rewas_pb2.ListPacksResponse(packs=packs[start:end], next_page_token=next_page_token)

    async def LoadPack(self, request: rewas_pb2.LoadPackRequest, context: Any) -> rewas_pb2.LoadPackResponse:
        name = request.pack or self._config.default_pack
        installed = {pack.name: pack for pack in await asyncio.to_thread(installed_packs)}
        if name not in installed:
            known = ", ".join(sorted(installed)) or "none"
            raise ProblemError(
                f'No pack is named "{name[:80]}".', f"Choose an installed pack: {known}.", ProblemKind.PACK
            )
        problem = pack_message(installed[name], has_matcher=False).problem
        if problem.what:
            raise ProblemError.from_proto(problem)
        self._scheduler.load_pack(name)
        return rewas_pb2.LoadPackResponse()

    async def SubmitJob(self, submission: Submission, context: Any) -> rewas_pb2.SubmitJobResponse:
        request = submission.request
        _check_key(request.idempotency_key)
        # Answer a repeated call before the checks: its job still exists, but its media may be gone.
        known = await self._board.find_by_key(request)
        if known is not None:
            return rewas_pb2.SubmitJobResponse(job=known)
        refuse_remote_project_folders(request, context)
        checked = await self._checker.check(
            submission.data, await self._uploads.size_bytes(request.timeline.timeline_sha256)
        )
        await self._check_queue(client_name(context), len(checked.children))
        await self._retention.make_room_for_job()
        job, children = create_jobs(checked, request.priority)
        job = await self._board.add(job, request, children, client=client_name(context))
        self._scheduler.notify_queue_changed()
        return rewas_pb2.SubmitJobResponse(job=job)

    async def GetJob(self, request: rewas_pb2.GetJobRequest, context: Any) -> rewas_pb2.GetJobResponse:
        return rewas_pb2.GetJobResponse(job=await self._board.get(request.id))

    async def ListJobs(self, request: rewas_pb2.ListJobsRequest, context: Any) -> rewas_pb2.ListJobsResponse:
        page = await self._board.list_page(
            page_size(request.page_size),
            parse_page_token(request.page_token),
            parent_id=request.parent_id,
            states=request.states,
        )
        for job in page.jobs:
            result = job.WhichOneof("result")
            if result is not None:
                job.ClearField(result)
        next_page_token = "" if page.next_before is None else str(page.next_before)
        return rewas_pb2.ListJobsResponse(jobs=page.jobs, next_page_token=next_page_token)

    async def WatchJob(
        self, request: rewas_pb2.WatchJobRequest, context: Any
    ) -> AsyncGenerator[rewas_pb2.WatchJobResponse, None]:
        async with contextlib.aclosing(self._board.watch(request.id)) as snapshots:
            async for job in snapshots:
                yield rewas_pb2.WatchJobResponse(job=job)

    async def CancelJob(self, request: rewas_pb2.CancelJobRequest, context: Any) -> rewas_pb2.CancelJobResponse:
        return rewas_pb2.CancelJobResponse(job=await self._scheduler.cancel(request.id))

    async def PauseJob(self, request: rewas_pb2.PauseJobRequest, context: Any) -> rewas_pb2.PauseJobResponse:
        return rewas_pb2.PauseJobResponse(job=await self._scheduler.pause(request.id))

    async def ResumeJob(self, request: rewas_pb2.ResumeJobRequest, context: Any) -> rewas_pb2.ResumeJobResponse:
        return rewas_pb2.ResumeJobResponse(job=await self._scheduler.resume(request.id))

    async def RetryJob(self, request: rewas_pb2.RetryJobRequest, context: Any) -> rewas_pb2.RetryJobResponse:
        return rewas_pb2.RetryJobResponse(job=await self._scheduler.retry(request.id))

    async def PinJob(self, request: rewas_pb2.PinJobRequest, context: Any) -> rewas_pb2.PinJobResponse:
        return rewas_pb2.PinJobResponse(job=await self._scheduler.pin(request.id, request.pinned))

    async def DeleteJob(self, request: rewas_pb2.DeleteJobRequest, context: Any) -> rewas_pb2.DeleteJobResponse:
        await self._scheduler.delete(request.id)
        return rewas_pb2.DeleteJobResponse()

    async def FindMedia(self, request: rewas_pb2.FindMediaRequest, context: Any) -> rewas_pb2.FindMediaResponse:
        return await self._uploads.find(request.sha256)

    async def UploadMedia(
        self, request_iterator: AsyncIterator[rewas_pb2.UploadMediaRequest], context: Any
    ) -> rewas_pb2.UploadMediaResponse:
        return await self._uploads.receive(aiter(request_iterator), client_name(context))

    async def FetchArtifact(
        self, request: rewas_pb2.FetchArtifactRequest, context: Any
    ) -> AsyncGenerator[rewas_pb2.FetchArtifactResponse, None]:
        # From before the job is read, so that its files cannot be deleted in between.
        with self._retention.fetches.fetching(request.job_id):
            async with contextlib.aclosing(self._fetch_artifact(request)) as responses:
                async for response in responses:
                    yield response

    async def _fetch_artifact(
        self, request: rewas_pb2.FetchArtifactRequest
    ) -> AsyncGenerator[rewas_pb2.FetchArtifactResponse, None]:
        job = await self._board.get(request.job_id)
        path, artifact = artifact_path(self._config.artifacts_dir, job, request.name)
        if request.offset_bytes > artifact.size_bytes:
            raise ProblemError(
                f"{artifact.name} has {artifact.size_bytes} bytes; byte {request.offset_bytes} was requested.",
                "Fetch it from its start.",
                ProblemKind.SETTINGS,
            )
        with path.open("rb") as file:
            file.seek(request.offset_bytes)
            while data := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield rewas_pb2.FetchArtifactResponse(data=data)

    async def _check_queue(self, client: str, clip_count: int) -> None:
        """Raise ProblemError (RESOURCES) if the queue has no room for a job. clip_count: of a timeline; else 0."""
        config, count = self._config, self._board.count_unfinished
        what = ""
        if await count() >= config.queue_limit:
            what = f"The queue holds {config.queue_limit} unfinished jobs, which is its limit."
        elif await count(client) >= config.client_queue_limit:
            what = f"This client has {config.client_queue_limit} unfinished jobs, which is the limit for one client."
        elif clip_count and (clips := await count(client, clips=True)) + clip_count > config.client_clips_limit:
            what = (
                f"The timeline has {clip_count} clips, and this client has {clips} unfinished ones; the limit for one "
                f"client is {config.client_clips_limit}."
            )
        if what:
            raise ProblemError(what, "Wait until some are done, or cancel some.", ProblemKind.RESOURCES)


def create_jobs(
    checked: CheckedWork, priority: rewas_pb2.Priority
) -> tuple[rewas_pb2.Job, list[tuple[rewas_pb2.Job, rewas_pb2.SubmitJobRequest]]]:
    """Return the job for a request, and the jobs for the clips of a timeline with their requests."""
    job_id = uuid.uuid4().hex
    children = []
    for number, child in enumerate(checked.children, start=1):
        child.request.idempotency_key = f"{job_id}/{number}"
        child_job = lifecycle.create_job(uuid.uuid4().hex, child.name, priority=priority, parent_id=job_id)
        if child.problem is not None:
            child_job = lifecycle.fail_job(child_job, child.problem)
        children.append((child_job, child.request))
    job = lifecycle.create_job(job_id, checked.name, priority=priority, child_count=len(children))
    job.finished_child_count = sum(child.problem is not None for child in checked.children)
    return job, children


def page_size(requested: int) -> int:
    """Return the number of entries in a page. requested: `page_size` of the request; 0 means the default."""
    return min(requested or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def parse_page_token(token: str) -> int | None:
    """Return the position in a list that a page token stands for; None for the first page.

    Raises ProblemError (SETTINGS) for a token that no response contained.
    """
    if not token:
        return None
    # SQLite's integers have at most 19 digits.
    if not (token.isascii() and token.isdigit() and len(token) <= 18):
        raise ProblemError(
            f'"{token[:40]}" is not a page token.',
            "Pass the next_page_token of the previous response, or none for the first page.",
            ProblemKind.SETTINGS,
        )
    return int(token)


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= MAX_KEY_CHARACTERS:
        raise ProblemError(
            f"The idempotency key has {len(key)} characters.",
            f"Use 1 to {MAX_KEY_CHARACTERS} characters, for example a UUID.",
            ProblemKind.SETTINGS,
        )
