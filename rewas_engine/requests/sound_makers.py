"""Makes one sound of a request: what models and libraries of recordings share, and how models do it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch

from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.energy import FloatArray
from rewas_engine.curves.silence import find_silence, mute_gaps
from rewas_engine.exact_time import sample_count
from rewas_engine.generation.reference import match_spectrum
from rewas_engine.generation.synthesis import SoundGenerator
from rewas_engine.media.audio import fade_ends, resample, resample_loop
from rewas_engine.media.loudness import limit_true_peak
from rewas_engine.media.stem import PRIMARY, Stem
from rewas_engine.recordings.credits import UsedRecording
from rewas_engine.requests.plan import SoundPlan
from rewas_engine.requests.scoring import WordScorer
from rewas_engine.runtime.progress import ProgressTracker, StageName


@dataclass(frozen=True)
class SoundProgress:
    """The progress of one sound among all sounds of a request."""

    tracker: ProgressTracker
    number: int
    total: int

    def stage(self, name: StageName) -> AbstractContextManager[None]:
        """Attribute the time spent inside to a stage."""
        return self.tracker.stage(name, self.number, self.total)

    def report(self, name: StageName, finished: int, count: int) -> None:
        """Report finished steps of a stage. Raises Cancelled."""
        self.tracker.report(name, finished, count, self.number, self.total)


@dataclass(frozen=True, eq=False)
class MadeSound:
    """A sound before its gains.

    Attributes:
        waveform: [samples] in mono at the sample rate of the pack's front end, to measure the sound.
        stem: The sound at the requested sample rate.
        loudness_source: [channels, samples] and sample rate of the sound whose loudness decides the gain.
        recordings: The recordings in it.
    """

    waveform: FloatArray
    stem: Stem
    loudness_source: tuple[FloatArray, int]
    recordings: tuple[UsedRecording, ...] = ()


Render = Callable[[Callable[[int, int], object]], MadeSound]
"""Function that finishes a sound and calls its argument with finished and total parts. Exceptions end the work."""


class SoundMaker(Protocol):
    """Makes the sounds of one pack."""

    @property
    def final_stage(self) -> StageName:
        """The stage in which `Render` runs."""

    def prepare(self, plan: SoundPlan, seed: int, progress: SoundProgress) -> Render:
        """Do everything that comes before the final stage."""


@dataclass(frozen=True)
class ModelMaker:
    """Generates sounds with the model of a pack.

    Args:
        front_end: Log-mel front end of the pack.
        sound_generator: Model of the pack.
        score_words: Scores sounds against their prompts.
    """

    front_end: AudioFrontEnd
    sound_generator: SoundGenerator
    score_words: WordScorer
    final_stage: StageName = "vocode"

    def prepare(self, plan: SoundPlan, seed: int, progress: SoundProgress) -> Render:
        """Sample the log-mels."""
        with progress.stage("sample"):
            log_mels = self._generate_log_mels(plan, seed, progress)
        return lambda on_window: self._render(plan, seed, log_mels, on_window)

    def _generate_log_mels(self, plan: SoundPlan, seed: int, progress: SoundProgress) -> list[torch.Tensor]:
        """Log-mels [T, bins]: one, or one for each shot."""
        request = plan.request

        def on_step(finished: int) -> None:
            progress.report("sample", finished, request.steps)

        if plan.shots is not None:
            controls, seeds = plan.shots.split_controls(plan.controls), plan.shots.derive_seeds(seed)
            return self.sound_generator.generate_shots(plan.prompt, controls, seeds, request.settings, on_step)
        return [
            self.sound_generator.generate_log_mel(
                plan.prompt,
                plan.controls,
                seed,
                request.settings,
                on_step,
                inpaint_source=request.inpaint_source,
                is_loop=request.is_loop,
            )
        ]

    def _render(
        self,
        plan: SoundPlan,
        seed: int,
        log_mels: Sequence[torch.Tensor],
        on_window: Callable[[int, int], object],
    ) -> MadeSound:
        request, config = plan.request, self.front_end.config
        own_hz, rate_hz = config.sample_rate_hz, request.rate_hz
        own_samples, samples = (sample_count(request.duration_s, hz) for hz in (own_hz, rate_hz))
        vocoder = self.sound_generator.vocoder
        if request.is_loop:
            waveform = self._match_reference(plan, vocoder.vocode_loop(log_mels[0], own_samples, on_window, seed=seed))
            delivered = resample_loop(waveform[None], samples)
        else:
            if plan.shots is not None:
                waveform = plan.shots.vocode(vocoder, log_mels, seed, own_samples, config, on_window)
            else:
                waveform = vocoder.vocode(log_mels[0], own_samples, on_window, seed=seed)
            waveform = self._match_reference(plan, waveform)
            delivered = resample(waveform[None], own_hz, rate_hz, samples)
        if "energy" in plan.controls.names:
            gaps = find_silence(plan.requested_energy, config.silence_nats)
            mute_gaps(waveform, gaps, own_hz)
            mute_gaps(delivered, gaps, rate_hz)
        if not request.is_loop:
            fade_ends(delivered, rate_hz)
        if request.regenerate is not None:
            stem = splice_into_existing(plan, delivered)
            waveform = measured_waveform(stem, own_hz, own_samples)
        else:
            stem = Stem(PRIMARY, delivered, rate_hz)
        existing = request.regenerate
        kept = () if existing is None else existing.kept_recordings(request.duration_s)
        return MadeSound(waveform, stem, (waveform[None], own_hz), kept)

    def _match_reference(self, plan: SoundPlan, waveform: FloatArray) -> FloatArray:
        if plan.reference is None:
            return waveform
        return match_spectrum(
            waveform,
            plan.reference.timbre,
            self.front_end,
            lambda filtered: self.score_words(plan.prompt, filtered),
            is_loop=plan.request.is_loop,
        )


def splice_into_existing(plan: SoundPlan, delivered: FloatArray) -> Stem:
    """Insert a new sound [channels, samples] into the one that the request regenerates.

    The kept part of the existing sound must not change, so only the new sound is limited.
    """
    request = plan.request
    assert request.regenerate is not None
    whole = request.regenerate.splice(limit_true_peak(delivered, request.rate_hz), request.duration_s)
    return Stem(request.regenerate.stem.role, whole, request.rate_hz)


def measured_waveform(stem: Stem, rate_hz: int, samples: int) -> FloatArray:
    """Return a stem in mono at another sample rate, [samples]."""
    mono = stem.waveform.mean(axis=0, keepdims=True)
    measured: FloatArray = resample(mono, stem.sample_rate_hz, rate_hz, samples)[0]
    return measured
