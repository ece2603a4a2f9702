"""The table of recordings in packages of Debian and Ubuntu, with words, licence and credit of each file.

A recording is in the table only if the package states for this file a licence that permits any use, at most with
credit. Files that are not in the table are never used.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from rewas_engine.errors import SettingsError

SHIPPED_TABLE = Path(__file__).with_name("sounds.csv")
PERMISSIVE_LICENCES = frozenset({"CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "MIT", "BSD-2-Clause", "BSD-3-Clause"})
"""SPDX identifiers of the licences that a recording in the table may have, alone or joined with AND."""
COLUMNS = ("packages", "path", "kind", "words", "licence", "credit")


@dataclass(frozen=True)
class PackagedSound:
    """One recording in a package.

    Attributes:
        packages: Names of the packages that can contain it, the first one preferred.
        path: Where it is in the package, without the first folders. A file in an archive follows the archive's path,
            and a sample of a SoundFont has its name without suffix.
        kind: The kind of sound, in a few words.
        words: What it sounds like.
        licence: SPDX expression.
        credit: Author and source.
    """

    packages: tuple[str, ...]
    path: str
    kind: str
    words: str
    licence: str
    credit: str


def read_table(path: Path = SHIPPED_TABLE) -> tuple[PackagedSound, ...]:
    """Read a table of recordings in packages.

    Raises:
        SettingsError: The table cannot be read, a cell is empty, or a licence is not permissive.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"The table {path} cannot be read ({error}).", "Give a CSV table in UTF-8.") from error
    return tuple(_sound(f"{path.name}, line {line}", row) for line, row in rows)


def _sound(place: str, row: dict[str, str | None]) -> PackagedSound:
    cells = {column: (row.get(column) or "").strip() for column in COLUMNS}
    if empty := [column for column, cell in cells.items() if not cell]:
        raise SettingsError(f"{place}: the column {empty[0]} is empty.", "Fill in all columns.")
    if not set(cells["licence"].split(" AND ")) <= PERMISSIVE_LICENCES:
        raise SettingsError(
            f"{place}: the licence {cells['licence']} is not one that permits any use.",
            f"Use only recordings under {', '.join(sorted(PERMISSIVE_LICENCES))}.",
        )
    if ".." in cells["path"].split("/"):
        raise SettingsError(f"{place}: the path contains “..”.", "Give the path within the package.")
    return PackagedSound(tuple(cells.pop("packages").split()), **cells)
