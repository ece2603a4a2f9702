"""Who may call a server: the holder of its token, which clients of the same user find by themselves."""

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import platformdirs
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from server_process import ServerProcess

from rewas_api.access import (
    AUTHORIZATION_KEY,
    TokenSource,
    announced_token_path,
    default_state_folder,
    read_token_file,
)
from rewas_api.client import RewasClient
from rewas_api.errors import ProblemError, ProblemKind, ServerUnavailable
from rewas_api.v1 import rewas_pb2, rewas_pb2_grpc
from rewas_server.grpc.access import load_token

METHODS = list(rewas_pb2.DESCRIPTOR.services_by_name["RewasService"].methods)
SERVICE = "rewas.v1.RewasService"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("state"), loads_pack=False) as server:
        yield server


def code_of(call: Any) -> grpc.StatusCode:
    """The status of a call. A refusal that took the call's request would have waited for it."""
    try:
        response = call()
        if hasattr(response, "__next__"):
            next(response)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def metadata_without_access(token: str) -> list[tuple[tuple[str, str], ...]]:
    key = AUTHORIZATION_KEY
    wrong = ["", token, f"Bearer {token[:-1]}", f"Bearer {token}x", f"bearer {token}", f"Bearer  {token}", "Bearer "]
    values = [((key, value),) for value in wrong]
    return [(), *values, ((key, f"Bearer {token}"), (key, f"Bearer {token}")), (("token", token),)]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_needs_the_token(server: ServerProcess, method: Any) -> None:
    with grpc.insecure_channel(server.address) as channel:
        kind = "stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary"
        call = getattr(channel, "_".join(kind))(f"/{SERVICE}/{method.name}")
        for metadata in metadata_without_access(server.token):
            # The bytes are not a message: a server that parses them first answers with another code.
            request = iter([b"\xff\xff"]) if method.client_streaming else b"\xff\xff"
            refused = code_of(lambda request=request, metadata=metadata: call(request, metadata=metadata, timeout=10))
            assert refused is grpc.StatusCode.UNAUTHENTICATED, metadata


def test_a_refused_call_is_answered_before_its_request_arrives(server: ServerProcess) -> None:
    def never() -> Iterator[bytes]:
        yield b""
        while True:
            yield b"\0" * 1000

    with grpc.insecure_channel(server.address) as channel:
        call = channel.stream_unary(f"/{SERVICE}/UploadMedia")
        assert code_of(lambda: call(never(), timeout=10)) is grpc.StatusCode.UNAUTHENTICATED


def test_only_the_health_service_is_open(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
        assert next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=10)).status == 1
        # No reflection: a server does not list its methods.
        for name in ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"):
            call = channel.stream_stream(f"/{name}/ServerReflectionInfo")
            assert code_of(lambda call=call: next(call(iter([b""]), timeout=10))) is grpc.StatusCode.UNIMPLEMENTED


def test_token_files_are_private_and_long(server: ServerProcess) -> None:
    state_dir = server.state_dir
    announced = announced_token_path(server.port)
    for path in (state_dir / "token", announced):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert read_token_file(announced) == read_token_file(state_dir / "token")
    assert len(server.token) >= 43  # 256 bits


def test_clients_find_the_token_by_themselves(server: ServerProcess) -> None:
    for host in ("127.0.0.1", "localhost"):
        with RewasClient(f"{host}:{server.port}") as client:
            client.get_server_info()


def test_a_client_without_the_token_says_where_it_looked(
    server: ServerProcess, monkeypatch: Any, tmp_path: Any
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with server.client() as client, pytest.raises(ProblemError, match=f"{server.port}.token does not exist") as raised:
        client.get_server_info()
    assert raised.value.kind is ProblemKind.ACCESS
    with RewasClient(server.address, token="wrong") as client, pytest.raises(ProblemError, match="refuses the token"):
        list(client.watch("job"))


def test_the_given_token_goes_before_that_of_the_environment(server: ServerProcess, monkeypatch: Any) -> None:
    monkeypatch.setenv("REWAS_TOKEN", "wrong")
    with server.client() as client, pytest.raises(ProblemError, match="refuses the token"):
        client.get_server_info()
    with RewasClient(server.address, token=server.token) as client:
        client.get_server_info()
    monkeypatch.setenv("REWAS_TOKEN", server.token)
    monkeypatch.setenv("XDG_STATE_HOME", "/nowhere")
    with server.client() as client:
        client.get_server_info()


def test_a_client_goes_on_after_a_restart_with_another_token(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "first", loads_pack=False) as first, first.client() as client:
        client.get_server_info()
        first.stop()
        assert not announced_token_path(first.port).exists()
        with ServerProcess(tmp_path / "second", port=first.port, loads_pack=False) as second:
            assert second.token != read_token_file(tmp_path / "first" / "token")
            with pytest.raises(ProblemError, match="nonsense") as raised:
                next(client.watch("nonsense"))
            assert raised.value.kind is ProblemKind.NOT_FOUND
            client.get_server_info()


def test_the_token_of_a_state_folder_stays(tmp_path: Path) -> None:
    token = load_token(tmp_path / "state" / "token")
    assert load_token(tmp_path / "state" / "token") == token
    assert load_token(tmp_path / "other" / "token") != token


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o777])
def test_a_token_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text("secret")
    path.chmod(mode)
    for read in (read_token_file, load_token):
        with pytest.raises(ProblemError, match="open to others") as raised:
            read(path)
        assert raised.value.kind is ProblemKind.ACCESS
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "\n", "two words\nand a line", "é", "x" * 513, "\0"])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ProblemError, match="does not hold a token"):
        read_token_file(path)


def test_links_and_pipes_are_not_token_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("secret")
    (tmp_path / "file").chmod(0o600)
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "pipe"):
        with pytest.raises(ProblemError, match="regular file"):
            read_token_file(tmp_path / name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_the_token_is_not_sent_to_a_program_of_another_user(tmp_path: Path) -> None:
    """A port that our server has left is taken by somebody else, who would learn the token."""
    code = "import os, socket, sys; os.setuid(65534); s = socket.create_server(('127.0.0.1', 0)); "
    code += "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin is not None
    assert other.stdout is not None
    try:
        port = int(other.stdout.readline())
        path = announced_token_path(port)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_text("secret")
        with pytest.raises(ProblemError, match="Another user's program"):
            TokenSource(f"127.0.0.1:{port}").metadata()
        path.unlink()
    finally:
        other.stdin.close()
        other.wait()


def test_a_token_never_leaves_this_machine_unencrypted() -> None:
    with pytest.raises(ProblemError) as raised:
        RewasClient("192.0.2.7:50071", token="secret")
    assert raised.value.kind is ProblemKind.PERMISSION
    assert TokenSource("192.0.2.7:50071").metadata() == ()


def test_no_server_is_not_a_problem_of_the_token(tmp_path: Path) -> None:
    with RewasClient("127.0.0.1:1", timeout_s=5) as client, pytest.raises(ServerUnavailable, match="rewas serve"):
        client.get_server_info()


def test_the_state_folder_is_that_of_the_platform() -> None:
    assert default_state_folder() == platformdirs.user_state_path("rewas")


def test_a_client_of_an_older_contract_needs_no_token_to_learn_its_age(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/rewas.v1.Rewas/GetServerInfo")
        assert code_of(lambda: call(b"", timeout=10)) is grpc.StatusCode.UNIMPLEMENTED


def test_the_server_refuses_a_token_file_that_is_open_to_others(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    path = tmp_path / "state" / "token"
    path.write_text("known to all")
    path.chmod(0o644)
    assert "open to others" in ServerProcess(tmp_path / "state").refusal


def test_stubs_with_the_token_are_served(server: ServerProcess) -> None:
    with server.channel() as channel:
        stub = rewas_pb2_grpc.RewasServiceStub(channel)
        assert stub.GetServerInfo(rewas_pb2.GetServerInfoRequest(), timeout=10).reads_project_folders


def test_closing_a_client_in_the_middle_of_a_call_is_reported_as_such(server: ServerProcess) -> None:
    """The add-on closes its clients from another thread, at any time."""
    for pause_s in (0.0, 0.0005, 0.001, 0.002, 0.004):
        client = RewasClient(server.address)
        closing = threading.Timer(pause_s, client.close)
        closing.start()
        with pytest.raises(ServerUnavailable):
            call_for_ever(client)
        closing.join()


def call_for_ever(client: RewasClient) -> None:
    while True:
        client.get_server_info()
