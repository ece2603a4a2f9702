"""The Ray Serve application: a gate that checks the token, and the replicas behind it.

Deploy it with `import_path: rewas_server.cluster.app:build_app`; its arguments are those of `ClusterSettings`.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from rewas_server.cluster import replica
from rewas_server.cluster.remote_work import ClusterSettings
from rewas_server.worker import messages

REPLICA_NAME = "Replica"
HEALTH_CHECK_PERIOD_S = 5.0
HEALTH_CHECK_TIMEOUT_S = 20.0
DRAIN_S = 3600.0
"""Time in which a replica that Ray removes can finish its job."""
_MAX_CALLS = 10_000
_STATUS_AGE_S = 1.0


def build_app(arguments: Mapping[str, Any]) -> serve.Application:
    """Build the application. Raises TypeError for an unknown argument, ValueError without a token."""
    settings = ClusterSettings(**arguments)
    token = settings.token or Path(settings.token_file).read_text("utf-8").strip()
    if not token:
        raise ValueError("The token is empty.")
    replicas: dict[str, Any] = {"num_replicas": settings.min_replicas}
    if settings.max_replicas > settings.min_replicas:
        scaling = {"min_replicas": settings.min_replicas, "max_replicas": settings.max_replicas}
        replicas = {"autoscaling_config": {**scaling, "target_ongoing_requests": settings.jobs_per_replica}}
    engine = serve.deployment(
        replica.Replica,
        name=REPLICA_NAME,
        max_ongoing_requests=settings.jobs_per_replica,
        graceful_shutdown_timeout_s=DRAIN_S,
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        health_check_timeout_s=HEALTH_CHECK_TIMEOUT_S,
        ray_actor_options={"num_cpus": settings.cpus_per_replica, "num_gpus": settings.gpus_per_replica},
        **replicas,
    )
    gate = serve.deployment(Gate, name="Gate", max_ongoing_requests=_MAX_CALLS, ray_actor_options={"num_cpus": 0})
    return gate.bind(engine.bind(dict(arguments)), token, settings.loopback_only)


class Gate:
    """Passes on requests with the right token, and reports how many replicas run.

    POST /work takes a `RemoteWork` and returns the messages of a replica, which stops when the caller hangs up.
    GET /ready returns the number of running replicas, and why there is none.
    """

    def __init__(self, replicas: DeploymentHandle, token: str, loopback_only: bool) -> None:
        if loopback_only:
            replica.listen_on_loopback()
        self._replicas = replicas.options(method_name="run", stream=True)
        self._authorization = f"Bearer {token}".encode()
        self._status: tuple[float, dict[str, object]] = (float("-inf"), {})

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), self._authorization):
            return PlainTextResponse("The token is missing or wrong.", 401)
        match request.method, request.url.path:
            case "GET", "/ready":
                return JSONResponse(await self._readiness())
            case "POST", "/work":
                body = await _read_body(request)
                if body is None:
                    return PlainTextResponse("The request is too large.", 413)
                return StreamingResponse(self._run(body), media_type="application/jsonl")
        return PlainTextResponse("Not found.", 404)

    async def _run(self, body: bytes) -> AsyncIterator[bytes]:
        stream = self._replicas.remote(body)
        lines = aiter(stream)
        first = asyncio.ensure_future(anext(lines))
        try:
            # It may take hours until a replica is free. Then only the replica sends heartbeats: they end if it hangs.
            while not (await asyncio.wait([first], timeout=replica.HEARTBEAT_S))[0]:
                yield messages.to_line(messages.Heartbeat())
            yield first.result()
            async for each in lines:
                yield each
        finally:
            first.cancel()
            stream.cancel()

    async def _readiness(self) -> dict[str, object]:
        checked_s, status = self._status
        if time.monotonic() - checked_s > _STATUS_AGE_S:
            status = await asyncio.to_thread(_count_replicas, serve.get_replica_context().app_name)
            self._status = (time.monotonic(), status)
        return status


def _count_replicas(app_name: str) -> dict[str, object]:
    app = serve.status().applications.get(app_name)
    found = None if app is None else app.deployments.get(REPLICA_NAME)
    if found is None:
        return {"replicas": 0, "problem": "The application is being deployed."}
    return {"replicas": found.replica_states.get("RUNNING", 0), "problem": found.message or found.status}


async def _read_body(request: Request) -> bytes | None:
    parts, size_bytes = [], 0
    async for part in request.stream():
        size_bytes += len(part)
        if size_bytes > messages.MAX_LINE_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)
