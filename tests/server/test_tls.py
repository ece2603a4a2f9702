"""A server that other machines may reach: TLS and a token, or it does not start."""

import asyncio
import dataclasses
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from server_process import ServerProcess

from rewas_api.client import RewasClient
from rewas_api.errors import ProblemError, ProblemKind, ServerUnavailable
from rewas_api.v1 import rewas_pb2
from rewas_server.config import ServerConfig
from rewas_server.grpc.certificates import Certificate, make_certificate, server_credentials
from rewas_server.grpc.security import abort, hide_paths, refuse_remote_project_folders


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate. Tests listen on loopback only, so the name in it is that of this machine."""
    config = ServerConfig(host="0.0.0.0", state_dir=tmp_path_factory.mktemp("made"))
    return make_certificate(config, ["studio.local", "192.0.2.7", "2001:db8::1"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, made: Certificate) -> Iterator[ServerProcess]:
    settings = {"certificate": str(made.path), "private_key": str(made.key_path)}
    with ServerProcess(tmp_path_factory.mktemp("state"), settings=settings, loads_pack=False) as server:
        yield server


def test_the_key_is_private_and_the_certificate_names_its_hosts(made: Certificate) -> None:
    for path in (made.path, made.key_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    decoded = ssl._ssl._test_decode_cert(str(made.path))  # type: ignore[attr-defined]
    names = {name for _, name in decoded["subjectAltName"]}
    assert {"studio.local", "localhost", "127.0.0.1", "192.0.2.7", socket.gethostname()} <= names
    assert "0.0.0.0" not in names
    assert re.fullmatch("([0-9A-F]{2}:){31}[0-9A-F]{2}", made.fingerprint)


def test_a_certificate_is_never_overwritten(made: Certificate) -> None:
    before = made.path.read_bytes()
    with pytest.raises(ProblemError, match="There is already a certificate"):
        make_certificate(ServerConfig(state_dir=made.path.parent))
    assert made.path.read_bytes() == before


def test_a_name_that_no_certificate_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProblemError, match="münchen") as raised:
        make_certificate(ServerConfig(state_dir=tmp_path), ["münchen"])
    assert raised.value.kind is ProblemKind.SETTINGS
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "studio.local", "127.0.0.1.studio.local", "[::]"])
def test_no_other_address_is_served_without_tls(tmp_path: Path, host: str) -> None:
    config = ServerConfig(host=host, state_dir=tmp_path)
    with pytest.raises(ProblemError, match="no TLS certificate") as raised:
        server_credentials(config)
    assert "--make-cert" in raised.value.remedy
    assert f"--host {host}" in raised.value.remedy
    make_certificate(config)
    assert server_credentials(config) is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_is_served_without_tls(tmp_path: Path, host: str) -> None:
    assert server_credentials(ServerConfig(host=host, state_dir=tmp_path)) is None


def test_a_server_without_a_certificate_does_not_start(tmp_path: Path) -> None:
    refusal = ServerProcess(tmp_path / "state", settings={"host": "0.0.0.0"}).refusal
    assert "rewas serve --host 0.0.0.0 --make-cert" in refusal


def test_a_key_that_others_can_read_and_half_a_pair_are_refused(made: Certificate, tmp_path: Path) -> None:
    key = Path(shutil.copy(made.key_path, tmp_path / "key.pem"))
    config = ServerConfig(certificate=made.path, private_key=key)
    assert server_credentials(config) is not None
    key.chmod(0o640)
    with pytest.raises(ProblemError, match="open to other users") as raised:
        server_credentials(config)
    assert raised.value.kind is ProblemKind.ACCESS
    key.chmod(0o600)
    wrong = [{"private_key": None}, {"certificate": None}, {"certificate": key}, {"certificate": tmp_path / "no.pem"}]
    for change in wrong:
        with pytest.raises(ProblemError) as raised:
            server_credentials(dataclasses.replace(config, **change))
        assert raised.value.kind is ProblemKind.SETTINGS


def test_a_client_with_certificate_and_token_is_served(server: ServerProcess, made: Certificate) -> None:
    for host in ("127.0.0.1", "localhost"):
        with RewasClient(f"{host}:{server.port}", certificate=made.path, token=server.token) as client:
            assert client.get_server_info().version


def test_the_token_is_needed_under_tls_too(server: ServerProcess, made: Certificate) -> None:
    with RewasClient(server.address, certificate=made.path, token="wrong") as client:
        with pytest.raises(ProblemError) as raised:
            client.get_server_info()
        assert raised.value.kind is ProblemKind.ACCESS


def test_a_client_without_encryption_is_not_served(server: ServerProcess) -> None:
    with server.client() as client, pytest.raises(ServerUnavailable):
        client.get_server_info()


def test_a_client_trusts_no_other_certificate(server: ServerProcess, tmp_path: Path) -> None:
    other = make_certificate(ServerConfig(state_dir=tmp_path))
    with (
        RewasClient(server.address, certificate=other.path, token=server.token) as client,
        pytest.raises(ServerUnavailable),
    ):
        client.get_server_info()


def test_a_client_needs_a_certificate_to_leave_this_machine(made: Certificate, tmp_path: Path) -> None:
    with pytest.raises(ProblemError) as raised:
        RewasClient("studio.local:50071")
    assert raised.value.kind is ProblemKind.PERMISSION
    assert "certificate" in raised.value.remedy
    RewasClient("studio.local:50071", certificate=made.path).close()
    with pytest.raises(ProblemError, match="cannot be read"):
        RewasClient("studio.local:50071", certificate=tmp_path / "no.pem")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_of_tls_are_refused(server: ServerProcess) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(connection)


def test_clients_on_other_machines_name_no_project_folders() -> None:
    request = rewas_pb2.SubmitJobRequest(project_folders=["/films"])
    refuse_remote_project_folders(request, SimpleNamespace(peer=lambda: "ipv4:127.0.0.1:40000"))
    for peer in ("ipv4:192.0.2.7:40000", "ipv6:%5B2001:db8::1%5D:40000", "unknown"):
        with pytest.raises(ProblemError, match="another machine") as raised:
            refuse_remote_project_folders(request, SimpleNamespace(peer=lambda peer=peer: peer))
        assert raised.value.kind is ProblemKind.PERMISSION


def test_clients_on_other_machines_get_no_paths() -> None:
    state_dir = Path("/srv/rewas")
    stem = {"artifact": {"name": "a.wav", "path": "/srv/rewas/artifacts/1/a.wav", "size_bytes": 7}}
    clip = {"name": "shot", "path": "/films/a.mov"}
    sound = rewas_pb2.SoundResult(clip=clip, takes=[{"seed": 7, "stems": [stem]}], conflict={"clip": clip})
    sound.requested_energy.values.append(1.5)
    jobs = [
        rewas_pb2.Job(id="1", sound=sound),
        rewas_pb2.Job(id="2", energy={"clip": clip}),
        rewas_pb2.Job(id="3", conflict={"clip": clip}),
        rewas_pb2.Job(id="4", timeline={"clips": [{"name": "a", "sound": sound}], "file": stem["artifact"]}),
        rewas_pb2.Job(id="5", problem={"what": "/srv/rewas/uploads/1 is torn.", "remedy": "See /srv/rewas."}),
        rewas_pb2.Job(id="6", waiting_reason="The disk of /srv/rewas is full."),
    ]
    listed = rewas_pb2.ListJobsResponse(jobs=jobs)
    hide_paths(listed, state_dir)
    assert "/srv" not in str(listed)
    assert "/films" not in str(listed)
    kept = listed.jobs[0].sound
    assert (kept.clip.name, kept.takes[0].stems[0].artifact.size_bytes) == ("shot", 7)
    assert list(kept.requested_energy.values) == [1.5]
    assert listed.jobs[4].problem.what == "uploads/1 is torn."
    assert jobs[0].sound == sound, "the snapshot of the other watchers"


class _Call:
    """The part of a context that CallFrame needs. Aborting raises the sentence that the client gets."""

    def __init__(self, peer: str) -> None:
        self.peer = lambda: peer

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: object = ()) -> None:
        raise RuntimeError(details)


def test_errors_for_clients_on_other_machines_name_no_paths() -> None:
    full = ProblemError("The disk with /srv/rewas/jobs.sqlite3 is full.", "Free some space.", ProblemKind.RESOURCES)
    sentences = {"ipv4:192.0.2.7:40000": "with jobs.sqlite3 is", "ipv4:127.0.0.1:40000": "/srv/rewas/jobs"}
    for peer, sentence in sentences.items():
        with pytest.raises(RuntimeError, match=sentence):
            asyncio.run(abort(_Call(peer), full, "GetJob", Path("/srv/rewas")))


def test_grpc_checks_the_name_of_the_server(server: ServerProcess, made: Certificate) -> None:
    credentials = grpc.ssl_channel_credentials(made.path.read_bytes())
    for name, is_served in (("studio.local", True), ("other.local", False)):
        options = [("grpc.ssl_target_name_override", name)]
        with grpc.secure_channel(server.address, credentials, options=options) as channel:
            ready = grpc.channel_ready_future(channel)
            if is_served:
                ready.result(20)
            else:
                with pytest.raises(grpc.FutureTimeoutError):
                    ready.result(2)


@pytest.mark.slow
def test_the_command_reaches_a_server_with_its_certificate_and_token(
    server: ServerProcess, made: Certificate, tmp_path: Path
) -> None:
    token_file = tmp_path / "token"
    token_file.touch(mode=0o600)
    token_file.write_text(server.token)

    def status(*access: object) -> subprocess.CompletedProcess[str]:
        # Another user, who finds no token on this machine.
        environment = os.environ | {"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}
        command = [sys.executable, "-m", "rewas_cli.main", *map(str, access), "status", "--once"]
        command += ["--server", f"localhost:{server.port}", "--json"]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    reached = status("--certificate", made.path, "--token-file", token_file)
    assert reached.returncode == 0, reached.stderr
    without_token = status("--certificate", made.path)
    assert "requires a token" in without_token.stdout
    token_file.chmod(0o644)
    open_to_others = status("--certificate", made.path, "--token-file", token_file)
    assert "open to others" in open_to_others.stdout
    assert server.token not in open_to_others.stdout + without_token.stdout + reached.stdout


@pytest.mark.slow
def test_the_command_makes_a_certificate_that_the_server_then_uses(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rewas_cli.main", "serve", "--make-cert", "--state-dir", str(tmp_path / "state")]
    made = subprocess.run([*command, "--cert-name", "studio.local"], capture_output=True, text=True, check=True)
    assert "SHA-256 fingerprint: " in made.stdout
    assert "studio.local" in made.stdout
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "There is already a certificate" in again.stderr
    assert server_credentials(ServerConfig(host="studio.local", state_dir=tmp_path / "state")) is not None
