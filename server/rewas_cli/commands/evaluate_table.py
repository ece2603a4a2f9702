"""`rewas eval --preset`: measure the table of a paper on a folder of clips."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from rewas_api.errors import ProblemError, ProblemKind
from rewas_cli.console import note

if TYPE_CHECKING:
    from rewas_engine.evaluation.tables.report import TableReport
    from rewas_engine.runtime.progress import CancelSignal, ProgressCallback

HTML_FILE = "report.html"
JSON_FILE = "report.json"
_MAX_PROBLEMS = 5
_SYSTEM_NAME = re.compile(r"\w[\w .+()\-]{0,59}")


@dataclass(frozen=True)
class Outcome:
    """What an evaluation prints: a table and lines, or a report as JSON."""

    table: Table
    report: Mapping[str, Any]
    lines: list[str]


@dataclass(frozen=True)
class TableOptions:
    """The options of `rewas eval --preset`."""

    preset: str
    clips: Path
    layout: str
    table: Path | None
    limit: int | None
    systems: Sequence[str]
    with_pack: bool
    encoders: Path | None
    cache: Path | None
    videos: bool
    pack: str
    device: str
    num_steps: int | None
    guidance_scale: float | None
    output: Path


def measure_paper_table(
    options: TableOptions,
    show_progress: Callable[[str], AbstractContextManager[ProgressCallback]],
    cancel: CancelSignal,
) -> Outcome:
    """Measure a table, and write it as HTML and JSON.

    Raises:
        ProblemError: An option is invalid.
        EngineError: The clips, the pack or an encoder cannot be used, or the work was cancelled.
    """
    from rewas_engine import ReWaS, Sampling
    from rewas_engine.evaluation.tables.presets import find_preset
    from rewas_engine.evaluation.tables.run import TablePlan, measure_table

    plan = TablePlan(
        find_preset(options.preset),
        options.clips,
        options.layout,  # type: ignore[arg-type]  # list_clips refuses others
        options.table,
        options.limit,
        parse_systems(options.systems),
        options.with_pack,
        Sampling(num_inference_steps=options.num_steps, guidance_scale=options.guidance_scale),
        options.videos,
    )
    model = ReWaS.from_pretrained(options.pack, device=options.device)
    with show_progress(model.pack.name) as on_progress:
        report = measure_table(
            model,
            plan,
            options.output,
            encoders=options.encoders,
            cache_folder=options.cache,
            on_progress=on_progress,
            cancel=cancel,
        )
    _write(report, options.output)
    found: dict[str, Any] = {**report.report(), "output": str(options.output)}
    return Outcome(_console_table(report), found, [*_problem_lines(report), f"report: {options.output / HTML_FILE}"])


def parse_systems(given: Sequence[str]) -> Mapping[str, Path]:
    """Names and folders of `--system NAME=DIR`. Raises ProblemError (SETTINGS)."""
    systems: dict[str, Path] = {}
    for text in given:
        name, _, folder = text.partition("=")
        if not _SYSTEM_NAME.fullmatch(name.strip()) or not folder:
            raise _problem(
                f"--system {text!r} is not of the form NAME=DIR.", "Name the system and the folder of its files."
            )
        if name.strip() in systems or name.strip() == "original":
            raise _problem(f"The system name {name.strip()!r} is already in use.", "Choose another name.")
        systems[name.strip()] = Path(folder)
    return systems


def _problem(what: str, remedy: str) -> ProblemError:
    return ProblemError(what, remedy, ProblemKind.SETTINGS)


def _write(report: TableReport, folder: Path) -> None:
    import json

    from rewas_engine.evaluation.tables.page import html_page
    from rewas_engine.runtime.atomic_files import write_bytes_atomic

    plots: list[tuple[str, str]] = []
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        note('The report has no plots: matplotlib is not installed. Install it with: pip install "rewas-nle[plots]"')
    else:
        from rewas_cli.plots.paper_tables import draw_table

        plots = draw_table(report)
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(report.report(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes_atomic(folder / JSON_FILE, content.encode())
    write_bytes_atomic(folder / HTML_FILE, html_page(report, plots).encode())


def _console_table(report: TableReport) -> Table:
    from rewas_engine.evaluation.tables.report import format_cell

    preset, columns = report.preset, report.columns
    title = "\n".join([escape(preset.title), *(f"[bold]{escape(line)}" for line in report.encoder_warnings())])
    table = Table(title=title, title_justify="left", title_style="")
    table.add_column("row")
    for head in ("clips", *(column.head for column in columns)):
        table.add_column(head, justify="right")
    for row in report.shown_rows:
        label = escape(row.label) + (f" ({escape(row.note)})" if row.note else "")
        values = (format_cell(column, row.cells.get(column.key)) for column in columns)
        table.add_row(label, str(row.clips), *values)
    table.add_section()
    table.add_row(f"[dim]quoted, {escape(preset.quoted_on)}:")
    for quoted in preset.quoted:
        table.add_row(f"[dim]{escape(quoted.label)}", "", *(f"[dim]{value}" for value in quoted.values))
    return table


def _problem_lines(report: TableReport) -> list[str]:
    """The clips that are left out or missing, the first of each kind."""
    lines = []
    if report.left_out:
        lines.append(f"Left out: {len(report.left_out)}")
        lines += _first([str(each) for each in report.left_out])
    for row in report.rows:
        if row.missing:
            lines.append(f"Missing in the row “{row.label}”: {len(row.missing)} of {report.clips}")
            lines += _first([f"{name}: {why}" for name, why in row.missing.items()])
        notes = {cell.note for cell in row.cells.values() if cell.note}
        lines += [f"{row.label}: {text}" for text in sorted(notes)]
    return lines


def _first(problems: Sequence[str]) -> list[str]:
    more = len(problems) - _MAX_PROBLEMS
    return [f"  {line}" for line in problems[:_MAX_PROBLEMS]] + ([f"  and {more} more"] if more > 0 else [])
