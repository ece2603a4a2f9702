"""Energy from video on real clips with their own sound, compared clip by clip with motion and with a constant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.levels import normalise
from rewas_engine.curves.energy import MAX_ENERGY_NATS, EnergyCurve, FloatArray
from rewas_engine.curves.events import find_events
from rewas_engine.curves.onsets import detect_onsets, onset_f1
from rewas_engine.errors import EngineError, MediaError
from rewas_engine.evaluation.bench import Watch
from rewas_engine.evaluation.curve_agreement import Agreement, agreement, mean_note
from rewas_engine.evaluation.energy_from_video import average_energy
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.motion_baselines import frame_difference, optical_flow, smoothed_log_difference
from rewas_engine.evaluation.paired_bootstrap import PairedDifference, paired_difference
from rewas_engine.evaluation.real_manifest import IMPACT_KIND, ManifestEntry
from rewas_engine.media.audio import read_audio
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.video import probe_video, read_frames
from rewas_engine.pipeline import ReWaS
from rewas_engine.requests.levels import has_little_motion

METHODS = {
    "picture": "The pack",
    "frame_difference": "Frame difference",
    "log_difference": "Smoothed log difference",
    "flow": "Optical flow",
}
"""Methods whose curves are compared with the energy of a clip's sound."""
CONSTANT_NATS = -4.7
"""The constant that is nearest to the energy of 65 real clips: the baseline of the absolute error."""
EVEN_SPREAD_NATS = 0.6
"""A sound whose energy has at most this standard deviation is even."""
ONSET_TOLERANCE_S = 0.08
SILENT_END_VALUES = 0.25
"""Silence at the end of a clip shorter than this many values does not shorten the comparison."""
CHANCE_SHIFTS = 200
CHANCE_PERCENTILE = 95
_THUMBNAILS = 8


@dataclass(frozen=True, eq=False)
class RealClip:
    """One real clip.

    Attributes:
        entry: Its line in the manifest.
        rate_hz: Rate of the curves.
        true: Energy of the clip's own sound, [T] nats.
        curves: Curves [T] by method; "flow" only with OpenCV.
        standard: The pack's curve [T] at the level that the prompt gives it; the estimate itself without a prompt.
        onset_f1: F1 of the events of each curve against the onsets of the sound, for impacts only.
        agreements: Agreement of each curve with `true`.
        chance: Correlation by chance: the 95th percentile of the zero-lag correlations of the pack's curve, rotated by
            random times.
        is_near_silent: Whether the estimate is inaudible for nearly all of the time, so that the answer carries a note.
        is_steady: Whether the prompt asks for a sound that lasts.
        thumbnails: Frames [N, H, W], evenly spaced in time.
    """

    entry: ManifestEntry
    rate_hz: float
    true: FloatArray
    curves: Mapping[str, FloatArray]
    standard: FloatArray
    onset_f1: Mapping[str, float]
    agreements: Mapping[str, Agreement]
    chance: float
    is_near_silent: bool
    is_steady: bool
    thumbnails: NDArray[np.uint8]

    @property
    def name(self) -> str:
        """File name."""
        return self.entry.path.name

    @property
    def is_even(self) -> bool:
        """Whether the prompt asks for a sound that lasts, and the clip's own sound is even."""
        return self.is_steady and float(self.true.std()) <= EVEN_SPREAD_NATS

    def error_nats(self, curve: FloatArray | float) -> float:
        """Mean absolute difference of a curve [T] or a constant from the energy of the sound."""
        return float(np.abs(curve - self.true).mean())


def real_clips_section(model: ReWaS, entries: Sequence[ManifestEntry], watch: Watch) -> Section:
    """Build the section: every figure of the pack next to its baselines; unreadable clips are listed."""
    clips: list[RealClip] = []
    unreadable: dict[str, str] = {}
    for number, entry in enumerate(entries):
        watch.report("Real clips", number, len(entries))
        try:
            clips.append(measure_clip(model, entry))
        except EngineError as error:
            unreadable[entry.path.name] = error.what
    title = "Real clips"
    if not clips:
        figure = Figure("real_clips_zero_lag", "Real clips, zero lag", None, note="not measured: no clip could be read")
        return Section("real", title, (figure,), {"clips": [], "unread": unreadable})
    methods = {name: label for name, label in METHODS.items() if all(name in clip.curves for clip in clips)}
    figures = [
        figure
        for method, label in methods.items()
        for figure in _agreement_figures(method, label, [clip.agreements[method] for clip in clips])
    ]
    chance = Figure("real_clips_chance", "Chance, 95th percentile", float(np.mean([clip.chance for clip in clips])))
    details = {
        "clips": [_row(clip) for clip in clips],
        "unread": unreadable,
        "splits": _count(clip.entry.split or "not stated" for clip in clips),
        "leads": [lead.report() for lead in _leads(clips, methods)],
        "by_kind": _by_kind(clips, methods),
    }
    if "flow" not in methods:
        details["left_out"] = "optical flow, because OpenCV is not installed (the extra flow)"
    figures += [chance, *_level_figures(clips), *_onset_figures(clips, methods), *_spread_figures(clips)]
    return Section("real", title, tuple(figures), details, {"clips": clips})


def measure_clip(model: ReWaS, entry: ManifestEntry) -> RealClip:
    """Compute the energy of a file's sound, the pack's estimate and the motion, at the frame rate of the pack.

    Raises:
        MediaError: The file cannot be decoded, or its sound or video never changes.
    """
    path = entry.path
    read = model.read_clip(VideoClip(path))
    rate, width, height = model.frame_format
    frames = read_frames(
        path, start_s=read.start_s, duration_s=read.duration_s, frame_rate=rate, width=width, height=height
    )
    sound = read_audio(
        path,
        start_s=read.start_s,
        duration_s=read.duration_s,
        sample_rate_hz=model.pack.sample_rate_hz,
        origin_s=probe_video(path).start_s,
    )
    curve_of_sound = model.front_end.measure_energy(normalise(sound) if sound.any() else sound)
    true = average_energy(curve_of_sound, rate, len(frames))[: count_values_with_sound(sound, len(frames))]
    if true.size < 2 or true.std() < 1e-6:
        raise MediaError(f"The sound of {path.name} never changes.", "Choose a clip with sound.")
    difference, flow = frame_difference(frames), optical_flow(frames)
    curves = {
        # The prompt describes the sound; packs whose estimator does not read words ignore it.
        "picture": model.estimate_energy_from_frames(frames, prompt=entry.heard)[: true.size],
        "frame_difference": difference[: true.size],
        "log_difference": smoothed_log_difference(difference, rate)[: true.size],
    }
    if flow is not None:
        curves["flow"] = smoothed_log_difference(flow, rate)[: true.size]
    estimate = EnergyCurve(curves["picture"], rate, "picture")
    standard = model.apply_typical_level(estimate, entry.heard).values if entry.heard else estimate.values
    times_s = detect_onsets(sound, model.pack.sample_rate_hz)[0] if entry.kind == IMPACT_KIND else None
    return RealClip(
        entry=entry,
        rate_hz=float(rate),
        true=true,
        curves=curves,
        standard=standard,
        onset_f1={} if times_s is None else _onset_scores(times_s, true, curves, float(rate)),
        agreements={method: agreement(true, curve, rate) for method, curve in curves.items()},
        chance=_chance(true, curves["picture"]),
        is_near_silent=has_little_motion(estimate, model.front_end.config.silence_nats),
        is_steady=bool(entry.heard) and model.sound_kinds.character(entry.heard) == "steady",
        thumbnails=frames[np.linspace(0, len(frames) - 1, _THUMBNAILS).round().astype(int)],
    )


def count_values_with_sound(sound: FloatArray, values: int) -> int:
    """Count the values of a clip before its sound [samples] ends in digital silence, if it does.

    From there on, the file has video but no sound, so that the two cannot be compared. The value in which the sound
    ends is left out too, and so is the one before it, because the window of the spectrum overlaps it.
    """
    sounding = np.flatnonzero(sound)
    end = int(sounding[-1]) + 1 if sounding.size else 0
    if end >= sound.size * (1 - SILENT_END_VALUES / values):
        return values
    return max(0, end * values // sound.size - 1)


def _onset_scores(
    onsets_s: NDArray[np.floating], true: FloatArray, curves: Mapping[str, FloatArray], rate_hz: float
) -> dict[str, float]:
    """F1 of the events of each curve. Motion gets the mean and spread of the true energy, since it has no unit."""
    before_end_s = onsets_s[onsets_s < true.size / rate_hz]
    scores = {}
    for method, curve in curves.items():
        if method != "picture":
            curve = true.mean() + true.std() * (curve - curve.mean()) / max(float(curve.std()), 1e-6)
        events = find_events(EnergyCurve(np.minimum(curve, MAX_ENERGY_NATS), Fraction(rate_hz)))
        scores[method] = onset_f1(before_end_s, np.array([event.time_s for event in events]), ONSET_TOLERANCE_S).f1
    return scores


def _chance(true: FloatArray, curve: FloatArray) -> float:
    if curve.std() < 1e-6:
        return 0.0
    shifts = np.random.default_rng(0).integers(1, max(2, curve.size), CHANCE_SHIFTS)
    return float(np.percentile([np.corrcoef(true, np.roll(curve, shift))[0, 1] for shift in shifts], CHANCE_PERCENTILE))


def _agreement_figures(method: str, label: str, rows: Sequence[Agreement]) -> list[Figure]:
    prefix = "real_clips" if method == "picture" else f"real_clips_{method}"
    zero = [row.correlation or 0.0 for row in rows]
    best = [row.best_correlation or 0.0 for row in rows]
    return [
        Figure(f"{prefix}_zero_lag", f"{label} on real clips, zero lag", float(np.mean(zero)), note=mean_note(zero)),
        Figure(
            f"{prefix}_best_lag",
            f"{label} on real clips, best lag within ±0.2 s",
            float(np.mean(best)),
            note=mean_note(best),
        ),
    ]


def _level_figures(clips: Sequence[RealClip]) -> list[Figure]:
    """Absolute errors, and how many estimates are near silence."""
    prompted = [clip for clip in clips if clip.entry.heard]
    silent = [clip for clip in clips if clip.is_near_silent]
    figures = [
        _mean_figure(
            "error", "Absolute error at the level of the prompt", [clip.error_nats(clip.standard) for clip in prompted]
        ),
        _mean_figure(
            "raw_error", "Absolute error of the estimate", [clip.error_nats(clip.curves["picture"]) for clip in clips]
        ),
        _mean_figure(
            "constant_error",
            f"Absolute error of a constant, {CONSTANT_NATS:g} nats",
            [clip.error_nats(CONSTANT_NATS) for clip in clips],
        ),
    ]
    share = Figure(
        "real_clips_near_silent",
        "Share of near-silent estimates, each reported in a note",
        len(silent) / len(clips),
        note=f"{len(silent)} of {len(clips)} clips",
    )
    return [*figures, share]


def _mean_figure(key: str, label: str, values: Sequence[float]) -> Figure:
    if not values:
        return Figure(f"real_clips_{key}_nats", label, None, "nats", "not measured: no clip has a prompt")
    return Figure(f"real_clips_{key}_nats", label, float(np.mean(values)), "nats", mean_note(values))


def _onset_figures(clips: Sequence[RealClip], methods: Mapping[str, str]) -> list[Figure]:
    impacts = [clip for clip in clips if clip.onset_f1]
    figures = []
    for method, label in methods.items() if impacts else ():
        key = "real_clips_onset_f1" if method == "picture" else f"real_clips_{method}_onset_f1"
        scores = [clip.onset_f1[method] for clip in impacts]
        name = f"{label}, onset F1 at ±80 ms on impacts"
        figures.append(Figure(key, name, float(np.mean(scores)), note=mean_note(scores)))
    return figures


def _spread_figures(clips: Sequence[RealClip]) -> list[Figure]:
    even = [clip for clip in clips if clip.is_even]
    if not even:
        return []
    rows = {
        "even_spread": ("Standard deviation on even sounds", [clip.standard for clip in even]),
        "raw_even_spread": (
            "Standard deviation of the estimate on even sounds",
            [clip.curves["picture"] for clip in even],
        ),
        "true_even_spread": ("Standard deviation of the even sounds themselves", [clip.true for clip in even]),
    }
    return [
        Figure(f"real_clips_{key}_nats", label, float(np.mean(spreads)), "nats", mean_note(spreads))
        for key, (label, curves) in rows.items()
        for spreads in [[float(curve.std()) for curve in curves]]
    ]


@dataclass(frozen=True)
class _Lead:
    """How far the pack leads a baseline in one figure; of errors, a negative difference is better."""

    figure: str
    baseline: str
    difference: PairedDifference

    def report(self) -> dict[str, Any]:
        return {
            "figure": self.figure,
            "baseline": self.baseline,
            "mean": round(self.difference.mean, 4),
            "low": round(self.difference.low, 4),
            "high": round(self.difference.high, 4),
            "clips": self.difference.clips,
        }


def _leads(clips: Sequence[RealClip], methods: Mapping[str, str]) -> list[_Lead]:
    measures: dict[str, Callable[[RealClip, str], float]] = {
        "correlation, zero lag": lambda clip, method: clip.agreements[method].correlation or 0.0,
        "correlation, best lag": lambda clip, method: clip.agreements[method].best_correlation or 0.0,
    }
    leads = []
    for figure, measure in measures.items():
        own = [measure(clip, "picture") for clip in clips]
        leads += [
            _Lead(figure, label, paired_difference(own, [measure(clip, method) for clip in clips]))
            for method, label in methods.items()
            if method != "picture"
        ]
    impacts = [clip for clip in clips if clip.onset_f1]
    if impacts:
        own = [clip.onset_f1["picture"] for clip in impacts]
        leads += [
            _Lead("onset F1 on impacts", label, paired_difference(own, [clip.onset_f1[method] for clip in impacts]))
            for method, label in methods.items()
            if method != "picture"
        ]
    prompted = [clip for clip in clips if clip.entry.heard]
    if prompted:
        own = [clip.error_nats(clip.standard) for clip in prompted]
        others = {
            f"A constant, {CONSTANT_NATS:g} nats": [clip.error_nats(CONSTANT_NATS) for clip in prompted],
            "The estimate itself": [clip.error_nats(clip.curves["picture"]) for clip in prompted],
        }
        leads += [
            _Lead("absolute error (nats)", label, paired_difference(own, errors)) for label, errors in others.items()
        ]
    return leads


def _by_kind(clips: Sequence[RealClip], methods: Mapping[str, str]) -> list[dict[str, Any]]:
    """Means of each kind of clip."""
    rows = []
    for kind in dict.fromkeys(clip.entry.kind for clip in clips):
        chosen = [clip for clip in clips if clip.entry.kind == kind]
        row: dict[str, Any] = {"kind": kind or "not stated", "clips": len(chosen)}
        for method in methods:
            row[method] = _rounded(float(np.mean([clip.agreements[method].correlation or 0.0 for clip in chosen])))
        row["error_nats"] = _rounded(float(np.mean([clip.error_nats(clip.standard) for clip in chosen])))
        row["constant_error_nats"] = _rounded(float(np.mean([clip.error_nats(CONSTANT_NATS) for clip in chosen])))
        row["near_silent"] = sum(clip.is_near_silent for clip in chosen)
        rows.append(row)
    return rows


def _row(clip: RealClip) -> dict[str, Any]:
    row: dict[str, Any] = {"name": clip.name, "seconds": round(clip.true.size / clip.rate_hz, 2)}
    row |= {key: getattr(clip.entry, key) for key in ("heard", "kind", "split") if getattr(clip.entry, key)}
    for method, found in clip.agreements.items():
        row[method] = {
            "zero_lag": _rounded(found.correlation),
            "best_lag": _rounded(found.best_correlation),
            "best_lag_s": _rounded(found.best_lag_s),
        }
    return {
        **row,
        "chance": _rounded(clip.chance),
        "error_nats": _rounded(clip.error_nats(clip.standard)),
        "raw_error_nats": _rounded(clip.error_nats(clip.curves["picture"])),
        "constant_error_nats": _rounded(clip.error_nats(CONSTANT_NATS)),
        "onset_f1": {method: _rounded(score) for method, score in clip.onset_f1.items()},
        "near_silent": clip.is_near_silent,
        "even": clip.is_even,
        "spread_nats": _rounded(float(clip.standard.std())),
    }


def _count(names: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
