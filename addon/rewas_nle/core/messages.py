# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages from threads to the main thread. Plain values only, without references to Blender or a connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from ..timeline.takes import EnergyCurve, StemPack, UsedRecording


@dataclass(frozen=True)
class Problem:
    """A problem to show: one sentence on what happened, and one on what to do about it."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}".strip()


@dataclass(frozen=True)
class PackChoice:
    """A model pack that the server offers.

    licence, permits: terms of every sound that it generates. problem: why it cannot be used, or "". controls: what
    steers its sounds, such as "energy" and "texture". checks_conflict: whether it can compare prompts with the picture.
    is_library: whether it performs recordings instead of generating sounds. sample_rate_hz: of its sounds; 0 if
    unknown. reads_words: whether the energy that it estimates from the picture depends on the prompt.
    """

    name: str
    summary: str
    licence: str
    permits: str
    problem: str
    controls: tuple[str, ...] = ("energy",)
    checks_conflict: bool = False
    is_library: bool = False
    sample_rate_hz: int = 0
    reads_words: bool = False

    @property
    def terms(self) -> str:
        """The licence and what it permits, as shown to the user."""
        # A library of recordings may not state a licence.
        return " ".join(filter(None, (f"{self.name}:", self.licence and f"{self.licence}.", self.permits)))

    @property
    def properties(self) -> str:
        """What it is, its sample rate and its licence, for a list of packs."""
        rate = f"{self.sample_rate_hz / 1000:g} kHz" if self.sample_rate_hz else ""
        kind = "plays recordings" if self.is_library else ""
        return ", ".join(part for part in (kind, rate, self.licence) if part)


@dataclass(frozen=True)
class ServerState:
    """The state of the server. problem: why it cannot be used, or None.

    address: "HOST:PORT". device: where the model runs, "" until known. jobs_ahead: number of jobs waiting or running.
    is_absent: whether the problem is only that nothing answers at the address.
    """

    address: str
    problem: Problem | None
    is_absent: bool = False
    version: str = ""
    device: str = ""
    default_pack: str = ""
    worker_ready: bool = False
    jobs_ahead: int = 0
    packs: tuple[PackChoice, ...] = ()

    def pack(self, name: str) -> PackChoice | None:
        """Return the usable pack with this name, or with "" the server's default pack. None if there is none."""
        pack_name = name.strip() or self.default_pack
        return next((pack for pack in self.packs if pack.name == pack_name and not pack.problem), None)


@dataclass(frozen=True)
class JobAccepted:
    """The server has stored the job. key: of the request. job_id: the server's."""

    key: str
    job_id: str


@dataclass(frozen=True)
class JobProgress:
    """A snapshot of a job. state: "sending", "queued", "running", "paused", "cancelling"; stage: "upload", "decode",
    "sample", …, "" while none.

    step, total_steps: finished steps of the stage. fraction: finished part of the job. time_left_s: None while unknown.
    """

    key: str
    revision: int
    state: str
    stage: str
    step: int
    total_steps: int
    fraction: float
    time_left_s: float | None


@dataclass(frozen=True)
class StemFile:
    """A received stem: its role, WAV file and format."""

    role: str
    path: Path
    sample_rate_hz: int
    channels: int
    samples: int


@dataclass(frozen=True)
class ReceivedTake:
    """A take whose stems were received.

    number: from 1. energy_correlation: None if a curve is constant. text_score, score: 0 to 1, None if the pack cannot
    rate the take. avh_score: -1 to 1, None unless the takes are ranked by it. faults: reasons not to use it, such as
    "silent". output_energy: of the primary sound. recordings: those in its stems. layer_packs: those of layers that
    another pack made.
    """

    number: int
    seed: int
    stems: tuple[StemFile, ...]
    energy_mae_nats: float
    energy_correlation: float | None
    text_score: float | None = None
    score: float | None = None
    avh_score: float | None = None
    faults: tuple[str, ...] = ()
    output_energy: EnergyCurve | None = None
    recordings: tuple[UsedRecording, ...] = ()
    layer_packs: tuple[StemPack, ...] = ()


@dataclass(frozen=True)
class GenerationInfo:
    """How the sound was generated, for its provenance, with defaults filled in.

    settings_json: all settings, as the JSON of the contract's SoundSettings.
    """

    pack: str
    pack_version: str
    licence: str
    num_inference_steps: int
    guidance_scale: float
    control_strength: float
    settings_json: str = ""


@dataclass(frozen=True)
class StemsReceived:
    """All stems of a job are in the stems folder.

    duration_s: duration of the clip as read by the server. notes: texts of the notes about the sound.
    requested_energy: of the primary sound.
    """

    key: str
    job_id: str
    generation_info: GenerationInfo
    duration_s: Fraction
    takes: tuple[ReceivedTake, ...]
    notes: tuple[str, ...] = ()
    requested_energy: EnergyCurve | None = None

    @property
    def stem_paths(self) -> tuple[Path, ...]:
        """The files of all takes."""
        return tuple(stem.path for take in self.takes for stem in take.stems)

    def with_moved_stems(self, moved: Mapping[Path, Path]) -> StemsReceived:
        """Return the message with other paths for files that have moved."""
        takes = (
            replace(take, stems=tuple(replace(stem, path=moved.get(stem.path, stem.path)) for stem in take.stems))
            for take in self.takes
        )
        return replace(self, takes=tuple(takes))


@dataclass(frozen=True)
class JobFailed:
    """The job failed or could not be submitted."""

    key: str
    problem: Problem


@dataclass(frozen=True)
class JobCancelled:
    """The job was cancelled."""

    key: str


@dataclass(frozen=True)
class ServerLost:
    """The server of these jobs does not answer. They continue when it is back."""

    keys: tuple[str, ...]
    problem: Problem


@dataclass(frozen=True)
class ServerFound:
    """The server of these jobs answers again."""

    keys: tuple[str, ...]


JobMessage = JobAccepted | JobProgress | StemsReceived | JobFailed | JobCancelled
Message = ServerState | ServerLost | ServerFound | JobMessage
