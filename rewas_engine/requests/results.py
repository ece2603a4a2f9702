"""Results of a request: takes, layer reports and the settings behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import numpy as np

from rewas_engine.checks import ControlName
from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.curves.texture import TextureCurve
from rewas_engine.matching.report import ConflictPolicy, ConflictReport
from rewas_engine.media.probe import ProbedClip
from rewas_engine.media.stem import MIX, Stem
from rewas_engine.packs.description import PackInfo

FaultName = Literal["silent", "clipped", "stuck", "wrong"]


@dataclass(frozen=True)
class LayerReport:
    """How well a layer beside the primary sound does what was asked of it; see `Take` for what the fields mean."""

    seed: int
    requested: EnergyCurve
    produced: EnergyCurve
    energy_mae_nats: float
    energy_correlation: float | None
    text_score: float | None
    faults: tuple[FaultName, ...]


@dataclass(frozen=True)
class Take:
    """The same request with one seed.

    stems: by role, the primary one first. All but `score`, `faults` and `layers` are the primary sound's.

    produced: energy of what was made, on the grid of the requested curve. energy_mae_nats: mean absolute difference to
    the request; of a sound made again in part, in that part, as all that follows. energy_correlation: Pearson's, None
    where either curve is constant. text_score: how well it does what the words say, 0 to 1, None where the pack cannot
    tell or does not know the words. score: how well it does all that was asked, 0 to 1; see
    `rewas_engine.requests.scoring`.
    faults: why it should not be used, if it should not. replaced_seed: the seed of the take that it replaced for its
    faults. layers: of each layer beside the primary sound. produced_texture: of what was made, on the grid of the
    requested one. texture_error_nats: mean absolute difference of the two where the request can be heard.
    Both are None where no texture was asked for.
    """

    seed: int
    stems: Mapping[str, Stem]
    produced: EnergyCurve
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
        """The sum of the stems, to the last bit."""
        first = next(iter(self.stems.values()))
        total = sum((stem.waveform for stem in self.stems.values()), np.zeros_like(first.waveform))
        return Stem(MIX, total, first.sample_rate_hz)


@dataclass(frozen=True)
class GenerationResult:
    """The takes, the best first, and all that is needed to make them again.

    requested: the energy asked for, at the pack's mel frame rate. cuts_s: seconds from the clip's start at which the
    primary sound begins anew. conflict_policy, conflict: what was to be done about words that contradict the picture,
    and the verdict; None where it is off. prompt_weight: how much the prompt counted, 0 to 1; below 1 where it was
    softened. timings_s: seconds by stage. requested_texture: the texture asked for, at the same rate as the energy;
    None where it was left to the words.
    """

    clip: ProbedClip
    pack: PackInfo
    prompt: str
    requested: EnergyCurve
    takes: tuple[Take, ...]
    num_steps: int
    guidance_scale: float
    control_strength: float
    negative_prompt: str = ""
    control_part: tuple[float, float] = (0.0, 1.0)
    control: ControlName = "energy"
    loops: bool = False
    cuts_s: tuple[Fraction, ...] = ()
    conflict_policy: ConflictPolicy = "off"
    conflict: ConflictReport | None = None
    prompt_weight: float = 1.0
    timings_s: Mapping[str, float] = field(default_factory=dict)
    sampler: str = "ddim"
    requested_texture: TextureCurve | None = None
