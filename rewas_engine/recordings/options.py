"""Options of a performance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rewas_engine.checks import check_range

TailName = Literal["curve", "natural"]
"""Whether the tail of a strike follows the curve ("curve") or decays as recorded ("natural")."""
MAX_TIMING_VARIATION_S = 0.1
MAX_PITCH_VARIATION_CENTS = 1200.0


@dataclass(frozen=True)
class PerformanceOptions:
    """Options of a performance.

    Attributes:
        tail: Whether the tails of strikes follow the curve or decay as recorded.
        pitch_variation_cents: Largest random change of a strike's pitch, up or down.
        timing_variation_s: Largest random displacement of a strike, before or after the requested time.

    Raises:
        SettingsError: A value is out of range.
    """

    tail: TailName = "curve"
    pitch_variation_cents: float = 20.0
    timing_variation_s: float = 0.0

    def __post_init__(self) -> None:
        check_range("pitch_variation_cents", self.pitch_variation_cents, 0.0, MAX_PITCH_VARIATION_CENTS)
        check_range("timing_variation_s", self.timing_variation_s, 0.0, MAX_TIMING_VARIATION_S)
