"""The contract of ReWaS NLE, for whoever speaks to a ReWaS server.

`rewas_api.client` is the synchronous client, `rewas_api.clip_settings` names our metadata on OpenTimelineIO clips,
`rewas_api.errors` the errors of both, `rewas_api.v1` the generated messages.
"""

__version__ = "0.2.0"

CONTRACT_VERSION = 1
"""Raised with every change that an older client or server would misunderstand."""

DEFAULT_PORT = 50071
"""Where `rewas serve` listens on 127.0.0.1 unless told otherwise."""

__all__ = ["CONTRACT_VERSION", "DEFAULT_PORT", "__version__"]
