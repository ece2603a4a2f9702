"""Measure performances of recordings: how they follow energy curves, their onsets, their joints and their speed.

`python benchmarks/library_performance.py --clips 4` makes a library of sounds of the synthetic world, with one body for
each class, and performs it along the curves of held-out scenes. It prints one JSON object. For the figures that the
starter pack has, too, it contains those of the starter pack for comparison. Times are CPU times of all threads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.curves.energy import EnergyCurve, energy_agreement
from rewas_engine.curves.onsets import onset_f1
from rewas_engine.curves.sources import flat_curve
from rewas_engine.evaluation.bench import bench_clip
from rewas_engine.evaluation.onset_control import has_counted_strikes
from rewas_engine.evaluation.seams import border_masks, compare, spectral_flux
from rewas_engine.evaluation.splits import TEST
from rewas_engine.media.audio import resample
from rewas_engine.recordings.analysis import analyse
from rewas_engine.recordings.choosing import Choice
from rewas_engine.recordings.index import LibraryIndex, Recording, SoundEvent, Stretch
from rewas_engine.recordings.performing import PlannedPerformance
from rewas_engine.recordings.sound_blocks import open_blocks
from rewas_engine.world import CLASS_NAMES, SAMPLE_RATE_HZ, STRUCK_CLASSES, render_sound, sample_scene

RATE_HZ = 48_000
TRAINING_SEED = 1000
STRIKES, STRIKE_GAP_S = 12, 1.4
STEADY_S = 12.0
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


@dataclass
class Measures:
    """Figures of single clips, and the duration and CPU time of all."""

    correlations: list[float]
    errors_nats: list[float]
    f1: list[float]
    f1_separate: list[float]
    sound_s: float = 0.0
    cpu_s: float = 0.0


def main() -> None:
    """Print all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=4, help="held-out clips of each class")
    parser.add_argument("--joint-sounds", type=int, default=100, help="one-minute steady sounds to measure joints in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        index = make_library(Path(folder))
        by_class = {name: measure_class(index, name, given.clips) for name in CLASS_NAMES}
        figures = summarise(by_class)
        figures["joints"] = measure_joints(index, given.joint_sounds)
    starter = json.loads(STARTER.read_text("utf-8"))["figures"]
    figures["starter"] = {ours: starter[theirs] for ours, theirs in SHARED_FIGURES.items()}
    print(json.dumps(figures, indent=1))


def make_library(folder: Path) -> LibraryIndex:
    """Write one recording of each class in stereo, and index them with the analysis that libraries use."""
    recordings: list[Recording] = []
    events: list[SoundEvent] = []
    stretches: list[Stretch] = []
    for number, name in enumerate(CLASS_NAMES):
        path = folder / f"{name}.wav"
        sound = 0.7 * soxr.resample(render_recording(name), SAMPLE_RATE_HZ, RATE_HZ, quality="VHQ")
        soundfile.write(path, np.stack([sound, 0.8 * sound], axis=1), RATE_HZ, subtype="PCM_24")
        with open_blocks(path) as opened:
            found = analyse(opened.blocks, opened.sample_rate_hz)
        state, content = path.stat(), hashlib.sha256(path.read_bytes()).hexdigest()
        levels = (found.noise_floor_db, found.peak_db, found.stereo_width)
        identity = (path, state.st_size, state.st_mtime_ns, content)
        recordings.append(Recording(*identity, RATE_HZ, 2, found.samples, name, None, None, *levels))
        events += [replace(event, recording=number) for event in found.events]
        stretches += [replace(stretch, recording=number) for stretch in found.stretches]
    embeddings = np.zeros((len(recordings), 1), np.float16)
    return LibraryIndex((folder,), tuple(recordings), tuple(events), tuple(stretches), embeddings)


def render_recording(name: str) -> NDArray[np.float32]:
    """Render a recording like those in a library: separate strikes of all strengths, or a steady sound."""
    is_struck = name in STRUCK_CLASSES
    duration_s = STRIKES * STRIKE_GAP_S + 1.0 if is_struck else STEADY_S
    scene = sample_scene(TRAINING_SEED, name, duration_s, pattern="regular" if is_struck else "steady")
    scene = replace(scene, floor=0.0, ambience=None, distance=0.1)
    if is_struck:
        strengths = np.random.default_rng(0).permutation(np.linspace(0.35, 1.0, STRIKES))
        scene = replace(scene, event_times_s=0.3 + STRIKE_GAP_S * np.arange(STRIKES), event_strengths=strengths)
    else:
        scene = replace(scene, envelope=np.ones_like(scene.envelope))
    return render_sound(scene)


def measure_class(index: LibraryIndex, name: str, clips: int) -> Measures:
    """Perform the recording of a class along the curves of held-out scenes of the class."""
    measures = Measures([], [], [], [])
    choice = Choice(name, (CLASS_NAMES.index(name),), 1.0, True, ())
    for seed, scene in enumerate(TEST.audible(name, clips)):
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
            onsets_s = np.array([strike.onset_s for strike in planned.strikes])
            f1 = onset_f1(scene.event_times_s, onsets_s, ONSET_TOLERANCE_S).f1
            measures.f1.append(f1)
            if np.diff(scene.event_times_s).min(initial=1.0) >= SEPARATE_S:
                measures.f1_separate.append(f1)
    return measures


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
    steady = sorted({stretch.recording for stretch in index.stretches})
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
        "onset_f1_10_ms": mean([value for measures in by_class.values() for value in measures.f1]),
        "onset_f1_10_ms_separate": mean([value for measures in by_class.values() for value in measures.f1_separate]),
        "times_real_time_by_cpu_time": round(sum(measures.sound_s for measures in by_class.values()) / cpu_s, 1),
        "energy_correlation_by_class": {name: mean(measures.correlations) for name, measures in by_class.items()},
        "onset_f1_separate_by_class": {
            name: mean(measures.f1_separate) for name, measures in by_class.items() if measures.f1_separate
        },
    }


if __name__ == "__main__":
    main()
