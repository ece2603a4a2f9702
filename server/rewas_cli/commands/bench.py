"""`rewas bench`: how fast a pack is on this machine, compared with the released procedure on the same weights."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rewas_cli.commands.evaluate import evaluation_progress
from rewas_cli.commands.shared_options import (
    MODEL_PANEL,
    CompileOption,
    DeviceOption,
    JsonOption,
    LowMemoryOption,
    MeasuredPackOption,
    PrecisionOption,
    build_execution,
)
from rewas_cli.console import Printer, cancel_on_ctrl_c, protect_stdout

if TYPE_CHECKING:
    from rewas_engine.evaluation.memory_use import MemoryRow
    from rewas_engine.evaluation.procedure_benchmark import Comparison, Timing
    from rewas_engine.evaluation.samplers import SamplerRow
    from rewas_engine.evaluation.throughput import BatchRow

PARTS = ("procedures", "cost", "batches", "memory", "samplers")
DEFAULT_PARTS = PARTS[:4]
_COST_CLASSES = 9
_DEFAULT_WIDTH = 140
_STAGES = ("decode", "energy", "sample", "vocode")


EXAMPLES = """\
rewas bench
rewas bench --pack starter --only procedures,cost --released-steps 20
rewas bench --only memory --limit-gb 4 --json
"""
_MEASURE_PANEL = "Measurement"


def bench(
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Parts to measure, separated by commas: procedures, cost, batches, memory (all four by default), and "
            "samplers.",
            rich_help_panel=_MEASURE_PANEL,
        ),
    ] = None,
    clip: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="A video clip; 5.12 s of the synthetic world by default.",
            rich_help_panel=_MEASURE_PANEL,
        ),
    ] = None,
    released_steps: Annotated[
        int,
        typer.Option(
            min=2,
            max=200,
            metavar="N",
            help="How many of the release's 200 steps to measure; the rest is extrapolated.",
            rich_help_panel=_MEASURE_PANEL,
        ),
    ] = 200,
    cost_clips: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of clips for the parts cost and samplers.",
            rich_help_panel=_MEASURE_PANEL,
        ),
    ] = _COST_CLASSES,
    limit_gb: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            metavar="GB",
            help="Memory limit of each process in the part memory.",
            rich_help_panel=_MEASURE_PANEL,
        ),
    ] = None,
    as_json: JsonOption = False,
    pack: MeasuredPackOption = "starter",
    device: DeviceOption = "auto",
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Threads on a CPU; all cores by default.", rich_help_panel=MODEL_PANEL),
    ] = None,
    precision: PrecisionOption = None,
    compiled: CompileOption = False,
    low_memory: LowMemoryOption = False,
) -> None:
    """Measure how fast a pack is compared with the released procedure (200 steps, float32), and what that costs."""
    with protect_stdout(), cancel_on_ctrl_c() as cancel:
        parts = _parse_parts(only)
        execution = build_execution(precision, compiled, low_memory)
        import torch

        from rewas_engine import ReWaS
        from rewas_engine.evaluation.procedure_benchmark import compare_procedures, machine, write_bench_clip
        from rewas_engine.evaluation.samplers import compare_samplers, measure_few_steps
        from rewas_engine.evaluation.throughput import batch_table
        from rewas_engine.packs.description import find_pack, read_model_pack
        from rewas_engine.world import CLASS_NAMES

        if threads is not None:
            torch.set_num_threads(threads)
        description = read_model_pack(find_pack(pack))
        about = description.info
        report: dict[str, Any] = {name: getattr(about, name) for name in ("version", "licence", "permits")}
        report["pack"] = about.name
        shown: list[Table | str] = []
        with evaluation_progress(description.info.name) as on_progress, tempfile.TemporaryDirectory() as room:
            if "procedures" in parts:
                drawn = clip or write_bench_clip(Path(room))
                comparison = compare_procedures(
                    description.path,
                    drawn,
                    device=device,
                    execution=execution,
                    measured_steps=released_steps,
                    on_progress=on_progress,
                    cancel=cancel,
                )
                report["procedures"] = comparison.report()
                shown += [_procedure_table(comparison), _verdict(comparison)]
            model = ReWaS.from_pretrained(description.path, device=device, execution=execution)
            own, chosen_device = model.sampling_settings(), model.device
            report["machine"] = machine(chosen_device)
            if "batches" in parts:
                peak, rows = batch_table(model)
                report["batches"] = {"peak_teraflops": round(peak, 3), "rows": [row.report() for row in rows]}
                shown.append(_batch_table(peak, rows, own.precision))
            if "samplers" in parts:
                tried = compare_samplers(
                    model, classes=_spread(CLASS_NAMES, cost_clips), on_progress=on_progress, cancel=cancel
                )
                report["samplers"] = [row.report() for row in tried]
                shown.append(_sampler_table(tried, "Samplers and steps"))
            del model
            if "cost" in parts:
                cost = measure_few_steps(
                    (own.sampler, own.num_inference_steps),
                    device=device,
                    execution=execution,
                    classes=_spread(CLASS_NAMES, cost_clips),
                    on_progress=on_progress,
                    cancel=cancel,
                )
                report["cost"] = [row.report() for row in cost]
                shown.append(
                    _sampler_table(cost, "Quality with few steps: the starter pack compared with 200 steps in float32")
                )
            if "memory" in parts:
                needed = _measure_memory(description.path, chosen_device, limit_gb)
                report["memory"] = [row.report() for row in needed]
                shown.append(_memory_table(needed))
    if not as_json:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else _DEFAULT_WIDTH)
        for part in shown:
            console.print(part)
    terms = f"{about.name} {about.version} ({about.licence}): {about.permits}"
    Printer(as_json).result(report, [terms, _machine_line(report["machine"])])


def _parse_parts(only: str | None) -> tuple[str, ...]:
    """Return the requested parts. Raises typer.BadParameter for an unknown one."""
    if only is None:
        return DEFAULT_PARTS
    names = tuple(name.strip() for name in only.split(",") if name.strip())
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise typer.BadParameter(
            f"There is no part {', '.join(unknown) or repr(only)}; choose among {', '.join(PARTS)}.",
            param_hint="--only",
        )
    return names


def _spread(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Return this many names, evenly spaced; at least two, because the judge compares classes."""
    count = min(max(2, count), len(names))
    return tuple(names[index * len(names) // count] for index in range(count))


def _measure_memory(pack: Path, device: str, limit_gb: float | None) -> list[MemoryRow]:
    from rewas_engine import Execution
    from rewas_engine.evaluation.memory_use import memory_table

    precisions = ["float32", "bfloat16"] + (["float16"] if device != "cpu" else [])
    executions = [Execution(precision=one, low_memory=low) for one in precisions for low in (False, True)]
    return memory_table(pack, device, executions, limit_gb=limit_gb)


def _procedure_table(comparison: Comparison) -> Table:
    """One column for each procedure, so that the table fits into a terminal."""
    both = (comparison.ours, comparison.released)
    table = Table("", *(timing.name for timing in both), title="From the video file to the waveform")
    table.title_justify = "left"
    rows: dict[str, list[str]] = {
        "sampler": [timing.sampler for timing in both],
        "steps": [_steps(timing) for timing in both],
        "guidance": [f"{timing.guidance_scale:g}" for timing in both],
        "precision": [timing.precision for timing in both],
        **{f"{stage}, s": [f"{timing.seconds.get(stage, 0.0):.2f}" for timing in both] for stage in _STAGES},
        "total, s": [f"{timing.total_s:.2f}" for timing in both],
        "CPU time, s": [f"{timing.processor_s:.2f}" for timing in both],
        "another take, s": [_format_number(timing.again_s, 2) for timing in both],
        "loading, s": [f"{timing.load_s:.2f}" for timing in both],
        "peak, GB": [_format_number(timing.peak_gb, 2) for timing in both],
    }
    for name, values in rows.items():
        table.add_row(name, *values)
    return table


def _steps(timing: Timing) -> str:
    return f"{timing.num_inference_steps}" + (f" ({timing.measured_steps} measured)" if timing.is_extrapolated else "")


def _verdict(comparison: Comparison) -> str:
    extrapolated = comparison.released.is_extrapolated
    note = (
        f", extrapolated from {comparison.released.measured_steps} of the release's "
        f"{comparison.released.num_inference_steps} steps"
        if extrapolated
        else ""
    )
    return (
        f"The default is {comparison.ratio:.1f} times as fast as the released procedure on the same weights{note}. "
        f"By CPU time, which depends less on other programs, it is {comparison.processor_ratio:.1f} times as fast."
    )


def _sampler_table(rows: list[SamplerRow], title: str) -> Table:
    heads = ("sampler", "steps", "correlation", "10th pct.", "MAE nats", "class", "log-mel L1 nats", "s a clip")
    table = Table(*heads, title=title, title_justify="left")
    for row in rows:
        figures = (
            row.correlation_mean,
            row.correlation_worse_tenth,
            row.mae_nats,
            row.right_class,
            row.log_mel_l1_nats,
        )
        table.add_row(
            row.sampler, str(row.num_steps), *(f"{value:.3f}" for value in figures), f"{row.seconds_a_clip:.2f}"
        )
    return table


def _batch_table(peak: float, rows: list[BatchRow], precision: str) -> Table:
    title = f"One pass of denoiser and adapter; matrix multiplication reaches {peak:.2f} TFLOP/s in {precision}"
    table = Table("windows", "s", "TFLOP/s", "share of the peak", "", title=title, title_justify="left")
    for row in rows:
        share = "–" if row.share is None else f"{100 * row.share:.0f} %"
        table.add_row(
            str(row.batch), _format_number(row.seconds, 3), _format_number(row.teraflops, 2), share, row.failed
        )
    return table


def _memory_table(rows: list[MemoryRow]) -> Table:
    heads = ("precision", "low memory", "weights GB", "peak GB", "")
    table = Table(*heads, title="Memory for one window", title_justify="left")
    for row in rows:
        low = "yes" if row.low_memory else "no"
        table.add_row(row.precision, low, _format_number(row.weights_gb, 2), _format_number(row.peak_gb, 2), row.failed)
    return table


def _format_number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _machine_line(machine: dict[str, Any]) -> str:
    busy = "" if machine["load"] is None else f", load {machine['load']:g}"
    threads = f"{machine['threads']} threads of {machine['cores']} cores"
    return f"on {machine['device']}, {threads}{busy}, torch {machine['torch']}"
