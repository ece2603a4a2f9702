"""The life cycle of a job: only permitted transitions happen, and none of them loses information."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine.runtime.progress import Progress
from rewas_server.jobs import lifecycle

PROBLEM = ProblemError("The picture is torn.", "Take another.", ProblemKind.MEDIA)
CHANGES = {
    "start": lifecycle.start_job,
    "progress": lambda job: lifecycle.update_progress(job, Progress("sample", 1, 4, 0.25, time_left_s=3.0)),
    "fall back": lambda job: lifecycle.update_progress(job, Progress("decode", 0, 0, 0.0)),
    "succeed": lambda job: lifecycle.complete_job(job, rewas_pb2.SoundResult()),
    "fail": lambda job: lifecycle.fail_job(job, PROBLEM),
    "request cancel": lifecycle.request_cancel,
    "cancel": lifecycle.cancel_job,
    "crash": lambda job: lifecycle.interrupt_job(job, by_crash=True),
    "stop the server": lambda job: lifecycle.interrupt_job(job, by_crash=False),
}
# Copied by hand from the contract. QUEUED | RUNNING -> CANCELLING may happen within one change.
PERMITTED = {
    "QUEUED": {"RUNNING", "FAILED", "CANCELLED"},
    "RUNNING": {"RUNNING", "QUEUED", "SUCCEEDED", "FAILED", "CANCELLING"},
    "CANCELLING": {"CANCELLED"},
}


def state_of(job: rewas_pb2.Job) -> str:
    return rewas_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_")


@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=30))
def test_any_sequence_of_changes_follows_the_permitted_transitions(changes: list[str]) -> None:
    job = lifecycle.create_job("1", "shot")
    for name in changes:
        before = job.SerializeToString(deterministic=True)
        try:
            after = CHANGES[name](job)
        except lifecycle.InvalidTransition:
            after = job
        assert job.SerializeToString(deterministic=True) == before, "the old snapshot stays as it was"
        if after is not job:
            assert state_of(after) in PERMITTED.get(state_of(job), set())
            assert after.revision > job.revision
            assert after.fraction >= job.fraction
            assert after.id == job.id
            assert after.name == job.name
        assert (after.state in lifecycle.FINAL_STATES) == after.HasField("finished_at")
        assert after.HasField("problem") == (state_of(after) == "FAILED")
        assert (after.WhichOneof("result") is not None) == (state_of(after) == "SUCCEEDED")
        assert after.attempt <= lifecycle.MAX_ATTEMPTS
        job = after


@pytest.mark.parametrize("end", ["succeed", "fail"])
@pytest.mark.parametrize("change", sorted(CHANGES))
def test_final_states_never_change(end: str, change: str) -> None:
    job = CHANGES[end](lifecycle.start_job(lifecycle.create_job("1", "shot")))
    if change == "request cancel":
        assert CHANGES[change](job) is job
    else:
        with pytest.raises(lifecycle.InvalidTransition):
            CHANGES[change](job)


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_when_the_worker_has_stopped() -> None:
    waiting = lifecycle.create_job("1", "shot")
    assert state_of(lifecycle.request_cancel(waiting)) == "CANCELLED"
    running = lifecycle.request_cancel(lifecycle.start_job(waiting))
    assert state_of(running) == "CANCELLING"
    assert state_of(lifecycle.cancel_job(running)) == "CANCELLED"
    assert state_of(lifecycle.interrupt_job(running, by_crash=True)) == "CANCELLED"


def test_a_job_fails_after_the_second_crash() -> None:
    sampling = Progress("sample", 3, 4, 0.5)
    job = lifecycle.interrupt_job(
        lifecycle.update_progress(lifecycle.start_job(lifecycle.create_job("1", "shot")), sampling), by_crash=True
    )
    assert (state_of(job), job.attempt, job.stage, job.step) == ("QUEUED", 1, rewas_pb2.STAGE_UNSPECIFIED, 0)
    job = lifecycle.interrupt_job(lifecycle.start_job(job), by_crash=True)
    assert (state_of(job), job.problem.kind) == ("FAILED", rewas_pb2.PROBLEM_KIND_RESOURCES)
    assert "shot" in job.problem.what


def test_an_orderly_stop_is_not_counted() -> None:
    job = lifecycle.create_job("1", "shot")
    for _ in range(5):
        job = lifecycle.interrupt_job(lifecycle.start_job(job), by_crash=False)
        assert (state_of(job), job.attempt) == ("QUEUED", 0)
