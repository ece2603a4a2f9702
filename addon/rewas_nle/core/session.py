# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that runs beside Blender's main thread, and the queue through which it speaks."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from .board import Board, JobLine, fold
from .generate import Conversation, Order
from .messages import Message, Trouble
from .server_watch import ServerWatch

JOIN_S = 5.0


class Session:
    """The threads of one Blender session and the board that their messages fold into.

    Every method is for the main thread and returns at once; only close() may wait, for JOIN_S seconds at most.
    """

    def __init__(self) -> None:
        self.board = Board()
        self.orders: dict[str, Order] = {}
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._conversations: list[Conversation] = []
        self._watch: ServerWatch | None = None
        self._left_watches: list[ServerWatch] = []

    def watch_server(self, address: str, *, online_access: bool) -> None:
        """Keep asking the server at this address for its state; a change of address takes effect at once."""
        watch = self._watch
        if watch is not None and (watch.address, watch.online_access) == (address, online_access):
            return
        if watch is not None:
            watch.close()
            self._left_watches.append(watch)
        self.board = replace(self.board, server=None)
        self._watch = ServerWatch(address, online_access=online_access, post=self._messages.put)
        self._watch.start()

    def poll_server_now(self) -> None:
        """Ask the watched server for its state without waiting for the next turn."""
        if self._watch is not None:
            self._watch.poll_now()

    def generate(self, orders: Sequence[Order], *, address: str, online_access: bool) -> None:
        """Start to make the sound of these orders."""
        for order in orders:
            self.orders[order.key] = order
            self.board = self.board.with_job(JobLine(order.key, order.clip.name))
        conversation = Conversation(orders, address=address, online_access=online_access, post=self._messages.put)
        self._conversations = [held for held in self._conversations if not held.is_finished] + [conversation]
        conversation.start()

    def cancel(self, key: str) -> bool:
        """Ask for a job to be stopped; False where there is none under way by this key."""
        line = self.board.jobs.get(key)
        if line is None or line.is_finished:
            return False
        self.board = self.board.with_job(replace(line, state="cancelling"))
        return any(conversation.cancel(key) for conversation in self._conversations)

    def note(self, key: str, note: str, trouble: Trouble | None = None) -> None:
        """Say on the board what became of a job."""
        line = self.board.jobs.get(key)
        if line is not None:
            self.board = self.board.with_job(replace(line, note=note, trouble=trouble))

    def forget_finished(self) -> None:
        """Take the jobs that are over off the board."""
        self.board = self.board.without_finished()
        self.orders = {key: order for key, order in self.orders.items() if key in self.board.jobs}

    def drain(self, handle: Callable[[Message], object], *, deadline_s: float) -> int:
        """Fold waiting messages into the board and hand each to `handle`, until there are none or time is up.

        deadline_s: on time.monotonic()'s clock; one message is drained in any case. Returns how many were.
        """
        drained = 0
        while drained == 0 or time.monotonic() < deadline_s:
            try:
                message = self._messages.get_nowait()
            except queue.Empty:
                break
            self.board = fold(self.board, message)
            handle(message)
            drained += 1
        return drained

    def close(self) -> bool:
        """Cancel every job, hang up and wait for the threads; False where one did not end in time."""
        for conversation in self._conversations:
            conversation.close()
        watches = [*self._left_watches, *([self._watch] if self._watch is not None else [])]
        for watch in watches:
            watch.close()
        ended = [thread.join(JOIN_S) for thread in (*self._conversations, *watches)]
        self._conversations.clear()
        self._left_watches.clear()
        self._watch = None
        return all(ended)
