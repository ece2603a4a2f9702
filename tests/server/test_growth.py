"""The front process does not grow with the number of requests, and a leak that is planted in it is noticed.

The same measurement passes for an unchanged server, and fails for each kind of request if the server keeps the
requests and leaves a file open for each of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from load_run import flat_energy_work, write_load_folder
from server_process import ServerProcess, memory_bytes

from rewas_api.client import RewasClient
from rewas_api.v1 import rewas_pb2

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]

LEAKS = """
import os
from rewas_server.grpc import call_frame
kept = []
answer, decode = call_frame.CallFrame._answer, call_frame.decode

async def keep_call(self, handler, name, context):
    kept.append(context)
    os.open(os.devnull, os.O_RDONLY)
    return await answer(self, handler, name, context)

def keep_message(deserialize, data):
    message = decode(deserialize, data)
    kept.append((message, data))
    return message

call_frame.CallFrame._answer, call_frame.decode = keep_call, keep_message
"""
ROUNDS = 2
PADDING = "x" * 200_000
"""Metadata of each clip, which makes a kept request visible in the memory."""
GROWTH_FILES = 4


@dataclass(frozen=True)
class Growth:
    """How much more the front process holds after the last round than after the first one."""

    memory_bytes: int
    files: int


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("growth") / "run"
    write_load_folder(folder)
    return folder


@contextmanager
def start(folder: Path, fault: str = "") -> Iterator[tuple[ServerProcess, RewasClient]]:
    state_dir = folder / f"state {len(fault)}"
    with pytest.MonkeyPatch.context() as patch:
        # Otherwise the memory that the allocator keeps depends on the number of threads.
        patch.setenv("MALLOC_ARENA_MAX", "1")
        started = ServerProcess(
            state_dir,
            [folder / "media"],
            packs_dir=folder / "packs",
            default_pack="tiny",
            settings={"upload_limit_bytes": 10**6},
            fault=fault,
        )
    with started as server, RewasClient(server.address, timeout_s=60) as client:
        client.cancel(client.submit(flat_energy_work(folder)).id)
        yield server, client


def submit_and_cancel(client: RewasClient, folder: Path) -> None:
    for _ in range(15):
        client.cancel(client.submit(padded_work(folder)).id)


def run_energies(client: RewasClient, folder: Path) -> None:
    for job in [client.submit(padded_work(folder)) for _ in range(8)]:
        client.wait(job.id)


def padded_work(folder: Path) -> rewas_pb2.EnergyWork:
    work = flat_energy_work(folder)
    work.clip_otio_json = work.clip_otio_json.replace('"metadata": {}', f'"metadata": {{"a": "{PADDING}"}}', 1)
    assert PADDING in work.clip_otio_json
    return work


def list_jobs(client: RewasClient, folder: Path) -> None:
    for _ in range(300):
        next(client.list_jobs(page_size=5))


def watch(client: RewasClient, folder: Path) -> None:
    job = next(client.list_jobs(page_size=1))
    for _ in range(200):
        *_, last = client.watch(job.id)
        assert last.id == job.id


def upload(client: RewasClient, folder: Path) -> None:
    path = folder / "upload.mov"
    for _ in range(6):
        path.write_bytes(os.urandom(500_000))
        client.upload_media(path)


@dataclass(frozen=True)
class Kind:
    """Requests of one kind.

    Attributes:
        act: Makes a round of them.
        growth_bytes: What a sound server may keep after the first round: SQLite's cache, for example.
    """

    act: Callable[[RewasClient, Path], None]
    growth_bytes: int


KINDS = {
    # The small ones first: after large requests, the allocator returns memory at any time.
    "list": Kind(list_jobs, 300_000),
    "watch": Kind(watch, 300_000),
    "submit and cancel": Kind(submit_and_cancel, 4_500_000),
    "energy": Kind(run_energies, 3_000_000),
    "upload": Kind(upload, 3_000_000),
}


def measure(server: ServerProcess, client: RewasClient, folder: Path, kind: Kind) -> Growth:
    """Run one round to warm up, and measure the growth over the others."""

    def run_round() -> tuple[int, int]:
        kind.act(client, folder)
        open_files = list(Path(f"/proc/{server.pid}/fd").iterdir())
        return memory_bytes(server.pid, "VmRSS"), len(open_files)

    first = run_round()
    for _ in range(ROUNDS):
        last = run_round()
    return Growth(last[0] - first[0], last[1] - first[1])


def test_a_sound_server_does_not_grow(folder: Path) -> None:
    with start(folder) as (server, client):
        growths = {name: measure(server, client, folder, kind) for name, kind in KINDS.items()}
    for name, growth in growths.items():
        assert growth.memory_bytes < KINDS[name].growth_bytes, (name, growths)
        assert growth.files <= GROWTH_FILES, (name, growths)


def test_planted_leaks_are_noticed_for_each_kind_of_request(folder: Path) -> None:
    with start(folder, LEAKS) as (server, client):
        growths = {name: measure(server, client, folder, kind) for name, kind in KINDS.items()}
    for name, growth in growths.items():
        assert growth.memory_bytes >= KINDS[name].growth_bytes, (name, growths)
        assert growth.files > GROWTH_FILES, (name, growths)
