"""The contract of ReWaS NLE: everything that a client of a ReWaS server needs.

`rewas_api.client` is the synchronous client, `rewas_api.clip_settings` reads and writes metadata on OpenTimelineIO
clips, `rewas_api.errors` holds the exceptions of both, and `rewas_api.v1` the generated messages.
"""

__version__ = "0.2.0"

CONTRACT_VERSION = 4
"""Rises with every change that an older client or server would misunderstand."""

CONTRACT_MINOR_VERSION = 7
"""Rises with every compatible addition. A server refuses requests with fields that it does not know."""

DEFAULT_PORT = 50071
"""Port of `rewas serve` on 127.0.0.1."""

__all__ = ["CONTRACT_MINOR_VERSION", "CONTRACT_VERSION", "DEFAULT_PORT", "__version__"]
