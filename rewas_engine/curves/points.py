"""Points of curves: validate them, read and write them as CSV, and interpolate them over a clip."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.curve import interpolate
from rewas_engine.errors import MediaError, SettingsError
from rewas_engine.exact_time import Seconds, exact_seconds
from rewas_engine.runtime.atomic_files import write_text_atomic

MAX_GAP_AT_ENDS_S = 0.25
"""How much of the clip may be uncovered at either end of a curve. The first or last value is held there."""
MAX_OVERRUN_S = 0.1
"""How far a point may lie beyond the clip: clips end at a frame, curves often at a round number."""

_MAX_FILE_BYTES = 64 * 2**20

Points = NDArray[np.float64]
"""`[N, 1 + rows]`: seconds from the clip's start, and one value for each row."""


@dataclass(frozen=True)
class PointFormat:
    """File format of the points of one kind of curve, with its error messages.

    Attributes:
        header: Column names.
        description: What the points are, such as "pairs of time and energy".
        example: A line of a file.
        hint: Meaning of a value.
    """

    header: tuple[str, ...]
    description: str
    example: str
    hint: str

    @property
    def header_text(self) -> str:
        """The header line of a file."""
        return ",".join(self.header)

    @property
    def remedy(self) -> str:
        """How to give points, as the remedy of an error."""
        return f"Give {self.description}, in seconds from the clip's start and nats, as in ({self.example})."


def validate_points(points: Iterable[Sequence[float]], form: PointFormat, name: str) -> Points:
    """Convert points to an array and check that they are finite and in order of time.

    Args:
        points: For each point, a time in seconds and its values.
        form: Format of the points.
        name: Name of the curve in error messages.

    Raises:
        SettingsError: There are fewer than two points, or one is invalid, before the clip or out of order.
    """
    try:
        table = np.array([[float(value) for value in point] for point in points], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingsError(f"The points of {name} are not numbers ({error}).", form.remedy) from error
    if len(table) < 2:
        count = {0: "no points", 1: "one point only"}[len(table)]
        raise SettingsError(
            f"{capitalise_name(name)} has {count}.", "Give two or more, from the clip's start to its end."
        )
    if table.ndim != 2 or table.shape[1] != len(form.header):
        raise SettingsError(f"The points of {name} are not {form.description}.", form.remedy)
    times_s = table[:, 0]
    strange = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if strange.size:
        number = int(strange[0])
        values = ", ".join(f"{value:g}" for value in table[number, 1:])
        raise SettingsError(
            f"Point {number + 1} of {name} is ({times_s[number]:g} s, {values} nats).",
            f"Use finite numbers; {form.hint}.",
        )
    if times_s[0] < 0:
        raise SettingsError(f"Point 1 of {name} is before the clip, at {times_s[0]:g} s.", "Begin at 0 s.")
    unsorted = np.flatnonzero(np.diff(times_s) <= 0)
    if unsorted.size:
        number = int(unsorted[0]) + 1
        raise SettingsError(
            f"Point {number + 1} of {name} is at {times_s[number]:g} s, not after the previous one, at "
            f"{times_s[number - 1]:g} s.",
            "Sort the points by time, and give each time once.",
        )
    return table


def interpolate_points(points: Points, *, duration: Seconds, rate_hz: Fraction, form: PointFormat, name: str) -> Points:
    """Interpolate points linearly over a clip.

    Returns:
        Values `[T, rows]` at `rate_hz`.

    Raises:
        SettingsError: The duration is not above 0, or the points extend beyond the clip or cover too little of it.
    """
    duration_s = exact_seconds(duration, f"The duration of {name}")
    if duration_s <= 0:
        raise SettingsError(f"The duration of {name} is {float(duration_s):g} s.", "Give a duration above 0 s.")
    _check_reach(points[:, 0], float(duration_s), form, name)
    times_s = (np.arange(math.ceil(duration_s * rate_hz)) + 0.5) / float(rate_hz)
    return interpolate(points[:, 1:], points[:, 0], times_s)


def read_points(path: Path, forms: Sequence[PointFormat]) -> tuple[PointFormat, list[tuple[float, ...]]]:
    """Read the points of a CSV file, and detect which of the formats it has by its header.

    Raises:
        MediaError: The file is missing or has another format.
    """
    wanted = " or ".join(form.header_text for form in forms)
    rows = [row for row in csv.reader(_read_text(path, wanted).splitlines()) if any(cell.strip() for cell in row)]
    if not rows:
        raise MediaError(f"{path.name} is empty.", f"Begin it with the line {wanted}, then one point per line.")
    header = tuple(cell.strip() for cell in rows[0])
    for form in forms:
        if header == form.header:
            return form, [_parse_point(row, form, path) for row in rows[1:]]
    raise MediaError(f"{path.name} begins with “{','.join(header)[:60]}”.", f"Make its first line {wanted}.")


def write_points(points: Points, form: PointFormat, path: Path) -> Path:
    """Write points as a CSV file for `read_points`. Raises OSError if the file cannot be written."""
    # A curve may rise by hundreds of nats per second, so times need more digits than values.
    rows = (",".join([f"{time_s:.9f}", *(f"{value:.6f}" for value in values)]) for time_s, *values in points.tolist())
    lines = [form.header_text, *rows]
    write_text_atomic(path, "\n".join(lines) + "\n")
    return path


def capitalise_name(name: str) -> str:
    """Capitalise a name for the start of a sentence. File names stay as they are."""
    return f"The{name[3:]}" if name.startswith("the ") else name


def _read_text(path: Path, wanted: str) -> str:
    if not path.is_file():
        raise MediaError(f"The curve file {path} does not exist.", "Check the path.")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise MediaError(
            f"{path.name} is larger than {_MAX_FILE_BYTES >> 20} MiB.", "Give fewer points; 100 per second are enough."
        )
    try:
        # Spreadsheets write a byte order mark before the header.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise MediaError(f"{path.name} is not text.", f"Give a CSV file with the header {wanted}.") from error
    except OSError as error:
        raise MediaError(f"{path.name} cannot be read ({error.strerror}).", "Check its permissions.") from error
    if "\0" in text:
        raise MediaError(f"{path.name} is not text.", f"Give a CSV file with the header {wanted}.")
    return text


def _parse_point(row: Sequence[str], form: PointFormat, path: Path) -> tuple[float, ...]:
    try:
        values = tuple(float(cell) for cell in row)
        if len(values) != len(form.header):
            raise ValueError(len(values))
    except ValueError as error:
        shown = ",".join(row)[:60]
        raise MediaError(
            f"The line “{shown}” of {path.name} is not a point.", f"Write {form.description}, as in {form.example}."
        ) from error
    return values


def _check_reach(times_s: NDArray[np.float64], duration_s: float, form: PointFormat, name: str) -> None:
    if times_s[-1] > duration_s + MAX_OVERRUN_S:
        raise SettingsError(
            f"{capitalise_name(name)} extends to {times_s[-1]:g} s, beyond the clip's end at {duration_s:.3f} s.",
            "End the curve with the clip, or choose a longer clip.",
        )
    if times_s[-1] < duration_s - MAX_GAP_AT_ENDS_S:
        raise SettingsError(
            f"{capitalise_name(name)} is too short: it ends at {times_s[-1]:g} s, but the clip at {duration_s:.3f} s.",
            f"Add a point at the clip's end; {form.hint}.",
        )
    if times_s[0] > MAX_GAP_AT_ENDS_S:
        raise SettingsError(
            f"{capitalise_name(name)} is too short: it begins at {times_s[0]:g} s.", f"Add a point at 0 s; {form.hint}."
        )
