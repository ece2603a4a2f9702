# SPDX-License-Identifier: GPL-3.0-or-later
"""The background threads of one Blender session, and the queue of their messages."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from .board import Board, JobStatus, apply_message
from .contract import ServerChoice
from .generate import ClipRequest, GenerateThread
from .messages import Message, Problem
from .server_watch import ServerWatch

JOIN_TIMEOUT_S = 5.0


class Session:
    """The threads of one Blender session and the board that their messages update.

    Call its methods on the main thread. They return immediately, except close(), which waits for at most JOIN_TIMEOUT_S
    seconds.
    """

    def __init__(self) -> None:
        self.board = Board()
        self.clip_requests: dict[str, ClipRequest] = {}
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._generate_threads: list[GenerateThread] = []
        self._watch: ServerWatch | None = None
        self._closed_watches: list[ServerWatch] = []

    def watch_server(self, server: ServerChoice) -> None:
        """Poll the server at this address. A new address takes effect immediately."""
        watch = self._watch
        if watch is not None and watch.server == server:
            return
        if watch is not None:
            watch.close()
            self._closed_watches.append(watch)
        self.board = replace(self.board, server=None)
        self._watch = ServerWatch(server, post=self._messages.put)
        self._watch.start()

    def poll_server_now(self) -> None:
        """Poll the watched server now."""
        if self._watch is not None:
            self._watch.poll_now()

    def generate(self, clip_requests: Sequence[ClipRequest], server: ServerChoice) -> None:
        """Start to generate the sound for these requests."""
        for clip_request in clip_requests:
            self.clip_requests[clip_request.key] = clip_request
            self.board = self.board.with_job(JobStatus(clip_request.key, clip_request.clip.name))
        generate_thread = GenerateThread(clip_requests, server, post=self._messages.put)
        self._generate_threads = [held for held in self._generate_threads if not held.is_finished] + [generate_thread]
        generate_thread.start()

    def cancel(self, key: str) -> bool:
        """Cancel a job. Returns False if no running job has this key."""
        job = self.board.jobs.get(key)
        if job is None or job.is_finished:
            return False
        self.board = self.board.with_job(replace(job, state="cancelling"))
        return any(generate_thread.cancel(key) for generate_thread in self._generate_threads)

    def note(self, key: str, note: str, problem: Problem | None = None) -> None:
        """Set the result that the board shows for a job."""
        job = self.board.jobs.get(key)
        if job is not None:
            self.board = self.board.with_job(replace(job, note=note, problem=problem))

    def clear_finished(self) -> None:
        """Remove finished jobs from the board."""
        self.board = self.board.without_finished()
        self.clip_requests = {
            key: clip_request for key, clip_request in self.clip_requests.items() if key in self.board.jobs
        }

    def drain(self, handle: Callable[[Message], object], *, deadline_s: float) -> int:
        """Apply waiting messages to the board and pass each to `handle`, until there are none or time is up.

        `deadline_s`: on the clock of time.monotonic(). At least one message is handled. Returns the number handled.
        """
        drained = 0
        while drained == 0 or time.monotonic() < deadline_s:
            try:
                message = self._messages.get_nowait()
            except queue.Empty:
                break
            self.board = apply_message(self.board, message)
            handle(message)
            drained += 1
        return drained

    def close(self) -> bool:
        """Cancel every job, close connections and wait for the threads. Returns False if one did not end in time."""
        for generate_thread in self._generate_threads:
            generate_thread.close()
        watches = [*self._closed_watches, *([self._watch] if self._watch is not None else [])]
        for watch in watches:
            watch.close()
        ended = [
            *(thread.join(JOIN_TIMEOUT_S) for thread in self._generate_threads),
            *(watch.join(JOIN_TIMEOUT_S) for watch in watches),
        ]
        self._generate_threads.clear()
        self._closed_watches.clear()
        self._watch = None
        return all(ended)
