"""A server with a cluster that the test simulates: replicas are missing, end or answer wrongly."""

import asyncio
import contextlib
import hashlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc
from load_run import flat_energy_work
from server_process import ServerProcess
from sliding_square import write_video

from rewas_api.client import RewasClient
from rewas_api.errors import JobCancelled, JobFailed, ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import Execution, Progress
from rewas_server.cluster.remote_work import RemoteWork
from rewas_server.cluster.workers import ClusterWorkers
from rewas_server.config import ServerConfig
from rewas_server.worker import messages

pytestmark = pytest.mark.slow
TOKEN = "correct-horse"
Answer = Callable[["Cluster", web.StreamResponse, RemoteWork], Awaitable[None]]


class Cluster:
    """An HTTP server in a thread that answers as the application on a cluster does."""

    def __init__(self) -> None:
        self.replicas = 1
        self.token = TOKEN
        self.answer: Answer = succeed
        self.works: list[RemoteWork] = []
        self.hung_up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> str:
        app = web.Application()
        app.router.add_get("/ready", self._ready)
        app.router.add_post("/work", self._work)
        self._runner = web.AppRunner(app, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        (address,) = self._runner.addresses
        return f"http://127.0.0.1:{address[1]}"

    def _check(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            raise web.HTTPUnauthorized

    async def _ready(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response({"replicas": self.replicas, "problem": "waiting for a GPU"})

    async def _work(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        work = RemoteWork.from_bytes(await request.read())
        self.works.append(work)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await self.answer(self, response, work)
        except asyncio.CancelledError:
            self.hung_up.set()
            raise
        return response


async def send(response: web.StreamResponse, *sent: messages.Message) -> None:
    await response.write(b"".join(map(messages.to_line, sent)))


async def succeed(cluster: Cluster, response: web.StreamResponse, work: RemoteWork) -> None:
    await begin(cluster, response, work)
    await send(response, messages.Done(work.job_id, rewas_pb2.EnergyResult()))


async def begin(cluster: Cluster, response: web.StreamResponse, work: RemoteWork) -> None:
    job_id = work.job_id
    progress = messages.JobProgress(job_id, Progress("energy", 1, 2, 0.5))
    await send(
        response, messages.Loaded("tiny", "cuda:3"), messages.Begun(job_id), messages.Measured(job_id, 1.0), progress
    )


async def run_for_ever(cluster: Cluster, response: web.StreamResponse, work: RemoteWork) -> None:
    await begin(cluster, response, work)
    while True:
        await send(response, messages.Heartbeat())
        await asyncio.sleep(0.05)


async def die(cluster: Cluster, response: web.StreamResponse, work: RemoteWork) -> None:
    """End during the first attempt, like a replica that is killed."""
    if len(cluster.works) > 1:
        await succeed(cluster, response, work)
        return
    await begin(cluster, response, work)
    assert response._req is not None
    assert response._req.transport is not None
    response._req.transport.abort()


async def hang(cluster: Cluster, response: web.StreamResponse, work: RemoteWork) -> None:
    """Stay silent during the first attempt."""
    if len(cluster.works) > 1:
        await succeed(cluster, response, work)
        return
    await begin(cluster, response, work)
    await asyncio.Event().wait()


async def postpone(cluster: Cluster, response: web.StreamResponse, work: RemoteWork) -> None:
    """Have no media at first, and then be unreachable."""
    if len(cluster.works) == 1:
        await send(response, messages.Postponed(work.job_id, "The content store cannot be used."))
    elif len(cluster.works) > 2:
        await succeed(cluster, response, work)


async def talk_about_another_job(cluster: Cluster, response: web.StreamResponse, work: RemoteWork) -> None:
    await begin(cluster, response, work)
    await send(response, messages.Done("0" * 32, rewas_pb2.EnergyResult()))


async def send_a_stem_with_a_path(cluster: Cluster, response: web.StreamResponse, work: RemoteWork) -> None:
    await begin(cluster, response, work)
    artifact = rewas_pb2.Artifact(name="../stem.wav", sha256="0" * 64, size_bytes=1)
    take = rewas_pb2.Take(stems=[rewas_pb2.Stem(role="primary", artifact=artifact)])
    await send(response, messages.Done(work.job_id, rewas_pb2.SoundResult(takes=[take])))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("relay")
    (folder / "media").mkdir()
    write_video(folder / "media" / "shot.mp4")
    (folder / "token").write_text(f"{TOKEN}\n")
    return folder


@pytest.fixture(scope="module")
def running_cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def server(folder: Path, running_cluster: Cluster) -> Iterator[ServerProcess]:
    settings = {
        "backend": "ray",
        "ray_url": running_cluster.url,
        "ray_token_file": str(folder / "token"),
        "content_store": str(folder / "content"),
        "worker_silence_s": 3.0,
    }
    running_cluster.replicas = 0
    with ServerProcess(folder / "state", [folder / "media"], settings=settings) as server:
        yield server


@pytest.fixture
def cluster(running_cluster: Cluster, server: ServerProcess) -> Cluster:
    running_cluster.answer = succeed
    running_cluster.works.clear()
    running_cluster.hung_up.clear()
    return running_cluster


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RewasClient]:
    with server.client() as client:
        yield client


def poll(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.02)


def run(client: RewasClient, folder: Path) -> rewas_pb2.Job:
    return client.wait(client.submit(flat_energy_work(folder)).id)


def causes(job: rewas_pb2.Job) -> list[tuple[int, int]]:
    return [(entry.cause, entry.count) for entry in job.interruptions]


def test_jobs_wait_for_a_replica_and_say_why(
    server: ServerProcess, cluster: Cluster, client: RewasClient, folder: Path
) -> None:
    """The first test of this file: there is no replica yet."""
    job = client.submit(flat_energy_work(folder))
    reason = "No replica is running on the cluster (waiting for a GPU)."
    poll(lambda: client.get_server_info().worker_problem == reason)
    waiting = client.get_job(job.id)
    assert (waiting.state, waiting.waiting_reason) == (rewas_pb2.JOB_STATE_QUEUED, reason)
    assert not client.get_server_info().worker_ready
    with server.channel() as channel:
        health = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest(service="rewas.v1.RewasService")
        assert health.Check(asked).status == health_pb2.HealthCheckResponse.NOT_SERVING
        cluster.replicas = 1
        done = client.wait(job.id)
        assert (done.state, done.attempt) == (rewas_pb2.JOB_STATE_SUCCEEDED, 1)
        assert health.Check(asked).status == health_pb2.HealthCheckResponse.SERVING
        assert (client.get_server_info().worker_problem, client.get_server_info().device) == ("", "cuda:3")
        # The last replica ends, while no job runs.
        cluster.replicas = 0
        poll(lambda: client.get_server_info().worker_problem == reason)
        assert health.Check(asked).status == health_pb2.HealthCheckResponse.NOT_SERVING
        cluster.replicas, cluster.token = 1, "another"
        poll(lambda: "refuses the token" in client.get_server_info().worker_problem)
        cluster.token = TOKEN
        poll(lambda: client.get_server_info().worker_ready)


def test_a_replica_gets_media_by_content(cluster: Cluster, client: RewasClient, folder: Path) -> None:
    for _ in range(2):
        run(client, folder)
    media = folder / "media" / "shot.mp4"
    sha256 = hashlib.sha256(media.read_bytes()).hexdigest()
    assert [dict(work.media) for work in cluster.works] == [{str(media): sha256}] * 2
    assert (folder / "content" / sha256).read_bytes() == media.read_bytes()
    assert cluster.works[0].default_pack == "starter"


def test_a_job_runs_again_when_its_replica_ends_or_hangs(cluster: Cluster, client: RewasClient, folder: Path) -> None:
    cluster.answer = die
    job = run(client, folder)
    assert (job.attempt, causes(job)) == (2, [(rewas_pb2.INTERRUPTION_CAUSE_WORKER_ENDED, 1)])
    cluster.works.clear()
    cluster.answer = hang
    job = run(client, folder)
    assert (job.attempt, causes(job)) == (2, [(rewas_pb2.INTERRUPTION_CAUSE_DEADLINE, 1)])


def test_a_job_that_cannot_begin_waits_without_an_attempt(cluster: Cluster, client: RewasClient, folder: Path) -> None:
    cluster.answer = postpone
    job = run(client, folder)
    assert (job.attempt, causes(job), len(cluster.works)) == (1, [], 3)


def test_a_cancelled_job_hangs_up(cluster: Cluster, client: RewasClient, folder: Path) -> None:
    cluster.answer = run_for_ever
    job = client.submit(flat_energy_work(folder))
    poll(lambda: client.get_job(job.id).stage == rewas_pb2.STAGE_ENERGY)
    client.cancel(job.id)
    with pytest.raises(JobCancelled):
        client.wait(job.id)
    assert cluster.hung_up.wait(30)
    cluster.answer = succeed
    assert run(client, folder).state == rewas_pb2.JOB_STATE_SUCCEEDED


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(talk_about_another_job, ProblemKind.RESOURCES), (send_a_stem_with_a_path, ProblemKind.INTERNAL)],
)
def test_wrong_answers_fail_the_job(
    cluster: Cluster, client: RewasClient, folder: Path, answer: Answer, kind: ProblemKind
) -> None:
    cluster.answer = answer
    with pytest.raises(JobFailed) as raised:
        run(client, folder)
    assert raised.value.kind is kind
    assert not (folder / "state" / "artifacts" / raised.value.job.id).exists()


def test_media_that_may_not_be_read_never_reach_the_cluster(
    cluster: Cluster, client: RewasClient, folder: Path
) -> None:
    work = flat_energy_work(folder)
    secret = folder / "media" / "secret.mp4"
    secret.write_text("secret")
    work.clip_otio_json = work.clip_otio_json.replace("shot.mp4", "secret.mp4")
    cluster.replicas = 0
    poll(lambda: not client.get_server_info().worker_ready)
    job = client.submit(work)
    secret.unlink()
    secret.symlink_to(folder / "token")
    cluster.replicas = 1
    with pytest.raises(JobFailed, match="outside the folders") as raised:
        client.wait(job.id)
    assert raised.value.kind is ProblemKind.PERMISSION
    assert cluster.works == []
    sha256 = hashlib.sha256((folder / "token").read_bytes()).hexdigest()
    assert not (folder / "content" / sha256).exists()


class PoisonedReplica:
    """A replica for two jobs at a time. It ends during each run of the first job that it gets, with all its jobs."""

    def __init__(self) -> None:
        self.poisoned = ""
        self.company = asyncio.Event()

    async def __call__(self, cluster: Cluster, response: web.StreamResponse, work: RemoteWork) -> None:
        self.poisoned = self.poisoned or work.job_id
        if work.is_alone and work.job_id != self.poisoned:
            await succeed(cluster, response, work)
            return
        await begin(cluster, response, work)
        if not work.is_alone:
            if len(cluster.works) == 2:
                self.company.set()
            await self.company.wait()
        assert response._req is not None
        assert response._req.transport is not None
        response._req.transport.abort()


def test_a_job_that_ends_replicas_does_not_make_other_jobs_fail(cluster: Cluster, folder: Path, tmp_path: Path) -> None:
    cluster.replicas, cluster.answer = 1, PoisonedReplica()
    settings = {
        "backend": "ray",
        "ray_url": cluster.url,
        "ray_token_file": str(folder / "token"),
        "ray_jobs_per_replica": 2,
        "content_store": str(tmp_path / "content"),
    }
    with ServerProcess(tmp_path / "state", [folder / "media"], settings=settings) as server, server.client() as client:
        jobs = [client.submit(flat_energy_work(folder)).id for _ in range(2)]
        outcomes = {}
        for job_id in jobs:
            with contextlib.suppress(JobFailed):
                client.wait(job_id)
            outcomes[job_id] = client.get_job(job_id)
    poisoned = cluster.works[0].job_id
    (innocent,) = set(jobs) - {poisoned}
    assert outcomes[innocent].state == rewas_pb2.JOB_STATE_SUCCEEDED
    assert list(outcomes[innocent].interruptions) == []
    # The first end does not count, because either job may have caused it. The later ones show which one does.
    runs = {job_id: [work.is_alone for work in cluster.works if work.job_id == job_id] for job_id in jobs}
    assert runs == {innocent: [False, True], poisoned: [False, True, True, True]}
    assert outcomes[poisoned].state == rewas_pb2.JOB_STATE_FAILED
    assert [(entry.cause, entry.count) for entry in outcomes[poisoned].interruptions] == [
        (rewas_pb2.INTERRUPTION_CAUSE_WORKER_ENDED, 3)
    ]


def test_no_output_contains_the_token(server: ServerProcess, folder: Path) -> None:
    log = server.log() + (folder / "state" / "logs" / "server.jsonl").read_text("utf-8")
    assert "No replica is running" in log
    assert TOKEN not in log


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"backend": "slurm"}, "`backend`"),
        ({"ray_url": "rewas-serve-svc:8000", "ray_token_file": Path("token")}, "`ray_url`"),
        ({"ray_url": "http://editor:secret@ray:8000", "ray_token_file": Path("token")}, "`ray_url`"),
        ({"ray_url": "http://ray:8000"}, "`ray_token_file`"),
        ({"ray_replicas": 0}, "`ray_replicas`"),
        ({"ray_jobs_per_replica": 65}, "`ray_jobs_per_replica`"),
        ({"backend": "ray", "execution": Execution(shares_batches=True)}, "`execution.shares_batches`"),
        ({"execution": Execution(shares_batches=True), "ray_jobs_per_replica": 2}, "`execution.shares_batches`"),
        (
            {"backend": "ray", "execution": Execution(low_memory=True), "ray_jobs_per_replica": 2},
            "`execution.low_memory`",
        ),
        ({"content_store": "ftp://editor:secret@studio/media"}, "`content_store`"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ProblemError, match=expected) as raised:
        ServerConfig(**settings)
    assert raised.value.kind is ProblemKind.SETTINGS
    assert "editor:secret" not in str(raised.value)


def test_a_server_without_ray_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ProblemError, match="package ray") as raised:
        ClusterWorkers(ServerConfig(backend="ray"))
    assert "rewas-nle[ray]" in raised.value.remedy
    # A server with a cluster elsewhere does not need Ray.
    ClusterWorkers(ServerConfig(backend="ray", ray_url="http://ray:8000", ray_token_file=Path("token")))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"request": "!"}', json.dumps({"job_id": 1}).encode()])
def test_bytes_that_are_not_a_request_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a request"):
        RemoteWork.from_bytes(data)
