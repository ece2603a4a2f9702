"""Energy curves that come from nowhere else: points that someone drew, a CSV file, one level throughout."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewas_engine.clip import Seconds, exact_seconds
from rewas_engine.energy import LOUDEST_NATS, SILENCE_NATS, SILENT_BELOW_NATS, EnergyCurve
from rewas_engine.errors import MediaError, SettingsError
from rewas_engine.whole_files import write_whole_text

CURVE_HEADER = ("time_s", "energy")
"""First line of a curve file; then one point a line: seconds from the clip's start, nats of log-mel magnitude."""
FLAT_NATS = -5.0
"""About the energy of steady rain that was normalised as training sounds are."""
MISSING_S = 0.25
"""So much may be missing at either end of a curve; its first and last point are held there."""
BEYOND_S = 0.1
"""So far a point may lie beyond the clip: clips end at a picture, and curves at round numbers."""

_RATE_HZ = Fraction(100)
_MOST_FILE_BYTES = 64 * 2**20
_HEADER_TEXT = ",".join(CURVE_HEADER)


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
    duration_s = exact_seconds(duration, f"The duration of {name}")
    if duration_s <= 0:
        raise SettingsError(f"The duration of {name} is {float(duration_s):g} s.", "Give a duration above 0 s.")
    times_s, values = _checked_points(points, name)
    _check_reach(times_s, float(duration_s), name)
    values = np.where(values <= SILENT_BELOW_NATS, SILENCE_NATS, values)
    moments_s = (np.arange(math.ceil(duration_s * rate_hz)) + 0.5) / float(rate_hz)
    return EnergyCurve(np.interp(moments_s, times_s, values), rate_hz)


def flat_curve(*, duration: Seconds, nats: float = FLAT_NATS) -> EnergyCurve:
    """One level throughout a clip. duration: seconds. Raises SettingsError for a level that no sound has."""
    end_s = float(exact_seconds(duration, "The duration of the energy curve"))
    return curve_from_points([(0.0, nats), (end_s, nats)], duration=duration)


def read_curve(path: str | Path, *, duration: Seconds) -> EnergyCurve:
    """The curve of a CSV file with the header `time_s,energy`: see `curve_from_points`.

    Raises MediaError where the file is missing or not such a table, SettingsError where its points make no curve.
    """
    path = Path(path)
    rows = [row for row in csv.reader(_text(path).splitlines()) if any(cell.strip() for cell in row)]
    if not rows:
        raise MediaError(f"{path.name} is empty.", f"Begin it with the line {_HEADER_TEXT}, then one point a line.")
    header = tuple(cell.strip() for cell in rows[0])
    if header != CURVE_HEADER:
        shown = ",".join(header)[:60]
        raise MediaError(f"{path.name} begins with “{shown}”.", f"Make its first line {_HEADER_TEXT}.")
    return curve_from_points([_point(row, path) for row in rows[1:]], duration=duration, name=path.name)


def write_curve(curve: EnergyCurve, path: str | Path) -> Path:
    """Write a curve as the CSV file that `read_curve` reads, a point for each value; whole or not at all.

    Raises OSError where it cannot be written.
    """
    path = Path(path)
    values = np.maximum(curve.values, np.float32(SILENCE_NATS))
    points = zip(curve.times_s().tolist(), values.tolist(), strict=True)
    lines = [_HEADER_TEXT, *(f"{time_s:.6f},{nats:.6f}" for time_s, nats in points)]
    write_whole_text(path, "\n".join(lines) + "\n")
    return path


def _text(path: Path) -> str:
    if not path.is_file():
        raise MediaError(f"There is no curve file {path}.", "Check the path.")
    if path.stat().st_size > _MOST_FILE_BYTES:
        raise MediaError(
            f"{path.name} is larger than {_MOST_FILE_BYTES >> 20} MiB.", "Give fewer points, 100 a second are enough."
        )
    try:
        # Spreadsheets write a byte order mark before the header.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise MediaError(f"{path.name} is no text.", f"Give a CSV file with the header {_HEADER_TEXT}.") from error
    except OSError as error:
        raise MediaError(f"{path.name} cannot be read ({error.strerror}).", "Check who may read it.") from error
    if "\0" in text:
        raise MediaError(f"{path.name} is no text.", f"Give a CSV file with the header {_HEADER_TEXT}.")
    return text


def _point(row: Sequence[str], path: Path) -> tuple[float, float]:
    try:
        time_s, nats = (float(cell) for cell in row)
    except ValueError as error:
        shown = ",".join(row)[:60]
        raise MediaError(
            f"The line “{shown}” of {path.name} is no point.", "Write a time and an energy, as in 1.5,-6."
        ) from error
    return time_s, nats


def _checked_points(points: Iterable[Sequence[float]], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times and values [N] of points. Raises SettingsError for what is no row of points in time."""
    try:
        table = np.array([[float(value) for value in point] for point in points], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingsError(f"The points of {name} are not numbers ({error}).", _PAIRS) from error
    if len(table) < 2:
        count = {0: "no points", 1: "one point only"}[len(table)]
        raise SettingsError(f"{_begun(name)} has {count}.", "Give two or more, from the clip's start to its end.")
    if table.ndim != 2 or table.shape[1] != 2:
        raise SettingsError(f"The points of {name} are not pairs of time and energy.", _PAIRS)
    times_s, values = table[:, 0], table[:, 1]
    strange = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if strange.size:
        number = int(strange[0])
        raise SettingsError(
            f"Point {number + 1} of {name} is ({times_s[number]:g} s, {values[number]:g} nats).",
            f"Give finite numbers; silence is {SILENT_BELOW_NATS}.",
        )
    if times_s[0] < 0:
        raise SettingsError(f"Point 1 of {name} stands before the clip, at {times_s[0]:g} s.", "Begin at 0 s.")
    unsorted = np.flatnonzero(np.diff(times_s) <= 0)
    if unsorted.size:
        number = int(unsorted[0]) + 1
        raise SettingsError(
            f"Point {number + 1} of {name} stands at {times_s[number]:g} s, not after the one before it, at "
            f"{times_s[number - 1]:g} s.",
            "Sort the points by time, and give each time once.",
        )
    if values.max() > LOUDEST_NATS:
        number = int(values.argmax())
        raise SettingsError(
            f"Point {number + 1} of {name} is {values[number]:.1f} nats, louder than sound can be.",
            f"Give log-mel energies from {SILENT_BELOW_NATS} (silence) to {LOUDEST_NATS:.0f} nats.",
        )
    return times_s, values


def _check_reach(times_s: NDArray[np.float64], duration_s: float, name: str) -> None:
    if times_s[-1] > duration_s + BEYOND_S:
        raise SettingsError(
            f"{_begun(name)} goes on to {times_s[-1]:g} s, beyond the clip's end at {duration_s:.3f} s.",
            "End it with the clip, or choose a longer clip.",
        )
    if times_s[-1] < duration_s - MISSING_S:
        raise SettingsError(
            f"{_begun(name)} is too short: it ends at {times_s[-1]:g} s, but the clip at {duration_s:.3f} s.",
            f"Add a point at the clip's end; silence is {SILENT_BELOW_NATS}.",
        )
    if times_s[0] > MISSING_S:
        raise SettingsError(
            f"{_begun(name)} is too short: it begins at {times_s[0]:g} s.",
            f"Add a point at 0 s; silence is {SILENT_BELOW_NATS}.",
        )


_PAIRS = "Give pairs of seconds from the clip's start and nats, as in (1.5, -6)."


def _begun(name: str) -> str:
    """A name at the beginning of a sentence; file names keep their letters."""
    return f"The{name[3:]}" if name.startswith("the ") else name
