"""Compare the throughput of a worker on this machine, of one replica and of two replicas, side by side.

`python benchmarks/replicas.py --rounds 8 --jobs 8` prints one JSON object. Each round runs the same jobs in all three
ways, in turn: on a server with a local worker, and on two servers that share two replicas of one Ray cluster and send
them one or two jobs at a time. The ratios are medians over the rounds, with a 95 % bootstrap interval. Each replica
computes with one thread, so that two replicas do not share a core on a machine with two cores. `cpu_ms_per_job` is
the time that the parts other than the model use for a job on two replicas.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "server"))

import psutil
from load_run import sound_work, write_load_folder
from server_process import ServerProcess

from rewas_api.client import RewasClient

RESAMPLES = 5000


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=8, help="jobs of each round")
    parser.add_argument("--steps", type=int, default=25, help="sampling steps of each job")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        write_load_folder(folder)

        def start(state: str, **settings: object) -> ServerProcess:
            return stack.enter_context(
                ServerProcess(
                    folder / state,
                    [folder / "media"],
                    packs_dir=folder / "packs",
                    default_pack="tiny",
                    settings={"queue_limit": 1000} | settings,
                )
            )

        two = start("two", backend="ray", ray_replicas=2)
        servers = {"two replicas": two, "local worker": start("local")}
        with two.client() as client:
            run_jobs(client, folder, 4, 1)
        (url,) = set(re.findall(r"reached at (http://[0-9.:]+[0-9])", two.log()))
        servers["one replica"] = start(
            "one",
            backend="ray",
            ray_url=url,
            ray_token_file=str(folder / "two" / "ray-token"),
            content_store=str(folder / "two" / "content"),
        )
        clients = {name: stack.enter_context(server.client()) for name, server in servers.items()}
        for client in clients.values():
            run_jobs(client, folder, 4, given.steps)
        before_s = cpu_seconds(two.pid)
        seconds: dict[str, list[float]] = {name: [] for name in clients}
        draw = random.Random(0)
        for _ in range(given.rounds):
            for name in draw.sample(sorted(clients), len(clients)):
                seconds[name].append(run_jobs(clients[name], folder, given.jobs, given.steps))
        # Ray serves the jobs of both servers.
        after_s = cpu_seconds(two.pid)
        jobs = {"server": 1, "relays": 1, "checking": 1} | dict.fromkeys(("gate", "proxy", "controller", "ray"), 2)
        cpu_ms = {
            part: 1000 * (after_s[part] - before_s[part]) / (given.rounds * given.jobs * jobs[part]) for part in after_s
        }
        relays = [each for each in psutil.Process(two.pid).children() if "rewas_server.cluster.relay" in each.cmdline()]
        report = {
            **vars(given),
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "jobs_per_minute": {name: 60 * given.jobs / statistics.median(each) for name, each in seconds.items()},
            "two replicas / one replica": compare(seconds["one replica"], seconds["two replicas"]),
            "one replica / local worker": compare(seconds["local worker"], seconds["one replica"]),
            "cpu_ms_per_job": cpu_ms,
            "relay_memory_mb": [each.memory_info().rss / 1e6 for each in relays],
            "seconds": seconds,
        }
    print(json.dumps(report, indent=2))


def run_jobs(client: RewasClient, folder: Path, jobs: int, steps: int) -> float:
    """Return the seconds that all these jobs take."""
    began_s = time.perf_counter()
    for job_id in [client.submit(sound_work(folder, steps)).id for _ in range(jobs)]:
        client.wait(job_id)
    return time.perf_counter() - began_s


def cpu_seconds(server_pid: int) -> dict[str, float]:
    """Return the processor time of a server and of what it has started, without the model, by part."""
    server = psutil.Process(server_pid)
    seconds = Counter({"server": sum(server.cpu_times()[:2])})
    for each in server.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            seconds[part_of(" ".join(each.cmdline()))] += sum(each.cpu_times()[:2])
    del seconds["model"]
    return dict(seconds)


def part_of(command_line: str) -> str:
    """Return the part of the program that a process belongs to."""
    known = {
        "rewas_server.cluster.relay": "relays",
        "rewas_server.checking.run": "checking",
        "ServeReplica:rewas:Replica": "model",
        "rewas_engine.media.isolation": "model",
        "ServeReplica:rewas:Gate": "gate",
        "ProxyActor": "proxy",
        "ServeController": "controller",
    }
    return next((part for text, part in known.items() if text in command_line), "ray")


def compare(first_s: Sequence[float], second_s: Sequence[float]) -> dict[str, float]:
    """Return the median of the ratios of two times, round by round, and the interval of this median."""
    ratios = [first / second for first, second in zip(first_s, second_s, strict=True)]
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return {
        "ratio": statistics.median(ratios),
        "low": medians[round(0.025 * RESAMPLES)],
        "high": medians[round(0.975 * RESAMPLES)],
    }


if __name__ == "__main__":
    main()
