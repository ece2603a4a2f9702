"""The plan of a request: for each of its sounds, the controls, the sampling and the length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from rewas_engine.checks import ControlName, LevelName
from rewas_engine.conditioning.controls import Controls
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.conditioning.windows import SoundWindow
from rewas_engine.curves.edits import EnergyEdit, apply_edits
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.curves.events import onset_strengths
from rewas_engine.curves.silence import SILENCE_MARGIN_NATS
from rewas_engine.curves.sources import flat_curve
from rewas_engine.curves.texture import TextureCurve
from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import sample_count
from rewas_engine.generation.loops import check_loop_join
from rewas_engine.generation.sampling import effective_num_steps
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.generation.synthesis import InpaintSource
from rewas_engine.matching.sound_kinds import Character
from rewas_engine.media.probe import ProbedClip
from rewas_engine.recordings.options import PerformanceOptions
from rewas_engine.requests.levels import apply_typical_level, has_little_motion
from rewas_engine.requests.notes import Note, little_motion_note, silent_energy_note
from rewas_engine.requests.per_shot import ShotPlan
from rewas_engine.requests.references import MeasuredReference
from rewas_engine.requests.regeneration import Regenerate, match_level
from rewas_engine.requests.validation import check_curve_covers_clip


@dataclass(frozen=True, eq=False)
class SoundRequest:
    """What all sounds of a request have in common.

    Args:
        front_end: Log-mel front end of the pack.
        window: Length and overlap of the windows.
        settings: Sampling settings.
        control: Whether the sounds follow the shape of their energy, or only its onsets.
        duration_s: Duration of the clip.
        rate_hz: Sample rate of the stems.
        regenerate: The existing sound to regenerate, if any.
        inpaint_source: Its log-mel and mask.
        is_loop: Whether the end of each sound joins its beginning.
        performance: How a library performs its recordings.
        level: "standard" gives an energy from the video the typical level of the prompt's sound; "raw" keeps it.
        follows_texture: Whether the pack has the control "texture".
    """

    front_end: AudioFrontEnd
    window: SoundWindow
    settings: SamplingSettings
    control: ControlName
    duration_s: Fraction
    rate_hz: int
    regenerate: Regenerate | None = None
    inpaint_source: InpaintSource | None = None
    is_loop: bool = False
    level: LevelName = "standard"
    follows_texture: bool = False
    performance: PerformanceOptions = field(default_factory=PerformanceOptions)

    @property
    def steps(self) -> int:
        """Sampling steps of a take."""
        count = self.settings.num_inference_steps
        return count if self.inpaint_source is None else effective_num_steps(count, self.inpaint_source.strength)

    @property
    def scored_range_s(self) -> tuple[Fraction, Fraction]:
        """Start and end, in seconds, of the range in which takes are scored. It excludes the kept part of a sound."""
        return (Fraction(0), self.duration_s) if self.regenerate is None else self.regenerate.range_s(self.duration_s)

    def resolve_energy(
        self,
        energy: EnergyCurve | None,
        edits: Sequence[EnergyEdit],
        character: Character,
        read: ProbedClip,
        estimate_energy: Callable[[], EnergyCurve],
    ) -> ResolvedEnergy:
        """Return the energy of the primary sound.

        Args:
            energy: Energy of the request. If it is None, a regeneration at a strength below 1 follows the existing
                sound, a loop gets a constant energy, and everything else follows the video.
            edits: Edits of the energy. With edits, a regeneration and a loop follow the video too.
            character: Character of the prompt's sound.
            read: The clip.
            estimate_energy: Estimates the energy from the video; called only if it is needed.

        Raises:
            SettingsError: The energy does not cover the clip, or an edit does not fit it.
        """
        notes: tuple[Note, ...] = ()
        if energy is not None:
            check_curve_covers_clip(energy, read)
        elif self.regenerate is not None and self.regenerate.strength < 1 and not edits:
            energy = self.front_end.measure_energy(self.regenerate.mono_waveform(self.front_end.config.sample_rate_hz))
        elif self.is_loop and not edits:
            energy = flat_curve(duration=self.duration_s)
        else:
            energy, notes = self.level_estimate(estimate_energy(), character, is_still=read.is_frozen)
        edited = apply_edits(energy, edits)
        silence_nats = self.front_end.config.silence_nats
        if not notes and edited.values.max() <= silence_nats + SILENCE_MARGIN_NATS:
            notes = (silent_energy_note(),)
        return ResolvedEnergy(edited, energy, notes)

    def level_estimate(
        self, estimate: EnergyCurve, character: Character, *, is_still: bool
    ) -> tuple[EnergyCurve, tuple[Note, ...]]:
        """Move an energy estimated from the video to the level of the request, and note what the editor must know.

        Args:
            estimate: The estimate.
            character: Character of the prompt's sound.
            is_still: Whether the clip shows the same picture throughout.
        """
        silence_nats, is_raw = self.front_end.config.silence_nats, self.level == "raw"
        energy = estimate if is_raw else apply_typical_level(estimate, character, silence_nats)
        energy = match_level(self.inpaint_source, energy, self.front_end)
        if not is_still and not has_little_motion(estimate, silence_nats):
            return energy, ()
        is_silent = bool(energy.values.max() <= silence_nats)
        return energy, (little_motion_note(character, is_still=is_still, is_raw=is_raw, is_silent=is_silent),)

    def plan_sound(
        self,
        prompt: str,
        energy: ResolvedEnergy,
        character: Character,
        texture: TextureCurve | None = None,
        cuts_s: Sequence[Fraction] = (),
        reference: MeasuredReference | None = None,
    ) -> SoundPlan:
        """Plan one sound of the request.

        Args:
            prompt: What the sound should be.
            energy: Energy that it follows.
            character: Character of the prompt's sound.
            texture: Texture that it follows.
            cuts_s: Cuts at which the sound starts anew, in seconds from the start of the clip.
            reference: The reference sound. Its texture is followed if `texture` is None and the pack supports it.

        Raises:
            SettingsError: The control is "onsets" but the energy has none, or a loop would break off.
        """
        config = self.front_end.config
        frames = self.front_end.frame_count(sample_count(self.duration_s, config.sample_rate_hz))
        rate_hz = config.frame_rate_hz
        # A loop cannot be generated longer and then cut, so its length is whole latent positions.
        control_frames = self.window.whole(frames) if self.is_loop else frames

        def resample_energy(count: int, curve: EnergyCurve = energy.edited) -> EnergyCurve:
            return EnergyCurve(np.maximum(curve.resample(rate_hz, count), config.silence_nats), rate_hz, curve.source)

        if self.is_loop and self.control == "energy":
            check_loop_join(resample_energy(frames))
        controls = self._controls_from(resample_energy(control_frames))
        if reference is not None and texture is None and self.follows_texture:
            texture = reference.timbre.texture_for(resample_energy(control_frames))
        if texture is not None:
            controls = replace(controls, texture=texture.resample(rate_hz, control_frames))
            texture = TextureCurve(texture.resample(rate_hz, frames), rate_hz, texture.source)
        return SoundPlan(
            request=self,
            prompt=prompt,
            character=character,
            requested_energy=resample_energy(frames),
            unedited_energy=resample_energy(frames, energy.unedited),
            controls=controls,
            shots=ShotPlan.from_cuts(cuts_s, rate_hz, frames) if cuts_s else None,
            requested_texture=texture,
            reference=reference,
        )

    def _controls_from(self, energy: EnergyCurve) -> Controls:
        if self.control == "energy":
            return Controls.from_energy(energy)
        onsets = onset_strengths(energy, rate_hz=energy.rate_hz, count=len(energy.values))
        if not onsets.any():
            raise SettingsError(
                "The energy has no onsets for the sound to follow.",
                'Choose the control "energy", or use an energy curve with events.',
            )
        return Controls(onsets=onsets)


@dataclass(frozen=True, eq=False)
class ResolvedEnergy:
    """Energy of a sound with and without its edits, and what the editor must know about it."""

    edited: EnergyCurve
    unedited: EnergyCurve
    notes: tuple[Note, ...] = ()

    @classmethod
    def without_edits(cls, energy: EnergyCurve) -> ResolvedEnergy:
        """An energy that has no edits."""
        return cls(energy, energy)


@dataclass(frozen=True, eq=False)
class SoundPlan:
    """One sound of a request, the same for all takes.

    Args:
        request: The request.
        prompt: What the sound should be.
        character: Character of the prompt's sound.
        requested_energy: Energy to compare the result with, at the mel frame rate.
        unedited_energy: The same without the edits. The level of the stems is relative to it.
        controls: Controls of the sound.
        shots: The shots, if the sound starts anew at cuts.
        requested_texture: Texture to compare the result with, if one is requested.
        reference: The reference sound, if there is one.
    """

    request: SoundRequest
    prompt: str
    character: Character
    requested_energy: EnergyCurve
    unedited_energy: EnergyCurve
    controls: Controls
    shots: ShotPlan | None = None
    requested_texture: TextureCurve | None = None
    reference: MeasuredReference | None = None

    @property
    def follows_reference_texture(self) -> bool:
        """Whether the texture that the sound follows is that of the reference sound."""
        return self.reference is not None and self.controls.texture is not None

    def without_texture(self) -> SoundPlan:
        """The same plan with the texture left to the prompt."""
        return replace(self, controls=replace(self.controls, texture=None), requested_texture=None)
