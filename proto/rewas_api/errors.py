"""Errors for the user: what happened, and what to do about it."""

from __future__ import annotations

from enum import IntEnum

from rewas_api.v1 import rewas_pb2

PROBLEM_METADATA_KEY = "rewas-problem-bin"
"""Trailing metadata key of a failed call; its value is a serialised rewas.v1.Problem."""


class ProblemKind(IntEnum):
    """The kinds of problem that a program may want to treat differently, with the numbers of the contract."""

    UNSPECIFIED = 0
    SETTINGS = 1
    MEDIA = 2
    PACK = 3
    TIMELINE = 4
    PERMISSION = 5
    RESOURCES = 6
    INTERNAL = 7
    NOT_FOUND = 8
    SERVER = 9
    CONFLICT = 10
    ACCESS = 11


class ProblemError(Exception):
    """A problem that the user can do something about.

    Args:
        what: One sentence on what happened. Names the clip, file or field.
        remedy: One sentence on what to do about it.
        kind: The kind of problem.
    """

    def __init__(self, what: str, remedy: str, kind: ProblemKind = ProblemKind.INTERNAL) -> None:
        super().__init__(what, remedy, kind)
        self.what = what
        self.remedy = remedy
        self.kind = kind

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}".strip()

    def __reduce__(self) -> tuple[type[ProblemError], tuple[str, str, ProblemKind]]:
        # Errors of a cluster's replicas arrive pickled, and subclasses take other arguments.
        return ProblemError, (self.what, self.remedy, self.kind)

    def to_proto(self) -> rewas_pb2.Problem:
        """Convert to the contract's message."""
        return rewas_pb2.Problem(what=self.what, remedy=self.remedy, kind=rewas_pb2.ProblemKind.Name(self.kind))

    @classmethod
    def from_proto(cls, problem: rewas_pb2.Problem) -> ProblemError:
        """Convert from the contract's message. An unknown kind becomes UNSPECIFIED."""
        return ProblemError(problem.what, problem.remedy, _known_kind(problem.kind))


class SettingsProblem(ProblemError):
    """A setting, an option or a value in a file of the user is not valid."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy, ProblemKind.SETTINGS)


class TimelineProblem(ProblemError):
    """A timeline cannot be read, or a clip in it cannot have sound."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy, ProblemKind.TIMELINE)


class ServerUnavailable(ProblemError):
    """No server answers at the address."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy, ProblemKind.SERVER)


class ContractMismatch(ProblemError):
    """Server and client use different contracts, or the server is not a ReWaS server."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy, ProblemKind.SERVER)


class JobFailed(ProblemError):
    """A job failed. job: its final snapshot."""

    def __init__(self, job: rewas_pb2.Job) -> None:
        problem = job.problem
        super().__init__(
            problem.what or f"The job {job.id} failed.",
            problem.remedy or "See the server's log for the reason.",
            _known_kind(problem.kind),
        )
        self.job = job


class JobCancelled(ProblemError):
    """A job was cancelled. job: its final snapshot."""

    def __init__(self, job: rewas_pb2.Job) -> None:
        super().__init__(
            f"The job {job.name or job.id} was cancelled.", "Start it again to get a result.", ProblemKind.SETTINGS
        )
        self.job = job


def _known_kind(number: int) -> ProblemKind:
    try:
        return ProblemKind(number)
    except ValueError:
        return ProblemKind.UNSPECIFIED


__all__ = [
    "PROBLEM_METADATA_KEY",
    "ContractMismatch",
    "JobCancelled",
    "JobFailed",
    "ProblemError",
    "ProblemKind",
    "ServerUnavailable",
    "SettingsProblem",
    "TimelineProblem",
]
