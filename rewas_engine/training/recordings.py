"""Recordings as training data: cut into clips once, stored in shards, and read as corpora."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import onset_track
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.energy import FloatArray
from rewas_engine.curves.onsets import detect_onsets
from rewas_engine.errors import Cancelled, MediaError, SettingsError
from rewas_engine.recordings.captions import LeftOut
from rewas_engine.runtime.atomic_files import save_array_atomic, write_text_atomic
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.clip_sources import ReportShards
from rewas_engine.training.cutting import ClipFormat, cut_recording
from rewas_engine.training.folder_settings import FolderSettings
from rewas_engine.training.picture_stage import PictureCorpus
from rewas_engine.training.progress import TrainingStopped
from rewas_engine.training.recording_catalog import Recording, RecordingCatalog
from rewas_engine.training.stages import SoundCorpus
from rewas_engine.training.vocoder_stage import WaveformCorpus

SETTINGS_FILE = "corpus.json"
SHARD_RECORDINGS = 8
HELD_OUT_SHARE = 0.1
"""Share of the recordings, among sounds and among videos, that training does not use."""
FULL_SCALE = 32767
DISTINCT_ONSET_NATS = 1.0
DISTINCT_SHARE = 0.5
"""A clip has strikes if at least this share of its onsets rises by DISTINCT_ONSET_NATS."""


@dataclass(frozen=True)
class RecordedClip:
    """One clip of the training data.

    Attributes:
        recording: Name of its recording.
        start_s: Seconds from the start of the recording.
        caption: Description of the sound.
        is_seen: Whether it has video.
        row: Position among all clips.
        picture_row: Position among the clips with video, or None.
    """

    recording: str
    start_s: float
    caption: str
    is_seen: bool
    row: int
    picture_row: int | None

    @property
    def source(self) -> tuple[bool, str]:
        """Key of the recording, because names are unique only among videos and among sounds."""
        return self.is_seen, self.recording


@dataclass(frozen=True)
class HeldOutClips:
    """Held-out clips: caption, sound and frames of each; sounds are [N, samples], frames [T, H, W] or None."""

    captions: tuple[str, ...]
    sounds: NDArray[np.float32]
    pictures: tuple[NDArray[np.uint8] | None, ...]


@dataclass(frozen=True)
class Recordings:
    """The recordings of a catalogue, cut into clips of one format in a folder.

    Call `write` first; finished shards are kept. A tenth of the recordings, chosen by a hash of their names, is held
    out from all stages.
    """

    folder: Path
    catalog: RecordingCatalog
    clips: ClipFormat = field(default_factory=ClipFormat)

    def write(self, workers: int, report: ReportShards | None = None, cancel: CancelSignal | None = None) -> None:
        """Read and cut the missing recordings, and write shards atomically. `left_out` lists unusable recordings.

        Args:
            workers: Number of threads.
            report: Called with finished and total recordings.
            cancel: Stops the work when it is set.

        Raises:
            TrainingStopped: The work was cancelled; complete shards are kept.
            SettingsError: The folder contains clips of other recordings or settings, or no recording can be used.
        """
        self._folder_settings.ensure()
        total = len(self.catalog.recordings)
        missing = self._missing()
        left = sum(len(self._recordings_of(index)) for index in missing)
        # Threads are enough, because decoding and resampling release the interpreter lock.
        with ThreadPoolExecutor(workers) as pool:
            shards = {pool.submit(self._write_shard, index, cancel): index for index in missing}
            try:
                for shard in as_completed(shards):
                    shard.result()
                    left -= len(self._recordings_of(shards[shard]))
                    if report is not None:
                        report(total - left, total)
            except Cancelled as cancelled:
                raise TrainingStopped("corpus", total - left) from cancelled
            finally:
                pool.shutdown(cancel_futures=True)
        if not self._all_clips:
            left_out = self.left_out()
            raise SettingsError(
                f"None of the {total} recordings can be used; {left_out[0]}." if left_out else "There is no recording.",
                "Check the files that were left out, and use sounds or videos with sound that FFmpeg can read.",
            )

    def left_out(self) -> list[LeftOut]:
        """Return the files and lines that were left out, with the reason for each. Call `write` first."""
        return [*self.catalog.left_out, *(LeftOut(*each) for shard in self._shards for each in shard["left_out"])]

    def captions(self) -> list[str]:
        """One caption per training clip. The clips of a recording take its captions in turn."""
        return [clip.caption for clip in self.training_clips]

    def waveforms(self) -> WaveformCorpus:
        """All training sounds, [N, samples] int16."""
        return WaveformCorpus(torch.from_numpy(self._concatenate("sound")[self._rows]))

    def sounds(self, front_end: AudioFrontEnd, embed: Callable[[Sequence[str]], torch.Tensor]) -> SoundCorpus:
        """Training data of the denoiser; log-mels and onsets are cached next to the shards.

        Recordings have no annotated onsets. They are detected in clips where they are distinct, and unknown in others.
        """
        log_mels = torch.from_numpy(self._log_mels(front_end)[self._rows])
        captions = self.captions()
        distinct = sorted(set(captions))
        embeddings = torch.cat([embed(distinct[start : start + 256]) for start in range(0, len(distinct), 256)])
        row_of = {caption: row for row, caption in enumerate(distinct)}
        prompts = embeddings[[row_of[caption] for caption in captions]]
        onsets = torch.from_numpy(self._onsets(front_end, log_mels.shape[1])[self._rows])
        return SoundCorpus(log_mels, prompts, embed([""])[0], onsets, onsets.any(dim=1))

    def videos(self, front_end: AudioFrontEnd) -> PictureCorpus:
        """All training frames with the energies of their sounds at the frame rate.

        Raises:
            SettingsError: No recording has video, or the frame rate does not divide the log-mel rate.
        """
        clips = [clip for clip in self.training_clips if clip.picture_row is not None]
        if not clips:
            raise SettingsError("None of the training recordings has video.", "Give a folder of videos with sound.")
        log_mels = self._log_mels(front_end)[[clip.row for clip in clips]]
        energies = torch.from_numpy(log_mels).float().mean(dim=-1)
        frames = torch.from_numpy(self._concatenate("picture")[np.array([clip.picture_row for clip in clips], np.intp)])
        per_frame = front_end.config.frame_rate_hz / self.clips.frame_rate
        if per_frame.denominator != 1 or energies.shape[1] != frames.shape[1] * per_frame:
            raise SettingsError(
                f"{float(self.clips.frame_rate):g} frames per second do not divide "
                f"{float(front_end.config.frame_rate_hz):g} log-mel frames per second.",
                "Choose a frame rate that divides the log-mel rate.",
            )
        at_pictures = energies.reshape(len(frames), -1, per_frame.numerator).mean(dim=-1)
        captions = tuple(clip.caption for clip in clips)
        return PictureCorpus(frames, at_pictures, float(self.clips.frame_rate), captions=captions)

    def held_out(self, most: int) -> HeldOutClips:
        """Read at most this many clips of the held-out recordings, spread evenly over them."""
        found = [clip for clip in self._all_clips if clip.source in self._held_out]
        chosen = [found[position * len(found) // most] for position in range(most)] if len(found) > most else found
        sounds = self._concatenate("sound")[[clip.row for clip in chosen]] / np.float32(FULL_SCALE)
        pictures = self._concatenate("picture") if any(clip.picture_row is not None for clip in chosen) else None
        return HeldOutClips(
            tuple(clip.caption for clip in chosen),
            sounds.astype(np.float32),
            tuple(
                None if pictures is None or clip.picture_row is None else pictures[clip.picture_row] for clip in chosen
            ),
        )

    @property
    def has_pictures(self) -> bool:
        """Whether any training clip has video."""
        return any(clip.picture_row is not None for clip in self.training_clips)

    @cached_property
    def training_clips(self) -> tuple[RecordedClip, ...]:
        """The clips for the stages, in the order of the recordings."""
        return tuple(clip for clip in self._all_clips if clip.source not in self._held_out)

    def facts(self) -> dict[str, Any]:
        """Statistics: recordings, videos, clips, seconds, captions, held-out recordings and files left out."""
        training = self.training_clips
        return {
            "recordings": len({clip.source for clip in self._all_clips}),
            "videos": len({clip.source for clip in self._all_clips if clip.is_seen}),
            "held_out_recordings": len(self._held_out),
            "left_out": len(self.left_out()),
            "training_clips": len(training),
            "training_clips_with_picture": sum(clip.is_seen for clip in training),
            "clip_duration_s": float(self.clips.duration_s),
            "training_duration_s": round(self._duration_s(training), 1),
            "captions": len({clip.caption for clip in training}),
        }

    def _duration_s(self, clips: Sequence[RecordedClip]) -> float:
        """Seconds of recordings that the clips cover. Overlaps count once, and padding counts too."""
        covered_s, reached_s = 0.0, {clip.source: 0.0 for clip in clips}
        length_s = float(self.clips.duration_s)
        for clip in clips:
            covered_s += clip.start_s + length_s - max(clip.start_s, reached_s[clip.source])
            reached_s[clip.source] = clip.start_s + length_s
        return covered_s

    @cached_property
    def _shards(self) -> list[dict[str, Any]]:
        return [json.loads(self._shard(index, "json").read_text("utf-8")) for index in range(self._shard_count)]

    @cached_property
    def _all_clips(self) -> list[RecordedClip]:
        clips: list[RecordedClip] = []
        pictures = 0
        for shard in self._shards:
            for entry in shard["clips"]:
                clips.append(RecordedClip(**entry, row=len(clips), picture_row=pictures if entry["is_seen"] else None))
                pictures += entry["is_seen"]
        return clips

    @cached_property
    def _held_out(self) -> frozenset[tuple[bool, str]]:
        chosen: list[tuple[bool, str]] = []
        for is_seen in (False, True):
            names = held_out_names({clip.recording for clip in self._all_clips if clip.is_seen == is_seen})
            chosen += [(is_seen, name) for name in names]
        return frozenset(chosen)

    @property
    def _rows(self) -> list[int]:
        return [clip.row for clip in self.training_clips]

    def is_written(self) -> bool:
        """Whether all recordings are cut. Raises SettingsError if the folder contains something else."""
        return self._folder_settings.matches() and not self._missing()

    @property
    def _folder_settings(self) -> FolderSettings:
        settings = {
            "recordings": self._fingerprint(),
            **{name: str(value) for name, value in asdict(self.clips).items()},
        }
        return FolderSettings(self.folder / SETTINGS_FILE, settings, "clips of other recordings or settings")

    def _missing(self) -> list[int]:
        return [index for index in range(self._shard_count) if not self._shard(index, "json").is_file()]

    def _fingerprint(self) -> str:
        rows = [
            [each.is_seen, each.name, each.path.stat().st_size if each.path.is_file() else -1, *each.captions]
            for each in self.catalog.recordings
        ]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    @property
    def _shard_count(self) -> int:
        return -(-len(self.catalog.recordings) // SHARD_RECORDINGS)

    def _recordings_of(self, index: int) -> Sequence[Recording]:
        return self.catalog.recordings[index * SHARD_RECORDINGS : (index + 1) * SHARD_RECORDINGS]

    def _shard(self, index: int, kind: str) -> Path:
        return self.folder / f"{index:05d}.{kind}"

    def _write_shard(self, index: int, cancel: CancelSignal | None) -> None:
        sounds, frames, entries, left_out = [], [], [], []
        for recording in self._recordings_of(index):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            try:
                cut = cut_recording(recording, self.clips, cancel)
            except MediaError as error:
                left_out.append((recording.name, error.what.removesuffix(".")))
                continue
            sounds.append(cut.sounds)
            if cut.frames is not None:
                frames.append(cut.frames)
            for position, start_s in enumerate(cut.starts_s):
                entries.append(
                    {
                        "recording": recording.name,
                        "start_s": float(start_s),
                        "caption": _caption_of(recording, position),
                        "is_seen": recording.is_seen,
                    }
                )
        if sounds:
            save_array_atomic(self._shard(index, "sound.npy"), np.concatenate(sounds))
        if frames:
            save_array_atomic(self._shard(index, "picture.npy"), np.concatenate(frames))
        # Written last, because its presence marks the shard as complete.
        write_text_atomic(self._shard(index, "json"), json.dumps({"clips": entries, "left_out": left_out}))

    def _concatenate(self, kind: str) -> NDArray[Any]:
        paths = [self._shard(index, f"{kind}.npy") for index in range(self._shard_count)]
        gathered: NDArray[Any] = np.concatenate([np.load(path) for path in paths if path.is_file()])
        return gathered

    def _onsets(self, front_end: AudioFrontEnd, frames: int) -> NDArray[np.float16]:
        """Onsets of all clips, [N, frames]; zero in clips without distinct strikes. Cached for each frame rate."""
        rate_hz = front_end.config.frame_rate_hz
        cache = self.folder / f"onsets-{frames}-{rate_hz.numerator}-{rate_hz.denominator}.npy"
        if not cache.is_file():
            tracks = [
                onset_track(
                    *detect_distinct_onsets(sound / FULL_SCALE, self.clips.sample_rate_hz), frames, float(rate_hz)
                )
                for sound in self._concatenate("sound")
            ]
            save_array_atomic(cache, np.stack(tracks).astype(np.float16))
        cached: NDArray[np.float16] = np.load(cache)
        return cached

    def _log_mels(self, front_end: AudioFrontEnd) -> NDArray[np.float16]:
        """Log-mels of all clips, [N, T, bins]; cached for each front end."""
        config = front_end.config
        if config.sample_rate_hz != self.clips.sample_rate_hz:
            raise SettingsError(
                f"The clips were cut at {self.clips.sample_rate_hz} Hz, but the pack uses {config.sample_rate_hz} Hz.",
                "Prepare the recordings at the pack's sample rate.",
            )
        key = hashlib.sha256(json.dumps(asdict(config)).encode()).hexdigest()[:8]
        cache = self.folder / f"log_mels-{key}.npy"
        if not cache.is_file():
            waveforms = torch.from_numpy(self._concatenate("sound"))
            log_mels = [front_end.log_mel(part.float() / FULL_SCALE).half().numpy() for part in waveforms.split(64)]
            save_array_atomic(cache, np.concatenate(log_mels))
        cached: NDArray[np.float16] = np.load(cache)
        return cached


def detect_distinct_onsets(waveform: NDArray[np.floating], sample_rate_hz: int) -> tuple[FloatArray, FloatArray]:
    """Detect the onsets of a waveform: times [N] in seconds and strengths [N] up to 1, empty if they are indistinct.

    The detector also finds weak onsets in rain and engines, which no user would request as strikes.
    """
    times_s, rises_nats = detect_onsets(waveform, sample_rate_hz)
    distinct = rises_nats >= DISTINCT_ONSET_NATS
    if distinct.sum() < DISTINCT_SHARE * len(rises_nats) or not distinct.any():
        return np.empty(0, np.float32), np.empty(0, np.float32)
    return times_s[distinct].astype(np.float32), (rises_nats[distinct] / rises_nats.max()).astype(np.float32)


def _caption_of(recording: Recording, position: int) -> str:
    """Choose the caption of a clip. Clips take the captions in turn, starting at a hash of the recording's name."""
    first = int.from_bytes(hashlib.sha256(recording.name.encode()).digest()[:4])
    return recording.captions[(first + position) % len(recording.captions)]


def held_out_names(names: Collection[str]) -> list[str]:
    """Choose the held-out recordings: HELD_OUT_SHARE of them, and at least one if there are two."""
    count = max(1, round(HELD_OUT_SHARE * len(names))) if len(names) > 1 else 0
    return sorted(names, key=_draw_key)[:count]


def _draw_key(name: str) -> str:
    """Pseudo-random sort key that does not depend on the other recordings."""
    return hashlib.sha256(f"held out: {name}".encode()).hexdigest()
