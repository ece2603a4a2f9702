"""What the command line says of cuts: found in the picture, or given as times."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from rewas_api.v1 import rewas_pb2
from rewas_cli.commands.shared_options import seconds
from rewas_server.work.translation import rational

IGNORED, FOUND = "ignore", "new-sound"


@dataclass(frozen=True)
class CutOptions:
    """Where a sound begins anew. found: at the cuts that are found. times_s: at these, from the clip's start."""

    found: bool = False
    times_s: tuple[Fraction, ...] = ()

    @classmethod
    def parsed(cls, text: str | None) -> CutOptions:
        """What --cuts says. Raises typer.BadParameter for what is neither a word of ours nor times."""
        if text is None or text == IGNORED:
            return cls()
        if text == FOUND:
            return cls(found=True)
        return cls(times_s=tuple(seconds(part, "--cuts") for part in text.split(",")))

    def messages(self) -> list[rewas_pb2.Rational]:
        """The times as they travel."""
        return [rational(time_s) for time_s in self.times_s]
