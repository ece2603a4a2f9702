"""Where the sounds and videos of a row come from: the clips themselves, a pack, or the files of another system."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from rewas_engine.conditioning.controls import Controls
from rewas_engine.curves.energy import EnergyCurve, FloatArray
from rewas_engine.errors import Cancelled, MediaError, SettingsError
from rewas_engine.evaluation.tables.cache import ResultCache
from rewas_engine.evaluation.tables.clips import TableClip, file_sha256, safe_name
from rewas_engine.evaluation.tables.presets import CONDITIONS, Condition
from rewas_engine.exact_time import sample_count
from rewas_engine.generation.options import Control, Sampling
from rewas_engine.media.audio import probe_sound, read_audio
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.video import has_video, probe_video
from rewas_engine.pipeline import ReWaS
from rewas_engine.recordings.files import SOUND_SUFFIXES, VIDEO_SUFFIXES
from rewas_engine.runtime.progress import CancelSignal

ORIGINAL_RATE_HZ = 48_000
"""Rate at which sounds of files are kept; encoders resample them."""
LENGTH_TOLERANCE_S = Fraction(1, 2)
"""A file of another system counts as cut to the measured part if its length differs by at most this much."""
_ENERGY_VERSION = 1
"""Raised when the generated sounds of a condition change for another reason than the pack or its settings."""

RowKind = Literal["original", "pack", "system"]


@dataclass(frozen=True)
class Rendition:
    """What a row has for a clip.

    Attributes:
        sound: FLAC file of the measured part.
        video: File with the pictures.
        video_start_s: Start of the measured part in it.
        video_key: Everything that decides the pictures, for the cache.
    """

    sound: Path
    video: Path
    video_start_s: Fraction
    video_key: str


class RowSource(Protocol):
    """Gives the renditions of a row."""

    @property
    def name(self) -> str:
        """Name of the row's folder."""

    @property
    def label(self) -> str:
        """Label of the row."""

    @property
    def kind(self) -> RowKind:
        """What the row is."""

    def render(self, clip: TableClip) -> Rendition:
        """Make or find the sound and video of a clip. Raises EngineError with the reason if there is none."""


class OriginalSource:
    """The clips' own sounds and videos. Raises MediaError for clips without sound, and for silent ones."""

    name, label = "original", "original sound"
    kind: RowKind = "original"

    def __init__(self, cache: ResultCache, cancel: CancelSignal | None = None) -> None:
        self._cache, self._cancel = cache, cancel

    def render(self, clip: TableClip) -> Rendition:
        """Cut the clip's own sound."""

        def read() -> tuple[FloatArray, int]:
            origin_s = probe_video(clip.video).start_s if clip.sound == clip.video else None
            sound = read_audio(
                clip.sound,
                start_s=clip.start_s,
                duration_s=clip.duration_s,
                sample_rate_hz=ORIGINAL_RATE_HZ,
                origin_s=origin_s,
                cancel=self._cancel,
            )
            _check_audible(sound)
            return sound, ORIGINAL_RATE_HZ

        return _of_clip(clip, self._cache.sound(["original", clip.key, ORIGINAL_RATE_HZ], read))


class PackSource:
    """Sounds that a pack makes for the videos in one condition.

    Args:
        model: The pack.
        condition: What its sounds follow.
        clips: All clips, for the prompts of other clips.
        cache: Keeps the sounds.
        sampling: Number of steps and guidance; None is the default of the pack.
        cancel: Ends the work.
    """

    kind: RowKind = "pack"

    def __init__(
        self,
        model: ReWaS,
        condition: Condition,
        clips: Sequence[TableClip],
        cache: ResultCache,
        sampling: Sampling | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        self._model, self._condition, self._cache = model, condition, cache
        self._sampling, self._cancel = sampling or Sampling(), cancel
        self._prompts = prompts_of(clips, condition)
        self._identity = {
            "pack": model.pack.content_sha256,
            "device": model.device.split(":")[0],
            "sampling": asdict(self._sampling),
            "condition": condition,
            "version": _ENERGY_VERSION,
        }

    @property
    def name(self) -> str:
        """Name of the pack and of the condition."""
        return f"{self._model.pack.name}-{self._condition}"

    @property
    def label(self) -> str:
        """Name of the pack, and what the sounds follow."""
        return f"{self._model.pack.name}, {CONDITIONS[self._condition]}"

    @property
    def unsupported(self) -> str:
        """Why the pack cannot make the row; "" if it can."""
        if self._condition == "no-text" and self._model.pack.is_library:
            return "a library of recordings needs words to choose from"
        if self._condition == "onsets" and "onsets" not in self._model.pack.controls:
            return "the pack has no control for onsets"
        return ""

    def settings(self) -> dict[str, Any]:
        """The pack and the settings of its sounds, as JSON values."""
        pack, settings = self._model.pack, self._model.sampling_settings(self._sampling)
        return {
            "name": pack.name,
            "version": pack.version,
            "licence": pack.licence,
            "permits": pack.permits,
            "content_sha256": pack.content_sha256,
            "device": self._model.device,
            "num_steps": None if pack.is_library else settings.num_inference_steps,
            "guidance_scale": None if pack.is_library else settings.guidance_scale,
        }

    def render(self, clip: TableClip) -> Rendition:
        """Generate the sound of a clip."""
        prompt = self._prompts[clip.name]
        if not prompt and self._condition != "no-text":
            other = self._condition == "other-text" and clip.prompt
            raise SettingsError(
                "There is no clip with another prompt." if other else "The clip has no prompt.",
                "Describe the sounds in a table, or in a text file next to each video.",
            )
        seed = int(hashlib.sha256(clip.key.encode()).hexdigest()[:7], 16)
        key: dict[str, Any] = {**self._identity, "clip": clip.key, "prompt": prompt, "seed": seed}
        if self._condition == "sound" and clip.sound != clip.video:
            key["sound"] = clip.sound.name
        return _of_clip(clip, self._cache.sound(key, lambda: self._generate(clip, prompt, seed)))

    def _generate(self, clip: TableClip, prompt: str, seed: int) -> tuple[FloatArray, int]:
        shown = VideoClip(clip.video, start=clip.start_s, duration=clip.duration_s)
        if self._condition == "no-text":
            return self._generate_without_text(shown, clip, seed), self._model.pack.sample_rate_hz
        result = self._model.generate(
            shown,
            prompt=prompt,
            seed=seed,
            control=self._control(shown, clip),
            sampling=self._sampling,
            cancel=self._cancel,
        )
        stem = result.takes[0].stems["primary"]
        mono = np.asarray(np.atleast_2d(stem.waveform).mean(axis=0), np.float32)
        return mono, stem.sample_rate_hz

    def _control(self, shown: VideoClip, clip: TableClip) -> Control:
        model = self._model
        if self._condition == "sound":
            heard = VideoClip(clip.sound, start=clip.start_s, duration=clip.duration_s)
            return Control(energy=model.measure_energy(heard, cancel=self._cancel))
        if self._condition == "onsets":
            return Control(kind="onsets")
        if self._condition != "no-energy":
            return Control()
        if not model.pack.is_library:
            return Control(strength=0.0)
        energy = model.estimate_energy(shown, cancel=self._cancel)
        level = float(np.log(np.exp(energy.values.astype(np.float64)).mean()))
        return Control(energy=EnergyCurve(np.full_like(energy.values, level), energy.rate_hz))

    def _generate_without_text(self, shown: VideoClip, clip: TableClip, seed: int) -> FloatArray:
        """Generate with the empty prompt, which requests do not allow."""
        model, rate_hz = self._model, self._model.front_end.config.frame_rate_hz
        curve = model.estimate_energy(shown, cancel=self._cancel)
        energy = curve.resample(rate_hz, max(1, round(clip.duration_s * rate_hz)))
        generator = model.sound_generator

        def check(step: int) -> None:
            if self._cancel is not None and self._cancel.is_set():
                raise Cancelled

        settings = model.sampling_settings(self._sampling)
        log_mel = generator.generate_log_mel("", Controls(energy=energy), seed, settings, check)
        return generator.vocoder.vocode(log_mel, sample_count(clip.duration_s, model.pack.sample_rate_hz))


class FolderSource:
    """The files of another system in a folder: a sound or a video for each clip, with the name of the clip.

    A file that is as long as the measured part is used from its start, and a longer one from where the measured part
    is in the clip. If there are a sound and a video of the same name, the sound is heard and the video is seen.

    Args:
        label: Name of the system.
        folder: Its files; subfolders are searched too.
        cache: Keeps the sounds.
        needs_video: Whether files must be videos.
        cancel: Ends the work.

    Raises:
        SettingsError: There are no such files in the folder.
    """

    kind: RowKind = "system"

    def __init__(
        self,
        label: str,
        folder: Path,
        cache: ResultCache,
        *,
        needs_video: bool = False,
        cancel: CancelSignal | None = None,
    ) -> None:
        self.label, self._cache, self._needs_video, self._cancel = label, cache, needs_video, cancel
        self.name = safe_name(label)
        self._sounds = _files_by_stem(folder, SOUND_SUFFIXES)
        self._videos = _files_by_stem(folder, VIDEO_SUFFIXES)
        if not (self._videos if needs_video else self._sounds | self._videos):
            kind = "videos" if needs_video else "sounds or videos"
            raise SettingsError(f"There are no {kind} in {folder}.", "Give a folder with a file for each clip.")

    def render(self, clip: TableClip) -> Rendition:
        """Find the file of a clip and cut it."""
        stems = (clip.name, clip.video.stem)
        video = next((self._videos[stem] for stem in stems if stem in self._videos), None)
        sound = next((self._sounds[stem] for stem in stems if stem in self._sounds), video)
        if sound is None or (video is None and self._needs_video):
            raise MediaError(
                f"The folder has no {'video' if self._needs_video else 'file'} {clip.name}.", "Add it to the folder."
            )
        start_s, length_s = _part(sound, clip)

        def read() -> tuple[FloatArray, int]:
            origin_s = probe_video(sound).start_s if sound == video else None
            waveform = read_audio(
                sound,
                start_s=start_s,
                duration_s=length_s,
                sample_rate_hz=ORIGINAL_RATE_HZ,
                origin_s=origin_s,
                cancel=self._cancel,
            )
            # The end of a shorter file counts as silent.
            missing = sample_count(clip.duration_s, ORIGINAL_RATE_HZ) - waveform.size
            return np.pad(waveform, (0, max(0, missing))), ORIGINAL_RATE_HZ

        key = ["file", file_sha256(sound), str(start_s), str(length_s), str(clip.duration_s), ORIGINAL_RATE_HZ]
        rendered = self._cache.sound(key, read)
        if video is None or not self._needs_video:
            return _of_clip(clip, rendered)
        video_start_s, _ = _part(video, clip)
        return Rendition(rendered, video, video_start_s, f"{file_sha256(video)}+{video_start_s}+{clip.duration_s}")


def prompts_of(clips: Sequence[TableClip], condition: Condition) -> Mapping[str, str]:
    """The prompt of each clip by its name: its own, none, or the next different one of another clip ("" if none)."""
    if condition == "no-text":
        return {clip.name: "" for clip in clips}
    if condition != "other-text":
        return {clip.name: clip.prompt for clip in clips}
    described = [clip for clip in clips if clip.prompt]
    others = {}
    for place, clip in enumerate(described):
        after = [*described[place + 1 :], *described[:place]]
        others[clip.name] = next((other.prompt for other in after if other.prompt != clip.prompt), "")
    return {clip.name: others.get(clip.name, "") for clip in clips}


def _of_clip(clip: TableClip, sound: Path) -> Rendition:
    return Rendition(sound, clip.video, clip.start_s, clip.key)


def _check_audible(sound: FloatArray) -> None:
    if not sound.any():
        raise MediaError("The sound is silent in the measured part.", "Leave the clip out.")


def _part(path: Path, clip: TableClip) -> tuple[Fraction, Fraction]:
    """Start and length in seconds of the measured part in the file of another system."""
    media_s = probe_video(path).duration_s if has_video(path) else probe_sound(path).duration_s
    is_cut = abs(media_s - clip.duration_s) <= LENGTH_TOLERANCE_S or media_s < clip.offset_s + clip.duration_s / 2
    start_s = Fraction(0) if is_cut else clip.offset_s
    length_s = min(clip.duration_s, media_s - start_s)
    if length_s < clip.duration_s / 2:
        raise MediaError(
            f"{path.name} lasts {float(media_s):.2f} s, less than half of the clip.", "Give a file for the whole clip."
        )
    return start_s, length_s


def _files_by_stem(folder: Path, suffixes: frozenset[str] | set[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise SettingsError(f"The folder {folder} does not exist.", "Give a folder with a file for each clip.")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file():
            found.setdefault(path.stem, path)
    return found
