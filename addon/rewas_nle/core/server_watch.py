# SPDX-License-Identifier: GPL-3.0-or-later
"""Use case: poll the server's state in a thread, so that the panel can show it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .contract import ServerChoice, UserProblemError, open_client, problem_from
from .jobs import PostMessage
from .messages import PackChoice, ServerState

if TYPE_CHECKING:
    from rewas_api.client import RewasClient

POLL_INTERVAL_S = 5.0
_ANSWER_TIMEOUT_S = 3.0


class ServerWatch:
    """A thread that polls the server's state every few seconds, or immediately on request."""

    def __init__(self, server: ServerChoice, *, post: PostMessage, poll_s: float = POLL_INTERVAL_S) -> None:
        self.server = server
        self._post = post
        self._poll_s = poll_s
        self._wake = threading.Event()
        self._closed = False
        self._client: RewasClient | None = None
        self._thread = threading.Thread(target=self._watch, name="rewas-server-watch", daemon=True)

    def start(self) -> None:
        """Start polling."""
        self._thread.start()

    def poll_now(self) -> None:
        """Poll now. Returns immediately; the answer is posted as a ServerState."""
        self._wake.set()

    def close(self) -> None:
        """Stop polling. Returns immediately; call join() afterwards."""
        self._closed = True
        self._wake.set()
        if self._client is not None:
            self._client.close()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end. Returns False if it is still running after `timeout_s` seconds."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _watch(self) -> None:
        try:
            self._client = open_client(self.server, timeout_s=_ANSWER_TIMEOUT_S)
        except UserProblemError as error:
            self._post(ServerState(self.server.address, error.problem))
            return
        while not self._closed:
            self._wake.clear()
            state = query_server(self._client)
            if not self._closed:
                self._post(state)
                self._wake.wait(self._poll_s)
        self._client.close()


def query_server(client: RewasClient) -> ServerState:
    """Return the server's current state. Blocks for a few seconds at most and never raises."""
    from rewas_api.errors import ProblemError, ServerUnavailable

    try:
        info = client.get_server_info()
        packs = client.list_packs()
    except ProblemError as problem:
        return ServerState(client.address, problem_from(problem), is_absent=isinstance(problem, ServerUnavailable))
    return ServerState(
        address=client.address,
        problem=None,
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
                pack.permitted_use,
                pack.problem.what if pack.HasField("problem") else "",
                tuple(pack.controls),
                pack.checks_conflict,
                pack.is_library,
                pack.sample_rate_hz,
                pack.reads_words,
            )
            for pack in packs
        ),
    )
