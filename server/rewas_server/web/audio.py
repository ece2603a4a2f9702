"""Sounds over HTTP, whole or in ranges, as the players of browsers ask for them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

CHUNK_BYTES = 256 * 1024


async def send_sound(request: web.Request, path: Path, headers: dict[str, str]) -> web.StreamResponse:
    """Send a file, or the range of it that the request asks for. headers: further ones of the response."""
    with path.open("rb") as file:
        size_bytes = path.stat().st_size
        wanted = _wanted(request, size_bytes)
        if wanted is None:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{size_bytes}"})
        is_part = "Range" in request.headers
        response = web.StreamResponse(status=206 if is_part else 200, headers=headers)
        response.headers["Content-Type"] = "audio/wav"
        response.headers["Accept-Ranges"] = "bytes"
        response.content_length = len(wanted)
        if is_part:
            response.headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size_bytes}"
        await response.prepare(request)
        if request.method != "HEAD":
            await _send(response, file, wanted)
        await response.write_eof()
        return response


def _wanted(request: web.Request, size_bytes: int) -> range | None:
    """The bytes to send; None if there are no such bytes."""
    if "Range" not in request.headers:
        return range(size_bytes)
    try:
        asked = request.http_range
    except ValueError:
        return None
    # A negative start counts from the end of the file.
    wanted = range(size_bytes)[asked.start : asked.stop]
    return wanted or None


async def _send(response: web.StreamResponse, file: BinaryIO, wanted: range) -> None:
    file.seek(wanted.start)
    left_bytes = len(wanted)
    while left_bytes:
        data = await asyncio.to_thread(file.read, min(CHUNK_BYTES, left_bytes))
        if not data:
            # The file has become shorter: end the connection instead of waiting for the missing bytes.
            raise ConnectionResetError
        left_bytes -= len(data)
        await response.write(data)
