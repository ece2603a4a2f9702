"""Uploads over real connections that break, and to servers that are killed."""

import hashlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from breaking_proxy import breaking_proxy
from server_process import ServerProcess, memory_bytes

from rewas_api.client import RewasClient
from rewas_api.errors import ProblemError, ProblemKind, ServerUnavailable
from rewas_api.transfer import upload_messages
from rewas_api.v1 import rewas_pb2, rewas_pb2_grpc
from rewas_server.config import ClientLimits

MIB = 1024**2
UPLOADS = ClientLimits().max_uploads
SETTINGS = {
    "upload_limit_bytes": 200 * MIB,
    "client_uploads_limit_bytes": 400 * MIB,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uploads")
    (folder / "packs").mkdir()
    return folder


def start(folder: Path, port: int = 0) -> ServerProcess:
    return ServerProcess(folder / "state", packs_dir=folder / "packs", port=port, settings=SETTINGS)


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with start(folder) as server:
        yield server


def write_file(path: Path, size_bytes: int) -> str:
    path.write_bytes(os.urandom(size_bytes))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_upload_survives_broken_connections(server: ServerProcess, folder: Path, tmp_path: Path) -> None:
    sha256 = write_file(tmp_path / "shot.mov", 16 * MIB)
    steps: list[tuple[int, int]] = []
    with (
        breaking_proxy(server.port, [5 * MIB, 1000, 4 * MIB, 3 * MIB]) as proxy,
        RewasClient(f"127.0.0.1:{proxy.port}", token=server.token) as client,
    ):
        found = client.upload_media(tmp_path / "shot.mov", on_progress=lambda done, total: steps.append((done, total)))
        assert proxy.broken == 4
    assert found == sha256
    assert (folder / "state" / "uploads" / sha256).read_bytes() == (tmp_path / "shot.mov").read_bytes()
    # The progress never starts again.
    assert steps == sorted(set(steps))
    assert steps[-1] == (16 * MIB, 16 * MIB)
    assert all(total == 16 * MIB for _, total in steps)


def test_a_server_that_answers_late_is_found(server: ServerProcess) -> None:
    with (
        breaking_proxy(server.port, delay_s=0.5) as proxy,
        RewasClient(f"127.0.0.1:{proxy.port}", token=server.token) as client,
    ):
        assert client.get_server_info().version


def test_a_later_call_continues_an_upload(server: ServerProcess, folder: Path, tmp_path: Path) -> None:
    sha256 = write_file(tmp_path / "shot.mov", 6 * MIB)

    class Stopped(Exception):
        pass

    def stop(sent_bytes: int, _: int) -> None:
        if sent_bytes >= 4 * MIB:
            raise Stopped

    with server.client() as client:
        with pytest.raises(ProblemError):
            client.upload_media(tmp_path / "shot.mov", on_progress=stop)
        steps: list[int] = []
        assert client.upload_media(tmp_path / "shot.mov", on_progress=lambda done, _: steps.append(done)) == sha256
        assert steps[-1] == 6 * MIB
        assert client.has_media(sha256)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_upload_takes_little_memory(server: ServerProcess, tmp_path: Path) -> None:
    """An interrupted upload of 110 MiB: the server hashes the first part again and receives the rest."""
    sha256 = write_file(tmp_path / "shot.mov", 110 * MIB)

    def stop(sent_bytes: int, _: int) -> None:
        if sent_bytes >= 90 * MIB:
            raise RuntimeError("stop here")

    process = Path(f"/proc/{server.pid}")
    with server.client() as client:
        client.get_server_info()
        (process / "clear_refs").write_text("5")
        before_bytes = memory_bytes(server.pid, "VmRSS")
        with pytest.raises(ProblemError):
            client.upload_media(tmp_path / "shot.mov", on_progress=stop)
        assert client.upload_media(tmp_path / "shot.mov") == sha256
    assert memory_bytes(server.pid, "VmHWM") - before_bytes < 64e6


def test_a_client_that_loses_its_server_gives_up_in_time(tmp_path: Path) -> None:
    write_file(tmp_path / "shot.mov", MIB)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with RewasClient(f"127.0.0.1:{free.getsockname()[1]}") as client, pytest.raises(ServerUnavailable):
            client.upload_media(tmp_path / "shot.mov", reconnect_timeout_s=0.3)


def test_many_clients_send_the_same_content(server: ServerProcess, folder: Path, tmp_path: Path) -> None:
    names = [tmp_path / f"shot {number}{suffix}" for number, suffix in enumerate((".mov", ".mp4", ".MKV", ""))]
    sha256 = write_file(names[0], 5 * MIB)
    for name in names[1:]:
        name.write_bytes(names[0].read_bytes())
    with ThreadPoolExecutor(len(names)) as threads, server.client() as client:
        assert set(threads.map(client.upload_media, names)) == {sha256}
    stored = [path.name for path in (folder / "state" / "uploads").iterdir() if path.name.startswith(sha256)]
    assert sorted(stored) == [sha256, f"{sha256}.client"]


def test_a_client_that_was_overtaken_gets_the_result_of_the_other(server: ServerProcess, tmp_path: Path) -> None:
    """The first one pauses for longer than the server waits while another one sends the same file."""
    sha256 = write_file(tmp_path / "shot.mov", 16 * MIB)
    paused, go_on = threading.Event(), threading.Event()

    def pause(sent_bytes: int, _: int) -> None:
        if sent_bytes >= 8 * MIB:
            paused.set()
            go_on.wait()

    with ThreadPoolExecutor(1) as thread, server.client() as client, server.client() as other:
        first = thread.submit(client.upload_media, tmp_path / "shot.mov", on_progress=pause)
        try:
            paused.wait()
            assert other.upload_media(tmp_path / "shot.mov") == sha256
        finally:
            go_on.set()
        assert first.result() == sha256


def test_wrong_offsets_large_messages_and_too_many_uploads_are_refused(server: ServerProcess, tmp_path: Path) -> None:
    sha256 = write_file(tmp_path / "shot.mov", 6 * MIB)
    with server.channel() as channel:
        stub = rewas_pb2_grpc.RewasServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="Begin at byte 0") as raised:
            stub.UploadMedia(upload_messages(tmp_path / "shot.mov", sha256, None, offset_bytes=7))
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        header = rewas_pb2.UploadHeader(sha256=sha256, size_bytes=6 * MIB)
        large = [rewas_pb2.UploadMediaRequest(header=header), rewas_pb2.UploadMediaRequest(data=bytes(5 * MIB))]
        with pytest.raises(grpc.RpcError, match="limit of UploadMedia") as raised:
            stub.UploadMedia(iter(large))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

        end, started = threading.Event(), [threading.Event() for _ in range(UPLOADS)]

        def stay(number: int) -> Iterator[rewas_pb2.UploadMediaRequest]:
            header = rewas_pb2.UploadHeader(sha256=f"{number:064x}", size_bytes=MIB)
            yield rewas_pb2.UploadMediaRequest(header=header)
            yield rewas_pb2.UploadMediaRequest(data=b"x")
            started[number].set()
            end.wait()

        staying = [stub.UploadMedia.future(stay(number)) for number in range(UPLOADS)]
        with server.client() as client:
            for number in range(UPLOADS):
                started[number].wait()
                # The server has taken them up.
                while not stub.FindMedia(rewas_pb2.FindMediaRequest(sha256=f"{number:064x}")).received_bytes:
                    pass
            with pytest.raises(ProblemError, match=f"{UPLOADS} uploads") as refused:
                client.upload_media(tmp_path / "shot.mov")
            assert refused.value.kind is ProblemKind.RESOURCES
            for call in staying:
                call.cancel()
            end.set()
            for call in staying:
                assert call.cancelled()
            while (problem := refusal_of(client, tmp_path / "shot.mov")) is not None:
                # The server hears of the cancelled calls shortly after.
                assert problem.kind is ProblemKind.RESOURCES, problem
            assert client.has_media(sha256)


def refusal_of(client: RewasClient, path: Path) -> ProblemError | None:
    try:
        client.upload_media(path)
    except ProblemError as problem:
        return problem
    return None


def test_an_upload_survives_the_death_of_the_server(folder: Path, server: ServerProcess, tmp_path: Path) -> None:
    """The last test: it kills the server of the module."""
    # Nothing that clients did above was a surprise to the server.
    assert "Traceback" not in server.log(), server.log()
    sha256 = write_file(tmp_path / "shot.mov", 24 * MIB)
    steps: list[int] = []
    died = threading.Event()

    def kill_midway(done: int, _: int) -> None:
        steps.append(done)
        if done >= 12 * MIB and not died.is_set():
            server.kill()
            died.set()

    with ThreadPoolExecutor(1) as thread, server.client() as client:
        sending = thread.submit(
            client.upload_media, tmp_path / "shot.mov", on_progress=kill_midway, reconnect_timeout_s=300
        )
        died.wait()
        partial = folder / "state" / "uploads" / f"{sha256}.part"
        left_bytes = partial.stat().st_size
        assert left_bytes > 0
        with start(folder, port=server.port):
            assert sending.result() == sha256
    assert hashlib.sha256((folder / "state" / "uploads" / sha256).read_bytes()).hexdigest() == sha256
    assert steps == sorted(set(steps))
    assert steps[-1] == 24 * MIB
    assert not partial.exists()
