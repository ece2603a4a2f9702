"""A server that is killed at any step of an upload or of retention leaves no half file and misses none."""

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import killed_at_steps
import pytest
from killed_at_steps import CONTENT, run_retention

from rewas_api.v1 import rewas_pb2
from rewas_server.files.uploads import UploadLimits, UploadStore
from rewas_server.jobs import lifecycle
from rewas_server.jobs.sqlite_store import SqliteJobStore


def states_after_kills(case: str, folder: Path) -> list[Path]:
    """Return the states after each kill, and that after the whole work."""
    # Another process, because this one may have threads, which a fork does not copy.
    run = subprocess.run(
        [sys.executable, killed_at_steps.__file__, case, str(folder)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return [folder / str(step) for step in range(1, int(run.stdout) + 1)]


@pytest.fixture(scope="module")
def upload_states(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return states_after_kills("upload", tmp_path_factory.mktemp("uploads"))


@pytest.fixture(scope="module")
def retention_states(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return states_after_kills("retention", tmp_path_factory.mktemp("retention"))


def test_a_killed_upload_is_complete_or_can_be_resumed(upload_states: list[Path]) -> None:
    assert len(upload_states) > 10
    sha256 = hashlib.sha256(CONTENT).hexdigest()

    async def messages(offset_bytes: int) -> AsyncIterator[rewas_pb2.UploadMediaRequest]:
        header = rewas_pb2.UploadHeader(sha256=sha256, size_bytes=len(CONTENT), offset_bytes=offset_bytes)
        yield rewas_pb2.UploadMediaRequest(header=header)
        yield rewas_pb2.UploadMediaRequest(data=CONTENT[offset_bytes:])

    async def resume(folder: Path) -> None:
        store = UploadStore(folder, UploadLimits(10**6, 10**6, 10**6))
        found = await store.find(sha256)
        complete.append(found.present)
        if found.present:
            assert (folder / sha256).read_bytes() == CONTENT
        else:
            assert not (folder / sha256).exists()
            assert 5000 <= found.received_bytes <= len(CONTENT)
            assert (folder / f"{sha256}.part").read_bytes() == CONTENT[: found.received_bytes]
        await store.receive(messages(found.received_bytes), "ada")
        assert (folder / sha256).read_bytes() == CONTENT
        assert {path.name for path in folder.iterdir()} == {sha256, f"{sha256}.client"}

    complete: list[bool] = []
    for folder in upload_states:
        asyncio.run(resume(folder))
    # The kills came before and after the file got its name.
    assert complete == sorted(complete)
    assert set(complete) == {False, True}


def test_killed_retention_misses_no_file_and_is_completed(retention_states: list[Path]) -> None:
    assert len(retention_states) > 30
    expected = summary(retention_states[-1])
    assert expected[0]["job 3"], "the pass deletes the stems of this job"
    seen = set()
    for folder in retention_states:
        check_files(folder)
        seen.add(repr(summary(folder)))
        run_retention(folder)
        check_files(folder)
        assert summary(folder) == expected
    # The kills came in different states of the work.
    assert len(seen) > 20


def check_files(folder: Path) -> None:
    """Check that whatever the store promises is there."""
    store = SqliteJobStore(folder / "jobs.sqlite3")
    for job in store.list_stored():
        files = {path.name: path.stat().st_size for path in (folder / "artifacts" / job.id).glob("*")}
        if not job.files_deleted and job.id != "film":
            assert files == {"a.wav": 250, "b.wav": 250}, job.id
        if job.state not in lifecycle.FINAL_STATES:
            for sha256 in store.request(job.id).sound.uploaded_media.values():
                assert (folder / "uploads" / sha256).is_file()
    store.close()
    for path in (folder / "uploads").iterdir():
        if not path.suffix:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def summary(folder: Path) -> tuple[dict[str, bool], list[str]]:
    """Return the jobs, whether their files are deleted, and all other files."""
    store = SqliteJobStore(folder / "jobs.sqlite3")
    jobs = {job.id: job.files_deleted for job in store.list_stored()}
    store.close()
    files = (path for part in ("artifacts", "uploads") for path in (folder / part).rglob("*"))
    return jobs, sorted(str(path.relative_to(folder)) for path in files)
