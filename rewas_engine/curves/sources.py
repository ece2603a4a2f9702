"""Build energy and texture curves from points, levels and CSV files, and write them as CSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from rewas_engine.curves.energy import MAX_ENERGY_NATS, SILENCE_NATS, SILENCE_THRESHOLD_NATS, EnergyCurve
from rewas_engine.curves.points import PointFormat, interpolate_points, read_points, validate_points, write_points
from rewas_engine.curves.texture import BAND_NAMES, MAX_BAND_NATS, TextureCurve, tilt_bands
from rewas_engine.errors import SettingsError
from rewas_engine.exact_time import Seconds, exact_seconds

CURVE_HEADER = ("time_s", "energy")
"""Header of a curve file. Each line is a point: seconds from the clip's start, log-mel energy in nats."""
DEFAULT_FLAT_NATS = -5.0
"""Roughly the energy of steady rain, normalised like the training data."""
_RATE_HZ = Fraction(100)
_POINT_FORMAT = PointFormat(CURVE_HEADER, "pairs of time and energy", "1.5,-6", f"silence is {SILENCE_THRESHOLD_NATS}")


def curve_from_points(
    points: Iterable[Sequence[float]],
    *,
    duration: Seconds,
    rate_hz: Fraction = _RATE_HZ,
    name: str = "the energy curve",
) -> EnergyCurve:
    """Build an energy curve by linear interpolation between points.

    Args:
        points: Pairs of seconds from the clip's start and nats. Values of -11.5 nats and below are silence.
        duration: Duration of the clip in seconds.
        rate_hz: Values per second of the curve.
        name: Name of the curve in error messages.

    Raises:
        SettingsError: There are fewer than two points; one is not finite, out of order, before the clip, more than
            0.1 s beyond it or above MAX_ENERGY_NATS; or more than 0.25 s at either end is not covered.
    """
    table = validate_points(points, _POINT_FORMAT, name)
    values = table[:, 1]
    if values.max() > MAX_ENERGY_NATS:
        number = int(values.argmax())
        raise SettingsError(
            f"Point {number + 1} of {name} is {values[number]:.1f} nats, louder than any sound.",
            f"Give log-mel energies from {SILENCE_THRESHOLD_NATS} (silence) to {MAX_ENERGY_NATS:.0f} nats.",
        )
    table[:, 1] = np.where(values <= SILENCE_THRESHOLD_NATS, SILENCE_NATS, values)
    values_by_row = interpolate_points(table, duration=duration, rate_hz=rate_hz, form=_POINT_FORMAT, name=name)
    return EnergyCurve(values_by_row[:, 0].astype(np.float32), rate_hz)


def flat_curve(*, duration: Seconds, nats: float = DEFAULT_FLAT_NATS) -> EnergyCurve:
    """Return a constant curve of `duration` seconds. Raises SettingsError if the level is out of bounds."""
    end_s = float(exact_seconds(duration, "The duration of the energy curve"))
    if not end_s > 0:
        raise SettingsError(f"The duration of the energy curve is {end_s:g} s.", "Give a duration above 0 s.")
    return curve_from_points([(0.0, nats), (end_s, nats)], duration=duration)


def read_curve(path: str | Path, *, duration: Seconds) -> EnergyCurve:
    """Read an energy curve from a CSV file with the header `time_s,energy`.

    Raises:
        MediaError: The file is missing or has another format.
        SettingsError: The points are invalid; see `curve_from_points`.
    """
    path = Path(path)
    _, points = read_points(path, (_POINT_FORMAT,))
    return curve_from_points(points, duration=duration, name=path.name)


def write_curve(curve: EnergyCurve, path: str | Path) -> Path:
    """Write a curve as a CSV file for `read_curve`, with a point for each value. Raises OSError if that fails."""
    values = np.maximum(curve.values, np.float32(SILENCE_NATS))
    return write_points(np.column_stack([curve.times_s(), values]), _POINT_FORMAT, Path(path))


TEXTURE_HEADER = ("time_s", *BAND_NAMES)
"""Header of a texture file. Each line is a point: seconds from the clip's start, nats of each band."""
TILT_HEADER = ("time_s", "tilt")
"""Header of a tilt file. Each line is a point: seconds from the clip's start, level of the high band above the low."""
_RATE_HZ = Fraction(100)
_BANDS = PointFormat(TEXTURE_HEADER, "rows with a time and four bands", "1.5,1,0.5,-0.5,-1", "equal bands are 0,0,0,0")
_TILT_FORMAT = PointFormat(TILT_HEADER, "pairs of time and tilt", "1.5,-2", "with a tilt of 0 all bands are equal")


def texture_from_points(
    points: Iterable[Sequence[float]],
    *,
    duration: Seconds,
    rate_hz: Fraction = _RATE_HZ,
    name: str = "the texture curve",
) -> TextureCurve:
    """Build a texture curve by linear interpolation between points.

    Args:
        points: Seconds from the clip's start, then the nats of the four bands or of the tilt alone.
        duration: Duration of the clip in seconds.
        rate_hz: Values per second of the curve.
        name: Name of the curve in error messages.

    Raises:
        SettingsError: There are fewer than two points; one is not finite, out of order, before the clip, more than
            0.1 s beyond it, or has a band too far from the others; or more than 0.25 s at either end is not covered.
    """
    rows = list(points)
    try:
        of_tilts = bool(rows) and len(rows[0]) == len(TILT_HEADER)
    except TypeError:
        of_tilts = False
    return _texture_from_rows(rows, _TILT_FORMAT if of_tilts else _BANDS, duration, rate_hz, name)


def read_texture(path: str | Path, *, duration: Seconds) -> TextureCurve:
    """Read a texture curve from a CSV file with the header `time_s,low,low_mid,high_mid,high` or `time_s,tilt`.

    Raises:
        MediaError: The file is missing or has another format.
        SettingsError: The points are invalid; see `texture_from_points`.
    """
    path = Path(path)
    form, points = read_points(path, (_BANDS, _TILT_FORMAT))
    return _texture_from_rows(points, form, duration, _RATE_HZ, path.name)


def write_texture(texture: TextureCurve, path: str | Path) -> Path:
    """Write a texture as a CSV file for `read_texture`, with a point for each value. Raises OSError if that fails."""
    return write_points(np.column_stack([texture.times_s(), texture.values]), _BANDS, Path(path))


def _texture_from_rows(
    points: Sequence[Sequence[float]], form: PointFormat, duration: Seconds, rate_hz: Fraction, name: str
) -> TextureCurve:
    table = validate_points(points, form, name)
    if form is _TILT_FORMAT:
        bands = np.stack([tilt_bands(tilt_nats) for tilt_nats in table[:, 1]])
    else:
        bands = table[:, 1:] - table[:, 1:].mean(axis=1, keepdims=True)
    steepest = np.abs(bands).max(axis=1)
    if steepest.max() > MAX_BAND_NATS:
        number = int(steepest.argmax())
        raise SettingsError(
            f"Point {number + 1} of {name} has a band {steepest[number]:.1f} nats from the mean of all.",
            f"Keep every band within {MAX_BAND_NATS:g} nats of their mean.",
        )
    whole = np.column_stack([table[:, 0], bands])
    resampled = interpolate_points(whole, duration=duration, rate_hz=rate_hz, form=_BANDS, name=name)
    return TextureCurve(resampled.astype(np.float32), rate_hz)
