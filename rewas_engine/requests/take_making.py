"""Making the takes of a request: sampled, vocoded, brought to their rate, measured, ranked, useless ones made anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch

from rewas_engine.conditioning.controls import measure_log_mel_texture
from rewas_engine.conditioning.mel import AudioFrontEnd, normalise
from rewas_engine.curves.energy import EnergyCurve, FloatArray, energy_agreement
from rewas_engine.curves.silence import find_silence, mute_gaps
from rewas_engine.curves.texture import texture_error
from rewas_engine.exact_time import sample_count
from rewas_engine.generation.synthesis import SoundGenerator
from rewas_engine.generation.vocoding import OnWindow
from rewas_engine.matching.embedding import JointScorer
from rewas_engine.matching.evidence import FAMILIARITY_THRESHOLD
from rewas_engine.media.audio import limit_peak, resample, resample_loop
from rewas_engine.media.stem import PRIMARY, Stem
from rewas_engine.packs.description import PackInfo
from rewas_engine.requests.layers import Layer, apply_gains
from rewas_engine.requests.plan import SoundPlan
from rewas_engine.requests.results import LayerReport, Take
from rewas_engine.requests.scoring import find_faults, score_take, sort_best_first
from rewas_engine.runtime.progress import ProgressTracker

MIN_TEXT_SCORE_DURATION_S = Fraction(1, 5)
"""Sounds so long are held against words; of 150 real ones, cut to it, 2 % seem not to do their own."""


@dataclass(frozen=True)
class TakeGenerator:
    """Makes takes with the parts of a loaded pack. joint: None where the pack cannot hold words and sounds together."""

    pack: PackInfo
    front_end: AudioFrontEnd
    sound: SoundGenerator
    joint: JointScorer | None

    def takes(
        self,
        wanted: SoundPlan,
        seed: int,
        count: int,
        tracker: ProgressTracker,
        beside: Sequence[tuple[Layer, SoundPlan]] = (),
        gain_db: float = 0.0,
    ) -> tuple[Take, ...]:
        """Takes with seeds from `seed` on, the best first.

        Of a take with faults each useless sound is replaced once, where a better one is found; seeds of those that
        replace others come after all of these. beside: layers, and what is wanted of them. gain_db: of the primary
        stem.
        """
        parts = count * (1 + len(beside))
        made = []
        for number in range(count):
            part, spare = number * (1 + len(beside)), seed + count + number
            take = self._best_of_two(wanted, (seed + number, spare), tracker, part, parts)
            layers = {
                layer.name: self._best_of_two(
                    other, (layer.derive_seed(seed + number), layer.derive_seed(spare)), tracker, part + place, parts
                )
                for place, (layer, other) in enumerate(beside, start=1)
            }
            made.append(_add_layers(take, layers, beside, gain_db) if layers or gain_db else take)
        return sort_best_first(made)

    def _best_of_two(
        self, wanted: SoundPlan, seeds: tuple[int, int], tracker: ProgressTracker, part: int, parts: int
    ) -> Take:
        """A take with the first seed; where it has faults, one with the second, unless that has some, too."""
        take = self._take(wanted, seeds[0], tracker, part, parts)
        if not take.faults:
            return take
        again = self._take(wanted, seeds[1], tracker, part, parts)
        return take if again.faults else replace(again, replaced_seed=take.seed)

    def _take(self, wanted: SoundPlan, seed: int, tracker: ProgressTracker, part: int, parts: int) -> Take:
        """One take. part, parts: its place among all."""
        with tracker.stage("sample", part, parts):
            log_mels = self._log_mels(
                wanted, seed, lambda finished: tracker.report("sample", finished, wanted.request.steps, part, parts)
            )
        with tracker.stage("vocode", part, parts):
            # Judging counts as one window more.
            waveform, stem = self._sounding(
                wanted, seed, log_mels, lambda done, windows: tracker.report("vocode", done, windows + 1, part, parts)
            )
            take = self._judged(wanted, seed, waveform, stem)
            tracker.report("vocode", 1, 1, part, parts)
        return take

    def _log_mels(self, wanted: SoundPlan, seed: int, on_step: Callable[[int], object]) -> list[torch.Tensor]:
        """Log-mels [T, bins]: one, or one for each shot that is to have a sound of its own."""
        if wanted.shots is not None:
            shots = wanted.shots
            controls, seeds = shots.controls(wanted.controls), shots.seeds(seed)
            return self.sound.apart(wanted.prompt, controls, seeds, wanted.request.settings, on_step)
        return [
            self.sound.log_mel(
                wanted.prompt,
                wanted.controls,
                seed,
                wanted.request.settings,
                on_step,
                earlier=wanted.request.earlier,
                circular=wanted.request.loops,
            )
        ]

    def _sounding(
        self, wanted: SoundPlan, seed: int, log_mels: Sequence[torch.Tensor], on_window: OnWindow
    ) -> tuple[FloatArray, Stem]:
        """The waveform [samples] of log-mels at the pack's rate, and its stem at the one that is wanted."""
        own_hz, rate_hz, revision = self.pack.sample_rate_hz, wanted.request.rate_hz, wanted.request.revision
        own_samples, samples = (sample_count(wanted.request.duration_s, hz) for hz in (own_hz, rate_hz))
        if wanted.request.loops:
            waveform = self.sound.vocoding.loop(log_mels[0], own_samples, on_window, seed=seed)
            changed = resample_loop(waveform[None], samples)
        else:
            if wanted.shots is not None:
                waveform = wanted.shots.waveform(
                    self.sound.vocoding, log_mels, seed, own_samples, self.front_end.config, on_window
                )
            else:
                waveform = self.sound.vocoding.waveform(log_mels[0], own_samples, on_window, seed=seed)
            changed = resample(waveform[None], own_hz, rate_hz, samples)
        if "energy" in wanted.controls.names:
            gaps = find_silence(wanted.requested, self.front_end.config.silence_nats)
            mute_gaps(waveform, gaps, own_hz)
            mute_gaps(changed, gaps, rate_hz)
        # Between its samples a band-limited sound may be louder than at them.
        changed = limit_peak(changed)
        if revision is None:
            return waveform, Stem(PRIMARY, changed, rate_hz)
        # What stays of a revised sound stays to the bit: what is new had to fit under the ceiling by itself.
        changed = revision.splice(changed, wanted.request.duration_s)
        waveform = resample(changed.mean(axis=0, keepdims=True), rate_hz, own_hz, own_samples)[0]
        return waveform, Stem(revision.stem.role, changed, rate_hz)

    def _judged(self, wanted: SoundPlan, seed: int, waveform: FloatArray, stem: Stem) -> Take:
        """The take, and how well it does what was asked."""
        config, heard = self.front_end.config, self.front_end.encode(waveform)
        rate_hz = config.frame_rate_hz
        produced = EnergyCurve(heard.mean(dim=-1).numpy(), rate_hz, "audio")
        begin_s, end_s = wanted.request.scored_range_s
        frames = slice(int(begin_s * rate_hz), math.ceil(end_s * rate_hz))
        anew = waveform[sample_count(begin_s, config.sample_rate_hz) : sample_count(end_s, config.sample_rate_hz)]
        requested = replace(wanted.requested, values=wanted.requested.values[frames])
        mae_nats, correlation = energy_agreement(requested.values, produced.values[frames])
        text_score = self._text_score(wanted.prompt, anew)
        # A low score says nothing of words that were softened, nor of a moment of sound.
        is_trusted = wanted.request.settings.prompt_weight == 1 and end_s - begin_s >= MIN_TEXT_SCORE_DURATION_S
        trusted = text_score if is_trusted else None
        faults = find_faults(anew, heard[frames].numpy(), requested, config.silence_nats, trusted)
        score = score_take(correlation, mae_nats, text_score)
        texture = error_nats = None
        if wanted.texture is not None:
            texture = measure_log_mel_texture(heard, rate_hz)
            error_nats = texture_error(wanted.texture.values[frames], texture.values[frames], requested.values)
        return Take(
            seed,
            {stem.role: stem},
            produced,
            mae_nats,
            correlation,
            text_score,
            score,
            faults,
            produced_texture=texture,
            texture_error_nats=error_nats,
        )

    def _text_score(self, prompt: str, waveform: FloatArray) -> float | None:
        """How well a waveform does the words, 0 to 1; None where nobody can tell: of strange words, or of silence."""
        joint = self.joint
        if joint is None or not waveform.any() or joint.familiarity(prompt)[1] < FAMILIARITY_THRESHOLD:
            return None
        return joint.score_text_sound(prompt, self.front_end.encode(normalise(waveform))).probability


def _add_layers(
    take: Take, layers: Mapping[str, Take], beside: Sequence[tuple[Layer, SoundPlan]], gain_db: float
) -> Take:
    """The take with the sounds of its layers: as good as all are on average, and with the faults of all."""
    stems = {PRIMARY: take.stems[PRIMARY], **{name: made.stems[PRIMARY] for name, made in layers.items()}}
    gains_db = {PRIMARY: gain_db, **{layer.name: layer.gain_db for layer, _ in beside}}
    reports = {
        layer.name: LayerReport(
            made.seed,
            wanted.requested,
            made.produced,
            made.energy_mae_nats,
            made.energy_correlation,
            made.text_score,
            made.faults,
        )
        for (layer, wanted), made in zip(beside, layers.values(), strict=True)
    }
    every = (take, *layers.values())
    return replace(
        take,
        stems=apply_gains(stems, gains_db),
        score=sum(one.score for one in every) / len(every),
        faults=tuple(dict.fromkeys(fault for one in every for fault in one.faults)),
        layers=reports,
    )
