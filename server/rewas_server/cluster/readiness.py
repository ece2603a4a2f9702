"""Asks the application on a cluster whether it takes jobs."""

from __future__ import annotations

import aiohttp

CONNECT_TIMEOUT_S = 10.0


def open_session(token: str, max_line_bytes: int = 2**16) -> aiohttp.ClientSession:
    """Return a session whose requests carry the cluster's token. max_line_bytes: the longest line of a response."""
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {token}"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        read_bufsize=max_line_bytes,
    )


async def find_problem(session: aiohttp.ClientSession, url: str) -> str:
    """Return why the cluster at a URL takes no jobs; "" if it does."""
    try:
        async with session.get(f"{url}/ready", timeout=aiohttp.ClientTimeout(CONNECT_TIMEOUT_S)) as response:
            if response.status == 401:
                return "The cluster refuses the token. Use the cluster's token file for `ray_token_file`."
            if response.status != 200:
                return f"The cluster is not ready (HTTP status {response.status})."
            found = await response.json()
            if int(found["replicas"]) > 0:
                return ""
            return f"No replica is running on the cluster ({found['problem']})."
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError) as error:
        return f"The cluster at {url} does not answer ({type(error).__name__})."
