"""Measure performances of recordings: how they follow energy curves, their onsets, their joints and their speed.

`python benchmarks/library_performance.py --clips 4` makes a library of sounds of the synthetic world, with one body for
each class, and performs it along the curves of development scenes. With `--held-out`, it uses scenes that were not used
to choose any setting. It prints one JSON object, which also contains the corresponding figures of the starter pack for
comparison. Times are CPU times of all threads.

Onsets are compared with those of the scenes twice: as they were placed, and as the analysis of recordings finds them in
the sound. The same analysis of the original sounds shows how many it can find.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.curves.energy import EnergyCurve, energy_agreement
from rewas_engine.curves.onsets import onset_f1
from rewas_engine.curves.sources import flat_curve
from rewas_engine.evaluation.bench import bench_clip
from rewas_engine.evaluation.onset_control import has_counted_strikes
from rewas_engine.evaluation.seams import border_masks, compare, spectral_flux
from rewas_engine.evaluation.splits import Split
from rewas_engine.media.audio import resample
from rewas_engine.recipes.world_library import find_class, write_world_library
from rewas_engine.recordings.analysis import analyse
from rewas_engine.recordings.choosing import Choice
from rewas_engine.recordings.index import LibraryIndex
from rewas_engine.recordings.performing import PlannedPerformance
from rewas_engine.world import CLASS_NAMES, SAMPLE_RATE_HZ

RATE_HZ = 48_000
DEVELOPMENT, HELD_OUT = Split("development", 930_000_000), Split("held out", 950_000_000)
SEPARATE_S = 0.1
"""Strikes at least this far apart are separate to the front end, whose window is 64 ms long."""
ONSET_TOLERANCE_S = 0.01
JOINT_SOUND_S = 60
MARGIN_FRAMES = 50
STARTER = Path(__file__).resolve().parents[1] / "rewas_engine" / "data" / "packs" / "starter" / "figures.json"
SHARED_FIGURES = {
    "energy_correlation_mean": "vocoded_correlation_mean",
    "energy_correlation_worse_tenth": "vocoded_correlation_worse_tenth",
    "energy_mae_nats": "vocoded_mae_nats",
}
FRONT_END = AudioFrontEnd(MelConfig())
OnsetScores = tuple[list[float], list[float]]
"""F1 of all clips with strikes, and of those whose strikes are separate."""


@dataclass
class Measures:
    """Figures of single clips, and the duration and CPU time of all. Onset scores are pairs: all, and separate ones."""

    correlations: list[float] = field(default_factory=list)
    errors_nats: list[float] = field(default_factory=list)
    placed: OnsetScores = field(default_factory=lambda: ([], []))
    heard: OnsetScores = field(default_factory=lambda: ([], []))
    original: OnsetScores = field(default_factory=lambda: ([], []))
    sound_s: float = 0.0
    cpu_s: float = 0.0


def main() -> None:
    """Print all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=4, help="clips of each class")
    parser.add_argument("--joint-sounds", type=int, default=100, help="one-minute steady sounds to measure joints in")
    parser.add_argument("--held-out", action="store_true", help="use scenes that were not used to choose any setting")
    given = parser.parse_args()
    split = HELD_OUT if given.held_out else DEVELOPMENT
    with tempfile.TemporaryDirectory() as folder:
        index = write_world_library(Path(folder) / "library", takes=1).index
        by_class = {name: measure_class(index, name, split, given.clips) for name in CLASS_NAMES}
        figures: dict[str, object] = {"scenes": split.name, **summarise(by_class)}
        if given.joint_sounds:
            figures["joints"] = measure_joints(index, given.joint_sounds)
    starter = json.loads(STARTER.read_text("utf-8"))["figures"]
    figures["starter"] = {ours: starter[theirs] for ours, theirs in SHARED_FIGURES.items()}
    print(json.dumps(figures, indent=1))


def measure_class(index: LibraryIndex, name: str, split: Split, clips: int) -> Measures:
    """Perform the recording of a class along the curves of scenes of the class."""
    measures = Measures()
    choice = Choice(name, find_class(index, name), 1.0, True, ())
    for seed, scene in enumerate(split.audible(name, clips)):
        clip = bench_clip(scene, Fraction(0), seed, FRONT_END)
        energy = EnergyCurve(clip.energy, FRONT_END.config.frame_rate_hz)
        planned, waveform, cpu_s = performed(index, choice, energy, energy.duration_s, seed)
        produced = FRONT_END.measure_energy(mono_at_world_rate(waveform)).values
        mae_nats, correlation = energy_agreement(clip.energy, produced[: clip.energy.size])
        measures.correlations.append(correlation or 0.0)
        measures.errors_nats.append(mae_nats)
        measures.sound_s += float(energy.duration_s)
        measures.cpu_s += cpu_s
        if has_counted_strikes(clip):
            is_separate = np.diff(scene.event_times_s).min(initial=1.0) >= SEPARATE_S
            for scores, onsets_s in (
                (measures.placed, np.array([strike.onset_s for strike in planned.strikes])),
                (measures.heard, heard_onsets_s(waveform, RATE_HZ)),
                (measures.original, heard_onsets_s(clip.sound[None], SAMPLE_RATE_HZ)),
            ):
                f1 = onset_f1(scene.event_times_s, onsets_s, ONSET_TOLERANCE_S).f1
                scores[0].append(f1)
                if is_separate:
                    scores[1].append(f1)
    return measures


def heard_onsets_s(waveform: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
    """Onsets in seconds that the analysis of recordings finds in a waveform `[channels, samples]`."""
    found = analyse(iter([np.ascontiguousarray(waveform.T)]), rate_hz)
    return np.array([event.onset_sample / rate_hz for event in found.events])


def performed(
    index: LibraryIndex, choice: Choice, energy: EnergyCurve, duration_s: Fraction, seed: int
) -> tuple[PlannedPerformance, NDArray[np.float32], float]:
    """Perform in stereo. Returns the plan, the waveform `[channels, samples]`, and the CPU time in seconds."""
    begin_s = time.process_time()
    planned = PlannedPerformance(index, choice, energy, duration_s=duration_s, rate_hz=RATE_HZ, channels=2, seed=seed)
    waveform = np.concatenate(list(planned.blocks()), axis=1)
    cpu_s = time.process_time() - begin_s
    planned.close()
    return planned, waveform, cpu_s


def mono_at_world_rate(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the channels `[samples]` at the rate of the front end."""
    samples = waveform.shape[1] * SAMPLE_RATE_HZ // RATE_HZ
    return resample(waveform.mean(axis=0, keepdims=True), RATE_HZ, SAMPLE_RATE_HZ, samples)[0]


def measure_joints(index: LibraryIndex, sounds: int) -> dict[str, float]:
    """Compare the spectral flux and the steps in level at the joints of steady sounds with those elsewhere."""
    steady = [number for number in range(len(index.recordings)) if index.is_mainly_steady(number)]
    measured: dict[str, tuple[list[float], list[float]]] = {"flux": ([], []), "level_step": ([], [])}
    joints = 0
    for seed in range(sounds):
        choice = Choice("steady", (steady[seed % len(steady)],), 1.0, True, ())
        curve = flat_curve(duration=JOINT_SOUND_S)
        planned, waveform, _ = performed(index, choice, curve, Fraction(JOINT_SOUND_S), seed)
        if planned.layer is None or not planned.layer.joints:
            continue
        log_mel = FRONT_END.encode(mono_at_world_rate(waveform)).numpy()
        borders = [joint * 100 // RATE_HZ for joint in planned.layer.joints]
        near, far = border_masks(borders, len(log_mel), MARGIN_FRAMES)
        joints += len(borders)
        steps = np.abs(np.diff(log_mel.mean(axis=1), prepend=log_mel[0].mean()))
        for key, values in (("flux", spectral_flux(log_mel)), ("level_step", steps)):
            measured[key][0].append(float(values[near].mean()))
            measured[key][1].append(float(values[far].mean()))
    ratios = {f"{key}_ratio": round(compare(*rows).ratio, 3) for key, rows in measured.items()}
    return {"sounds": len(measured["flux"][0]), "joints": joints, **ratios}


def summarise(by_class: dict[str, Measures]) -> dict[str, object]:
    """The figures of all classes together, and of each."""

    def mean(rows: Sequence[float]) -> float | None:
        return round(float(np.mean(rows)), 4) if len(rows) else None

    correlations = [value for measures in by_class.values() for value in measures.correlations]
    cpu_s = sum(measures.cpu_s for measures in by_class.values())
    return {
        "clips": len(correlations),
        "energy_correlation_mean": mean(correlations),
        "energy_correlation_worse_tenth": round(float(np.percentile(correlations, 10)), 4),
        "energy_mae_nats": mean([value for measures in by_class.values() for value in measures.errors_nats]),
        **{
            f"onset_f1_10_ms_{which}{suffix}": mean(
                [value for measures in by_class.values() for value in getattr(measures, which)[part]]
            )
            for which in ("placed", "heard", "original")
            for part, suffix in enumerate(("", "_separate"))
        },
        "times_real_time_by_cpu_time": round(sum(measures.sound_s for measures in by_class.values()) / cpu_s, 1),
        "energy_correlation_by_class": {name: mean(measures.correlations) for name, measures in by_class.items()},
        "onset_f1_placed_by_class": {
            name: mean(measures.placed[0]) for name, measures in by_class.items() if measures.placed[0]
        },
        "onset_f1_heard_by_class": {
            name: mean(measures.heard[0]) for name, measures in by_class.items() if measures.heard[0]
        },
    }


if __name__ == "__main__":
    main()
