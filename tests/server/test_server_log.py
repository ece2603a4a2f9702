"""The log of a server: its file, what it says about jobs, and what it never contains."""

import asyncio
import json
import logging
import os
import pty
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_api.v1 import rewas_pb2
from rewas_server import logs
from rewas_server.checking.messages import CheckingSettings
from rewas_server.checking.process import CheckingProcess
from rewas_server.grpc import calls
from rewas_server.jobs import lifecycle
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.sqlite_store import SqliteJobStore
from rewas_server.jobs.store import StoreUnavailable
from rewas_server.jobs.tracking import JobTracker
from rewas_server.logs import (
    JsonFormatter,
    LogPrivacy,
    TextFormatter,
    forward_output,
    forward_pipe,
    log_to_file,
    private_texts,
)
from rewas_server.metrics import ServerMetrics

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
PROMPT = "a secret hammer"


@pytest.fixture
def logger() -> logging.Logger:
    return logging.getLogger("rewas.server")


def open_log(
    folder: Path, privacy: LogPrivacy | None = None, max_bytes: int = 10**6, file_count: int = 3
) -> AbstractContextManager[None]:
    return log_to_file(
        folder / "logs" / "server.jsonl",
        privacy or LogPrivacy(),
        max_bytes=max_bytes,
        file_count=file_count,
        level="INFO",
    )


def read_log(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "logs" / "server.jsonl").read_text("utf-8").splitlines()]


def test_a_record_is_one_json_object(tmp_path: Path, logger: logging.Logger) -> None:
    with open_log(tmp_path):
        logger.info("Two\nlines and %d.", 1, extra={"job_id": "j1"})
        logger.debug("Not logged.")
        logging.getLogger("library").warning("A warning.")
        logging.getLogger("library").info("Not logged.")
    logger.info("Not logged: the log is closed.")
    first, second = read_log(tmp_path)
    assert TIME.fullmatch(first.pop("time"))
    assert isinstance(first.pop("pid"), int)
    assert first == {
        "level": "INFO", "logger": "rewas.server", "process": "server", "message": "Two\nlines and 1.", "job_id": "j1",
    }  # fmt: skip
    assert second["logger"] == "library"


def test_files_are_rotated_counted_and_private(tmp_path: Path, logger: logging.Logger) -> None:
    with open_log(tmp_path, max_bytes=2000, file_count=3):
        for number in range(200):
            logger.info("Record %d.", number)
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == ["server.jsonl", "server.jsonl.1", "server.jsonl.2"]
    assert all(file.stat().st_size <= 2000 for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700
    assert read_log(tmp_path)[-1]["message"] == "Record 199."


def test_a_readable_file_from_before_becomes_private(tmp_path: Path, logger: logging.Logger) -> None:
    path = tmp_path / "logs" / "server.jsonl"
    path.parent.mkdir()
    path.touch(mode=0o644)
    with open_log(tmp_path):
        logger.info("A record.")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device without space")
def test_a_full_disk_loses_records_and_says_so_once(
    tmp_path: Path, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "server.jsonl").symlink_to("/dev/full")
    handler = logs.PrivateRotatingFile(tmp_path / "logs" / "server.jsonl", 0, 2)
    for _ in range(3):
        handler.handle(logging.LogRecord("rewas.server", logging.INFO, "", 0, "A record.", (), None))
    errors = capsys.readouterr().err
    assert errors.count("cannot be written") == 1
    assert "Traceback" not in errors
    handler.stream = None  # Closing would flush once more.


TEXTS = st.lists(st.text("ab AB_ß!é", min_size=3, max_size=8), max_size=6)


@given(TEXTS, st.text("ab AB_ß!é", max_size=40))
def test_hidden_texts_are_replaced_as_whole_words(texts: list[str], line: str) -> None:
    privacy = LogPrivacy()
    privacy.hide("other", texts)
    privacy.hide("job", texts)
    privacy.release("other")
    cleaned = privacy.clean(line)
    whole_words = [re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", re.I) for text in texts]
    assert (cleaned != line) == any(each.search(line) for each in whole_words)
    privacy.release("job")
    assert privacy.clean(line) == line


def test_many_hidden_texts_cost_little() -> None:
    """A long timeline has thousands of prompts, and each of its clips changes what is hidden."""
    privacy = LogPrivacy()
    line = "The job was submitted and its sound begins now."
    for number in range(20_000):
        privacy.hide(str(number), [f"a ball bounces {number} times"])
        assert privacy.clean(line) == line
    assert privacy.clean("About a ball bounces 19999 times.") == "About [hidden]."
    for number in range(20_000):
        privacy.release(str(number))
        assert privacy.clean(line) == line
    assert privacy.clean("About a ball bounces 19999 times.") == "About a ball bounces 19999 times."


def test_hidden_texts_are_replaced_everywhere() -> None:
    privacy = LogPrivacy()
    privacy.hide("job", [PROMPT, "hammer", "a"])
    try:
        raise ValueError(f"cannot encode {PROMPT!r}")
    except ValueError as error:
        text = privacy.describe_exception(error)
        record = logging.LogRecord("x", logging.ERROR, "", 0, "About %s and A HAMMER.", (PROMPT,), sys.exc_info())
    assert "ValueError" in text
    assert f"cannot encode {PROMPT!r}" not in text
    assert PROMPT not in LogPrivacy().describe_exception(ValueError(PROMPT)), "hidden even if it is not registered"
    assert "test_hidden_texts" in text
    for formatter in (JsonFormatter(privacy), TextFormatter(privacy, coloured=False)):
        line = formatter.format(record)
        assert "hammer" not in line.lower()
        assert "About [hidden] and A [hidden]." in line
    privacy.release("job")
    assert privacy.clean(PROMPT) == PROMPT


def test_errors_of_the_system_keep_their_text_and_prompts_are_logged_on_request() -> None:
    with pytest.raises(OSError) as raised:
        Path("/no such file").read_bytes()
    assert "/no such file" in LogPrivacy().describe_exception(raised.value)
    open_privacy = LogPrivacy(log_prompts=True)
    open_privacy.hide("job", [PROMPT])
    assert open_privacy.clean(PROMPT) == PROMPT
    assert PROMPT in open_privacy.describe_exception(ValueError(PROMPT))


@settings(max_examples=30)
@given(prompts=st.lists(st.text(min_size=3), min_size=1, max_size=5))
def test_any_prompt_that_stands_alone_is_hidden(prompts: list[str]) -> None:
    privacy = LogPrivacy()
    privacy.hide("job", prompts)
    for prompt in prompts:
        assert privacy.clean(prompt) == logs.HIDDEN


def test_a_prompt_is_hidden_in_every_form() -> None:
    privacy = LogPrivacy()
    prompt = 'Türen "schlagen"\nzu'
    privacy.hide("job", [prompt])
    message = rewas_pb2.SoundSettings(prompt=prompt)
    for text in (prompt, repr(prompt), json.dumps(prompt), str(message), f"Work({[message]!r})"):
        assert "schlagen" not in privacy.clean(text)


def test_the_prompts_of_a_request_are_found() -> None:
    sound = rewas_pb2.SoundSettings(
        prompt="one", negative_prompt="two", layers=[rewas_pb2.Layer(name="rain", prompt="three")]
    )
    work = rewas_pb2.SoundWork(settings=sound, uploaded_media={"a": "b"})
    assert set(private_texts(rewas_pb2.SubmitJobRequest(sound=work))) == {"one", "two", "three"}


def test_lines_on_a_terminal_are_coloured_and_cannot_move_the_cursor() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "a\x1b[2Jb\nc", (), None)
    record.job_id = "0123456789abcdef"
    line = TextFormatter(LogPrivacy(), coloured=False).format(record)
    assert line.endswith("WARNING a�[2Jb�c [job 01234567]")
    assert "\x1b[33mWARNING" in TextFormatter(LogPrivacy(), coloured=True).format(record)


def test_the_output_of_a_child_is_logged(tmp_path: Path) -> None:
    child = """
import logging, sys
from rewas_server.logs import LogPrivacy, log_to_server
log_to_server("worker", LogPrivacy())
logging.getLogger("rewas.worker").warning("A structured record.", extra={"job_id": "j1"})
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("rewas.worker").exception("It failed.")
sys.stderr.write("\\x1enot json\\nplain text\\n" + "x" * 200_000 + "\\nwithout a line end")
"""

    async def run() -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", child, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        await forward_output(process.stderr, "worker", process.pid)
        await process.wait()
        return process.pid

    with open_log(tmp_path):
        pid = asyncio.run(run())
    records = read_log(tmp_path)
    assert {record["process"] for record in records} == {"worker"}
    assert {record["pid"] for record in records} == {pid}
    assert records[0] | {"time": ""} == {
        "time": "", "level": "WARNING", "logger": "rewas.worker", "process": "worker", "pid": pid,
        "message": "A structured record.", "job_id": "j1",
    }  # fmt: skip
    assert "ZeroDivisionError" in records[1]["exception"]
    messages = [record["message"] for record in records]
    assert messages[2:4] == ["\x1enot json", "plain text"]
    assert all(len(message) <= logs.MAX_LINE_CHARACTERS + 1 for message in messages)
    assert messages[-1] == "without a line end"


def test_a_pipe_can_be_forwarded_from_a_thread(tmp_path: Path) -> None:
    child = "import sys; sys.stderr.write('one\\ntwo')"
    process = subprocess.Popen([sys.executable, "-c", child], stderr=subprocess.PIPE, bufsize=0)
    assert process.stderr is not None
    with open_log(tmp_path):
        forward_pipe(process.stderr, "checking", process.pid)
    assert process.wait(30) == 0
    assert [(record["process"], record["message"]) for record in read_log(tmp_path)] == [
        ("checking", "one"), ("checking", "two"),
    ]  # fmt: skip


def test_an_unhandled_exception_of_a_child_is_logged_without_its_text(tmp_path: Path) -> None:
    child = (
        "import threading; from rewas_server.logs import LogPrivacy, log_to_server\n"
        "log_to_server('checking', LogPrivacy())\n"
        "def fail(): raise ValueError('a secret'.upper())\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join(); fail()"
    )
    process = subprocess.Popen([sys.executable, "-c", child], stderr=subprocess.PIPE, bufsize=0)
    assert process.stderr is not None
    with open_log(tmp_path):
        forward_pipe(process.stderr, "checking", process.pid)
    assert process.wait(30) == 1
    records = read_log(tmp_path)
    assert [record["level"] for record in records] == ["CRITICAL", "CRITICAL"]
    assert all("ValueError" in record["exception"] for record in records)
    assert "A SECRET" not in str(records)


def test_the_process_that_checks_requests_writes_to_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Something that any Python process can be made to print.
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    settings = CheckingSettings((), tmp_path, "starter", time_limit_s=30, memory_limit_bytes=2**40)
    with open_log(tmp_path):
        process = CheckingProcess(settings)
        process.end()
        for thread in threading.enumerate():
            if thread.name == "rewas-log":
                thread.join()
    records = read_log(tmp_path)
    assert any("rewas_server.checking" in record["message"] for record in records)
    assert {record["process"] for record in records} == {"checking"}
    assert {record["pid"] for record in records} == {process.pid}


def test_a_terminal_shows_colours(tmp_path: Path) -> None:
    child = (
        "import logging; from rewas_server.logs import LogPrivacy, log_to_terminal; log_to_terminal(LogPrivacy());"
        "logging.getLogger('rewas.server').warning('Hello.')"
    )
    viewer, terminal = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run([sys.executable, "-c", child], stderr=terminal, env=environment, timeout=50, check=True)
    shown = os.read(viewer, 1000).decode()
    os.close(viewer)
    os.close(terminal)
    assert "\x1b[33mWARNING\x1b[0m Hello." in shown


def test_a_flood_of_refused_calls_does_not_flood_the_log(tmp_path: Path) -> None:
    metrics = ServerMetrics()
    observer = calls.CallObserver(metrics)

    class Context:
        def peer(self) -> str:
            return "ipv4:127.0.0.1:1"

        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.UNAUTHENTICATED

    with open_log(tmp_path):
        for _ in range(1000):
            with pytest.raises(grpc.aio.AbortError), observer.call("GetJob", Context()):
                raise grpc.aio.AbortError
    assert len(read_log(tmp_path)) == calls.MAX_LOGGED_REFUSALS
    labels = {"method": "GetJob", "code": "UNAUTHENTICATED"}
    assert metrics.registry.get_sample_value("rewas_calls_total", labels) == 1000


def test_every_cause_has_a_series_from_the_start() -> None:
    value = ServerMetrics().registry.get_sample_value
    for cause in ("worker-ended", "out-of-memory", "deadline", "server-ended"):
        assert value("rewas_job_interruptions_total", {"cause": cause}) == 0
        assert value("rewas_worker_ends_total", {"cause": cause}) == 0


def test_failures_of_the_store_are_counted(tmp_path: Path) -> None:
    metrics = ServerMetrics()
    store = SqliteJobStore(tmp_path / "jobs.sqlite3", busy_timeout_s=0.1)
    board = JobBoard(store, JobTracker(metrics, LogPrivacy()))
    other = sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    request = rewas_pb2.SubmitJobRequest(idempotency_key="k")
    with pytest.raises(StoreUnavailable):
        asyncio.run(board.add(lifecycle.create_job("j1", "shot"), request))
    other.execute("ROLLBACK")
    other.close()
    store.close()
    assert metrics.registry.get_sample_value("rewas_store_errors_total") == 1
    assert metrics.registry.get_sample_value("rewas_jobs_submitted_total", {"kind": "unknown"}) is None


def test_a_job_that_begins_before_its_submission_returns_is_counted_once(tmp_path: Path) -> None:
    metrics = ServerMetrics()
    tracker = JobTracker(metrics, LogPrivacy())
    job = lifecycle.create_job("j1", "shot")
    tracker.job_changed(lifecycle.start_job(job))
    tracker.job_added(job, rewas_pb2.SubmitJobRequest(energy=rewas_pb2.EnergyWork()))
    value = metrics.registry.get_sample_value
    assert value("rewas_jobs", {"state": "running", "kind": "energy"}) == 1
    assert value("rewas_jobs", {"state": "running", "kind": "unknown"}) == 0
    assert value("rewas_jobs_submitted_total", {"kind": "energy"}) == 1


@pytest.fixture
def tracked(tmp_path: Path) -> Iterator[tuple[JobTracker, ServerMetrics]]:
    metrics = ServerMetrics()
    with open_log(tmp_path):
        yield JobTracker(metrics, LogPrivacy()), metrics


def test_the_life_of_a_job_is_logged_and_counted(tmp_path: Path, tracked: tuple[JobTracker, ServerMetrics]) -> None:
    tracker, metrics = tracked
    request = rewas_pb2.SubmitJobRequest(energy=rewas_pb2.EnergyWork())
    job = rewas_pb2.Job(id="j1", revision=1, state=rewas_pb2.JOB_STATE_QUEUED)
    tracker.job_added(job, request)

    def change(**fields: object) -> None:
        job.revision += 1
        job.MergeFrom(rewas_pb2.Job(**fields))
        tracker.job_changed(job)

    change(state=rewas_pb2.JOB_STATE_RUNNING, attempt=1, stage=rewas_pb2.STAGE_DECODE)
    older = rewas_pb2.Job(id="j1", revision=1, state=rewas_pb2.JOB_STATE_QUEUED)
    tracker.job_changed(older)
    cause = rewas_pb2.INTERRUPTION_CAUSE_OUT_OF_MEMORY
    change(state=rewas_pb2.JOB_STATE_QUEUED, interruptions=[rewas_pb2.Interruption(cause=cause, count=1)])
    assert metrics.registry.get_sample_value("rewas_queue_length") == 1
    change(state=rewas_pb2.JOB_STATE_RUNNING, attempt=2, stage=rewas_pb2.STAGE_ENERGY)
    problem = rewas_pb2.Problem(what=f"No {PROMPT}.", kind=rewas_pb2.PROBLEM_KIND_MEDIA)
    change(state=rewas_pb2.JOB_STATE_FAILED, problem=problem)
    change(state=rewas_pb2.JOB_STATE_QUEUED)
    change(state=rewas_pb2.JOB_STATE_CANCELLED)
    records = [(record["level"], re.sub(r"[\d.]+ s", "N s", record["message"])) for record in read_log(tmp_path)]
    assert records == [
        ("INFO", "The job was submitted (energy)."),
        ("INFO", "The job began (energy, attempt 1)."),
        ("WARNING", "The job was interrupted (out-of-memory)."),
        ("WARNING", "The job waits for another attempt after attempt 1."),
        ("INFO", "The job began (energy, attempt 2)."),
        ("INFO", "The job failed after N s (MEDIA)."),
        ("WARNING", "The job is retried on request."),
        ("INFO", "The job was cancelled."),
    ]
    assert {record["job_id"] for record in read_log(tmp_path)} == {"j1"}
    value = metrics.registry.get_sample_value
    assert value("rewas_jobs_submitted_total", {"kind": "energy"}) == 1
    assert value("rewas_job_interruptions_total", {"cause": "out-of-memory"}) == 1
    assert value("rewas_job_retries_total") == 1
    assert value("rewas_stage_seconds_count", {"stage": "decode"}) == 1
    ended = {"kind": "energy", "state": "failed", "problem": "media"}
    assert value("rewas_jobs_finished_total", ended) == 1
    assert value("rewas_job_run_seconds_count", {"kind": "energy"}) == 1
    assert value("rewas_queue_length") == 0
    gauges = [sample.value for family in metrics.registry.collect() if family.name == "rewas_jobs"
              for sample in family.samples]  # fmt: skip
    assert gauges
    assert not any(gauges)


def test_clips_that_fail_at_submission_are_counted(tracked: tuple[JobTracker, ServerMetrics]) -> None:
    tracker, metrics = tracked
    problem = rewas_pb2.Problem(what="The file is missing.", kind=rewas_pb2.PROBLEM_KIND_MEDIA)
    clip = rewas_pb2.Job(id="c1", revision=2, state=rewas_pb2.JOB_STATE_FAILED, parent_id="j1", problem=problem)
    tracker.job_added(clip, rewas_pb2.SubmitJobRequest(sound=rewas_pb2.SoundWork()))
    value = metrics.registry.get_sample_value
    ended = {"kind": "sound", "state": "failed", "problem": "media"}
    assert value("rewas_jobs_submitted_total", {"kind": "sound"}) == 1
    assert value("rewas_jobs_finished_total", ended) == 1
    tracker.job_changed(rewas_pb2.Job(id="c1", revision=3, state=rewas_pb2.JOB_STATE_QUEUED, parent_id="j1"))
    assert value("rewas_job_retries_total") == 1
    assert value("rewas_jobs", {"kind": "sound", "state": "queued"}) == 1
    tracker.job_changed(rewas_pb2.Job(id="c1", revision=4, state=rewas_pb2.JOB_STATE_FAILED, problem=problem))
    assert value("rewas_jobs_finished_total", ended) == 2
