"""The list of jobs: its order, and what the panel of a strip shows."""

from rewas_nle.core.board import Board, JobStatus
from rewas_nle.core.job_rows import build_rows, duration_label
from rewas_nle.core.messages import Problem

PROBLEM = Problem("It broke.", "Repair it.")


def test_running_jobs_are_on_top_and_the_newest_first() -> None:
    jobs = [
        JobStatus("done-old", "a", state="done"),
        JobStatus("queued", "b", state="queued"),
        JobStatus("running", "c", state="running", stage="sample", step=3, total_steps=25, time_left_s=8.2),
        JobStatus("failed", "d", state="failed", problem=PROBLEM, can_retry=True),
        JobStatus("queued-new", "e", state="queued"),
        JobStatus("away", "f", state="running", server_problem=PROBLEM),
        JobStatus("done-new", "g", state="done", note="Take 2 is on primary"),
    ]
    rows = build_rows(Board().with_jobs(jobs), lambda key: "strip" if key in ("failed", "queued", "done-new") else key)
    assert [row.key for row in rows.rows] == [
        "running", "queued-new", "queued", "away", "done-new", "failed", "done-old",
    ]  # fmt: skip
    assert (rows.finished, rows.unfinished) == (3, 4)
    running, away = rows.rows[0], rows.rows[3]
    assert running.text == "Generating 3/25, 8 s left"
    assert (running.can_cancel, running.can_retry) == (True, False)
    assert (away.text, away.problem, away.can_retry) == ("Waiting for the server", PROBLEM, True)
    assert rows.of_strip("strip").key == "queued"
    assert rows.of_strip("done-old") is None
    assert rows.of_strip("") is None


def test_a_strip_shows_its_last_failure_until_it_generates_again() -> None:
    failed = JobStatus("failed", "d", state="failed", problem=PROBLEM, can_retry=True)
    rows = build_rows(Board().with_job(failed), lambda key: "strip")
    assert rows.of_strip("strip").problem == PROBLEM
    assert rows.of_strip("strip").icon == "ERROR"


def test_rows_of_unchanged_jobs_are_used_again() -> None:
    jobs = [JobStatus(str(number), "a", state="queued") for number in range(3)]
    before = build_rows(Board().with_jobs(jobs), lambda key: "")
    changed = JobStatus("1", "a", state="done")
    after = build_rows(Board().with_jobs([jobs[0], changed, jobs[2]]), lambda key: "", before)
    rows = {row.key: row for row in after.rows}
    assert rows["0"] is before.built["0"][1]
    assert rows["1"].icon == "CHECKMARK"
    assert build_rows(Board(), lambda key: "", after).rows == ()


def test_durations() -> None:
    assert [duration_label(seconds) for seconds in (0.4, 89, 200, 5400, 9000)] == ["0 s", "89 s", "3 min", "2 h", "2 h"]
