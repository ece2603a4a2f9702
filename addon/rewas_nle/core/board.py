# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of every job: what the panel shows. Messages fold into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from .messages import (
    JobAccepted,
    JobCancelled,
    JobFailed,
    JobProgress,
    Message,
    ServerState,
    StemsArrived,
    Trouble,
)

FINAL_STATES = frozenset({"done", "failed", "cancelled"})
_ACTIVE_STATE_LABELS = {
    "sending": "Sending",
    "queued": "Waiting for its turn",
    "running": "Running",
    "cancelling": "Stopping",
}
STAGE_LABELS = {
    "decode": "Reading the picture",
    "energy": "Estimating energy",
    "conflict": "Comparing words and picture",
    "sample": "Making sound",
    "vocode": "Forming the waveform",
    "deliver": "Writing the stems",
}


@dataclass(frozen=True)
class JobLine:
    """One job as the panel shows it.

    state: "sending", "queued", "running", "cancelling", "done", "failed", "cancelled". note: what became of it, for
    people; trouble: what went wrong.
    """

    key: str
    clip_name: str
    state: str = "sending"
    job_id: str = ""
    revision: int = 0
    stage: str = ""
    step: int = 0
    total_steps: int = 0
    fraction: float = 0.0
    time_left_s: float | None = None
    note: str = ""
    trouble: Trouble | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in FINAL_STATES

    @property
    def headline(self) -> str:
        """Where it stands, in a few words: "Making sound 12/25"."""
        if self.state == "running" and self.stage:
            steps = f" {self.step}/{self.total_steps}" if self.total_steps > 1 else ""
            return STAGE_LABELS.get(self.stage, self.stage.capitalize()) + steps
        return _ACTIVE_STATE_LABELS.get(self.state) or self.note or self.state.capitalize()


@dataclass(frozen=True)
class Board:
    """The server and the jobs, newest last."""

    server: ServerState | None = None
    jobs: Mapping[str, JobLine] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_busy(self) -> bool:
        """Whether a job is still under way."""
        return any(not job.is_finished for job in self.jobs.values())

    def with_job(self, line: JobLine) -> Board:
        """The board with a job added or changed."""
        return replace(self, jobs=MappingProxyType({**self.jobs, line.key: line}))

    def without_finished(self) -> Board:
        """The board with only those jobs that are under way."""
        under_way = {key: line for key, line in self.jobs.items() if not line.is_finished}
        return replace(self, jobs=MappingProxyType(under_way))


def fold(board: Board, message: Message) -> Board:
    """The board after a message. Old snapshots and anything after a job's end change nothing."""
    if isinstance(message, ServerState):
        return replace(board, server=message)
    line = board.jobs.get(message.key)
    if line is None or line.is_finished:
        return board
    return board.with_job(_update_progress(line, message))


def _update_progress(line: JobLine, message: Message) -> JobLine:
    match message:
        case JobAccepted():
            state = "queued" if line.state == "sending" else line.state
            return replace(line, job_id=message.job_id, state=state)
        case JobProgress() if message.revision > line.revision:
            # The server may not know yet that the user has pressed Cancel; the panel must not jump back.
            state = "cancelling" if line.state == "cancelling" else message.state
            return replace(
                line,
                state=state,
                revision=message.revision,
                stage=message.stage,
                step=message.step,
                total_steps=message.total_steps,
                fraction=max(line.fraction, message.fraction),
                time_left_s=message.time_left_s,
            )
        case StemsArrived():
            return replace(line, state="done", fraction=1.0, time_left_s=None, note="Done")
        case JobFailed():
            return replace(line, state="failed", time_left_s=None, note="Failed", trouble=message.trouble)
        case JobCancelled():
            return replace(line, state="cancelled", time_left_s=None, note="Cancelled")
    return line
