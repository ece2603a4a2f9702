"""A measured table as JSON values, and as lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rewas_engine.evaluation.tables.measures import Cell
from rewas_engine.evaluation.tables.presets import COLUMNS, Column, Preset
from rewas_engine.evaluation.tables.row_sources import RowKind
from rewas_engine.recordings.captions import LeftOut


@dataclass(frozen=True)
class TableRow:
    """A measured row.

    Attributes:
        name: Name of the folder with its sounds.
        label: Name in the table and the plots.
        kind: Whether its sounds are the original ones, or those of a pack or of another system.
        clips: Number of clips that it has.
        cells: Column -> value.
        missing: Clips that it lacks -> the reason.
        note: Why there is no row; "" if there is one.
    """

    name: str
    label: str
    kind: RowKind
    clips: int
    cells: Mapping[str, Cell] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class UsedEncoder:
    """The encoder of a column: its name, and whether publications use an encoder of this kind."""

    name: str
    is_published_kind: bool


@dataclass(frozen=True)
class TableReport:
    """A measured table.

    Attributes:
        preset: The table of a paper.
        folder: The folder of the clips.
        layout: Layout of the data set.
        clips: Number of measured clips.
        seconds: Their total length.
        without_prompt: Number of them without a prompt.
        left_out: Clips and lines that were left out.
        encoders: Column -> encoder, for columns that need one.
        rows: The measured rows.
        pack: The pack and its settings; None if it has no row.
    """

    preset: Preset
    folder: str
    layout: str
    clips: int
    seconds: float
    without_prompt: int
    left_out: Sequence[LeftOut]
    encoders: Mapping[str, UsedEncoder]
    rows: Sequence[TableRow]
    pack: Mapping[str, Any] | None = None

    @property
    def columns(self) -> list[Column]:
        """The columns, in order."""
        return [COLUMNS[key] for key in self.preset.columns]

    @property
    def shown_rows(self) -> list[TableRow]:
        """The rows with values or a note. The original sounds have none if every column compares with them."""
        return [row for row in self.rows if row.cells or row.note]

    def encoder_warnings(self) -> list[str]:
        """One line in capitals for each encoder that replaces a published one."""
        labels: dict[str, list[str]] = {}
        for column in self.columns:
            used = self.encoders.get(column.key)
            if used is not None and not used.is_published_kind:
                labels.setdefault(used.name, []).append(column.label)
        return [
            f"{', '.join(names)}: MEASURED WITH {name.upper()}, NOT WITH THE PUBLISHED ENCODER. NOT COMPARABLE WITH "
            "PUBLISHED VALUES."
            for name, names in labels.items()
        ]

    def report(self) -> dict[str, Any]:
        """Convert to one JSON object."""
        preset = self.preset
        return {
            "preset": preset.name,
            "title": preset.title,
            "warnings": self.encoder_warnings(),
            "pack": None if self.pack is None else dict(self.pack),
            "clips": {
                "folder": self.folder,
                "layout": self.layout,
                "measured": self.clips,
                "seconds": round(self.seconds, 3),
                "without_prompt": self.without_prompt,
                "left_out": [{"what": each.what, "why": each.why} for each in self.left_out],
            },
            "columns": {
                column.key: {
                    "label": column.label,
                    "about": column.about,
                    "higher_is_better": column.higher_is_better,
                    "encoder": self.encoders[column.key].name if column.key in self.encoders else None,
                    "is_published_kind": self.encoders[column.key].is_published_kind
                    if column.key in self.encoders
                    else None,
                }
                for column in self.columns
            },
            "rows": [_row_report(row) for row in self.rows],
            "quoted": {
                "source": preset.source,
                "measured_on": preset.quoted_on,
                "remark": preset.remark,
                "rows": [
                    {"label": row.label, "values": dict(zip(preset.columns, map(float, row.values), strict=True))}
                    for row in preset.quoted
                ],
            },
        }


def format_cell(column: Column, cell: Cell | None) -> str:
    """Format a value with the decimals of the papers; "–" if there is none."""
    return "–" if cell is None or cell.value is None else f"{cell.value:.{column.decimals}f}"


def _row_report(row: TableRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "label": row.label,
        "kind": row.kind,
        "clips": row.clips,
        "note": row.note,
        "missing": dict(row.missing),
        "values": {
            key: {
                "value": None if cell.value is None else round(cell.value, 6),
                "interval": None if cell.error is None else round(cell.error, 6),
                "clips": cell.clips,
                "note": cell.note,
                "by_clip": {name: round(value, 5) for name, value in cell.by_clip.items()},
            }
            for key, cell in row.cells.items()
        },
    }
