"""Loss of the vocoder alone, from real log-mels to sound and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rewas_engine.curves.energy import FloatArray
from rewas_engine.evaluation.bench import Bench, BenchClip
from rewas_engine.evaluation.control_following import mean_by_class
from rewas_engine.evaluation.figures import Figure, Section, unsupported_figure
from rewas_engine.evaluation.figures_with_picture import figure_with_picture
from rewas_engine.evaluation.griffin_lim import griffin_lim
from rewas_engine.evaluation.prompt_adherence import share_correct
from rewas_engine.evaluation.sound_sources import NO_VOCODER

_L1, _L1_WORST = "Vocoder's mel L1 on original sounds", "Vocoder's mel L1, worst class"
_REAL_CLASS = "Class accuracy of original sounds after the vocoder"
_GRIFFIN_LIM = "Griffin-Lim's mel L1, for comparison"
REFERENCE_SHARE = 10
"""Griffin-Lim is slow, so it runs on every tenth clip."""


RIPPLE_SPAN_HOPS = 9
"""Number of hops over whose level the ripple is normalised, so that a strike counts no more than its tail."""
RIPPLE_QUIETEST_POWER = 1e-8
"""Power (−80 dBFS) below which ripple is ignored."""


def vocoder_section(bench: Bench) -> Section:
    """Build the section: loss of the vocoder on real log-mels, Griffin-Lim on some clips, and ripple within hops.

    Without a vocoder, the section has only the ripple of the sounds.
    """
    if not bench.source.has_vocoder:
        return _section_without_vocoder(bench)
    real = np.stack([clip.log_mel for clip in bench.clips])
    vocoded = bench.sounds(real).waveforms
    revocoded, hop = bench.log_mels(vocoded), bench.model.front_end.config.hop_samples
    losses = [float(loss) for loss in np.abs(revocoded - real).mean(axis=(1, 2))]
    by_class = mean_by_class(bench.clips, losses)
    worst_name, worst = max(by_class.items(), key=lambda row: row[1])
    chosen = list(range(0, len(bench.clips), REFERENCE_SHARE))
    references = _griffin_lim_losses(bench, [bench.clips[number] for number in chosen])
    figures = (
        Figure("vocoder_l1", _L1, float(np.mean(losses)), "nats"),
        *figure_with_picture("vocoder_l1", _L1, bench.clips, losses, "nats"),
        Figure("vocoder_l1_worst", _L1_WORST, worst, "nats", worst_name.replace("_", " ")),
        Figure(
            "vocoder_real_class",
            _REAL_CLASS,
            share_correct(bench.judge, bench.clips, revocoded),
        ),
        Figure(
            "vocoder_ripple",
            "Ripple of the power within a hop after the vocoder",
            mean_ripple(vocoded, hop),
            "",
            f"original sounds: {_original_ripple(bench):.2f}",
        ),
        Figure(
            "griffin_lim_l1",
            _GRIFFIN_LIM,
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


def _section_without_vocoder(bench: Bench) -> Section:
    """The figures that need a vocoder, without values, and the ripple of the sounds."""
    hop = bench.model.front_end.config.hop_samples
    figures = (
        unsupported_figure("vocoder_l1", _L1, NO_VOCODER),
        unsupported_figure("vocoder_l1_worst", _L1_WORST, NO_VOCODER),
        unsupported_figure("vocoder_real_class", _REAL_CLASS, NO_VOCODER),
        Figure(
            "vocoder_ripple",
            "Ripple of the power within a hop",
            mean_ripple(bench.plain_waveforms, hop),
            "",
            f"plain prompts with their own energy; original sounds: {_original_ripple(bench):.2f}",
        ),
        unsupported_figure("griffin_lim_l1", _GRIFFIN_LIM, NO_VOCODER),
    )
    return Section("vocoder", "Vocoder", figures)


def _original_ripple(bench: Bench) -> float:
    return mean_ripple([clip.sound for clip in bench.clips], bench.model.front_end.config.hop_samples)


def mean_ripple(waveforms: Sequence[FloatArray], hop_samples: int) -> float:
    """Mean of `hop_ripple` over all waveforms that are not silent."""
    ripples = [ripple for waveform in waveforms if (ripple := hop_ripple(waveform, hop_samples)) is not None]
    return float(np.mean(ripples)) if ripples else 0.0


def hop_ripple(waveform: FloatArray, hop_samples: int) -> float | None:
    """Measure how much the power depends on the position within a hop: standard deviation over positions / mean.

    It is 0 if every position is equally loud. A vocoder that puts one pulse into every hop makes noise buzz at the
    hop rate, which a log-mel does not show. Every hop has the same weight, whatever its level.

    Args:
        waveform: [samples].
        hop_samples: Hop of the log-mel.

    Returns:
        The ripple; None for silence and for waveforms that are too short.
    """
    hops = len(waveform) // hop_samples
    power = np.square(waveform[: hops * hop_samples].astype(np.float64)).reshape(hops, hop_samples)
    if hops < RIPPLE_SPAN_HOPS:
        return None
    half = RIPPLE_SPAN_HOPS // 2
    level = np.convolve(
        np.pad(power.mean(axis=1), half, mode="edge"), np.full(2 * half + 1, 1 / (2 * half + 1)), "valid"
    )
    audible = level > RIPPLE_QUIETEST_POWER
    if not audible.any():
        return None
    profile = (power[audible] / level[audible, None]).mean(axis=0)
    return float(profile.std() / profile.mean())


def _griffin_lim_losses(bench: Bench, clips: Sequence[BenchClip]) -> list[float]:
    losses = []
    for number, clip in enumerate(clips):
        bench.watch.report("Griffin-Lim", number, len(clips))
        waveform: FloatArray = griffin_lim(clip.log_mel, bench.model.front_end)
        losses.append(float(np.abs(bench.log_mels([waveform])[0] - clip.log_mel).mean()))
    return losses
