"""Packs are loaded on request before their first job."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from load_run import sound_work, write_load_folder
from server_process import ServerProcess

from rewas_api.client import RewasClient
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine.recipes.untrained_starter import write_untrained_pack

pytestmark = pytest.mark.slow
LONG = 1000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packs to load")
    write_load_folder(folder)
    for name in ("second", "third", "damaged"):
        write_untrained_pack(folder / "packs" / name, seed=0)
    weights = next((folder / "packs" / "damaged").glob("**/*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\2\3\4")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[RewasClient]:
    with (
        ServerProcess(folder / "state", [folder / "media"], packs_dir=folder / "packs", default_pack="tiny") as server,
        server.client() as client,
    ):
        yield client


def wait_for_packs(client: RewasClient) -> rewas_pb2.GetServerInfoResponse:
    """The state of the server once its worker runs and loads nothing."""
    while True:
        info = client.get_server_info()
        if info.worker_ready and not info.coming_packs:
            return info
        Event().wait(0.05)


def work(folder: Path, pack: str, steps: int) -> rewas_pb2.SoundWork:
    work = sound_work(folder, steps)
    work.settings.pack = pack
    return work


def test_packs_are_loaded_on_request_and_give_way_to_others(client: RewasClient, folder: Path) -> None:
    assert list(wait_for_packs(client).loaded_packs) == ["tiny"]
    client.load_pack("second")
    assert list(wait_for_packs(client).loaded_packs) == ["second", "tiny"]
    stages: list[int] = []
    job = client.submit(work(folder, "second", 1))
    client.wait(job.id, on_snapshot=lambda job: stages.append(job.stage))
    assert rewas_pb2.STAGE_LOAD not in stages
    client.load_pack("third")
    assert list(wait_for_packs(client).loaded_packs) == ["second", "third"]
    client.load_pack()
    assert "tiny" in wait_for_packs(client).loaded_packs


def test_a_pack_that_cannot_be_loaded_is_reported(client: RewasClient) -> None:
    with pytest.raises(ProblemError, match="missing") as raised:
        client.load_pack("missing")
    assert raised.value.kind is ProblemKind.PACK
    client.load_pack("damaged")
    problem = wait_for_packs(client).load_problem
    assert problem.kind == rewas_pb2.PROBLEM_KIND_PACK
    assert "damaged" in problem.what
    client.load_pack("tiny")
    info = wait_for_packs(client)
    assert not info.HasField("load_problem")
    assert "damaged" not in info.loaded_packs


def test_the_command_waits_until_the_pack_is_loaded(client: RewasClient) -> None:
    command = [sys.executable, "-m", "rewas_cli.main", "packs", "load", "--server", client.address, "--json", "--wait"]
    done = subprocess.run([*command, "--pack", "third"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"name": "third", "state": "loaded"}
    assert "third" in client.get_server_info().loaded_packs
    failed = subprocess.run([*command, "--pack", "missing"], capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert 'No pack is named "missing"' in failed.stderr


def test_a_busy_worker_loads_the_pack_when_no_job_is_left(client: RewasClient, folder: Path) -> None:
    client.load_pack("second")
    client.load_pack("tiny")
    wait_for_packs(client)
    running, waiting = client.submit(work(folder, "tiny", LONG)).id, client.submit(work(folder, "tiny", 1)).id
    next(job for job in client.watch(running) if job.stage == rewas_pb2.STAGE_SAMPLE and job.step > 0)
    client.load_pack("second")
    client.load_pack("third")
    # The later request replaces the one that waits.
    assert list(client.get_server_info().coming_packs) == ["third"]
    assert client.get_job(running).state == rewas_pb2.JOB_STATE_RUNNING
    client.cancel(running)
    assert client.wait(waiting).state == rewas_pb2.JOB_STATE_SUCCEEDED
    assert "third" in wait_for_packs(client).loaded_packs
