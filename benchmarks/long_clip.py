"""Measure memory and time for a long clip: one request over a film of the synthetic world, in one process.

`python benchmarks/long_clip.py --minutes 30 --rate 24000/1001` prints one JSON object with the peak memory in MiB above
the loaded model, overall and by stage, and the seconds by stage. `--work command` measures `rewas generate` with its
delivery, `--work energy` the estimated energy alone, and `--work sound` the measured energy alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from rewas_engine import Output, Progress, ReWaS, Sampling, VideoClip
from rewas_engine.world import SAMPLE_RATE_HZ, render_brightness, render_sound, sample_scene

SCENES = 12
SCENE_S = 10
FIRST_SEED = 930_000_000
SIZE = (128, 72)
_PAGE_BYTES = 4096
_SAMPLE_INTERVAL_S = 0.01


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=Fraction, default=Fraction(30))
    parser.add_argument("--rate", type=Fraction, default=Fraction(25))
    parser.add_argument("--pack", default="starter")
    parser.add_argument("--sample-rate", type=int, default=48_000)
    parser.add_argument("--num-steps", type=int, help="sampling steps; they affect time but not memory")
    parser.add_argument("--work", choices=("generate", "command", "energy", "sound"), default="generate")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        film = write_film(Path(folder) / "film.mkv", options.minutes * 60, options.rate)
        settings = {"num_steps": options.num_steps, "sample_rate_hz": options.sample_rate}
        result_fields = measure(film, options.pack, options.work, settings, Path(folder) / "stems")
    result_fields |= {
        "minutes": float(options.minutes),
        "frame_rate": str(options.rate),
        "work": options.work,
        **settings,
    }
    print(json.dumps(result_fields, indent=1))


def write_film(path: Path, duration_s: Fraction, rate: Fraction) -> Path:
    """Write a film that repeats scenes of the synthetic world with their sound."""
    scenes = [sample_scene(FIRST_SEED + number, duration_s=SCENE_S) for number in range(SCENES)]
    brightness = np.concatenate(
        [render_brightness(scene, frame_rate=rate, width=SIZE[0], height=SIZE[1]) for scene in scenes]
    )
    sounds = np.concatenate([render_sound(scene) for scene in scenes]).astype(np.float32)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ)
        audio.layout = "mono"
        # Interleave second by second, because a reader buffers a film whose sound comes after its video.
        frames_written = samples_written = 0
        for second in range(1, int(-(-duration_s // 1)) + 1):
            end_s = min(Fraction(second), duration_s)
            while frames_written < end_s * rate:
                frame = av.VideoFrame.from_ndarray(brightness[frames_written % len(brightness)], format="gray")
                frame.pts, frame.time_base = frames_written, 1 / rate
                container.mux(video.encode(frame))
                frames_written += 1
            end = int(end_s * SAMPLE_RATE_HZ)
            part = np.take(sounds, np.arange(samples_written, end), mode="wrap")
            sound = av.AudioFrame.from_ndarray(
                np.round(np.clip(part, -1, 1) * 32767).astype(np.int16)[None], format="s16", layout="mono"
            )
            sound.sample_rate, sound.pts, sound.time_base = SAMPLE_RATE_HZ, samples_written, Fraction(1, SAMPLE_RATE_HZ)
            container.mux(audio.encode(sound))
            samples_written = end
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


class PeakMemory:
    """Peak resident memory of the process, overall and by stage, in MiB above its initial value."""

    def __init__(self) -> None:
        self.at_first = self.overall = resident_mib()
        self.by_stage: dict[str, float] = {}
        self.stage = "before"

    def sample(self) -> None:
        """Update the peaks with the current memory."""
        now = resident_mib()
        self.overall = max(self.overall, now)
        self.by_stage[self.stage] = max(self.by_stage.get(self.stage, 0.0), round(now - self.at_first, 1))

    def report(self) -> dict[str, object]:
        """Return the figures for the JSON output."""
        return {
            "loaded_mib": round(self.at_first, 1),
            "peak_above_loaded_mib": round(self.overall - self.at_first, 1),
            "by_stage_mib": self.by_stage,
        }


@contextmanager
def track_peak_memory() -> Iterator[PeakMemory]:
    """Track the peak memory of the block from a background thread."""
    peak, ended = PeakMemory(), threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_INTERVAL_S):
            peak.sample()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


def resident_mib() -> float:
    """Return the resident memory of this process on Linux."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES / 2**20


def measure(film: Path, pack: str, work: str, settings: dict[str, Any], stems: Path) -> dict[str, object]:
    """Return memory and time of one kind of work over a whole film."""
    groups: dict[str, Any] = {
        "sampling": Sampling(num_inference_steps=settings["num_steps"]),
        "output": Output(sample_rate_hz=settings["sample_rate_hz"]),
    }
    model = ReWaS.from_pretrained(pack, device="cpu")
    # Warm up, so that one-time allocations of libraries do not count.
    model.generate(VideoClip(film, duration=6), prompt="rain", **groups)
    start_s = time.monotonic()
    with track_peak_memory() as peak:

        def on_progress(progress: Progress) -> None:
            peak.stage = progress.stage

        clip = VideoClip(film)
        if work == "generate":
            result = model.generate(clip, prompt="rain", **groups, on_progress=on_progress)
            timings = {stage: round(spent, 1) for stage, spent in result.timings_s.items()}
            result_fields: dict[str, object] = {"samples": result.takes[0].stems["primary"].waveform.shape[1]}
        elif work == "command":
            result_fields, timings = _measure_command(film, model, settings, stems, peak)
        else:
            estimate = model.estimate_energy if work == "energy" else model.measure_energy
            result_fields, timings = {"values": estimate(clip, on_progress=on_progress).values.size}, {}
    return (
        result_fields | peak.report() | {"seconds": round(time.monotonic() - start_s, 1), "seconds_by_stage": timings}
    )


def _measure_command(
    film: Path, model: ReWaS, settings: dict[str, Any], stems: Path, peak: PeakMemory
) -> tuple[dict[str, object], dict[str, float]]:
    """Run the request as the command does, including delivery, in this process."""
    import opentimelineio as otio

    from rewas_api.v1 import rewas_pb2
    from rewas_server.work.context import WorkContext
    from rewas_server.work.dispatch import run_work
    from rewas_server.work.requests import parse_request

    def on_progress(progress: Progress) -> None:
        peak.stage = progress.stage

    clip = otio.schema.Clip(media_reference=otio.schema.ExternalReference(target_url=str(film)))
    sound_settings = rewas_pb2.SoundSettings(
        prompt="rain", seed=0, num_inference_steps=settings["num_steps"], sample_rate_hz=settings["sample_rate_hz"]
    )
    work = rewas_pb2.SoundWork(clip_otio_json=clip.to_json_string(), settings=sound_settings)
    context = WorkContext(lambda name: model, model.pack.name, stems, lambda url, uploaded: film)
    request = rewas_pb2.SubmitJobRequest(idempotency_key="long", sound=work)
    ended = threading.Event()
    result = run_work(parse_request(request), context, on_progress=on_progress, cancel=ended)
    assert isinstance(result, rewas_pb2.SoundResult)
    stem = result.takes[0].stems[0]
    timings = {stage: spent.ToNanoseconds() / 1e9 for stage, spent in result.timings.items()}
    return {"samples": stem.samples, "file_bytes": stem.artifact.size_bytes}, timings


if __name__ == "__main__":
    main()
