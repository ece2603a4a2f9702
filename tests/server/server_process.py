"""A real server in a separate process, for tests."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

import grpc

from rewas_api.access import AUTHORIZATION_KEY, announced_token_path, read_token_file
from rewas_api.client import RewasClient

SERVE = """
import json, logging, sys
from pathlib import Path
from rewas_api.errors import ProblemError
from rewas_engine import Execution
from rewas_server.grpc.app import serve
from rewas_server.config import ClientLimits, DecodingSettings, ServerConfig
logging.basicConfig(level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
port, state_dir, default_pack, cancel_grace_s, settings, *roots = sys.argv[1:]
settings = json.loads(settings)
for name in {"certificate", "private_key", "ray_token_file", "video_model"} & set(settings):
    settings[name] = Path(settings[name])
if "limits" in settings:
    settings["limits"] = ClientLimits(**settings["limits"])
if "execution" in settings:
    settings["execution"] = Execution(**settings["execution"])
if "decoding" in settings:
    settings["decoding"] = DecodingSettings(**settings["decoding"])
given = {"upload_limit_bytes": 2**20, "queue_limit": 20, "cancel_grace_s": float(cancel_grace_s), "device": "cpu"}
config = ServerConfig(
    port=int(port), state_dir=Path(state_dir), allowed_roots=tuple(map(Path, roots)), default_pack=default_pack,
    **(given | settings),
)
try:
    serve(config, lambda port: print(port, flush=True))
except ProblemError as problem:
    sys.exit(str(problem))
print("torch" in sys.modules, flush=True)
"""

WITH_LOADING_WORKER = """
from rewas_server.worker import process
async def start_local_worker(config, device):
    return await process.WorkerProcess.start("loading_worker", [process.start_message(config, device)])
process.start_local_worker = start_local_worker
"""


class _MetadataSender(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self._metadata = metadata

    def _send(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(details._replace(metadata=(*(details.metadata or ()), *self._metadata)), request)

    intercept_unary_unary = intercept_unary_stream = _send
    intercept_stream_unary = intercept_stream_stream = _send


class ServerProcess:
    """A server on a free or given port. It is stopped with its worker at the end of the block.

    settings: further fields of ServerConfig, as far as JSON can express them.
    loads_pack: Whether its worker loads a pack and runs jobs; otherwise all jobs wait. See `loading_worker`.
    fault: Python code that runs before the server starts, to plant a fault in it.
    """

    def __init__(
        self,
        state_dir: Path,
        roots: Sequence[Path] = (),
        *,
        port: int = 0,
        packs_dir: Path | None = None,
        default_pack: str = "starter",
        cancel_grace_s: float = 60.0,
        settings: Mapping[str, object] | None = None,
        loads_pack: bool = True,
        fault: str = "",
    ) -> None:
        given = json.dumps(dict(settings or {}))
        arguments = [str(port), str(state_dir), default_pack, str(cancel_grace_s), given, *map(str, roots)]
        # On a busy machine, two threads that wait for each other are many times slower than one.
        environment = os.environ | {"REWAS_PACKS": str(packs_dir or ""), "OMP_NUM_THREADS": "1"}
        if not loads_pack:
            fault = WITH_LOADING_WORKER + fault
            here = str(Path(__file__).parent)
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (here, environment.get("PYTHONPATH"))))
        self._log: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in stop
        self._process = subprocess.Popen(
            [sys.executable, "-c", fault + SERVE, *arguments],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout
        self.state_dir = state_dir
        first_line = self._output.readline()
        if not first_line:
            self._process.wait()
            self.refusal = self.log().strip()
            self.port = 0
        else:
            self.refusal = ""
            self.port = int(first_line)

    def __enter__(self) -> Self:
        assert self.port, self.refusal
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def client(self) -> RewasClient:
        """A client that also waits for a busy machine, where the first request starts a process for its check."""
        return RewasClient(self.address, timeout_s=60)

    @property
    def token(self) -> str:
        return read_token_file(announced_token_path(self.port))

    def channel(self, token: str | None = None) -> grpc.Channel:
        """A channel for raw stubs and bytes, whose calls carry the token. token: instead of the server's."""
        metadata = ((AUTHORIZATION_KEY, f"Bearer {token or self.token}"),)
        return grpc.intercept_channel(grpc.insecure_channel(self.address), _MetadataSender(metadata))

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def worker_pids(self) -> list[int]:
        """The worker processes that are children of the server."""
        return self._children("rewas_server.worker.run")

    def checking_pids(self) -> list[int]:
        """The children of the server that check requests."""
        return self._children("rewas_server.checking.run")

    def _children(self, module: str) -> list[int]:
        return [pid for pid in children_of(self._process.pid) if module in _command_line(pid)]

    def descendant_pids(self) -> set[int]:
        """The server's children, and theirs."""
        parents, found = dict(_parents()), set[int]()
        while new := {pid for pid, parent in parents.items() if parent in {self.pid, *found}} - found:
            found |= new
        return found

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Stop the server with a signal, and return its exit status and its remaining output."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            rest, _ = self._process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return self._process.returncode, rest.strip()


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [child for child, parent in _parents() if parent == pid]


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def memory_bytes(pid: int, name: str = "VmHWM") -> int:
    """Return the memory of a process: VmHWM is its peak, VmRSS the present value. Raises OSError if it has ended."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        # The status of a zombie names no memory.
        raise ProcessLookupError(f"Process {pid} has ended.")
    return int(found[1]) * 1024


def is_running(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_ended(pid: int, timeout_s: float = 30.0) -> bool:
    """Wait until a process has ended. Returns False if it is still running after the timeout."""
    deadline_s = time.monotonic() + timeout_s
    while is_running(pid) and time.monotonic() < deadline_s:
        threading.Event().wait(0.01)
    return not is_running(pid)


def _parents() -> Iterator[tuple[int, int]]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
