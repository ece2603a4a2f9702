"""Makes one sound of a request from the recordings of a library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from cachetools import LRUCache

from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.curves.energy import EnergyCurve, FloatArray
from rewas_engine.exact_time import sample_count
from rewas_engine.generation.loops import LOOP_FADE_S, shorten_loop
from rewas_engine.matching.report import Familiarity
from rewas_engine.matching.sound_kinds import Character
from rewas_engine.media.audio import fade_ends
from rewas_engine.media.stem import PRIMARY, Stem
from rewas_engine.recordings.choosing import Choice, TextEncoder, choose
from rewas_engine.recordings.credits import used_recordings
from rewas_engine.recordings.index import Recording
from rewas_engine.recordings.library_pack import LibraryPack
from rewas_engine.recordings.performing import PlannedPerformance, find_manner
from rewas_engine.recordings.reading import mono_mix
from rewas_engine.recordings.sound_distances import SoundTraits, sound_distances
from rewas_engine.requests.per_shot import FADE_S, crossfade_shots
from rewas_engine.requests.plan import SoundPlan
from rewas_engine.requests.references import MeasuredReference
from rewas_engine.requests.sound_makers import MadeSound, Render, SoundProgress, measured_waveform, splice_into_existing
from rewas_engine.runtime.progress import StageName

_KEPT_CHOICES = 256


@dataclass(frozen=True, eq=False)
class LibraryMaker:
    """Performs sounds from the recordings of a library.

    Args:
        library: The library.
        front_end: Log-mel front end that measures the sounds.
        encoder: Embeds prompts as the words of the library were embedded.
    """

    library: LibraryPack
    front_end: AudioFrontEnd
    encoder: TextEncoder
    final_stage: StageName = "perform"
    _choices: LRUCache[tuple[str, int, SoundTraits | None], Choice] = field(
        default_factory=lambda: LRUCache(_KEPT_CHOICES), repr=False
    )

    def choose(self, prompt: str, place: int = 0, reference: MeasuredReference | None = None) -> Choice:
        """Choose the recordings for a prompt, the nearest in sound to a reference if there is one.

        Raises MediaError if the library has no sounds.
        """
        traits = None if reference is None else reference.traits
        key = (prompt, place, traits)
        if key not in self._choices:
            index = self.library.index
            distances = None if traits is None else sound_distances(index, traits)
            self._choices[key] = choose(index, prompt, self.encoder, place=place, distances=distances)
        choice: Choice = self._choices[key]
        return choice

    def choose_for(self, plan: SoundPlan) -> Choice:
        """Choose the recordings for a planned sound."""
        return self.choose(plan.prompt, plan.request.performance.place, plan.reference)

    def familiarity(self, prompt: str) -> Familiarity:
        """Return whether the library has a sound like a prompt, and the words of the nearest recordings."""
        choice = self.choose(prompt)
        return Familiarity(choice.is_known, choice.score, choice.nearest)

    def character(
        self, prompt: str, place: int, by_words: Character, reference: MeasuredReference | None = None
    ) -> Character:
        """Return the character of a prompt's sound. The recordings decide whether it is struck.

        Args:
            prompt: The prompt.
            place: Which recordings are performed.
            by_words: The character that the words of the prompt suggest.
            reference: The sound that the recordings should resemble.
        """
        if find_manner(self.library.index, self.choose(prompt, place, reference)) == "struck":
            return "struck"
        return "varied" if by_words == "struck" else by_words

    def prepare(self, plan: SoundPlan, seed: int, progress: SoundProgress) -> Render:
        """Return a function that performs the sound. Recordings need no stage before that."""
        return lambda on_part: self._render(plan, seed, progress, on_part)

    def _render(
        self, plan: SoundPlan, seed: int, progress: SoundProgress, on_part: Callable[[int, int], object]
    ) -> MadeSound:
        request, own_hz = plan.request, self.front_end.config.sample_rate_hz
        if plan.shots is not None:
            delivered, used = self._perform_shots(plan, seed, progress, on_part)
        else:
            energy, duration_s = plan.requested_energy, request.duration_s
            if request.is_loop:
                energy, duration_s = _continue_loop(energy, duration_s)
            delivered, used = self._perform(plan, energy, duration_s, seed, progress, on_part)
        if request.is_loop:
            samples = sample_count(request.duration_s, request.rate_hz)
            fade = delivered.shape[1] - samples
            delivered = np.stack([shorten_loop(channel, samples, fade) for channel in delivered])
        else:
            fade_ends(delivered, request.rate_hz)
        if request.regenerate is None:
            stem = Stem(PRIMARY, delivered, request.rate_hz)
        else:
            stem = splice_into_existing(plan, delivered)
        mono = Stem(PRIMARY, mono_mix(stem.waveform)[None], request.rate_hz)
        terms, existing = self.library.terms, request.regenerate
        new = used_recordings(self.library.index, used, terms.licence, terms.credit)
        kept = () if existing is None else existing.kept_recordings(request.duration_s)
        return MadeSound(
            measured_waveform(mono, own_hz, sample_count(request.duration_s, own_hz)),
            stem,
            (stem.waveform, request.rate_hz),
            tuple(dict.fromkeys((*new, *kept))),
        )

    def _perform(
        self,
        plan: SoundPlan,
        energy: EnergyCurve,
        duration_s: Fraction,
        seed: int,
        progress: SoundProgress,
        on_part: Callable[[int, int], object],
    ) -> tuple[FloatArray, tuple[Recording, ...]]:
        """Samples [channels, samples] of a performance, and the recordings that it uses."""
        request = plan.request
        choice = self.choose_for(plan)
        performance = PlannedPerformance(
            self.library.index,
            choice,
            energy,
            duration_s=duration_s,
            rate_hz=request.rate_hz,
            channels=self._channels(plan, choice),
            seed=seed,
            options=request.performance,
            onsets_only=request.control == "onsets",
        )
        try:
            return performance.render(progress.tracker.cancel, on_part), performance.used
        finally:
            performance.close()

    def _perform_shots(
        self, plan: SoundPlan, seed: int, progress: SoundProgress, on_part: Callable[[int, int], object]
    ) -> tuple[FloatArray, tuple[Recording, ...]]:
        """A new performance at every cut, joined by crossfades."""
        assert plan.shots is not None
        request, energy = plan.request, plan.requested_energy
        samples, fade = (sample_count(length_s, request.rate_hz) for length_s in (request.duration_s, FADE_S))
        starts = [sample_count(start / energy.rate_hz, request.rate_hz) for start in map(Fraction, plan.shots.starts)]
        ends = [*(start + fade for start in starts[1:]), samples]
        frames = [*plan.shots.starts, len(energy.values)]
        parts: list[FloatArray] = []
        used: list[Recording] = []
        for number, own_seed in enumerate(plan.shots.derive_seeds(seed)):
            length_s = Fraction(min(ends[number], samples) - starts[number], request.rate_hz)
            # One more value covers the fade after the cut.
            values = energy.values[frames[number] : frames[number + 1] + 1]
            waveform, recordings = self._perform(
                plan, replace(energy, values=values), length_s, own_seed, progress, lambda done, total: None
            )
            parts.append(waveform)
            used += recordings
            on_part(number + 1, len(starts))
        return crossfade_shots(parts, starts, samples, fade), tuple(dict.fromkeys(used))

    def _channels(self, plan: SoundPlan, choice: Choice) -> int:
        """Channels of the sound: those of the sound that is regenerated, or the most that a chosen recording has."""
        if plan.request.regenerate is not None:
            return len(plan.request.regenerate.stem.waveform)
        return max(self.library.index.recordings[number].channels for number in choice.recordings)


def _continue_loop(energy: EnergyCurve, duration_s: Fraction) -> tuple[EnergyCurve, Fraction]:
    """The energy of a loop and the beginning of its next round, which fades into the beginning of the loop."""
    fade_s = min(LOOP_FADE_S, duration_s)
    count = -(-fade_s * energy.rate_hz // 1) + 1
    values = np.concatenate([energy.values, np.resize(energy.values, int(count))])
    return replace(energy, values=values), duration_s + fade_s
