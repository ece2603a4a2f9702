"""The --cuts option: cuts detected in the video, or given as times."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from rewas_api.v1 import rewas_pb2
from rewas_cli.commands.shared_options import parse_time_s
from rewas_server.work.translation import rational

_IGNORE, _NEW_SOUND = "ignore", "new-sound"


@dataclass(frozen=True)
class CutOptions:
    """Where a new sound starts.

    Args:
        detect: Whether it starts at each cut detected in the video.
        times_s: Times at which it starts, in seconds from the start of the clip.
    """

    detect: bool = False
    times_s: tuple[Fraction, ...] = ()

    @classmethod
    def from_text(cls, text: str | None) -> CutOptions:
        """Parse the value of --cuts. Raises typer.BadParameter if it is neither a keyword nor times."""
        if text is None or text == _IGNORE:
            return cls()
        if text == _NEW_SOUND:
            return cls(detect=True)
        return cls(times_s=tuple(parse_time_s(part, "--cuts") for part in text.split(",")))

    def to_messages(self) -> list[rewas_pb2.Rational]:
        """Return the times as messages."""
        return [rational(time_s) for time_s in self.times_s]
