"""Console output: results on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from rewas_cli.startup import INTERRUPTED as INTERRUPTED

if TYPE_CHECKING:
    from rewas_engine.runtime.progress import Progress, ProgressCallback
    from rewas_server.batch.run import BatchProgress

SUCCESS = 0
FAILED_WORK = 1
BAD_INPUT = 2

STAGE_LABELS = {
    "read": "Reading the media",
    "upload": "Uploading the media",
    "load": "Loading the model",
    "decode": "Reading the video",
    "energy": "Estimating the energy",
    "conflict": "Comparing prompt and video",
    "describe": "Describing picture and sound",
    "sample": "Denoising",
    "vocode": "Generating the waveform",
    "perform": "Performing recordings",
    "deliver": "Writing the stems",
}
MEDIA_STAGES = ("read", "upload")
"""Stages of a batch before its jobs. They count bytes of media."""
_LINES_EVERY_S = 5
_NOISY_LIBRARIES = ("diffusers", "transformers", "torch", "matplotlib", "libav")


class Interrupted(BaseException):
    """Ctrl-C aborts the work. Not a KeyboardInterrupt, which typer turns into a silent exit."""


class OutputLost(Exception):
    """The result cannot be written to standard output. reason: the error of the operating system."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Printer:
    """Prints a result as text, or as exactly one JSON object."""

    as_json: bool

    def result(self, report: Mapping[str, Any], lines: list[str]) -> None:
        """Print the report as JSON, or the lines as text. Raises OutputLost."""
        try:
            if self.as_json:
                sys.stdout.write(json.dumps(report, indent=2, allow_nan=False) + "\n")
            else:
                console = Console(soft_wrap=True, highlight=False)
                for line in lines:
                    console.print(line, markup=False)
            sys.stdout.flush()
        except OSError as error:
            raise OutputLost(error) from error


def print_problem(what: str, remedy: str, kind: str, as_json: bool) -> None:
    """Print an error to standard error and, with --json, as the one object on standard output."""
    if as_json:
        # Standard error may still work if standard output does not.
        with contextlib.suppress(OSError):
            sys.stdout.write(json.dumps({"error": {"what": what, "remedy": remedy, "kind": kind}}, indent=2) + "\n")
            sys.stdout.flush()
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]Error:[/] {escape(what)} {escape(remedy)}")


def find_lost_output() -> OSError | None:
    """Flush standard output. Return the error if that fails, after redirecting it to nowhere; else None."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


def printable(text: str) -> str:
    """Replace control characters: names come from other clients and files, and could move the cursor of a terminal."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def format_size(size_bytes: float) -> str:
    """Return a size for people, such as "1.2 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "bytes" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def note(text: str) -> None:
    """Print a note to standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(text, markup=False, style="dim")


@contextlib.contextmanager
def cancel_on_ctrl_c() -> Iterator[threading.Event]:
    """Within, the first Ctrl-C sets the event, so that the work stops at its next step; the second aborts."""
    cancel = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        if cancel.is_set():
            raise Interrupted
        cancel.set()
        # Signal handlers must not use print or rich, which may themselves be in the middle of a write.
        os.write(2, b"\nStopping after this step; press Ctrl-C again to abort.\n")

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def abort_on_ctrl_c() -> Iterator[None]:
    """Within, Ctrl-C aborts the work, which then removes its incomplete files."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    handler = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def progress_bar(name: str) -> Iterator[ProgressCallback]:
    """Show a progress bar on standard error; nothing if that is not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda progress: None
        return
    columns = (
        TextColumn("{task.fields[clip]}"),
        TextColumn("[cyan]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("[dim]{task.fields[steps]}"),
        TimeRemainingColumn(),
    )
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Loading the model", total=1.0, clip=escape(name), steps="")

        def show(progress: Progress) -> None:
            steps = f"{progress.step}/{progress.total_steps}" if progress.total_steps else ""
            label = STAGE_LABELS.get(progress.stage, "Waiting")
            bar.update(task, completed=progress.fraction, description=label, steps=steps)

        yield show


@contextlib.contextmanager
def batch_progress_bar(name: str) -> Iterator[Callable[[BatchProgress], None]]:
    """Show on standard error which clip of a batch is in progress; if that is not a terminal, print a line per clip."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if not console.is_terminal:
        yield _ClipLines(console)
        return
    columns = (
        TextColumn("{task.fields[clip]}"),
        TextColumn("[cyan]{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("[dim]{task.fields[steps]}"),
        TimeRemainingColumn(),
    )
    with ProgressBar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Reading the media", total=1.0, clip=escape(name), steps="")

        def show(progress: BatchProgress) -> None:
            steps = _count_bytes(progress)
            if not steps and progress.total_steps:
                steps = f"{progress.step}/{progress.total_steps}"
            label = STAGE_LABELS.get(progress.stage, "Waiting")
            clip = escape(_count_clips(progress))
            bar.update(task, completed=progress.fraction, description=label, steps=steps, clip=clip)

        yield show


class _ClipLines:
    """Prints a line for each clip and, while large media is read or sent, one every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: set[int] = set()
        self._printed_s = time.monotonic()

    def __call__(self, progress: BatchProgress) -> None:
        size = _count_bytes(progress)
        if size:
            if progress.step == progress.total_steps:
                return
            now_s = time.monotonic()
            if now_s - self._printed_s < _LINES_EVERY_S:
                return
            self._printed_s = now_s
            self._console.print(f"{_count_clips(progress)}: {STAGE_LABELS[progress.stage]}, {size}", markup=False)
        elif progress.number not in self._seen:
            self._seen.add(progress.number)
            self._console.print(_count_clips(progress), markup=False)


def _count_bytes(progress: BatchProgress) -> str:
    """Return how much of its media was read or sent; "" in other stages."""
    if progress.stage not in MEDIA_STAGES:
        return ""
    return f"{format_size(progress.step)} of {format_size(progress.total_steps)}"


def _count_clips(progress: BatchProgress) -> str:
    return f"Clip {progress.number} of {progress.clip_count} {progress.clip_name}".rstrip()


@contextlib.contextmanager
def conversion_bar() -> Iterator[ProgressCallback]:
    """Show a progress bar for work in steps on standard error; if that is not a terminal, print a line per step."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if not console.is_terminal:
        yield lambda progress: console.print(f"{progress.stage} ({progress.step}/{progress.total_steps})", markup=False)
        return
    columns = (TextColumn("[cyan]{task.description}"), BarColumn(), TaskProgressColumn())
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Starting", total=1)
        yield lambda progress: bar.update(
            task, description=progress.stage, completed=progress.step, total=progress.total_steps
        )


@contextlib.contextmanager
def protect_stdout() -> Iterator[None]:
    """Redirect what libraries print to standard error, so that standard output holds only the result."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for name in _NOISY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr):
        yield
