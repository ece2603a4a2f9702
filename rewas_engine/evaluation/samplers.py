"""What few steps cost: samplers and numbers of steps, held against two hundred on the development split."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import Controls
from rewas_engine.evaluation.control_following import followed
from rewas_engine.evaluation.curve_agreement import summary
from rewas_engine.evaluation.judge import Judge
from rewas_engine.evaluation.prompt_adherence import right_share
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.evaluation.test_bench import Bench, BenchClip, EvaluationProgress, Watch, bench_clips, check_geometry
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.models.sampler_names import SAMPLER_NAMES
from rewas_engine.packs.description import DEFAULT_PACK
from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.execution import Execution
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.world import CLASS_NAMES

REFERENCE_STEPS = 200
CHOICES = tuple((sampler, steps) for sampler in SAMPLER_NAMES for steps in (6, 10, 15, 25))
"""Samplers and numbers of steps that are tried."""


@dataclass(frozen=True)
class SamplerRow:
    """What a sampler with so many steps comes to.

    sampler: "reference" is that of REFERENCE_STEPS without noise of its own, whose words, energies and noise are the
    others' too. correlation_mean, correlation_worse_tenth, mae_nats: of the wanted and the made energy. right_class:
    as the judge hears it. log_mel_l1_nats: mean absolute difference to the reference. seconds_a_clip: as made in
    batches here.
    """

    sampler: str
    num_steps: int
    correlation_mean: float
    correlation_worse_tenth: float
    mae_nats: float
    right_class: float
    log_mel_l1_nats: float
    seconds_a_clip: float

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


def compare_samplers(
    model: ReWaS,
    *,
    choices: Sequence[tuple[str, int]] = CHOICES,
    reference_steps: int = REFERENCE_STEPS,
    clips_per_class: int = 1,
    classes: Sequence[str] = CLASS_NAMES,
    judge: Judge | None = None,
    reference_model: ReWaS | None = None,
    on_progress: Callable[[EvaluationProgress], object] | None = None,
    cancel: CancelSignal | None = None,
) -> list[SamplerRow]:
    """The reference first, then each sampler with its number of steps, with the pack's own guidance.

    reference_model: what the reference is made with: the same pack, run in float32 perhaps; None is the model itself.
    reference_model: what the reference is made with: the same pack, run in float32 perhaps; None is the model itself.
    Raises PackError for a pack that hears otherwise than the world, SettingsError, Cancelled.
    """
    check_geometry(model)
    watch = Watch(on_progress, cancel)
    watch.section = "samplers"
    clips = bench_clips(DEVELOPMENT, classes, clips_per_class, model.front_end, watch)
    whole = replace(model.sampling_settings(reference_steps, sampler="ddim"), eta=0.0)
    bench = Bench(model, judge or Judge.load(), clips, whole, watch)
    other = reference_model or model
    whole = replace(whole, precision=other.sampling_settings().precision)
    reference, spent_s = _made(Bench(other, bench.judge, clips, whole, watch), clips, whole)
    rows = [_row("reference", bench, reference, reference, whole, spent_s)]
    for sampler, count in choices:
        settings = model.sampling_settings(count, sampler=sampler)
        made, spent_s = _made(bench, clips, settings)
        rows.append(_row(sampler, bench, made, reference, settings, spent_s))
    return rows


def few_steps_cost(
    asked: tuple[str, int],
    *,
    device: str = "auto",
    execution: Execution | None = None,
    classes: Sequence[str] = CLASS_NAMES,
    reference_steps: int = REFERENCE_STEPS,
    on_progress: Callable[[EvaluationProgress], object] | None = None,
    cancel: CancelSignal | None = None,
) -> list[SamplerRow]:
    """What few steps in low precision cost on the starter pack, against many in float32: one clip of each class.

    asked: a sampler and its steps, tried beside the starter's own. Raises SettingsError, InsufficientMemoryError,
    Cancelled.
    """
    model = ReWaS.from_pretrained(DEFAULT_PACK, device=device, execution=execution)
    whole = ReWaS.from_pretrained(DEFAULT_PACK, device=device, execution=Execution(precision="float32"))
    usual = model.sampling_settings()
    choices = tuple(dict.fromkeys(((usual.sampler, usual.num_steps), asked)))
    return compare_samplers(
        model,
        choices=choices,
        classes=classes,
        reference_steps=reference_steps,
        reference_model=whole,
        on_progress=on_progress,
        cancel=cancel,
    )


def _made(bench: Bench, clips: Sequence[BenchClip], settings: SamplingSettings) -> tuple[NDArray[np.float32], float]:
    started = time.perf_counter()
    what = f"{settings.sampler}, {settings.num_steps} steps"
    controls = [Controls(energy=clip.energy) for clip in clips]
    made = bench.generated(what, [clip.plain for clip in clips], controls, settings=settings)
    return made, time.perf_counter() - started


def _row(
    name: str,
    bench: Bench,
    made: NDArray[np.float32],
    reference: NDArray[np.float32],
    settings: SamplingSettings,
    spent_s: float,
) -> SamplerRow:
    correlations, maes_nats = followed([clip.energy for clip in bench.clips], made)
    return SamplerRow(
        name,
        settings.num_steps,
        float(np.mean(correlations)),
        summary(correlations).worse_tenth or 0.0,
        float(np.mean(maes_nats)),
        right_share(bench.judge, bench.clips, made),
        float(np.abs(made - reference).mean()),
        spent_s / len(bench.clips),
    )
