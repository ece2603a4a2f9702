"""Does a piece of work in a child process that is killed before the first change it makes on the disk, then in another
one before the second, and so on.

`python killed_at_steps.py CASE FOLDER` prints how often that was, and leaves the state after each kill in a folder with
the number of the step; the last one is the state after the whole work.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import os
import shutil
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NoReturn

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.files.uploads import PartialUpload, Shortage, UploadLimits, UploadStore
from rewas_server.jobs import lifecycle
from rewas_server.jobs.retention import Retention, RetentionLimits
from rewas_server.jobs.sqlite_store import SqliteJobStore

CONTENT = bytes(range(256)) * 40
NOW_S = 2_000_000_000.0
DAY_S = 24 * 3600


CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.utime", "open"}
"""Audit events of calls that change the disk."""


def is_killed_at(step: int, work: Callable[[], None]) -> bool:
    """Do the work in a child that is killed at this step. Returns whether there was such a step."""
    child = os.fork()
    if child == 0:
        _work_until(step, work)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, f"the work failed at step {step}"
    return False


def _work_until(step: int, work: Callable[[], None]) -> NoReturn:
    done = 0

    def take_step() -> None:
        nonlocal done
        done += 1
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES and (event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            take_step()

    # Calls without an event. A transaction of the store is one step: the store's own tests kill it in between.
    for owner, name in (
        (os, "fsync"),
        (PartialUpload, "append"),
        (SqliteJobStore, "update"),
        (SqliteJobStore, "delete"),
    ):
        _step_before_and_after(owner, name, take_step)
    sys.addaudithook(listen)
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _step_before_and_after(owner: Any, name: str, take_step: Callable[[], None]) -> None:
    call = getattr(owner, name)

    @functools.wraps(call)
    def wrapped(*args: Any, **options: Any) -> Any:
        take_step()
        result = call(*args, **options)
        take_step()
        return result

    setattr(owner, name, wrapped)


def prepare_upload(folder: Path) -> None:
    """An upload that was interrupted after 5000 bytes."""
    header = rewas_pb2.UploadHeader(sha256=hashlib.sha256(CONTENT).hexdigest(), size_bytes=len(CONTENT))
    first = PartialUpload(folder, header, "ada")
    first.append(CONTENT[:5000])
    first.close()


def resume_upload(folder: Path) -> None:
    """The rest of the upload, from its header to the answer."""
    header = rewas_pb2.UploadHeader(sha256=hashlib.sha256(CONTENT).hexdigest(), size_bytes=len(CONTENT))
    header.offset_bytes = 5000

    async def messages() -> AsyncIterator[rewas_pb2.UploadMediaRequest]:
        yield rewas_pb2.UploadMediaRequest(header=header)
        yield rewas_pb2.UploadMediaRequest(data=CONTENT[5000:8000])
        yield rewas_pb2.UploadMediaRequest(data=CONTENT[8000:])

    asyncio.run(UploadStore(folder, UploadLimits(10**6, 10**6, 10**6)).receive(messages(), "ada"))


def prepare_state(folder: Path) -> None:
    """Jobs, stems, uploads, the beginning of one, and an orphan; some of them are too old, some too many."""
    store = SqliteJobStore(folder / "jobs.sqlite3")
    (folder / "uploads").mkdir()
    for number, age_days in enumerate((40, 35, 9, 8, 7, 1)):
        sha256 = hashlib.sha256(b"%d" % number).hexdigest()
        for path in (folder / "uploads" / sha256, folder / "uploads" / f"{sha256}.client"):
            path.write_bytes(b"%d" % number)
            os.utime(path, (NOW_S - age_days * DAY_S,) * 2)
        add(store, folder, f"job {number}", age_days, sha256)
    add(store, folder, "waiting", None, hashlib.sha256(b"2").hexdigest())
    add(store, folder, "film", 9, "", clips=1)
    add(store, folder, "film 1", 9, "", parent_id="film")
    (folder / "artifacts" / "orphan").mkdir()
    (folder / "artifacts" / "orphan" / "a.wav").write_bytes(b"sound")
    partial = folder / "uploads" / f"{'0' * 64}.part"
    partial.touch()
    os.utime(partial, (1, 1))
    store.close()


def run_retention(folder: Path) -> None:
    """A pass that keeps the stems of three jobs and three uploads."""
    store = SqliteJobStore(folder / "jobs.sqlite3")
    limits = RetentionLimits(stems_bytes=1500, uploads_bytes=3, requests_bytes=10**9, max_age_s=30 * DAY_S)
    retention = Retention(store, folder / "artifacts", folder / "uploads", limits, now_s=lambda: NOW_S)
    for _ in retention.delete_expired(Shortage()):
        pass
    store.close()


def add(
    store: SqliteJobStore,
    folder: Path,
    job_id: str,
    age_days: float | None,
    sha256: str,
    clips: int = 0,
    parent_id: str = "",
) -> None:
    """Add a job with two stems and an upload. age_days: None for a job that has not ended."""
    job = lifecycle.create_job(job_id, job_id)
    job.parent_id, job.child_count = parent_id, clips
    work = rewas_pb2.SoundWork(uploaded_media={"/clip": sha256} if sha256 else {})
    store.add(job, rewas_pb2.SubmitJobRequest(idempotency_key=job_id, sound=work))
    if not clips:
        (folder / "artifacts" / job_id).mkdir(parents=True)
        for name in ("a.wav", "b.wav"):
            (folder / "artifacts" / job_id / name).write_bytes(bytes(250))
    if age_days is not None:

        def end(job: rewas_pb2.Job) -> rewas_pb2.Job:
            after = lifecycle.fail_job(job, ProblemError("It failed.", "Try again.", ProblemKind.MEDIA))
            after.finished_at.FromSeconds(round(NOW_S - age_days * DAY_S))
            return after

        store.update(job_id, end)


CASES = {"upload": (prepare_upload, resume_upload), "retention": (prepare_state, run_retention)}


def main(case: str, folder: Path) -> None:
    """Kill the work of a case at each step, each time from the same state."""
    prepare, work = CASES[case]
    (folder / "start").mkdir()
    prepare(folder / "start")
    for step in itertools.count(1):
        place = folder / str(step)
        shutil.copytree(folder / "start", place)
        if not is_killed_at(step, functools.partial(work, place)):
            sys.stdout.write(f"{step}\n")
            return


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
