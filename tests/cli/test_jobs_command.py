"""`rewas jobs` and `rewas status` with a real server, whose store holds jobs in many states."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rewas_command import Rewas, command, environment

from rewas_api.client import RewasClient
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_cli import console, job_reports
from rewas_server.jobs import lifecycle
from rewas_server.jobs.sqlite_store import SqliteJobStore

DONE, FAILED, PAUSED = "d0" + "1" * 30, "f0" + "2" * 30, "a0" + "3" * 30
FAILED_TOO = "f1" + "2" * 30
TIMELINE, FIRST_CLIP, SECOND_CLIP = "70" + "4" * 30, "c1" + "5" * 30, "c2" + "6" * 30
LONG_AGO_S = 1_700_000_000


def fill_store(state_dir: Path) -> None:
    """A finished sound with a file, two failed jobs, a paused one, and a timeline of two clips."""
    store = SqliteJobStore(state_dir / "jobs.sqlite3")

    def add(job: rewas_pb2.Job, *children: rewas_pb2.Job) -> None:
        pairs = [(child, rewas_pb2.SubmitJobRequest(idempotency_key=child.id)) for child in children]
        store.add(job, rewas_pb2.SubmitJobRequest(idempotency_key=job.id), pairs)

    stem = state_dir / "artifacts" / DONE / "growl.wav"
    stem.parent.mkdir(parents=True)
    stem.write_bytes(b"RIFF")
    artifact = rewas_pb2.Artifact(name=stem.name, size_bytes=4, sha256="ab" * 32, path=str(stem))
    take = rewas_pb2.Take(seed=7, stems=[rewas_pb2.Stem(role="primary", artifact=artifact)])
    sound = rewas_pb2.SoundResult(takes=[take])
    add(lifecycle.create_job(DONE, "growl\x1b[2J"))
    store.update(DONE, lifecycle.start_job)
    store.update(DONE, lambda job: lifecycle.complete_job(job, sound))
    for job_id in (FAILED, FAILED_TOO):
        add(lifecycle.create_job(job_id, "shot 7", priority=rewas_pb2.PRIORITY_BATCH))
        store.update(job_id, lifecycle.start_job)
        store.update(job_id, interrupt)
        store.update(job_id, lifecycle.start_job)
        store.update(job_id, fail)
    store.update(FAILED_TOO, ended_long_ago)
    add(
        lifecycle.create_job(TIMELINE, "reel 1", child_count=2),
        lifecycle.create_job(FIRST_CLIP, "clip 1", parent_id=TIMELINE),
        lifecycle.create_job(SECOND_CLIP, "clip 2", parent_id=TIMELINE),
    )
    for job_id in (FIRST_CLIP, SECOND_CLIP, TIMELINE):
        store.update(job_id, lifecycle.request_cancel)
    add(lifecycle.create_job(PAUSED, "paused shot"))
    store.update(PAUSED, lifecycle.request_pause)
    store.close()


def interrupt(job: rewas_pb2.Job) -> rewas_pb2.Job:
    return lifecycle.interrupt_job(job, rewas_pb2.INTERRUPTION_CAUSE_OUT_OF_MEMORY)


def fail(job: rewas_pb2.Job) -> rewas_pb2.Job:
    return lifecycle.fail_job(job, ProblemError("The media is missing.", "Relink the clip.", ProblemKind.MEDIA))


def ended_long_ago(job: rewas_pb2.Job) -> rewas_pb2.Job:
    after = rewas_pb2.Job()
    after.CopyFrom(job)
    after.revision += 1
    after.finished_at.FromSeconds(LONG_AGO_S)
    return after


class Served:
    """A server that was started by the command."""

    def __init__(self, home: Path, port: int = 0) -> None:
        self.state_dir = home / "state"
        self._process = subprocess.Popen(
            command("serve", "--port", port, "--state-dir", self.state_dir, "--keep-days", 36_500),
            stderr=subprocess.PIPE,
            text=True,
            env=environment(home, home),
        )
        assert self._process.stderr is not None
        lines = (re.search(r"listens on 127\.0\.0\.1:(\d+)", line) for line in self._process.stderr)
        self.port = int(next(found[1] for found in lines if found))
        # A full pipe would stop the server.
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(60) == 0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("served")
    fill_store(home / "state")
    server = Served(home)
    yield server
    server.stop()


@pytest.fixture
def jobs(served: Served, bare_rewas: Rewas) -> Rewas:
    return lambda *arguments: bare_rewas("jobs", *arguments, "--server", served.address)


def test_the_list_shows_top_level_jobs_and_filters(jobs: Rewas) -> None:
    listed = jobs("list", "--json").json()
    assert [job["id"] for job in listed["jobs"]] == [PAUSED, TIMELINE, FAILED_TOO, FAILED, DONE]
    assert listed["more"] is False
    failed = jobs("list", "--state", "failed", "--state", "paused", "--json").json()["jobs"]
    assert [job["id"] for job in failed] == [PAUSED, FAILED_TOO, FAILED]
    assert failed[1]["problem"]["kind"] == "MEDIA"
    children = jobs("list", "--parent", TIMELINE[:2], "--json").json()["jobs"]
    assert [job["id"] for job in children] == [FIRST_CLIP, SECOND_CLIP]
    assert {job["parent_id"] for job in children} == {TIMELINE}
    assert jobs("list", "--state", "running").output == "No jobs match.\n"


def test_the_list_is_a_table_that_says_when_there_is_more(jobs: Rewas) -> None:
    result = jobs("list", "--limit", 2)
    assert "paused shot" in result.output
    assert "reel 1" in result.output
    assert DONE[:8] not in result.output
    assert "There are more" in result.output
    assert jobs("list", "--limit", 2, "--json").json()["more"] is True
    whole = jobs("list", "--all").output
    assert all(job_id[:8] in whole for job_id in (PAUSED, TIMELINE, FAILED_TOO, FAILED, DONE))
    assert "The media is missing." in whole
    assert "\x1b" not in whole, "a name cannot move the cursor"


def test_show_lists_files_attempts_and_clips(jobs: Rewas) -> None:
    done = jobs("show", DONE[:2]).output
    assert "growl.wav" in done
    assert "seed 7, primary" in done
    assert "ab" * 32 in done
    assert "\x1b" not in done
    failed = jobs("show", FAILED).output
    assert "State: failed (The media is missing.)" in failed
    assert "To do: Relink the clip." in failed
    assert "Priority: batch; attempt 2" in failed
    assert "Interrupted: out-of-memory, 1 time\n" in failed
    timeline = jobs("show", "70", "--json").json()
    assert timeline["clips"] == {"total": 2, "finished": 2}
    assert [child["name"] for child in timeline["children"]] == ["clip 1", "clip 2"]
    child = jobs("show", "c2", "--json").json()
    assert child["id"] == SECOND_CLIP
    assert child["files"] == []


def test_a_prefix_must_name_one_job(jobs: Rewas) -> None:
    ambiguous = jobs("cancel", "f", "--json")
    assert ambiguous.code == 2
    assert FAILED[:12] in ambiguous.json()["error"]["what"]
    for missing in ("zz", "0" * 32):
        result = jobs("show", missing, "--json")
        assert result.code == 2
        assert result.json()["error"]["kind"] == "NOT_FOUND"
    # A mistyped identifier changes none of the others.
    assert jobs("pin", DONE, "zz").code == 2
    assert jobs("show", DONE, "--json").json()["pinned"] is False


def test_jobs_are_pinned_cancelled_paused_and_resumed(jobs: Rewas) -> None:
    assert jobs("pin", "d0").output.endswith(": succeeded, pinned\n")
    assert "pinned" in jobs("list").output
    assert jobs("pause", "a0", "--json").json()["jobs"][0]["state"] == "paused"
    assert jobs("resume", "a0", "--json").json()["jobs"][0]["state"] == "queued"
    # Its request names no work, so it fails as soon as a worker begins it; cancelling has no effect then.
    assert jobs("cancel", "a0", "--json").json()["jobs"][0]["state"] in {"cancelled", "cancelling", "failed"}
    assert jobs("retry", FAILED, "--json").json()["jobs"][0]["state"] == "queued"


def test_purge_asks_first_and_keeps_what_is_pinned_or_too_young(jobs: Rewas, served: Served) -> None:
    jobs("pin", DONE)
    refused = jobs("purge", "--json")
    assert refused.code == 2
    assert "--yes" in refused.json()["error"]["what"]
    assert jobs("purge", "--state", "running").code == 2
    assert jobs("purge", "--older-than", "soon").code == 2
    old = jobs("purge", "--older-than", "30d", "--yes", "--json").json()
    assert old == {"deleted": [FAILED_TOO]}
    assert jobs("purge", "--state", "succeeded", "--yes", "--json").json() == {"deleted": []}
    jobs("unpin", DONE)
    assert jobs("purge", "--state", "succeeded", "--yes").output == "Deleted 1 job.\n"
    assert not (served.state_dir / "artifacts" / DONE).exists()


def test_delete_refuses_what_has_not_ended(served: Served, jobs: Rewas) -> None:
    with RewasClient(served.address) as client:
        remaining = {job.id for job in client.list_jobs()}
        assert TIMELINE in remaining
    assert jobs("delete", TIMELINE).output == f"Deleted {TIMELINE}.\n"
    assert jobs("show", FIRST_CLIP, "--json").json()["error"]["kind"] == "NOT_FOUND"


def test_status_once_and_as_json(served: Served, bare_rewas: Rewas) -> None:
    report = bare_rewas("status", "--server", served.address, "--json").json()
    assert report["address"] == served.address
    assert report["default_pack"] == "starter"
    shown = bare_rewas("status", "--once", "--server", served.address).output
    assert f"at {served.address}" in shown
    assert "Worker: " in shown


def test_without_a_server_the_commands_say_so(bare_rewas: Rewas, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without --server, the port is that of the configuration.
    monkeypatch.setenv("REWAS_PORT", "1")
    for arguments in (["jobs", "list"], ["status"]):
        result = bare_rewas(*arguments, "--json")
        assert result.code == 1
        assert "127.0.0.1:1" in result.json()["error"]["what"]


@pytest.mark.slow
def test_the_live_view_survives_the_server_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    server = Served(tmp_path)
    viewer, terminal = pty.openpty()
    view = subprocess.Popen(
        command("status", "--server", server.address), stdin=terminal, stdout=terminal, stderr=terminal,
        env=environment(tmp_path, tmp_path) | {"TERM": "xterm"}, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    shown = read_until(viewer, lambda text: "No job is running." in text)
    assert f"at {server.address}" in shown
    server.stop()
    read_until(viewer, lambda text: "Waiting for a server" in text)
    again = Served(tmp_path, server.port)
    read_until(viewer, lambda text: "No job is running." in text)
    view.send_signal(signal.SIGINT)
    rest = read_until(viewer, lambda text: False)
    assert view.wait(30) == 0
    assert "Traceback" not in rest
    os.close(viewer)
    again.stop()


def read_until(terminal: int, condition: Callable[[str], bool]) -> str:
    """Read from a terminal until its text meets the condition, or until its program ends."""
    text = ""
    while not condition(text):
        try:
            data = os.read(terminal, 65_536)
        except OSError:  # The program has closed the terminal.
            break
        text += data.decode(errors="replace")
    return text


def test_what_a_waiting_job_shows() -> None:
    job = lifecycle.create_job("1", "shot")
    job.position, job.waiting_reason = 2, "The disk is full."
    job.time_left.FromSeconds(7500)
    report = job_reports.job_report(job)
    assert job_reports.progress_text(report) == "after 2 other jobs, The disk is full., 2 h 5 min left"
    job.position = 0
    job.waiting_reason = ""
    assert job_reports.progress_text(job_reports.job_report(job)) == "next, 2 h 5 min left"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (5399, "1 h 30 min"), (200_000, "2 days")]
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert job_reports.format_duration(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2e12, "2.0 TB")])
def test_sizes_are_readable(size: float, text: str) -> None:
    assert console.format_size(size) == text


def test_the_files_of_a_timeline_are_shown_by_name_with_their_recordings() -> None:
    """The result of a timeline has no paths: clients on any machine read it."""
    hammer = rewas_pb2.UsedRecording(name="hammer\x1b.wav", licence="CC-BY-4.0", credit="H. Smith")
    artifact = rewas_pb2.Artifact(name="001 door primary.wav", size_bytes=4, sha256="ab" * 32)
    stem = rewas_pb2.Stem(role="primary", artifact=artifact)
    take = rewas_pb2.Take(seed=7, stems=[stem], recordings=[hammer])
    clip = rewas_pb2.TimelineClip(name="door", job_id=FIRST_CLIP, sound=rewas_pb2.SoundResult(takes=[take]))
    job = lifecycle.create_job(TIMELINE, "reel 1", child_count=1)
    job.timeline.clips.append(clip)
    files = job_reports.file_reports(job)
    assert [(file["path"], [used["credit"] for used in file["recordings"]]) for file in files] == [(None, ["H. Smith"])]
    lines = list(job_reports.job_lines(job_reports.job_report(job), files, []))
    assert "  door, seed 7, primary: 001 door primary.wav" in lines
    assert lines[-1] == "    recording: hammer\ufffd.wav, CC-BY-4.0, H. Smith"
