"""`rewas eval`: measure how good a pack is, and compare each figure with its target."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from rewas_cli.commands.shared_options import (
    OUTPUT_PANEL,
    SAMPLING_PANEL,
    DeviceOption,
    GuidanceOption,
    JsonOption,
    MeasuredPackOption,
    StepsOption,
)
from rewas_cli.console import Printer, cancel_on_ctrl_c, note, protect_stdout

if TYPE_CHECKING:
    from rewas_engine.evaluation.figures import Evaluation
    from rewas_engine.evaluation.sampling_choice import TriedSetting
    from rewas_engine.packs.description import PackInfo
    from rewas_engine.runtime.progress import Progress, ProgressCallback

_LINE_INTERVAL_S = 30.0
_DEFAULT_WIDTH = 140
_VERDICT_COLOURS = {"pass": "green", "miss": "red"}


class TargetProfile(StrEnum):
    """Which targets apply."""

    CPU = "cpu"
    GPU = "gpu"


EXAMPLES = """\
rewas eval --pack starter --output report/
rewas eval --pack starter --only energy,onsets --fast
rewas eval --pack workshop --real my-clips/
rewas eval --pack workshop --only realism --real-sounds my-recordings/
"""
_MEASURE_PANEL = "Measurement"


def evaluate(
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Sections to measure, separated by commas: energy, words, vocoder, onsets, texture, ablation, "
            "picture, align, joint, conflict, real, realism, speed. All by default.",
            rich_help_panel=_MEASURE_PANEL,
        ),
    ] = None,
    clips_per_class: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of clips per class; 20 by default.", rich_help_panel=_MEASURE_PANEL),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Classes of the synthetic world, separated by commas; all by default.",
            rich_help_panel=_MEASURE_PANEL,
        ),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="Use 2 clips per class: a quick look, not a reliable result.", rich_help_panel=_MEASURE_PANEL
        ),
    ] = False,
    real: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder of real video clips with sound: compare the energy estimated from each video with that of "
            "its sound. A manifest.csv in the folder can describe the sound of each file.",
            rich_help_panel=_MEASURE_PANEL,
        ),
    ] = None,
    real_sounds: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder of real recordings that training has not used: compare the sounds of the pack with them. "
            "Each subfolder is a kind of sound; or a metadata.csv has the columns file and kind. Needs the package "
            "aisfx.",
            rich_help_panel=_MEASURE_PANEL,
        ),
    ] = None,
    targets: Annotated[
        TargetProfile,
        typer.Option(
            metavar="cpu|gpu",
            help="Compare with the targets of packs trained on a CPU or on a GPU.",
            rich_help_panel=_MEASURE_PANEL,
        ),
    ] = TargetProfile.CPU,
    num_steps: StepsOption = None,
    guidance_scale: GuidanceOption = None,
    choose: Annotated[
        bool,
        typer.Option(
            "--choose",
            help="Instead of measuring, try steps and guidance scales on the development split.",
            rich_help_panel=SAMPLING_PANEL,
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            file_okay=False,
            help="The folder for the report; eval-PACK by default.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    generated: Annotated[
        Path | None,
        typer.Option(
            "--generated",
            metavar="DIR",
            file_okay=False,
            help="Keep generated sounds in this folder: an interrupted run continues from there, and several processes "
            "share the work.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    as_json: JsonOption = False,
    pack: MeasuredPackOption = "starter",
    device: DeviceOption = "auto",
) -> None:
    """Measure a pack on the test split of the synthetic world and write a report with plots."""
    from rewas_engine import ReWaS, Sampling
    from rewas_engine.evaluation.real_manifest import real_clip_entries
    from rewas_engine.evaluation.sampling_choice import CHOICE_CLIPS_PER_CLASS, best_setting, try_settings
    from rewas_engine.evaluation.suite import CLIPS_PER_CLASS, FAST_CLIPS_PER_CLASS, EvaluationPlan
    from rewas_engine.evaluation.suite import evaluate as evaluate_pack
    from rewas_engine.packs.description import find_pack, read_pack

    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        _check_option_combination(
            choose, only, num_steps, guidance_scale, generated, real, real_sounds, fast, clips_per_class
        )
        usual = CHOICE_CLIPS_PER_CLASS if choose else CLIPS_PER_CLASS
        clips = clips_per_class if clips_per_class is not None else FAST_CLIPS_PER_CLASS if fast else usual
        plan = EvaluationPlan(_split_names(only), clips, real, targets.value, _split_names(classes), real_sounds)
        if real is not None:
            real_clip_entries(real)
        _check_pack_options(read_pack(find_pack(pack)).info, choose, num_steps, guidance_scale)
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
                settings = model.sampling_settings(
                    Sampling(num_inference_steps=num_steps, guidance_scale=guidance_scale)
                )
                evaluation = evaluate_pack(
                    model, plan, settings, sounds_folder=generated, on_progress=on_progress, cancel=cancel
                )
        if choose:
            best = best_setting(rows)
            report: dict[str, Any] = {"tried": [row.report() for row in rows], "best": best.report()}
            _write_json(folder / "settings.json", report)
            shown, lines = _settings_table(rows, best), [f"written to {folder / 'settings.json'}"]
        else:
            plots = _write_report(evaluation, folder)
            report = {**evaluation.report(), "output": str(folder), "plots": plots}
            shown, lines = _figure_table(evaluation), [*_lead_lines(evaluation), f"report: {folder / 'report.md'}"]
    if not as_json:
        Console(highlight=False, width=None if sys.stdout.isatty() else _DEFAULT_WIDTH).print(shown)
    Printer(as_json).result(report, lines)


def _check_option_combination(
    choose: bool,
    only: str | None,
    num_steps: int | None,
    guidance_scale: float | None,
    generated: Path | None,
    real: Path | None,
    real_sounds: Path | None,
    fast: bool,
    clips_per_class: int | None,
) -> None:
    """Refuse options that would have no effect. Raises ProblemError (SETTINGS)."""
    unused_with_choose = {
        "--only": only,
        "--steps": num_steps,
        "--guidance-scale": guidance_scale,
        "--generated": generated,
        "--real": real,
        "--real-sounds": real_sounds,
    }
    unused = [name for name, value in unused_with_choose.items() if choose and value is not None]
    if unused:
        raise _settings_problem(
            f"{' and '.join(unused)} would have no effect with --choose.",
            "Omit it: --choose tries steps and guidance scales on the development split and measures nothing else.",
        )
    if fast and clips_per_class is not None:
        raise _settings_problem("Both --fast and --clips-per-class set the number of clips.", "Use one of them.")
    if only is not None and not _split_names(only):
        raise _settings_problem("--only names no section.", "Name at least one, or omit --only to measure everything.")
    if real is not None and only is not None and "real" not in _split_names(only):
        raise _settings_problem("--real is given, but --only leaves them out.", "Add real to --only.")
    if real_sounds is not None and only is not None and "realism" not in _split_names(only):
        raise _settings_problem("--real-sounds is given, but --only leaves them out.", "Add realism to --only.")


def _check_pack_options(pack: PackInfo, choose: bool, num_steps: int | None, guidance_scale: float | None) -> None:
    """Refuse options that a library of recordings does not use. Raises ProblemError (SETTINGS)."""
    given = {"--choose": choose, "--steps": num_steps is not None, "--guidance-scale": guidance_scale is not None}
    names = [name for name, is_given in given.items() if is_given]
    if pack.is_library and names:
        raise _settings_problem(
            f"The pack {pack.name} performs recordings, so {' and '.join(names)} would have no effect.",
            f"Omit {'it' if len(names) == 1 else 'them'}, or choose a pack with a model.",
        )


def _settings_problem(message: str, advice: str) -> Exception:
    from rewas_api.errors import ProblemError, ProblemKind

    return ProblemError(message, advice, ProblemKind.SETTINGS)


def _split_names(names: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip()) if names is not None else ()


def _validate_folder(folder: Path) -> Path:
    """Check before an hour of work that the report can be written. Raises ProblemError (SETTINGS)."""
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise _settings_problem(f"The report cannot be written to {folder}.", "Choose another folder.")
    return folder


def _write_report(evaluation: Evaluation, folder: Path) -> list[str]:
    """Write plots, report and figures, each atomically; return the names of the plots."""
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
    title = f"{pack['name']} {pack['version']}: {setting['clips_per_class']} clips per class, " + (
        "performed from recordings" if setting["num_steps"] is None else f"{setting['num_steps']} steps"
    )
    table = Table("figure", "value", "target", "", "note", title=escape(title), title_justify="left")
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


def _lead_lines(evaluation: Evaluation) -> list[str]:
    """How far the pack leads each baseline on real clips, with bootstrap intervals."""
    leads = [lead for section in evaluation.sections for lead in section.details.get("leads", ())]
    return [
        f"{lead['figure']}, the pack minus {lead['baseline'][0].lower()}{lead['baseline'][1:]}: {lead['mean']:+.3f} "
        f"(95 % interval {lead['low']:+.3f} to {lead['high']:+.3f}, {lead['clips']} clips)"
        for lead in leads
    ]


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
        "s per clip",
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
def evaluation_progress(pack: str) -> Iterator[ProgressCallback]:
    """Show a bar for each part of the evaluation; without a terminal, print a line every half minute."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_reporter()
        return
    columns = (
        TextColumn("{task.fields[section]}"),
        TextColumn("[cyan]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("Starting", total=1, section=escape(pack))
        shown = ""

        def show(progress: Progress) -> None:
            nonlocal shown, task
            if progress.stage != shown:
                # A new task, because the speed of one part does not predict the next.
                bar.remove_task(task)
                task, shown = (
                    bar.add_task(escape(progress.stage), total=progress.total_steps, section=progress.section),
                    progress.stage,
                )
            bar.update(task, completed=progress.step)

        yield show


def _line_reporter() -> ProgressCallback:
    printed_at = time.monotonic()

    def report(progress: Progress) -> None:
        nonlocal printed_at
        if time.monotonic() - printed_at >= _LINE_INTERVAL_S:
            printed_at = time.monotonic()
            note(f"{progress.section}: {progress.stage.lower()}, {progress.step} of {progress.total_steps}")

    return report
