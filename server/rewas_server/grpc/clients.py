"""Names of clients, to which quotas apply."""

from __future__ import annotations

import hashlib
from typing import Any

ANONYMOUS = "anonymous"
"""The client of a call without a token."""


def client_name(context: Any) -> str:
    """Return the name of the client that made a call: a short hash of its token, never the token itself.

    context: the context of the call in grpc.aio.
    """
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            credentials = value if isinstance(value, bytes) else value.encode()
            return hashlib.sha256(credentials).hexdigest()[:16]
    return ANONYMOUS
