"""Measure a timeline with many short clips on a server: submission, updates, lists, restart and cancellation.

`python benchmarks/long_timeline.py --clips 10000` prints one JSON object. The model is small and untrained.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import opentimelineio as otio

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "server"))

from isolated_decoding import process_cpu_s
from load_run import write_load_folder
from server_process import ServerProcess, memory_bytes
from sliding_square import FRAME_RATE

from rewas_api.client import RewasClient
from rewas_api.v1 import rewas_pb2


def timeline_work(folder: Path, clips: int) -> rewas_pb2.TimelineWork:
    """A timeline of clips of five frames, each with its own prompt."""
    rate = float(FRAME_RATE)
    made = otio.schema.Timeline("reel")
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    made.tracks.append(track)
    for number in range(clips):
        span = otio.opentime.TimeRange(otio.opentime.RationalTime(0, rate), otio.opentime.RationalTime(5, rate))
        clip = otio.schema.Clip(
            f"shot {number}", otio.schema.ExternalReference(str(folder / "media" / "shot.mp4")), span
        )
        clip.metadata["rewas"] = {"prompt": f"a ball bounces {number} times", "num_inference_steps": 1}
        track.append(clip)
    return rewas_pb2.TimelineWork(timeline_otio_json=made.to_json_string(indent=-1))


def seconds(act: Callable[[], object]) -> float:
    """Return how long an action takes."""
    began_s = time.monotonic()
    act()
    return time.monotonic() - began_s


def poll(client: RewasClient, job_id: str, duration_s: float) -> dict[str, float]:
    """Call the server for a while, as a panel in an editor does, and return how long the calls take in milliseconds.

    The server has at most a second to answer each; the clips run meanwhile.
    """
    calls: dict[str, Callable[[], object]] = {
        "info": client.get_server_info,
        "list": lambda: [job for _, job in zip(range(100), client.list_jobs(), strict=False)],
        "list_clips": lambda: [job for _, job in zip(range(100), client.list_jobs(parent_id=job_id), strict=False)],
        "get": lambda: client.get_job(job_id),
    }
    spent: dict[str, list[float]] = {name: [] for name in calls}
    until_s = time.monotonic() + duration_s
    while time.monotonic() < until_s:
        for name, call in calls.items():
            spent[name].append(1000 * seconds(call))
        time.sleep(0.1)
    return {
        f"{name}_{which}_ms": round(value, 1)
        for name, each in spent.items()
        for which, value in (("median", statistics.median(each)), ("max", max(each)))
    }


def measure(folder: Path, clips: int, duration_s: float) -> dict[str, object]:
    """Run the measurement in an empty folder."""
    write_load_folder(folder)
    report: dict[str, object] = {"clips": clips}

    def start() -> ServerProcess:
        return ServerProcess(
            folder / "state",
            [folder / "media"],
            packs_dir=folder / "packs",
            default_pack="tiny",
            settings={"upload_limit_bytes": 10**8},
        )

    with start() as server, RewasClient(server.address, timeout_s=300) as client:
        while not client.get_server_info().worker_ready:
            time.sleep(0.05)
        before_bytes = memory_bytes(server.pid)
        work = timeline_work(folder, clips)
        report["timeline_bytes"] = len(work.timeline_otio_json)
        began_s = time.monotonic()
        job = client.submit(work)
        report["submit_s"] = round(time.monotonic() - began_s, 2)
        report["growth_bytes_at_submission"] = memory_bytes(server.pid) - before_bytes
        cpu_s, done = process_cpu_s(server.pid), client.get_job(job.id).finished_child_count
        report |= poll(client, job.id, duration_s)
        done = client.get_job(job.id).finished_child_count - done
        report["finished_clips"] = done
        report["server_cpu_ms_per_clip"] = round(1000 * (process_cpu_s(server.pid) - cpu_s) / max(1, done), 1)
        report["listed_jobs"] = len(list(client.list_jobs()))
        server.kill()
    began_s = time.monotonic()
    with start() as server, RewasClient(server.address, timeout_s=300) as client:
        before = client.get_job(job.id).finished_child_count
        while client.get_job(job.id).finished_child_count == before:
            time.sleep(0.05)
        report["restart_to_next_clip_s"] = round(time.monotonic() - began_s, 2)
        report["cancel_s"] = round(seconds(lambda: client.cancel(job.id)), 2)
        report["ended_s"] = round(
            seconds(lambda: [None for each in client.watch(job.id) if each.state == rewas_pb2.JOB_STATE_CANCELLED]), 2
        )
        report["delete_s"] = round(seconds(lambda: client.delete(job.id)), 2)
    return report


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="How long the clips run.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), given.clips, given.seconds), indent=2))


if __name__ == "__main__":
    main()
