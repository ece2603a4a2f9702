"""Who may open the web page: the checks of each request, and the sessions of browsers.

A page of another site, or of another program on this machine, can make a browser send requests here. None of them
passes: the Host header must name this server, Origin and Sec-Fetch-Site must not name another page, and the cookie
reaches no cross-site request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rewas_server.web.links import LinkCheck

SESSION_LIFETIME_S = 12 * 3600
MAX_SESSIONS = 64
SESSION_BYTES = 32
SESSION_PATH = "/session"
READ_METHODS = ("GET", "HEAD")
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not no-referrer: with that, browsers send `Origin: null` with the form of this very page.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # In place of the versions of Python and of the HTTP library.
    "Server": "rewas",
}


@dataclass(frozen=True)
class Refusal:
    """The answer to a request that is not served. allowed: the methods that would be."""

    status: int
    sentence: str
    allowed: tuple[str, ...] = ()


class RequestCheck:
    """Checks where a request comes from. port: that of the page."""

    def __init__(self, port: int) -> None:
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")

    def refusal(self, method: str, path: str, headers: Mapping[str, str], counts: Mapping[str, int]) -> Refusal | None:
        """Return why a request is refused; None if it may go on.

        Args:
            method: Its method.
            path: Its decoded path.
            headers: Its headers, by lower-case name.
            counts: How often each of them was sent.
        """
        host = headers.get("host", "").lower()
        if host not in self._hosts or counts["host"] != 1:
            return Refusal(403, f"Use the address http://{self._hosts[0]}/.")
        if "origin" in headers and (headers["origin"] != f"http://{host}" or counts["origin"] != 1):
            return Refusal(403, "Another page sent this request.")
        # "none": a person has typed the address or opened a link outside of the browser. Programs send no such header.
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return Refusal(403, f"Another page sent this request. Enter the address http://{self._hosts[0]}/ yourself.")
        allowed = ("POST",) if path == SESSION_PATH else READ_METHODS
        if method not in allowed:
            return Refusal(405, f"Use {' or '.join(allowed)}.", allowed)
        return None


class Sessions:
    """The sessions of browsers. Their cookies are random: none reveals the token.

    Args:
        token: The server's token.
        now_s: The clock.
    """

    def __init__(self, token: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._token = token.encode()
        self._links = LinkCheck(token)
        self._now_s = now_s
        self._ends_s: dict[bytes, float] = {}

    def begin(self, secret: str) -> str | None:
        """Return the cookie of a new session; None if the secret is neither the token nor a valid code of a link."""
        is_token = hmac.compare_digest(secret.encode(), self._token)
        if not is_token and not self._links.use(secret):
            return None
        while len(self._ends_s) >= MAX_SESSIONS:
            self._ends_s.pop(next(iter(self._ends_s)))
        cookie = secrets.token_urlsafe(SESSION_BYTES)
        self._ends_s[_digest(cookie)] = self._now_s() + SESSION_LIFETIME_S
        return cookie

    def is_open(self, cookie: str | None) -> bool:
        """Return whether a cookie belongs to a session that has not ended."""
        # Digests are compared, so that the time of a look-up says nothing about the cookies.
        return cookie is not None and self._ends_s.get(_digest(cookie), float("-inf")) > self._now_s()


def cookie_name(port: int) -> str:
    """Return the name of the cookie: browsers share cookies between the ports of one host."""
    return f"rewas-{port}"


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode(errors="replace")).digest()
