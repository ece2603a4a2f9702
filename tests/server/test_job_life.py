"""The life cycle of a job: only permitted transitions happen, and none of them loses information."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine.runtime.progress import Progress
from rewas_server.jobs import lifecycle

PROBLEM = ProblemError("The picture is torn.", "Take another.", ProblemKind.MEDIA)
WORKER_ENDED = rewas_pb2.INTERRUPTION_CAUSE_WORKER_ENDED
OUT_OF_MEMORY = rewas_pb2.INTERRUPTION_CAUSE_OUT_OF_MEMORY
DEADLINE = rewas_pb2.INTERRUPTION_CAUSE_DEADLINE
SERVER_ENDED = rewas_pb2.INTERRUPTION_CAUSE_SERVER_ENDED
CHANGES = {
    "start": lifecycle.start_job,
    "progress": lambda job: lifecycle.update_progress(job, Progress("sample", 1, 4, 0.25, time_left_s=3.0)),
    "fall back": lambda job: lifecycle.update_progress(job, Progress("decode", 0, 0, 0.0)),
    "succeed": lambda job: lifecycle.complete_job(job, rewas_pb2.SoundResult()),
    "fail": lambda job: lifecycle.fail_job(job, PROBLEM),
    "request cancel": lifecycle.request_cancel,
    "cancel": lifecycle.cancel_job,
    "request pause": lifecycle.request_pause,
    "pause": lifecycle.pause_job,
    "stop": lifecycle.stop_job,
    "resume": lifecycle.resume_job,
    "retry": lifecycle.retry_job,
    "pin": lambda job: lifecycle.pin_job(job, True),
    "worker ends": lambda job: lifecycle.interrupt_job(job, WORKER_ENDED),
    "memory runs out": lambda job: lifecycle.interrupt_job(job, OUT_OF_MEMORY),
    "deadline": lambda job: lifecycle.interrupt_job(job, DEADLINE),
    "another job ends the worker": lambda job: lifecycle.interrupt_job(job, OUT_OF_MEMORY, counts=False),
    "server ends": lambda job: lifecycle.interrupt_job(job, SERVER_ENDED),
}
# Copied by hand from the contract. Waiting and paused jobs are cancelled within one change.
PERMITTED = {
    "QUEUED": {"QUEUED", "RUNNING", "FAILED", "CANCELLED", "PAUSED"},
    "RUNNING": {"RUNNING", "QUEUED", "SUCCEEDED", "FAILED", "CANCELLING", "PAUSING"},
    "PAUSING": {"PAUSING", "PAUSED", "SUCCEEDED", "FAILED", "CANCELLING"},
    "PAUSED": {"PAUSED", "QUEUED", "CANCELLED"},
    "CANCELLING": {"CANCELLING", "CANCELLED"},
    "SUCCEEDED": {"SUCCEEDED"},
    "FAILED": {"FAILED", "QUEUED"},
    "CANCELLED": {"CANCELLED", "QUEUED"},
}


def state_of(job: rewas_pb2.Job) -> str:
    return rewas_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_")


@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=40))
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
            assert state_of(after) in PERMITTED[state_of(job)]
            assert after.state != job.state or name in ("progress", "fall back", "pin")
            assert after.revision > job.revision
            assert after.fraction >= job.fraction or name == "retry"
            assert after.id == job.id
            assert after.name == job.name
        assert (after.state in lifecycle.FINAL_STATES) == after.HasField("finished_at")
        assert after.HasField("problem") == (state_of(after) == "FAILED")
        assert (after.WhichOneof("result") is not None) == (state_of(after) == "SUCCEEDED")
        for entry in after.interruptions:
            assert entry.count <= lifecycle.MAX_INTERRUPTIONS.get(entry.cause, len(changes))
        job = after


@pytest.mark.parametrize("end", ["succeed", "fail"])
@pytest.mark.parametrize("change", sorted(set(CHANGES) - {"retry", "pin"}))
def test_final_states_never_change_unless_a_client_retries(end: str, change: str) -> None:
    job = CHANGES[end](lifecycle.start_job(lifecycle.create_job("1", "shot")))
    if change in ("request cancel", "request pause", "resume"):
        assert CHANGES[change](job) is job
    else:
        with pytest.raises(lifecycle.InvalidTransition):
            CHANGES[change](job)


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_when_the_worker_has_stopped() -> None:
    waiting = lifecycle.create_job("1", "shot")
    assert state_of(lifecycle.request_cancel(waiting)) == "CANCELLED"
    assert state_of(lifecycle.request_cancel(lifecycle.request_pause(waiting))) == "CANCELLED"
    running = lifecycle.request_cancel(lifecycle.start_job(waiting))
    assert state_of(running) == "CANCELLING"
    assert state_of(lifecycle.cancel_job(running)) == "CANCELLED"
    assert state_of(lifecycle.interrupt_job(running, WORKER_ENDED)) == "CANCELLED"


@pytest.mark.parametrize(
    ("cause", "limit", "words"),
    [(WORKER_ENDED, 3, "ended 3 times"), (OUT_OF_MEMORY, 2, "out of memory"), (DEADLINE, 2, "time limit")],
)
def test_a_job_fails_after_the_limit_of_one_cause_and_says_which(cause: int, limit: int, words: str) -> None:
    job = lifecycle.create_job("1", "shot")
    # Other causes have their own counts.
    for other in (SERVER_ENDED, SERVER_ENDED, SERVER_ENDED, *({WORKER_ENDED, OUT_OF_MEMORY, DEADLINE} - {cause})):
        job = lifecycle.interrupt_job(lifecycle.start_job(job), other)
    for count in range(1, limit + 1):
        assert state_of(job) == "QUEUED"
        sampling = lifecycle.update_progress(lifecycle.start_job(job), Progress("sample", 3, 4, 0.5))
        job = lifecycle.interrupt_job(sampling, cause)
        assert {entry.cause: entry.count for entry in job.interruptions}[cause] == count
    assert (state_of(job), job.problem.kind) == ("FAILED", rewas_pb2.PROBLEM_KIND_RESOURCES)
    assert "shot" in job.problem.what
    assert words in job.problem.what


def test_an_interrupted_job_repeats_all_stages() -> None:
    job = lifecycle.start_job(lifecycle.create_job("1", "shot"))
    job = lifecycle.update_progress(job, Progress("sample", 3, 4, 0.5, time_left_s=2.0))
    job = lifecycle.interrupt_job(job, WORKER_ENDED)
    assert (job.attempt, job.stage, job.step, job.fraction) == (1, rewas_pb2.STAGE_UNSPECIFIED, 0, 0.5)
    assert not job.HasField("time_left")
    assert not job.HasField("started_at")


def test_the_end_of_the_server_never_counts() -> None:
    job = lifecycle.create_job("1", "shot")
    for number in range(1, 20):
        job = lifecycle.interrupt_job(lifecycle.start_job(job), SERVER_ENDED)
        assert (state_of(job), job.attempt) == ("QUEUED", number)


def test_a_paused_job_starts_over_when_it_is_resumed() -> None:
    job = lifecycle.request_pause(lifecycle.start_job(lifecycle.create_job("1", "shot")))
    assert state_of(job) == "PAUSING"
    job = lifecycle.stop_job(job)
    assert (state_of(job), state_of(lifecycle.resume_job(job))) == ("PAUSED", "QUEUED")
    assert not job.interruptions


def test_a_retried_job_is_like_a_new_one() -> None:
    new = lifecycle.create_job("1", "shot", priority=rewas_pb2.PRIORITY_BATCH)
    failed = lifecycle.fail_job(lifecycle.interrupt_job(lifecycle.start_job(new), WORKER_ENDED), PROBLEM)
    again = lifecycle.retry_job(failed)
    assert again.revision > failed.revision
    again.revision = new.revision
    assert again == new


def test_only_a_timeline_without_some_of_its_sounds_is_retried_after_success() -> None:
    running = lifecycle.start_job(lifecycle.create_job("1", "film", child_count=2))
    sound, problem = (
        rewas_pb2.TimelineClip(sound=rewas_pb2.SoundResult()),
        rewas_pb2.TimelineClip(problem=PROBLEM.to_proto()),
    )
    complete = lifecycle.complete_job(running, rewas_pb2.TimelineResult(clips=[sound, sound]))
    assert lifecycle.retry_job(complete) is complete
    result = rewas_pb2.TimelineResult(clips=[sound, problem], failed_clip_count=1)
    incomplete = lifecycle.complete_job(running, result)
    again = lifecycle.retry_job(incomplete)
    assert state_of(again) == "QUEUED"
    assert not again.HasField("timeline")
