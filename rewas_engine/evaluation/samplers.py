"""Cost of few steps: samplers and numbers of steps compared with 200 steps on the development split."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import Controls
from rewas_engine.evaluation.bench import Bench, BenchClip, Watch, bench_clips, check_audio_format, check_has_model
from rewas_engine.evaluation.control_following import energy_agreements
from rewas_engine.evaluation.curve_agreement import summary
from rewas_engine.evaluation.judge import Judge
from rewas_engine.evaluation.prompt_adherence import share_correct
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.generation.options import Sampling
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.models.sampler_names import SAMPLER_NAMES
from rewas_engine.packs.description import DEFAULT_PACK
from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.execution import Execution
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_engine.world import CLASS_NAMES

REFERENCE_STEPS = 200
CHOICES = tuple((sampler, steps) for sampler in SAMPLER_NAMES for steps in (6, 10, 15, 25))
"""Samplers and numbers of steps to compare."""


@dataclass(frozen=True)
class SamplerRow:
    """Result of one sampler with one number of steps.

    Attributes:
        sampler: "reference" has REFERENCE_STEPS steps and adds no noise (eta 0), with the same prompts, energies and
            initial noise as the others.
        num_steps: Sampling steps.
        correlation_mean: Correlation of requested and generated energy, mean.
        correlation_worse_tenth: The same, 10th percentile.
        mae_nats: Mean absolute difference of requested and generated energy.
        right_class: Class accuracy by the judge.
        log_mel_l1_nats: Mean absolute difference from the reference.
        seconds_a_clip: Seconds per clip, in batches.
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
        """Convert to JSON."""
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
    on_progress: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> list[SamplerRow]:
    """Measure the reference, then each sampler with its number of steps, at the default guidance scale of the pack.

    Args:
        model: The pack.
        choices: Samplers and numbers of steps.
        reference_steps: Steps of the reference.
        clips_per_class: Clips of the development split.
        classes: Classes of the world.
        judge: The judge; None for the shipped one.
        reference_model: Model that generates the reference, for example the same pack in float32; None for `model`.
        on_progress: Called with the progress.
        cancel: Stops the work when it is set.

    Raises:
        PackError: The pack is a library of recordings, or its audio format differs from the world's.
        SettingsError: A setting is invalid.
        Cancelled: The work was cancelled.
    """
    check_has_model(model)
    check_audio_format(model)
    watch = Watch(on_progress, cancel)
    watch.section = "samplers"
    clips = bench_clips(DEVELOPMENT, classes, clips_per_class, model.front_end, watch)
    reference_settings = replace(
        model.sampling_settings(Sampling(num_inference_steps=reference_steps, sampler="ddim")), eta=0.0
    )
    bench = Bench(model, judge or Judge.load(), clips, reference_settings, watch)
    other = reference_model or model
    reference_settings = replace(reference_settings, precision=other.sampling_settings().precision)
    reference, spent_s = _generate(
        Bench(other, bench.judge, clips, reference_settings, watch), clips, reference_settings
    )
    rows = [_row("reference", bench, reference, reference, reference_settings, spent_s)]
    for sampler, count in choices:
        settings = model.sampling_settings(Sampling(num_inference_steps=count, sampler=sampler))
        log_mels, spent_s = _generate(bench, clips, settings)
        rows.append(_row(sampler, bench, log_mels, reference, settings, spent_s))
    return rows


def measure_few_steps(
    choice: tuple[str, int],
    *,
    device: str = "auto",
    execution: Execution | None = None,
    classes: Sequence[str] = CLASS_NAMES,
    reference_steps: int = REFERENCE_STEPS,
    on_progress: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> list[SamplerRow]:
    """Compare few steps in low precision with many steps in float32 on the starter pack, with one clip per class.

    Args:
        choice: Sampler and steps to measure, in addition to the defaults of the pack.
        device: Device to run on.
        execution: Execution of the few steps; None for the default.
        classes: Classes of the world.
        reference_steps: Steps of the reference.
        on_progress: Called with the progress.
        cancel: Stops the work when it is set.

    Raises:
        SettingsError: A setting is invalid.
        InsufficientMemoryError: Out of memory.
        Cancelled: The work was cancelled.
    """
    model = ReWaS.from_pretrained(DEFAULT_PACK, device=device, execution=execution)
    reference_settings = ReWaS.from_pretrained(DEFAULT_PACK, device=device, execution=Execution(precision="float32"))
    usual = model.sampling_settings()
    choices = tuple(dict.fromkeys(((usual.sampler, usual.num_inference_steps), choice)))
    return compare_samplers(
        model,
        choices=choices,
        classes=classes,
        reference_steps=reference_steps,
        reference_model=reference_settings,
        on_progress=on_progress,
        cancel=cancel,
    )


def _generate(
    bench: Bench, clips: Sequence[BenchClip], settings: SamplingSettings
) -> tuple[NDArray[np.float32], float]:
    started = time.perf_counter()
    what = f"{settings.sampler}, {settings.num_inference_steps} steps"
    controls = [Controls(energy=clip.energy) for clip in clips]
    log_mels = bench.generate(what, [clip.plain for clip in clips], controls, settings=settings).log_mels
    return log_mels, time.perf_counter() - started


def _row(
    name: str,
    bench: Bench,
    log_mels: NDArray[np.float32],
    reference: NDArray[np.float32],
    settings: SamplingSettings,
    spent_s: float,
) -> SamplerRow:
    correlations, maes_nats = energy_agreements([clip.energy for clip in bench.clips], log_mels)
    return SamplerRow(
        name,
        settings.num_inference_steps,
        float(np.mean(correlations)),
        summary(correlations).worse_tenth or 0.0,
        float(np.mean(maes_nats)),
        share_correct(bench.judge, bench.clips, log_mels),
        float(np.abs(log_mels - reference).mean()),
        spent_s / len(bench.clips),
    )
