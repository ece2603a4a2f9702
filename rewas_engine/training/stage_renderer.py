"""Renders staged scenes in a process of Blender, and caches the frames."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import av
import numpy as np
from numpy.typing import NDArray

from rewas_engine.errors import EngineError
from rewas_engine.runtime.atomic_files import save_array_atomic

START_LIMIT_S = 120.0
_LOG_BYTES = 4096


class RendererError(EngineError):
    """Blender does not start, or does not render a scene."""


@dataclass(frozen=True)
class RendererCommand:
    """How to start the renderer.

    Attributes:
        arguments: Program and arguments.
        environment: All environment variables.
        cache: Folder of rendered frames, by the hash of their scene; None keeps none.
        scratch: Folder for temporary files; None uses the system's.
        time_limit_s: How long one scene may take, in seconds.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    cache: Path | None = None
    scratch: Path | None = None
    time_limit_s: float = 1800.0


class StageRenderer:
    """A process that renders one scene after another. It starts with the first scene that is not cached.

    After an error the process is replaced. It ends when this object is closed, or when this process ends.
    """

    def __init__(self, command: RendererCommand) -> None:
        self.command = command
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[bytes] | None = None

    def __enter__(self) -> StageRenderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def render(self, description: Mapping[str, Any], name: str) -> NDArray[np.uint8]:
        """Render the exposures of a scene: [exposures, height, width, 3] uint8.

        Args:
            description: The scene, as in `rewas_engine.world.stage.description`.
            name: Its name, for errors.

        Raises:
            RendererError: Blender does not start, ends early, takes too long, or cannot render the scene.
        """
        document = json.dumps(description, sort_keys=True, separators=(",", ":"))
        cached = self._cached(document)
        if cached is not None and cached.is_file():
            with contextlib.suppress(ValueError, OSError):  # a damaged file is written again
                return np.asarray(np.load(cached))
        with tempfile.TemporaryDirectory(prefix="rewas-stage-", dir=self.command.scratch) as folder:
            scene = Path(folder, "scene.json")
            scene.write_text(document, "utf-8")
            frames = Path(folder, "frames")
            frames.mkdir()
            request = json.dumps({"scene": str(scene), "frames": str(frames)})
            reply = self._ask(request, name)
            if "error" in reply:
                raise RendererError(f"Blender cannot render {name} ({reply['error']}).", "Use Blender 4.2 or later.")
            rendered = _read_frames(frames, description, name)
        if cached is not None:
            cached.parent.mkdir(parents=True, exist_ok=True)
            save_array_atomic(cached, rendered)
        return rendered

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _cached(self, document: str) -> Path | None:
        if self.command.cache is None:
            return None
        key = hashlib.sha256(document.encode()).hexdigest()
        return self.command.cache / key[:2] / f"{key}.npy"

    def _ask(self, request: str, name: str) -> dict[str, Any]:
        """Send a line to the process and read its reply."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # the process has ended, which the missing reply reports below
            print(request, file=self._process.stdin, flush=True)
        return self._reply(self.command.time_limit_s, f"rendering {name}")

    def _start(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        try:
            self._process = subprocess.Popen(
                self.command.arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=dict(self.command.environment),
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            self.close()
            raise RendererError(
                f"{self.command.arguments[0]} does not start ({error.strerror or error}).",
                "Enter the path of Blender 4.2 or later.",
            ) from error
        self._reply(START_LIMIT_S, "starting")

    def _reply(self, limit_s: float, task: str) -> dict[str, Any]:
        """Read the next reply of the process. Ends the process if there is none within limit_s seconds."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        expired = threading.Event()

        def end() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(limit_s, end)
        timer.start()
        try:
            # Blender prints its version and more before the script runs.
            reply = next(filter(None, map(_parse_reply, process.stdout)), None)
        finally:
            timer.cancel()
        if reply is not None:
            return reply
        if expired.is_set():
            self.close()
            raise RendererError(
                f"Blender took more than {limit_s:g} s while {task}, and was ended.",
                "Close other programs, or use fewer workers, and run the command again.",
            )
        reason = self._last_words()
        self.close()
        raise RendererError(
            f"Blender ended while {task} ({reason}).", "Check that this Blender starts, and run the command again."
        )

    def _last_words(self) -> str:
        """The last line that the process has printed, or how it ended."""
        assert self._process is not None
        assert self._log is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(size - _LOG_BYTES, 0))
        lines = self._log.read().decode("utf-8", "replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return last or f"exit code {self._process.returncode}"


def _parse_reply(line: str) -> dict[str, Any] | None:
    """The JSON object in a line; None if it is something else."""
    with contextlib.suppress(ValueError):
        reply = json.loads(line)
        if isinstance(reply, dict):
            return reply
    return None


def _read_frames(folder: Path, description: Mapping[str, Any], name: str) -> NDArray[np.uint8]:
    """Read the frames that the renderer has written."""
    shape = (description["exposures"], description["height"], description["width"], 3)
    try:
        frames = [_read_image(folder / f"{number:05d}.png") for number in range(shape[0])]
    except (OSError, av.FFmpegError) as error:
        raise RendererError(
            f"The frames of {name} cannot be read ({error}).", "Check the free space for temporary files."
        ) from error
    rendered = np.stack(frames)
    if rendered.shape != shape:
        raise RendererError(
            f"The frames of {name} are {rendered.shape[2]} x {rendered.shape[1]}, not {shape[2]} x {shape[1]}.",
            "Use Blender 4.2 or later.",
        )
    return rendered


def _read_image(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        return np.asarray(next(container.decode(video=0)).to_ndarray(format="rgb24"), np.uint8)
