"""A real server in a separate process: refusals, start and end. No job here reaches a model."""

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import opentimelineio as otio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from server_process import ServerProcess, is_running

from rewas_api import CONTRACT_VERSION
from rewas_api.client import RewasClient
from rewas_api.errors import ContractMismatch, ProblemError, ProblemKind, ServerUnavailable
from rewas_api.transfer import upload_messages
from rewas_api.transport_errors import problem_from_call
from rewas_api.v1 import rewas_pb2, rewas_pb2_grpc
from rewas_server.jobs import lifecycle
from rewas_server.jobs.sqlite_store import SqliteJobStore

DAMAGED_PACK = 'format = 1\nname = "damaged"\n'
NEWER_PACK = "format = 99\n"
NEWEST_FIRST = [f"job {number}" for number in reversed(range(7))]
"""Names of the jobs that the server lists."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    (folder / "media").mkdir()
    (folder / "media" / "clip.mov").write_bytes(b"picture")
    (folder / "outside.mov").write_bytes(b"picture")
    for name, text in (("damaged", DAMAGED_PACK), ("newer", NEWER_PACK)):
        (folder / "packs" / name).mkdir(parents=True)
        (folder / "packs" / name / "pack.toml").write_text(text)
    store = SqliteJobStore(folder / "state" / "jobs.sqlite3")
    for name in reversed(NEWEST_FIRST):
        job = store.add(lifecycle.create_job(name, name), rewas_pb2.SubmitJobRequest(idempotency_key=name))
        store.update(job.id, lifecycle.request_cancel)
    store.close()
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    """One server for most tests. The last one kills it."""
    with ServerProcess(folder / "state", [folder / "media"], packs_dir=folder / "packs") as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[RewasClient]:
    with server.client() as client:
        yield client


def sound(path: Path | str, **settings: Any) -> rewas_pb2.SoundWork:
    time = otio.opentime.RationalTime
    clip = otio.schema.Clip(
        "shot 7",
        otio.schema.ExternalReference(str(path)),
        otio.opentime.TimeRange(time(0, 24000 / 1001), time(48, 24000 / 1001)),
    )
    settings = {"prompt": "rain"} | settings
    return rewas_pb2.SoundWork(clip_otio_json=clip.to_json_string(), settings=rewas_pb2.SoundSettings(**settings))


def get_refusal(client: RewasClient, work: Any, **options: Any) -> ProblemError:
    with pytest.raises(ProblemError) as raised:
        client.submit(work, **options)
    assert raised.value.what.endswith(".")
    assert raised.value.remedy.endswith(".")
    return raised.value


def test_the_server_reports_its_identity(client: RewasClient, folder: Path) -> None:
    info = client.get_server_info()
    assert info.contract_version == CONTRACT_VERSION
    assert list(info.allowed_roots) == [str((folder / "media").resolve())]
    assert info.default_pack == "starter"
    assert info.upload_limit_bytes == 2**20


def test_the_health_service_answers(server: ServerProcess) -> None:
    with server.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        # The service needs a worker, which starts after the server.
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="rewas.v1.RewasService"), timeout=60)
        assert any(response.status == health_pb2.HealthCheckResponse.SERVING for response in watch)
        watch.cancel()


def test_damaged_packs_are_listed_with_their_problem(client: RewasClient) -> None:
    packs = {pack.name: pack for pack in client.list_packs()}
    assert "damaged" in packs["damaged"].problem.what
    assert "99" in packs["newer"].problem.what


def test_no_process_of_the_server_listens_beyond_loopback(server: ServerProcess, client: RewasClient) -> None:
    """Asks the system about all sockets of the server, its worker and their children."""
    poll(server.worker_pids)
    processes = {server.pid, *server.descendant_pids()}
    assert processes >= {server.pid, *server.worker_pids()}
    listening = [place for pid in processes for place in listening_places(pid)]
    assert {host for host, _ in listening} <= LOOPBACK
    # One port for calls, and no other: metrics are off.
    assert {port for _, port in listening} == {server.port}


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same in IPv6, and ::1, as /proc/net writes them."""


def listening_places(pid: int) -> list[tuple[str, int]]:
    """The hexadecimal addresses and the ports of the sockets on which a process accepts connections or datagrams."""
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(descriptor.readlink().name)
    inodes = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")}
    places = []
    for table, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for fields in map(str.split, Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]):
            if fields[3] == state and fields[9] in inodes:
                host, _, port = fields[1].partition(":")
                places.append((host, int(port, 16)))
    return places


@pytest.mark.parametrize("name", ["damaged", "newer", "absent"])
def test_unusable_packs_are_refused(client: RewasClient, folder: Path, name: str) -> None:
    problem = get_refusal(client, sound(folder / "media" / "clip.mov", pack=name))
    assert problem.kind is ProblemKind.PACK
    assert name in problem.what


def test_media_are_checked_when_a_job_is_submitted(client: RewasClient, folder: Path) -> None:
    missing = get_refusal(client, sound(folder / "media" / "gone.mov"))
    assert (missing.kind, "gone.mov" in missing.what) in {(ProblemKind.MEDIA, True), (ProblemKind.PACK, False)}
    assert [job.name for job in client.list_jobs()] == NEWEST_FIRST


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 10_000}, "prompt"),
        ({"takes": 101}, "takes"),
        ({"seed": -3}, "seed"),
    ],
)
def test_settings_out_of_range_are_refused(
    client: RewasClient, folder: Path, settings: dict[str, Any], word: str
) -> None:
    problem = get_refusal(client, sound(folder / "media" / "clip.mov", **settings))
    assert problem.kind is ProblemKind.SETTINGS
    assert word in problem.what
    assert "shot 7" in problem.what


@pytest.mark.parametrize("key", ["x" * 129])
def test_idempotency_keys_have_a_limited_length(client: RewasClient, folder: Path, key: str) -> None:
    problem = get_refusal(client, sound(folder / "media" / "clip.mov"), idempotency_key=key)
    assert problem.kind is ProblemKind.SETTINGS


def test_the_status_code_matches_the_problem_kind(server: ServerProcess) -> None:
    with server.channel() as channel:
        stub = rewas_pb2_grpc.RewasServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.GetJob(rewas_pb2.GetJobRequest(id="nonsense"))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        assert "nonsense" in raised.value.details()
        with pytest.raises(grpc.RpcError) as raised:
            stub.SubmitJob(rewas_pb2.SubmitJobRequest(idempotency_key="k"))
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_every_call_names_an_unknown_job(client: RewasClient, tmp_path: Path) -> None:
    artifact = rewas_pb2.Artifact(name="../jobs.sqlite3", size_bytes=5, sha256="0" * 64)
    calls = [
        lambda: client.get_job("nonsense"),
        lambda: client.cancel("nonsense"),
        lambda: list(client.watch("nonsense")),
        lambda: client.wait("nonsense"),
        lambda: client.fetch_artifact("nonsense", artifact, tmp_path / "stem.wav"),
    ]
    for call in calls:
        with pytest.raises(ProblemError, match="nonsense") as raised:
            call()
        assert raised.value.kind is ProblemKind.NOT_FOUND
    assert list(tmp_path.iterdir()) == []


def test_long_non_ascii_text_is_returned_in_errors(client: RewasClient) -> None:
    with pytest.raises(ProblemError) as raised:
        client.submit(sound("/" + "動" * 5000))
    assert raised.value.kind is not ProblemKind.INTERNAL


def test_an_upload_is_sent_once(client: RewasClient, tmp_path: Path) -> None:
    file = tmp_path / "shot.mov"
    file.write_bytes(os.urandom(700_000))
    steps: list[tuple[int, int]] = []
    sha256 = client.upload_media(file, on_progress=lambda done, total: steps.append((done, total)))
    assert sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert steps[-1] == (700_000, 700_000)
    steps.clear()
    assert client.upload_media(file, on_progress=lambda done, total: steps.append((done, total))) == sha256
    assert steps == []


def test_invalid_uploads_are_refused(client: RewasClient, folder: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.mov"
    large.write_bytes(b"x" * (2**20 + 1))
    empty = tmp_path / "empty.mov"
    empty.touch()
    kinds = {large: ProblemKind.RESOURCES, empty: ProblemKind.MEDIA, tmp_path / "gone.mov": ProblemKind.MEDIA}
    for path, kind in kinds.items():
        with pytest.raises(ProblemError) as raised:
            client.upload_media(path)
        assert raised.value.kind is kind, path
    with pytest.raises(ProblemError, match="SHA-256"):
        client.has_media("no hash")


def test_a_truncated_upload_is_no_media(server: ServerProcess, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "shot.mov"
    file.write_bytes(os.urandom(600_000))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    truncated = list(upload_messages(file, sha256, None))[:-1]
    with server.channel() as channel, server.client() as client:
        stub = rewas_pb2_grpc.RewasServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.UploadMedia(iter(truncated))
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as raised:
            stub.UploadMedia(iter(truncated[1:]))
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert not client.has_media(sha256)
        # The rest may follow.
        assert client.upload_media(file) == sha256
        assert client.has_media(sha256)


def test_a_too_large_message_is_refused(client: RewasClient) -> None:
    work = rewas_pb2.TimelineWork(timeline_otio_json="x" * (67 * 1024 * 1024))
    assert get_refusal(client, work).kind is ProblemKind.RESOURCES


def test_an_address_without_server_is_reported() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with RewasClient(address) as client:
            with pytest.raises(ServerUnavailable, match="rewas serve"):
                client.get_server_info()
            with pytest.raises(ServerUnavailable, match=address):
                client.wait("job", reconnect_timeout_s=0.5)


def test_a_silent_server_times_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with (
            RewasClient(f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.5) as client,
            pytest.raises(ServerUnavailable),
        ):
            client.get_server_info()


class OtherVersion(rewas_pb2_grpc.RewasServiceServicer):
    def __init__(self, contract_version: int) -> None:
        self.contract_version = contract_version

    def GetServerInfo(self, request: Any, context: Any) -> rewas_pb2.GetServerInfoResponse:  # noqa: N802
        return rewas_pb2.GetServerInfoResponse(version="9.9.9", contract_version=self.contract_version)


@pytest.mark.parametrize(
    ("contract_version", "word"), [(0, "older"), (CONTRACT_VERSION + 1, "newer"), (None, "does not support")]
)
def test_other_contract_versions_are_refused(folder: Path, contract_version: int | None, word: str) -> None:
    other = grpc.server(futures.ThreadPoolExecutor(1))
    if contract_version is not None:
        rewas_pb2_grpc.add_RewasServiceServicer_to_server(OtherVersion(contract_version), other)
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    try:
        with RewasClient(f"127.0.0.1:{port}") as client:
            with pytest.raises(ContractMismatch, match=word):
                client.get_server_info()
            with pytest.raises(ContractMismatch, match=word):
                client.submit(sound(folder / "media" / "clip.mov"))
    finally:
        other.stop(None)


def test_a_client_of_an_older_contract_gets_one_clear_sentence(server: ServerProcess) -> None:
    """The service of contract 1 is named Rewas. Its client shows the Problem or the details of a refusal."""
    with server.channel() as channel:
        unary = channel.unary_unary("/rewas.v1.Rewas/GetServerInfo", bytes, bytes)
        streaming = channel.unary_stream("/rewas.v1.Rewas/WatchJob", bytes, bytes)
        for call in (lambda: unary(b"\x08\x01"), lambda: list(streaming(b""))):
            with pytest.raises(grpc.RpcError) as raised:
                call()
            assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
            problem = problem_from_call(raised.value, server.address)
            assert isinstance(problem, ContractMismatch)
            assert raised.value.details() == str(problem)
            assert f"contract {CONTRACT_VERSION}) does not have the method /rewas.v1.Rewas/" in problem.what
            assert problem.remedy == "Install the same version of ReWaS NLE on both sides."


def test_jobs_are_listed_in_pages(server: ServerProcess, client: RewasClient) -> None:
    for page_size in (1, 3, 7, 100):
        assert [job.name for job in client.list_jobs(page_size=page_size)] == NEWEST_FIRST
    with server.channel() as channel:
        stub = rewas_pb2_grpc.RewasServiceStub(channel)
        first = stub.ListJobs(rewas_pb2.ListJobsRequest(page_size=3))
        assert [job.name for job in first.jobs] == NEWEST_FIRST[:3]
        rest = stub.ListJobs(rewas_pb2.ListJobsRequest(page_size=1000, page_token=first.next_page_token))
        assert [job.name for job in rest.jobs] == NEWEST_FIRST[3:]
        assert rest.next_page_token == ""


def test_packs_are_listed_in_pages(server: ServerProcess, client: RewasClient) -> None:
    names = [pack.name for pack in client.list_packs()]
    assert names[0] == "starter"
    assert {"damaged", "newer"} < set(names)
    with server.channel() as channel:
        stub = rewas_pb2_grpc.RewasServiceStub(channel)
        paged, token = [], ""
        while True:
            response = stub.ListPacks(rewas_pb2.ListPacksRequest(page_size=1, page_token=token))
            paged += [pack.name for pack in response.packs]
            assert len(response.packs) == 1
            token = response.next_page_token
            if not token:
                break
    assert paged == names


@pytest.mark.parametrize("token", ["-1", "next", "1.5", "9" * 19, "٣"])
def test_invalid_page_tokens_are_refused(server: ServerProcess, token: str) -> None:
    with server.channel() as channel:
        stub = rewas_pb2_grpc.RewasServiceStub(channel)
        for call in (
            lambda: stub.ListJobs(rewas_pb2.ListJobsRequest(page_token=token)),
            lambda: stub.ListPacks(rewas_pb2.ListPacksRequest(page_token=token)),
        ):
            with pytest.raises(grpc.RpcError, match="is not a page token") as raised:
                call()
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_closed_client_is_reported_in_all_threads(server: ServerProcess) -> None:
    client = server.client()
    client.get_server_info()
    client.close()
    with pytest.raises(ServerUnavailable, match="closed"):
        client.get_server_info()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_server_and_worker_and_the_server_never_loads_torch(
    tmp_path: Path, number: signal.Signals
) -> None:
    server = ServerProcess(tmp_path / "state", [tmp_path])
    with server.client() as client:
        wait_until_worker_is_ready(client)
        workers = server.worker_pids()
        assert len(workers) == 1
        client.list_packs()
    status, torch_was_loaded = server.stop(number)
    assert (status, torch_was_loaded) == (0, "False"), server.log()
    assert not any(is_running(pid) for pid in workers)


@pytest.mark.slow
def test_two_servers_do_not_share_a_port_or_a_state_folder(server: ServerProcess, folder: Path, tmp_path: Path) -> None:
    assert str(server.port) in ServerProcess(tmp_path / "state", port=server.port).refusal
    assert "Another ReWaS server" in ServerProcess(folder / "state").refusal


def test_an_unwritable_state_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "state" in ServerProcess(tmp_path / "file" / "state").refusal


def test_the_server_process_does_not_import_torch() -> None:
    code = "import sys, rewas_server.grpc.app, rewas_server.worker.run; print('torch' in sys.modules)"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "False"


@pytest.mark.slow
def test_an_idle_worker_that_dies_is_replaced(server: ServerProcess, client: RewasClient) -> None:
    wait_until_worker_is_ready(client)
    (first,) = server.worker_pids()
    os.kill(first, signal.SIGKILL)
    poll(lambda: not client.get_server_info().worker_ready or server.worker_pids() not in ([], [first]))
    wait_until_worker_is_ready(client)
    assert server.worker_pids() not in ([], [first])


@pytest.mark.slow
def test_the_worker_exits_when_the_server_is_killed(server: ServerProcess, client: RewasClient) -> None:
    """The last test of this file, because it kills the server."""
    wait_until_worker_is_ready(client)
    (worker,) = server.worker_pids()
    server.kill()
    poll(lambda: not is_running(worker))


def wait_until_worker_is_ready(client: RewasClient) -> None:
    poll(lambda: client.get_server_info().worker_ready)


def poll(condition: Any) -> None:
    pause = threading.Event()
    for _ in range(2400):
        if condition():
            return
        pause.wait(0.05)
    raise AssertionError("the condition did not become true within two minutes")
