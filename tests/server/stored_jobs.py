"""Jobs for the tests of job stores."""

from collections.abc import Iterable

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs.store import JobStore

PROBLEM = ProblemError("The picture is torn.", "Take another.", ProblemKind.MEDIA)


def request(key: str, prompt: str = "rain", **settings: str) -> rewas_pb2.SubmitJobRequest:
    work = rewas_pb2.SoundWork(settings=rewas_pb2.SoundSettings(prompt=prompt, **settings))
    work.uploaded_media["b"] = "2"
    work.uploaded_media["a"] = "1"
    return rewas_pb2.SubmitJobRequest(idempotency_key=key, sound=work)


def job(job_id: str, priority: int = rewas_pb2.PRIORITY_NORMAL, parent_id: str = "", clips: int = 0) -> rewas_pb2.Job:
    new = lifecycle.create_job(job_id, f"shot {job_id}")
    new.priority = priority  # type: ignore[assignment]
    new.parent_id = parent_id
    new.child_count = clips
    return new


def add(store: JobStore, *job_ids: str) -> None:
    for job_id in job_ids:
        store.add(job(job_id), request(job_id))


def add_timeline(store: JobStore, job_id: str, clips: int) -> None:
    work = rewas_pb2.TimelineWork(uploaded_media={"a": f"media of {job_id}"})
    children = [
        (job(f"{job_id}.{number}", parent_id=job_id), request(f"{job_id}/{number}")) for number in range(1, clips + 1)
    ]
    store.add(job(job_id, clips=clips), rewas_pb2.SubmitJobRequest(idempotency_key=job_id, timeline=work), children)


def end(store: JobStore, *job_ids: str) -> None:
    """Fail the jobs, each a second after the one before."""
    for second, job_id in enumerate(job_ids):

        def fail(before: rewas_pb2.Job, second: int = second) -> rewas_pb2.Job:
            after = lifecycle.fail_job(before, PROBLEM)
            after.finished_at.FromSeconds(1_000_000 + second)
            return after

        store.update(job_id, fail)


def ids(jobs: Iterable[rewas_pb2.Job]) -> list[str]:
    return [job.id for job in jobs]


def all_ids(store: JobStore) -> list[str]:
    """The identifiers of all jobs without a parent, oldest first."""
    return ids(reversed(store.list_page(10_000).jobs))
