"""A job store in a real PostgreSQL: lost connections, crashes of both sides, other stores, and passwords."""

import contextlib
import logging
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from postgres_server import PASSWORD, PASSWORD_USER, PostgresServer, postgres_server
from server_process import ServerProcess
from stored_jobs import add, add_timeline, all_ids, end, ids, job, request
from typer.testing import CliRunner

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_cli import diagnosis
from rewas_cli.app import app
from rewas_server.config import ServerConfig
from rewas_server.config_file import resolve_config
from rewas_server.jobs import lifecycle, postgres_store
from rewas_server.jobs.postgres_store import PostgresJobStore
from rewas_server.jobs.state_identity import StateIdentity
from rewas_server.jobs.store import StoreUnavailable, WorkDuration

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")]


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    server = postgres_server()
    yield server
    if not server.is_running:
        server.start()


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_store()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_store, "REOPEN_INTERVAL_S", 0.0)


class Relay:
    """A socket that leads to the database, and that can cut the connection at a commit.

    cut: "before" the commit reaches the database, "after" it was made and before the answer comes back, or "".
    """

    def __init__(self, folder: Path, target: Path) -> None:
        self.folder, self.cut, self.cuts = folder, "", 0
        self._target = str(target / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._target)
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(source, target, source is client), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_client and self.cut and b"COMMIT" in data:
                    cut, self.cut = self.cut, ""
                    self.cuts += 1
                    if cut == "after":
                        # The client hears no more, but the database answers.
                        source.shutdown(socket.SHUT_WR)
                        target.sendall(data)
                        target.shutdown(socket.SHUT_WR)
                    break
                with contextlib.suppress(BrokenPipeError):
                    target.sendall(data)
        if not is_client or not self.cuts:
            for each in (source, target):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        elif self.cuts:
            with contextlib.suppress(OSError):
                source.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_WR)


@pytest.fixture
def relay(postgres: PostgresServer) -> Iterator[Relay]:
    # Names of sockets are short.
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        opened = Relay(Path(folder), postgres.socket_folder)
        yield opened
        opened.close()


def test_a_database_that_comes_back_has_every_acknowledged_job(postgres: PostgresServer, url: str) -> None:
    store = PostgresJobStore(url)
    for number, end_signal in enumerate((signal.SIGQUIT, signal.SIGINT)):
        add(store, f"{number}")
        postgres.stop(end_signal)
        calls: list[Callable[[], object]] = [
            lambda: add(store, "new"),
            lambda: store.get("0"),
            store.queue,
            lambda: store.update("0", lifecycle.start_job),
        ]
        for call in calls:
            with pytest.raises(StoreUnavailable, match="cannot be reached") as raised:
                call()
            assert raised.value.kind is ProblemKind.RESOURCES
        postgres.start()
        assert all_ids(store) == [str(each) for each in range(number + 1)]
        assert store.get("0").state == rewas_pb2.JOB_STATE_QUEUED
    store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        store.queue()


def test_a_store_can_be_opened_while_the_database_is_down(
    postgres: PostgresServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    postgres.stop()
    store = PostgresJobStore(url)
    assert "not available yet" in caplog.text
    with pytest.raises(StoreUnavailable):
        store.queue()
    postgres.start()
    add(store, "1")
    assert all_ids(store) == ["1"]
    store.close()


def test_connections_that_were_lost_while_idle_are_replaced_unnoticed(postgres: PostgresServer, url: str) -> None:
    store = PostgresJobStore(url)
    add(store, "1")
    ended = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name LIKE 'rewas %'"
    for number in range(2, 5):
        postgres.execute(ended)
        if number % 2:
            assert store.get("1").id == "1"
        add(store, str(number))
    assert all_ids(store) == ["1", "2", "3", "4"]
    store.close()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_change_whose_confirmation_was_lost_is_made_once_or_not_at_all(
    postgres: PostgresServer, relay: Relay, url: str, cut: str
) -> None:
    through_relay = url.replace(
        postgres.url().partition("host=")[2], postgres.url(folder=relay.folder).partition("host=")[2]
    )
    store = PostgresJobStore(through_relay)
    add(store, "1")
    for count in range(1, 4):
        relay.cut = cut
        changed: list[int] = []

        def step(before: rewas_pb2.Job, changed: list[int] = changed) -> rewas_pb2.Job:
            after = rewas_pb2.Job()
            after.CopyFrom(before)
            after.step += 1
            changed.append(after.step)
            return after

        if cut == "before":
            with pytest.raises(StoreUnavailable):
                store.update("1", step)
            assert store.get("1").step == 0
        else:
            assert store.update("1", step).step == count
            assert store.get("1").step == count
        assert len(changed) == 1
        assert relay.cuts == count
    store.close()


def test_a_second_server_on_the_same_store_is_refused(postgres: PostgresServer, url: str) -> None:
    store = PostgresJobStore(url)
    add(store, "1")
    with pytest.raises(ProblemError, match="Another ReWaS server uses the database") as raised:
        PostgresJobStore(url, busy_timeout_s=0.2)
    assert not isinstance(raised.value, StoreUnavailable)
    assert str(os.getpid()) in raised.value.what
    other = PostgresJobStore(postgres.new_store())
    assert all_ids(other) == []
    other.close()
    store.close()
    next_store = PostgresJobStore(url)
    assert all_ids(next_store) == ["1"]
    next_store.close()


def test_a_store_that_another_server_took_over_changes_nothing(postgres: PostgresServer, url: str) -> None:
    store = PostgresJobStore(url, busy_timeout_s=0.3)
    add(store, "1")
    postgres.stop()
    postgres.start()
    other = PostgresJobStore(url)
    with pytest.raises(StoreUnavailable, match="Another ReWaS server"):
        store.update("1", lifecycle.start_job)
    other.close()
    assert store.update("1", lifecycle.start_job).state == rewas_pb2.JOB_STATE_RUNNING
    store.close()


def test_a_busy_database_is_waited_for_and_then_reported(postgres: PostgresServer, url: str) -> None:
    store = PostgresJobStore(url, busy_timeout_s=0.3)
    add(store, "1")
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE job")
        for call in (lambda: add(store, "2"), lambda: store.get("1"), lambda: store.update("1", lifecycle.start_job)):
            with pytest.raises(StoreUnavailable, match="busy"):
                call()
    add(store, "2")
    assert all_ids(store) == ["1", "2"]
    store.close()


def test_a_row_that_cannot_be_read_is_set_aside(url: str) -> None:
    store = PostgresJobStore(url)
    add(store, "good", "bad snapshot", "bad request")
    with psycopg.connect(url) as other:
        other.execute(r"UPDATE job SET snapshot = '\xffff' WHERE id = 'bad snapshot'")
        other.execute(r"UPDATE job_request SET message = '\xffff' WHERE job_id = 'bad request'")
    assert store.unfinished() == ["good"]
    assert [aside.id for aside in store.set_aside_jobs()] == ["bad request", "bad snapshot"]
    for name in ("bad snapshot", "bad request"):
        assert store.get(name).state == rewas_pb2.JOB_STATE_FAILED
        assert "damaged" in store.get(name).problem.what
    found = store.next_queued()
    assert found is not None
    assert found[0].id == "good"
    store.delete("bad snapshot")
    assert [aside.id for aside in store.set_aside_jobs()] == ["bad request"]
    store.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE job_store SET contract_version = contract_version + 1", "a newer version"),
        ("UPDATE job_store SET contract_version = contract_version - 1", "an older version"),
        ("DROP TABLE work_duration", "not a job store"),
        ("DROP TABLE job_store", "not a job store"),
    ],
)
def test_another_store_is_refused(url: str, statement: str, words: str) -> None:
    PostgresJobStore(url).close()
    with psycopg.connect(url) as other:
        other.execute(statement.encode())
    with pytest.raises(ProblemError, match=words) as raised:
        PostgresJobStore(url)
    assert raised.value.kind is ProblemKind.RESOURCES


def test_a_database_that_is_not_fit_is_refused(postgres: PostgresServer, url: str) -> None:
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(ProblemError, match="UTF-8"):
        PostgresJobStore(postgres.url(database="latin"))
    postgres.execute("CREATE ROLE guest LOGIN")
    with pytest.raises(ProblemError, match="does not let its user create") as raised:
        PostgresJobStore(postgres.url(user="guest"))
    assert "CREATE" in raised.value.remedy
    with pytest.raises(ProblemError, match="no schema"):
        PostgresJobStore(postgres.url(schema="absent"))


class Steps:
    """Kills this process after the given exchange of messages with the database, which is before the next one."""

    def __init__(self, fatal: int) -> None:
        self._fatal, self._count = fatal, 0
        wait = psycopg.Connection.wait

        def counted(connection: psycopg.Connection, *values: object, **options: object) -> object:
            result = wait(connection, *values, **options)  # type: ignore[arg-type]
            self._step()
            return result

        psycopg.Connection.wait = counted  # type: ignore[method-assign, assignment]

    def _step(self) -> None:
        self._count += 1
        if self._count == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)


def live(url: str, acknowledge: Callable[[str], None]) -> None:
    store = PostgresJobStore(url)
    store.add(job("new"), request("new"))
    acknowledge("submit")
    store.update("new", lifecycle.start_job)
    acknowledge("start")
    store.update("new", lambda before: lifecycle.complete_job(before, rewas_pb2.SoundResult()))
    acknowledge("finish")
    add_timeline(store, "film", clips=2)
    acknowledge("film")
    end(store, "film.1", "film.2", "film")
    store.delete("film")
    acknowledge("delete")
    store.record_duration(WorkDuration("sound", "starter", "cpu", 1.0, 2.0))
    acknowledge("record")
    store.close()


def run_until(step: int, url: str) -> tuple[bool, list[str]]:
    """Live in a process that is killed at a step. Returns whether it was, and what was acknowledged."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.close(reading)
            Steps(step)
            live(url, lambda text: (os.write(writing, f"{text}\n".encode()), None)[1])
            os._exit(0)
        os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        acknowledged = pipe.read().splitlines()
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status), acknowledged


def test_a_server_may_be_killed_at_each_exchange_with_the_database(postgres: PostgresServer) -> None:
    states = [rewas_pb2.JOB_STATE_QUEUED, rewas_pb2.JOB_STATE_RUNNING, rewas_pb2.JOB_STATE_SUCCEEDED]
    pieces = ("submit", "start", "finish", "film", "delete", "record")
    seen: set[int] = set()
    has_deleted: list[bool] = []
    step, was_killed = 0, True
    while was_killed:
        step += 1
        url = postgres.new_store()
        was_killed, acknowledged = run_until(step, url)
        seen.add(len(acknowledged))
        store = PostgresJobStore(url)
        assert store.set_aside_jobs() == []
        stored = [each for each in store.list_page(10).jobs if each.id == "new"]
        assert len(stored) == 1 or (stored == [] and "submit" not in acknowledged)
        if stored:
            done = ["start" in acknowledged, "finish" in acknowledged].count(True)
            assert states.index(stored[0].state) in (done, done + 1)
            assert store.request("new") == request("new")
        has_film = "film" in all_ids(store)
        assert ids(store.children("film", 100).jobs) == (["film.1", "film.2"] if has_film else [])
        has_deleted.append(not has_film and acknowledged[-1:] == ["film"])
        assert not (has_film and "delete" in acknowledged)
        assert len(store.durations("sound", "starter", "cpu")) in ({1} if "record" in acknowledged else {0, 1})
        assert store.add(job("again"), request("new")).id == ("new" if stored else "again")
        store.close()
    assert acknowledged == list(pieces)
    assert seen == set(range(len(pieces) + 1))
    # The film is there until the exchange that deletes it, and only the answer can be lost.
    assert has_deleted.count(True) == 1
    assert step > 40


def when_available(call: Callable[[], rewas_pb2.Job]) -> rewas_pb2.Job:
    """Call until the store is available, which takes up to a second."""
    deadline_s = time.monotonic() + 30
    while True:
        try:
            return call()
        except ProblemError:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)


def test_a_server_keeps_its_jobs_in_the_database(postgres: PostgresServer, url: str, tmp_path: Path) -> None:
    state_dir, other_dir = tmp_path / "state", tmp_path / "other"
    work = rewas_pb2.EnergyWork(pack="starter")
    settings = {"database": url}
    store = PostgresJobStore(url, identity=StateIdentity(state_dir))
    for number in range(3):
        store.add(job(str(number)), rewas_pb2.SubmitJobRequest(idempotency_key=str(number), energy=work))
        store.update(str(number), lifecycle.request_cancel)
    store.close()
    with ServerProcess(state_dir, settings=settings, loads_pack=False) as server, server.client() as client:
        assert sorted(each.id for each in client.list_jobs()) == ["0", "1", "2"]
        refused = ServerProcess(other_dir, settings=settings, loads_pack=False)
        assert "Another ReWaS server uses the database" in refused.refusal
        postgres.stop()
        with pytest.raises(ProblemError, match="cannot be reached") as raised:
            client.get_job("0")
        assert raised.value.kind is ProblemKind.RESOURCES
        postgres.start()
        assert when_available(lambda: client.get_job("0")).state == rewas_pb2.JOB_STATE_CANCELLED
        server.kill()
    with ServerProcess(state_dir, settings=settings, loads_pack=False) as server, server.client() as client:
        assert client.get_job("2").state == rewas_pb2.JOB_STATE_CANCELLED
        assert not (state_dir / "jobs.sqlite3").exists()
        assert "Traceback" not in server.log()
        status, _ = server.stop()
        assert status == 0, server.log()


def test_passwords_come_from_where_libpq_looks(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    postgres.execute(f"ALTER SCHEMA public OWNER TO {PASSWORD_USER}")
    url = postgres.url(user=PASSWORD_USER)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "absent"))
    with pytest.raises(StoreUnavailable, match="password"):
        PostgresJobStore(url).queue()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    PostgresJobStore(url).close()
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "passwords").write_text(f"*:*:*:{PASSWORD_USER}:{PASSWORD}\n")
    (tmp_path / "passwords").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "passwords"))
    PostgresJobStore(url).close()
    assert PASSWORD not in caplog.text


def test_a_password_in_the_url_is_shown_nowhere(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "not-the-pass-word"
    url = postgres.url(user=PASSWORD_USER).replace("@", f":{wrong}@", 1)
    with pytest.raises(StoreUnavailable) as raised:
        PostgresJobStore(url).queue()
    config_path = tmp_path / "config.toml"
    config_path.write_text(f'database = "{url}"\n')
    shown = CliRunner().invoke(app, ["config", "show", "--config", str(config_path)])
    as_json = CliRunner().invoke(app, ["config", "show", "--config", str(config_path), "--json"])
    assert shown.exit_code == as_json.exit_code == 0
    assert f"{PASSWORD_USER}@" in shown.output
    on_command_line = CliRunner().invoke(app, ["serve", "--database", url, "--state-dir", str(tmp_path / "state")])
    assert on_command_line.exit_code != 0
    assert "contains a password" in str(on_command_line.exception) + on_command_line.output
    config = resolve_config({}, config_path).config
    assert config.database == url
    with ServerProcess(
        tmp_path / "state", settings={"database": url, "log_level": "debug"}, loads_pack=False
    ) as server:
        said = server.log()
        with server.client() as client, pytest.raises(ProblemError) as answer:
            client.get_job("1")
    texts = (str(raised.value), caplog.text, shown.output, as_json.output, on_command_line.output, repr(config), said)
    log_files = "".join(path.read_text() for path in (tmp_path / "state" / "logs").iterdir())
    for text in (*texts, str(on_command_line.exception), str(answer.value), log_files):
        assert wrong not in text


@pytest.mark.parametrize(
    "database",
    ["mysql://u:secret@h/db", "host=h password=secret", "postgresql://u:sec/ret@h/db", "postgresql://u:se@cret@h/db"],
)
def test_a_database_of_another_form_is_refused_and_not_repeated(database: str) -> None:
    with pytest.raises(ProblemError, match="`database`") as raised:
        ServerConfig(database=database)
    assert "sec" not in str(raised.value)
    assert raised.value.kind is ProblemKind.SETTINGS


def test_the_doctor_checks_the_database(url: str, tmp_path: Path) -> None:
    def check(database: str = url) -> tuple[dict[str, str], str]:
        findings = list(diagnosis._check_database(ServerConfig(database=database, state_dir=tmp_path)))
        return {each.name: each.level for each in findings}, " ".join(each.found for each in findings)

    levels, found = check()
    assert "is empty" in found
    assert diagnosis.PROBLEM not in levels.values()
    with contextlib.closing(PostgresJobStore(url, identity=StateIdentity(tmp_path))) as store:
        add(store, "1")
        # A server that uses the store is not disturbed.
        assert "Number of jobs: 1." in check()[1]
        assert store.get("1").id == "1"
    (tmp_path / "identity").write_text("another")
    levels, found = check()
    assert "does not belong to" in found
    assert levels["database"] == diagnosis.PROBLEM
    with pytest.raises(ProblemError, match="cannot be reached") as raised:
        check("postgresql://editor:secret@127.0.0.1:1/films")
    assert "secret" not in str(raised.value)
