"""Measure the gain from reading the next job's video during sampling: jobs per minute with and without it, in turn.

`python benchmarks/preparation.py --seconds 5 --size 1920 1080` prints one JSON object. Each round runs the same number
of jobs in both ways, in the same process, with the code of a server's worker. Each job shows another range of a video.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import opentimelineio as otio
from isolated_decoding import RATE, write_clip

from rewas_api.v1 import rewas_pb2
from rewas_engine.media.isolation.pool import isolated_decoding
from rewas_server.logs import LogPrivacy
from rewas_server.worker import messages
from rewas_server.worker.job_runner import JobFiles, JobRunner, PackSettings

NEVER = threading.Event()


class Queue:
    """Runs jobs one after another. prepares: whether the next one is prepared from the first sampling step on."""

    def __init__(self, runner: JobRunner, files: JobFiles, works: Sequence[messages.Work], prepares: bool) -> None:
        self._runner, self._files, self._waiting = runner, files, list(works)
        self._prepares = prepares

    def run(self) -> float:
        """Run all jobs, and return the jobs per minute."""
        count, began_s = len(self._waiting), time.monotonic()
        while self._waiting:
            self._runner.run(self._waiting.pop(0), self._files, NEVER)
        return 60 * count / (time.monotonic() - began_s)

    def receive(self, message: messages.Message) -> None:
        """Take a message about the running job."""
        assert not isinstance(message, messages.Failed), message
        is_sampling = isinstance(message, messages.JobProgress) and message.progress.stage == "sample"
        if is_sampling and message.progress.step == 0 and self._prepares and self._waiting:
            coming = self._waiting[0]
            self._runner.prepare(messages.Prepare(coming.job_id, coming.request), self._files.locate_media)


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", default="starter")
    parser.add_argument("--jobs", type=int, default=6, help="jobs of each round, in each way")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5, help="length of each clip")
    parser.add_argument("--size", type=int, nargs=2, default=(1920, 1080), metavar=("WIDTH", "HEIGHT"))
    options = parser.parse_args()
    per_minute: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder, isolated_decoding():
        ranges = 2 * options.rounds * options.jobs + 1
        path = write_clip(Path(folder) / "clip.mp4", options.seconds + 1 + ranges // RATE, tuple(options.size))
        # A file that has just been written is read again for each job.
        os.utime(path, (0, 0))
        queues: list[Queue] = []
        runner = JobRunner(
            PackSettings(options.pack, "cpu"), lambda message: queues and queues[-1].receive(message), LogPrivacy(False)
        )
        runner.load_default_pack()
        files, number = JobFiles(Path(folder) / "stems", lambda url, _: Path(url)), 0
        for _ in range(options.rounds):
            for prepares in (False, True):
                works = [work(path, options.pack, number + each, options.seconds) for each in range(options.jobs)]
                number += options.jobs
                queues.append(Queue(runner, files, works, prepares))
                per_minute[prepares].append(queues[-1].run())
    gains = [with_it / without for without, with_it in zip(per_minute[False], per_minute[True], strict=True)]
    figures: Mapping[str, object] = {
        "jobs_per_minute_without": quartiles(per_minute[False]),
        "jobs_per_minute_with": quartiles(per_minute[True]),
        "ratio": quartiles(gains),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "cores": os.cpu_count(),
    }
    print(json.dumps(vars(options) | figures, indent=1))


def work(path: Path, pack: str, number: int, seconds: int) -> messages.Work:
    """A job for the range of the video that begins with the frame of this number."""
    times = otio.opentime.RationalTime(number, RATE), otio.opentime.RationalTime(seconds * RATE, RATE)
    clip = otio.schema.Clip("clip", otio.schema.ExternalReference(str(path)), otio.opentime.TimeRange(*times))
    settings = rewas_pb2.SoundSettings(prompt="rain on a roof", seed=number, pack=pack)
    sound = rewas_pb2.SoundWork(clip_otio_json=clip.to_json_string(), settings=settings)
    return messages.Work(str(number), rewas_pb2.SubmitJobRequest(idempotency_key=str(number), sound=sound))


def quartiles(values: Sequence[float]) -> list[float]:
    """Lower quartile, median and upper quartile."""
    return [round(value, 3) for value in statistics.quantiles(values, n=4)]


if __name__ == "__main__":
    main()
