"""What the engine hands back: stems, takes, reports and progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rewas_engine.energy import EnergyCurve
from rewas_engine.texture import TextureCurve

StageName = Literal["decode", "energy", "conflict", "sample", "vocode"]
VerdictName = Literal["agree", "unsure", "conflict", "unsupported"]
PRIMARY = "primary"
"""The role of the stem that a clip is made for."""
ControlName = Literal["energy", "onsets"]
MIX = "mix"
"""The role of the sum of all stems."""
FaultName = Literal["silent", "clipped", "stuck", "wrong"]
ConflictPolicy = Literal["off", "warn", "soften", "refuse"]
"""What is done about words that contradict the picture: nothing is checked; the verdict is told; the prompt loses
weight; nothing is made."""


@dataclass(frozen=True)
class Progress:
    """Where the work is.

    stage: the running stage. step, total_steps: finished steps of it; in "sample" one step is one sampling step.
    fraction: finished part of the whole call, 0 to 1; never falls.
    """

    stage: StageName
    step: int
    total_steps: int
    fraction: float


class CancelSignal(Protocol):
    """Anything that can say that the caller wants to stop; a threading.Event does."""

    def is_set(self) -> bool: ...


ProgressCallback = Callable[[Progress], object]


@dataclass(frozen=True)
class PackInfo:
    """What a pack says of itself: see `rewas_engine.packs`.

    checks_conflict: whether it holds words against pictures by parts of its own. scores_words: whether it can say how
    well a sound does what words say.
    """

    name: str
    version: str
    summary: str
    licence: str
    permits: str
    sample_rate_hz: int
    controls: tuple[str, ...]
    path: Path
    checks_conflict: bool
    scores_words: bool


@dataclass(frozen=True)
class ClipRead:
    """A clip as it was read: every default resolved against the media. frame_rate: 0 where it has no picture."""

    name: str
    path: Path
    start_s: Fraction
    duration_s: Fraction
    frame_rate: Fraction


@dataclass(frozen=True, eq=False)
class Stem:
    """One sound of a take.

    role: "primary", "ambience", … waveform: [channels, samples] float32 within ±1. sample_rate_hz: its rate.
    """

    role: str
    waveform: NDArray[np.float32]
    sample_rate_hz: int

    @classmethod
    def read(cls, path: str | Path, role: str = PRIMARY) -> Stem:
        """A stem from a sound file, every sample as it stands there. Raises MediaError where it cannot be read."""
        from rewas_engine.media.audio import read_whole_sound

        waveform, rate_hz = read_whole_sound(path)
        return cls(role, waveform, rate_hz)

    def save(self, path: str | Path) -> Path:
        """Write the stem as 24-bit WAV; whole or not at all. Raises OSError where the folder cannot be written."""
        from rewas_engine.media.audio import write_wav

        return write_wav(path, self.waveform, self.sample_rate_hz)


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
    tell or does not know the words. score: how well it does all that was asked, 0 to 1; see `rewas_engine.takes`.
    faults: why it should not be used, if it should not. instead_of: the seed of the take that it replaced for its
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
    instead_of: int | None = None
    layers: Mapping[str, LayerReport] = field(default_factory=dict)
    produced_texture: TextureCurve | None = None
    texture_error_nats: float | None = None

    def mix(self) -> Stem:
        """The sum of the stems, to the last bit."""
        first = next(iter(self.stems.values()))
        total = sum((stem.waveform for stem in self.stems.values()), np.zeros_like(first.waveform))
        return Stem(MIX, total, first.sample_rate_hz)


@dataclass(frozen=True)
class ConflictMoment:
    """A stretch of a clip whose picture shows something else than the words say.

    start_s, end_s: seconds from the clip's start. score: how probably it goes with the words, 0 to 1, on average.
    looks_like: the label that it goes with best.
    """

    start_s: Fraction
    end_s: Fraction
    score: float
    looks_like: str


@dataclass(frozen=True)
class Suggestion:
    """Words that a picture goes with. score: how probably, 0 to 1. source: whose they are, "pack" or "vggsound"."""

    words: str
    score: float
    source: Literal["pack", "vggsound"]


@dataclass(frozen=True)
class ConflictReport:
    """Whether words and picture contradict each other.

    verdict: "unsupported" where there is nothing that could tell. score: the probability that words and picture belong
    together, where right and wrong ones are equally many, 0 to 1; None where that is not supported. moments: where the
    picture shows something else, in order. suggestions: words that it goes with better, the best first; none where it
    goes with the prompt. encoder: what has looked.
    """

    verdict: VerdictName
    score: float | None
    explanation: str
    moments: tuple[ConflictMoment, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    encoder: str = ""


@dataclass(frozen=True)
class GenerationResult:
    """The takes, the best first, and all that is needed to make them again.

    requested: the energy asked for, at the pack's mel frame rate. cuts_s: seconds from the clip's start at which the
    primary sound begins anew. conflict_policy, conflict: what was to be done about words that contradict the picture,
    and the verdict; None where it is off. prompt_weight: how much the prompt counted, 0 to 1; below 1 where it was
    softened. timings_s: seconds by stage. requested_texture: the texture asked for, at the same rate as the energy;
    None where it was left to the words.
    """

    clip: ClipRead
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
