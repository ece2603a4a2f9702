# SPDX-License-Identifier: GPL-3.0-or-later
"""What to generate for a strip, and how. Plain values, which are stored in records of jobs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from ..timeline.missing import FillStep
from ..timeline.takes import Stem, StemPack, UsedRecording

AMBIENCE_ROLE = "ambience"


@dataclass(frozen=True)
class PerformanceChoice:
    """How a library performs its recordings. None means the default.

    Attributes:
        place: Which recordings to perform: 0 for those nearest to the prompt, 1 for the next ones, and so on.
        tail: "curve" if the tail of each sound follows the energy, "natural" if it decays as recorded.
        pitch_variation_cents: Largest random pitch change of each sound.
        timing_variation_s: Largest random time shift of each sound.
        room: "in" if the decay of the recorded room is kept, "out" if it is reduced.
    """

    place: int | None = None
    tail: str | None = None
    pitch_variation_cents: float | None = None
    timing_variation_s: float | None = None
    room: str | None = None


STANDARD_ENERGIES = ("steady", "following", "video")
"""Energies of layers that have a name in the contract."""


@dataclass(frozen=True)
class LayerChoice:
    """A further sound with its own stem.

    name: role of its stem. energy: "steady", "following" (rises and falls with the primary sound), "video" (estimated
    from the picture for its prompt), "flat" or "drawn".
    flat_nats: level of a flat energy. keys: those of a drawn one, as in EnergyChoice. pack: None for that of the
    primary sound. performance: used if the pack is a library. like: absolute path of a sound that
    it should resemble.
    """

    name: str
    prompt: str
    gain_db: float = 0.0
    energy: str = "steady"
    flat_nats: float = -5.0
    keys: tuple[tuple[float, float], ...] = ()
    pack: str | None = None
    performance: PerformanceChoice = PerformanceChoice()
    like: str | None = None

    @property
    def standard_energy(self) -> str | None:
        """Its energy if it is one of the contract's names, or None if it is a level or a curve."""
        return self.energy if self.energy in STANDARD_ENERGIES else None


@dataclass(frozen=True)
class EnergyChoice:
    """Where the energy of the primary sound comes from.

    Attributes:
        source: "picture", "own_sound" (of the clip's media), "other_sound", "flat" or "drawn".
        sound: Absolute path of the other sound.
        sound_start_s: Time in the other sound at which the clip starts.
        sound_duration_s: Duration of the other sound; None if unknown. Beyond its end the energy is silent.
        flat_nats: Level of a flat energy.
        keys: Keys of the drawn energy: pairs of seconds from the clip's start and decibels, from its start to its end.
        edits: Edits in the syntax of the contract's EnergyInput, such as "smooth 0.2".
        audio_track: Number of the audio track to measure, from 1; None for the first one that is not silent.
        use_texture: Whether the sound also takes the spectral texture of the measured sound.
    """

    source: str = "picture"
    sound: str = ""
    sound_start_s: Fraction = Fraction(0)
    sound_duration_s: Fraction | None = None
    flat_nats: float = -5.0
    keys: tuple[tuple[float, float], ...] = ()
    edits: tuple[str, ...] = ()
    audio_track: int | None = None
    use_texture: bool = False

    @property
    def is_measured(self) -> bool:
        """Whether the server must measure a sound first."""
        return self.source in ("own_sound", "other_sound")


@dataclass(frozen=True)
class Regeneration:
    """A range of an existing sound to regenerate. The sound starts at the start of the clip.

    start_s, end_s: in seconds from the clip's start. strength: above 0; below 1 keeps a part of the existing sound.
    completion: set if this is a step of completing a take.
    """

    sound: Path
    start_s: Fraction
    end_s: Fraction
    strength: float = 1.0
    completion: Completion | None = None


@dataclass(frozen=True)
class Completion:
    """One of the steps that generate the sound that a take lacks since its strip was extended.

    Attributes:
        role: The stem of this step.
        prompt: Its prompt.
        source: The existing stem, if it must be fitted to the clip first. Regeneration.sound is then the fitted file.
        offset_s: How many seconds after the start of the clip the sound of the take begins.
        then: The steps that follow.
        base: The take, as JSON.
        layers: The layers of the strip, with their energies.
        pack, performance: Those of the primary sound. A layer may have its own.
    """

    role: str
    prompt: str
    source: Path | None
    offset_s: Fraction
    then: tuple[FillStep, ...]
    base: str
    layers: tuple[LayerChoice, ...] = ()
    pack: str | None = None
    performance: PerformanceChoice = PerformanceChoice()


@dataclass(frozen=True)
class KeptSounds:
    """What a new take keeps of the existing one: stems, the recordings in them, and their packs."""

    stems: tuple[Stem, ...] = ()
    recordings: tuple[UsedRecording, ...] = ()
    packs: tuple[StemPack, ...] = ()


@dataclass(frozen=True)
class SoundSettings:
    """Generation settings. None means the default of the pack or the server. The prompt is that of the clip.

    Attributes:
        control: "energy" or "onsets".
        conflict_policy: "off", "warn", "soften" or "refuse".
        cuts_s: Times at which the primary sound starts afresh, in seconds from the clip's start. They replace the cuts
            that `new_sound_at_cuts` would find.
        level: "standard" or "raw".
        rank_by: "score" or "avh".
        like: Absolute path of a sound that the primary sound should resemble.
        regenerate: A range of an existing sound, or None for a new sound.
        performance: Used if the pack is a library.
        kept: What the new take keeps of the existing one.
    """

    pack: str | None = None
    seed: int | None = None
    takes: int = 1
    negative_prompt: str | None = None
    layers: tuple[LayerChoice, ...] = ()
    energy: EnergyChoice = EnergyChoice()
    control: str | None = None
    control_strength: float | None = None
    control_start: float | None = None
    control_end: float | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    sampler: str | None = None
    conflict_policy: str | None = None
    loop: bool | None = None
    new_sound_at_cuts: bool | None = None
    cuts_s: tuple[Fraction, ...] = ()
    gain_db: float | None = None
    mix: bool | None = None
    sample_rate_hz: int | None = None
    level: str | None = None
    rank_by: str | None = None
    like: str | None = None
    regenerate: Regeneration | None = None
    performance: PerformanceChoice = PerformanceChoice()
    kept: KeptSounds = KeptSounds()

    def used_by(self, *, is_library: bool) -> SoundSettings:
        """Return the settings without those that this kind of pack does not use."""
        if not is_library:
            return replace(self, performance=PerformanceChoice())
        return replace(
            self,
            negative_prompt=None,
            energy=replace(self.energy, use_texture=False),
            control_strength=None,
            control_start=None,
            control_end=None,
            num_inference_steps=None,
            guidance_scale=None,
            sampler=None,
        )
