"""Grid search for the sampling settings of a pack, on the development split instead of the test split."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from rewas_engine.conditioning.controls import Controls
from rewas_engine.evaluation.bench import Bench, Watch, bench_clips, check_audio_format, check_has_model
from rewas_engine.evaluation.control_following import energy_agreements
from rewas_engine.evaluation.curve_agreement import summary
from rewas_engine.evaluation.figures import TARGETS, Trained
from rewas_engine.evaluation.judge import Judge
from rewas_engine.evaluation.known_classes import known_classes
from rewas_engine.evaluation.prompt_adherence import share_correct
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.generation.options import Sampling
from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback

STEPS = (8, 10, 15, 20)
GUIDANCE_SCALES = (1.0, 1.25, 1.5, 1.75, 2.0)
CHOICE_CLIPS_PER_CLASS = 3
_DECISIVE_FIGURES = (
    "energy_correlation_mean",
    "energy_correlation_worse_tenth",
    "energy_mae_nats",
    "class",
    "class_swapped",
)


@dataclass(frozen=True)
class TriedSetting:
    """Result of one setting on the development split.

    Attributes:
        num_steps: Sampling steps.
        guidance_scale: Guidance scale.
        unguided_share: Share of steps without guidance.
        correlation_mean: Correlation of requested and generated energy, mean.
        correlation_worse_tenth: The same, 10th percentile.
        mae_nats: Mean absolute difference of requested and generated energy.
        right_class: Class accuracy with plain prompts.
        right_class_swapped: Class accuracy with another class's energy.
        seconds_a_clip: Seconds per clip, in batches.
        margin: Distance of the worst figure from its target, as a share of the target; negative if the target is
            missed.
    """

    num_steps: int
    guidance_scale: float
    unguided_share: float
    correlation_mean: float
    correlation_worse_tenth: float
    mae_nats: float
    right_class: float
    right_class_swapped: float
    seconds_a_clip: float
    margin: float

    def report(self) -> dict[str, Any]:
        """Convert to JSON."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def try_settings(
    model: ReWaS,
    *,
    clips_per_class: int = CHOICE_CLIPS_PER_CLASS,
    steps: Sequence[int] = STEPS,
    guidance_scales: Sequence[float] = GUIDANCE_SCALES,
    unguided_shares: Sequence[float] | None = None,
    classes: Sequence[str] | None = None,
    trained: Trained = "cpu",
    judge: Judge | None = None,
    on_progress: ProgressCallback | None = None,
    cancel: CancelSignal | None = None,
) -> list[TriedSetting]:
    """Measure every combination of steps, guidance scale and unguided share on the same clips and noise.

    Args:
        model: The pack.
        clips_per_class: Clips of the development split.
        steps: Numbers of steps.
        guidance_scales: Guidance scales.
        unguided_shares: See SamplingSettings; None for the default of the pack.
        classes: Classes of the world, two or more; None for those that the pack knows.
        trained: Device that the targets are for.
        judge: The judge; None for the shipped one.
        on_progress: Called with the progress.
        cancel: Stops the work when it is set.

    Returns:
        One result per combination, in the order of the grid.

    Raises:
        SettingsError: A setting is out of range.
        PackError: The pack is a library of recordings, or its audio format differs from the world's.
        Cancelled: The work was cancelled.
    """
    check_has_model(model)
    check_audio_format(model)
    shares = (model.sampling_settings().unguided_share,) if unguided_shares is None else unguided_shares
    grid = [
        replace(
            model.sampling_settings(Sampling(num_inference_steps=count, guidance_scale=scale)), unguided_share=share
        )
        for count, scale, share in product(steps, guidance_scales, shares)
    ]
    watch = Watch(on_progress, cancel)
    watch.section = "choose"
    chosen_judge = judge or Judge.load()
    clips = bench_clips(DEVELOPMENT, classes or known_classes(model.pack), clips_per_class, model.front_end, watch)
    return [_try_setting(Bench(model, chosen_judge, clips, settings, watch), trained) for settings in grid]


def best_setting(rows: Sequence[TriedSetting]) -> TriedSetting:
    """Choose the setting with the fewest steps among those within 0.01 of the largest margin."""
    near = [row for row in rows if row.margin >= max(other.margin for other in rows) - 0.01]
    return min(near, key=lambda row: (row.num_steps, -row.margin))


def _try_setting(bench: Bench, trained: Trained) -> TriedSetting:
    settings, clips = bench.settings, bench.clips
    started = time.perf_counter()
    plain = bench.generate(
        f"{settings.num_inference_steps} steps, guidance {settings.guidance_scale:g}",
        [clip.plain for clip in clips],
        [Controls(energy=clip.energy) for clip in clips],
    ).log_mels
    seconds_a_clip = (time.perf_counter() - started) / len(clips)
    correlations, maes_nats = energy_agreements([clip.energy for clip in clips], plain)
    figures = (
        float(np.mean(correlations)),
        summary(correlations).worse_tenth or 0.0,
        float(np.mean(maes_nats)),
        share_correct(bench.judge, clips, plain),
        share_correct(bench.judge, clips, bench.swapped),
    )
    margin = min(_margin(key, value, trained) for key, value in zip(_DECISIVE_FIGURES, figures, strict=True))
    return TriedSetting(
        settings.num_inference_steps, settings.guidance_scale, settings.unguided_share, *figures, seconds_a_clip, margin
    )


def _margin(key: str, value: float, trained: Trained) -> float:
    target = TARGETS[key]
    above = value - target.value(trained)
    return (above if target.at_least else -above) / target.value(trained)
