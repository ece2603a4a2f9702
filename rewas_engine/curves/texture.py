"""Texture curves: the balance of frequency bands over time, independent of energy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.curve import FloatArray, SampledCurve, validate_samples
from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import Seconds, exact_seconds

BAND_NAMES = ("low", "low_mid", "high_mid", "high")
"""Bands with equal numbers of mel bins. At 16 kHz and 64 bins their borders are near 770, 1700 and 3600 Hz."""
TEXTURE_BANDS = len(BAND_NAMES)
MAX_BAND_NATS = 12.0
"""Largest distance of a band from the mean of all bands."""
AUDIBLE_MARGIN_NATS = 1.0
"""Texture is only compared where the energy is at least this far above its minimum."""
_TILT = np.linspace(-0.5, 0.5, TEXTURE_BANDS)
_RATE_HZ = Fraction(100)


@dataclass(frozen=True, eq=False)
class TextureCurve(SampledCurve):
    """Level of each frequency band relative to the energy, over time.

    Attributes:
        values: `[T, 4]` float32 in nats, in the order of BAND_NAMES. The mean of the bands is subtracted, because
            the energy describes loudness. Value i belongs to (i + 0.5) / rate_hz seconds after the clip's start.
        rate_hz: Values per second, exact.
        source: "audio" or "user".

    Raises:
        SettingsError: The curve is empty or does not have four bands, the rate is not positive, a value is not finite,
            or a band is more than MAX_BAND_NATS from the mean.
    """

    values: FloatArray
    rate_hz: Fraction
    source: str = "user"

    def __post_init__(self) -> None:
        values, rate_hz = validate_samples(self.values, self.rate_hz, "texture curve")
        if values.ndim != 2 or values.shape[1] != TEXTURE_BANDS or len(values) == 0:
            raise SettingsError(
                f"The texture curve is empty or does not have {TEXTURE_BANDS} bands.",
                f"Give {TEXTURE_BANDS} numbers for each point in time: {', '.join(BAND_NAMES)}.",
            )
        centred = values - values.mean(axis=1, keepdims=True)
        place, band = np.unravel_index(np.abs(centred).argmax(), centred.shape)
        if abs(centred[place, band]) > MAX_BAND_NATS:
            raise SettingsError(
                f"Value {place} of the texture curve has its {BAND_NAMES[band]} band {centred[place, band]:+.1f} nats "
                "from the mean of all bands, further than in any sound.",
                f"Keep every band within {MAX_BAND_NATS:g} nats of their mean.",
            )
        centred.setflags(write=False)
        object.__setattr__(self, "values", centred)
        object.__setattr__(self, "rate_hz", rate_hz)

    @property
    def tilt_nats(self) -> NDArray[np.float64]:
        """Brightness `[T]`: rise of a straight line fitted to the bands, from the low band to the high band."""
        return np.asarray(self.values @ _TILT / (_TILT @ _TILT))

    def with_duration(self, duration_s: Fraction) -> TextureCurve:
        """Cut the curve to a duration, or hold its last value. Raises SettingsError if the duration is not above 0."""
        if not duration_s > 0:
            raise SettingsError(
                f"The duration of the texture curve is {float(duration_s):g} s.", "Give a duration above 0 s."
            )
        count = math.ceil(duration_s * self.rate_hz)
        places = np.minimum(np.arange(count), len(self.values) - 1)
        return TextureCurve(self.values[places], self.rate_hz, self.source)


def flat_texture(*, duration: Seconds, tilt_nats: float = 0.0) -> TextureCurve:
    """Return a constant texture with a tilt.

    Args:
        duration: Seconds.
        tilt_nats: Level of the high band above the low band, within ±24. The bands between lie on a straight line.
            Above 0 is bright, below 0 dark.

    Raises:
        SettingsError: A value is out of bounds.
    """
    duration_s = exact_seconds(duration, "The duration of the texture curve")
    if duration_s <= 0:
        raise SettingsError(
            f"The duration of the texture curve is {float(duration_s):g} s.", "Give a duration above 0 s."
        )
    if not abs(tilt_nats) <= 2 * MAX_BAND_NATS:
        raise SettingsError(
            f"The texture's tilt is {tilt_nats:g} nats.",
            f"Give a number from {-2 * MAX_BAND_NATS:g} to {2 * MAX_BAND_NATS:g}.",
        )
    return TextureCurve(
        np.tile(tilt_bands(tilt_nats), (math.ceil(duration_s * _RATE_HZ), 1)).astype(np.float32), _RATE_HZ
    )


def tilt_bands(tilt_nats: float) -> NDArray[np.float64]:
    """Bands `[4]` on a straight line that rises by `tilt_nats` from the low band to the high band."""
    return np.asarray(tilt_nats * _TILT)


def texture_error(requested: NDArray[np.floating], produced: NDArray[np.floating], energy: FloatArray) -> float:
    """Mean absolute difference of textures `[T, bands]` in nats over the audible frames.

    Args:
        requested: Requested texture.
        produced: Texture of the output.
        energy: Requested energy `[T]` in nats. Frames near its minimum are left out, unless it is constant.
    """
    audible = energy > energy.min() + AUDIBLE_MARGIN_NATS
    return float(np.abs(requested - produced)[audible if audible.any() else slice(None)].mean())
