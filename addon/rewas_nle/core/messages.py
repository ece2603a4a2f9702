# SPDX-License-Identifier: GPL-3.0-or-later
"""What threads tell the main thread. Plain values only: nothing in here points into Blender or into a connection."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path


@dataclass(frozen=True)
class Trouble:
    """What went wrong, in one sentence, and what to do about it, in another."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}".strip()


@dataclass(frozen=True)
class PackChoice:
    """A model pack that the server offers.

    licence, permits: what holds for every sound that it makes. trouble: why it cannot be used, "" where it can.
    """

    name: str
    summary: str
    licence: str
    permits: str
    trouble: str

    @property
    def terms(self) -> str:
        """Its licence and what that permits, for people."""
        return f"{self.name}: {self.licence}. {self.permits}".strip()


@dataclass(frozen=True)
class ServerState:
    """What is known of the server. trouble: why it cannot be used; None where it answers.

    address: "HOST:PORT". device: where the model runs, "" until known. jobs_ahead: jobs that wait or run.
    """

    address: str
    trouble: Trouble | None
    version: str = ""
    device: str = ""
    default_pack: str = ""
    worker_ready: bool = False
    jobs_ahead: int = 0
    packs: tuple[PackChoice, ...] = ()

    def pack(self, name: str) -> PackChoice | None:
        """The usable pack of a name, "" being the server's default; None where the server has told of none."""
        wanted = name.strip() or self.default_pack
        return next((pack for pack in self.packs if pack.name == wanted and not pack.trouble), None)


@dataclass(frozen=True)
class JobAccepted:
    """The server has stored the job: key is ours, job_id the server's."""

    key: str
    job_id: str


@dataclass(frozen=True)
class JobProgress:
    """A snapshot of a job. state: "queued", "running", "cancelling"; stage: "decode", "sample", …, "" while none.

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
    """A stem that has arrived: its role, its WAV file, and what is in it."""

    role: str
    path: Path
    sample_rate_hz: int
    channels: int
    samples: int


@dataclass(frozen=True)
class ArrivedTake:
    """A take whose stems have arrived. number: from 1. energy_correlation: None where a curve is constant."""

    number: int
    seed: int
    stems: tuple[StemFile, ...]
    energy_mae_nats: float
    energy_correlation: float | None


@dataclass(frozen=True)
class MadeWith:
    """What the sound was made with, for its provenance; every default filled in."""

    pack: str
    pack_version: str
    licence: str
    num_steps: int
    guidance_scale: float
    control_strength: float


@dataclass(frozen=True)
class StemsArrived:
    """Every stem of a job lies in the stems folder. duration_s: how long the server read the clip to be."""

    key: str
    job_id: str
    made_with: MadeWith
    duration_s: Fraction
    takes: tuple[ArrivedTake, ...]


@dataclass(frozen=True)
class JobFailed:
    """The job ended without a result, or never began."""

    key: str
    trouble: Trouble


@dataclass(frozen=True)
class JobCancelled:
    """The job was stopped on request."""

    key: str


Message = ServerState | JobAccepted | JobProgress | StemsArrived | JobFailed | JobCancelled
