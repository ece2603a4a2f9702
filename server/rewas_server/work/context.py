"""What the job code shares: its context, its progress, and the clips and settings of a request."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import opentimelineio as otio

from rewas_api import enum_names
from rewas_api.clip_settings import ClipSettings
from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import MediaError, Progress, VideoClip
from rewas_server.otio.clips import PromptedClip, clip_label, find_prompted_clips, parse_clip, read_clip_source

if TYPE_CHECKING:
    from rewas_engine import ReWaS


Result = rewas_pb2.EnergyResult | rewas_pb2.ConflictResult | rewas_pb2.SoundResult | rewas_pb2.TimelineResult


@dataclass(frozen=True)
class WorkContext:
    """What work needs from where it runs.

    engine: a pack's name -> the loaded model; raises EngineError. output_dir: where stems are written. locate_media:
    (target_url of a clip, uploaded_media of the request) -> the file to read; raises ProblemError.
    """

    engine: Callable[[str], ReWaS]
    default_pack: str
    output_dir: Path
    locate_media: Callable[[str, Mapping[str, str]], Path]


@dataclass(frozen=True)
class WorkProgress:
    """Where the work is. stage: a rewas_pb2.Stage; step: finished of it; fraction: of the whole job, never falls."""

    stage: int
    step: int
    total_steps: int
    fraction: float


class MonotonicProgress:
    """Passes progress on, and sees that the fraction never falls and each stage's time is known."""

    def __init__(self, on_progress: Callable[[WorkProgress], None]) -> None:
        self._on_progress = on_progress
        self._fraction = 0.0
        self._stage = ""
        self._stage_began_s = time.monotonic()
        self.timings_s: dict[str, float] = {}

    def report(self, stage: str, step: int, total_steps: int, fraction: float) -> None:
        """Pass on where the work is; a change of stage ends the time of the one before."""
        if stage != self._stage:
            self.finish_stage()
            self._stage = stage
        self._fraction = max(self._fraction, min(fraction, 1.0))
        self._on_progress(WorkProgress(enum_names.STAGE.to_number(stage), step, total_steps, self._fraction))

    def finish_stage(self) -> None:
        """End the time of the running stage."""
        now_s = time.monotonic()
        if self._stage:
            self.timings_s[self._stage] = self.timings_s.get(self._stage, 0.0) + now_s - self._stage_began_s
        self._stage, self._stage_began_s = "", now_s

    def part(self, begin: float, end: float) -> Callable[[Progress], None]:
        """A callback for the engine whose own 0 to 1 is begin to end of the whole job."""
        return lambda progress: self.report(
            progress.stage, progress.step, progress.total_steps, begin + (end - begin) * progress.fraction
        )


def read_clip_settings(clip: otio.schema.Clip, message: rewas_pb2.SoundSettings) -> ClipSettings:
    """The settings of a request. Raises ProblemError (SETTINGS) that names the clip for what is out of bounds."""
    label = clip_label(clip)
    with settings_of(label):
        settings = ClipSettings.from_proto(message)
    if not settings.prompt.strip():
        raise ProblemError(f"{label} has an empty prompt.", "Write what should be heard.", ProblemKind.SETTINGS)
    return settings


@contextlib.contextmanager
def settings_of(label: str) -> Iterator[None]:
    """Within, a ProblemError about the settings of "the clip" says which clip. label: as of `clip_label`."""
    try:
        yield
    except ProblemError as problem:
        named = problem.what.replace("the clip", label[0].lower() + label[1:], 1)
        raise ProblemError(named, problem.remedy, problem.kind) from None


@contextlib.contextmanager
def name_clip_in_media_errors(clip: VideoClip) -> Iterator[None]:
    """Within, a MediaError names the clip too, and does not name an upload by its hash."""
    try:
        yield
    except MediaError as error:
        file_name = clip.path.name
        is_upload = re.fullmatch("[0-9a-f]{64}", clip.path.stem) is not None
        shown = clip.name if is_upload or file_name == clip.name else f"{clip.name} ({file_name})"
        what = error.what.replace(file_name, shown, 1)
        raise MediaError(what if clip.name in what else f"{shown}: {what}", error.remedy) from error


def clips_with_prompt(timeline: otio.schema.Timeline) -> list[PromptedClip]:
    """The clips of a timeline that want sound. Raises ProblemError (TIMELINE) where there is none."""
    clips = find_prompted_clips(timeline)
    if not clips:
        raise ProblemError(
            f'No clip on the video tracks of the timeline "{timeline.name}" carries a prompt.',
            'Write one into each clip\'s metadata, as {"rewas": {"prompt": "dog growling"}}.',
            ProblemKind.TIMELINE,
        )
    return clips


def video_clip(clip_otio_json: str, uploaded_media: Mapping[str, str], context: WorkContext) -> VideoClip:
    """The engine's clip for an OTIO clip. Raises ProblemError and SettingsError for what cannot be right."""
    source = read_clip_source(parse_clip(clip_otio_json))
    path = context.locate_media(source.target_url, uploaded_media)
    return VideoClip(path, start=source.start_s, duration=source.duration_s, name=source.name)
