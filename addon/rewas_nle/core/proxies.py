# SPDX-License-Identifier: GPL-3.0-or-later
"""Proxies: small movies of what strips show, rendered in the background by a second Blender and kept in a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..timeline.strips import StripSnapshot
from .messages import Problem

SUFFIX = ".mp4"
LINE_START = "REWAS "
"""Prefix of the script's own lines in the output of the second Blender."""
KEPT_S = 30 * 24 * 3600.0
KEPT_BYTES = 2 * 2**30
_UNFINISHED = "unfinished-"
_OLD_UNFINISHED_S = 24 * 3600.0
_FILES_PER_SLICE = 50
_OUTPUT_LINES = 40


def proxy_folder() -> Path:
    """Return the folder of the proxies: the user's cache folder of this platform. It may not exist yet."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "rewas-nle" / "proxies"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rewas-nle" / "proxies"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rewas-nle" / "proxies"


def locate_proxy(snapshot: StripSnapshot, folder: Path) -> Generator[None, None, StripSnapshot]:
    """Return the snapshot with the path of its proxy, which depends on its picture and on its files, in slices.

    A snapshot that needs no proxy is returned as it is. If files are missing, the snapshot names one.
    """
    if not snapshot.picture_key:
        return snapshot
    stamps = hashlib.sha256(f"{snapshot.picture_key} {snapshot.frames}".encode())
    missing = []
    for number, path in enumerate(snapshot.picture_files):
        if number % _FILES_PER_SLICE == 0:
            yield
        try:
            status = Path(path).stat()
        except (OSError, ValueError):
            missing.append(path)
            continue
        stamps.update(f"{path} {status.st_size} {status.st_mtime_ns}".encode())
    if missing:
        return replace(snapshot, missing_file=missing[0], missing_files=len(missing))
    return replace(snapshot, proxy_path=str(folder / (stamps.hexdigest()[:32] + SUFFIX)))


def use_proxy(path: Path) -> bool:
    """Return whether a proxy exists. If so, mark it as used, so that it is kept longer."""
    try:
        os.utime(path)
    except OSError:
        return False
    return True


def prune_proxies(folder: Path, *, now_s: float | None = None) -> list[Path]:
    """Delete proxies that have not been used for a month, then the oldest until the rest takes at most 2 GiB.

    Also deletes files that a crash has left unfinished. Returns the deleted files.
    """
    now_s = time.time() if now_s is None else now_s
    files: list[tuple[float, int, Path]] = []
    deleted = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
    files.sort(reverse=True)
    kept_bytes = 0
    for used_s, size_bytes, path in files:
        unfinished = not path.name.endswith(SUFFIX) or path.name.startswith(_UNFINISHED)
        kept_bytes += size_bytes
        if now_s - used_s > (_OLD_UNFINISHED_S if unfinished else KEPT_S) or kept_bytes > KEPT_BYTES:
            with contextlib.suppress(OSError):
                path.unlink()
                deleted.append(path)
    return deleted


@dataclass(frozen=True)
class ProxyTask:
    """A proxy to render.

    Attributes:
        key: Name of the file without its extension, a hash of what the proxy shows.
        strip_name: Strip that it shows.
        metas: Names of the meta strips that contain the strip, outermost first.
        effects: Names of the effects that are applied to the strip, in order.
        first_frame: First scene frame.
        frames: Number of frames.
        is_whole: Whether the scene's frame shows the whole picture. It then fills the proxy.
        path: The file to write.
    """

    key: str
    strip_name: str
    metas: tuple[str, ...]
    effects: tuple[str, ...]
    first_frame: int
    frames: int
    is_whole: bool
    path: Path


@dataclass(frozen=True)
class ProxyProgress:
    """Number of frames of a proxy that have been rendered so far."""

    key: str
    frames: int
    total_frames: int


@dataclass(frozen=True)
class ProxyReady:
    """A proxy is complete."""

    key: str


@dataclass(frozen=True)
class ProxyFailed:
    """A proxy cannot be rendered."""

    key: str
    problem: Problem


ProxyMessage = ProxyProgress | ProxyReady | ProxyFailed


class ProxyRender:
    """A second Blender that renders the proxies of one scene, one after the other.

    Each task ends with one ProxyReady or ProxyFailed, unless it is cancelled.

    Args:
        command: Starts Blender with the render script. The path of a JSON file with the tasks is appended.
        scene_copy: A .blend file with the scene. It is deleted at the end.
        scene_name: Name of the scene.
        tasks: What to render.
        post: Called with messages in a thread.
    """

    def __init__(
        self,
        command: Sequence[str],
        scene_copy: Path,
        scene_name: str,
        tasks: Iterable[ProxyTask],
        *,
        post: Callable[[ProxyMessage], object],
    ) -> None:
        self._command = list(command)
        self._scene_copy = scene_copy
        self._scene_name = scene_name
        self._tasks = {task.key: task for task in tasks}
        self._post = post
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._rendering = ""
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="rewas-proxies", daemon=True)

    def start(self) -> None:
        """Start the second Blender."""
        self._thread.start()

    @property
    def is_finished(self) -> bool:
        """Whether all tasks have ended."""
        return not self._thread.is_alive()

    def cancel(self, key: str) -> bool:
        """Do not render this proxy. Returns immediately, False if it is not one of the unfinished ones."""
        with self._lock:
            if self._tasks.pop(key, None) is None:
                return False
            if self._rendering == key or not self._tasks:
                # The others are rendered by a new process.
                self._end_process()
        return True

    def close(self) -> None:
        """Stop rendering. Returns at once; follow with join()."""
        with self._lock:
            self._closed = True
            self._end_process()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread. Returns False if it is still running after `timeout_s` seconds."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return self.is_finished

    def _run(self) -> None:
        try:
            for folder in {task.path.parent for task in self._unfinished()}:
                prune_proxies(folder)
            while (tasks := self._unfinished()) and not self._closed:
                before = len(tasks)
                output = self._render(tasks)
                left = self._unfinished()
                if len(left) == before and not self._closed:
                    # Blender crashed in the first of them.
                    self._fail(left[0].key, _crash_problem(left[0], output))
        finally:
            with contextlib.suppress(OSError):
                self._scene_copy.unlink(missing_ok=True)

    def _unfinished(self) -> list[ProxyTask]:
        with self._lock:
            return list(self._tasks.values())

    def _render(self, tasks: list[ProxyTask]) -> list[str]:
        """Run one process for these tasks. Returns the last lines of its output."""
        output: deque[str] = deque(maxlen=_OUTPUT_LINES)
        tasks_file = self._scene_copy.with_suffix(".json")
        try:
            for task in tasks:
                task.path.parent.mkdir(parents=True, exist_ok=True)
            tasks_file.write_text(json.dumps(self._describe(tasks)), encoding="utf-8")
            with self._lock:
                if self._closed:
                    return []
                self._process = subprocess.Popen(
                    [*self._command, str(tasks_file)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                )
            assert self._process.stdout is not None
            for line in self._process.stdout:
                if line.startswith(LINE_START):
                    self._handle(json.loads(line[len(LINE_START) :]))
                elif line.strip():
                    output.append(line.strip())
            self._process.wait()
        except OSError as error:
            output.append(str(error))
        finally:
            tasks_file.unlink(missing_ok=True)
            for task in tasks:
                _unfinished_path(task.path).unlink(missing_ok=True)
        return list(output)

    def _describe(self, tasks: list[ProxyTask]) -> dict[str, object]:
        return {
            "blend": str(self._scene_copy),
            "scene": self._scene_name,
            "tasks": [
                {
                    "key": task.key,
                    "strip": task.strip_name,
                    "metas": task.metas,
                    "effects": task.effects,
                    "first_frame": task.first_frame,
                    "frames": task.frames,
                    "is_whole": task.is_whole,
                    "path": str(_unfinished_path(task.path)),
                }
                for task in tasks
            ],
        }

    def _handle(self, message: dict[str, object]) -> None:
        key = str(message["key"])
        with self._lock:
            task = self._tasks.get(key)
            if task is None or self._closed:
                return
            self._rendering = key
        if "problem" in message:
            self._fail(key, _render_problem(task, str(message["problem"])))
        elif message.get("is_complete"):
            try:
                _unfinished_path(task.path).replace(task.path)
            except OSError as error:
                self._fail(key, _render_problem(task, str(error)))
                return
            with self._lock:
                self._tasks.pop(key, None)
            self._post(ProxyReady(key))
        else:
            self._post(ProxyProgress(key, int(str(message["frames"])), task.frames))

    def _fail(self, key: str, problem: Problem) -> None:
        with self._lock:
            if self._tasks.pop(key, None) is None:
                return
        self._post(ProxyFailed(key, problem))

    def _end_process(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()


def _unfinished_path(path: Path) -> Path:
    return path.with_name(_UNFINISHED + path.name)


def _render_problem(task: ProxyTask, reason: str) -> Problem:
    return Problem(
        f'Blender cannot render the picture of the strip "{task.strip_name}" ({reason.strip().rstrip(".")[:300]}).',
        "Check that it plays in the preview, or render it to a movie file and use that instead.",
    )


def _crash_problem(task: ProxyTask, output: list[str]) -> Problem:
    return _render_problem(task, output[-1] if output else "the second Blender ended without a message")
