"""Making the takes of a request: sampled, vocoded, brought to their rate, measured, ranked, useless ones made anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import torch

from rewas_engine.clip import sample_count
from rewas_engine.clock import Clock
from rewas_engine.conflict import FAMILIAR_FROM
from rewas_engine.control import Controls
from rewas_engine.energy import EnergyCurve, FloatArray, energy_agreement
from rewas_engine.joint import JointScorer
from rewas_engine.media.audio import resampled, resampled_loop, within_full_scale
from rewas_engine.mel import AudioFrontEnd, normalised
from rewas_engine.results import PRIMARY, PackInfo, Stem, Take
from rewas_engine.revision import Revision
from rewas_engine.sampling import steps_run
from rewas_engine.synthesis import Earlier, SamplingSettings, SoundMaker
from rewas_engine.takes import best_first, take_faults, take_score


@dataclass(frozen=True, eq=False)
class WantedSound:
    """What all takes of a request have in common.

    requested: the energy that they are held against. controls: what steers them. rate_hz: of their stems. revision,
    earlier: the sound that is made again, as it was given and as the pack hears it. loops: the end goes on with the
    beginning.
    """

    prompt: str
    settings: SamplingSettings
    requested: EnergyCurve
    controls: Controls
    duration_s: Fraction
    rate_hz: int
    revision: Revision | None = None
    earlier: Earlier | None = None
    loops: bool = False

    @property
    def steps(self) -> int:
        """Sampling steps of a take."""
        count = self.settings.num_steps
        return count if self.earlier is None else steps_run(count, self.earlier.renoised)


@dataclass(frozen=True)
class TakeMaker:
    """Makes takes with the parts of a loaded pack. joint: None where the pack cannot hold words and sounds together."""

    pack: PackInfo
    front_end: AudioFrontEnd
    sound: SoundMaker
    joint: JointScorer | None

    def takes(self, wanted: WantedSound, seed: int, count: int, clock: Clock) -> tuple[Take, ...]:
        """Takes with seeds from `seed` on, the best first; one with faults is replaced once where a better is found.

        Those that replace others have seeds after all of these. What is made again of a sound is not replaced: what
        stays of it is not this take's fault.
        """
        familiar = self.joint is not None and self.joint.familiarity(wanted.prompt)[1] >= FAMILIAR_FROM
        made = [self._take(wanted, seed + number, clock, number, count, familiar) for number in range(count)]
        if wanted.revision is None:
            for number, take in enumerate(made):
                if take.faults:
                    again = self._take(wanted, seed + count + number, clock, count - 1, count, familiar)
                    made[number] = best_first((take, replace(again, instead_of=take.seed)))[0]
        return best_first(made)

    def _take(self, wanted: WantedSound, seed: int, clock: Clock, part: int, parts: int, is_familiar: bool) -> Take:
        """One take. part, parts: its place among all. is_familiar: whether the joint space knows the words."""
        with clock.stage("sample", part, parts):
            log_mel = self.sound.log_mel(
                wanted.prompt,
                wanted.controls,
                seed,
                wanted.settings,
                lambda finished: clock.tick("sample", finished, wanted.steps, part, parts),
                earlier=wanted.earlier,
                circular=wanted.loops,
            )
        with clock.stage("vocode", part, parts):
            waveform, stem = self._sounding(wanted, log_mel)
            take = self._judged(wanted, seed, waveform, stem, is_familiar)
            clock.tick("vocode", 1, 1, part, parts)
        return take

    def _sounding(self, wanted: WantedSound, log_mel: torch.Tensor) -> tuple[FloatArray, Stem]:
        """The waveform [samples] of a log-mel at the pack's rate, and its stem at the one that is wanted."""
        own_hz, rate_hz, revision = self.pack.sample_rate_hz, wanted.rate_hz, wanted.revision
        own_samples, samples = (sample_count(wanted.duration_s, hz) for hz in (own_hz, rate_hz))
        if wanted.loops:
            waveform = self.sound.loop(log_mel, own_samples)
            # Between its samples a band-limited sound may be louder than at them.
            return waveform, Stem(PRIMARY, within_full_scale(resampled_loop(waveform[None], samples)), rate_hz)
        waveform = self.sound.waveform(log_mel, own_samples)
        changed = within_full_scale(resampled(waveform[None], own_hz, rate_hz, samples))
        if revision is None:
            return waveform, Stem(PRIMARY, changed, rate_hz)
        # What stays of a revised sound stays to the bit: what is new must fit under its ceiling by itself.
        changed = revision.spliced(changed, wanted.duration_s)
        waveform = resampled(changed.mean(axis=0, keepdims=True), rate_hz, own_hz, own_samples)[0]
        return waveform, Stem(revision.stem.role, changed, rate_hz)

    def _judged(self, wanted: WantedSound, seed: int, waveform: FloatArray, stem: Stem, is_familiar: bool) -> Take:
        """The take, and how well it does what was asked."""
        config, heard = self.front_end.config, self.front_end.hear(waveform)
        produced = EnergyCurve(heard.mean(dim=-1).numpy(), config.frame_rate_hz, "audio")
        mae_nats, correlation = energy_agreement(wanted.requested.values, produced.values)
        text_score = None
        if self.joint is not None and waveform.any():
            text_score = self.joint.text_sound(wanted.prompt, self.front_end.hear(normalised(waveform))).probability
        # Of words that the joint space was never told, a low score says nothing.
        trusted = text_score if is_familiar else None
        faults = take_faults(waveform, heard.numpy(), wanted.requested, config.silence_nats, trusted)
        score = take_score(correlation, mae_nats, text_score)
        return Take(seed, {stem.role: stem}, produced, mae_nats, correlation, text_score, score, faults)
