"""Results of a request: the takes and their settings."""

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
from rewas_engine.matching.report import ConflictPolicy, ConflictReport, Familiarity
from rewas_engine.media.probe import ProbedClip
from rewas_engine.media.stem import MIX, Stem, spread_channels
from rewas_engine.packs.description import PackInfo
from rewas_engine.recordings.credits import UsedRecording
from rewas_engine.recordings.options import PerformanceOptions
from rewas_engine.requests.notes import Note

FaultName = Literal["silent", "clipped", "stuck", "wrong"]


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """How well a layer follows its energy and its prompt; the fields mean the same as in `Take`.

    Attributes:
        pack: The pack that made the layer.
    """

    pack: PackInfo
    seed: int
    requested_energy: EnergyCurve
    produced_energy: EnergyCurve
    energy_mae_nats: float
    energy_correlation: float | None
    text_score: float | None
    faults: tuple[FaultName, ...]
    recordings: tuple[UsedRecording, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Take:
    """One version of the sound for a clip.

    All fields but `stems`, `score`, `faults` and `layers` describe the primary sound. If a range was regenerated, the
    measurements apply to that range.

    Args:
        seed: Seed of the noise.
        stems: Stems by role, the primary stem first.
        produced_energy: Energy of the sound, in nats, on the grid of the requested energy.
        energy_mae_nats: Mean absolute difference of the two energies.
        energy_correlation: Pearson correlation of the two energies, -1 to 1; None if one of them is constant.
        text_score: How well the sound matches its prompt, 0 to 1. None if the pack cannot judge it, or does not know
            the prompt.
        score: How well the take follows the whole request, 0 to 1; see `rewas_engine.requests.scoring`. None if the
            pack does not know a prompt of the take, or if the sound is silent, since such a score would mislead.
        faults: Reasons not to use the take.
        replaced_seed: Seed of the faulty take that this one replaced, if any.
        layers: Report of each layer, by name.
        produced_texture: Texture of the sound, in nats, on the grid of the requested texture; None if none was
            requested.
        texture_error_nats: Mean absolute difference of the two textures where the requested energy is audible.
        level_gain_db: Gain that brought the stems to the standard level, in dB; 0 at the level "raw". It contains
            neither the requested gains nor the reduction that keeps the true peak below -1 dBTP.
        reference_distance_db: How far the long-term spectrum of the sound is from that of the reference sound: the root
            of the mean squared difference over the mel bins, in dB. None without a reference, or if the sound is
            silent.
        recordings: The recordings in it, in the order of their first use; none if a model generated it.
        avh_score: AVHScore of all stems together, -1 to 1. None if takes are not ranked by it, or if the sound is
            silent.
    """

    seed: int
    stems: Mapping[str, Stem]
    produced_energy: EnergyCurve
    energy_mae_nats: float
    energy_correlation: float | None
    text_score: float | None = None
    score: float | None = None
    faults: tuple[FaultName, ...] = ()
    replaced_seed: int | None = None
    layers: Mapping[str, LayerReport] = field(default_factory=dict)
    produced_texture: TextureCurve | None = None
    texture_error_nats: float | None = None
    level_gain_db: float = 0.0
    reference_distance_db: float | None = None
    recordings: tuple[UsedRecording, ...] = ()
    avh_score: float | None = None

    def mix(self) -> Stem:
        """Return the exact sum of the stems. Stems with fewer channels use the first ones; see `spread_channels`."""
        stems = tuple(self.stems.values())
        channels = max(len(stem.waveform) for stem in stems)
        total = np.zeros((channels, stems[0].waveform.shape[1]), np.float32)
        for stem in stems:
            total += spread_channels(stem.waveform, channels)
        return Stem(MIX, total, stems[0].sample_rate_hz)


@dataclass(frozen=True, kw_only=True)
class GenerationResult:
    """The takes, the best first, and everything needed to generate them again.

    Args:
        clip: The clip, with its duration filled in.
        pack: The pack.
        prompt: The prompt.
        takes: The takes, the best first.
        settings: Sampling settings, with the defaults of the pack filled in; None if recordings were performed.
        performance: How recordings were performed; None if a model generated the sound. A place beyond the last
            recordings is counted again from the first.
        control: Requested control of the primary sound.
        output: Requested format of the stems.
        requested_energy: Energy that the primary sound followed, in nats, at the mel frame rate of the pack; as given
            in the request, or estimated.
        requested_texture: The requested texture, in nats, at the same rate; None if there was none.
        cuts_s: Seconds from the start of the clip at which the primary sound starts anew.
        conflict_policy: Conflict policy of the request.
        conflict: Result of the conflict check; None if there was none.
        notes: What the editor must know about the sound: little motion, a silent energy, prompts that the pack does not
            know, and a reference sound of which the pack follows only the spectrum.
        familiarity: How well the pack knows the prompt; None if it cannot tell.
        timings_s: Seconds spent on each stage.
    """

    clip: ProbedClip
    pack: PackInfo
    prompt: str
    takes: tuple[Take, ...]
    settings: SamplingSettings | None
    performance: PerformanceOptions | None = None
    control: Control
    output: Output
    requested_energy: EnergyCurve
    requested_texture: TextureCurve | None = None
    cuts_s: tuple[Fraction, ...] = ()
    conflict_policy: ConflictPolicy = "off"
    conflict: ConflictReport | None = None
    notes: tuple[Note, ...] = ()
    familiarity: Familiarity | None = None
    timings_s: Mapping[str, float] = field(default_factory=dict)
