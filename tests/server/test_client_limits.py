"""What one client may use of a server, and what becomes of clients that hang."""

import contextlib
import gzip
import hashlib
import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from server_process import ServerProcess, memory_bytes

from rewas_api.client import RewasClient
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.grpc.limits import RESERVED_DESCRIPTORS, connection_limit
from rewas_server.jobs import lifecycle
from rewas_server.jobs.sqlite_store import SqliteJobStore

MIB = 1024**2
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
"""What a client says first, with an empty SETTINGS frame."""
LIMITS = {
    "max_connections": 12,
    "max_calls": 3,
    "max_streams": 3,
    "max_uploads": 2,
    "read_timeout_s": 2.0,
    "write_timeout_s": 1.0,
    "handshake_timeout_s": 1.0,
    "keepalive_s": 1.0,
    "connection_age_s": 2.0,
}
STEM_BYTES = 40 * MIB


@pytest.fixture(scope="module")
def stem() -> bytes:
    return bytes(range(256)) * (STEM_BYTES // 256)


@pytest.fixture(scope="module")
def artifact(stem: bytes) -> rewas_pb2.Artifact:
    return rewas_pb2.Artifact(name="stem.wav", size_bytes=len(stem), sha256=hashlib.sha256(stem).hexdigest())


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, stem: bytes, artifact: rewas_pb2.Artifact
) -> Iterator[ServerProcess]:
    """A server with narrow limits and a finished job with one large stem."""
    state_dir = tmp_path_factory.mktemp("state")
    store = SqliteJobStore(state_dir / "jobs.sqlite3")
    with contextlib.closing(store):
        job = lifecycle.create_job("job", "shot")
        job.state = rewas_pb2.JOB_STATE_SUCCEEDED
        job.finished_at.GetCurrentTime()  # Retention deletes old jobs.
        job.sound.takes.add().stems.add().artifact.CopyFrom(artifact)
        store.add(job, rewas_pb2.SubmitJobRequest(idempotency_key="job"))
        paused = lifecycle.create_job("paused", "another shot")
        paused.state = rewas_pb2.JOB_STATE_PAUSED
        store.add(paused, rewas_pb2.SubmitJobRequest(idempotency_key="paused"))
    (state_dir / "artifacts" / "job").mkdir(parents=True)
    (state_dir / "artifacts" / "job" / "stem.wav").write_bytes(stem)
    with ServerProcess(state_dir, settings={"limits": LIMITS}, loads_pack=False) as server:
        yield server


@pytest.fixture
def quick_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that closes idle connections at once, and is otherwise patient."""
    with ServerProcess(tmp_path / "state", settings={"limits": {"idle_timeout_s": 1.0}}, loads_pack=False) as server:
        yield server


def is_closed_by_peer(connection: socket.socket) -> bool:
    """Read until the other end closes the connection; False if it does not within 20 s."""
    connection.settimeout(20)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def code_of(future: Any) -> grpc.StatusCode:
    code: grpc.StatusCode = future.code()
    return code


def never(end: threading.Event) -> Iterator[bytes]:
    """A request that never comes."""
    end.wait(60)
    yield from ()


@pytest.mark.parametrize("sent", [b"", b"PRI * HT", HTTP2_PREFACE], ids=["silent", "half", "greeted"])
def test_half_open_connections_are_closed(server: ServerProcess, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(sent)
        assert is_closed_by_peer(connection)


def test_idle_connections_are_closed_and_come_back(quick_server: ServerProcess) -> None:
    states: list[grpc.ChannelConnectivity] = []
    idle = threading.Event()

    def watch(state: grpc.ChannelConnectivity) -> None:
        states.append(state)
        if state is grpc.ChannelConnectivity.IDLE and grpc.ChannelConnectivity.READY in states:
            idle.set()

    with quick_server.channel() as channel, grpc.insecure_channel(quick_server.address) as watched:
        watched.subscribe(watch)
        health = health_pb2_grpc.HealthStub(watched)
        health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert idle.wait(20)
        health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        del channel


def test_connections_are_limited(server: ServerProcess) -> None:
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(3 * LIMITS["max_connections"]):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            connection.sendall(HTTP2_PREFACE)
            connections.append(connection)
        answers = 0
        for connection in connections:
            connection.settimeout(20)
            with contextlib.suppress(ConnectionError):
                answers += bool(connection.recv(1))
        assert 0 < answers <= LIMITS["max_connections"]
    # They are all closed: there is room again as soon as the server has noticed.
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        health.Check(health_pb2.HealthCheckRequest(), timeout=20, wait_for_ready=True)
    with server.client() as client:
        assert client.get_server_info().version


def test_the_limit_of_open_files_is_respected() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
        assert connection_limit(512) == 512
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 512 + RESERVED_DESCRIPTORS
        assert connection_limit(10 * hard) == hard - RESERVED_DESCRIPTORS
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_calls_streams_and_uploads_of_a_client_are_limited(server: ServerProcess) -> None:
    end = threading.Event()
    kinds = {"GetJob": LIMITS["max_calls"], "UploadMedia": LIMITS["max_uploads"]}
    with server.channel() as channel:
        for method, most in kinds.items():
            call = channel.stream_unary(f"/rewas.v1.RewasService/{method}")
            futures = [call.future(never(end), timeout=30) for _ in range(most + 2)]
            codes = [code_of(future) for future in futures]
            # Those above the limit are refused at once, the others when no request has come.
            assert codes == [grpc.StatusCode.RESOURCE_EXHAUSTED] * len(futures)
            details = [future.details() for future in futures]
            assert sum("already has" in each for each in details) == 2
            assert sum("did not arrive" in each for each in details) == most
        watch = health_pb2_grpc.HealthStub(channel).Watch
        streams = [watch(health_pb2.HealthCheckRequest(), timeout=30) for _ in range(LIMITS["max_streams"])]
        assert [next(stream).status for stream in streams] == [1] * len(streams)
        with pytest.raises(grpc.RpcError, match="already has"):
            next(watch(health_pb2.HealthCheckRequest(), timeout=30))
        for stream in streams:
            stream.cancel()
    end.set()
    with server.client() as client:
        client.get_server_info()


def test_a_slow_reader_is_dropped_and_resumes(
    server: ServerProcess, artifact: rewas_pb2.Artifact, stem: bytes, tmp_path: Path
) -> None:
    """The connection is also too old for its calls meanwhile."""
    pauses = itertools.chain([5.0, 5.0], itertools.repeat(0.0))
    asleep = threading.Event()
    received: list[int] = []

    def on_progress(done_bytes: int, total_bytes: int) -> None:
        received.append(done_bytes)
        asleep.wait(next(pauses))

    with server.client() as client:
        path = client.fetch_artifact("job", artifact, tmp_path / "stem.wav", on_progress=on_progress)
    assert path.read_bytes() == stem
    assert received == sorted(received)
    assert "does not read the responses of FetchArtifact" in server.log()


def test_a_watch_survives_the_age_of_its_connection(server: ServerProcess) -> None:
    with server.client() as watching, server.client() as other:
        # Twice as long as a connection and its calls may live.
        ending = threading.Timer(4 * LIMITS["connection_age_s"], other.cancel, ["paused"])
        ending.start()
        *_, last = watching.watch("paused")
        ending.join()
    assert last.state == rewas_pb2.JOB_STATE_CANCELLED


def test_large_messages_of_many_senders_take_little_memory(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "state", loads_pack=False) as server, contextlib.ExitStack() as stack:
        before_bytes = memory_bytes(server.pid, "VmRSS")
        data = rewas_pb2.UploadMediaRequest(data=bytes(60 * MIB)).SerializeToString()
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        metadata = (("authorization", f"Bearer {server.token}"),)
        for method in ("UploadMedia", "GetJob", "UploadMedia", "GetJob"):
            futures = []
            for _ in range(4):
                channel = stack.enter_context(grpc.insecure_channel(server.address, options=options))
                call = channel.stream_unary(f"/rewas.v1.RewasService/{method}")
                futures.append(call.future(iter([data]), timeout=60, metadata=metadata))
            assert [code_of(future) for future in futures] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 4
        assert memory_bytes(server.pid) - before_bytes < 40 * MIB


def test_a_compression_bomb_is_refused(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "state", loads_pack=False) as server:
        before_bytes = memory_bytes(server.pid, "VmRSS")
        work = rewas_pb2.TimelineWork(timeline_otio_json="x" * (150 * MIB))
        request = rewas_pb2.SubmitJobRequest(idempotency_key="key", timeline=work).SerializeToString()
        assert len(gzip.compress(request, 1)) < 2 * MIB
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(server.address, options=options) as channel:
            call = channel.unary_unary("/rewas.v1.RewasService/SubmitJob")
            metadata = (("authorization", f"Bearer {server.token}"),)
            with pytest.raises(grpc.RpcError) as raised:
                call(request, timeout=60, metadata=metadata, compression=grpc.Compression.Gzip)
        assert code_of(raised.value) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert memory_bytes(server.pid) - before_bytes < 40 * MIB


def test_a_client_is_told_about_a_limit(server: ServerProcess) -> None:
    with RewasClient(server.address) as client, pytest.raises(ProblemError) as raised:
        client.get_job("x" * MIB)
    assert raised.value.kind is ProblemKind.RESOURCES
    assert "the limit of GetJob is 65536" in raised.value.what
