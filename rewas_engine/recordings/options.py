"""Options of a performance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rewas_engine.checks import check_integer, check_range
from rewas_engine.errors import SettingsError

TailName = Literal["curve", "natural"]
"""Whether the tail of a strike follows the curve ("curve") or decays as recorded ("natural")."""
RoomName = Literal["in", "out"]
"""Whether strikes keep the decay of the room ("in"), or it is reduced so that they sound dry ("out")."""
MAX_TIMING_VARIATION_S = 0.1
MAX_PITCH_VARIATION_CENTS = 1200.0
MAX_PLACE = 10**6


@dataclass(frozen=True)
class PerformanceOptions:
    """Options of a performance.

    Attributes:
        place: Which recordings to perform: 0 for those nearest to the prompt, 1 for the next ones, and so on.
        tail: Whether the tails of strikes follow the curve or decay as recorded.
        room: Whether strikes keep the decay of the room. Steady sounds always keep it.
        pitch_variation_cents: Largest random pitch change of a strike, up or down.
        timing_variation_s: Largest random time shift of a strike, before or after the requested time.

    Raises:
        SettingsError: A value is out of range.
    """

    place: int = 0
    tail: TailName = "curve"
    room: RoomName = "in"
    pitch_variation_cents: float = 20.0
    timing_variation_s: float = 0.0

    def __post_init__(self) -> None:
        check_integer("place", self.place, 0, MAX_PLACE)
        for name, value, known in (
            ("tail", self.tail, get_args(TailName)),
            ("room", self.room, get_args(RoomName)),
        ):
            if value not in known:
                raise SettingsError(f"{name} is {value!r}.", f"Give {' or '.join(known)}.")
        check_range("pitch_variation_cents", self.pitch_variation_cents, 0.0, MAX_PITCH_VARIATION_CENTS)
        check_range("timing_variation_s", self.timing_variation_s, 0.0, MAX_TIMING_VARIATION_S)
