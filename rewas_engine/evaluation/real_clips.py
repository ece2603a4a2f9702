"""Energy from video on real clips with their own sound, compared with motion alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rewas_engine.conditioning.levels import normalise
from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import EngineError, MediaError, SettingsError
from rewas_engine.evaluation.bench import Watch
from rewas_engine.evaluation.curve_agreement import Agreement, agreement, mean_note
from rewas_engine.evaluation.energy_from_video import average_energy
from rewas_engine.evaluation.figures import Figure, Section
from rewas_engine.evaluation.motion_baselines import frame_difference, smoothed_log_difference
from rewas_engine.media.audio import read_audio
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.video import probe_video, read_frames
from rewas_engine.pipeline import ReWaS

VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv"),
)
METHODS = {
    "picture": "The pack",
    "frame_difference": "Frame difference",
    "log_difference": "Smoothed log difference",
}
"""Methods whose curves are compared with the energy of a clip's sound."""
SILENT_END_VALUES = 0.25
"""Silence at the end of a clip shorter than this many values does not shorten the comparison."""
CHANCE_SHIFTS = 200
CHANCE_PERCENTILE = 95


@dataclass(frozen=True, eq=False)
class RealClip:
    """One real clip.

    Attributes:
        name: File name.
        rate_hz: Rate of the curves.
        true: Energy of the clip's own sound, [T] nats.
        curves: Curves [T] by method.
        agreements: Agreement of each curve with `true`.
        chance: Correlation by chance: the 95th percentile of the zero-lag correlations of the pack's curve, rotated by
            random times.
    """

    name: str
    rate_hz: float
    true: FloatArray
    curves: Mapping[str, FloatArray]
    agreements: Mapping[str, Agreement]
    chance: float


def video_files(folder: Path) -> list[Path]:
    """List the video files in a folder, by name.

    Raises:
        SettingsError: There are no video files.
    """
    found = (
        sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES) if folder.is_dir() else []
    )
    if not found:
        raise SettingsError(f"There are no video files in {folder}.", "Give a folder of video files with sound.")
    return found


def real_clips_section(model: ReWaS, files: Sequence[Path], watch: Watch) -> Section:
    """Build the section: correlation with the clips' own energy at zero and best lag; unreadable clips are listed."""
    clips: list[RealClip] = []
    unreadable: dict[str, str] = {}
    for number, path in enumerate(files):
        watch.report("Real clips", number, len(files))
        try:
            clips.append(measure_clip(model, path))
        except EngineError as error:
            unreadable[path.name] = error.what
    details = {"clips": [_row(clip) for clip in clips], "unread": unreadable}
    title = "Real clips"
    if not clips:
        figure = Figure("real_clips_zero_lag", "Real clips, zero lag", None, note="not measured: no clip could be read")
        return Section("real", title, (figure,), details)
    figures = [
        figure
        for method, label in METHODS.items()
        for figure in _figures(method, label, [clip.agreements[method] for clip in clips])
    ]
    chance = Figure("real_clips_chance", "Chance, 95th percentile", float(np.mean([clip.chance for clip in clips])))
    return Section("real", title, (*figures, chance), details, {"clips": clips})


def measure_clip(model: ReWaS, path: Path) -> RealClip:
    """Compute the energy of a file's sound, the pack's estimate and the motion, at the frame rate of the pack.

    Raises:
        MediaError: The file cannot be decoded, or its sound or video never changes.
    """
    clip = VideoClip(path)
    read = model.read_clip(clip)
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
    difference = frame_difference(frames)
    curves = {
        "picture": model.estimate_energy_from_frames(frames)[: true.size],
        "frame_difference": difference[: true.size],
        "log_difference": smoothed_log_difference(difference, rate)[: true.size],
    }
    agreements = {method: agreement(true, curve, rate) for method, curve in curves.items()}
    return RealClip(path.name, float(rate), true, curves, agreements, _chance(true, curves["picture"]))


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


def _chance(true: FloatArray, curve: FloatArray) -> float:
    if curve.std() < 1e-6:
        return 0.0
    shifts = np.random.default_rng(0).integers(1, max(2, curve.size), CHANCE_SHIFTS)
    return float(np.percentile([np.corrcoef(true, np.roll(curve, shift))[0, 1] for shift in shifts], CHANCE_PERCENTILE))


def _figures(method: str, label: str, rows: Sequence[Agreement]) -> list[Figure]:
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


def _row(clip: RealClip) -> dict[str, Any]:
    row: dict[str, Any] = {"name": clip.name, "seconds": round(clip.true.size / clip.rate_hz, 2)}
    for method, found in clip.agreements.items():
        row[method] = {
            "zero_lag": _rounded(found.correlation),
            "best_lag": _rounded(found.best_correlation),
            "best_lag_s": _rounded(found.best_lag_s),
        }
    return {**row, "chance": _rounded(clip.chance)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
