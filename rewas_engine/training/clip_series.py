"""Folders of clips with consecutive seeds: rendered in parallel, resumed, and never mixed with others."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from rewas_engine.errors import Cancelled, SettingsError
from rewas_engine.media.audible_clip import encode_audible_clip
from rewas_engine.runtime.atomic_files import atomic_path
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.clip_workers import worker_pool
from rewas_engine.training.folder_settings import FolderSettings
from rewas_engine.world import SAMPLE_RATE_HZ, Scene, render_layers

SETTINGS_FILE = "world.json"
LEAST_RATE, GREATEST_RATE = 1, 120
SMALLEST, LARGEST = 16, 2160

_CANCEL_CHECK_S = 0.2

ReportClips = Callable[[int, int], object]


@dataclass(frozen=True)
class ClipSeries(ABC):
    """A folder of clips with consecutive seeds. Each has video, sound, stems and a description.

    Attributes:
        folder: The folder.
        first_seed: Seed of clip 0.
    """

    folder: Path
    first_seed: int = 0

    def __post_init__(self) -> None:
        """Raise SettingsError for an invalid seed."""
        if self.first_seed < 0:
            raise SettingsError(f"The first seed is {self.first_seed}.", "Give a seed of 0 or more.")

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """Everything that determines the clips, as JSON values by name."""

    @abstractmethod
    def write_clip(self, index: int) -> None:
        """Render one clip, in a worker process."""

    def write(
        self, clips: int, workers: int, report: ReportClips | None = None, cancel: CancelSignal | None = None
    ) -> int:
        """Render the missing clips of the range 0..clips-1.

        Files are written atomically, and the description of a clip is written last.

        Returns:
            The number of rendered clips.

        Raises:
            SettingsError: The folder contains clips with other settings or another corpus.
            Cancelled: The work was cancelled.
        """
        if clips < 1 or workers < 1:
            raise SettingsError(f"{clips} clips cannot be rendered by {workers} workers.", "Use numbers above 0.")
        self._check_folder()
        missing = [index for index in range(clips) if not self.path(index, ".json").is_file()]
        try:
            with worker_pool(workers) as pool:
                waiting = {pool.submit(self.write_clip, index) for index in missing}
                while waiting:
                    finished, waiting = wait(waiting, _CANCEL_CHECK_S, FIRST_COMPLETED)
                    for number, clip in enumerate(finished, start=1):
                        clip.result()
                        if report is not None:
                            report(clips - len(waiting) - len(finished) + number, clips)
                    if cancel is not None and cancel.is_set():
                        raise Cancelled()
        except BaseException:
            # The workers have ended at once, perhaps while they wrote a file.
            for unfinished in self.folder.glob(".clip_*.partial*"):
                unfinished.unlink(missing_ok=True)
            raise
        return len(missing)

    def path(self, index: int, suffix: str) -> Path:
        """Path of a clip's file."""
        return self.folder / f"clip_{index:06d}{suffix}"

    def _check_folder(self) -> None:
        folder_settings = FolderSettings(self.folder / SETTINGS_FILE, self.settings)
        if not folder_settings.matches() and self.folder.is_dir() and any(self.folder.iterdir()):
            raise SettingsError(f"The folder {self.folder} contains other files.", "Choose another folder.")
        folder_settings.ensure()

    def write_files(
        self,
        index: int,
        scene: Scene,
        frames: NDArray[np.uint8],
        frame_rate: Fraction,
        crf: int,
        description: Mapping[str, Any],
    ) -> None:
        """Write the files of one clip.

        Args:
            index: Number of the clip.
            scene: Its scene, which is rendered as sound.
            frames: Its frames [T, H, W, 3].
            frame_rate: Their rate, exact.
            crf: Constant rate factor of H.264.
            description: Content of the JSON file.
        """
        layers = render_layers(scene)
        primary, *others = layers.values()
        mix = sum(others, start=primary)
        sounds = {".wav": mix, **{f".{name}.wav": layer for name, layer in layers.items()}}
        for suffix, samples in sounds.items():
            with atomic_path(self.path(index, suffix)) as unfinished:
                soundfile.write(unfinished, samples, SAMPLE_RATE_HZ, subtype="FLOAT")
        with atomic_path(self.path(index, ".mp4")) as unfinished:
            encode_clip(unfinished, frames, frame_rate, crf, mix)
        with atomic_path(self.path(index, ".json")) as unfinished:
            unfinished.write_text(json.dumps(description, indent=2), "utf-8")


def check_rate(frame_rate: Fraction) -> None:
    """Raise SettingsError for a frame rate outside LEAST_RATE..GREATEST_RATE."""
    if not LEAST_RATE <= frame_rate <= GREATEST_RATE:
        raise SettingsError(
            f"The frame rate {frame_rate} is out of range.",
            f"Give a rate from {LEAST_RATE} to {GREATEST_RATE}.",
        )


def check_size(width: int, height: int) -> None:
    """Raise SettingsError for a size that H.264 cannot encode, or outside SMALLEST..LARGEST."""
    if any(side % 2 or not SMALLEST <= side <= LARGEST for side in (width, height)):
        raise SettingsError(
            f"Frames of {width} x {height} cannot be encoded.", f"Give even sizes from {SMALLEST} to {LARGEST}."
        )


def describe_scene(scene: Scene) -> dict[str, Any]:
    """Describe a scene for a clip's JSON file: times in seconds, strengths and distance in 0..1."""
    ambience = scene.ambience
    return {
        "class": scene.class_name,
        "seed": scene.seed,
        "duration_s": scene.duration_s,
        "caption": scene.caption,
        "full_caption": scene.full_caption,
        "pattern": scene.pattern,
        "event_times_s": [round(float(time_s), 5) for time_s in scene.event_times_s],
        "event_strengths": [round(float(strength), 4) for strength in scene.event_strengths],
        "envelope": [round(float(level), 4) for level in scene.envelope],
        "ambience": {"class": ambience.class_name, "caption": ambience.caption} if ambience is not None else None,
        "off_screen": scene.off_screen,
        "silent_motion": scene.silent_motion,
        "still": scene.still,
        "distance": round(scene.distance, 4),
        "reverb_s": round(scene.reverb_s, 4),
    }


def encode_clip(
    path: Path, frames: NDArray[np.uint8], frame_rate: Fraction, crf: int, sound: NDArray[np.float32]
) -> None:
    """Write frames [T, H, W, 3] as H.264 at exactly this rate, and the sound [samples] as AAC."""
    pictures = (av.VideoFrame.from_ndarray(pixels, format="rgb24") for pixels in frames)
    options = {"crf": str(crf), "preset": "veryfast"}
    size = frames.shape[2], frames.shape[1]
    encode_audible_clip(path, pictures, size, frame_rate, options, sound, SAMPLE_RATE_HZ)
