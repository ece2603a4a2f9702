"""Positions, times left and time limits, from the queue and the history of durations."""

import math

from hypothesis import given
from hypothesis import strategies as st

from rewas_api.v1 import rewas_pb2
from rewas_server.jobs.forecast import (
    DEADLINE_FACTOR,
    RunningClock,
    deadline_s,
    duration_per_amount,
    forecast,
    typical_duration_s,
)
from rewas_server.jobs.store import QueuedJob, WorkDuration

DURATIONS_S = st.floats(0.01, 1e5)
HISTORIES = st.lists(
    st.builds(
        lambda amount, duration: WorkDuration("sound", "starter", "cpu", amount, duration), DURATIONS_S, DURATIONS_S
    )
)


def queued(*names: str) -> list[QueuedJob]:
    return [
        QueuedJob(name, rewas_pb2.JOB_STATE_QUEUED, rewas_pb2.PRIORITY_NORMAL, "sound", "starter", "") for name in names
    ]


@given(
    st.lists(DURATIONS_S | st.none(), max_size=3),
    st.lists(DURATIONS_S | st.none(), max_size=12),
    st.integers(1, 4),
)
def test_no_job_ends_before_it_can(running_s: list[float | None], waiting_s: list[float | None], workers: int) -> None:
    workers = max(workers, len(running_s))
    running = {f"running {number}": left_s for number, left_s in enumerate(running_s)}
    typical = {f"waiting {number}": duration_s for number, duration_s in enumerate(waiting_s)}
    places = forecast(queued(*running, *typical), running, lambda job: typical[job.id], workers)
    assert [places[name].position for name in typical] == list(range(len(running), len(running) + len(typical)))
    for name, place in places.items():
        own_s = typical[name]
        if place.time_left_s is None:
            continue
        assert own_s is not None
        assert place.time_left_s >= own_s
        before_s = [*running.values(), *list(typical.values())[: list(typical).index(name)]]
        assert place.time_left_s <= math.fsum(s or 0 for s in before_s) * (1 + 1e-9) + own_s + 1e-6


def test_one_worker_runs_one_job_after_another() -> None:
    places = forecast(queued("now", "next", "last"), {"now": 3.0}, lambda job: 10.0, 1)
    assert {name: (place.position, place.time_left_s) for name, place in places.items()} == {
        "next": (1, 13.0),
        "last": (2, 23.0),
    }


def test_an_unknown_duration_makes_the_times_after_it_unknown() -> None:
    places = forecast(queued("now", "next", "last"), {"now": None}, lambda job: 10.0, 1)
    assert [place.time_left_s for place in places.values()] == [None, None]
    places = forecast(queued("next", "last"), {}, lambda job: None if job.id == "next" else 10.0, 1)
    assert [place.time_left_s for place in places.values()] == [None, None]


@given(HISTORIES, st.floats(0, 1e4), st.floats(1, 1e4))
def test_the_time_limit_leaves_room_for_what_this_machine_needed(
    history: list[WorkDuration], amount_s: float, min_deadline_s: float
) -> None:
    limit_s = deadline_s(amount_s, history, min_deadline_s)
    assert limit_s >= min_deadline_s
    per_amount = duration_per_amount(history)
    if per_amount is None:
        assert typical_duration_s(history) is None
    else:
        assert limit_s >= DEADLINE_FACTOR * per_amount * amount_s
        shortest, longest = (pick(past.duration_s for past in history) for pick in (min, max))
        assert shortest <= (typical_duration_s(history) or 0) <= longest


def test_a_clock_starts_with_the_history_and_then_follows_the_progress() -> None:
    assert RunningClock(None).time_left_s() is None
    clock = RunningClock(50.0)
    left_s = clock.time_left_s()
    assert left_s is not None
    assert 0 < left_s <= 50.0
    clock.report(0.0)
    clock.report(1.0)
    assert clock.time_left_s() == 0.0
