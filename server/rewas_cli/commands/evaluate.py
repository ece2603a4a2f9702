"""`rewas eval`: how good a pack is, figure by figure, against what is asked of it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rewas_cli.commands.shared_options import JsonOption
from rewas_cli.console import Printer, cancel_on_ctrl_c, note, protect_stdout

if TYPE_CHECKING:
    from rewas_engine.evaluation.bench import EvaluationProgress
    from rewas_engine.evaluation.figures import Evaluation
    from rewas_engine.evaluation.sampling_choice import TriedSetting

_LINE_INTERVAL_S = 30.0
_DEFAULT_WIDTH = 140
_VERDICT_COLOURS = {"pass": "green", "miss": "red"}


class Bars(StrEnum):
    """Whose bars hold."""

    CPU = "cpu"
    GPU = "gpu"


def evaluate(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="The pack, by name or folder.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", file_okay=False, help="For the report; else eval-PACK here."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Sections, by commas: energy, words, vocoder, onsets, texture, ablation, picture, align, joint, "
            "conflict, real, speed.",
        ),
    ] = None,
    clips_per_class: Annotated[int | None, typer.Option(help="Clips of each class; 20 by default.")] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Classes of the world, by commas; all by default.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="2 clips of each class: a look, not a verdict.")] = False,
    real: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Real video clips with sound, to read pictures of.")
    ] = None,
    choose: Annotated[
        bool, typer.Option("--choose", help="Try steps and guidance on the development split instead.")
    ] = False,
    num_steps: Annotated[int | None, typer.Option(help="Sampling steps; the pack's own by default.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="Guidance; the pack's own by default.")] = None,
    bars: Annotated[Bars, typer.Option(help="Bars of packs trained on a CPU or a GPU.")] = Bars.CPU,
    made: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Keep what is generated here: a run that was broken off goes on, several at once share the work.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda:0 or auto.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a pack on the test split of the synthetic world and write a report with plots."""
    from rewas_engine import ReWaS
    from rewas_engine.evaluation.real_clips import video_files
    from rewas_engine.evaluation.sampling_choice import CHOICE_CLIPS_PER_CLASS, best_setting, try_settings
    from rewas_engine.evaluation.suite import CLIPS_PER_CLASS, FAST_CLIPS_PER_CLASS, EvaluationPlan
    from rewas_engine.evaluation.suite import evaluate as evaluate_pack

    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        _check_option_combination(choose, only, num_steps, guidance_scale, made, real, fast, clips_per_class)
        usual = CHOICE_CLIPS_PER_CLASS if choose else CLIPS_PER_CLASS
        clips = clips_per_class if clips_per_class is not None else FAST_CLIPS_PER_CLASS if fast else usual
        plan = EvaluationPlan(_listed(only), clips, real, bars.value, _listed(classes))
        if real is not None:
            video_files(real)
        folder = _validate_folder(output or Path(f"eval-{Path(pack).name}"))
        model = ReWaS.from_pretrained(pack, device=device)
        with evaluation_progress(model.pack.name) as on_progress:
            if choose:
                rows = try_settings(
                    model,
                    clips_per_class=clips,
                    classes=plan.world_classes,
                    trained=plan.trained,
                    on_progress=on_progress,
                    cancel=cancel,
                )
            else:
                settings = model.sampling_settings(num_steps, guidance_scale)
                evaluation = evaluate_pack(
                    model, plan, settings, sounds_folder=made, on_progress=on_progress, cancel=cancel
                )
        if choose:
            best = best_setting(rows)
            report: dict[str, Any] = {"tried": [row.report() for row in rows], "best": best.report()}
            _write_json(folder / "settings.json", report)
            shown, lines = _settings_table(rows, best), [f"written to {folder / 'settings.json'}"]
        else:
            plots = _write_report(evaluation, folder)
            report = {**evaluation.report(), "output": str(folder), "plots": plots}
            shown, lines = _figure_table(evaluation), [f"report: {folder / 'report.md'}"]
    if not as_json:
        Console(highlight=False, width=None if sys.stdout.isatty() else _DEFAULT_WIDTH).print(shown)
    Printer(as_json).result(report, lines)


def _check_option_combination(
    choose: bool,
    only: str | None,
    num_steps: int | None,
    guidance_scale: float | None,
    made: Path | None,
    real: Path | None,
    fast: bool,
    clips_per_class: int | None,
) -> None:
    """Refuse options that would be without an effect. Raises ProblemError (SETTINGS)."""
    beside_choosing = {
        "--only": only,
        "--num-steps": num_steps,
        "--guidance-scale": guidance_scale,
        "--made": made,
        "--real": real,
    }
    told = [name for name, value in beside_choosing.items() if choose and value is not None]
    if told:
        raise _settings_problem(
            f"{' and '.join(told)} would be without an effect beside --choose.",
            "Leave it out: --choose tries steps and guidance on the development split and measures nothing else.",
        )
    if fast and clips_per_class is not None:
        raise _settings_problem("Both --fast and --clips-per-class say how many clips there are.", "Give one of them.")
    if only is not None and not _listed(only):
        raise _settings_problem("--only names no section.", "Name some, or leave it out to measure everything.")
    if real is not None and only is not None and "real" not in _listed(only):
        raise _settings_problem("There are real clips, but --only leaves them out.", "Add real to --only.")


def _settings_problem(message: str, advice: str) -> Exception:
    from rewas_api.errors import ProblemError, ProblemKind

    return ProblemError(message, advice, ProblemKind.SETTINGS)


def _listed(names: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip()) if names is not None else ()


def _validate_folder(folder: Path) -> Path:
    """See, before an hour of work, that a report can be written there. Raises ProblemError (SETTINGS)."""
    standing = folder.absolute()
    while not standing.exists():
        standing = standing.parent
    if not standing.is_dir() or not os.access(standing, os.W_OK):
        raise _settings_problem(f"The report cannot be written into {folder}.", "Choose another.")
    return folder


def _write_report(evaluation: Evaluation, folder: Path) -> list[str]:
    """Write plots, page and figures, each whole or not at all; returns the plots' names."""
    from rewas_engine.evaluation.report import markdown
    from rewas_engine.runtime.atomic_files import write_bytes_atomic

    folder.mkdir(parents=True, exist_ok=True)
    plots: dict[str, list[tuple[str, str]]] = {}
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        note('The report has no plots: matplotlib is not installed. Install it with: pip install "rewas-nle[plots]"')
    else:
        from rewas_cli.plots.evaluation import draw_evaluation

        plots = draw_evaluation(evaluation, folder)
    write_bytes_atomic(folder / "report.md", markdown(evaluation, plots).encode())
    _write_json(folder / "figures.json", evaluation.report())
    return [name for drawn in plots.values() for name, _ in drawn]


def _write_json(path: Path, report: dict[str, Any]) -> None:
    from rewas_engine.runtime.atomic_files import write_bytes_atomic

    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())


def _figure_table(evaluation: Evaluation) -> Table:
    from rewas_engine.evaluation.report import format_target, format_value, format_verdict

    pack, setting = evaluation.pack, evaluation.setting
    title = (
        f"{pack['name']} {pack['version']}: {setting['clips_per_class']} clips a class, {setting['num_steps']} steps"
    )
    table = Table("figure", "value", "bar", "", "note", title=escape(title), title_justify="left")
    for section in evaluation.sections:
        table.add_section()
        table.add_row(f"[bold]{escape(section.title)}")
        for figure in section.figures:
            verdict = format_verdict(figure, evaluation.trained)
            colour = _VERDICT_COLOURS.get(verdict, "default")
            table.add_row(
                escape(figure.label),
                escape(format_value(figure)),
                format_target(figure, evaluation.trained),
                f"[{colour}]{verdict}",
                escape(figure.note if figure.value is not None else ""),
            )
    return table


def _settings_table(rows: Sequence[TriedSetting], best: TriedSetting) -> Table:
    heads = (
        "steps",
        "guidance",
        "unguided",
        "correlation",
        "10th pct.",
        "MAE",
        "class",
        "swapped",
        "s a clip",
        "margin",
        "",
    )
    table = Table(*heads, title="On the development split", title_justify="left")
    for row in rows:
        figures = (
            row.correlation_mean,
            row.correlation_worse_tenth,
            row.mae_nats,
            row.right_class,
            row.right_class_swapped,
            row.seconds_a_clip,
        )
        table.add_row(
            str(row.num_steps),
            f"{row.guidance_scale:g}",
            f"{row.unguided_share:g}",
            *(f"{value:.3f}" for value in figures),
            f"{row.margin:+.3f}",
            "best" if row == best else "",
        )
    return table


@contextlib.contextmanager
def evaluation_progress(pack: str) -> Iterator[Callable[[EvaluationProgress], None]]:
    """A bar for each thing that is made or measured; where there is no terminal, a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = (
        TextColumn("{task.fields[section]}"),
        TextColumn("[cyan]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Starting", total=1, section=escape(pack))
        shown = ""

        def show(progress: EvaluationProgress) -> None:
            nonlocal shown, task
            if progress.what != shown:
                # A new task, since what was learnt of one thing's pace says nothing of the next one's.
                bar.remove_task(task)
                task, shown = (
                    bar.add_task(escape(progress.what), total=progress.total, section=progress.section),
                    progress.what,
                )
            bar.update(task, completed=progress.done)

        yield show


def _lines() -> Callable[[EvaluationProgress], None]:
    said_at = time.monotonic()

    def report(progress: EvaluationProgress) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= _LINE_INTERVAL_S:
            said_at = time.monotonic()
            note(f"{progress.section}: {progress.what.lower()}, {progress.done} of {progress.total}")

    return report
