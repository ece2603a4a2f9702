"""The result of a long timeline becomes a file, which the front process never holds."""

from __future__ import annotations

import contextlib
import sys
import threading
from pathlib import Path

import opentimelineio as otio
import pytest
from server_process import ServerProcess, memory_bytes

from rewas_api.client import RewasClient
from rewas_api.v1 import rewas_pb2
from rewas_server.jobs import lifecycle
from rewas_server.jobs.sqlite_store import SqliteJobStore
from rewas_server.otio.clips import parse_timeline

CLIPS = 400
CURVE = [1.5] * 40_000
GROWTH_BYTES = 40_000_000


def timeline() -> rewas_pb2.TimelineWork:
    made = otio.schema.Timeline("reel")
    made.tracks.append(otio.schema.Track("V1", kind=otio.schema.TrackKind.Video))
    time = otio.opentime.RationalTime
    for number in range(CLIPS):
        span = otio.opentime.TimeRange(time(0, 24), time(24, 24))
        clip = otio.schema.Clip(f"shot {number}", otio.schema.ExternalReference("/films/a.mov"), span)
        clip.metadata["rewas"] = {"prompt": "rain"}
        made.tracks[0].append(clip)
    return rewas_pb2.TimelineWork(timeline_otio_json=made.to_json_string(indent=-1))


def sound(number: int) -> rewas_pb2.SoundResult:
    artifact = {"name": f"{number:03} rain.wav", "path": f"/stems/{number}.wav"}
    stem = {"role": "primary", "artifact": artifact, "sample_rate_hz": 48000, "samples": 48000}
    result = rewas_pb2.SoundResult(takes=[{"seed": 7, "stems": [stem]}], settings={"prompt": "rain"})
    result.requested_energy.values.extend(CURVE)
    return result


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_result_takes_little_memory_and_is_fetched(tmp_path: Path) -> None:
    """The last clip of a timeline ends; the sounds of the others take 64 MB together."""
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    last = f"job {CLIPS - 1}"
    with contextlib.closing(SqliteJobStore(state_dir / "jobs.sqlite3")) as store:
        children = []
        for number in range(CLIPS):
            child = lifecycle.create_job(f"job {number}", f"shot {number}", parent_id="reel")
            if child.id == last:
                child = lifecycle.request_pause(child)
            else:
                child = lifecycle.complete_job(lifecycle.start_job(child), sound(number))
            children.append((child, rewas_pb2.SubmitJobRequest(idempotency_key=f"reel/{number}", sound={})))
        parent = lifecycle.create_job("reel", "reel", child_count=CLIPS)
        store.add(parent, rewas_pb2.SubmitJobRequest(idempotency_key="reel", timeline=timeline()), children)
    with ServerProcess(state_dir, loads_pack=False) as server, RewasClient(server.address, timeout_s=60) as client:
        wait_until_followed(client)
        before_bytes = memory_bytes(server.pid, "VmRSS")
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # sets the peak to the present value
        client.cancel(last)
        job = client.wait("reel")
        result = client.timeline_result(job)
        growth_bytes = memory_bytes(server.pid, "VmHWM") - before_bytes
    assert job.timeline.file.size_bytes > 4 * len(CURVE) * (CLIPS - 1)
    assert growth_bytes < GROWTH_BYTES, growth_bytes
    assert [clip.WhichOneof("outcome") for clip in result.clips] == ["sound"] * (CLIPS - 1) + ["problem"]
    assert (job.timeline.failed_clip_count, result.failed_clip_count) == (1, 1)
    (track,) = parse_timeline(result.timeline_otio_json).audio_tracks()
    assert [clip.media_reference.target_url for clip in track.find_clips()][:2] == ["000 rain.wav", "001 rain.wav"]


def wait_until_followed(client: RewasClient) -> None:
    """Wait until the server has updated the job of the timeline after its start."""
    while client.get_job("reel").finished_child_count < CLIPS - 1:
        threading.Event().wait(0.02)
