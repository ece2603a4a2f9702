"""Links that open the web page once.

A link holds a code that only the holder of the server's token can make. The code follows the # of the address, which
browsers never send: it reaches neither a log nor another site.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

WEB_HOST = "127.0.0.1"
LINK_LIFETIME_S = 600.0
NONCE_BYTES = 16
MAX_CODE_CHARACTERS = 200
_CLOCK_STEP_S = 5.0


def make_link(port: int, token: str) -> str:
    """Return an address that opens the page on this port once, within LINK_LIFETIME_S."""
    issued_ms, nonce = str(round(time.time() * 1000)), secrets.token_hex(NONCE_BYTES)
    return f"http://{WEB_HOST}:{port}/#{issued_ms}.{nonce}.{_signature(issued_ms, nonce, token)}"


class LinkCheck:
    """Checks the codes of links. token: that of the server."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._started_s = time.time()
        self._used: dict[str, float] = {}

    def use(self, code: str) -> bool:
        """Return whether a code is valid, which it is only once."""
        parts = code.split(".")
        if len(code) > MAX_CODE_CHARACTERS or not code.isascii() or len(parts) != 3:
            return False
        issued_ms, nonce, signature = parts
        if not hmac.compare_digest(signature, _signature(issued_ms, nonce, self._token)):
            return False
        issued_s, now_s = int(issued_ms) / 1000, time.time()
        self._used = {key: at_s for key, at_s in self._used.items() if now_s - at_s < LINK_LIFETIME_S}
        # A code from before the start may have been used then. One from the future would outlive its record.
        is_current = self._started_s <= issued_s <= now_s + _CLOCK_STEP_S and now_s - issued_s <= LINK_LIFETIME_S
        if not is_current or nonce in self._used:
            return False
        self._used[nonce] = issued_s
        return True


def _signature(issued_ms: str, nonce: str, token: str) -> str:
    return hmac.new(token.encode(), f"web page {issued_ms} {nonce}".encode(), hashlib.sha256).hexdigest()
