# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs and questions that wait for Blender to render their strips. Each continues as soon as its picture is ready."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..core.messages import Problem
from ..core.proxies import ProxyFailed, ProxyMessage, ProxyProgress, ProxyReady, ProxyRender, ProxyTask
from ..core.records import JobRecord
from .proxy_rendering import start_rendering
from .shared_session import session

JOIN_TIMEOUT_S = 5.0
_messages: queue.SimpleQueue[ProxyMessage] = queue.SimpleQueue()
_renders: list[ProxyRender] = []
_keys: dict[str, list[str]] = {}
"""Keys of the jobs and questions that wait for each proxy, by the key of the proxy."""


@dataclass
class PictureBatch:
    """Jobs and questions of one scene whose pictures are to be rendered together."""

    waiting: list[tuple[str, ProxyTask]] = field(default_factory=list)

    def add(self, record: JobRecord, task: ProxyTask) -> None:
        """Add a job. Its row says what it waits for."""
        session().prepare(record)
        self.add_key(record.key, task)

    def add_key(self, key: str, task: ProxyTask) -> None:
        """Add a question or job that needs a picture, under its key."""
        self.waiting.append((key, task))

    def start(self, scene: Any) -> None:
        """Start to render. If the scene cannot be copied, all of them fail with the reason."""
        tasks = {}
        for waiting_key, task in self.waiting:
            if task.key not in _keys:
                tasks[task.key] = task
            _keys.setdefault(task.key, []).append(waiting_key)
        if not tasks:
            return
        try:
            if scene is None:
                raise OSError("it was deleted")
            _renders.append(start_rendering(scene, list(tasks.values()), post=_messages.put))
        except OSError as error:
            what = f"The scene of the strips cannot be copied for rendering ({error})."
            problem = Problem(what, "Free some disk space, then retry.")
            for key in tasks:
                _messages.put(ProxyFailed(key, problem))


def is_rendering() -> bool:
    """Return whether a picture is being rendered."""
    return bool(_keys)


def handle_messages(
    ready: Callable[[str], object], failed: Callable[[str, Problem], object], *, deadline_s: float
) -> None:
    """Show progress, and pass the key of each job or question whose picture is ready, or has failed, to a function.

    `deadline_s`: on the clock of time.monotonic().
    """
    while _keys and time.monotonic() < deadline_s:
        try:
            message = _messages.get_nowait()
        except queue.Empty:
            break
        current = session()
        match message:
            case ProxyProgress():
                for key in _keys.get(message.key, ()):
                    current.show_preparation(key, message.frames, message.total_frames)
            case ProxyReady():
                for key in _keys.pop(message.key, ()):
                    ready(key)
            case ProxyFailed():
                for key in _keys.pop(message.key, ()):
                    failed(key, message.problem)
    _renders[:] = [render for render in _renders if not render.is_finished]


def cancel_picture(job_key: str) -> bool:
    """Cancel a job that waits for its picture. Returns False if it does not."""
    if not stop_waiting(job_key):
        return False
    session().cancel_preparation(job_key)
    return True


def stop_waiting(key: str) -> bool:
    """Give up the picture of a job or question; if nothing else waits for it, it is no longer rendered.

    Returns False if the job or question does not wait for a picture.
    """
    for proxy_key, keys in list(_keys.items()):
        if key in keys:
            keys.remove(key)
            if not keys:
                del _keys[proxy_key]
                for render in _renders:
                    render.cancel(proxy_key)
            return True
    return False


def close() -> bool:
    """Stop rendering. The records of the jobs stay. Returns False if a thread did not end in time."""
    for render in _renders:
        render.close()
    ended = [render.join(JOIN_TIMEOUT_S) for render in _renders]
    _renders.clear()
    _keys.clear()
    while not _messages.empty():
        _messages.get_nowait()
    return all(ended)
