"""What is wanted of the sounds of one request: what each follows, how it is sampled, how long it lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from rewas_engine.checks import ControlName
from rewas_engine.conditioning.controls import Controls
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.conditioning.windows import SoundWindow
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.curves.events import onset_strengths
from rewas_engine.curves.sources import flat_curve
from rewas_engine.curves.texture import TextureCurve
from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import sample_count
from rewas_engine.generation.loops import check_loop_join
from rewas_engine.generation.sampling import effective_num_steps
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.generation.synthesis import InpaintSource
from rewas_engine.media.probe import ProbedClip
from rewas_engine.requests.per_shot import Shots
from rewas_engine.requests.regeneration import Revision, match_level
from rewas_engine.requests.validation import check_curve_covers_clip


@dataclass(frozen=True, eq=False)
class SoundRequest:
    """What all sounds of a request have in common.

    control: what steers them: their energy, or the onsets in it. rate_hz: of their stems. revision, earlier: the sound
    that is made again, as it was given and as the pack hears it. loops: the end goes on with the beginning.
    """

    front_end: AudioFrontEnd
    window: SoundWindow
    settings: SamplingSettings
    control: ControlName
    duration_s: Fraction
    rate_hz: int
    revision: Revision | None = None
    earlier: InpaintSource | None = None
    loops: bool = False

    @property
    def steps(self) -> int:
        """Sampling steps of a take."""
        count = self.settings.num_steps
        return count if self.earlier is None else effective_num_steps(count, self.earlier.renoised)

    @property
    def scored_range_s(self) -> tuple[Fraction, Fraction]:
        """From where to where takes are judged: what stays of an earlier sound is not theirs."""
        return (Fraction(0), self.duration_s) if self.revision is None else self.revision.range_s(self.duration_s)

    def resolve_energy(
        self, given: EnergyCurve | None, read: ProbedClip, estimated: Callable[[], EnergyCurve]
    ) -> EnergyCurve:
        """The energy of the primary sound: the one that is given, else what the picture or an earlier sound calls for.

        estimated: the picture's, worked out only where it is needed. Raises SettingsError for one that does not cover
        the clip.
        """
        if given is not None:
            check_curve_covers_clip(given, read)
            return given
        if self.revision is not None and self.revision.degree < 1:
            return self.front_end.measure_energy(self.revision.heard(self.front_end.config.sample_rate_hz))
        if self.loops:
            return flat_curve(duration=self.duration_s)
        return match_level(self.earlier, estimated(), self.front_end)

    def sound(
        self, prompt: str, energy: EnergyCurve, texture: TextureCurve | None = None, cuts_s: Sequence[Fraction] = ()
    ) -> SoundPlan:
        """A sound of the request that follows an energy. cuts_s: where it begins anew.

        Raises SettingsError where onsets are to be followed and there are none, or a loop would break off.
        """
        config = self.front_end.config
        frames = self.front_end.frame_count(sample_count(self.duration_s, config.sample_rate_hz))
        rate = config.frame_rate_hz
        # A loop has no end to go on beyond: its last frames are whole latent positions.
        steered = self.window.whole(frames) if self.loops else frames

        def sampled(count: int) -> EnergyCurve:
            return EnergyCurve(np.maximum(energy.resample(rate, count), config.silence_nats), rate, energy.source)

        if self.loops and self.control == "energy":
            check_loop_join(sampled(frames))
        controls = self._controls_from(sampled(steered))
        if texture is not None:
            controls = replace(controls, texture=texture.resample(rate, steered))
            texture = TextureCurve(texture.resample(rate, frames), rate, texture.source)
        shots = Shots.between(cuts_s, rate, frames) if cuts_s else None
        return SoundPlan(self, prompt, sampled(frames), controls, shots, texture)

    def _controls_from(self, energy: EnergyCurve) -> Controls:
        if self.control == "energy":
            return Controls.from_energy(energy)
        onsets = onset_strengths(energy, rate_hz=energy.rate_hz, count=len(energy.values))
        if not onsets.any():
            raise SettingsError(
                "Nothing begins in the energy, so there are no onsets for the sound to follow.",
                "Let it follow the energy itself, or give one in which something strikes.",
            )
        return Controls(onsets=onsets)


@dataclass(frozen=True, eq=False)
class SoundPlan:
    """One sound of a request, whatever the take.

    requested: the energy that its takes are held against. controls: what steers them. shots: where each is to have a
    sound of its own. texture: what they are held against beside the energy, where one is asked for.
    """

    request: SoundRequest
    prompt: str
    requested: EnergyCurve
    controls: Controls
    shots: Shots | None = None
    texture: TextureCurve | None = None
