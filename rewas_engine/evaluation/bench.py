"""The bench: test clips of the world, and the sounds that a pack makes for them. All figures share the sounds of a
condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import Controls
from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import Cancelled, PackError
from rewas_engine.evaluation.judge import Judge
from rewas_engine.evaluation.known_classes import known_classes
from rewas_engine.evaluation.sound_sources import Sounds, SoundSource, measure_log_mels, select_source
from rewas_engine.evaluation.sound_store import Request, SoundStore
from rewas_engine.evaluation.splits import Split
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.packs.description import no_model_error
from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback
from rewas_engine.training.corpus import world_front_end
from rewas_engine.world import Scene, captions, held_out_captions, render_sound


class Watch:
    """Reports progress, and ends the work when it is cancelled."""

    def __init__(
        self,
        on_progress: ProgressCallback | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        self._on_progress, self._cancel = on_progress, cancel
        self.section = ""

    def check(self) -> None:
        """Raise Cancelled if the work was cancelled."""
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled

    def report(self, what: str, done: int, total: int) -> None:
        """Report finished parts; raise Cancelled if the work was cancelled."""
        self.check()
        if self._on_progress is not None:
            total = max(total, 1)
            self._on_progress(Progress(what, done, total, done / total, section=self.section))


@dataclass(frozen=True, eq=False)
class BenchClip:
    """One clip to generate sounds for.

    Attributes:
        scene: The clip's scene.
        sound: Normalised waveform [S] at the world's sample rate.
        log_mel: [T, bins] nats.
        energy: [T] nats, its mean over the bins.
        plain: The class in a phrasing of training, without modifiers.
        paraphrase: The class in a phrasing that training has not used.
        seed: Seed of the noise.
    """

    scene: Scene
    sound: FloatArray
    log_mel: FloatArray
    energy: FloatArray
    plain: str
    paraphrase: str
    seed: int

    @property
    def class_name(self) -> str:
        """Class of the sound."""
        return self.scene.class_name


def bench_clips(
    split: Split, classes: Sequence[str], clips_per_class: int, front_end: AudioFrontEnd, watch: Watch
) -> list[BenchClip]:
    """The split's first clips of each class, class by class.

    Raises:
        Cancelled: The work was cancelled.
        SettingsError: A class is unknown.
    """
    clips: list[BenchClip] = []
    for class_name in classes:
        watch.report("Rendering clips", len(clips), len(classes) * clips_per_class)
        for number, scene in enumerate(split.audible(class_name, clips_per_class)):
            clips.append(bench_clip(scene, Fraction(number, clips_per_class), len(clips), front_end))
    return clips


def bench_clip(scene: Scene, place: Fraction, seed: int, front_end: AudioFrontEnd) -> BenchClip:
    """Render a scene as a clip.

    Args:
        scene: The scene.
        place: Which of the class's phrasings to use, as a share of them, 0 to below 1.
        seed: Seed of the noise.
        front_end: Computes the log-mel.
    """
    sound = normalise(render_sound(scene))
    log_mel = front_end.log_mel(torch.from_numpy(sound)[None])[0].numpy()
    plain, unseen = captions(scene.class_name), held_out_captions(scene.class_name)
    return BenchClip(
        scene,
        sound,
        log_mel,
        log_mel.mean(axis=-1),
        plain[int(place * len(plain))],
        unseen[int(place * len(unseen))],
        seed,
    )


def swap_partners(clips: Sequence[BenchClip]) -> list[int]:
    """For each clip, the position of a clip of another class whose energy it gets; each energy is used once.

    Args:
        clips: The same number of each class, class by class.
    """
    names = list(dict.fromkeys(clip.class_name for clip in clips))
    per_class = len(clips) // len(names)
    places = []
    for position in range(len(clips)):
        class_number, number = divmod(position, per_class)
        away = 1 + number % max(1, len(names) - 1)
        places.append((class_number + away) % len(names) * per_class + number)
    return places


class Bench:
    """A pack and its test clips. Sounds are kept, since energy, prompt and vocoder figures share them.

    Args:
        model: The pack.
        judge: The judge; None is the shipped one, loaded on first use.
        clips: The clips.
        settings: Sampling settings.
        watch: For progress and cancellation.
        store: Stores generated sounds on disk.
    """

    def __init__(
        self,
        model: ReWaS,
        judge: Judge | None,
        clips: Sequence[BenchClip],
        settings: SamplingSettings,
        watch: Watch,
        store: SoundStore | None = None,
    ) -> None:
        self.model, self._judge, self.clips, self.settings, self.watch = model, judge, list(clips), settings, watch
        self._store = store

    @cached_property
    def judge(self) -> Judge:
        """The judge, which chooses among the classes that the pack knows and those of the clips.

        A pack that knows fewer classes would otherwise be measured with answers that it cannot give.

        Raises:
            PackError: The shipped judge is missing.
        """
        judge = self._judge or Judge.load()
        return judge.among({*known_classes(self.model.pack), *(clip.class_name for clip in self.clips)})

    @cached_property
    def source(self) -> SoundSource:
        """Makes the sounds of the pack."""
        return select_source(self.model)

    @cached_property
    def plain_sounds(self) -> Sounds:
        """Sounds of plain prompts with the clips' own energies."""
        return self.generate(
            "Plain prompts, own energy", [clip.plain for clip in self.clips], [_energy(clip) for clip in self.clips]
        )

    @cached_property
    def plain(self) -> NDArray[np.float32]:
        """Log-mels [N, T, bins] of `plain_sounds`."""
        return self.plain_sounds.log_mels

    @cached_property
    def plain_waveforms(self) -> list[FloatArray]:
        """Waveforms, [S] each, of `plain_sounds`."""
        return self.plain_sounds.waveforms

    @cached_property
    def plain_vocoded(self) -> NDArray[np.float32]:
        """Log-mels [N, T, bins] of `plain_waveforms`."""
        return self.log_mels(self.plain_waveforms)

    @cached_property
    def uncontrolled_sounds(self) -> Sounds:
        """Sounds of the same prompts and noise without control."""
        return self.generate(
            "Without control",
            [clip.plain for clip in self.clips],
            [_energy(clip) for clip in self.clips],
            settings=replace(self.settings, control_strength=0.0),
        )

    @cached_property
    def uncontrolled(self) -> NDArray[np.float32]:
        """Log-mels [N, T, bins] of `uncontrolled_sounds`."""
        return self.uncontrolled_sounds.log_mels

    @cached_property
    def swapped(self) -> NDArray[np.float32]:
        """Log-mels [N, T, bins] of the same prompts and noise with another class's energies."""
        return self.generate(
            "Another class's energy",
            [clip.plain for clip in self.clips],
            [_energy(self.clips[other]) for other in swap_partners(self.clips)],
        ).log_mels

    @cached_property
    def paraphrased(self) -> NDArray[np.float32]:
        """Log-mels [N, T, bins] of unseen phrasings, with the same energies and noise."""
        return self.generate(
            "Unseen paraphrases", [clip.paraphrase for clip in self.clips], [_energy(clip) for clip in self.clips]
        ).log_mels

    def generate(
        self,
        what: str,
        prompts: Sequence[str],
        controls: Sequence[Controls],
        *,
        seeds: Sequence[int] | None = None,
        settings: SamplingSettings | None = None,
    ) -> Sounds:
        """Make sounds.

        Args:
            what: Description for the progress.
            prompts: [N].
            controls: [N].
            seeds: [N]; None is the clips' own.
            settings: Sampling settings; None is the bench's own.

        Raises:
            Cancelled: The work was cancelled.
        """
        drawn = [clip.seed for clip in self.clips] if seeds is None else list(seeds)
        at_once = self.source.clips_at_once
        starts = range(0, len(prompts), at_once)
        order = range(len(starts)) if self._store is None else self._store.order(len(starts))
        parts: dict[int, NDArray[np.float32]] = {}
        for part in order:
            self.watch.report(what, len(parts) * at_once, len(prompts))
            chosen = slice(starts[part], starts[part] + at_once)
            request = Request(prompts[chosen], controls[chosen], drawn[chosen], settings or self.settings)
            parts[part] = self._generate(request) if self._store is None else self._store.get(request, self._generate)
        self.watch.report(what, len(prompts), len(prompts))
        return self.sounds(np.concatenate([parts[part] for part in sorted(parts)]))

    def _generate(self, request: Request) -> NDArray[np.float32]:
        return self.source.generate(request, self.watch.check)

    def sounds(self, made: NDArray[np.float32]) -> Sounds:
        """Return sounds of the kind of array that the pack makes: log-mels of a model, waveforms of a library."""
        return Sounds(made, self.source, lambda done, total: self.watch.report("Vocoding", done, total))

    def log_mels(self, waveforms: Sequence[FloatArray]) -> NDArray[np.float32]:
        """Log-mels [N, T, bins] of waveforms of one length."""
        return measure_log_mels(self.model.front_end, waveforms)


def check_audio_format(model: ReWaS) -> None:
    """Raise PackError if a pack's audio format differs from that of the world and the judge."""
    if model.front_end.config != world_front_end().config:
        raise PackError(
            f"The pack {model.pack.name} uses {model.front_end.config.sample_rate_hz} Hz and "
            f"{model.front_end.config.bins} bins, which differ from the test clips and the judge.",
            "Use a pack with 16000 Hz and 64 bins.",
        )


def check_has_model(model: ReWaS) -> None:
    """Raise PackError if a pack is a library of recordings, which has no sampling settings to compare."""
    if model.pack.is_library:
        raise no_model_error(model.pack.name)


def _energy(clip: BenchClip) -> Controls:
    return Controls(energy=clip.energy)
