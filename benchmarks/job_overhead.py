"""Measure what a server adds to a job: the time until its first progress, and CPU time.

`python benchmarks/job_overhead.py` prints one JSON object for each pack. Jobs on a server with a warm worker alternate
with the same work in a plain process, which decodes and generates by itself, so that both run under the same load. The
CPU time of a job is that of all processes of the server while the job runs. The targets are 50 ms until the first
progress, and 20 ms plus 2 % of CPU time.

This needs Linux, which reports the CPU time of other processes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import opentimelineio as otio

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "server"))

from isolated_decoding import RATE, process_cpu_s, write_clip
from server_process import ServerProcess

from rewas_api.client import RewasClient
from rewas_api.v1 import rewas_pb2

FIRST_PROGRESS_BAR_S = 0.050
OVERHEAD_BAR_S, OVERHEAD_BAR_SHARE = 0.020, 0.02
WARM_UP_JOBS = 3


def main() -> None:
    """Measure each pack, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packs", nargs="+", default=["tiny", "starter"], help='"tiny" is a small, untrained pack')
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each clip")
    parser.add_argument("--work-in-folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work_in_folder is not None:
        run_plainly(options.work_in_folder)
        return
    os.environ |= {"OMP_NUM_THREADS": "1"}
    for pack in options.packs:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(Path(folder), pack, options.jobs, options.seconds)
        print(json.dumps({"pack": pack, "jobs": options.jobs, "clip_s": options.seconds, **figures}, indent=1))


def measure(folder: Path, pack: str, jobs: int, seconds: float) -> dict[str, object]:
    """Run the jobs of one pack on a server and in a plain process, in turn."""
    (folder / "media").mkdir()
    write_clip(folder / "media" / "clip.mp4", int(seconds) + 1 + jobs // RATE + 1, (640, 360))
    if pack == "tiny":
        from rewas_engine.recipes.untrained_starter import write_untrained_pack

        write_untrained_pack(folder / "packs" / "tiny", seed=0)
    os.environ["REWAS_PACKS"] = str(folder / "packs")
    first_s: list[float] = []
    plain_cpu_s: list[float] = []
    cpu_s: list[dict[str, float]] = []
    with (
        ServerProcess(folder / "state", [folder / "media"], packs_dir=folder / "packs", default_pack=pack) as server,
        server.client() as client,
        plain_process(folder, pack) as run_in_plain_process,
    ):
        for number in range(WARM_UP_JOBS + jobs):
            request = sound_work(folder / "media" / "clip.mp4", pack, number, seconds)
            plain_cpu_s.append(run_in_plain_process(request))
            before_s = cpu_by_process(server)
            first_s.append(run_on_server(client, request))
            cpu_s.append({name: spent_s - before_s[name] for name, spent_s in cpu_by_process(server).items()})
    del first_s[:WARM_UP_JOBS], plain_cpu_s[:WARM_UP_JOBS], cpu_s[:WARM_UP_JOBS]
    server_cpu_s = [sum(each.values()) for each in cpu_s]
    overhead_s = [on_server - plain for on_server, plain in zip(server_cpu_s, plain_cpu_s, strict=True)]
    return {
        "first_progress_ms": milliseconds(first_s),
        "first_progress_bar_ms": 1000 * FIRST_PROGRESS_BAR_S,
        "plain_cpu_ms": milliseconds(plain_cpu_s),
        "server_cpu_ms": milliseconds(server_cpu_s),
        "server_cpu_ms_by_process": {
            name: round(1000 * statistics.median(each[name] for each in cpu_s), 1) for name in cpu_s[0]
        },
        "overhead_cpu_ms": milliseconds(overhead_s),
        "overhead_bar_ms": round(1000 * (OVERHEAD_BAR_S + OVERHEAD_BAR_SHARE * statistics.median(plain_cpu_s)), 1),
    }


def run_on_server(client: RewasClient, work: rewas_pb2.SoundWork) -> float:
    """Run a job to its end, and return the seconds from its submission to its first progress."""
    began_s, first_s = time.monotonic(), None
    for job in client.watch(client.submit(work).id):
        if first_s is None and job.stage != rewas_pb2.STAGE_UNSPECIFIED:
            first_s = time.monotonic() - began_s
    assert job.state == rewas_pb2.JOB_STATE_SUCCEEDED, job
    assert first_s is not None
    return first_s


@contextmanager
def plain_process(folder: Path, pack: str) -> Iterator[Callable[[rewas_pb2.SoundWork], float]]:
    """Start a process that runs one piece of work after another. Yields a call that returns its CPU seconds."""
    worker = subprocess.Popen(
        [sys.executable, __file__, "--work-in-folder", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdin is not None
    assert worker.stdout is not None

    def run(work: rewas_pb2.SoundWork) -> float:
        request = rewas_pb2.SubmitJobRequest(idempotency_key="plain", sound=work)
        worker.stdin.write(request.SerializeToString().hex().encode() + b"\n")
        worker.stdin.flush()
        return float(worker.stdout.readline())

    with worker:
        yield run
        worker.stdin.close()


def run_plainly(folder: Path) -> None:
    """Run the requests from standard input, and print the CPU seconds of each."""
    import threading

    from rewas_engine import ReWaS
    from rewas_server.work.context import WorkContext
    from rewas_server.work.dispatch import run_work
    from rewas_server.work.requests import parse_request

    models: dict[str, ReWaS] = {}

    def load(pack: str) -> ReWaS:
        if pack not in models:
            models[pack] = ReWaS.from_pretrained(pack, device="cpu")
        return models[pack]

    for number, line in enumerate(sys.stdin):
        request = rewas_pb2.SubmitJobRequest.FromString(bytes.fromhex(line))
        began_s = time.process_time()
        context = WorkContext(load, "starter", folder / "plain" / str(number), lambda url, _: Path(url))
        run_work(parse_request(request), context, on_progress=lambda _: None, cancel=threading.Event())
        print(time.process_time() - began_s, flush=True)


def sound_work(path: Path, pack: str, number: int, seconds: float) -> rewas_pb2.SoundWork:
    """A request for another range of the video with each number, so that no job finds its energy in a cache."""
    frames = round(seconds * RATE)
    clip = otio.schema.Clip(
        "clip",
        otio.schema.ExternalReference(str(path)),
        otio.opentime.TimeRange(otio.opentime.RationalTime(number, RATE), otio.opentime.RationalTime(frames, RATE)),
    )
    settings = rewas_pb2.SoundSettings(prompt="a ball bounces", seed=number, pack=pack)
    return rewas_pb2.SoundWork(clip_otio_json=clip.to_json_string(), settings=settings)


def cpu_by_process(server: ServerProcess) -> dict[str, float]:
    """CPU seconds of the processes of a server, with all their threads."""
    pids = {"front": {server.pid}, "checking": set(server.checking_pids()), "worker": set(server.worker_pids())}
    pids["decoding"] = server.descendant_pids().difference(*pids.values())
    return {name: sum(map(process_cpu_s, each)) for name, each in pids.items()}


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Median and middle half, in milliseconds."""
    low, middle, high = statistics.quantiles(seconds, n=4)
    return {name: round(1000 * value, 1) for name, value in (("median", middle), ("from", low), ("to", high))}


if __name__ == "__main__":
    main()
