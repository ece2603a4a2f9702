"""The bench: test clips of the world, and what a pack makes of them, each condition once for all figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import Controls
from rewas_engine.conditioning.mel import AudioFrontEnd, normalised
from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import Cancelled, PackError
from rewas_engine.evaluation.judge import Judge
from rewas_engine.evaluation.sound_store import MadeSounds, Request
from rewas_engine.evaluation.splits import Split
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.corpus import world_front_end
from rewas_engine.world import Scene, captions, held_out_captions, render_sound

CLIPS_AT_ONCE_ON_CPU = 4
CLIPS_AT_ONCE_ON_GPU = 64


@dataclass(frozen=True)
class EvaluationProgress:
    """Where an evaluation is. section: its name. what: what is made or measured. done, total: of that, total > 0."""

    section: str
    what: str
    done: int
    total: int


class Watch:
    """Tells progress, and ends the work where that is wished for."""

    def __init__(
        self,
        on_progress: Callable[[EvaluationProgress], object] | None = None,
        cancel: CancelSignal | None = None,
    ) -> None:
        self._on_progress, self._cancel = on_progress, cancel
        self.section = ""

    def check(self) -> None:
        """Raises Cancelled where asked to stop."""
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled

    def tell(self, what: str, done: int, total: int) -> None:
        """Report finished parts. Raises Cancelled where asked to stop."""
        self.check()
        if self._on_progress is not None:
            self._on_progress(EvaluationProgress(self.section, what, done, max(total, 1)))


@dataclass(frozen=True, eq=False)
class BenchClip:
    """One clip that sounds are asked for.

    sound: [S] normalised waveform at the world's rate. log_mel: [T, bins] nats; energy: [T], its mean over the bins.
    plain: the class in words of training, without modifiers. paraphrase: in words never trained on. seed: of the noise.
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
        """What is to be heard."""
        return self.scene.class_name


def bench_clips(
    split: Split, classes: Sequence[str], clips_per_class: int, front_end: AudioFrontEnd, watch: Watch
) -> list[BenchClip]:
    """The split's first clips of each class, class by class. Raises Cancelled, SettingsError for an unknown class."""
    clips: list[BenchClip] = []
    for class_name in classes:
        watch.tell("Making the clips", len(clips), len(classes) * clips_per_class)
        for number, scene in enumerate(split.audible(class_name, clips_per_class)):
            clips.append(bench_clip(scene, Fraction(number, clips_per_class), len(clips), front_end))
    return clips


def bench_clip(scene: Scene, place: Fraction, seed: int, front_end: AudioFrontEnd) -> BenchClip:
    """A scene made ready. place: of its words among all those of the class, from 0 to below 1."""
    sound = normalised(render_sound(scene))
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


def swapped(clips: Sequence[BenchClip]) -> list[int]:
    """For each clip the position of the clip of another class whose energy it is given; each is given to one clip.

    clips: equally many of each class, class by class.
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
    """A pack before its test clips. What is generated is kept: energy, class and vocoder figures share it.

    judge: of the words; None is the shipped one, loaded where it is first needed. made: keeps on disk what it makes.
    """

    def __init__(
        self,
        model: ReWaS,
        judge: Judge | None,
        clips: Sequence[BenchClip],
        settings: SamplingSettings,
        watch: Watch,
        made: MadeSounds | None = None,
    ) -> None:
        self.model, self._judge, self.clips, self.settings, self.watch = model, judge, list(clips), settings, watch
        self._made = made

    @cached_property
    def judge(self) -> Judge:
        """Who says what is heard. Raises PackError where the shipped one is missing."""
        return self._judge or Judge.load()

    @cached_property
    def plain(self) -> NDArray[np.float32]:
        """[N, T, bins] of plain prompts with the clips' own energies."""
        return self.generated(
            "Plain prompts, own energy", [clip.plain for clip in self.clips], [_energy(clip) for clip in self.clips]
        )

    @cached_property
    def plain_waveforms(self) -> list[FloatArray]:
        """[S] each: `plain` through the vocoder."""
        return self.vocoded(self.plain, self.clips)

    @cached_property
    def plain_heard(self) -> NDArray[np.float32]:
        """[N, T, bins] of `plain_waveforms`."""
        return self.heard(self.plain_waveforms)

    @cached_property
    def uncontrolled(self) -> NDArray[np.float32]:
        """[N, T, bins] of the same prompts and noise, the adapter switched off."""
        return self.generated(
            "Without the control",
            [clip.plain for clip in self.clips],
            [_energy(clip) for clip in self.clips],
            settings=replace(self.settings, control_strength=0.0),
        )

    @cached_property
    def swapped(self) -> NDArray[np.float32]:
        """[N, T, bins] of the same prompts and noise with another class's energies."""
        return self.generated(
            "Another class's energy",
            [clip.plain for clip in self.clips],
            [_energy(self.clips[other]) for other in swapped(self.clips)],
        )

    @cached_property
    def paraphrased(self) -> NDArray[np.float32]:
        """[N, T, bins] of prompts in unseen words, with the same energies and noise."""
        return self.generated(
            "Unseen paraphrases", [clip.paraphrase for clip in self.clips], [_energy(clip) for clip in self.clips]
        )

    def generated(
        self,
        what: str,
        prompts: Sequence[str],
        controls: Sequence[Controls],
        *,
        seeds: Sequence[int] | None = None,
        settings: SamplingSettings | None = None,
    ) -> NDArray[np.float32]:
        """Log-mels [N, T, bins] of prompts [N] under controls [N]. seeds: the clips' own by default. Raises Cancelled.

        what: for the progress.
        """
        drawn = [clip.seed for clip in self.clips] if seeds is None else list(seeds)
        at_once = CLIPS_AT_ONCE_ON_CPU if self.model.device == "cpu" else CLIPS_AT_ONCE_ON_GPU
        starts = range(0, len(prompts), at_once)
        order = range(len(starts)) if self._made is None else self._made.order(len(starts))
        parts: dict[int, NDArray[np.float32]] = {}
        for part in order:
            self.watch.tell(what, len(parts) * at_once, len(prompts))
            chosen = slice(starts[part], starts[part] + at_once)
            request = Request(prompts[chosen], controls[chosen], drawn[chosen], settings or self.settings)
            parts[part] = self._make(request) if self._made is None else self._made.get(request, self._make)
        self.watch.tell(what, len(prompts), len(prompts))
        return np.concatenate([parts[part] for part in sorted(parts)])

    def _make(self, request: Request) -> NDArray[np.float32]:
        made = self.model.sound.log_mels(
            request.prompts, request.controls, request.seeds, request.settings, lambda step: self.watch.check()
        )
        return np.asarray(made.float().cpu().numpy())

    def vocoded(self, log_mels: NDArray[np.float32], clips: Sequence[BenchClip]) -> list[FloatArray]:
        """Waveforms [S] of log-mels [N, T, bins], as long as their clips."""
        waveforms = []
        for number, (log_mel, clip) in enumerate(zip(log_mels, clips, strict=True)):
            self.watch.tell("Vocoding", number, len(clips))
            waveforms.append(
                self.model.sound.vocoding.waveform(torch.from_numpy(log_mel).to(self.model.device), clip.sound.size)
            )
        return waveforms

    def heard(self, waveforms: Sequence[FloatArray]) -> NDArray[np.float32]:
        """Log-mels [N, T, bins] of waveforms of one length."""
        stacked = torch.from_numpy(np.stack(waveforms))
        return torch.cat([self.model.front_end.log_mel(part) for part in stacked.split(32)]).numpy()


def check_geometry(model: ReWaS) -> None:
    """Raises PackError for a pack that hears otherwise than the world and the judge do."""
    if model.front_end.config != world_front_end().config:
        raise PackError(
            f"The pack {model.pack.name} hears at {model.front_end.config.sample_rate_hz} Hz with "
            f"{model.front_end.config.bins} bins; the test clips and the judge do not.",
            "Measure a pack of 16000 Hz and 64 bins.",
        )


def _energy(clip: BenchClip) -> Controls:
    return Controls(energy=clip.energy)
