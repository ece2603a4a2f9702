"""Generating the takes of a request: sampling, vocoding, resampling, scoring, and replacing takes with faults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch

from rewas_engine.conditioning.controls import measure_log_mel_texture
from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.energy import EnergyCurve, FloatArray, energy_agreement
from rewas_engine.curves.events import MIN_EVENT_RISE_NATS
from rewas_engine.curves.silence import find_silence, mute_gaps
from rewas_engine.curves.texture import texture_error
from rewas_engine.exact_time import sample_count
from rewas_engine.generation.synthesis import OnStep, SoundGenerator
from rewas_engine.generation.vocoding import OnWindow
from rewas_engine.matching.embedding import JointScorer
from rewas_engine.media.audio import fade_ends, resample, resample_loop
from rewas_engine.media.loudness import limit_true_peak
from rewas_engine.media.stem import PRIMARY, Stem
from rewas_engine.packs.description import PackInfo
from rewas_engine.requests.gains import apply_gains
from rewas_engine.requests.layers import Layer
from rewas_engine.requests.levels import standard_gain_db
from rewas_engine.requests.plan import SoundPlan
from rewas_engine.requests.results import LayerReport, Take
from rewas_engine.requests.scoring import find_faults, score_take, sort_best_first
from rewas_engine.runtime.progress import ProgressTracker, StageName

MIN_TEXT_SCORE_DURATION_S = Fraction(1, 5)
"""Shortest sound that can be "wrong". Of 150 real sounds cut to this length, 2 % seem not to match their prompt."""


@dataclass(frozen=True)
class _Part:
    """The progress of one sound among all sounds of a request."""

    tracker: ProgressTracker
    number: int
    total: int

    def stage(self, name: StageName) -> AbstractContextManager[None]:
        return self.tracker.stage(name, self.number, self.total)

    def report(self, name: StageName, finished: int, count: int) -> None:
        self.tracker.report(name, finished, count, self.number, self.total)


@dataclass(frozen=True)
class TakeGenerator:
    """Generate takes with the parts of a loaded pack.

    Args:
        pack: Information about the pack.
        front_end: Log-mel front end of the pack.
        sound_generator: Model of the pack.
        joint_scorer: Compares prompts with sounds; None if the pack has no joint space.
        known_prompts: Prompts of the request that the pack knows. Sounds of all others get no score.
    """

    pack: PackInfo
    front_end: AudioFrontEnd
    sound_generator: SoundGenerator
    joint_scorer: JointScorer | None
    known_prompts: frozenset[str]

    def generate_takes(
        self,
        plan: SoundPlan,
        seed: int,
        count: int,
        tracker: ProgressTracker,
        planned_layers: Sequence[tuple[Layer, SoundPlan]] = (),
        gain_db: float = 0.0,
    ) -> tuple[Take, ...]:
        """Generate takes with consecutive seeds.

        A sound with faults is generated once more with another seed, and replaced if the new sound has none. The seeds
        of replacements follow those of all takes.

        Args:
            plan: Plan of the primary sound.
            seed: Seed of the first take.
            count: Number of takes.
            tracker: Receives the progress.
            planned_layers: The layers, with the plan of each.
            gain_db: Gain of the primary stem.

        Returns:
            The takes, the best first.
        """
        sounds = 1 + len(planned_layers)
        takes = []
        for number in range(count):
            parts = [_Part(tracker, number * sounds + place, count * sounds) for place in range(sounds)]
            own_seed, spare_seed = seed + number, seed + count + number
            take = self._best_of_two(plan, (own_seed, spare_seed), parts[0])
            layers = {
                layer.name: self._best_of_two(
                    layer_plan, (layer.derive_seed(own_seed), layer.derive_seed(spare_seed)), part
                )
                for part, (layer, layer_plan) in zip(parts[1:], planned_layers, strict=True)
            }
            # A regenerated sound keeps every sample outside its range.
            is_whole = plan.request.regenerate is None
            takes.append(self._finish_take(take, layers, planned_layers, gain_db) if is_whole else take)
        return sort_best_first(takes)

    def _finish_take(
        self,
        take: Take,
        layers: Mapping[str, Take],
        planned_layers: Sequence[tuple[Layer, SoundPlan]],
        gain_db: float,
    ) -> Take:
        """The take with its layers and all gains, with the mean of all scores and the faults of all sounds."""
        every = (take, *layers.values())
        common_db = _common_gain_db(take, layers)
        stems = {PRIMARY: take.stems[PRIMARY], **{name: sound.stems[PRIMARY] for name, sound in layers.items()}}
        gains_db = {PRIMARY: gain_db, **{layer.name: layer.gain_db for layer, _ in planned_layers}}
        return replace(
            take,
            stems=apply_gains(stems, {role: common_db + own_db for role, own_db in gains_db.items()}),
            score=_mean_score(every),
            faults=tuple(dict.fromkeys(fault for one in every for fault in one.faults)),
            layers=_layer_reports(layers, planned_layers),
            level_gain_db=common_db,
        )

    def _best_of_two(self, plan: SoundPlan, seeds: tuple[int, int], part: _Part) -> Take:
        """A take with the first seed; if it has faults, one with the second seed, unless that one has faults too."""
        take = self._generate_take(plan, seeds[0], part)
        if not take.faults:
            return take
        other = self._generate_take(plan, seeds[1], part)
        return take if other.faults else replace(other, replaced_seed=take.seed)

    def _generate_take(self, plan: SoundPlan, seed: int, part: _Part) -> Take:
        with part.stage("sample"):
            log_mels = self._generate_log_mels(
                plan, seed, lambda finished: part.report("sample", finished, plan.request.steps)
            )
        with part.stage("vocode"):
            # Scoring counts as one more window.
            waveform, stem = self._render_stem(
                plan, seed, log_mels, lambda done, windows: part.report("vocode", done, windows + 1)
            )
            take = self._score_take(plan, seed, waveform, stem)
            part.report("vocode", 1, 1)
        return take

    def _generate_log_mels(self, plan: SoundPlan, seed: int, on_step: OnStep) -> list[torch.Tensor]:
        """Log-mels [T, bins]: one, or one for each shot."""
        request = plan.request
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

    def _render_stem(
        self, plan: SoundPlan, seed: int, log_mels: Sequence[torch.Tensor], on_window: OnWindow
    ) -> tuple[FloatArray, Stem]:
        """The waveform [samples] at the sample rate of the pack, and the stem at the requested one."""
        request, own_hz, rate_hz = plan.request, self.pack.sample_rate_hz, plan.request.rate_hz
        own_samples, samples = (sample_count(request.duration_s, hz) for hz in (own_hz, rate_hz))
        vocoder = self.sound_generator.vocoder
        if request.is_loop:
            waveform = vocoder.vocode_loop(log_mels[0], own_samples, on_window, seed=seed)
            delivered = resample_loop(waveform[None], samples)
        else:
            if plan.shots is not None:
                waveform = plan.shots.vocode(vocoder, log_mels, seed, own_samples, self.front_end.config, on_window)
            else:
                waveform = vocoder.vocode(log_mels[0], own_samples, on_window, seed=seed)
            delivered = resample(waveform[None], own_hz, rate_hz, samples)
        if "energy" in plan.controls.names:
            gaps = find_silence(plan.requested_energy, self.front_end.config.silence_nats)
            mute_gaps(waveform, gaps, own_hz)
            mute_gaps(delivered, gaps, rate_hz)
        if not request.is_loop:
            fade_ends(delivered, rate_hz)
        if request.regenerate is None:
            return waveform, Stem(PRIMARY, delivered, rate_hz)
        # The kept part of the existing sound must not change, so only the new sound is limited.
        delivered = request.regenerate.splice(limit_true_peak(delivered, rate_hz), request.duration_s)
        waveform = resample(delivered.mean(axis=0, keepdims=True), rate_hz, own_hz, own_samples)[0]
        return waveform, Stem(request.regenerate.stem.role, delivered, rate_hz)

    def _score_take(self, plan: SoundPlan, seed: int, waveform: FloatArray, stem: Stem) -> Take:
        """The take with its score, faults and measurements."""
        config, log_mel = self.front_end.config, self.front_end.encode(waveform)
        rate_hz = config.frame_rate_hz
        produced = EnergyCurve(log_mel.mean(dim=-1).numpy(), rate_hz, "audio")
        start_s, end_s = plan.request.scored_range_s
        frames = slice(int(start_s * rate_hz), math.ceil(end_s * rate_hz))
        scored = waveform[sample_count(start_s, config.sample_rate_hz) : sample_count(end_s, config.sample_rate_hz)]
        requested = replace(plan.requested_energy, values=plan.requested_energy.values[frames])
        mae_nats, correlation = energy_agreement(requested.values, produced.values[frames])
        # The correlation with a nearly even energy is that of noise.
        has_shape = float(np.ptp(requested.values)) >= MIN_EVENT_RISE_NATS
        text_score, level_gain_db = self._text_score(plan.prompt, scored), self._standard_gain_db(plan, waveform)
        # A low score is not reliable for a prompt with less weight, or for a very short sound.
        is_reliable = plan.request.settings.prompt_weight == 1 and end_s - start_s >= MIN_TEXT_SCORE_DURATION_S
        texture = error_nats = None
        if plan.requested_texture is not None:
            texture = measure_log_mel_texture(log_mel, rate_hz)
            error_nats = texture_error(plan.requested_texture.values[frames], texture.values[frames], requested.values)
        return Take(
            seed=seed,
            stems={stem.role: stem},
            produced_energy=produced,
            energy_mae_nats=mae_nats,
            energy_correlation=correlation,
            text_score=text_score,
            score=(
                score_take(correlation if has_shape else None, mae_nats, text_score)
                if scored.any() and plan.prompt in self.known_prompts
                else None
            ),
            faults=find_faults(
                scored,
                log_mel[frames].numpy(),
                requested,
                config.silence_nats,
                text_score if is_reliable else None,
            ),
            produced_texture=texture,
            texture_error_nats=error_nats,
            level_gain_db=0.0 if level_gain_db is None else level_gain_db,
        )

    def _standard_gain_db(self, plan: SoundPlan, waveform: FloatArray) -> float | None:
        """Gain to the standard level; None if the sound is silent. 0 if the request keeps the level."""
        if plan.request.level == "raw" or plan.request.regenerate is not None:
            return 0.0
        return standard_gain_db(
            waveform, self.pack.sample_rate_hz, plan.character, plan.requested_energy, plan.unedited_energy
        )

    def _text_score(self, prompt: str, waveform: FloatArray) -> float | None:
        """How well a waveform matches a prompt, 0 to 1; None for silence and for prompts the pack cannot judge."""
        scorer = self.joint_scorer
        if scorer is None or not waveform.any() or prompt not in self.known_prompts:
            return None
        return scorer.score_text_sound(prompt, self.front_end.encode(normalise(waveform))).probability


def _common_gain_db(take: Take, layers: Mapping[str, Take]) -> float:
    """Gain that brings a take to the standard level. It is that of the primary sound, or of the first audible layer.

    One gain for all stems keeps the balance of the layers.
    """
    audible = (sound for sound in (take, *layers.values()) if sound.stems[PRIMARY].waveform.any())
    return next((sound.level_gain_db for sound in audible), 0.0)


def _layer_reports(
    layers: Mapping[str, Take], planned_layers: Sequence[tuple[Layer, SoundPlan]]
) -> dict[str, LayerReport]:
    return {
        layer.name: LayerReport(
            seed=sound.seed,
            requested_energy=plan.requested_energy,
            produced_energy=sound.produced_energy,
            energy_mae_nats=sound.energy_mae_nats,
            energy_correlation=sound.energy_correlation,
            text_score=sound.text_score,
            faults=sound.faults,
        )
        for (layer, plan), sound in zip(planned_layers, layers.values(), strict=True)
    }


def _mean_score(sounds: Sequence[Take]) -> float | None:
    """Mean score of sounds; None if one of them has none."""
    scores = [sound.score for sound in sounds if sound.score is not None]
    return sum(scores) / len(scores) if len(scores) == len(sounds) else None
