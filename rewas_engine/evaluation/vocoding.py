"""What the vocoder alone loses: real log-mels to sound and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rewas_engine.energy import FloatArray
from rewas_engine.evaluation.bench import Bench, BenchClip
from rewas_engine.evaluation.controls import mean_by_class
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.griffin_lim import griffin_lim
from rewas_engine.evaluation.words import right_share

REFERENCE_SHARE = 10
"""Griffin-Lim takes its time: it is tried on every tenth clip."""


def vocoder_section(bench: Bench) -> Section:
    """Mean absolute difference of real log-mels and those of their vocoded sound; Griffin-Lim on some of them."""
    real = np.stack([clip.log_mel for clip in bench.clips])
    heard = bench.heard(bench.vocoded(real, bench.clips))
    losses = [float(loss) for loss in np.abs(heard - real).mean(axis=(1, 2))]
    by_class = mean_by_class(bench.clips, losses)
    worst_name, worst = max(by_class.items(), key=lambda row: row[1])
    chosen = list(range(0, len(bench.clips), REFERENCE_SHARE))
    references = _griffin_lim_losses(bench, [bench.clips[number] for number in chosen])
    figures = (
        Figure("vocoder_l1", "Vocoder's mel L1 on real clips", float(np.mean(losses)), "nats"),
        Figure("vocoder_l1_worst", "Vocoder's mel L1, worst class", worst, "nats", worst_name.replace("_", " ")),
        Figure(
            "vocoder_real_class",
            "Right class of real clips after the vocoder",
            right_share(bench.judge, bench.clips, heard),
        ),
        Figure(
            "griffin_lim_l1",
            "Griffin-Lim's mel L1, for comparison",
            float(np.mean(references)),
            "nats",
            f"on {len(chosen)} clips, where the vocoder has {np.mean([losses[number] for number in chosen]):.3f}",
        ),
    )
    details = {
        "l1_by_class": by_class,
        "griffin_lim_l1_by_class": mean_by_class([bench.clips[number] for number in chosen], references),
    }
    return Section("vocoder", "Vocoder", figures, details)


def _griffin_lim_losses(bench: Bench, clips: Sequence[BenchClip]) -> list[float]:
    losses = []
    for number, clip in enumerate(clips):
        bench.watch.tell("Griffin-Lim", number, len(clips))
        made: FloatArray = griffin_lim(clip.log_mel, bench.model.front_end)
        losses.append(float(np.abs(bench.heard([made])[0] - clip.log_mel).mean()))
    return losses
