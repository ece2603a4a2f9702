"""`rewas eval`: measure how good a pack is, and compare each figure with its target."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from rewas_cli.commands.completion import complete_from
from rewas_cli.commands.evaluate_audible_video import measure_audible_video_model
from rewas_cli.commands.evaluate_table import Outcome, TableOptions, measure_paper_table
from rewas_cli.commands.shared_options import (
    OUTPUT_PANEL,
    SAMPLING_PANEL,
    DeviceOption,
    GuidanceOption,
    JsonOption,
    LayoutOption,
    MeasuredPackOption,
    StepsOption,
)
from rewas_cli.console import Printer, cancel_on_ctrl_c, note, protect_stdout

if TYPE_CHECKING:
    from rewas_engine.evaluation.figures import Evaluation
    from rewas_engine.evaluation.sampling_choice import TriedSetting
    from rewas_engine.packs.description import PackInfo
    from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback

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
rewas eval my-clips/ --preset rewas-table2 --output table2/
rewas eval vggsound/ --preset rewas-table2 --layout vggsound --encoders encoders/ --system Diff-Foley=diff-foley/
rewas eval --tavd training-runs/tavd/model --output report/
"""
_MEASURE_PANEL = "Measurement"
_TABLE_PANEL = "Tables of papers"
_AUDIBLE_VIDEO_PANEL = "Audible video"
_PRESETS = "rewas-table2|rewas-table3|rewas-table5|rewas-table6|reproduction|tavgbench|favdbench"


def evaluate(
    clips: Annotated[
        Path | None,
        typer.Argument(metavar="[CLIPS]", help="With --preset, a folder of videos with sound.", show_default=False),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar=_PRESETS,
            help="Instead of the test split, measure the table of a paper on a folder of clips.",
            autocompletion=complete_from(*_PRESETS.split("|")),
            rich_help_panel=_TABLE_PANEL,
        ),
    ] = None,
    layout: Annotated[
        LayoutOption,
        typer.Option(
            "--layout",
            metavar="folder|vggsound|greatest-hits|tavgbench|favdbench",
            help="The layout of the clips on disk.",
            rich_help_panel=_TABLE_PANEL,
        ),
    ] = LayoutOption.FOLDER,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            metavar="FILE",
            dir_okay=False,
            help="The table of the data set, or captions for any folder.",
            rich_help_panel=_TABLE_PANEL,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=1, help="Use at most N clips, evenly spaced.", rich_help_panel=_TABLE_PANEL
        ),
    ] = None,
    encoders: Annotated[
        Path | None,
        typer.Option(
            "--encoders",
            metavar="DIR",
            file_okay=False,
            help="A folder of encoders such as CLAP and VGGish. The built-in judge or the joint space of the pack "
            "replaces those that are missing.",
            rich_help_panel=_TABLE_PANEL,
        ),
    ] = None,
    system: Annotated[
        list[str] | None,
        typer.Option(
            "--system",
            metavar="NAME=DIR",
            help="Also measure the files of another system, one for each clip. Can be repeated.",
            rich_help_panel=_TABLE_PANEL,
        ),
    ] = None,
    no_pack: Annotated[
        bool,
        typer.Option("--no-pack", help="Measure only the systems, not the pack.", rich_help_panel=_TABLE_PANEL),
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            file_okay=False,
            help="A folder for sounds and features, which several tables can share. The folder cache of the report by "
            "default.",
            rich_help_panel=_TABLE_PANEL,
        ),
    ] = None,
    videos: Annotated[
        bool,
        typer.Option(
            "--av-benchmark",
            help="Also write the videos and features that av-benchmark reads.",
            rich_help_panel=_TABLE_PANEL,
        ),
    ] = False,
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
            help="Classes of the synthetic world, separated by commas; those that the pack knows by default.",
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
            "Use one subfolder for each kind of sound, or a metadata.csv with the columns file and kind. Needs the "
            "package aisfx.",
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
    tavd: Annotated[
        Path | None,
        typer.Option(
            "--tavd",
            metavar="DIR",
            file_okay=False,
            help="Instead of a pack, measure a model of `rewas train tavd`, on sentences that training did not use.",
            rich_help_panel=_AUDIBLE_VIDEO_PANEL,
        ),
    ] = None,
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
    """Measure a pack on the test split of the synthetic world, or with --preset on your clips, and write a report.

    With --tavd, measure a model for audible video.
    """
    of_tables = {
        "CLIPS": clips,
        "--layout": None if layout == LayoutOption.FOLDER else layout,
        "--table": table,
        "--limit": limit,
        "--encoders": encoders,
        "--system": system,
        "--no-pack": no_pack or None,
        "--cache": cache,
        "--av-benchmark": videos or None,
    }
    of_test_split = {
        "--clips-per-class": clips_per_class,
        "--fast": fast or None,
        "--tavd": tavd,
    }
    of_pack = {
        "--only": only,
        "--classes": classes,
        "--real": real,
        "--real-sounds": real_sounds,
        "--targets": None if targets == TargetProfile.CPU else targets,
        "--choose": choose or None,
        "--generated": generated,
    }
    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        if tavd is not None and preset is None:
            _check_unused({**of_tables, **of_pack}, "with --tavd", "Omit these options, or --tavd.")
            _check_only_one_number(fast, clips_per_class)
            folder = _validate_folder(output or Path("eval-tavd"))
            outcome = measure_audible_video_model(
                tavd, 2 if fast else clips_per_class, num_steps, guidance_scale, evaluation_progress, cancel
            )
            _write_json(folder / "figures.json", dict(outcome.report))
        elif preset is None:
            _check_unused(of_tables, "without --preset", "Add --preset, or omit the other options.")
            outcome = _measure_test_split(
                SplitOptions(
                    only=only,
                    clips_per_class=clips_per_class,
                    classes=classes,
                    fast=fast,
                    real=real,
                    real_sounds=real_sounds,
                    targets=targets,
                    num_steps=num_steps,
                    guidance_scale=guidance_scale,
                    choose=choose,
                    output=output,
                    generated=generated,
                    pack=pack,
                    device=device,
                ),
                cancel,
            )
        else:
            _check_unused({**of_test_split, **of_pack}, "with --preset", "Omit these options, or --preset.")
            if clips is None:
                raise _settings_problem("--preset needs a folder of clips.", "Name the folder before the options.")
            options = TableOptions(
                preset=preset,
                clips=clips,
                layout=layout.value,
                table=table,
                limit=limit,
                systems=system or (),
                with_pack=not no_pack,
                encoders=encoders,
                cache=cache,
                videos=videos,
                pack=pack,
                device=device,
                num_steps=num_steps,
                guidance_scale=guidance_scale,
                output=_validate_folder(output or Path(f"{preset}-{Path(pack).name}")),
            )
            outcome = measure_paper_table(options, evaluation_progress, cancel)
    # Only now, because standard output was protected from other libraries.
    if not as_json:
        Console(highlight=False, width=None if sys.stdout.isatty() else _DEFAULT_WIDTH).print(outcome.table)
    Printer(as_json).result(outcome.report, outcome.lines)


@dataclass(frozen=True)
class SplitOptions:
    """The options of `rewas eval` without a preset."""

    only: str | None
    clips_per_class: int | None
    classes: str | None
    fast: bool
    real: Path | None
    real_sounds: Path | None
    targets: TargetProfile
    num_steps: int | None
    guidance_scale: float | None
    choose: bool
    output: Path | None
    generated: Path | None
    pack: str
    device: str


def _measure_test_split(given: SplitOptions, cancel: CancelSignal) -> Outcome:
    from rewas_engine import ReWaS, Sampling
    from rewas_engine.evaluation.real_manifest import real_clip_entries
    from rewas_engine.evaluation.sampling_choice import CHOICE_CLIPS_PER_CLASS, best_setting, try_settings
    from rewas_engine.evaluation.suite import CLIPS_PER_CLASS, FAST_CLIPS_PER_CLASS, EvaluationPlan
    from rewas_engine.evaluation.suite import evaluate as evaluate_pack
    from rewas_engine.packs.description import find_pack, read_pack

    _check_option_combination(given)
    usual = CHOICE_CLIPS_PER_CLASS if given.choose else CLIPS_PER_CLASS
    clips = (
        given.clips_per_class if given.clips_per_class is not None else FAST_CLIPS_PER_CLASS if given.fast else usual
    )
    plan = EvaluationPlan(
        _split_names(given.only),
        clips,
        given.real,
        given.targets.value,
        _split_names(given.classes),
        given.real_sounds,
    )
    if given.real is not None:
        real_clip_entries(given.real)
    _check_pack_options(read_pack(find_pack(given.pack)).info, given.choose, given.num_steps, given.guidance_scale)
    folder = _validate_folder(given.output or Path(f"eval-{Path(given.pack).name}"))
    model = ReWaS.from_pretrained(given.pack, device=given.device)
    with evaluation_progress(model.pack.name) as on_progress:
        if given.choose:
            rows = try_settings(
                model,
                clips_per_class=clips,
                classes=plan.classes_for(model.pack),
                trained=plan.trained,
                on_progress=on_progress,
                cancel=cancel,
            )
        else:
            settings = model.sampling_settings(
                Sampling(num_inference_steps=given.num_steps, guidance_scale=given.guidance_scale)
            )
            evaluation = evaluate_pack(
                model, plan, settings, sounds_folder=given.generated, on_progress=on_progress, cancel=cancel
            )
    if given.choose:
        best = best_setting(rows)
        report: dict[str, Any] = {"tried": [row.report() for row in rows], "best": best.report()}
        _write_json(folder / "settings.json", report)
        shown, lines = _settings_table(rows, best), [f"written to {folder / 'settings.json'}"]
    else:
        plots = _write_report(evaluation, folder)
        report = {**evaluation.report(), "output": str(folder), "plots": plots}
        shown, lines = _figure_table(evaluation), [*_lead_lines(evaluation), f"report: {folder / 'report.md'}"]
    return Outcome(shown, report, lines)


def _check_option_combination(given: SplitOptions) -> None:
    """Refuse options that would have no effect. Raises ProblemError (SETTINGS)."""
    unused_with_choose = {
        "--only": given.only,
        "--steps": given.num_steps,
        "--guidance-scale": given.guidance_scale,
        "--generated": given.generated,
        "--real": given.real,
        "--real-sounds": given.real_sounds,
    }
    if given.choose:
        remedy = "Omit it: --choose tries steps and guidance scales on the development split and measures nothing else."
        _check_unused(unused_with_choose, "with --choose", remedy)
    _check_only_one_number(given.fast, given.clips_per_class)
    if given.only is not None and not _split_names(given.only):
        raise _settings_problem("--only names no section.", "Name at least one, or omit --only to measure everything.")
    if given.real is not None and given.only is not None and "real" not in _split_names(given.only):
        raise _settings_problem("--real is given, but --only leaves them out.", "Add real to --only.")
    if given.real_sounds is not None and given.only is not None and "realism" not in _split_names(given.only):
        raise _settings_problem("--real-sounds is given, but --only leaves out realism.", "Add realism to --only.")


def _check_only_one_number(fast: bool, clips_per_class: int | None) -> None:
    if fast and clips_per_class is not None:
        raise _settings_problem("Both --fast and --clips-per-class set the number of clips.", "Use one of them.")


def _check_unused(options: Mapping[str, object], when: str, remedy: str) -> None:
    """Refuse options that are not None. Raises ProblemError (SETTINGS)."""
    unused = [name for name, value in options.items() if value is not None]
    if unused:
        raise _settings_problem(f"{' and '.join(unused)} would have no effect {when}.", remedy)


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
