"""A measured table as one HTML page that needs no other file, for light and dark screens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from rewas_engine.evaluation.tables.measures import Cell
from rewas_engine.evaluation.tables.presets import Column
from rewas_engine.evaluation.tables.report import TableReport, TableRow, format_cell

_MAX_LISTED = 200
"""Longer lists of clips are cut; the JSON report has all of them."""
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --soft: #5d6b78; --line: #d9dfe5; --paper: #ffffff;
  --band: #f4f6f8; --warn: #8a3b00; --warn-paper: #fff4e5; --first: #1f6fb4; --quoted: #5d6b78; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaee; --soft: #9fb0bf; --line: #35414c; --paper: #151b21;
  --band: #1d252d; --warn: #ffc078; --warn-paper: #33230f; --first: #6cb2f0; --quoted: #9fb0bf; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
p, li { max-width: 48rem; }
.soft { color: var(--soft); }
.warning { color: var(--warn); background: var(--warn-paper); border-left: 4px solid currentColor;
  padding: .6rem .9rem; margin: .5rem 0; font-weight: 600; max-width: none; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 14rem; }
thead th { border-bottom: 2px solid var(--ink); }
td small, th small { color: var(--soft); font-weight: 400; display: block; }
tr.head td { background: var(--band); color: var(--soft); text-align: left; white-space: normal; }
tr.quoted td { color: var(--quoted); }
tr.measured td:first-child { font-weight: 600; }
figure { margin: 1rem 0; }
figure svg { width: 100%; height: auto; color: var(--ink); }
figcaption { color: var(--soft); font-size: .9rem; }
dt { font-weight: 600; margin-top: .6rem; } dd { margin: 0; max-width: 48rem; }
details { margin: .4rem 0; } summary { cursor: pointer; }
code { font-size: .92em; overflow-wrap: anywhere; }
"""


def html_page(report: TableReport, plots: Sequence[tuple[str, str]] = ()) -> str:
    """Format a table as a page.

    Args:
        report: The table.
        plots: Caption and SVG element of each plot. `currentColor` in them is the colour of the text.
    """
    preset = report.preset
    warnings = "".join(f'<p class="warning">{escape(line)}</p>' for line in report.encoder_warnings())
    figures = "".join(f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>" for caption, svg in plots)
    parts = [
        f"<h1>{escape(preset.title)}</h1>",
        f'<p class="soft">{escape(_summary(report))}</p>',
        warnings,
        f'<div class="wide">{_table(report)}</div>',
        '<p class="soft">– is a value that does not exist. ± is half of the 95 % interval of the mean over the '
        "clips. ↑: higher is better; ↓: lower is better.</p>",
        f"<p>{escape(preset.remark)}</p>" if preset.remark else "",
        f"<h2>Plots</h2>{figures}" if figures else "",
        f"<h2>Columns</h2>{_columns(report)}",
        f"<h2>Clips</h2>{_clips(report)}",
        f"<h2>Pack</h2>{_pack(report.pack)}" if report.pack is not None else "",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(preset.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _summary(report: TableReport) -> str:
    left_out = f"; left out: {len(report.left_out)}" if report.left_out else ""
    plural = "" if report.clips == 1 else "s"
    return f"{report.clips} clip{plural}, {report.seconds:.0f} s in total, from {report.folder}{left_out}."


def _table(report: TableReport) -> str:
    columns = report.columns
    heads = "".join(
        f"<th>{escape(column.head)}{'<small>other encoder</small>' if _has_other_encoder(report, column) else ''}</th>"
        for column in columns
    )
    span = len(columns) + 2
    rows = [f'<tr class="head"><td colspan="{span}">Measured on this folder</td></tr>']
    rows += [_measured_row(row, columns) for row in report.shown_rows]
    rows.append(
        f'<tr class="head"><td colspan="{span}">Quoted, not measured here: {escape(report.preset.source)}; '
        f"{escape(report.preset.quoted_on)}</td></tr>"
    )
    for quoted in report.preset.quoted:
        cells = "".join(f"<td>{value}</td>" for value in quoted.values)
        rows.append(f'<tr class="quoted"><td>{escape(quoted.label)}</td><td></td>{cells}</tr>')
    return f"<table><thead><tr><th>row</th><th>clips</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _measured_row(row: TableRow, columns: Sequence[Column]) -> str:
    note = f"<small>{escape(row.note)}</small>" if row.note else ""
    missing = f"<small>{len(row.missing)} missing</small>" if row.missing else ""
    cells = "".join(f"<td>{_cell(column, row.cells.get(column.key))}</td>" for column in columns)
    return f'<tr class="measured"><td>{escape(row.label)}{note}</td><td>{row.clips}{missing}</td>{cells}</tr>'


def _cell(column: Column, cell: Cell | None) -> str:
    shown = format_cell(column, cell)
    if cell is None:
        return shown
    if cell.error is not None:
        shown += f"<small>± {cell.error:.{column.decimals}f}</small>"
    return f'<span title="{escape(cell.note)}">{shown}</span>' if cell.note else shown


def _columns(report: TableReport) -> str:
    entries = []
    for column in report.columns:
        used, by = report.encoders.get(column.key), ""
        if used is not None:
            instead = ", instead of the published one" if not used.is_published_kind else ""
            by = f" Encoder: {escape(used.name)}{instead}."
        about = escape(column.about[0].upper() + column.about[1:])
        entries.append(f"<dt>{escape(column.head)}</dt><dd>{about}.{by}{_notes(report, column)}</dd>")
    return f"<dl>{''.join(entries)}</dl>"


def _notes(report: TableReport, column: Column) -> str:
    notes = {
        row.label: cell.note for row in report.rows if (cell := row.cells.get(column.key)) is not None and cell.note
    }
    return "".join(f'<br><span class="soft">{escape(label)}: {escape(note)}.</span>' for label, note in notes.items())


def _pack(pack: Mapping[str, Any]) -> str:
    sampling = ""
    if pack["num_steps"] is not None:
        sampling = f", {pack['num_steps']} steps, guidance scale {pack['guidance_scale']:g}"
    return (
        f"<p>{escape(pack['name'])} {escape(pack['version'])}{sampling}, on {escape(pack['device'])}. Licence: "
        f"{escape(pack['licence'])}. {escape(pack['permits'])}</p>"
        f'<p class="soft">SHA-256 of its content: <code>{escape(pack["content_sha256"])}</code></p>'
    )


def _clips(report: TableReport) -> str:
    lines = [f"<p>{escape(_summary(report))}"]
    if report.without_prompt:
        lines.append(f" {report.without_prompt} of them have no prompt, so that nothing can be generated for them.")
    lines.append("</p>")
    if report.left_out:
        lines.append(_list("left out", (f"{each.what}: {each.why}" for each in report.left_out), len(report.left_out)))
    for row in report.rows:
        if row.missing:
            named = (f"{name}: {why}" for name, why in row.missing.items())
            lines.append(_list(f"missing in the row “{row.label}”", named, len(row.missing)))
    return "".join(lines)


def _list(what: str, entries: Iterable[str], count: int) -> str:
    shown = [f"<li>{escape(entry)}</li>" for _, entry in zip(range(_MAX_LISTED), entries, strict=False)]
    if count > _MAX_LISTED:
        shown.append(f"<li>and {count - _MAX_LISTED} more; <code>report.json</code> has all of them</li>")
    return f"<details><summary>{count} {escape(what)}</summary><ul>{''.join(shown)}</ul></details>"


def _has_other_encoder(report: TableReport, column: Column) -> bool:
    used = report.encoders.get(column.key)
    return used is not None and not used.is_published_kind
