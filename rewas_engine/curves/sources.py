"""Energy and texture curves from points, levels and CSV files, and back to CSV."""

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
"""First line of a curve file; then one point a line: seconds from the clip's start, nats of log-mel magnitude."""
DEFAULT_FLAT_NATS = -5.0
"""About the energy of steady rain that was normalised as training sounds are."""
_RATE_HZ = Fraction(100)
_POINT_FORMAT = PointFormat(CURVE_HEADER, "pairs of time and energy", "1.5,-6", f"silence is {SILENCE_THRESHOLD_NATS}")


def curve_from_points(
    points: Iterable[Sequence[float]],
    *,
    duration: Seconds,
    rate_hz: Fraction = _RATE_HZ,
    name: str = "the energy curve",
) -> EnergyCurve:
    """The curve through points (seconds from the clip's start, nats), linear between them.

    duration: of the clip, in seconds. -11.5 nats and less is silence. name: how messages call the curve.
    Raises SettingsError for fewer than two points, for one that is not finite, not later than the one before it, before
    the clip, more than 0.1 s beyond it or louder than LOUDEST_NATS, and where more than 0.25 s of the clip are missing.
    """
    table = validate_points(points, _POINT_FORMAT, name)
    values = table[:, 1]
    if values.max() > MAX_ENERGY_NATS:
        number = int(values.argmax())
        raise SettingsError(
            f"Point {number + 1} of {name} is {values[number]:.1f} nats, louder than sound can be.",
            f"Give log-mel energies from {SILENCE_THRESHOLD_NATS} (silence) to {MAX_ENERGY_NATS:.0f} nats.",
        )
    table[:, 1] = np.where(values <= SILENCE_THRESHOLD_NATS, SILENCE_NATS, values)
    made = interpolate_points(table, duration=duration, rate_hz=rate_hz, form=_POINT_FORMAT, name=name)
    return EnergyCurve(made[:, 0].astype(np.float32), rate_hz)


def flat_curve(*, duration: Seconds, nats: float = DEFAULT_FLAT_NATS) -> EnergyCurve:
    """One level throughout a clip. duration: seconds. Raises SettingsError for a level that no sound has."""
    end_s = float(exact_seconds(duration, "The duration of the energy curve"))
    if not end_s > 0:
        raise SettingsError(f"The duration of the energy curve is {end_s:g} s.", "Give a duration above 0 s.")
    return curve_from_points([(0.0, nats), (end_s, nats)], duration=duration)


def read_curve(path: str | Path, *, duration: Seconds) -> EnergyCurve:
    """The curve of a CSV file with the header `time_s,energy`: see `curve_from_points`.

    Raises MediaError where the file is missing or not such a table, SettingsError where its points make no curve.
    """
    path = Path(path)
    _, points = read_points(path, (_POINT_FORMAT,))
    return curve_from_points(points, duration=duration, name=path.name)


def write_curve(curve: EnergyCurve, path: str | Path) -> Path:
    """Write a curve as the CSV file that `read_curve` reads, a point for each value; whole or not at all.

    Raises OSError where it cannot be written.
    """
    values = np.maximum(curve.values, np.float32(SILENCE_NATS))
    return write_points(np.column_stack([curve.times_s(), values]), _POINT_FORMAT, Path(path))


TEXTURE_HEADER = ("time_s", *BAND_NAMES)
"""First line of a texture file; then one point a line: seconds from the clip's start, nats of each band."""
TILT_HEADER = ("time_s", "tilt")
"""First line of a file of tilts: how far the high band stands above the low one, in nats."""
_RATE_HZ = Fraction(100)
_BANDS = PointFormat(TEXTURE_HEADER, "rows of a time and four bands", "1.5,1,0.5,-0.5,-1", "equal bands are 0,0,0,0")
_TILT_FORMAT = PointFormat(TILT_HEADER, "pairs of time and tilt", "1.5,-2", "a tilt of 0 has all bands alike")


def texture_from_points(
    points: Iterable[Sequence[float]],
    *,
    duration: Seconds,
    rate_hz: Fraction = _RATE_HZ,
    name: str = "the texture curve",
) -> TextureCurve:
    """The texture through points (seconds from the clip's start, then nats of the four bands or of the tilt alone).

    It is linear between them. duration: of the clip, in seconds. name: how messages call the texture.
    Raises SettingsError for fewer than two points, for one that is not finite, not later than the one before it, before
    the clip, more than 0.1 s beyond it or further from the other bands than in any sound, and where more than 0.25 s of
    the clip are missing.
    """
    rows = list(points)
    try:
        of_tilts = bool(rows) and len(rows[0]) == len(TILT_HEADER)
    except TypeError:
        of_tilts = False
    return _texture_from_rows(rows, _TILT_FORMAT if of_tilts else _BANDS, duration, rate_hz, name)


def read_texture(path: str | Path, *, duration: Seconds) -> TextureCurve:
    """The texture of a CSV file with the header `time_s,low,low_mid,high_mid,high`, or `time_s,tilt`.

    Raises MediaError where the file is missing or not such a table, SettingsError where its points make no texture: see
    `texture_from_points`.
    """
    path = Path(path)
    form, points = read_points(path, (_BANDS, _TILT_FORMAT))
    return _texture_from_rows(points, form, duration, _RATE_HZ, path.name)


def write_texture(texture: TextureCurve, path: str | Path) -> Path:
    """Write a texture as the CSV file that `read_texture` reads, a point for each value; whole or not at all.

    Raises OSError where it cannot be written.
    """
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
    made = interpolate_points(whole, duration=duration, rate_hz=rate_hz, form=_BANDS, name=name)
    return TextureCurve(made.astype(np.float32), rate_hz)
