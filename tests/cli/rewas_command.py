"""Shared by the command-line tests: running the command, and writing clips for it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

ROOT = Path(__file__).parents[2]
FILM_RATE = Fraction(24000, 1001)
END_LIMIT_S = 60


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    output: str
    errors: str

    def json(self) -> dict[str, Any]:
        """The JSON object on standard output."""
        parsed = json.loads(self.output)
        assert isinstance(parsed, dict)
        return parsed


Rewas = Callable[..., CommandResult]


def environment(packs: Path, home: Path) -> dict[str, str]:
    paths = (ROOT, ROOT / "proto", ROOT / "server")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "REWAS_PACKS": str(packs),
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "OMP_NUM_THREADS": "1",
        "TERM": "dumb",
        "COLUMNS": "200",
    }


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "rewas_cli.main", *map(str, arguments)]


@contextlib.contextmanager
def running_server(packs: Path, home: Path, media: Path) -> Iterator[str]:
    """Run a server that may read the folder `media`, and yield its address."""
    process = subprocess.Popen(
        command("serve", "--port", 0, "--allow-root", media, "--state-dir", home / "state"),
        stderr=subprocess.PIPE,
        text=True,
        env=environment(packs, home),
    )
    assert process.stderr is not None
    try:
        address = ""
        for line in process.stderr:
            if "listens on" in line:
                address = line.split("listens on ")[1].split(". ")[0]
                break
        assert address, "The server exited before it was listening."
        threading.Thread(target=process.stderr.read, daemon=True).start()  # A full pipe would stop the server.
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(END_LIMIT_S) == 0


def write_clip(path: Path, frames: int, rate: Fraction = FILM_RATE, sound: bool = True) -> Path:
    """A ball that falls twice a second on black, with a click at each landing."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=rate)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        if sound:
            audio = container.add_stream("aac", rate=48000, layout="mono")
        for number in range(frames):
            image = np.zeros((96, 128, 3), np.uint8)
            height = int(70 * abs(np.sin(np.pi * 2 * number / float(rate))))
            image[80 - height : 92 - height, 58:70] = (230, 180, 40)
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if sound:
            samples = int(frames / rate * 48000)
            times = np.arange(samples) / 48000
            clicks = np.exp(-30 * (times % 0.5)) * np.sin(2 * np.pi * 440 * times)
            sound_frame = av.AudioFrame.from_ndarray((clicks * 20000).astype(np.int16)[None], "s16", "mono")
            sound_frame.sample_rate = 48000
            sound_frame.pts = 0
            container.mux(audio.encode(sound_frame))
            container.mux(audio.encode())
    return path


def interrupt_when_handled(pid: int) -> None:
    """Send SIGINT to a child process that runs the command, once the command handles it."""
    deadline_s = time.monotonic() + 240
    # The handler is installed once the signal is among those that the process catches.
    while not _handles_signals(pid) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    os.kill(pid, signal.SIGINT)


def _handles_signals(pid: int) -> bool:
    """Whether the command handles signals, or has ended and waits for its parent."""
    status = Path(f"/proc/{pid}/status").read_text()
    if "State:\tZ" in status:
        return True
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    # Python itself catches SIGINT from the start, but only the command catches SIGTERM.
    return bool(int(caught.split()[1], 16) & (1 << (signal.SIGTERM - 1)))
