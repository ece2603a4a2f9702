"""Measure how fast a library is indexed, and how well events and stretches are found.

Usage: python benchmarks/library_indexing.py [--minutes 60] [--workers 2] [--short-files 10000]

Writes recordings of the synthetic world, in which every event is known, at 48 kHz in stereo. Prints the times of a
first and a second run, the peak memory, and the precision and recall of the events found.

With --short-files, it writes this number of files of less than two seconds instead, and prints the time to read their
index as well.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from rewas_engine.curves.onsets import match_onsets
from rewas_engine.recordings.library_pack import LibraryTerms, MadeLibrary, make_library, read_library_pack
from rewas_engine.world.classes import STRUCK_CLASSES, SUSTAINED_CLASSES
from rewas_engine.world.scene import Scene, sample_scene
from rewas_engine.world.sound import render_sound

RATE_HZ = 48_000
FILE_S = 8.0
PATTERNS = ("single", "few", "regular", "irregular")
TOLERANCE_S = 0.01
APART_S = 0.15
"""Events at least this far apart count as separate."""


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="duration of all recordings")
    parser.add_argument("--workers", type=int, default=2, help="threads")
    parser.add_argument("--short-files", type=int, default=0, help="number of short files")
    options = parser.parse_args()
    if options.short_files:
        measure_short_files(options.short_files, options.workers)
        return
    with tempfile.TemporaryDirectory() as folder:
        sounds = Path(folder) / "sounds"
        scenes = write_recordings(sounds, round(options.minutes * 60 / FILE_S))
        duration_s = FILE_S * len(scenes)
        made = timed(sounds, Path(folder) / "library", options.workers, duration_s, "First run")
        timed(sounds, Path(folder) / "library", options.workers, duration_s, "Second run, nothing changed")
    print_peak_memory()
    print_agreement(made, scenes)


def measure_short_files(count: int, workers: int) -> None:
    """Print the times for many short files: two runs, and reading the index."""
    with tempfile.TemporaryDirectory() as folder:
        sounds, output = Path(folder) / "sounds", Path(folder) / "library"
        duration_s = write_short_recordings(sounds, count)
        timed(sounds, output, workers, duration_s, "First run")
        timed(sounds, output, workers, duration_s, "Second run, nothing changed")
        cpu_s = time.process_time()
        read_library_pack(output)
        print(f"Reading the index: CPU time {time.process_time() - cpu_s:.2f} s")
    print_peak_memory()


def print_peak_memory() -> None:
    """Print the largest memory that the process has had."""
    print(f"Peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def write_short_recordings(folder: Path, count: int) -> float:
    """Write files of 0.4 to 1.1 s with a hit every quarter of a second, and return their duration in seconds."""
    rng = np.random.default_rng(0)
    duration_s = 0.0
    for number in range(count):
        sound = np.zeros(RATE_HZ * (4 + number % 8) // 10)
        for start in range(RATE_HZ // 10, len(sound) - RATE_HZ // 8, RATE_HZ // 4):
            length = RATE_HZ // 9
            sound[start : start + length] = rng.normal(0, 0.2, length) * np.exp(
                -np.arange(length) / (300 + number % 900)
            )
        place = folder / f"folder {number // 500}" / f"door {number}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, sound, RATE_HZ, subtype="PCM_16")
        duration_s += len(sound) / RATE_HZ
    return duration_s


def write_recordings(folder: Path, count: int) -> dict[str, Scene]:
    """Write recordings of struck and sustained classes in turn. Returns the scene of each file."""
    folder.mkdir()
    scenes = {}
    for number in range(count):
        is_struck = number % 3 > 0
        classes = STRUCK_CLASSES if is_struck else SUSTAINED_CLASSES
        pattern = PATTERNS[number % len(PATTERNS)] if is_struck else "steady"
        scene = sample_scene(9_000 + number, classes[number % len(classes)], FILE_S, pattern=pattern)
        sound = soxr.resample(render_sound(scene), 16_000, RATE_HZ)
        name = f"{scene.class_name} {number}.wav"
        soundfile.write(folder / name, np.stack([sound, 0.8 * sound], axis=1), RATE_HZ, subtype="PCM_24")
        scenes[name] = scene
    return scenes


def timed(sounds: Path, output: Path, workers: int, duration_s: float, label: str) -> MadeLibrary:
    """Make the library and print how long it took."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    made = make_library([sounds], output, LibraryTerms(), no_meaning, workers=workers)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    print(
        f"{label}: {duration_s / 60:.0f} min in {wall_s:.1f} s, {duration_s / wall_s:.0f} times real time; "
        f"CPU time {cpu_s:.1f} s, {duration_s / cpu_s:.0f} times real time on one core; {made.measured} files read"
    )
    return made


def no_meaning(words: Sequence[str]) -> NDArray[np.float32]:
    """Return the same embedding for all texts, so that the time to embed them does not count."""
    return np.ones((len(words), 1), np.float32)


def print_agreement(made: MadeLibrary, scenes: dict[str, Scene]) -> None:
    """Print precision and recall of onsets within TOLERANCE_S, their errors, and the number of rounds."""
    counts = {"all strikes": np.zeros(3), f"strikes {APART_S:g} s apart": np.zeros(3)}
    errors_s: list[float] = []
    rounds = []
    for number, recording in enumerate(made.pack.index.recordings):
        scene = scenes[recording.path.name]
        if scene.class_name not in STRUCK_CLASSES or scene.floor or scene.ambience is not None:
            continue
        events = made.pack.index.events_of(number)
        found_s = np.array([event.onset_sample / RATE_HZ for event in events])
        pairs = match_onsets(scene.event_times_s, found_s, TOLERANCE_S)
        errors_s += list(found_s[pairs[:, 1]] - scene.event_times_s[pairs[:, 0]])
        rounds.append(len({event.round for event in events}))
        is_apart = np.diff(scene.event_times_s).min(initial=1.0) >= APART_S
        for name in list(counts)[: 2 if is_apart else 1]:
            counts[name] += (len(pairs), len(found_s), len(scene.event_times_s))
    for name, (matched, found, known) in counts.items():
        print(
            f"Onsets within 10 ms, {name}: precision {matched / found:.3f}, recall {matched / known:.3f} of {known:.0f}"
        )
    print(f"Error of matched onsets: 90 % within {1000 * np.percentile(np.abs(errors_s), 90):.2f} ms")
    print(f"Recordings whose events are all in one round: {np.mean(np.array(rounds) == 1):.2f}")


if __name__ == "__main__":
    main()
