"""Spectral texture: which bands of a sound stand out, over time, whatever its energy."""

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
"""Bands of equal numbers of mel bins. At 16 kHz and 64 bins they meet at about 770, 1700 and 3600 Hz."""
TEXTURE_BANDS = len(BAND_NAMES)
MAX_BAND_NATS = 12.0
"""No band of any sound stands further from the mean of all."""
AUDIBLE_MARGIN_NATS = 1.0
"""Where the energy is less than this above its lowest there is no texture that could be right or wrong."""
_TILT = np.linspace(-0.5, 0.5, TEXTURE_BANDS)
_RATE_HZ = Fraction(100)


@dataclass(frozen=True, eq=False)
class TextureCurve(SampledCurve):
    """How far each band of a sound stands above its energy, over time.

    values: [T, 4] float32, nats; from the low band to the high one, as BAND_NAMES. Only the differences between bands
        count: how loud the sound is says its energy. What is common to all four is taken off. Value i stands at
        (i + 0.5) / rate_hz seconds after the clip's first frame.
    rate_hz: values per second, exact. source: "audio" or "user".

    Raises SettingsError for an empty curve, one that has not four bands, a rate that is not positive, a value that is
    not finite, or a band more than MAX_BAND_NATS from the mean of all.
    """

    values: FloatArray
    rate_hz: Fraction
    source: str = "user"

    def __post_init__(self) -> None:
        values, rate_hz = validate_samples(self.values, self.rate_hz, "texture curve")
        if values.ndim != 2 or values.shape[1] != TEXTURE_BANDS or len(values) == 0:
            raise SettingsError(
                f"The texture curve is empty or not of {TEXTURE_BANDS} bands.",
                f"Give a row of {TEXTURE_BANDS} numbers for each moment: {', '.join(BAND_NAMES)}.",
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
        """Brightness [T]: how far a straight line through the bands rises from the low band to the high one."""
        return np.asarray(self.values @ _TILT / (_TILT @ _TILT))

    def with_duration(self, duration_s: Fraction) -> TextureCurve:
        """The curve cut to a duration, or held at its end up to it. Raises SettingsError for one not above 0."""
        if not duration_s > 0:
            raise SettingsError(f"The texture curve shall last {float(duration_s):g} s.", "Give a duration above 0 s.")
        count = math.ceil(duration_s * self.rate_hz)
        places = np.minimum(np.arange(count), len(self.values) - 1)
        return TextureCurve(self.values[places], self.rate_hz, self.source)


def flat_texture(*, duration: Seconds, tilt_nats: float = 0.0) -> TextureCurve:
    """One texture throughout a clip. duration: seconds. tilt_nats: how far the high band stands above the low one.

    Bands between them lie on a straight line: 0 has all alike, above 0 is bright, below 0 dark.
    Raises SettingsError for a tilt that no sound has.
    """
    duration_s = exact_seconds(duration, "The duration of the texture curve")
    if duration_s <= 0:
        raise SettingsError(f"The texture curve shall last {float(duration_s):g} s.", "Give a duration above 0 s.")
    if not abs(tilt_nats) <= 2 * MAX_BAND_NATS:
        raise SettingsError(
            f"The texture's tilt is {tilt_nats:g} nats.",
            f"Give a number from {-2 * MAX_BAND_NATS:g} to {2 * MAX_BAND_NATS:g}.",
        )
    return TextureCurve(
        np.tile(tilt_bands(tilt_nats), (math.ceil(duration_s * _RATE_HZ), 1)).astype(np.float32), _RATE_HZ
    )


def tilt_bands(tilt_nats: float) -> NDArray[np.float64]:
    """Bands [4] on a straight line that rises by so much from the low band to the high one."""
    return np.asarray(tilt_nats * _TILT)


def texture_error(wanted: NDArray[np.floating], made: NDArray[np.floating], energy: FloatArray) -> float:
    """Mean absolute difference in nats of textures [T, bands] over the frames in which the request can be heard.

    energy: [T] nats, the one that is asked for; frames near its lowest are not counted, but where it is steady.
    """
    heard = energy > energy.min() + AUDIBLE_MARGIN_NATS
    return float(np.abs(wanted - made)[heard if heard.any() else slice(None)].mean())
