"""Slow and silent connections to the web page, over real sockets, with short limits."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from rewas_server.web import site
from rewas_server.web.access import MAX_SESSIONS, SESSION_LIFETIME_S, Sessions
from rewas_server.web.audio import send_sound
from rewas_server.web.connections import ConnectionGuard
from rewas_server.web.links import LINK_LIFETIME_S, LinkCheck, make_link

IDLE_S = 0.3
TIMEOUT_S = 20.0
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@contextlib.asynccontextmanager
async def guarded(application: web.Application, max_connections: int = 4) -> AsyncIterator[tuple[ConnectionGuard, int]]:
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    assert runner.server is not None
    guard = ConnectionGuard(runner.server, max_connections, IDLE_S)
    listener = await asyncio.get_running_loop().create_server(guard, "127.0.0.1", 0)
    try:
        yield guard, listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        guard.close()
        await runner.cleanup()


async def read_until_closed(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    async with asyncio.timeout(TIMEOUT_S):
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                answer += part
    return answer


def hello() -> web.Application:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(text="hello")

    application = web.Application()
    application.router.add_get("/", answer)
    return application


def test_a_connection_that_sends_no_request_is_closed() -> None:
    async def run() -> None:
        async with guarded(hello()) as (_, port):
            for sent in (b"", REQUEST[:-2]):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(sent)
                assert await read_until_closed(reader) == b""
                writer.close()

    asyncio.run(run())


def test_one_byte_at_a_time_does_not_keep_a_connection() -> None:
    async def run() -> None:
        async with guarded(hello()) as (_, port), asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            closed = asyncio.create_task(read_until_closed(reader))
            writer.write(REQUEST[:-2] + b"X: ")
            while not closed.done():
                writer.write(b"x")
                await asyncio.wait([closed], timeout=IDLE_S / 10)
            assert closed.result() == b""
            writer.close()

    asyncio.run(run())


def test_a_connection_is_closed_after_its_last_request() -> None:
    async def run() -> None:
        async with guarded(hello()) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST + REQUEST)
            assert (await read_until_closed(reader)).count(b"hello") == 2
            writer.close()

    asyncio.run(run())


def test_further_connections_are_closed_at_once_and_later_ones_are_served() -> None:
    async def run() -> None:
        async with guarded(hello(), max_connections=2) as (_, port):
            opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await read_until_closed(reader) == b""
            writer.close()
            for first_reader, first_writer in opened:
                await read_until_closed(first_reader)
                first_writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST)
            assert b"hello" in await read_until_closed(reader)
            writer.close()

    asyncio.run(run())


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate(64 * 2**20)
    return path


def test_a_browser_that_does_not_read_is_disconnected(large_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "AUDIO_TIMEOUT_S", 0.5)
    ended: list[type[BaseException] | None] = []

    async def run() -> None:
        async def send(request: web.Request) -> web.StreamResponse:
            try:
                response = await send_sound(request, large_file, {})
            except BaseException as error:
                ended.append(type(error))
                raise
            ended.append(None)
            return response

        application = web.Application(middlewares=[limit])
        application.router.add_get("/jobs/large", send)
        async with guarded(application) as (guard, port), asyncio.timeout(TIMEOUT_S):
            connections.append(guard)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(REQUEST.replace(b"GET / ", b"GET /jobs/large "))
            await reader.readline()
            while not ended:
                await asyncio.sleep(0.01)
            writer.close()

    connections: list[ConnectionGuard] = []

    @web.middleware
    async def limit(request: web.Request, handler: site.Handler) -> web.StreamResponse:
        return await site.answer_in_time(request, connections[0], lambda: handler(request))

    asyncio.run(run())
    assert ended == [asyncio.CancelledError]


def test_sessions_end_and_are_limited() -> None:
    now = [0.0]
    sessions = Sessions("token", lambda: now[0])
    first = sessions.begin("token")
    now[0] = SESSION_LIFETIME_S - 1
    assert sessions.is_open(first)
    now[0] = SESSION_LIFETIME_S
    assert not sessions.is_open(first)
    cookies = [sessions.begin("token") for _ in range(MAX_SESSIONS + 1)]
    assert [sessions.is_open(cookie) for cookie in cookies] == [False] + [True] * MAX_SESSIONS
    assert sessions.begin("tokem") is None
    assert not sessions.is_open("token")


def test_links_end_and_do_not_survive_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000_000.0]
    monkeypatch.setattr("rewas_server.web.links.time.time", lambda: clock[0])
    check = LinkCheck("token")
    used, late = (make_link(1, "token").partition("#")[2] for _ in range(2))
    assert check.use(used)
    assert not check.use(used)
    clock[0] += 1
    assert not LinkCheck("token").use(used)
    clock[0] += LINK_LIFETIME_S
    assert not check.use(late)
    clock[0] += 1000
    from_the_future = make_link(1, "token").partition("#")[2]
    clock[0] -= 1000
    assert not check.use(from_the_future)
