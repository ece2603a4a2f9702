"""Measure how long it takes to write an AAF file, and how much of that time is spent in pyaaf2.

    .venv/bin/python benchmarks/aaf_writing.py [--clips 200 500 1000]

Half of the clips are pictures and half are sounds. The table shows the processor time, the time per clip and the size
of the file. The last line shows how the time is divided among the packages, as profiled with 200 clips.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "server"), str(ROOT / "proto"), str(ROOT)]

import numpy as np  # noqa: E402
import opentimelineio as otio  # noqa: E402
import soundfile  # noqa: E402

from rewas_server.otio.writing import write_timeline  # noqa: E402

RATE, FRAMES, SAMPLES_PER_FRAME = 25, 10, 1920
PACKAGES = ("aaf2", "otio_aaf_adapter", "opentimelineio", "rewas_server")


def span(start: int, duration: int, rate: int = RATE) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(duration, rate))


def make_reel(folder: Path, clips: int) -> otio.schema.Timeline:
    """Make a timeline of pictures with one sound each. Every sound has its own file."""
    reel = otio.schema.Timeline("reel", global_start_time=otio.opentime.RationalTime(90000, RATE))
    pictures = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    sounds = otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio)
    reel.tracks.extend([pictures, sounds])
    for number in range(clips // 2):
        film = otio.schema.ExternalReference(str(folder / "film.mov"), span(0, 10**6))
        pictures.append(otio.schema.Clip(f"shot {number}", film, span(number * FRAMES, FRAMES)))
        path, begin = folder / f"{number}.wav", 90000 + number * FRAMES
        samples = FRAMES * SAMPLES_PER_FRAME
        soundfile.write(path, np.zeros(samples), 48000, "PCM_24")
        media = otio.schema.ExternalReference(str(path), span(begin * SAMPLES_PER_FRAME, samples, 48000))
        sounds.append(otio.schema.Clip(f"sound {number}", media, span(begin, FRAMES)))
    return reel


def package_of(file: str) -> str:
    parts = Path(file).parts
    return next((name for name in PACKAGES if name in parts), "built-in" if file == "~" else "others")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="+", type=int, default=[200, 500, 1000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Writing the first file also loads the libraries.
        write_timeline(make_reel(folder, 2), folder / "reel.aaf")
        print("| Clips | Processor, s | Per clip, ms | MB |")
        print("|---|---|---|---|")
        for clips in arguments.clips:
            reel = make_reel(folder, clips)
            begin_s = time.process_time()
            write_timeline(reel, folder / "reel.aaf")
            took_s = time.process_time() - begin_s
            size = (folder / "reel.aaf").stat().st_size / 1e6
            print(f"| {clips} | {took_s:.1f} | {took_s / clips * 1000:.1f} | {size:.1f} |", flush=True)
        profile, reel = cProfile.Profile(), make_reel(folder, 200)
        profile.runcall(write_timeline, reel, folder / "reel.aaf")
    shares: Counter[str] = Counter()
    for (file, _, _), (_, _, own_s, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        shares[package_of(file)] += own_s
    print("; ".join(f"{package} {share / shares.total():.0%}" for package, share in shares.most_common()))


if __name__ == "__main__":
    main()
