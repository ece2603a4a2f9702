"""Measure how soon `rewas batch` starts on a long timeline, and how long it takes to repeat.

    python benchmarks/batch_repeat.py --clips 1000 10000

All clips of the timeline differ, and each has three sounds; see `long_reel`. The command runs as a user runs it, but
without a model: each sound is a short silence. Times are CPU seconds of this process, without imports. "Start" is the
time until the first sound begins, "Repeat" is the command with nothing changed, "Edit" is the command after a change to
the prompt of one clip, and "OTIO alone" is the time that OpenTimelineIO takes to read the same timeline. The first row
shows the limits for 10,000 clips.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import opentimelineio as otio
from long_reel import LongReel, write_long_reel

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "cli"))

from silent_sounds import generate_silence

from rewas_api.v1 import rewas_pb2
from rewas_cli import runner
from rewas_cli.main import run
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_server.batch.local_maker import LocalMaker
from rewas_server.batch.record import BatchRecord

_MAX_START_S, _MAX_REPEAT_S = 2, 5
"""The limits for 10,000 clips."""


class _Silence:
    """Generates silence instead of sounds.

    started_s: CPU time of the process when the first sound after `reset` began.
    """

    def __init__(self) -> None:
        self.started_s: float | None = None

    def reset(self) -> None:
        self.started_s = None

    def generate(
        self, work: rewas_pb2.SoundWork, folder: Path, on_progress: ProgressCallback, cancel: CancelSignal
    ) -> rewas_pb2.SoundResult:
        if self.started_s is None:
            self.started_s = time.process_time()
        return generate_silence(work, folder, on_progress, cancel)


def main() -> None:
    """Print the figures as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[1000, 10000], help="numbers of clips")
    parser.add_argument("--folder", type=Path, help="keep the files in this folder, and reuse those already in it")
    given = parser.parse_args()
    silence = _Silence()

    def sound_maker(self: runner.LocalRunner, record: BatchRecord, is_detached: bool) -> LocalMaker:
        return LocalMaker(record, silence.generate)

    runner.LocalRunner.sound_maker = sound_maker  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory(prefix="rewas-") as name:
        # These runs import all modules.
        reel = write_long_reel(Path(name), 4)
        for _ in range(2):
            _batch(reel)
    print("| Clips | OTIO alone | Start | First run | Repeat | Edit |\n|---:|---:|---:|---:|---:|---:|")
    print(f"| limits | | {_MAX_START_S} | | {_MAX_REPEAT_S} | {_MAX_REPEAT_S} |")
    for count in given.clips:
        with tempfile.TemporaryDirectory(prefix="rewas-") as name:
            measure(count, (given.folder or Path(name)) / str(count), silence)


def measure(count: int, folder: Path, silence: _Silence) -> None:
    """Print one row: CPU seconds for a timeline with this number of clips."""
    reel = LongReel(folder / "reel.otio", folder / "reel.csv")
    start_s: float | None = None
    first_s: float | None = None
    if not folder.exists():
        folder.mkdir(parents=True)
        reel = write_long_reel(folder, count)
        silence.reset()
        began_s = time.process_time()
        first_s = _cpu_s(lambda: _check(reel, generated=count))
        assert silence.started_s is not None
        start_s = silence.started_s - began_s
    _, alone_s = None, _cpu_s(lambda: otio.adapters.read_from_file(str(reel.timeline)))
    repeat_s = _cpu_s(lambda: _check(reel, generated=0))
    edited = LongReel(reel.timeline, folder / "edited.csv")
    edited.sheet.write_text(reel.sheet.read_text("utf-8").replace("a knock", f"a knock {time.time_ns()}", 1), "utf-8")
    edit_s = _cpu_s(lambda: _check(edited, generated=1))
    _check(reel, generated=0)
    shown = (f"{each:.2f}" if each is not None else "" for each in (alone_s, start_s, first_s, repeat_s, edit_s))
    print(f"| {count} | {' | '.join(shown)} |", flush=True)


def _check(reel: LongReel, *, generated: int) -> None:
    found = re.search(r"(\d+) generated", _batch(reel))
    assert int(found[1] if found else 0) == generated


def _batch(reel: LongReel) -> str:
    """Run the command, and return its last line."""
    folder = reel.timeline.parent
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(io.StringIO()) as errors:
        code = run(
            [
                "batch", str(reel.timeline), "-o", str(folder / "out.otio"), "--stems", str(folder / "stems"),
                "--sheet", str(reel.sheet),
            ]
        )  # fmt: skip
    assert code == 0, errors.getvalue()[-2000:]
    return output.getvalue().splitlines()[-1]


def _cpu_s(call: Callable[[], object]) -> float:
    began_s = time.process_time()
    call()
    return time.process_time() - began_s


if __name__ == "__main__":
    main()
