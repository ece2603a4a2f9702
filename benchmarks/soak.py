"""Run mixed work against a real server for a long time, and report the growth of memory and handles.

`python benchmarks/soak.py --minutes 60` prints one JSON object. For each process, it contains the first and the last
value of resident memory, open files and threads, and their slope per hour in each half of the run (Theil-Sen, with its
95 % interval). A leak is a slope whose interval is above zero in both halves.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import theilslopes

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "server"))

from load_run import flat_energy_work, sound_work, write_load_folder
from server_process import ServerProcess, memory_bytes

from rewas_api.client import RewasClient
from rewas_api.errors import JobCancelled, JobFailed, ProblemError
from rewas_api.v1 import rewas_pb2

SAMPLE_INTERVAL_S = 10.0
JOBS_KEPT_DAYS = 300 / 86_400
"""Age at which the server deletes finished jobs: the store must reach its full size early in the run."""


@dataclass(frozen=True)
class Sample:
    """What one process holds. time_s: since the start of the run."""

    process: str
    time_s: float
    resident_bytes: int
    open_files: int
    threads: int


class Soak:
    """One run. folder: an empty folder."""

    def __init__(self, folder: Path, *, minutes: float, clients: int, pause_s: float, seed: int) -> None:
        self._folder = folder
        self._duration_s = minutes * 60
        self._clients = clients
        self._pause_s = pause_s
        self._seed = seed
        self._done: Counter[str] = Counter()
        self._unexpected: list[str] = []
        self._samples: list[Sample] = []
        self._end = threading.Event()

    def run(self) -> dict[str, Any]:
        """Run the work and return the report."""
        write_load_folder(self._folder)
        settings = {"queue_limit": 1000, "client_queue_limit": 1000, "max_age_days": JOBS_KEPT_DAYS}
        with ServerProcess(
            self._folder / "state",
            [self._folder / "media"],
            packs_dir=self._folder / "packs",
            default_pack="tiny",
            settings=settings,
        ) as server:
            threads = [threading.Thread(target=self._work, args=(server, number)) for number in range(self._clients)]
            for thread in threads:
                thread.start()
            self._sample(server)
            self._end.set()
            for thread in threads:
                thread.join()
            tracebacks = server.log().count("Traceback")
        return {
            "minutes": self._duration_s / 60,
            "done": dict(self._done),
            "unexpected": self._unexpected[:20],
            "tracebacks": tracebacks,
            "processes": {name: self._summary(name) for name in sorted({each.process for each in self._samples})},
        }

    def _sample(self, server: ServerProcess) -> None:
        began_s = time.monotonic()
        while (now_s := time.monotonic() - began_s) < self._duration_s:
            pids = [("front", server.pid)]
            pids += [("worker", pid) for pid in server.worker_pids()]
            pids += [("checking", pid) for pid in server.checking_pids()]
            for name, pid in pids:
                sample = measure(name, now_s, pid)
                if sample is not None:
                    self._samples.append(sample)
            self._end.wait(SAMPLE_INTERVAL_S)

    def _work(self, server: ServerProcess, number: int) -> None:
        draw = random.Random(self._seed * 1000 + number)
        actions: list[tuple[int, Callable[[RewasClient, random.Random], None]]] = [
            (5, self._energy),
            (2, self._sound),
            (2, self._cancelled),
            (2, self._listing),
            (2, self._upload),
            (2, self._refused),
            (1, self._deleted),
        ]
        weights = [weight for weight, _ in actions]
        while not self._end.is_set():
            # A new connection every now and then, as people open and close their editors.
            with server.client() as client:
                for _ in range(20):
                    (_, action), *_ = draw.choices(actions, weights)
                    try:
                        action(client, draw)
                        self._done[action.__name__.strip("_")] += 1
                    except (ProblemError, JobFailed) as problem:
                        self._unexpected.append(f"{action.__name__}: {problem}")
                    if self._end.wait(self._pause_s):
                        return

    def _energy(self, client: RewasClient, draw: random.Random) -> None:
        client.wait(client.submit(flat_energy_work(self._folder, name=f"shot {draw.random()}")).id)

    def _sound(self, client: RewasClient, draw: random.Random) -> None:
        job = client.wait(client.submit(sound_work(self._folder, 2)).id)
        artifact = job.sound.takes[0].stems[0].artifact
        target = self._folder / f"{threading.get_ident()}.wav"
        target.unlink(missing_ok=True)
        client.fetch_artifact(job.id, artifact, target)

    def _cancelled(self, client: RewasClient, draw: random.Random) -> None:
        job = client.submit(sound_work(self._folder, 500))
        client.cancel(job.id)
        try:
            client.wait(job.id)
        except JobCancelled:
            return

    def _listing(self, client: RewasClient, draw: random.Random) -> None:
        for _, job in zip(range(200), client.list_jobs(), strict=False):
            assert job.id
        client.get_server_info()
        client.list_packs()

    def _upload(self, client: RewasClient, draw: random.Random) -> None:
        path = self._folder / f"{threading.get_ident()}.mp4"
        path.write_bytes((self._folder / "media" / "shot.mp4").read_bytes() + draw.randbytes(2000))
        work = flat_energy_work(self._folder)
        work.uploaded_media[str(self._folder / "media" / "shot.mp4")] = client.upload_media(path)
        client.wait(client.submit(work).id)

    def _refused(self, client: RewasClient, draw: random.Random) -> None:
        try:
            client.submit(rewas_pb2.EnergyWork(clip_otio_json="{" * draw.randrange(1, 2000)))
        except ProblemError:
            return
        raise ProblemError("A malformed clip was accepted.", "")

    def _deleted(self, client: RewasClient, draw: random.Random) -> None:
        job = client.wait(client.submit(flat_energy_work(self._folder)).id)
        client.delete(job.id)

    def _summary(self, name: str) -> dict[str, Any]:
        samples = [each for each in self._samples if each.process == name]
        summary: dict[str, Any] = {"samples": len(samples)}
        for quantity in ("resident_bytes", "open_files", "threads"):
            values = [getattr(each, quantity) for each in samples]
            summary[quantity] = {"first": values[0], "last": values[-1], "largest": max(values)}
            for half, part in (("first", samples[: len(samples) // 2]), ("second", samples[len(samples) // 2 :])):
                if len(part) > 2:
                    hours = [each.time_s / 3600 for each in part]
                    slope, _, low, high = theilslopes([getattr(each, quantity) for each in part], hours)
                    summary[quantity][f"per_hour_in_the_{half}_half"] = [round(low), round(slope), round(high)]
        return summary


def measure(name: str, time_s: float, pid: int) -> Sample | None:
    """Measure a process. Returns None if it has ended."""
    try:
        open_files, threads = (len(list(Path(f"/proc/{pid}/{folder}").iterdir())) for folder in ("fd", "task"))
        return Sample(name, time_s, memory_bytes(pid, "VmRSS"), open_files, threads)
    except OSError:
        return None


def main() -> int:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--pause-s", type=float, default=0.5, help="pause of a client after each request")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Soak(Path(folder) / "run", **vars(given)).run()
    print(json.dumps(report, indent=2))
    return 1 if report["unexpected"] or report["tracebacks"] else 0


if __name__ == "__main__":
    sys.exit(main())
