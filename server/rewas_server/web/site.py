"""The web page over HTTP on 127.0.0.1.

aiohttp serves it in the event loop of the server. It parses HTTP, and answers requests for ranges of files; the checks
of `access` and the limits of `connections` come before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rewas_api import __version__
from rewas_api.errors import ProblemError, ProblemKind
from rewas_server.config import ServerConfig
from rewas_server.jobs.artifacts import artifact_path
from rewas_server.jobs.board import JobBoard
from rewas_server.jobs.retention import FetchLog
from rewas_server.jobs.scheduler import Scheduler
from rewas_server.web.access import (
    SECURITY_HEADERS,
    SESSION_LIFETIME_S,
    SESSION_PATH,
    RequestCheck,
    Sessions,
    cookie_name,
)
from rewas_server.web.audio import send_sound
from rewas_server.web.connections import ConnectionGuard
from rewas_server.web.links import WEB_HOST
from rewas_server.web.view import PageReader

MAX_BODY_BYTES = 4096
MAX_LINE_BYTES, MAX_HEADER_BYTES, MAX_HEADERS = 2048, 8190, 64
REQUEST_TIMEOUT_S = 30.0
AUDIO_TIMEOUT_S = 120.0
"""Seconds for one answer with sound. A player that was paused asks for the rest again."""
SNAPSHOT_S = 0.5
"""Time for which one snapshot of the page serves all browsers."""
PAGES = Path(__file__).parent / "pages"
STATIC_FILES = {"/page.css": "text/css", "/page.js": "text/javascript", "/icon.svg": "image/svg+xml"}
AUDIO_PATH = "/jobs/{job_id}/audio/{name}"
USED_LINK = "The token is wrong, or the link has expired or was used before. Run `rewas status --web` for a new link."
_STATUS_BY_KIND = {ProblemKind.NOT_FOUND: 404, ProblemKind.RESOURCES: 503}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = logging.getLogger("rewas.server")


@contextlib.asynccontextmanager
async def serve_web_page(
    port: int,
    token: str,
    board: JobBoard,
    scheduler: Scheduler,
    fetches: FetchLog,
    config: ServerConfig,
) -> AsyncIterator[int]:
    """Within, serve the page on 127.0.0.1. Yields the port.

    Args:
        port: 0 picks a free one.
        token: The server's token, which opens the page.
        board: The jobs.
        scheduler: The state of the workers.
        fetches: Learns which files browsers are reading.
        config: The configuration of the server.

    Raises:
        ProblemError: RESOURCES. The port is taken.
    """
    loop = asyncio.get_running_loop()
    page = _Page(board, scheduler, config)
    site = _Site(page, Sessions(token), fetches)
    runner = web.AppRunner(
        site.application(),
        access_log=None,
        handle_signals=False,
        logger=_log,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=MAX_HEADERS,
        lingering_time=1.0,
        auto_decompress=False,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    assert runner.server is not None
    site.connections = ConnectionGuard(runner.server)
    try:
        listener = await loop.create_server(site.connections, WEB_HOST, port)
    except OSError as error:
        await runner.cleanup()
        raise ProblemError(
            f"Cannot serve the web page on port {port} ({error.strerror or error}).",
            "Choose another port with `rewas serve --web-port`.",
            ProblemKind.RESOURCES,
        ) from error
    try:
        bound_port: int = listener.sockets[0].getsockname()[1]
        site.listen_at(bound_port)
        yield bound_port
    finally:
        listener.close()
        site.connections.close()
        await runner.cleanup()


async def answer_in_time(
    request: web.Request, connections: ConnectionGuard, respond: Callable[[], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Make a response and send it. A browser that reads too slowly is disconnected."""
    transport = request.transport
    limit_s = AUDIO_TIMEOUT_S if request.path.startswith("/jobs/") else REQUEST_TIMEOUT_S
    with connections.serving(transport):
        try:
            async with asyncio.timeout(limit_s):
                response = await respond()
                # Here, because aiohttp sends a response after the middlewares, without limit of time.
                await response.prepare(request)
                await response.write_eof()
                return response
        except (TimeoutError, ConnectionError):
            if transport is not None:
                transport.abort()
            raise asyncio.CancelledError from None


class _Page:
    """The page as text. One snapshot at a time serves all browsers."""

    def __init__(self, board: JobBoard, scheduler: Scheduler, config: ServerConfig) -> None:
        self.board, self.config = board, config
        self._reader = PageReader(board, scheduler, config)
        self._templates = Environment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined)
        self._lock = asyncio.Lock()
        self._live, self._read_at_s = "", float("-inf")

    async def live(self) -> str:
        """The part of the page that changes. Raises ProblemError (RESOURCES)."""
        async with self._lock:
            if time.monotonic() - self._read_at_s > SNAPSHOT_S:
                view = await self._reader.read()
                self._live = await asyncio.to_thread(self._templates.get_template("live.html").render, page=view)
                self._read_at_s = time.monotonic()
            return self._live

    def render(self, name: str, **values: Any) -> str:
        return self._templates.get_template(name).render(**values)


class _Site:
    """The paths of the page, and the checks before them."""

    def __init__(self, page: _Page, sessions: Sessions, fetches: FetchLog) -> None:
        self._page, self._sessions, self._fetches = page, sessions, fetches
        self._check = RequestCheck(0)
        self._cookie = cookie_name(0)
        self.connections: ConnectionGuard

    def listen_at(self, port: int) -> None:
        """Accept requests for this port."""
        self._check = RequestCheck(port)
        self._cookie = cookie_name(port)

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._answer], client_max_size=MAX_BODY_BYTES)
        application.router.add_get("/", self._show_page)
        application.router.add_get("/live", self._show_live)
        application.router.add_get(AUDIO_PATH, self._send_audio)
        application.router.add_post(SESSION_PATH, self._begin_session)
        for path in STATIC_FILES:
            application.router.add_get(path, self._send_static)
        return application

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        async def respond() -> web.StreamResponse:
            response = await self._respond(request, handler)
            response.headers.update(SECURITY_HEADERS)
            return response

        return await answer_in_time(request, self.connections, respond)

    async def _respond(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        names = {name.lower() for name in request.headers}
        refusal = self._check.refusal(
            request.method,
            request.path,
            {name: request.headers[name] for name in names},
            {name: len(request.headers.getall(name)) for name in names},
        )
        if refusal is not None:
            return _text(refusal.status, refusal.sentence, refusal.allowed)
        is_public = request.path in STATIC_FILES or request.path == SESSION_PATH
        if not is_public and not self._sessions.is_open(request.cookies.get(self._cookie)):
            if request.path == "/":
                return self._show_login(401, "")
            return _text(401, "Open the page with the server's token.")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _text(error.status, f"{error.reason}.")
        except ProblemError as problem:
            return _text(_STATUS_BY_KIND.get(problem.kind, 500), f"{problem.what} {problem.remedy}")
        except ConnectionError:
            raise
        except Exception as error:
            reference = secrets.token_hex(4)
            _log.error("Internal error %s of the web page.", reference, exc_info=error)
            return _text(500, f"An internal error occurred. Look for {reference} in the server's log.")

    async def _show_page(self, request: web.Request) -> web.StreamResponse:
        return _html(200, self._page.render("index.html", version=__version__, live=await self._page.live()))

    async def _show_live(self, request: web.Request) -> web.StreamResponse:
        live = await self._page.live()
        tag = f'"{hashlib.sha256(live.encode()).hexdigest()[:32]}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        response = _html(200, live)
        response.headers["ETag"] = tag
        return response

    async def _send_static(self, request: web.Request) -> web.StreamResponse:
        text = (PAGES / request.path[1:]).read_text("utf-8")
        return web.Response(text=text, content_type=STATIC_FILES[request.path], charset="utf-8")

    async def _send_audio(self, request: web.Request) -> web.StreamResponse:
        job_id, name = request.match_info["job_id"], request.match_info["name"]
        # From before the job is read, so that its files cannot be deleted in between.
        with self._fetches.fetching(job_id):
            job = await self._page.board.get(job_id)
            path, _ = artifact_path(self._page.config.artifacts_dir, job, name)
            return await send_sound(request, path, dict(SECURITY_HEADERS))

    async def _begin_session(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/x-www-form-urlencoded":
            return _text(415, "Send a form.")
        form = parse_qs((await request.read()).decode("ascii", "replace"), max_num_fields=4)
        cookie = self._sessions.begin("".join(form.get("secret", []))[:MAX_BODY_BYTES].strip())
        if cookie is None:
            return self._show_login(401, USED_LINK)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            self._cookie, cookie, max_age=SESSION_LIFETIME_S, path="/", httponly=True, samesite="Strict"
        )
        return response

    def _show_login(self, status: int, problem: str) -> web.Response:
        return _html(status, self._page.render("login.html", problem=problem))


def _html(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text, content_type="text/html", charset="utf-8")


def _text(status: int, sentence: str, allowed: Sequence[str] = ()) -> web.Response:
    headers = {"Allow": ", ".join(allowed)} if allowed else {}
    return web.Response(status=status, text=sentence + "\n", content_type="text/plain", headers=headers)
