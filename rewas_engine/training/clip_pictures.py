"""Clips that `rewas train world` has written, drawn or rendered, as training data of the picture stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.errors import MediaError, SettingsError
from rewas_engine.media.video import probe_video, read_frames
from rewas_engine.runtime.atomic_files import save_array_atomic
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.clip_series import SETTINGS_FILE
from rewas_engine.training.clip_sources import PictureSource, ReportShards
from rewas_engine.training.corpus import WEAKEST_PEAK
from rewas_engine.training.corpus_shards import FULL_SCALE
from rewas_engine.training.picture_labels import PictureLabels, label_scenes
from rewas_engine.training.picture_stage import PictureCorpus
from rewas_engine.training.progress import TrainingStopped
from rewas_engine.world import CLASS_NAMES, FRAME_RATE, FRAME_SIZE, SAMPLE_RATE_HZ, Scene


@dataclass(frozen=True)
class ClipPictures:
    """The finished clips of a folder of `rewas train world`.

    Their videos are read as real footage is, and kept beside them as brightness: `clip_000012.frames.npy`.

    Attributes:
        folder: The folder.
        motionless: Whether to include clips whose source does not move. Only a model that reads the captions can learn
            from them.
    """

    folder: Path
    motionless: bool = False

    def write(self, workers: int, report: ReportShards | None = None, cancel: CancelSignal | None = None) -> None:
        """Read the videos that have not been read yet.

        Raises:
            TrainingStopped: The work was cancelled; what was read is kept.
            SettingsError: The folder contains no clips.
            MediaError: A video cannot be read.
        """
        clips = self._clips
        missing = [clip for clip in clips if not _frames_path(clip).is_file()]
        # Threads are enough, because decoding releases the interpreter lock.
        with ThreadPoolExecutor(workers) as pool:
            waiting = [pool.submit(_read_video, clip, Fraction(str(self._scene(clip).duration_s))) for clip in missing]
            try:
                for count, done in enumerate(as_completed(waiting), start=1):
                    done.result()
                    if cancel is not None and cancel.is_set():
                        raise TrainingStopped("corpus", count)
                    if report is not None:
                        report(len(clips) - len(missing) + count, len(clips))
            finally:
                pool.shutdown(cancel_futures=True)

    def is_written(self) -> bool:
        """Whether all videos have been read. Raises SettingsError if the folder contains no clips."""
        return all(_frames_path(clip).is_file() for clip in self._clips)

    def videos(self, front_end: AudioFrontEnd) -> PictureCorpus:
        """All frames with the energies of their sounds at the frame rate. Call `write` first.

        Clips with their source off screen are left out, because the video does not show the sound. Clips that are weak
        throughout contribute only the shape of their energy.

        Raises:
            SettingsError: The clips have different durations, or no clip shows its sound.
        """
        shown = [(clip, scene) for clip in self._clips if (scene := self._scene(clip)) and self._is_shown(clip)]
        if len({scene.duration_s for _, scene in shown}) != 1:
            raise SettingsError(
                f"The {len(shown)} clips in {self.folder} that show their sound do not have one duration.",
                "Use one folder for each duration.",
            )
        scenes = [scene for _, scene in shown]
        frames = np.stack([np.load(_frames_path(clip)) for clip, _ in shown])
        sounds = torch.from_numpy(np.stack([_read_sound(clip) for clip, _ in shown]))
        energies = torch.cat([front_end.log_mel(part.float() / FULL_SCALE).mean(dim=-1) for part in sounds.split(64)])
        per_frame = int(front_end.config.frame_rate_hz / FRAME_RATE)
        return PictureCorpus(
            torch.from_numpy(frames),
            energies.reshape(len(energies), -1, per_frame).mean(dim=-1),
            float(FRAME_RATE),
            label_scenes(scenes, frames.shape[1], float(FRAME_RATE)),
            torch.tensor([scene.is_silent or bool(scene.envelope.max() >= WEAKEST_PEAK) for scene in scenes]),
            tuple(self.captions()),
        )

    def captions(self) -> list[str]:
        """One caption for each clip of `videos`."""
        return [str(self._description(clip)["full_caption"]) for clip in self._clips if self._is_shown(clip)]

    def _is_shown(self, clip: Path) -> bool:
        description, scene = self._description(clip), self._scene(clip)
        if scene.is_silent:
            return True
        return not scene.off_screen and (self.motionless or not description.get("motionless", False))

    @cached_property
    def _clips(self) -> Sequence[Path]:
        """The descriptions of the finished clips, in order."""
        found = sorted(self.folder.glob("clip_*.json")) if (self.folder / SETTINGS_FILE).is_file() else []
        if not found:
            raise SettingsError(
                f"The folder {self.folder} contains no clips of the synthetic world.",
                "Write them with rewas train world, or choose another folder.",
            )
        return found

    @cached_property
    def _descriptions(self) -> dict[Path, Mapping[str, Any]]:
        return {clip: json.loads(clip.read_text("utf-8")) for clip in self._clips}

    def _description(self, clip: Path) -> Mapping[str, Any]:
        return self._descriptions[clip]

    def _scene(self, clip: Path) -> Scene:
        return scene_of(self._description(clip), clip.name)


@dataclass(frozen=True)
class JoinedPictures:
    """Several sources of videos as one, such as the drawn and the rendered world.

    Attributes:
        sources: The sources; all have labels, and videos of one size, rate and duration.
    """

    sources: tuple[PictureSource, ...]

    def write(self, workers: int, report: ReportShards | None = None, cancel: CancelSignal | None = None) -> None:
        """Prepare the sources one after another. Raises what they raise."""
        for source in self.sources:
            source.write(workers, report, cancel)

    def is_written(self) -> bool:
        """Whether every source is prepared. Raises SettingsError if a folder contains something else."""
        return all(source.is_written() for source in self.sources)

    def videos(self, front_end: AudioFrontEnd) -> PictureCorpus:
        """The videos of all sources, in their order.

        Raises:
            SettingsError: The videos differ in size, rate or duration, or some have no labels.
        """
        parts = [source.videos(front_end) for source in self.sources]
        if len(parts) == 1:
            return parts[0]
        if len({(part.frames.shape[1:], part.frame_rate_hz, part.labels is None) for part in parts}) != 1:
            raise SettingsError(
                "The videos of the sources differ in size, frame rate or duration, or only some have labels.",
                "Use sources of one format.",
            )
        labels = [part.labels for part in parts if part.labels is not None]
        return PictureCorpus(
            torch.cat([part.frames for part in parts]),
            torch.cat([part.energies for part in parts]),
            parts[0].frame_rate_hz,
            _join_labels(labels) if labels else None,
            torch.cat(
                [
                    part.of_known_level if part.of_known_level is not None else torch.ones(len(part.frames)).bool()
                    for part in parts
                ]
            ),
            tuple(caption for part in parts for caption in part.captions or ("",) * len(part.frames)),
        )


def scene_of(description: Mapping[str, Any], name: str) -> Scene:
    """The scene that a clip's JSON file describes, without its ambience.

    Raises:
        MediaError: The file has no envelope or an unknown class. name: Name of the file, for this error.
    """
    try:
        scene = Scene(
            class_name=description["class"],
            seed=description["seed"],
            duration_s=description["duration_s"],
            pattern=description["pattern"],
            event_times_s=np.array(description["event_times_s"], dtype=np.float64),
            event_strengths=np.array(description["event_strengths"], dtype=np.float64),
            envelope=np.array(description["envelope"], dtype=np.float64),
            caption=description["caption"],
            silent_motion=description["silent_motion"],
            still=description["still"],
            distance=description["distance"],
            reverb_s=description["reverb_s"],
            off_screen=description["off_screen"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MediaError(
            f"{name} does not describe a clip ({error!r}).", "Delete it, and write the clips again."
        ) from error
    if scene.class_name not in CLASS_NAMES:
        raise MediaError(f"{name} has the unknown class {scene.class_name!r}.", "Write the clips again.")
    return scene


def _join_labels(labels: Sequence[PictureLabels]) -> PictureLabels:
    return PictureLabels(
        torch.cat([part.classes for part in labels]),
        torch.cat([part.strikes for part in labels]),
        torch.cat([part.courses for part in labels]),
    )


def _frames_path(clip: Path) -> Path:
    return clip.with_suffix(".frames.npy")


def _read_video(clip: Path, duration_s: Fraction) -> None:
    """Read the video of a clip, and write its frames [T, H, W]."""
    video = clip.with_suffix(".mp4")
    frames = read_frames(
        video,
        start_s=Fraction(0),
        duration_s=min(duration_s, probe_video(video).duration_s),
        frame_rate=Fraction(FRAME_RATE),
        width=FRAME_SIZE,
        height=FRAME_SIZE,
    )
    wanted = round(duration_s * FRAME_RATE)
    # The last frame of slow footage can end before the sound does.
    held = np.pad(frames, ((0, max(0, wanted - len(frames))), (0, 0), (0, 0)), mode="edge")[:wanted]
    save_array_atomic(_frames_path(clip), held)


def _read_sound(clip: Path) -> NDArray[np.int16]:
    """Read the sound of a clip, normalised as in generation."""
    sound, rate_hz = soundfile.read(clip.with_suffix(".wav"), dtype="float32")
    if rate_hz != SAMPLE_RATE_HZ or sound.ndim != 1:
        raise MediaError(f"{clip.stem}.wav is not mono at {SAMPLE_RATE_HZ} Hz.", "Write the clips again.")
    return np.asarray(np.round(normalise(sound) * FULL_SCALE), np.int16)
