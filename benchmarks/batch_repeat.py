"""Measure how long a batch of many clips takes to plan, and to repeat with nothing changed.

    python benchmarks/batch_repeat.py --clips 1000 10000

No model runs: each sound is a short silence, so only the batch itself is measured. Times are CPU seconds. The column
"OTIO alone" is for reading the same timeline with OpenTimelineIO.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
import opentimelineio as otio

from rewas_api.clip_settings import ClipSettings
from rewas_api.v1 import rewas_pb2
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_server.batch.local_maker import LocalMaker
from rewas_server.batch.plan import BatchPlan, list_wanted_clips
from rewas_server.batch.record import BatchRecord
from rewas_server.batch.run import ClipOutcome, run_batch
from rewas_server.batch.stem_delivery import generated_stems, read_results, timeline_facts
from rewas_server.delivery.deliver import deliver_stems
from rewas_server.delivery.metadata import BroadcastMetadata
from rewas_server.delivery.profiles import load_profile
from rewas_server.delivery.provenance import Provenance
from rewas_server.delivery.stem_folder import StemFolder
from rewas_server.otio.media_links import ResolveOptions
from rewas_server.otio.planning import FindOptions, ListedClip, list_clips
from rewas_server.otio.reading import open_timeline
from rewas_server.otio.stem_tracks import add_stem_tracks
from rewas_server.otio.writing import write_timeline
from rewas_server.work.requests import SoundRequest, parse_request

_RATE = 24
_FRAMES = 4
_Result = TypeVar("_Result")


def main() -> None:
    """Print the figures as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[1000, 10000], help="numbers of clips")
    print("| Clips | OTIO alone | Plan | First run | Repeat |\n|---:|---:|---:|---:|---:|")
    for count in parser.parse_args().clips:
        with tempfile.TemporaryDirectory(prefix="rewas-") as name:
            measure(count, Path(name))


def measure(count: int, folder: Path) -> None:
    """Print one row: CPU seconds for a timeline with this number of clips."""
    path = _write_timeline(folder, count)
    _, alone_s = _timed(lambda: otio.adapters.read_from_file(str(path)))
    (timeline, clips), plan_s = _timed(lambda: _plan(path))
    _, first_s = _timed(lambda: _run(path, timeline, clips))
    outcomes, repeat_s = _timed(lambda: _repeat(path))
    assert {outcome.origin for outcome in outcomes.values()} == {"kept"}
    print(f"| {count} | {alone_s:.2f} | {plan_s:.2f} | {first_s:.1f} | {repeat_s:.2f} |", flush=True)


def _repeat(path: Path) -> dict[int, ClipOutcome]:
    timeline, clips = _plan(path)
    return _run(path, timeline, clips)


def _plan(path: Path) -> tuple[otio.schema.Timeline, list[ListedClip]]:
    timeline = open_timeline(path).timeline
    listed = list_clips(timeline, FindOptions(media=ResolveOptions(path.parent)))
    return timeline, list_wanted_clips(listed.clips, ClipSettings(), timeline.name)


def _run(path: Path, timeline: otio.schema.Timeline, clips: list[ListedClip]) -> dict[int, ClipOutcome]:
    stems, cancel = path.parent / "stems", threading.Event()
    with BatchRecord(stems) as record:
        plan = BatchPlan(
            {number: each.clip for number, each in enumerate(clips, start=1) if each.clip is not None},
            record,
            lambda pack: "pack",
            lambda source: Path(source.target_url),
        )
        outcomes = run_batch(plan, LocalMaker(record, _generate), lambda progress: None, cancel)
        sounds = read_results([outcomes[number] for number in range(1, len(clips) + 1)], clips)
        profile, facts = load_profile(), timeline_facts(timeline, path, stems)
        delivery = deliver_stems(generated_stems(sounds), profile, facts, stems)
        add_stem_tracks(timeline, [each.placed for each in delivery.stems], profile)
        write_timeline(timeline, path.with_name("out.otio"), source_folder=path.parent)
        record.set_wanted(facts.identity, [each.outcome.sound.key for each in sounds if each.outcome.sound])
    return outcomes


def _generate(
    work: rewas_pb2.SoundWork, folder: Path, on_progress: ProgressCallback, cancel: CancelSignal
) -> rewas_pb2.SoundResult:
    request = parse_request(rewas_pb2.SubmitJobRequest(sound=work))
    assert isinstance(request, SoundRequest)
    assert request.source.duration_s is not None
    waveform = np.zeros((1, round(request.source.duration_s * 48000)), np.float32)
    metadata = BroadcastMetadata(Provenance(request.settings.prompt, 1, "pack", "1.0.0", "CC0-1.0"))
    with StemFolder(folder) as stems:
        written = stems.write(waveform, 48000, "sound", metadata)
    artifact = rewas_pb2.Artifact(name=written.path.name, size_bytes=written.size_bytes, sha256=written.sha256)
    stem = rewas_pb2.Stem(role="primary", artifact=artifact, sample_rate_hz=48000, channels=1, samples=written.samples)
    energy = rewas_pb2.EnergyCurve(values=[-5.0] * 100)
    take = rewas_pb2.Take(seed=1, stems=[stem], output_energy=energy)
    pack = rewas_pb2.Pack(name="pack", version="1.0.0", licence="CC0-1.0", sample_rate_hz=16000)
    return rewas_pb2.SoundResult(pack=pack, takes=[take], settings=work.settings, requested_energy=energy)


def _write_timeline(folder: Path, count: int) -> Path:
    media = folder / "media.mp4"
    with av.open(str(media), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(_RATE))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(_FRAMES * count):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number % 256, np.uint8), "rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    available = _span(0, _FRAMES * count)
    for number in range(count):
        reference = otio.schema.ExternalReference(str(media), available)
        clip = otio.schema.Clip(f"clip {number}", reference, _span(_FRAMES * number, _FRAMES))
        clip.metadata["rewas"] = {"prompt": "a door"}
        track.append(clip)
    timeline = otio.schema.Timeline("benchmark")
    timeline.tracks.append(track)
    path = folder / "in.otio"
    otio.adapters.write_to_file(timeline, str(path))
    return path


def _span(start: int, duration: int) -> otio.opentime.TimeRange:
    begin, length = (otio.opentime.RationalTime(frames, _RATE) for frames in (start, duration))
    return otio.opentime.TimeRange(begin, length)


def _timed(call: Callable[[], _Result]) -> tuple[_Result, float]:
    began_s = time.process_time()
    result = call()
    return result, time.process_time() - began_s


if __name__ == "__main__":
    main()
