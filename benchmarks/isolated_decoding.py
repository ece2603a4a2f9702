"""Measure what decoding in a separate process costs: the same clips read here and by a decoder process, in turn.

`python benchmarks/isolated_decoding.py --seconds 20` prints one JSON object: for each kind of reading, the median wall
and CPU seconds here and in a decoder process, and the ratios. CPU seconds count the decoder process too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from rewas_engine.media.audio import read_audio
from rewas_engine.media.isolation import seam
from rewas_engine.media.isolation.pool import DecoderPool, isolated_decoding
from rewas_engine.media.video import frame_count, iter_frames, probe_video

RATE = 25


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="length of the clip")
    parser.add_argument("--size", type=int, nargs=2, default=(1920, 1080), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        clip = write_clip(Path(folder) / "clip.mp4", options.seconds, tuple(options.size))
        pool = stack.enter_context(isolated_decoding())
        probe_video(clip)  # The first call waits for the process.
        result = {
            name: compare(read, pool, options.repeats) for name, read in readings(clip, Fraction(options.seconds))
        }
    print(json.dumps({"seconds": options.seconds, "size": options.size, **result}, indent=1))


def readings(clip: Path, duration_s: Fraction) -> list[tuple[str, Callable[[], object]]]:
    """What is measured: frames for a video encoder, frames for finding cuts, sound, and a short call."""

    def frames(rate: int, width: int, height: int, rgb: bool) -> int:
        shown = iter_frames(
            clip,
            start_s=Fraction(0),
            duration_s=duration_s,
            frame_rate=Fraction(rate),
            width=width,
            height=height,
            rgb=rgb,
        )
        count = sum(1 for _ in shown)
        assert count == frame_count(duration_s, Fraction(rate))
        return count

    return [
        ("frames of 224 x 224", lambda: frames(RATE, 224, 224, True)),
        ("frames of 64 x 36", lambda: frames(RATE, 64, 36, False)),
        ("sound", lambda: read_audio(clip, start_s=Fraction(0), duration_s=duration_s, sample_rate_hz=16_000)),
        ("properties", lambda: probe_video(clip)),
    ]


def compare(read: Callable[[], object], pool: DecoderPool, repeats: int) -> dict[str, float]:
    """Median seconds of reading here and in a decoder process, in turn, since other load changes with time."""
    wall_s: dict[str, list[float]] = {"here": [], "process": []}
    cpu_s: dict[str, list[float]] = {"here": [], "process": []}
    for _ in range(repeats):
        for place, decoder in (("here", None), ("process", pool)):
            seam.set_decoder(decoder)
            began_wall_s, began_cpu_s = time.monotonic(), cpu_time_s(pool)
            read()
            wall_s[place].append(time.monotonic() - began_wall_s)
            cpu_s[place].append(cpu_time_s(pool) - began_cpu_s)
    here_s, process_s = (statistics.median(wall_s[place]) for place in ("here", "process"))
    here_cpu_s, process_cpu_s = (statistics.median(cpu_s[place]) for place in ("here", "process"))
    return {
        "here_s": round(here_s, 4),
        "process_s": round(process_s, 4),
        "ratio": round(process_s / here_s, 3),
        "here_cpu_s": round(here_cpu_s, 4),
        "process_cpu_s": round(process_cpu_s, 4),
        "cpu_ratio": round(process_cpu_s / max(here_cpu_s, 1e-9), 3),
    }


def cpu_time_s(pool: DecoderPool) -> float:
    """CPU seconds of this process and of its decoders."""
    return time.process_time() + sum(process_cpu_s(pid) for pid in pool.pids())


def process_cpu_s(pid: int) -> float:
    """CPU seconds of a process with all its threads, also those that have ended (on Linux)."""
    return time.clock_gettime(~pid << 3 | 2)  # what clock_getcpuclockid returns


def write_clip(path: Path, seconds: int, size: tuple[int, int]) -> Path:
    """Write a clip of moving noise, with sound."""
    generator = np.random.default_rng(0)
    width, height = size
    picture = generator.integers(0, 255, (height // 8, width // 8), np.uint8).repeat(8, 0).repeat(8, 1)
    sound = generator.uniform(-0.5, 0.5, (1, 1920)).astype(np.float32)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = width // 8 * 8, height // 8 * 8, "yuv420p"
        audio = container.add_stream("aac", rate=48_000, layout="mono")
        for number in range(seconds * RATE):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 3 * number, axis=1), format="gray")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(video.encode(frame))
            part = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
            part.sample_rate, part.pts, part.time_base = 48_000, 1920 * number, Fraction(1, 48_000)
            container.mux(audio.encode(part))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


if __name__ == "__main__":
    main()
