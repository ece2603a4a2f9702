"""Edits that only a texture can undergo; `rewas_engine.curve_edits` holds those that it shares with energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rewas_engine.curve import Nats
from rewas_engine.curve_edits import TextureEdit, check_number, written
from rewas_engine.errors import SettingsError
from rewas_engine.texture import BAND_NAMES, STEEPEST_NATS, TextureCurve, tilted

LARGEST_TILT_NATS = 2 * STEEPEST_NATS


@dataclass(frozen=True)
class Tilt(TextureEdit):
    """Make it brighter, or darker below 0. nats: how far the high band rises against the low one; within ±24."""

    nats: float

    def __post_init__(self) -> None:
        check_number("The tilt", self.nats, -LARGEST_TILT_NATS, LARGEST_TILT_NATS, "nats")

    def _textured(self, texture: TextureCurve) -> Nats:
        return texture.values + tilted(self.nats)

    def __str__(self) -> str:
        return f"tilt {written(self.nats)}"


@dataclass(frozen=True)
class RaiseBand(TextureEdit):
    """Raise one band against the others, or lower it. band: of BAND_NAMES. nats: within ±24."""

    band: str
    nats: float

    def __post_init__(self) -> None:
        if self.band not in BAND_NAMES:
            raise SettingsError(f"There is no band {self.band!r} to raise.", f"Choose one of {', '.join(BAND_NAMES)}.")
        check_number(f"The rise of the {self.band} band", self.nats, -LARGEST_TILT_NATS, LARGEST_TILT_NATS, "nats")

    def _textured(self, texture: TextureCurve) -> Nats:
        values = texture.values.astype(np.float64)
        values[:, BAND_NAMES.index(self.band)] += self.nats
        return values

    def __str__(self) -> str:
        return f"raise {self.band} {written(self.nats)}"
