"""How much memory and time a long clip takes: one request over a film of the synthetic world, whole in one process.

`python benchmarks/long_clip.py --minutes 30 --rate 24000/1001` prints one JSON object: memory in MiB above the loaded
model at its highest, in every stage, and seconds by stage. `--work command` measures `rewas generate` with its
delivery instead, `--work energy` and `--work sound` the two kinds of energy alone.
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

from rewas_engine import Progress, ReWaS, VideoClip
from rewas_engine.world import SAMPLE_RATE_HZ, render_brightness, render_sound, sample_scene

SCENES = 12
SCENE_S = 10
FIRST_SEED = 930_000_000
SIZE = (128, 72)
_PAGE_BYTES = 4096
_SAMPLE_INTERVAL_S = 0.01


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=Fraction, default=Fraction(30))
    parser.add_argument("--rate", type=Fraction, default=Fraction(25))
    parser.add_argument("--pack", default="starter")
    parser.add_argument("--sample-rate", type=int, default=48_000)
    parser.add_argument("--num-steps", type=int, help="memory hangs on them as little as on chance; time does")
    parser.add_argument("--work", choices=("generate", "command", "energy", "sound"), default="generate")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        film = write_film(Path(folder) / "film.mkv", options.minutes * 60, options.rate)
        settings = {"num_steps": options.num_steps, "sample_rate_hz": options.sample_rate}
        told = measured(film, options.pack, options.work, settings, Path(folder) / "stems")
    told |= {"minutes": float(options.minutes), "frame_rate": str(options.rate), "work": options.work, **settings}
    print(json.dumps(told, indent=1))


def write_film(path: Path, duration_s: Fraction, rate: Fraction) -> Path:
    """A film of scenes of the world, over and over, with their sound."""
    scenes = [sample_scene(FIRST_SEED + number, duration_s=SCENE_S) for number in range(SCENES)]
    pictures = np.concatenate(
        [render_brightness(scene, frame_rate=rate, width=SIZE[0], height=SIZE[1]) for scene in scenes]
    )
    sounds = np.concatenate([render_sound(scene) for scene in scenes]).astype(np.float32)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        picture.width, picture.height = SIZE
        picture.pix_fmt = "yuv420p"
        heard = container.add_stream("pcm_s16le", rate=SAMPLE_RATE_HZ)
        heard.layout = "mono"
        # A second of each in turn: a film whose sound stands behind its picture is read to its end before it begins.
        shown = played = 0
        for second in range(1, int(-(-duration_s // 1)) + 1):
            end_s = min(Fraction(second), duration_s)
            while shown < end_s * rate:
                frame = av.VideoFrame.from_ndarray(pictures[shown % len(pictures)], format="gray")
                frame.pts, frame.time_base = shown, 1 / rate
                container.mux(picture.encode(frame))
                shown += 1
            end = int(end_s * SAMPLE_RATE_HZ)
            part = np.take(sounds, np.arange(played, end), mode="wrap")
            sound = av.AudioFrame.from_ndarray(
                np.round(np.clip(part, -1, 1) * 32767).astype(np.int16)[None], format="s16", layout="mono"
            )
            sound.sample_rate, sound.pts, sound.time_base = SAMPLE_RATE_HZ, played, Fraction(1, SAMPLE_RATE_HZ)
            container.mux(heard.encode(sound))
            played = end
        container.mux(picture.encode(None))
        container.mux(heard.encode(None))
    return path


class PeakMemory:
    """The process's resident memory at its highest, overall and by stage, in MiB above what it was at first."""

    def __init__(self) -> None:
        self.at_first = self.overall = resident_mib()
        self.by_stage: dict[str, float] = {}
        self.stage = "before"

    def look(self) -> None:
        """Take the memory as it is now into account."""
        now = resident_mib()
        self.overall = max(self.overall, now)
        self.by_stage[self.stage] = max(self.by_stage.get(self.stage, 0.0), round(now - self.at_first, 1))

    def told(self) -> dict[str, object]:
        """As JSON."""
        return {
            "loaded_mib": round(self.at_first, 1),
            "highest_above_loaded_mib": round(self.overall - self.at_first, 1),
            "by_stage_mib": self.by_stage,
        }


@contextmanager
def track_peak_memory() -> Iterator[PeakMemory]:
    """What is done within is watched from a thread beside it."""
    highest, ended = PeakMemory(), threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_INTERVAL_S):
            highest.look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield highest
    finally:
        ended.set()
        watcher.join()


def resident_mib() -> float:
    """Resident memory of this process, as Linux tells it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES / 2**20


def measured(film: Path, pack: str, work: str, settings: dict[str, Any], stems: Path) -> dict[str, object]:
    """Memory and seconds of one piece of work over a whole film."""
    model = ReWaS.from_pretrained(pack, device="cpu")
    # What the libraries take for themselves the first time is not the clip's.
    model.generate(VideoClip(film, duration=6), prompt="rain", **settings)
    began_s = time.monotonic()
    with track_peak_memory() as highest:

        def on_progress(progress: Progress) -> None:
            highest.stage = progress.stage

        clip = VideoClip(film)
        if work == "generate":
            result = model.generate(clip, prompt="rain", **settings, on_progress=on_progress)
            timings = {stage: round(spent, 1) for stage, spent in result.timings_s.items()}
            told: dict[str, object] = {"samples": result.takes[0].stems["primary"].waveform.shape[1]}
        elif work == "command":
            told, timings = _measure_command(film, model, settings, stems, highest)
        else:
            estimate = model.estimate_energy if work == "energy" else model.measure_energy
            told, timings = {"values": estimate(clip, on_progress=on_progress).values.size}, {}
    return told | highest.told() | {"seconds": round(time.monotonic() - began_s, 1), "seconds_by_stage": timings}


def _measure_command(
    film: Path, model: ReWaS, settings: dict[str, Any], stems: Path, highest: PeakMemory
) -> tuple[dict[str, object], dict[str, float]]:
    """The same as a command or a server does it, with its delivery, in this process."""
    import opentimelineio as otio

    from rewas_api.v1 import rewas_pb2
    from rewas_server.work.context import WorkContext, WorkProgress
    from rewas_server.work.dispatch import run_work

    def on_progress(progress: WorkProgress) -> None:
        highest.stage = rewas_pb2.Stage.Name(progress.stage)  # type: ignore[arg-type]

    clip = otio.schema.Clip(media_reference=otio.schema.ExternalReference(target_url=str(film)))
    asked = rewas_pb2.SoundSettings(prompt="rain", seed=0, **settings)
    work = rewas_pb2.SoundWork(clip_otio_json=clip.to_json_string(), settings=asked)
    context = WorkContext(lambda name: model, model.pack.name, stems, lambda url, uploaded: film)
    request = rewas_pb2.SubmitJobRequest(idempotency_key="long", sound=work)
    ended = threading.Event()
    result = run_work(request, context, on_progress=on_progress, cancel=ended)
    assert isinstance(result, rewas_pb2.SoundResult)
    stem = result.takes[0].stems[0]
    return {"samples": stem.samples, "file_bytes": stem.artifact.size_bytes}, dict(result.timings_s)


if __name__ == "__main__":
    main()
