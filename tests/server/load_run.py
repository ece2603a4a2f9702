"""Many clients and many short jobs, while the server and its workers are killed again and again.

    python benchmarks/server_load.py --jobs 2000 --clients 20 --server-kills 10 --worker-kills 20

runs it at full size; a test runs a small one.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import opentimelineio as otio
import soundfile
from server_process import ServerProcess
from sliding_square import FRAME_RATE, FRAMES, write_video

from rewas_api.client import RewasClient
from rewas_api.errors import JobFailed, ServerUnavailable
from rewas_api.v1 import rewas_pb2

SOUND_EVERY = 10
"""Every tenth job generates a sound. The others edit a given energy, which takes a worker but no model."""


@dataclass
class LoadReport:
    """The outcomes of the jobs. All lists are empty if everything held.

    Attributes:
        lost: Keys of acknowledged jobs that the server no longer knows, or that never ended.
        doubled: Keys with more than one job.
        failed: Keys of jobs that failed, with the reason.
        damaged: Keys of sounds that differ from the undisturbed one.
        causes: Interruptions of all jobs, by cause.
        duration_s: Of the whole run.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)
    duration_s: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled, failed or damaged."""
        return not (self.lost or self.doubled or self.failed or self.damaged)


def write_load_folder(folder: Path) -> None:
    """Write a short video and a small, untrained pack named "tiny"."""
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    (folder / "media").mkdir(parents=True)
    write_video(folder / "media" / "shot.mp4")
    write_untrained_pack(folder / "packs" / "tiny", seed=0)


def sound_work(folder: Path, num_steps: int, name: str = "shot") -> rewas_pb2.SoundWork:
    """The request for a sound of the video in this folder."""
    settings = rewas_pb2.SoundSettings(prompt="a ball bounces", seed=7, num_inference_steps=num_steps)
    return rewas_pb2.SoundWork(clip_otio_json=_clip_json(folder, name), settings=settings)


def flat_energy_work(folder: Path, name: str = "shot") -> rewas_pb2.EnergyWork:
    """A request that takes a worker but no model."""
    energy = rewas_pb2.EnergyInput(flat_nats=-5)
    return rewas_pb2.EnergyWork(clip_otio_json=_clip_json(folder, name), energy=energy)


def _clip_json(folder: Path, name: str) -> str:
    rate = float(FRAME_RATE)
    clip = otio.schema.Clip(
        name,
        otio.schema.ExternalReference(str(folder / "media" / "shot.mp4")),
        otio.opentime.TimeRange(otio.opentime.RationalTime(0, rate), otio.opentime.RationalTime(FRAMES, rate)),
    )
    return str(clip.to_json_string())


class LoadRun:
    """One run. folder: an empty folder for media, packs, state and stems."""

    def __init__(
        self, folder: Path, *, jobs: int, clients: int, server_kills: int, worker_kills: int, seed: int = 0
    ) -> None:
        self._folder = folder
        self._keys = [f"job {number}" for number in range(jobs)]
        self._clients = clients
        self._ended = 0
        self._client_failed = False
        self._changed = threading.Condition()
        self._report = LoadReport()
        self._digests: dict[str, str] = {}
        self._jobs: dict[str, rewas_pb2.Job] = {}
        draw = random.Random(seed)
        kills = [*["server"] * server_kills, *["worker"] * worker_kills]
        draw.shuffle(kills)
        # Spread over the run, so that no job meets two of them by design.
        self._kills = [(1 + number * (jobs - 1) // max(len(kills), 1), what) for number, what in enumerate(kills)]

    def run(self) -> LoadReport:
        """Run all jobs. Raises what the clients raise unexpectedly."""
        write_load_folder(self._folder)
        began_s = time.monotonic()
        server = self._start_server(0)
        try:
            with ThreadPoolExecutor(self._clients) as pool:
                shares = [self._keys[number :: self._clients] for number in range(self._clients)]
                running = [pool.submit(self._run_client, server.port, share) for share in shares]
                for threshold, what in self._kills:
                    with self._changed:
                        self._changed.wait_for(
                            lambda threshold=threshold: self._ended >= threshold or self._client_failed
                        )
                    if what == "worker":
                        for pid in server.worker_pids():
                            with suppress(ProcessLookupError):
                                os.kill(pid, signal.SIGKILL)
                    else:
                        server.kill()
                        server = self._start_server(server.port)
                for one in running:
                    one.result()
            self._check(server)
        finally:
            server.stop()
        self._report.duration_s = time.monotonic() - began_s
        return self._report

    def _start_server(self, port: int) -> ServerProcess:
        server = ServerProcess(
            self._folder / "state",
            [self._folder / "media"],
            port=port,
            packs_dir=self._folder / "packs",
            default_pack="tiny",
            settings={"queue_limit": len(self._keys) + 1, "client_queue_limit": len(self._keys) + 1},
        )
        assert server.port, server.refusal
        return server

    def _run_client(self, port: int, keys: list[str]) -> None:
        try:
            self._act_as_client(port, keys)
        except BaseException:
            with self._changed:
                self._client_failed = True
                self._changed.notify_all()
            raise

    def _act_as_client(self, port: int, keys: list[str]) -> None:
        with RewasClient(f"127.0.0.1:{port}") as client:
            submitted = {key: self._submit(client, key) for key in keys}
            for key, job_id in submitted.items():
                # A repeated submission, as after a lost reply, must not create a second job.
                if self._submit(client, key) != job_id:
                    self._report.doubled.append(key)
            for key, job_id in submitted.items():
                try:
                    self._jobs[key] = job = client.wait(job_id)
                    for take in job.sound.takes:
                        self._digests[key] = self._fetch(client, key, job_id, take.stems[0].artifact)
                except JobFailed as failure:
                    self._jobs[key] = failure.job
                    self._report.failed.append(f"{key}: {failure}")
                with self._changed:
                    self._ended += 1
                    self._changed.notify_all()

    def _submit(self, client: RewasClient, key: str) -> str:
        while True:
            with suppress(ServerUnavailable):
                return str(client.submit(self._work(key), idempotency_key=key).id)
            threading.Event().wait(0.1)

    def _fetch(self, client: RewasClient, key: str, job_id: str, artifact: rewas_pb2.Artifact) -> str:
        path = client.fetch_artifact(job_id, artifact, self._folder / "fetched" / f"{key}.wav")
        samples, _ = soundfile.read(path, dtype="int32")
        # Only the samples: the file also holds the time at which it was written.
        return hashlib.sha256(samples.tobytes()).hexdigest()

    def _work(self, key: str) -> rewas_pb2.EnergyWork | rewas_pb2.SoundWork:
        if int(key.split()[1]) % SOUND_EVERY:
            return flat_energy_work(self._folder, name=key)
        return sound_work(self._folder, 1, name=key)

    def _check(self, server: ServerProcess) -> None:
        with server.client() as client:
            known = Counter(job.name for job in client.list_jobs())
        self._report.lost += [key for key in self._keys if known[key] == 0 or key not in self._jobs]
        self._report.doubled += [key for key in self._keys if known[key] > 1]
        usual = Counter(self._digests.values()).most_common(1)
        self._report.damaged += [key for key, digest in self._digests.items() if digest != usual[0][0]]
        sounds = self._keys[::SOUND_EVERY]
        failed = {line.partition(":")[0] for line in self._report.failed}
        self._report.damaged += [key for key in sounds if key not in self._digests and key not in failed]
        for job in self._jobs.values():
            for entry in job.interruptions:
                name = rewas_pb2.InterruptionCause.Name(entry.cause).removeprefix("INTERRUPTION_CAUSE_")
                self._report.causes[name] += entry.count
