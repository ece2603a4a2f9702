"""From picture to energy on clips of the world: sources in the picture and off it, and motion that makes no sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.mel import normalised
from rewas_engine.curves.energy import EnergyCurve, FloatArray, energy_agreement
from rewas_engine.evaluation.curve_agreement import Agreement, agreement, certainty, summary
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.motion_baselines import frame_difference, smoothed_log_difference
from rewas_engine.evaluation.splits import Split
from rewas_engine.evaluation.test_bench import Watch
from rewas_engine.pipeline import ReWaS
from rewas_engine.world import Scene, render_brightness, render_sound

NATIVE_RATES = tuple(Fraction(rate) for rate in ("25", "24000/1001", "30", "15", "60", "50"))
"""Frame rates that the test clips have in turn; a pack is shown them at its own rate, as it is shown files."""
INAUDIBLE_NATS = 0.1
"""An estimate that varies by less (standard deviation) calls for nothing that comes and goes: it follows no motion."""
COURSE_NATS = 0.25
"""Energy that varies by less (standard deviation) has no course that a picture could show: noise against noise."""
EXAMPLES = 4


@dataclass(frozen=True, eq=False)
class Seen:
    """A clip as a pack sees it, and what it makes of it, at the pack's picture rate.

    estimated, true, motion: [T] energies in nats, and the frame difference in levels. agreement: of the first two.
    """

    scene: Scene
    native_rate: Fraction
    estimated: FloatArray
    true: FloatArray
    motion: FloatArray
    agreement: Agreement


def picture_section(model: ReWaS, split: Split, clips: int, watch: Watch) -> Section:
    """Correlation of estimated with true energy; and with the motion where that makes no sound.

    clips: with a visible source; a tenth as many have silent motion, and as many a source off screen. Clips whose sound
    is even from end to end are told apart from those that have a course.
    """
    rate = model.picture_format[0]
    shown = _all_seen(model, split.visible(clips), "Sources in the picture", watch)
    visible = [seen for seen in shown if has_course(seen.true)]
    even = [seen for seen in shown if not has_course(seen.true)]
    silent = _all_seen(model, split.silent_motion(max(2, clips // 10)), "Motion without sound", watch)
    hidden = _all_seen(model, split.off_screen(max(2, clips // 10)), "Sources off screen", watch)
    followed = [seen.agreement.correlation or 0.0 for seen in visible]
    differences = [_correlation(seen.true, seen.motion) for seen in visible]
    smoothed = [_correlation(seen.true, smoothed_log_difference(seen.motion, rate)) for seen in visible]
    misled = [follows_motion(seen.estimated, seen.motion) for seen in silent]
    of_visible = summary(followed)
    figures = (
        Figure(
            "picture_visible",
            "Picture to energy, sources in the picture",
            of_visible.mean,
            note=certainty(followed),
        ),
        Figure("picture_visible_worse_tenth", "The same, 10th percentile", of_visible.worse_tenth),
        Figure("picture_visible_median", "The same, median", of_visible.median),
        Figure(
            "picture_visible_smoothed",
            "The same, both curves smoothed as the method smooths",
            summary(
                [_correlation(_smoothed(seen.true, rate), _smoothed(seen.estimated, rate)) for seen in visible]
            ).mean,
        ),
        Figure(
            "picture_visible_best_lag",
            "The same at its best lag within ±0.2 s",
            summary([seen.agreement.best_correlation or 0.0 for seen in visible]).mean,
        ),
        Figure(
            "picture_visible_mae_nats", "The same, error", _mean([seen.agreement.mae_nats for seen in visible]), "nats"
        ),
        Figure(
            "picture_even_nats",
            "What the estimate varies by where the sound is even",
            _mean([float(seen.estimated.std()) for seen in even]),
            "nats",
            note=f"{len(even)} clips" if even else "not measured: no such clips",
        ),
        Figure("picture_frame_difference", "Frame difference on the same clips", _mean(differences)),
        Figure("picture_log_difference", "Smoothed log difference on the same clips", _mean(smoothed)),
        Figure(
            "picture_silent_motion",
            "Estimate against motion that makes no sound",
            _mean(misled),
            note=f"mean size {np.mean(np.abs(misled)):.3f}" if misled else "not measured: no such clips",
        ),
        Figure(
            "picture_silent_motion_nats",
            "Estimated energy where motion makes no sound, above silence",
            _mean([float(seen.estimated.mean()) - model.front_end.config.silence_nats for seen in silent]),
            "nats",
        ),
        Figure(
            "picture_off_screen",
            "Picture to energy, sources off screen",
            _mean([seen.agreement.correlation or 0.0 for seen in hidden]),
            note="nothing to see, nothing expected" if hidden else "not measured: no such clips",
        ),
    )
    details = {
        "clips": {
            "visible": len(visible),
            "even": len(even),
            "silent_motion": len(silent),
            "off_screen": len(hidden),
        },
        "by_class": _means([seen.scene.class_name for seen in visible], followed),
        "by_pattern": _means([seen.scene.pattern for seen in visible], followed),
        "by_native_rate": _means([f"{float(seen.native_rate):.5g}" for seen in visible], followed),
    }
    drawn = {
        "rate_hz": float(rate),
        "visible": np.array(followed),
        "frame_difference": np.array(differences),
        "silent_motion": np.array(misled),
        "off_screen": np.array([seen.agreement.correlation or 0.0 for seen in hidden]),
        "examples": [
            {
                "title": f"{seen.scene.class_name.replace('_', ' ')}, {float(seen.native_rate):.4g} fps",
                "estimated": seen.estimated,
                "true": seen.true,
                "correlation": seen.agreement.correlation,
            }
            for seen in _spread(visible, EXAMPLES)
        ],
    }
    return Section("picture", "Picture to energy", figures, details, drawn)


def seen_frames(scene: Scene, native_rate: Fraction, picture_format: tuple[Fraction, int, int]) -> NDArray[np.uint8]:
    """Brightness [T, H, W] of a scene filmed at its native rate, at a pack's rate: what stands on the screen then."""
    rate, width, height = picture_format
    frames = render_brightness(scene, frame_rate=native_rate, width=width, height=height)
    count = max(1, round(Fraction(scene.duration_s).limit_denominator(10_000) * rate))
    moments = [int((Fraction(2 * index + 1, 2) / rate) * native_rate) for index in range(count)]
    return frames[np.minimum(moments, len(frames) - 1)]


def has_course(true: FloatArray) -> bool:
    """Whether an energy [T] in nats varies enough to be followed."""
    return bool(true.std() >= COURSE_NATS)


def follows_motion(estimated: FloatArray, motion: FloatArray) -> float:
    """Correlation of an estimated energy [T] with motion [T]; 0 for an estimate that keeps still."""
    return 0.0 if estimated.std() < INAUDIBLE_NATS else _correlation(estimated, motion)


def _all_seen(model: ReWaS, scenes: Sequence[Scene], what: str, watch: Watch) -> list[Seen]:
    rows = []
    for number, scene in enumerate(scenes):
        watch.tell(what, number, len(scenes))
        rows.append(_seen(model, scene, NATIVE_RATES[number % len(NATIVE_RATES)]))
    return rows


def _seen(model: ReWaS, scene: Scene, native_rate: Fraction) -> Seen:
    rate = model.picture_format[0]
    frames = seen_frames(scene, native_rate, model.picture_format)
    sound = render_sound(scene)
    heard = model.front_end.measure(normalised(sound) if sound.any() else sound)
    true = averaged_energy(heard, rate, len(frames))
    estimated = model.energy_of_frames(frames)
    return Seen(scene, native_rate, estimated, true, frame_difference(frames), agreement(true, estimated, rate))


def averaged_energy(curve: EnergyCurve, rate_hz: Fraction, count: int) -> FloatArray:
    """Means of a curve over the spans that values at another, lower rate stand for: [count] nats.

    Held at the end where the curve is shorter.
    """
    sums = np.concatenate([np.zeros(1), np.cumsum(curve.values, dtype=np.float64)])
    edges = np.arange(count + 1) * float(curve.rate_hz / rate_hz)
    means = np.diff(np.interp(edges, np.arange(sums.size), sums)) / np.diff(edges)
    last = int(np.floor(curve.values.size * float(rate_hz / curve.rate_hz) + 1e-9))
    means[last:] = curve.values[-1]
    return means.astype(np.float32)


def _smoothed(values: FloatArray, rate_hz: Fraction) -> FloatArray:
    return EnergyCurve(values, rate_hz).smoothed().values


def _correlation(one: FloatArray, other: FloatArray) -> float:
    return energy_agreement(one, other)[1] or 0.0


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _means(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return {
        name: round(float(np.mean([value for other, value in zip(names, values, strict=True) if other == name])), 4)
        for name in sorted(set(names))
    }


def _spread(rows: Sequence[Seen], count: int) -> list[Seen]:
    return [rows[int(place)] for place in np.linspace(0, len(rows) - 1, min(count, len(rows)))]
