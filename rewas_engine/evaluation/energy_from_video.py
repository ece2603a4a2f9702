"""Energy from video on clips of the world: visible sources, sources off screen, and silent motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.levels import normalise
from rewas_engine.curves.energy import EnergyCurve, FloatArray, energy_agreement
from rewas_engine.evaluation.bench import Watch
from rewas_engine.evaluation.curve_agreement import Agreement, agreement, mean_note, summary
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.motion_baselines import frame_difference, smoothed_log_difference
from rewas_engine.evaluation.splits import Split
from rewas_engine.pipeline import ReWaS
from rewas_engine.world import Scene, render_brightness, render_sound

NATIVE_RATES = tuple(Fraction(rate) for rate in ("25", "24000/1001", "30", "15", "60", "50"))
"""Frame rates that the test clips have in turn; each is converted to the frame rate of the pack, as for a file."""
INAUDIBLE_NATS = 0.1
"""Standard deviation below which an estimate counts as constant, so that it does not follow motion."""
COURSE_NATS = 0.25
"""Standard deviation below which the energy of a clip counts as even, so that there is nothing to estimate."""
EXAMPLES = 4
_VISIBLE = ("picture_visible", "Energy from video, visible sources")


@dataclass(frozen=True, eq=False)
class VideoEstimate:
    """A clip and the energy that a pack estimates from it, at the pack's frame rate.

    Attributes:
        scene: The clip's scene.
        native_rate: Frame rate of the clip.
        estimated: Estimated energy, [T] nats.
        true: Energy of the clip's sound, [T] nats.
        motion: Frame difference, [T] levels.
        agreement: Agreement of estimated and true energy.
    """

    scene: Scene
    native_rate: Fraction
    estimated: FloatArray
    true: FloatArray
    motion: FloatArray
    agreement: Agreement


def energy_from_video_section(model: ReWaS, split: Split, clips: int, watch: Watch) -> Section:
    """Build the section: correlation of the estimate with the true energy, and with silent motion.

    Clips with an even sound are reported separately.

    Args:
        model: The pack.
        split: Source of the scenes.
        clips: Number of clips with a visible source; 0 if no class has a picture. A tenth as many have silent motion,
            and a tenth as many a source off screen.
        watch: For progress and cancellation.
    """
    if clips == 0:
        return Section("picture", "Energy from video", (Figure(*_VISIBLE, None, note="not measured: no such clips"),))
    rate = model.frame_format[0]
    shown = _estimate_all(model, split.visible(clips), "Visible sources", watch)
    visible = [one for one in shown if has_variation(one.true)]
    even = [one for one in shown if not has_variation(one.true)]
    silent = _estimate_all(model, split.silent_motion(max(2, clips // 10)), "Motion without sound", watch)
    hidden = _estimate_all(model, split.off_screen(max(2, clips // 10)), "Sources off screen", watch)
    correlations = [one.agreement.correlation or 0.0 for one in visible]
    differences = [_correlation(one.true, one.motion) for one in visible]
    smoothed = [_correlation(one.true, smoothed_log_difference(one.motion, rate)) for one in visible]
    motion_correlations = [follows_motion(one.estimated, one.motion) for one in silent]
    of_visible = summary(correlations)
    figures = (
        Figure(
            *_VISIBLE,
            of_visible.mean,
            note=mean_note(correlations),
        ),
        Figure("picture_visible_worse_tenth", "The same, 10th percentile", of_visible.worse_tenth),
        Figure("picture_visible_median", "The same, median", of_visible.median),
        Figure(
            "picture_visible_smoothed",
            "The same, both curves smoothed as in the method",
            summary([_correlation(_smoothed(one.true, rate), _smoothed(one.estimated, rate)) for one in visible]).mean,
        ),
        Figure(
            "picture_visible_best_lag",
            "The same at its best lag within ±0.2 s",
            summary([one.agreement.best_correlation or 0.0 for one in visible]).mean,
        ),
        Figure(
            "picture_visible_mae_nats", "The same, error", _mean([one.agreement.mae_nats for one in visible]), "nats"
        ),
        Figure(
            "picture_even_nats",
            "Standard deviation of the estimate on clips with an even sound",
            _mean([float(one.estimated.std()) for one in even]),
            "nats",
            note=f"{len(even)} clips" if even else "not measured: no such clips",
        ),
        Figure("picture_frame_difference", "Frame difference on the same clips", _mean(differences)),
        Figure("picture_log_difference", "Smoothed log difference on the same clips", _mean(smoothed)),
        Figure(
            "picture_silent_motion",
            "Correlation of the estimate with motion that makes no sound",
            _mean(motion_correlations),
            note=f"mean magnitude {np.mean(np.abs(motion_correlations)):.3f}"
            if motion_correlations
            else "not measured: no such clips",
        ),
        Figure(
            "picture_silent_motion_nats",
            "Estimated energy above silence, motion without sound",
            _mean([float(one.estimated.mean()) - model.front_end.config.silence_nats for one in silent]),
            "nats",
        ),
        Figure(
            "picture_off_screen",
            "Energy from video, sources off screen",
            _mean([one.agreement.correlation or 0.0 for one in hidden]),
            note="no visible source, so 0 is expected" if hidden else "not measured: no such clips",
        ),
    )
    details = {
        "clips": {
            "visible": len(visible),
            "even": len(even),
            "silent_motion": len(silent),
            "off_screen": len(hidden),
        },
        "by_class": _means([one.scene.class_name for one in visible], correlations),
        "by_pattern": _means([one.scene.pattern for one in visible], correlations),
        "by_native_rate": _means([f"{float(one.native_rate):.5g}" for one in visible], correlations),
    }
    plot_data = {
        "rate_hz": float(rate),
        "visible": np.array(correlations),
        "frame_difference": np.array(differences),
        "silent_motion": np.array(motion_correlations),
        "off_screen": np.array([one.agreement.correlation or 0.0 for one in hidden]),
        "examples": [
            {
                "title": f"{one.scene.class_name.replace('_', ' ')}, {float(one.native_rate):.4g} fps",
                "estimated": one.estimated,
                "true": one.true,
                "correlation": one.agreement.correlation,
            }
            for one in _evenly_spaced(visible, EXAMPLES)
        ],
    }
    return Section("picture", "Energy from video", figures, details, plot_data)


def render_at_pack_rate(
    scene: Scene, native_rate: Fraction, frame_format: tuple[Fraction, int, int]
) -> NDArray[np.uint8]:
    """Render the brightness [T, H, W] of a scene at its native rate, and convert it to the frame rate of a pack."""
    rate, width, height = frame_format
    frames = render_brightness(scene, frame_rate=native_rate, width=width, height=height)
    count = max(1, round(Fraction(scene.duration_s).limit_denominator(10_000) * rate))
    indices = [int((Fraction(2 * index + 1, 2) / rate) * native_rate) for index in range(count)]
    return frames[np.minimum(indices, len(frames) - 1)]


def has_variation(true: FloatArray) -> bool:
    """Whether an energy [T] in nats varies enough for a correlation."""
    return bool(true.std() >= COURSE_NATS)


def follows_motion(estimated: FloatArray, motion: FloatArray) -> float:
    """Correlation of an estimated energy [T] with motion [T]; 0 for a constant estimate."""
    return 0.0 if estimated.std() < INAUDIBLE_NATS else _correlation(estimated, motion)


def _estimate_all(model: ReWaS, scenes: Sequence[Scene], what: str, watch: Watch) -> list[VideoEstimate]:
    rows = []
    for number, scene in enumerate(scenes):
        watch.report(what, number, len(scenes))
        rows.append(_estimate(model, scene, NATIVE_RATES[number % len(NATIVE_RATES)]))
    return rows


def _estimate(model: ReWaS, scene: Scene, native_rate: Fraction) -> VideoEstimate:
    rate = model.frame_format[0]
    frames = render_at_pack_rate(scene, native_rate, model.frame_format)
    sound = render_sound(scene)
    curve_of_sound = model.front_end.measure_energy(normalise(sound) if sound.any() else sound)
    true = average_energy(curve_of_sound, rate, len(frames))
    estimated = model.estimate_energy_from_frames(frames, prompt=prompt_of_scene(scene))
    return VideoEstimate(
        scene, native_rate, estimated, true, frame_difference(frames), agreement(true, estimated, rate)
    )


def prompt_of_scene(scene: Scene) -> str:
    """The prompt for the estimate, if it reads words. Captions of silent scenes would say that nothing sounds, so they
    get the class that is seen.
    """
    return scene.class_name.replace("_", " ") if scene.is_silent else scene.caption


def average_energy(curve: EnergyCurve, rate_hz: Fraction, count: int) -> FloatArray:
    """Average a curve over the spans of values at another, lower rate.

    Args:
        curve: The curve. If it is shorter than the result, its last value is held.
        rate_hz: Rate of the result.
        count: Number of values.

    Returns:
        [count] nats.
    """
    sums = np.concatenate([np.zeros(1), np.cumsum(curve.values, dtype=np.float64)])
    edges = np.arange(count + 1) * float(curve.rate_hz / rate_hz)
    means = np.diff(np.interp(edges, np.arange(sums.size), sums)) / np.diff(edges)
    last = int(np.floor(curve.values.size * float(rate_hz / curve.rate_hz) + 1e-9))
    means[last:] = curve.values[-1]
    return means.astype(np.float32)


def _smoothed(values: FloatArray, rate_hz: Fraction) -> FloatArray:
    return EnergyCurve(values, rate_hz).smooth().values


def _correlation(one: FloatArray, other: FloatArray) -> float:
    return energy_agreement(one, other)[1] or 0.0


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _means(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return {
        name: round(float(np.mean([value for other, value in zip(names, values, strict=True) if other == name])), 4)
        for name in sorted(set(names))
    }


def _evenly_spaced(rows: Sequence[VideoEstimate], count: int) -> list[VideoEstimate]:
    return [rows[int(place)] for place in np.linspace(0, len(rows) - 1, min(count, len(rows)))]
