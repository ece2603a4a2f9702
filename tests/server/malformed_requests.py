"""Thousands of malformed requests to a real server: damaged messages, damaged OpenTimelineIO and damaged media.

    python benchmarks/malformed_requests.py --requests 10000

runs it at full size; a test runs a small number of requests.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from load_run import flat_energy_work, sound_work, write_load_folder
from server_process import ServerProcess, memory_bytes

from rewas_api.client import FINAL_STATES, RewasClient
from rewas_api.errors import ProblemError, ServerUnavailable
from rewas_api.v1 import rewas_pb2

INTERNAL_CODES = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
CALL_TIMEOUT_S = 60.0
WARM_UP_REQUESTS = 200
"""Imports and caches grow with the first requests. Memory is compared with what the server holds after them."""
MEMORY_CHECK_S = 0.2


@dataclass
class MalformedReport:
    """The outcomes of the requests.

    Attributes:
        sent: Number of requests of each kind.
        outcomes: Number of status codes of the calls, and of states of the jobs.
        internal: Requests that the server answered with INTERNAL or UNKNOWN, or whose jobs failed with INTERNAL.
        crashes: The processes that crashed: "server", "worker".
        tracebacks: Number of tracebacks in the log.
        largest_growth_bytes: Of the resident memory of the front process at any moment.
    """

    sent: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    internal: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    tracebacks: int = 0
    largest_growth_bytes: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing crashed and no error was internal. Memory is judged by the caller."""
        return not (self.internal or self.crashes or self.tracebacks)


class MalformedRun:
    """One run. folder: an empty folder for media, packs, state and uploads. seed: of the damage."""

    def __init__(self, folder: Path, *, requests: int, seed: int = 0) -> None:
        self._folder = folder
        self._requests = requests
        self._draw = random.Random(seed)
        self._report = MalformedReport()
        self._jobs: list[tuple[str, str]] = []

    def run(self) -> MalformedReport:
        """Send all requests. Raises if a call does not end."""
        write_load_folder(self._folder)
        self._media = (self._folder / "media" / "shot.mp4").read_bytes()
        settings = {
            "queue_limit": self._requests + 1,
            "client_queue_limit": self._requests + 1,
            "upload_limit_bytes": 2**24,
        }
        with ServerProcess(
            self._folder / "state",
            [self._folder / "media"],
            packs_dir=self._folder / "packs",
            default_pack="tiny",
            settings=settings,
        ) as server:
            self._send_all(server)
            self._report.tracebacks = server.log().count("Traceback")
        return self._report

    def _send_all(self, server: ServerProcess) -> None:
        kinds: list[tuple[str, Callable[[grpc.Channel, RewasClient], None]]] = [
            ("message", self._send_message),
            ("message", self._send_message),
            ("timeline", self._send_timeline),
            ("timeline", self._send_timeline),
            ("media", self._send_media),
        ]
        with server.channel() as channel, server.client() as client, _MemoryWatch(server.pid) as memory:
            client.get_server_info()
            client.wait(client.submit(flat_energy_work(self._folder)).id)
            workers = server.worker_pids()
            for number in range(self._requests):
                if number == min(WARM_UP_REQUESTS, self._requests // 2):
                    memory.start_over()
                name, send = kinds[number % len(kinds)]
                self._report.sent[name] += 1
                try:
                    send(channel, client)
                except ServerUnavailable as problem:
                    self._report.crashes.append(f"server, at request {number}: {problem}")
                    return
            self._await_jobs(client)
            if server.worker_pids() != workers:
                self._report.crashes.append("worker")
            self._report.largest_growth_bytes = memory.largest_growth_bytes

    def _send_message(self, channel: grpc.Channel, client: RewasClient) -> None:
        """A damaged message to any call."""
        method = self._draw.choice(list(rewas_pb2.DESCRIPTOR.services_by_name["RewasService"].methods))
        data = self._damage(self._valid_message(method))
        if method.client_streaming:
            more = [self._damage(self._valid_message(method)) for _ in range(self._draw.randrange(3))]
            call = channel.stream_stream if method.server_streaming else channel.stream_unary
            request: Any = iter([data, *more])
        else:
            call = channel.unary_stream if method.server_streaming else channel.unary_unary
            request = data
        try:
            response = call(f"/rewas.v1.RewasService/{method.name}")(request, timeout=CALL_TIMEOUT_S)
            if method.server_streaming:
                # A stream that watches a job may stay open.
                next(iter(response), None)
                response.cancel()
            elif method.name == "SubmitJob":
                self._keep_job(rewas_pb2.SubmitJobResponse.FromString(response).job.id, data.hex()[:200])
            self._report.outcomes["OK"] += 1
        except grpc.RpcError as error:
            self._count(error.code(), f"{method.name} {data.hex()[:400]}: {error.details()}")

    def _valid_message(self, method: Any) -> bytes:
        """A valid request of a call, to be damaged."""
        if method.name == "SubmitJob":
            return self._submission(sound_work(self._folder, 1)).SerializeToString()
        if method.name == "UploadMedia":
            chunk = rewas_pb2.UploadMediaRequest(data=self._media[: self._draw.randrange(2000)])
            return chunk.SerializeToString()
        request = getattr(rewas_pb2, method.input_type.name)()
        for described in request.DESCRIPTOR.fields:
            if described.type == described.TYPE_STRING and not described.is_repeated:
                setattr(request, described.name, self._draw.choice(["", "job", "../job", "\x00", "x" * 300]))
        return bytes(request.SerializeToString())

    def _submission(self, work: rewas_pb2.SoundWork | rewas_pb2.EnergyWork) -> rewas_pb2.SubmitJobRequest:
        request = rewas_pb2.SubmitJobRequest(idempotency_key=f"{self._draw.getrandbits(64):x}")
        (request.sound if isinstance(work, rewas_pb2.SoundWork) else request.energy).CopyFrom(work)
        return request

    def _send_timeline(self, channel: grpc.Channel, client: RewasClient) -> None:
        """A clip or timeline whose JSON is damaged, or valid JSON with damaged values."""
        work = flat_energy_work(self._folder, name=f"clip {self._draw.random()}")
        if self._draw.random() < 0.3:
            work.clip_otio_json = self._damage(work.clip_otio_json.encode()).decode("utf-8", "replace")
        else:
            clip = json.loads(work.clip_otio_json)
            for _ in range(self._draw.randrange(1, 4)):
                self._damage_value(clip)
            work.clip_otio_json = json.dumps(clip)
        sent: Any = work
        if self._draw.random() < 0.3:
            timeline = {
                "OTIO_SCHEMA": "Timeline.1",
                "name": "film",
                "tracks": {
                    "OTIO_SCHEMA": "Stack.1",
                    "children": [{"OTIO_SCHEMA": "Track.1", "kind": "Video", "children": [{"OTIO_SCHEMA": "Gap.1"}]}],
                },
            }
            self._damage_value(timeline)
            sent = rewas_pb2.TimelineWork(timeline_otio_json=json.dumps(timeline))
        self._submit(client, sent, str(sent)[:400])

    def _send_media(self, channel: grpc.Channel, client: RewasClient) -> None:
        """Damaged media, uploaded and read by a job."""
        path = self._folder / "damaged.mp4"
        path.write_bytes(self._damage(self._media))
        work = sound_work(self._folder, 1)
        try:
            sha256 = client.upload_media(path)
        except ProblemError as problem:
            self._count_problem(problem, "upload")
            return
        work.uploaded_media[str(self._folder / "media" / "shot.mp4")] = sha256
        self._submit(client, work, f"media {sha256}")

    def _submit(self, client: RewasClient, work: Any, about: str) -> None:
        try:
            job = client.submit(work, idempotency_key=f"{self._draw.getrandbits(64):x}")
        except ServerUnavailable:
            raise
        except ProblemError as problem:
            self._count_problem(problem, about)
            return
        self._report.outcomes["OK"] += 1
        self._keep_job(job.id, about)

    def _keep_job(self, job_id: str, about: str) -> None:
        self._jobs.append((job_id, about))

    def _await_jobs(self, client: RewasClient) -> None:
        for job_id, about in self._jobs:
            job = client.get_job(job_id)
            if job.state not in FINAL_STATES:
                for job in client.watch(job_id):
                    if job.state == rewas_pb2.JOB_STATE_PAUSED:
                        break
            self._report.outcomes[rewas_pb2.JobState.Name(job.state)] += 1
            if job.problem.kind == rewas_pb2.PROBLEM_KIND_INTERNAL:
                self._report.internal.append(f"{about}: {job.problem.what}")

    def _count_problem(self, problem: ProblemError, about: str) -> None:
        self._report.outcomes[problem.kind.name] += 1
        if problem.kind.name == "INTERNAL":
            self._report.internal.append(f"{about}: {problem}")

    def _count(self, code: grpc.StatusCode, about: str) -> None:
        self._report.outcomes[code.name] += 1
        if code in INTERNAL_CODES:
            self._report.internal.append(about)

    def _damage(self, data: bytes) -> bytes:
        """Change, cut, repeat or insert bytes."""
        damaged = bytearray(data)
        for _ in range(self._draw.choice([1, 1, 2, 5, 30])):
            place = self._draw.randrange(len(damaged) + 1)
            match self._draw.randrange(5):
                case 0 if damaged:
                    damaged[place % len(damaged)] = self._draw.randrange(256)
                case 1:
                    damaged[place:place] = self._draw.randbytes(self._draw.randrange(1, 20))
                case 2:
                    del damaged[place : place + self._draw.randrange(1, 200)]
                case 3 if self._draw.random() < 0.2:
                    del damaged[place:]
                case _:
                    piece = damaged[place : place + self._draw.randrange(1, 100)]
                    damaged[place:place] = piece
        return bytes(damaged)

    def _damage_value(self, value: Any) -> None:
        """Replace one value somewhere in a JSON object."""
        places: list[tuple[Any, Any]] = []

        def collect(holder: Any) -> None:
            for key in holder if isinstance(holder, dict) else range(len(holder)):
                places.append((holder, key))
                if isinstance(holder[key], dict | list):
                    collect(holder[key])

        collect(value)
        holder, key = self._draw.choice(places)
        holder[key] = self._draw.choice(
            [
                None, True, -1, 0, 2**63, 1e308, float("nan"), float("inf"), "", "\x00", "x" * 5000, [], {}, [[]],
                {"OTIO_SCHEMA": "Clip.99"}, {"OTIO_SCHEMA": "RationalTime.1", "rate": 0, "value": 1},
                {"OTIO_SCHEMA": "Nothing.1"}, "file:///etc/passwd", "concat:/etc/passwd", "../../shot.mp4", "Gap.1",
            ]
        )  # fmt: skip


class _MemoryWatch:
    """Watches the resident memory of a process in a thread."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._base_bytes = self._peak_bytes = self._read()

    def __enter__(self) -> _MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def largest_growth_bytes(self) -> int:
        """The largest growth since the last start."""
        return self._peak_bytes - self._base_bytes

    def start_over(self) -> None:
        """Compare with the memory at this moment from now on."""
        self._base_bytes = self._peak_bytes = self._read()

    def _watch(self) -> None:
        while not self._ended.wait(MEMORY_CHECK_S):
            self._peak_bytes = max(self._peak_bytes, self._read())

    def _read(self) -> int:
        try:
            return memory_bytes(self._pid, "VmRSS")
        except (OSError, ValueError):
            return 0
