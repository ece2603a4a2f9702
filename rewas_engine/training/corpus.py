"""The clips that a pack is trained on, made once and kept on disk in shards."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import onset_track
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig, normalised
from rewas_engine.runtime.atomic_files import save_array_atomic, write_text_atomic
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.caption_embeddings import embedded_captions
from rewas_engine.training.clip_sources import ReportShards
from rewas_engine.training.clip_workers import worker_pool
from rewas_engine.training.folder_settings import Claim
from rewas_engine.training.picture_labels import labels_of
from rewas_engine.training.picture_stage import PictureCorpus
from rewas_engine.training.progress import TrainingStopped
from rewas_engine.training.stages import SoundCorpus
from rewas_engine.training.vocoder_stage import WaveformCorpus
from rewas_engine.world import FRAME_RATE, FRAME_SIZE, SAMPLE_RATE_HZ, Scene, render_sound, sample_scene
from rewas_engine.world.picture import render_brightness

CLAIM_FILE = "corpus.json"
SHARD_CLIPS = 250
FULL_SCALE = 32767
WEAKEST_PEAK = 0.65
"""Strongest intensity that a scene must reach for its picture to tell how loud its sound is."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class WorldCorpus:
    """Clips of the synthetic world on disk: `clips` clips of consecutive seeds, the first `pictures` of them seen too.

    Sounds are normalised as the method prepares every sound, and stored as 16-bit; pictures as 8-bit brightness.
    """

    folder: Path
    clips: int
    pictures: int
    first_seed: int

    def write(self, workers: int, report: ReportShards | None = None, cancel: CancelSignal | None = None) -> None:
        """Make every shard that is not there yet; a shard is written whole or not at all.

        Raises TrainingStopped where asked to stop; what is made stays. Raises SettingsError where the folder holds
        another corpus.
        """
        self._claim.make()
        missing = self._missing()
        with worker_pool(workers) as pool:
            make = partial(_write_shard, str(self.folder), self.clips, self.pictures, self.first_seed)
            for count, _ in enumerate(pool.map(make, missing), start=1):
                if cancel is not None and cancel.is_set():
                    pool.shutdown(cancel_futures=True)
                    raise TrainingStopped("corpus", count)
                if report is not None:
                    report(self._shard_count - len(missing) + count, self._shard_count)

    def is_written(self) -> bool:
        """Whether every shard is there. Raises SettingsError where the folder holds another corpus."""
        return self._claim.is_made() and not self._missing()

    @property
    def _claim(self) -> Claim:
        settings = {"clips": self.clips, "pictures": self.pictures, "first_seed": self.first_seed}
        return Claim(self.folder / CLAIM_FILE, settings)

    def _missing(self) -> list[int]:
        return [index for index in range(self._shard_count) if not self._shard(index, "json").is_file()]

    def scenes(self) -> list[Scene]:
        """What happens in each clip."""
        return [sample_scene(self.first_seed + clip) for clip in range(self.clips)]

    def captions(self) -> list[str]:
        """One caption for each clip."""
        texts: list[str] = []
        for index in range(self._shard_count):
            texts += json.loads(self._shard(index, "json").read_text("utf-8"))
        return texts

    def _onsets(self) -> list[list[list[float]] | None]:
        """Times in seconds and strengths of each clip's onsets; None where it runs on without separate events."""
        told: list[list[list[float]] | None] = []
        for index in range(self._shard_count):
            told += json.loads(self._shard(index, "onsets.json").read_text("utf-8"))
        return told

    def waveforms(self) -> WaveformCorpus:
        """All sounds, [N, samples] int16."""
        return WaveformCorpus(torch.from_numpy(self._gathered("sound", self.clips)))

    def log_mels(self, front_end: AudioFrontEnd) -> torch.Tensor:
        """Of all sounds, [N, T, bins] float16 nats; they are kept beside the shards."""
        cache = self.folder / "log_mels.npy"
        if not cache.is_file():
            waveforms = self.waveforms().waveforms
            parts = [front_end.log_mel(part.float() / FULL_SCALE).half().numpy() for part in waveforms.split(64, dim=0)]
            save_array_atomic(cache, np.concatenate(parts))
        return torch.from_numpy(np.load(cache))

    def sounds(self, front_end: AudioFrontEnd, embed: Callable[[Sequence[str]], torch.Tensor]) -> SoundCorpus:
        """All log-mels and sentence embeddings; both are kept beside the shards."""
        prompts, log_mels = embedded_captions(self.captions(), embed, self.folder), self.log_mels(front_end)
        told = self._onsets()
        rate_hz = float(front_end.config.frame_rate_hz)
        tracks = [
            onset_track(
                np.array([time_s for time_s, _ in onsets or []], np.float32),
                np.array([strength for _, strength in onsets or []], np.float32),
                log_mels.shape[1],
                rate_hz,
            ).astype(np.float16)
            for onsets in told
        ]
        return SoundCorpus(
            log_mels,
            prompts,
            embed([""])[0],
            torch.from_numpy(np.stack(tracks)),
            torch.tensor([onsets is not None for onsets in told]),
        )

    def seen(self, front_end: AudioFrontEnd) -> PictureCorpus:
        """All pictures with the energies of their sounds at the picture's rate.

        Scenes whose source is off screen are left out: nothing in the picture could tell. Those that are weak
        throughout teach the shape of their energy alone: normalised, they would call for loud sound from small motion.
        """
        scenes = [sample_scene(self.first_seed + clip) for clip in range(self.pictures)]
        kept = torch.tensor([scene.is_silent or not scene.off_screen for scene in scenes])
        sounds = torch.from_numpy(self._gathered("sound", self.pictures))[kept]
        energies = torch.cat([front_end.log_mel(part.float() / FULL_SCALE).mean(dim=-1) for part in sounds.split(64)])
        frames = torch.from_numpy(self._gathered("picture", self.pictures))[kept]
        per_frame = int(front_end.config.frame_rate_hz / FRAME_RATE)
        shown = [scene for scene, keep in zip(scenes, kept.tolist(), strict=True) if keep]
        return PictureCorpus(
            frames,
            energies.reshape(len(energies), -1, per_frame).mean(dim=-1),
            float(FRAME_RATE),
            labels_of(shown, frames.shape[1], float(FRAME_RATE)),
            torch.tensor([scene.is_silent or scene.envelope.max() >= WEAKEST_PEAK for scene in shown]),
        )

    @property
    def _shard_count(self) -> int:
        return -(-self.clips // SHARD_CLIPS)

    def _shard(self, index: int, kind: str) -> Path:
        return _shard_path(self.folder, index, kind)

    def _gathered(self, kind: str, clips: int) -> NDArray[np.generic]:
        parts = [np.load(self._shard(index, f"{kind}.npy")) for index in range(-(-clips // SHARD_CLIPS))]
        gathered: NDArray[np.generic] = np.concatenate(parts)[:clips]
        return gathered


def _shard_path(folder: Path, index: int, kind: str) -> Path:
    return folder / f"{index:05d}.{kind}"


def _write_shard(folder: str, clips: int, pictures: int, first_seed: int, index: int) -> None:
    first = index * SHARD_CLIPS
    sounds, frames, captions, onsets = [], [], [], []
    for clip in range(first, min(first + SHARD_CLIPS, clips)):
        scene = sample_scene(first_seed + clip)
        sound = render_sound(scene)
        sounds.append(np.round(normalised(sound) * FULL_SCALE).astype(np.int16))
        captions.append(scene.full_caption)
        onsets.append(_told_onsets(scene))
        if clip < pictures:
            frames.append(render_brightness(scene, frame_rate=FRAME_RATE, width=FRAME_SIZE, height=FRAME_SIZE))
    save_array_atomic(_shard_path(Path(folder), index, "sound.npy"), np.stack(sounds))
    if frames:
        save_array_atomic(_shard_path(Path(folder), index, "picture.npy"), np.stack(frames))
    _save_json(_shard_path(Path(folder), index, "onsets.json"), onsets)
    # Written last: its presence says that the shard is whole.
    _save_json(_shard_path(Path(folder), index, "json"), captions)


def _told_onsets(scene: Scene) -> list[list[float]] | None:
    if scene.is_silent:
        return []
    if not scene.event_times_s.size:
        return None
    pairs = zip(scene.event_times_s.tolist(), scene.event_strengths.tolist(), strict=True)
    return [[round(time_s, 4), round(strength, 3)] for time_s, strength in pairs]


def _save_json(path: Path, document: object) -> None:
    write_text_atomic(path, json.dumps(document))


def brightness(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brightness [T, H, W] of an RGB picture [T, H, W, 3]."""
    return np.round(picture.astype(np.float32) @ LUMA).astype(np.uint8)


def world_front_end() -> AudioFrontEnd:
    """The front end of packs that are trained on the world: the paper's geometry at the world's rate."""
    return AudioFrontEnd(MelConfig(sample_rate_hz=SAMPLE_RATE_HZ))
