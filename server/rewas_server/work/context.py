"""What the code of all jobs shares: context, progress, and error messages about media."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rewas_api.v1 import rewas_pb2
from rewas_engine import Cancelled, MediaError, Progress, VideoClip
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback

if TYPE_CHECKING:
    from rewas_engine import ReWaS


LOCK_POLL_S = 0.1
"""How often a job that waits for another one looks whether it was cancelled."""

Result = (
    rewas_pb2.EnergyResult
    | rewas_pb2.ConflictResult
    | rewas_pb2.DescriptionResult
    | rewas_pb2.SoundResult
    | rewas_pb2.TimelineResult
    | rewas_pb2.AudibleVideoResult
)


@dataclass(frozen=True)
class DescriptionModels:
    """Folders of the models that describe clips. None uses the labels of the pack, and fixed phrases.

    Attributes:
        picture: Model that captions pictures.
        sound: Model that captions sounds.
        language: Model that writes sentences.
    """

    picture: Path | None = None
    sound: Path | None = None
    language: Path | None = None


@dataclass(frozen=True)
class WorkContext:
    """What work needs from the process that runs it.

    Attributes:
        engine: Returns the loaded model for the name of a pack. Raises EngineError.
        output_dir: Folder for the files of the result.
        locate_media: Returns the file to read for a target_url and the uploaded media. Raises ProblemError.
        description_models: Models that describe clips. Requests cannot choose them.
        video_model: Folder of a model for audible video, if there is one. Requests cannot choose it.
    """

    engine: Callable[[str], ReWaS]
    default_pack: str
    output_dir: Path
    locate_media: Callable[[str, Mapping[str, str]], Path]
    description_models: DescriptionModels = DescriptionModels()
    video_model: Path | None = None


class MonotonicProgress:
    """Forwards progress with a fraction that never falls, and measures the time of each stage."""

    def __init__(self, on_progress: ProgressCallback) -> None:
        self._on_progress = on_progress
        self._fraction = 0.0
        self._stage = ""
        self._stage_began_s = time.monotonic()
        self.timings_s: dict[str, float] = {}

    def report(self, stage: str, step: int, total_steps: int, fraction: float) -> None:
        """Report progress. A new stage ends the time of the previous one."""
        if stage != self._stage:
            self.finish_stage()
            self._stage = stage
        self._fraction = max(self._fraction, min(fraction, 1.0))
        self._on_progress(Progress(stage, step, total_steps, self._fraction))

    def finish_stage(self) -> None:
        """End the time of the current stage."""
        now_s = time.monotonic()
        if self._stage:
            self.timings_s[self._stage] = self.timings_s.get(self._stage, 0.0) + now_s - self._stage_began_s
        self._stage, self._stage_began_s = "", now_s

    def part(self, begin: float, end: float) -> Callable[[Progress], None]:
        """Return a callback for the engine that maps its fraction to `begin` to `end` of the job."""
        return lambda progress: self.report(
            progress.stage, progress.step, progress.total_steps, begin + (end - begin) * progress.fraction
        )


@contextlib.contextmanager
def turn_of(lock: threading.Lock, cancel: CancelSignal) -> Iterator[None]:
    """Hold a lock within the block. Raises Cancelled if the job is cancelled while it waits for it."""
    while not lock.acquire(timeout=LOCK_POLL_S):
        raise_if_cancelled(cancel)
    try:
        yield
    finally:
        lock.release()


def raise_if_cancelled(cancel: CancelSignal) -> None:
    """Raise Cancelled if a job is cancelled."""
    if cancel.is_set():
        raise Cancelled


@contextlib.contextmanager
def name_clip_in_media_errors(clip: VideoClip) -> Iterator[None]:
    """Within the block, make a MediaError name the clip, and never an upload by its hash."""
    try:
        yield
    except MediaError as error:
        file_name = clip.path.name
        is_upload = re.fullmatch("[0-9a-f]{64}", clip.path.stem) is not None
        shown = clip.name if is_upload or file_name == clip.name else f"{clip.name} ({file_name})"
        what = error.what.replace(file_name, shown, 1)
        raise MediaError(what if clip.name in what else f"{shown}: {what}", error.remedy) from error
