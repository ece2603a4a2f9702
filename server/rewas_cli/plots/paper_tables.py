"""Plots of a table of `rewas eval --preset`, as SVG for its page. Needs matplotlib, from the extra `plots`."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rewas_engine.evaluation.tables.presets import Column
    from rewas_engine.evaluation.tables.report import TableReport

_INK = "#010203"
"""Replaced by the colour of the page's text, which depends on the reader's light or dark screen."""
_COLOURS = {"original": "#3a8a4d", "pack": "#2f86d1", "system": "#d9741a"}
_PANEL_INCHES, _ROW_INCHES, _MARGIN_INCHES = 5.2, 0.42, 1.0
_LABEL_CHARACTERS = 44

_Row = tuple[str, str, float, float | None, list[float]]
"""Label, kind, value, half of the interval, and values of the clips."""


def draw_table(report: TableReport) -> list[tuple[str, str]]:
    """Draw a panel for each column: the clips as dots, and the value of the row. Returns captions and SVG elements."""
    panels = [(column, rows) for column in report.columns if _has_something_to_compare(rows := _rows(report, column))]
    if not panels:
        return []
    caption = "Each dot is a clip, and the line is the mean with its 95 % interval."
    if any(not clips for _, rows in panels for *_, clips in rows):
        caption += " A diamond is the value of all clips together."
    return [(caption, _panels(panels))]


def _rows(report: TableReport, column: Column) -> list[_Row]:
    return [
        (row.label, row.kind, cell.value, cell.error, list(cell.by_clip.values()))
        for row in report.rows
        if (cell := row.cells.get(column.key)) is not None and cell.value is not None
    ]


def _has_something_to_compare(rows: list[_Row]) -> bool:
    return len(rows) > 1 or any(len(clips) > 1 for *_, clips in rows)


def _panels(panels: list[tuple[Column, list[_Row]]]) -> str:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    per_line = min(2, len(panels))
    lines = -(-len(panels) // per_line)
    most = max(len(rows) for _, rows in panels)
    size = (per_line * _PANEL_INCHES, lines * (most * _ROW_INCHES + _MARGIN_INCHES))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(lines, per_line, squeeze=False).ravel())
    for axis, (column, rows) in zip(axes, panels, strict=False):
        _draw_panel(axis, column, rows)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    file = io.BytesIO()
    # Text stays text, so that the page needs no fonts; the fixed salt makes the same table the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rewas"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue().decode()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    head, body = svg.split(">", 1)
    # The page decides the size.
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)
    return re.sub(r"<metadata>.*?</metadata>", "", f"{head}>{body}", flags=re.DOTALL)


def _draw_panel(axis: Axes, column: Column, rows: list[_Row]) -> None:
    for place, (_, kind, value, error, clips) in enumerate(rows):
        colour = _COLOURS[kind]
        if clips:
            offsets = np.linspace(-0.22, 0.22, len(clips))[np.random.default_rng(0).permutation(len(clips))]
            axis.scatter(clips, place + offsets, s=14, color=colour, alpha=0.7, linewidths=0)
            axis.plot([value, value], [place - 0.34, place + 0.34], color=_INK, linewidth=2)
            if error is not None:
                axis.plot([value - error, value + error], [place, place], color=_INK, linewidth=1.2)
        else:
            axis.plot([value], [place], marker="D", markersize=7, color=colour)
    values = [value for _, _, value, _, _ in rows]
    if not any(clips for *_, clips in rows) and min(values) > 0:
        axis.set_xlim(0, 1.08 * max(values))  # from 0, or small differences would look large
    axis.set_yticks(range(len(rows)), [_shorten(label) for label, *_ in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_title(column.head, color=_INK, loc="left", fontsize=10)
    axis.tick_params(colors=_INK, labelsize=8)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color=_INK, alpha=0.15)
    axis.set_axisbelow(True)
    for side, spine in axis.spines.items():
        spine.set_color(_INK)
        spine.set_visible(side == "bottom")


def _shorten(label: str) -> str:
    # A dollar sign would start a formula.
    text = label if len(label) <= _LABEL_CHARACTERS else label[: _LABEL_CHARACTERS - 1] + "…"
    return text.replace("$", r"\$")
