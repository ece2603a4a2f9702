"""The training clips of the synthetic world, rendered once and stored on disk in shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import onset_track
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.runtime.atomic_files import save_array_atomic
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.caption_embeddings import embed_captions
from rewas_engine.training.clip_sources import ReportShards
from rewas_engine.training.clip_workers import worker_pool
from rewas_engine.training.corpus_shards import FULL_SCALE, shard_path, write_shard
from rewas_engine.training.folder_settings import FolderSettings
from rewas_engine.training.grain_recordings import GrainRecordings, list_recordings
from rewas_engine.training.picture_labels import label_scenes
from rewas_engine.training.picture_stage import PictureCorpus
from rewas_engine.training.progress import TrainingStopped
from rewas_engine.training.stages import SoundCorpus
from rewas_engine.training.vocoder_stage import WaveformCorpus
from rewas_engine.world import CLASS_NAMES, FRAME_RATE, SAMPLE_RATE_HZ, Scene, sample_scene

SETTINGS_FILE = "corpus.json"
SHARD_CLIPS = 250
WEAKEST_PEAK = 0.65
"""Smallest peak intensity at which a scene's video shows how loud its sound is."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class WorldCorpus:
    """Clips of the synthetic world on disk, with consecutive scene seeds.

    Sounds are normalised as in generation and stored as 16-bit integers. Frames are stored as 8-bit brightness.

    Attributes:
        folder: Folder of the shards.
        clips: Number of clips.
        pictures: Number of clips with video; these are the first ones.
        first_seed: Scene seed of the first clip.
        classes: Classes of the scenes. Those without a picture are never part of `videos`.
        grains_folder: Folder of recordings that the sounds can use, with a table (`list_recordings`); None for
            synthesis only.
    """

    folder: Path
    clips: int
    pictures: int
    first_seed: int
    classes: tuple[str, ...] = CLASS_NAMES
    grains_folder: Path | None = None

    def write(self, workers: int, report: ReportShards | None = None, cancel: CancelSignal | None = None) -> None:
        """Render the missing shards. Each is written atomically.

        Raises:
            TrainingStopped: The work was cancelled; complete shards are kept.
            SettingsError: The folder contains another corpus, or the folder of recordings cannot be used.
            MediaError: A recording cannot be used.
        """
        self._folder_settings.ensure()
        missing = self._missing()
        with worker_pool(workers) as pool:
            make = partial(
                write_shard, self.folder, self.pictures, self.first_seed, self.classes, self.grain_recordings.training
            )
            for count, _ in enumerate(pool.map(make, missing, map(self._clips_of, missing)), start=1):
                if cancel is not None and cancel.is_set():
                    pool.shutdown(cancel_futures=True)
                    raise TrainingStopped("corpus", count)
                if report is not None:
                    report(self._shard_count - len(missing) + count, self._shard_count)

    def is_written(self) -> bool:
        """Whether every shard exists.

        Raises SettingsError if the folder contains another corpus, or the folder of recordings cannot be used.
        """
        return self._folder_settings.matches() and not self._missing()

    @cached_property
    def grain_recordings(self) -> GrainRecordings:
        """Recordings of the folder of recordings; none without such a folder. Raises SettingsError."""
        return list_recordings(self.grains_folder, self.classes) if self.grains_folder else GrainRecordings((), ())

    @property
    def _folder_settings(self) -> FolderSettings:
        settings = {
            "clips": self.clips,
            "pictures": self.pictures,
            "first_seed": self.first_seed,
            # Corpora of earlier versions do not name their classes.
            **({} if self.classes == CLASS_NAMES else {"classes": list(self.classes)}),
            **({"grains": self.grain_recordings.fingerprint} if self.grains_folder else {}),
        }
        return FolderSettings(self.folder / SETTINGS_FILE, settings)

    def _missing(self) -> list[int]:
        return [index for index in range(self._shard_count) if not self._shard(index, "json").is_file()]

    def scenes(self) -> list[Scene]:
        """The scene of each clip."""
        return [sample_scene(self.first_seed + clip, classes=self.classes) for clip in range(self.clips)]

    def captions(self) -> list[str]:
        """One caption per clip."""
        texts: list[str] = []
        for index in range(self._shard_count):
            texts += json.loads(self._shard(index, "json").read_text("utf-8"))
        return texts

    def _onsets(self) -> list[list[list[float]] | None]:
        """Times in seconds and strengths of each clip's onsets; None for continuous sounds without events."""
        onsets_of_clips: list[list[list[float]] | None] = []
        for index in range(self._shard_count):
            onsets_of_clips += json.loads(self._shard(index, "onsets.json").read_text("utf-8"))
        return onsets_of_clips

    def waveforms(self) -> WaveformCorpus:
        """All sounds, [N, samples] int16."""
        return WaveformCorpus(torch.from_numpy(self._concatenate("sound", self.clips)))

    def log_mels(self, front_end: AudioFrontEnd) -> torch.Tensor:
        """Log-mels of all sounds, [N, T, bins] float16 nats, cached next to the shards."""
        cache = self.folder / "log_mels.npy"
        if not cache.is_file():
            waveforms = self.waveforms().waveforms
            parts = [front_end.log_mel(part.float() / FULL_SCALE).half().numpy() for part in waveforms.split(64, dim=0)]
            log_mels = np.concatenate(parts)
            save_array_atomic(cache, log_mels)
            return torch.from_numpy(log_mels)
        return torch.from_numpy(np.load(cache))

    def sounds(self, front_end: AudioFrontEnd, embed: Callable[[Sequence[str]], torch.Tensor]) -> SoundCorpus:
        """All log-mels and sentence embeddings; both are cached next to the shards."""
        prompts, log_mels = embed_captions(self.captions(), embed, self.folder), self.log_mels(front_end)
        onsets_of_clips = self._onsets()
        rate_hz = float(front_end.config.frame_rate_hz)
        tracks = [
            onset_track(
                np.array([time_s for time_s, _ in onsets or []], np.float32),
                np.array([strength for _, strength in onsets or []], np.float32),
                log_mels.shape[1],
                rate_hz,
            ).astype(np.float16)
            for onsets in onsets_of_clips
        ]
        return SoundCorpus(
            log_mels,
            prompts,
            embed([""])[0],
            torch.from_numpy(np.stack(tracks)),
            torch.tensor([onsets is not None for onsets in onsets_of_clips]),
        )

    def videos(self, front_end: AudioFrontEnd) -> PictureCorpus:
        """All frames with the energies of their sounds at the frame rate.

        Scenes with their source off screen are left out, because the video does not show the sound. Scenes that are
        weak throughout contribute only the shape of their energy, because normalisation would turn small motion into
        loud sound.
        """
        scenes = self.scenes()[: self.pictures]
        kept = torch.tensor([scene.is_silent or not scene.off_screen for scene in scenes])
        sounds = torch.from_numpy(self._concatenate("sound", self.pictures))[kept]
        energies = torch.cat([front_end.log_mel(part.float() / FULL_SCALE).mean(dim=-1) for part in sounds.split(64)])
        frames = torch.from_numpy(self._concatenate("picture", self.pictures))[kept]
        per_frame = int(front_end.config.frame_rate_hz / FRAME_RATE)
        shown = [scene for scene, keep in zip(scenes, kept.tolist(), strict=True) if keep]
        return PictureCorpus(
            frames,
            energies.reshape(len(energies), -1, per_frame).mean(dim=-1),
            float(FRAME_RATE),
            label_scenes(shown, frames.shape[1], float(FRAME_RATE)),
            torch.tensor([scene.is_silent or scene.envelope.max() >= WEAKEST_PEAK for scene in shown]),
            tuple(caption for caption, keep in zip(self.captions(), kept.tolist(), strict=False) if keep),
        )

    @property
    def _shard_count(self) -> int:
        return -(-self.clips // SHARD_CLIPS)

    def _shard(self, index: int, kind: str) -> Path:
        return shard_path(self.folder, index, kind)

    def _clips_of(self, index: int) -> range:
        return range(index * SHARD_CLIPS, min((index + 1) * SHARD_CLIPS, self.clips))

    def _concatenate(self, kind: str, clips: int) -> NDArray[np.generic]:
        parts = [np.load(self._shard(index, f"{kind}.npy")) for index in range(-(-clips // SHARD_CLIPS))]
        gathered: NDArray[np.generic] = np.concatenate(parts)[:clips]
        return gathered


def brightness(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brightness [T, H, W] of RGB frames [T, H, W, 3]."""
    return np.round(frames.astype(np.float32) @ LUMA).astype(np.uint8)


def world_front_end() -> AudioFrontEnd:
    """Build the front end of packs trained on the world: the paper's settings at the world's sample rate."""
    return AudioFrontEnd(MelConfig(sample_rate_hz=SAMPLE_RATE_HZ))
