"""Results of a request: its takes, and the settings that they were generated with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np

from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.curves.texture import TextureCurve
from rewas_engine.generation.options import Control, Output
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.matching.report import ConflictPolicy, ConflictReport
from rewas_engine.media.probe import ProbedClip
from rewas_engine.media.stem import MIX, Stem
from rewas_engine.packs.description import PackInfo

FaultName = Literal["silent", "clipped", "stuck", "wrong"]


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """How well a layer follows its energy and its prompt; the fields mean the same as in `Take`."""

    seed: int
    requested_energy: EnergyCurve
    produced_energy: EnergyCurve
    energy_mae_nats: float
    energy_correlation: float | None
    text_score: float | None
    faults: tuple[FaultName, ...]


@dataclass(frozen=True, kw_only=True)
class Take:
    """One version of the sound for a clip.

    All fields but `stems`, `score`, `faults` and `layers` describe the primary sound. Where a range was regenerated,
    the measurements are those of the range.

    Args:
        seed: Of its noise.
        stems: By role, the primary stem first.
        produced_energy: Energy of the sound, in nats, on the grid of the requested energy.
        energy_mae_nats: Mean absolute difference of the two.
        energy_correlation: Pearson's correlation of the two, -1 to 1; None where one of them is constant.
        text_score: How well the sound matches its prompt, 0 to 1. None where the pack cannot tell, or does not know the
            prompt.
        score: How well the take follows all of the request, 0 to 1; see `rewas_engine.requests.scoring`.
        faults: Reasons not to use the take.
        replaced_seed: Seed of the take with faults that this one replaced.
        layers: Report of each layer, by name.
        produced_texture: Texture of the sound, in nats, on the grid of the requested one; None where none was
            requested.
        texture_error_nats: Mean absolute difference of the two textures where the requested energy is audible.
    """

    seed: int
    stems: Mapping[str, Stem]
    produced_energy: EnergyCurve
    energy_mae_nats: float
    energy_correlation: float | None
    text_score: float | None = None
    score: float = 0.0
    faults: tuple[FaultName, ...] = ()
    replaced_seed: int | None = None
    layers: Mapping[str, LayerReport] = field(default_factory=dict)
    produced_texture: TextureCurve | None = None
    texture_error_nats: float | None = None

    def mix(self) -> Stem:
        """The sum of the stems, exact to the last bit."""
        first = next(iter(self.stems.values()))
        total = sum((stem.waveform for stem in self.stems.values()), np.zeros_like(first.waveform))
        return Stem(MIX, total, first.sample_rate_hz)


@dataclass(frozen=True, kw_only=True)
class GenerationResult:
    """The takes, the best first, and all that is needed to generate them again.

    Args:
        clip: The clip, with its duration filled in.
        pack: The pack.
        prompt: The prompt.
        takes: The takes, the best first.
        settings: How the takes were sampled, with the defaults of the pack filled in.
        control: What the primary sound followed, as requested.
        output: What the stems are like, as requested.
        requested_energy: The energy that the primary sound followed, in nats, at the mel frame rate of the pack: as
            requested, or estimated.
        requested_texture: The requested texture, in nats, at the same rate; None where there was none.
        cuts_s: Seconds from the start of the clip at which the primary sound starts anew.
        conflict_policy: What was to happen where the video contradicts the prompt.
        conflict: The result of that check; None where there was none.
        timings_s: Seconds spent on each stage of the work.
    """

    clip: ProbedClip
    pack: PackInfo
    prompt: str
    takes: tuple[Take, ...]
    settings: SamplingSettings
    control: Control
    output: Output
    requested_energy: EnergyCurve
    requested_texture: TextureCurve | None = None
    cuts_s: tuple[Fraction, ...] = ()
    conflict_policy: ConflictPolicy = "off"
    conflict: ConflictReport | None = None
    timings_s: Mapping[str, float] = field(default_factory=dict)
