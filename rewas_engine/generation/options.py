"""The settings of a request in groups: sampling, control and output.

These are the types that `rewas_engine.ReWaS.generate` takes. They need no torch, and they check their own values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from rewas_engine.checks import (
    MAX_CONTROL_STRENGTH,
    MAX_GUIDANCE_SCALE,
    MAX_STEPS,
    ControlName,
    LevelName,
    RankName,
    check_control_range,
    check_gain,
    check_integer,
    check_range,
    check_rank,
    validate_prompt,
)
from rewas_engine.curves.edits import EnergyEdit
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.curves.texture import TextureCurve
from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import Seconds
from rewas_engine.media.reference import ReferenceSound
from rewas_engine.models.sampler_names import check_sampler


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How noise becomes a sound. None is the default of the pack.

    Args:
        num_inference_steps: Denoising steps, 1 to 1000. More steps take longer.
        guidance_scale: How strongly the prompt pushes the sound, 0 to 20; 1 is no guidance.
        negative_prompt: What the sound must not be, 1 to 2000 characters. It raises the default guidance scale to at
            least 2, and requires a guidance scale above 1.
        sampler: One of `rewas_engine.models.sampler_names.SAMPLER_NAMES`. A pack may have another default number of
            steps for "ddim".

    Raises:
        SettingsError: A value is out of its range.
    """

    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    negative_prompt: str | None = None
    sampler: str | None = None

    def __post_init__(self) -> None:
        if self.negative_prompt is not None:
            object.__setattr__(self, "negative_prompt", validate_prompt(self.negative_prompt, "negative prompt"))
        if self.sampler is not None:
            check_sampler(self.sampler)
        if self.num_inference_steps is not None:
            check_integer("num_inference_steps", self.num_inference_steps, 1, MAX_STEPS)
        if self.guidance_scale is not None:
            check_range("guidance_scale", self.guidance_scale, 0, MAX_GUIDANCE_SCALE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """What the primary sound follows besides its prompt, and how closely.

    Args:
        kind: "energy" follows the shape of the energy curve; "onsets" follows only the times and strengths of its
            events.
        energy: The energy curve, in nats, as long as the clip. None estimates it from the video, or uses a constant
            curve for a loop.
        texture: Which frequency bands stand out, in nats, as long as the clip, for packs with the control "texture".
            None leaves the texture to the prompt. Layers do not follow it.
        like: A sound that the primary sound should resemble. A pack with the control "texture" follows the texture that
            this sound has at each level of the energy. With any pack, a filter of up to 12 dB brings the spectrum of
            the new sound closer, as long as it still matches its prompt. It excludes `texture`.
        strength: How strongly the controls steer, 0 to 2; 1 is as trained, 0 not at all. Called `control_strength` in
            messages and in `SamplingSettings`.
        start: Part of the sampling after which the controls act, 0 to 1; 0 is the initial noise.
        end: Part of the sampling up to which they act, above `start` and up to 1; 1 is the finished sound.
        edits: Edits of the energy, in order, whether it is given or estimated. The sound keeps the level that it would
            have without them, so that a muted event leaves all others as loud as they were.

    Raises:
        SettingsError: A value is out of its range.
    """

    kind: ControlName = "energy"
    energy: EnergyCurve | None = None
    texture: TextureCurve | None = None
    like: ReferenceSound | None = None
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    edits: Sequence[EnergyEdit] = ()

    def __post_init__(self) -> None:
        check_control_range(self.start, self.end)
        check_range("control_strength", self.strength, 0, MAX_CONTROL_STRENGTH)


@dataclass(frozen=True, kw_only=True)
class Output:
    """The format of the stems (sample rate, level, loop and cuts), and the order of the takes.

    Args:
        sample_rate_hz: Sample rate of the stems in hertz: 16000, 22050, 44100, 48000, 96000 or that of the pack. None
            is the rate of the pack, or of the sound that is regenerated.
        gain_db: Change in level of the primary stem, -60 to 24 dB.
        level: "standard" moves an energy estimated from video to the typical level of the prompt, and delivers the
            primary stem at -23 LUFS, or with a true peak of -6 dBTP if its sound is struck; layers get the same gain.
            "raw" keeps the level of the energy and of the model. A regenerated sound always keeps its level.
        loop: Whether the end of the sound joins its beginning.
        cuts: Seconds from the start of the clip at which the primary sound starts anew, in order, as
            `rewas_engine.find_cuts` finds them. Layers are not cut.
        rank_by: What orders the takes: "score" is how well they follow the request; "avh" is AVHScore, how well the
            sound of all stems fits the frames of the clip. Takes with faults always come last.

    Raises:
        SettingsError: The gain is out of its range, or the level or the order is unknown.
    """

    sample_rate_hz: int | None = None
    gain_db: float = 0.0
    level: LevelName = "standard"
    loop: bool = False
    cuts: Sequence[Seconds] = ()
    rank_by: RankName = "score"

    def __post_init__(self) -> None:
        check_gain(self.gain_db)
        check_rank(self.rank_by)
        if self.level not in get_args(LevelName):
            raise SettingsError(f"The level is {self.level!r}.", 'Choose "standard" or "raw".')
