"""Timing of strikes with onsets as the only control, and the Greatest Hits figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rewas_engine.conditioning.controls import Controls, onset_track
from rewas_engine.curves.energy import FloatArray
from rewas_engine.curves.onsets import OnsetScore, detect_onsets, onset_f1
from rewas_engine.evaluation.bench import Bench, BenchClip
from rewas_engine.evaluation.control_following import mean_by_class
from rewas_engine.evaluation.figures import Figure, Section, unsupported_figure
from rewas_engine.evaluation.figures_with_picture import figure_with_picture
from rewas_engine.evaluation.greatest_hits import GreatestHitsScore, compare_sounds, mean_scores
from rewas_engine.generation.options import Control
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.world import EVENT_PATTERNS, SAMPLE_RATE_HZ, is_struck

COUNTED_PATTERNS = tuple(pattern for pattern in EVENT_PATTERNS if pattern != "roll")
"""Patterns whose strikes are counted. In a roll they are so close that any noise would match them."""
EXAMPLES = 4

_GREATEST_HITS = {
    "number_accuracy": "Onset accuracy (as many onsets as the original sound)",
    "matched_share": "Share of original onsets matched within 0.1 s",
    "average_precision": "Onset average precision",
    "credited_average_precision": "Onset average precision, misses credited as in the release",
}


def onset_section(bench: Bench) -> Section:
    """Build the section: F1 of strikes at ±50 ms with onset control, with energy control and in the real sound, and the
    Greatest Hits figures.
    """
    places = [number for number, clip in enumerate(bench.clips) if has_counted_strikes(clip)]
    clips = [bench.clips[place] for place in places]
    if not clips:
        return Section("onsets", "Onsets", (Figure("onset_f1", "Onset F1", None, note="not measured: no strikes"),))
    real = [clip.sound for clip in clips]
    sounds = {"energy": [bench.plain_waveforms[place] for place in places]}
    if "onsets" in bench.model.pack.controls:
        sounds["onsets"] = _generate_from_onsets(bench, clips)
    scores = {name: _f1(clips, produced) for name, produced in {"real": real, **sounds}.items()}
    hits = {name: _greatest_hits(clips, produced) for name, produced in sounds.items()}
    figures = [
        *_onset_figures(clips, scores),
        Figure("onset_f1_energy", "Onset F1 at ±50 ms, energy control", _mean_f1(scores["energy"])),
        Figure(
            "onset_f1_real",
            "Onset F1 at ±50 ms, original sound",
            _mean_f1(scores["real"]),
            note="limit of the detector",
        ),
    ]
    for name, row in hits.items():
        means = mean_scores(row)
        figures += [
            Figure(f"greatest_hits_{key}_{name}", f"{label}, {name} control", means[key])
            for key, label in _GREATEST_HITS.items()
        ]
    details = {
        "clips": len(clips),
        "f1_by_class": {name: mean_by_class(clips, [score.f1 for score in row]) for name, row in scores.items()},
    }
    shown = np.linspace(0, len(clips) - 1, min(EXAMPLES, len(clips))).astype(int)
    best = sounds.get("onsets", sounds["energy"])
    plot_data = {"examples": [_example(clips[number], best[number]) for number in shown], "control": list(sounds)[-1]}
    return Section("onsets", "Onsets", tuple(figures), details, plot_data)


def has_counted_strikes(clip: BenchClip) -> bool:
    """Whether the strikes of a clip are far enough apart, and free of background sound, to be counted."""
    scene = clip.scene
    countable = scene.pattern in COUNTED_PATTERNS and scene.floor == 0 and scene.event_times_s.size > 0
    return countable and is_struck(scene.class_name)


def strikes(clip: BenchClip, frame_rate_hz: float) -> FloatArray:
    """Convert the events of a clip to an onset control, [T]."""
    scene = clip.scene
    return onset_track(scene.event_times_s, scene.event_strengths, len(clip.energy), frame_rate_hz)


def onset_settings(bench: Bench) -> SamplingSettings:
    """Sampling settings for onsets alone, whose guidance scale is at least the pack's default for onsets."""
    wanted = bench.model.sampling_settings(control=Control(kind="onsets")).guidance_scale
    return replace(bench.settings, guidance_scale=max(bench.settings.guidance_scale, wanted))


def _generate_from_onsets(bench: Bench, clips: Sequence[BenchClip]) -> list[FloatArray]:
    rate_hz = float(bench.model.front_end.config.frame_rate_hz)
    return bench.generate(
        "Onsets alone",
        [clip.plain for clip in clips],
        [Controls(onsets=strikes(clip, rate_hz)) for clip in clips],
        seeds=[clip.seed for clip in clips],
        settings=onset_settings(bench),
    ).waveforms


def _f1(clips: Sequence[BenchClip], sounds: Sequence[FloatArray]) -> list[OnsetScore]:
    return [
        onset_f1(clip.scene.event_times_s, detect_onsets(sound, SAMPLE_RATE_HZ)[0])
        for clip, sound in zip(clips, sounds, strict=True)
    ]


def _mean_f1(scores: Sequence[OnsetScore]) -> float:
    return float(np.mean([score.f1 for score in scores]))


def _onset_figures(clips: Sequence[BenchClip], scores: dict[str, list[OnsetScore]]) -> list[Figure]:
    label = "Onset F1 at ±50 ms on impact classes, onset control"
    if "onsets" not in scores:
        return [unsupported_figure("onset_f1", label, "the pack has no onset control")]
    row = scores["onsets"]
    return [
        Figure("onset_f1", label, _mean_f1(row)),
        Figure("onset_precision", "Onset precision, onset control", float(np.mean([score.precision for score in row]))),
        Figure("onset_recall", "Onset recall, onset control", float(np.mean([score.recall for score in row]))),
        *figure_with_picture("onset_f1", label, clips, [score.f1 for score in row]),
    ]


def _greatest_hits(clips: Sequence[BenchClip], sounds: Sequence[FloatArray]) -> list[GreatestHitsScore]:
    return [compare_sounds(clip.sound, sound, SAMPLE_RATE_HZ) for clip, sound in zip(clips, sounds, strict=True)]


def _example(clip: BenchClip, sound: FloatArray) -> dict[str, object]:
    return {
        "prompt": clip.plain,
        "sound": sound,
        "rate_hz": SAMPLE_RATE_HZ,
        "events_s": clip.scene.event_times_s,
        "detected_s": detect_onsets(sound, SAMPLE_RATE_HZ)[0],
    }
