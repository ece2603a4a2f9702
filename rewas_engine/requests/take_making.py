"""Makes the takes of a request with their sounds, scores and gains, and replaces takes with faults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from rewas_engine.conditioning.controls import measure_log_mel_texture
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.energy import EnergyCurve, energy_agreement
from rewas_engine.curves.events import MIN_EVENT_RISE_NATS
from rewas_engine.curves.texture import texture_error
from rewas_engine.exact_time import sample_count
from rewas_engine.generation.reference import distance_from_reference
from rewas_engine.matching.report import Familiarity
from rewas_engine.media.stem import PRIMARY
from rewas_engine.packs.description import PackInfo
from rewas_engine.requests.gains import apply_gains
from rewas_engine.requests.layers import Layer
from rewas_engine.requests.levels import standard_gain_db
from rewas_engine.requests.plan import SoundPlan
from rewas_engine.requests.results import LayerReport, Take
from rewas_engine.requests.scoring import WordScorer, find_faults, score_take, sort_best_first
from rewas_engine.requests.sound_makers import MadeSound, SoundMaker, SoundProgress
from rewas_engine.runtime.progress import ProgressTracker

UNDECIDED_TEXT_SCORE = 0.5
MIN_TEXT_SCORE_DURATION_S = Fraction(1, 5)
"""Shortest sound that can be "wrong". Of 150 real sounds cut to this length, 2 % seem not to match their prompt."""


@dataclass(frozen=True)
class PlannedLayer:
    """A layer, the plan of its sound, what makes it, and how well that pack knows its prompt."""

    layer: Layer
    plan: SoundPlan
    generator: TakeGenerator
    familiarity: Familiarity | None


@dataclass(frozen=True)
class TakeGenerator:
    """Make takes with the parts of a loaded pack.

    Args:
        pack: Information about the pack.
        front_end: Log-mel front end of the pack.
        maker: Makes the sounds of the pack.
        score_words: Scores sounds against their prompts.
        known_prompts: Prompts of the request that the pack knows. Sounds of all others get no score.
    """

    pack: PackInfo
    front_end: AudioFrontEnd
    maker: SoundMaker
    score_words: WordScorer
    known_prompts: frozenset[str]

    def generate_takes(
        self,
        plan: SoundPlan,
        seed: int,
        count: int,
        tracker: ProgressTracker,
        planned_layers: Sequence[PlannedLayer] = (),
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
            planned_layers: The layers.
            gain_db: Gain of the primary stem.

        Returns:
            The takes, the best first.
        """
        sounds = 1 + len(planned_layers)
        takes = []
        for number in range(count):
            parts = [SoundProgress(tracker, number * sounds + place, count * sounds) for place in range(sounds)]
            own_seed, spare_seed = seed + number, seed + count + number
            take = self._best_of_two(plan, (own_seed, spare_seed), parts[0])
            layers = {
                one.layer.name: one.generator._best_of_two(
                    one.plan, (one.layer.derive_seed(own_seed), one.layer.derive_seed(spare_seed)), part
                )
                for part, one in zip(parts[1:], planned_layers, strict=True)
            }
            # A regenerated sound keeps every sample outside its range.
            is_whole = plan.request.regenerate is None
            takes.append(self._finish_take(take, layers, planned_layers, gain_db) if is_whole else take)
        return sort_best_first(takes)

    def _finish_take(
        self,
        take: Take,
        layers: Mapping[str, Take],
        planned_layers: Sequence[PlannedLayer],
        gain_db: float,
    ) -> Take:
        """The take with its layers and all gains, with the mean of all scores and the faults of all sounds."""
        every = (take, *layers.values())
        common_db = _common_gain_db(take, layers)
        stems = {PRIMARY: take.stems[PRIMARY], **{name: sound.stems[PRIMARY] for name, sound in layers.items()}}
        gains_db = {PRIMARY: gain_db, **{one.layer.name: one.layer.gain_db for one in planned_layers}}
        return replace(
            take,
            stems=apply_gains(stems, {role: common_db + own_db for role, own_db in gains_db.items()}),
            score=_mean_score(every),
            faults=tuple(dict.fromkeys(fault for one in every for fault in one.faults)),
            layers=_layer_reports(layers, planned_layers),
            level_gain_db=common_db,
        )

    def _best_of_two(self, plan: SoundPlan, seeds: tuple[int, int], progress: SoundProgress) -> Take:
        """A take with the first seed; if it has faults, one with the second seed, unless that one has faults too."""
        take = self._generate_take(plan, seeds[0], progress)
        if not take.faults:
            return take
        other = self._generate_take(plan, seeds[1], progress)
        return take if other.faults else replace(other, replaced_seed=take.seed)

    def _generate_take(self, plan: SoundPlan, seed: int, progress: SoundProgress) -> Take:
        """Make a take with the texture of the reference, if there is one.

        If the take does not match its prompt, make another one without this texture, and return the better one.
        """
        take = self._generate_once(plan, seed, progress)
        if not plan.follows_reference_texture or take.text_score is None or take.text_score >= UNDECIDED_TEXT_SCORE:
            return take
        other = self._generate_once(plan.without_texture(), seed, progress)
        return other if other.text_score is not None and other.text_score > take.text_score else take

    def _generate_once(self, plan: SoundPlan, seed: int, progress: SoundProgress) -> Take:
        render, stage = self.maker.prepare(plan, seed, progress), self.maker.final_stage
        with progress.stage(stage):
            # Scoring counts as one more part.
            made = render(lambda done, parts: progress.report(stage, done, parts + 1))
            take = self._score_take(plan, seed, made)
            progress.report(stage, 1, 1)
        return take

    def _score_take(self, plan: SoundPlan, seed: int, made: MadeSound) -> Take:
        """The take with its score, faults and measurements."""
        config, waveform = self.front_end.config, made.waveform
        log_mel = self.front_end.encode(waveform)
        rate_hz = config.frame_rate_hz
        produced = EnergyCurve(log_mel.mean(dim=-1).numpy(), rate_hz, "audio")
        start_s, end_s = plan.request.scored_range_s
        frames = slice(int(start_s * rate_hz), math.ceil(end_s * rate_hz))
        scored = waveform[sample_count(start_s, config.sample_rate_hz) : sample_count(end_s, config.sample_rate_hz)]
        requested = replace(plan.requested_energy, values=plan.requested_energy.values[frames])
        mae_nats, correlation = energy_agreement(requested.values, produced.values[frames])
        # The correlation with a nearly even energy is that of noise.
        has_shape = float(np.ptp(requested.values)) >= MIN_EVENT_RISE_NATS
        text_score, level_gain_db = self.score_words(plan.prompt, scored), self._standard_gain_db(plan, made)
        # A low score is not reliable for a prompt with less weight, or for a very short sound.
        is_reliable = plan.request.settings.prompt_weight == 1 and end_s - start_s >= MIN_TEXT_SCORE_DURATION_S
        texture = error_nats = None
        if plan.requested_texture is not None:
            texture = measure_log_mel_texture(log_mel, rate_hz)
            error_nats = texture_error(plan.requested_texture.values[frames], texture.values[frames], requested.values)
        return Take(
            seed=seed,
            stems={made.stem.role: made.stem},
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
            reference_distance_db=(
                None
                if plan.reference is None
                else distance_from_reference(scored, plan.reference.timbre, self.front_end)
            ),
            recordings=made.recordings,
        )

    def _standard_gain_db(self, plan: SoundPlan, made: MadeSound) -> float | None:
        """Gain to the standard level; None if the sound is silent. 0 if the request keeps the level."""
        if plan.request.level == "raw" or plan.request.regenerate is not None:
            return 0.0
        waveform, rate_hz = made.loudness_source
        return standard_gain_db(waveform, rate_hz, plan.character, plan.requested_energy, plan.unedited_energy)


def _common_gain_db(take: Take, layers: Mapping[str, Take]) -> float:
    """Gain that brings a take to the standard level. It is that of the primary sound, or of the first audible layer.

    One gain for all stems keeps the balance of the layers.
    """
    audible = (sound for sound in (take, *layers.values()) if sound.stems[PRIMARY].waveform.any())
    return next((sound.level_gain_db for sound in audible), 0.0)


def _layer_reports(layers: Mapping[str, Take], planned_layers: Sequence[PlannedLayer]) -> dict[str, LayerReport]:
    return {
        one.layer.name: LayerReport(
            pack=one.generator.pack,
            seed=sound.seed,
            requested_energy=one.plan.requested_energy,
            produced_energy=sound.produced_energy,
            energy_mae_nats=sound.energy_mae_nats,
            energy_correlation=sound.energy_correlation,
            text_score=sound.text_score,
            faults=sound.faults,
            recordings=sound.recordings,
        )
        for one, sound in zip(planned_layers, layers.values(), strict=True)
    }


def _mean_score(sounds: Sequence[Take]) -> float | None:
    """Mean score of sounds; None if one of them has none."""
    scores = [sound.score for sound in sounds if sound.score is not None]
    return sum(scores) / len(scores) if len(scores) == len(sounds) else None
