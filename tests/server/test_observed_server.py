"""The log, the metrics and the health of a real server with a real worker, started by `rewas serve`."""

import http.client
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import grpc
import opentimelineio as otio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from sliding_square import FRAME_RATE, FRAMES, write_video

from rewas_api.client import RewasClient
from rewas_api.errors import JobFailed, ProblemError
from rewas_api.v1 import rewas_pb2

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SERVICE = "rewas.v1.RewasService"
PROMPT = "an embargoed trailer of thunder"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class ObservedServer:
    """A server that was started by the command, with metrics and an untrained pack."""

    def __init__(self, folder: Path) -> None:
        self.state_dir = folder / "state"
        self.terminal = folder / "terminal.txt"
        self._errors: IO[str] = self.terminal.open("w")
        environment = os.environ | {"REWAS_PACKS": str(folder / "packs"), "OMP_NUM_THREADS": "1"}
        environment["XDG_CONFIG_HOME"] = str(folder / "config")
        arguments = ["--port", "0", "--metrics-port", "0", "--state-dir", self.state_dir, "--pack", "tiny"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rewas_cli.main", "serve", "--allow-root", folder / "media", *arguments],
            stderr=self._errors, env=environment,
        )  # fmt: skip
        self.port = self._read_port(r"listens on 127\.0\.0\.1:(\d+)")
        self.metrics_port = self._read_port(r"http://127\.0\.0\.1:(\d+)/metrics")

    def _read_port(self, pattern: str) -> int:
        while self.process.poll() is None:
            found = re.search(pattern, self.terminal.read_text())
            if found:
                return int(found[1])
        raise AssertionError(self.terminal.read_text())

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        self._errors.close()

    def client(self) -> RewasClient:
        return RewasClient(f"127.0.0.1:{self.port}")

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.state_dir / "logs" / "server.jsonl").read_text().splitlines()]

    def get(self, path: str = "/metrics", host: str = "127.0.0.1") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=30)
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text

    def samples(self) -> dict[str, float]:
        """The metrics: "name{label=value,…}" -> value."""
        status, text = self.get()
        assert status == 200
        return {
            sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from rewas_engine.recipes.untrained_starter import write_untrained_pack

    folder = tmp_path_factory.mktemp("observed")
    (folder / "media").mkdir()
    write_video(folder / "media" / "shot.mp4")
    (folder / "media" / "text.mp4").write_text("this is text, not a video")
    write_untrained_pack(folder / "packs" / "tiny", seed=0)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ObservedServer]:
    server = ObservedServer(folder)
    yield server
    server.stop()


def sound(path: Path, **settings: Any) -> rewas_pb2.SoundWork:
    rate = float(FRAME_RATE)
    time = otio.opentime.RationalTime
    clip = otio.schema.Clip(
        "shot", otio.schema.ExternalReference(str(path)), otio.opentime.TimeRange(time(0, rate), time(FRAMES, rate))
    )
    known = {"prompt": PROMPT, "seed": 7, "num_inference_steps": 2}
    return rewas_pb2.SoundWork(
        clip_otio_json=clip.to_json_string(), settings=rewas_pb2.SoundSettings(**known | settings)
    )


def watch_health(server: ObservedServer) -> tuple[grpc.Channel, Any]:
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    stub = health_pb2_grpc.HealthStub(channel)
    return channel, stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=300)


def wait_for_health(watch: Any, status: int) -> None:
    assert any(response.status == status for response in watch)


def test_jobs_are_logged_and_counted_without_their_prompts(server: ObservedServer, folder: Path) -> None:
    with server.client() as client:
        done = client.wait(client.submit(sound(folder / "media" / "shot.mp4")).id)
        uploaded = folder / "media" / "shot.mp4"
        client.upload_media(uploaded)
        artifact = done.sound.takes[0].stems[0].artifact
        client.fetch_artifact(done.id, artifact, folder / "fetched.wav")
        failing = client.submit(sound(folder / "media" / "text.mp4"))
        with pytest.raises(JobFailed):
            client.wait(failing.id)
    messages = [record["message"] for record in server.records() if record.get("job_id") == done.id]
    assert messages[0] == "The job was submitted (sound)."
    assert "The job began (sound, attempt 1)." in messages
    assert re.fullmatch(r"The job finished after \d+\.\d\d s\.", messages[-1])
    failed = [record for record in server.records() if record.get("job_id") == failing.id]
    assert re.fullmatch(r"The job failed after \d+\.\d\d s \(MEDIA\)\.", failed[-1]["message"])
    assert any(record["client"].startswith("ipv4:127.0.0.1") for record in server.records() if "client" in record)
    samples = server.samples()
    assert samples["rewas_jobs_submitted_total kind=sound"] == 2
    assert samples["rewas_jobs_finished_total kind=sound problem= state=succeeded"] == 1
    assert samples["rewas_jobs_finished_total kind=sound problem=media state=failed"] == 1
    assert samples["rewas_job_run_seconds_count kind=sound"] == 2
    assert samples["rewas_job_wait_seconds_count kind=sound"] == 2
    assert samples["rewas_stage_seconds_count stage=sample"] >= 1
    assert samples["rewas_uploaded_bytes_total"] == uploaded.stat().st_size
    assert samples["rewas_fetched_bytes_total"] == artifact.size_bytes
    assert samples["rewas_calls_total code=OK method=SubmitJob"] == 2
    assert samples["rewas_queue_length"] == 0
    assert samples["rewas_worker_up"] == 1
    assert samples["rewas_process_memory_bytes process=server"] > 10**7
    assert samples["rewas_process_memory_bytes process=worker"] > 10**7
    assert samples["rewas_disk_used_bytes folder=artifacts"] >= artifact.size_bytes
    assert samples["rewas_disk_free_bytes folder=artifacts"] > 0


def test_the_endpoint_refuses_other_hosts_and_paths(server: ObservedServer) -> None:
    assert server.get(host=f"localhost:{server.metrics_port}")[0] == 200
    for host in ("attacker.example", "attacker.example:80", "127.0.0.1.attacker.example", ""):
        assert server.get(host=host)[0] == 403
    assert server.get("/jobs")[0] == 404


def test_the_service_is_not_healthy_without_a_worker(server: ObservedServer, folder: Path) -> None:
    channel, watch = watch_health(server)
    wait_for_health(watch, SERVING)
    before = server.samples()["rewas_worker_starts_total"]
    (worker,) = worker_pids(server.process.pid)
    os.kill(worker, signal.SIGKILL)
    wait_for_health(watch, NOT_SERVING)
    # The front process still answers.
    stub = health_pb2_grpc.HealthStub(channel)
    assert stub.Check(health_pb2.HealthCheckRequest()).status == SERVING
    wait_for_health(watch, SERVING)
    channel.close()
    samples = server.samples()
    assert samples["rewas_worker_starts_total"] == before + 1
    assert samples["rewas_worker_ends_total cause=worker-ended"] == 1


def worker_pids(server_pid: int) -> list[int]:
    children = Path(f"/proc/{server_pid}/task/{server_pid}/children").read_text().split()
    return [int(pid) for pid in children if b"rewas_server.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_prompts_of_timelines_and_of_refused_requests_are_not_logged(server: ObservedServer, folder: Path) -> None:
    clip = otio.adapters.read_from_string(sound(folder / "media" / "shot.mp4").clip_otio_json, "otio_json")
    clip.metadata["rewas"] = {"prompt": f"{PROMPT}, twice", "num_inference_steps": 2}
    timeline = otio.schema.Timeline("reel", tracks=[otio.schema.Track("V1", children=[clip])])
    with server.client() as client:
        done = client.wait(client.submit(rewas_pb2.TimelineWork(timeline_otio_json=timeline.to_json_string())).id)
        assert done.timeline.clips[0].HasField("sound")
        for settings in ({"num_inference_steps": 10**6}, {"prompt": PROMPT * 1000}):
            with pytest.raises(ProblemError):
                client.submit(sound(folder / "media" / "shot.mp4", **settings))
    messages = [
        record["message"] for record in server.records() if record.get("job_id") == done.timeline.clips[0].job_id
    ]
    assert any(message.startswith("The job finished") for message in messages)
    # A refusal is logged after the client has been told.
    deadline_s = time.monotonic() + 30
    while count_refusals(server) < 2 and time.monotonic() < deadline_s:
        threading.Event().wait(0.01)
    assert count_refusals(server) == 2


def count_refusals(server: ObservedServer) -> int:
    return [record["message"] for record in server.records()].count("SubmitJob was refused (INVALID_ARGUMENT).")


def test_no_output_contains_a_prompt_or_the_token(server: ObservedServer, folder: Path) -> None:
    """The last test: the log then holds everything that the other tests have caused."""
    files = [server.terminal, *(server.state_dir / "logs").iterdir()]
    token = (server.state_dir / "token").read_text().strip()
    for path in files:
        text = path.read_text()
        assert token not in text
        assert text
        assert PROMPT not in text
        assert "thunder" not in text
    logged = files[1]
    assert stat.S_IMODE(logged.stat().st_mode) == 0o600
    assert "submitted (sound)" in server.terminal.read_text()
    assert "\x1b" not in server.terminal.read_text(), "colours are for terminals"
