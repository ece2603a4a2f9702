"""Choosing how a pack samples: steps and guidance tried on the development split, never on the test split."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from rewas_engine.conditioning.controls import Controls
from rewas_engine.evaluation.control_following import followed
from rewas_engine.evaluation.curve_agreement import summary
from rewas_engine.evaluation.figures import BARS, Trained
from rewas_engine.evaluation.judge import Judge
from rewas_engine.evaluation.prompt_adherence import right_share
from rewas_engine.evaluation.splits import DEVELOPMENT
from rewas_engine.evaluation.test_bench import Bench, EvaluationProgress, Watch, bench_clips, check_geometry
from rewas_engine.pipeline import ReWaS
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.world import CLASS_NAMES

STEPS = (8, 10, 15, 20)
GUIDANCE_SCALES = (1.0, 1.25, 1.5, 1.75, 2.0)
CHOOSING_CLIPS_PER_CLASS = 3
_JUDGED_BY = (
    "energy_correlation_mean",
    "energy_correlation_worse_tenth",
    "energy_mae_nats",
    "class",
    "class_swapped",
)


@dataclass(frozen=True)
class TriedSetting:
    """What one setting comes to on the development split.

    seconds_a_clip: as it was made in batches here. margin: how far the figure that stands worst against its bar lies
    above it (below: negative), as a share of the bar.
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
        """As JSON."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def try_settings(
    model: ReWaS,
    *,
    clips_per_class: int = CHOOSING_CLIPS_PER_CLASS,
    steps: Sequence[int] = STEPS,
    guidance_scales: Sequence[float] = GUIDANCE_SCALES,
    unguided_shares: Sequence[float] | None = None,
    classes: Sequence[str] = CLASS_NAMES,
    trained: Trained = "cpu",
    judge: Judge | None = None,
    on_progress: Callable[[EvaluationProgress], object] | None = None,
    cancel: CancelSignal | None = None,
) -> list[TriedSetting]:
    """Every choice of steps, guidance and unguided share on the same clips and noise, in the order of the grid.

    unguided_shares: see SamplingSettings; None is the pack's own alone. classes: two or more. judge: of the words; None
    is the shipped one.
    Raises SettingsError for settings out of range, PackError for a pack that hears otherwise than the world, Cancelled.
    """
    check_geometry(model)
    shares = (model.sampling_settings().unguided_share,) if unguided_shares is None else unguided_shares
    grid = [
        replace(model.sampling_settings(count, scale), unguided_share=share)
        for count, scale, share in product(steps, guidance_scales, shares)
    ]
    watch = Watch(on_progress, cancel)
    watch.section = "choose"
    shown_to = judge or Judge.load()
    clips = bench_clips(DEVELOPMENT, classes, clips_per_class, model.front_end, watch)
    return [_tried(Bench(model, shown_to, clips, settings, watch), trained) for settings in grid]


def best_setting(rows: Sequence[TriedSetting]) -> TriedSetting:
    """The setting with the largest margin; of those within a hundredth of it the one with the fewest steps."""
    near = [row for row in rows if row.margin >= max(other.margin for other in rows) - 0.01]
    return min(near, key=lambda row: (row.num_steps, -row.margin))


def _tried(bench: Bench, trained: Trained) -> TriedSetting:
    settings, clips = bench.settings, bench.clips
    started = time.perf_counter()
    plain = bench.generated(
        f"{settings.num_steps} steps, guidance {settings.guidance_scale:g}",
        [clip.plain for clip in clips],
        [Controls(energy=clip.energy) for clip in clips],
    )
    seconds_a_clip = (time.perf_counter() - started) / len(clips)
    correlations, maes_nats = followed([clip.energy for clip in clips], plain)
    figures = (
        float(np.mean(correlations)),
        summary(correlations).worse_tenth or 0.0,
        float(np.mean(maes_nats)),
        right_share(bench.judge, clips, plain),
        right_share(bench.judge, clips, bench.swapped),
    )
    margin = min(_margin(key, value, trained) for key, value in zip(_JUDGED_BY, figures, strict=True))
    return TriedSetting(
        settings.num_steps, settings.guidance_scale, settings.unguided_share, *figures, seconds_a_clip, margin
    )


def _margin(key: str, value: float, trained: Trained) -> float:
    bar = BARS[key]
    above = value - bar.value(trained)
    return (above if bar.at_least else -above) / bar.value(trained)
