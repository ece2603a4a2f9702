"""The server's side of a cluster: starts the relays, and Ray on this machine if no other cluster is set."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import secrets
import sys
from dataclasses import asdict, dataclass

from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.cluster.remote_work import ClusterSettings
from rewas_server.config import ServerConfig
from rewas_server.files.private_files import write_private_text
from rewas_server.logs import forward_output
from rewas_server.worker import messages
from rewas_server.worker.process import WorkerEnded, WorkerProcess, start_message

TOKEN_BYTES = 32
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 12.0
_log = logging.getLogger("rewas.server")


@dataclass(frozen=True)
class _Access:
    url: str
    token: str


class ClusterWorkers:
    """Starts a relay for each job that may run at the same time.

    Raises ProblemError (SETTINGS) if Ray is needed and not installed.
    """

    def __init__(self, config: ServerConfig) -> None:
        if not config.ray_url and importlib.util.find_spec("ray") is None:
            raise ProblemError(
                "The setting `backend` needs the package ray, which is not installed.",
                'Install it with `pip install "rewas-nle[ray]"`, or set `ray_url` to a cluster.',
                ProblemKind.SETTINGS,
            )
        self._config = config
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._forwarding: asyncio.Task[None] | None = None
        self._access: _Access | None = None

    async def start(self, device: str) -> WorkerProcess:
        """Start a relay. Raises WorkerEnded, OSError if it or the cluster does not start."""
        config = self._config
        access = await self._find_access(device)
        connect = messages.Connect(access.url, access.token, config.content_store_url, config.cancel_grace_s)
        return await WorkerProcess.start("rewas_server.cluster.relay", [start_message(config, device), connect])

    async def stop(self) -> None:
        """Stop Ray if it was started on this machine."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._process = None

    async def _find_access(self, device: str) -> _Access:
        if self._config.ray_url:
            return _Access(self._config.ray_url.rstrip("/"), await asyncio.to_thread(self._read_token))
        # All slots start at the same time, and share one cluster.
        async with self._starting:
            if self._process is None or self._process.returncode is not None or self._access is None:
                await self.stop()
                self._access = await self._start_ray(device)
            return self._access

    def _read_token(self) -> str:
        assert self._config.ray_token_file is not None
        try:
            return self._config.ray_token_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise WorkerEnded(f"the file in `ray_token_file` cannot be read: {error}") from error

    async def _start_ray(self, device: str) -> _Access:
        config, token = self._config, secrets.token_urlsafe(TOKEN_BYTES)
        await asyncio.to_thread(write_private_text, config.ray_token_path, token + "\n")
        settings = ClusterSettings(
            content_store=config.content_store_url,
            token=token,
            default_pack=config.default_pack,
            device=device,
            execution=asdict(config.execution),
            decoding=asdict(config.decoding),
            conflict_model=str(config.conflict_model or ""),
            avh_model=str(config.avh_model or ""),
            picture_model=str(config.picture_model or ""),
            sound_model=str(config.sound_model or ""),
            language_model=str(config.language_model or ""),
            video_model=str(config.video_model or ""),
            min_replicas=config.ray_replicas,
            max_replicas=config.ray_replicas,
            jobs_per_replica=config.ray_jobs_per_replica,
            loopback_only=True,
        )
        pipe = asyncio.subprocess.PIPE
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rewas_server.cluster.local"),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            # Protects it from Ctrl-C in the terminal.
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._forwarding = asyncio.create_task(forward_output(process.stderr, "cluster", process.pid))
        given = settings.to_arguments() | {"log_level": config.log_level}
        with contextlib.suppress(ConnectionError):
            process.stdin.write(json.dumps(given).encode() + b"\n")
            await process.stdin.drain()
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await process.stdout.readline()
        except TimeoutError:
            process.kill()
            raise WorkerEnded(f"Ray did not start within {START_TIMEOUT_S:g} s") from None
        if not line.strip().isdigit():
            raise WorkerEnded(f"Ray did not start on this machine (status {await process.wait()})")
        url = f"http://127.0.0.1:{int(line)}"
        _log.info("The replicas can be reached at %s, with the token in %s.", url, config.ray_token_path)
        return _Access(url, token)
