# SPDX-License-Identifier: GPL-3.0-or-later
"""The use case: know the server's state before it is needed. A thread asks; the panel shows what it last heard."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .contract import TroubleError, open_client, trouble_of
from .generate import Post
from .messages import PackChoice, ServerState

if TYPE_CHECKING:
    from rewas_api.client import RewasClient

POLL_INTERVAL_S = 5.0
_ANSWER_TIMEOUT_S = 3.0


class ServerWatch:
    """A thread that asks the server for its state every few seconds, and at once when told to."""

    def __init__(self, address: str, *, online_access: bool, post: Post, poll_s: float = POLL_INTERVAL_S) -> None:
        self.address = address
        self.online_access = online_access
        self._post = post
        self._poll_s = poll_s
        self._wake = threading.Event()
        self._closed = False
        self._client: RewasClient | None = None
        self._thread = threading.Thread(target=self._watch, name="rewas-server-watch", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def poll_now(self) -> None:
        """Ask at once. Returns at once; the answer comes as a ServerState."""
        self._wake.set()

    def close(self) -> None:
        """Stop asking. Returns at once; follow with join()."""
        self._closed = True
        self._wake.set()
        if self._client is not None:
            self._client.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; False where it is still running after timeout_s seconds."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _watch(self) -> None:
        try:
            self._client = open_client(self.address, online_access=self.online_access, timeout_s=_ANSWER_TIMEOUT_S)
        except TroubleError as error:
            self._post(ServerState(self.address, error.trouble))
            return
        while not self._closed:
            self._wake.clear()
            state = query_server(self._client)
            if not self._closed:
                self._post(state)
                self._wake.wait(self._poll_s)
        self._client.close()


def query_server(client: RewasClient) -> ServerState:
    """The server's state now. Blocks for a few seconds at most; never raises."""
    from rewas_api.errors import ProblemError

    try:
        info = client.server_info()
        packs = client.packs()
    except ProblemError as problem:
        return ServerState(client.address, trouble_of(problem))
    return ServerState(
        address=client.address,
        trouble=None,
        version=info.version,
        device=info.device,
        default_pack=info.default_pack,
        worker_ready=info.worker_ready,
        jobs_ahead=info.jobs_ahead,
        packs=tuple(
            PackChoice(
                pack.name,
                pack.summary,
                pack.licence,
                pack.permits,
                pack.problem.what if pack.HasField("problem") else "",
            )
            for pack in packs
        ),
    )
