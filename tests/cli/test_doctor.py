"""`rewas doctor`: what it finds in a sound installation, and in one with faults."""

from __future__ import annotations

import http.server
import importlib.metadata
import os
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from rewas_command import Rewas

from rewas_api.v1 import rewas_pb2
from rewas_cli import diagnosis
from rewas_cli.diagnosis import OK, PROBLEM, WARNING, Finding, check_installation
from rewas_engine.recordings.library_pack import LibraryTerms, make_library
from rewas_server.config import ServerConfig
from rewas_server.grpc.access import load_token
from rewas_server.jobs import lifecycle
from rewas_server.jobs.backup import copy_database
from rewas_server.jobs.sqlite_store import SqliteJobStore

CHECKS = {
    "python", "packages", "configuration", "pack starter", "device", "media", "state folder", "disk space",
    "permissions", "database", "backups", "token", "server", "blender extension",
}  # fmt: skip


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """The state of a server that has run."""
    config = ServerConfig(state_dir=tmp_path / "state")
    store = SqliteJobStore(config.database_path)
    store.add(lifecycle.create_job("1" * 32, "shot"), rewas_pb2.SubmitJobRequest(idempotency_key="1"))
    store.close()
    load_token(config.token_path)
    config.backups_dir.mkdir(mode=0o700)
    copy_database(config.database_path, config.backups_dir / "jobs-20261130-030000.sqlite3")
    return config.state_dir


@pytest.fixture
def port() -> Iterator[int]:
    """A port on which nothing listens."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture
def find(state_dir: Path, port: int, tmp_path: Path, packs: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the checks with this state and returns the findings by their names."""
    monkeypatch.setenv("REWAS_PACKS", str(packs))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(**settings: object) -> dict[str, Finding]:
        lines = {"state_dir": f'"{state_dir}"', "port": port} | settings
        file = tmp_path / "doctor.toml"
        file.write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
        findings = list(check_installation(file))
        assert all(finding.remedy.endswith(".") or finding.level == OK for finding in findings)
        return {finding.name: finding for finding in findings}

    return run


def test_a_sound_installation_has_no_finding(find: Any) -> None:
    findings = find()
    assert {name: finding for name, finding in findings.items() if finding.level != OK} == {}
    assert findings.keys() >= CHECKS
    assert "Number of jobs: 1." in findings["database"].found


def test_a_damaged_pack_and_a_missing_default_are_found(
    find: Any, packs: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    copy = tmp_path / "packs"
    shutil.copytree(packs, copy)
    weights = next((copy / "starter").glob("*/*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    monkeypatch.setenv("REWAS_PACKS", str(copy))
    findings = find(default_pack='"foley"')
    assert findings["pack starter"].level == PROBLEM
    assert weights.name in findings["pack starter"].found
    assert findings["pack foley"].level == PROBLEM


def test_recordings_that_vanished_are_found(find: Any, packs: Path, tmp_path: Path, monkeypatch: Any) -> None:
    for number, folder in enumerate(("steps", "doors")):
        (tmp_path / folder).mkdir()
        sound = np.random.default_rng(number).normal(0, 0.1, 16_000)
        soundfile.write(tmp_path / folder / "x.wav", sound, 16_000)
    folders = [tmp_path / "steps", tmp_path / "doors"]
    output = tmp_path / "packs" / "own"
    make_library(folders, output, LibraryTerms(), lambda words: np.ones((len(words), 2)))
    monkeypatch.setenv("REWAS_PACKS", os.pathsep.join((str(packs), str(output.parent))))
    name = "recordings of own"
    assert find()[name] == Finding(name, OK, "All 2 recordings are in place.")
    (tmp_path / "steps" / "x.wav").unlink()
    found = find()[name]
    assert found.level == WARNING
    assert "1 of 2 recordings are missing or have changed." in found.found
    assert f"{tmp_path / 'steps' / 'x.wav'}: it is missing." in found.found
    (tmp_path / "doors").rename(tmp_path / "gone")
    found = find()[name]
    assert found.level == PROBLEM
    assert f"The folder {tmp_path / 'doors'} with 1 recording does not exist." in found.found


def test_faults_of_the_state_folder_are_found(find: Any, state_dir: Path) -> None:
    (state_dir / "jobs.sqlite3").chmod(0o644)
    for path in (state_dir / "backups").iterdir():
        os.utime(path, (time.time() - 10 * 86_400,) * 2)
    with sqlite3.connect(state_dir / "jobs.sqlite3") as connection:
        connection.execute(
            "INSERT INTO set_aside (set_aside_at_ms, reason, job_id, state, snapshot, result, request)"
            " VALUES (1, 'damaged', 'x', 1, x'', x'', x'')"
        )
    connection.close()
    (state_dir / "token").chmod(0o640)
    findings = find()
    levels = {name: findings[name].level for name in ("permissions", "backups", "set-aside jobs", "token")}
    assert levels == {
        "permissions": PROBLEM, "backups": WARNING, "set-aside jobs": WARNING, "token": PROBLEM,
    }  # fmt: skip
    assert "jobs.sqlite3 (644)" in findings["permissions"].found


def test_a_damaged_database_is_found(find: Any, state_dir: Path) -> None:
    path = state_dir / "jobs.sqlite3"
    data = bytearray(path.read_bytes())
    data[4096:8192] = os.urandom(4096)
    path.write_bytes(data)
    assert find()["database"].level == PROBLEM
    path.write_bytes(b"not a database" * 100)
    assert find()["database"].level == PROBLEM


def test_the_content_store_is_checked(find: Any, tmp_path: Path) -> None:
    url = str(tmp_path / "shared")
    assert find(content_store=f'"{url}"')["content store"] == Finding(
        "content store", OK, f"{url} stores, returns and deletes files."
    )
    assert list((tmp_path / "shared").iterdir()) == []
    (tmp_path / "file").touch()
    assert find(content_store=f'"{tmp_path}/file"')["content store"].level == PROBLEM


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a server that answers as the application on a cluster does."""

    class Gate(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_allowed = self.headers.get("Authorization") == "Bearer correct-horse"
            self.send_response(200 if is_allowed and self.path == "/ready" else 401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(b'{"replicas": 1, "problem": ""}')

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Gate) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_cluster_is_checked(find: Any, cluster: str, port: int, tmp_path: Path) -> None:
    token_file = tmp_path / "cluster-token"
    token_file.write_text("correct-horse\n")
    settings = {"backend": '"ray"', "content_store": f'"{tmp_path}/shared"', "ray_token_file": f'"{token_file}"'}
    url = f'"{cluster}"'
    assert find(**settings, ray_url=url)["cluster"] == Finding("cluster", OK, f"The cluster at {cluster} takes jobs.")
    unused = find(**settings, ray_url=f'"http://127.0.0.1:{port}"')["cluster"]
    assert (unused.level, unused.found) == (
        PROBLEM, f"The cluster at http://127.0.0.1:{port} does not answer (ClientConnectorError)."
    )  # fmt: skip
    token_file.write_text("wrong")
    assert "refuses the token" in find(**settings, ray_url=url)["cluster"].found
    token_file.unlink()
    missing = find(**settings, ray_url=url)["cluster"]
    assert missing.level == PROBLEM
    assert str(token_file) in missing.found
    assert "cluster" not in find()


def test_a_cluster_on_this_machine_needs_ray(find: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "ray":
            raise importlib.metadata.PackageNotFoundError
        return known(name)

    known = importlib.metadata.version
    assert find(backend='"ray"')["cluster"].found == f"The server starts Ray {known('ray')} on this machine."
    monkeypatch.setattr(importlib.metadata, "version", version)
    assert find(backend='"ray"')["cluster"].remedy.startswith('Run `pip install "rewas-nle[ray]"`')


def test_too_little_space_is_a_problem(find: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "TOO_LITTLE_SPACE_BYTES", 10**18)
    monkeypatch.setattr(diagnosis, "LOW_SPACE_BYTES", 10**18)
    assert find()["disk space"].level == PROBLEM


def test_a_port_of_another_program_is_found(find: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        finding = find(port=other.getsockname()[1])["server"]
    assert finding.level == PROBLEM


def test_the_extension_of_blender_must_have_the_same_version(find: Any, tmp_path: Path) -> None:
    manifest = tmp_path / "config" / "blender" / "4.5" / "extensions" / "user_default" / "rewas_nle"
    manifest.mkdir(parents=True)
    (manifest / "blender_manifest.toml").write_text('version = "0.0.1"\n')
    finding = find()["blender extension"]
    assert finding.level == PROBLEM
    assert "0.0.1" in finding.found
    (manifest / "blender_manifest.toml").write_text("version = \n")
    assert find()["blender extension"].level == PROBLEM


def test_a_mistake_in_the_configuration_does_not_stop_the_other_checks(find: Any) -> None:
    findings = find(prot=1)
    assert findings["configuration"].level == PROBLEM
    assert "`prot`" in findings["configuration"].found
    assert findings["media"].level == OK


def test_missing_and_old_packages_are_named(find: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["numpy<1", "no-such-package>=2", 'unused-here; extra == "plots"']
    monkeypatch.setattr("importlib.metadata.requires", lambda name: needed)
    finding = find()["packages"]
    assert finding.level == PROBLEM
    assert "no-such-package is missing" in finding.found
    assert "numpy is" in finding.found
    assert "unused-here" not in finding.found


@pytest.mark.slow
def test_the_command_generates_a_sound_and_exits_with_1_after_a_problem(
    rewas: Rewas, tmp_path: Path, port: int
) -> None:
    file = tmp_path / "doctor.toml"
    file.write_text(f'state_dir = "{tmp_path / "state"}"\nport = {port}\n')
    report = rewas("doctor", "--full", "--config", file, "--json")
    assert report.code == 0, report.output
    findings = {each["name"]: each for each in report.json()["findings"]}
    assert "generating a second of sound" in findings["generation"]["found"]
    file.write_text("prot = 1\n")
    broken = rewas("doctor", "--config", file)
    assert broken.code == 1
    assert "problem  configuration: " in broken.output
    assert "Problems: 1" in broken.output
