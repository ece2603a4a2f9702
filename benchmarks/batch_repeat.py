"""Measure how soon `rewas batch` starts on a long timeline, and how long it takes to repeat.

    python benchmarks/batch_repeat.py --clips 1000 10000

The timeline has different clips with three sounds each, see `long_reel`. The command runs as a user calls it, but no
model does: each sound is a short silence. Times are CPU seconds of this process, without imports. "Start" is the time
until the first sound begins, "edit" is a repeat after one clip got another prompt, and "OTIO alone" is the time for
reading the same timeline with OpenTimelineIO. The first row below the titles shows the limits for 10,000 clips.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import opentimelineio as otio
from long_reel import LongReel, write_long_reel

from rewas_api.v1 import rewas_pb2
from rewas_cli import runner
from rewas_cli.main import run
from rewas_engine.runtime.progress import CancelSignal, ProgressCallback
from rewas_server.batch.local_maker import LocalMaker
from rewas_server.batch.record import BatchRecord
from rewas_server.delivery.metadata import BroadcastMetadata
from rewas_server.delivery.provenance import Provenance
from rewas_server.delivery.stem_folder import StemFolder
from rewas_server.work.requests import SoundRequest, parse_request

_MAX_START_S, _MAX_REPEAT_S = 2, 5
"""The limits for 10,000 clips."""
_ENERGY_VALUES = 100


class _Silence:
    """Generates silence instead of sounds.

    started_s: CPU time of the process when the first sound began, since `reset`.
    """

    def __init__(self) -> None:
        self.started_s: float | None = None

    def reset(self) -> None:
        self.started_s = None

    def generate(
        self, work: rewas_pb2.SoundWork, folder: Path, on_progress: ProgressCallback, cancel: CancelSignal
    ) -> rewas_pb2.SoundResult:
        if self.started_s is None:
            self.started_s = time.process_time()
        request = parse_request(rewas_pb2.SubmitJobRequest(sound=work))
        assert isinstance(request, SoundRequest)
        assert request.source.duration_s is not None
        waveform = np.zeros((1, round(request.source.duration_s * 48000)), np.float32)
        metadata = BroadcastMetadata(Provenance(request.settings.prompt, 1, "pack", "1.0.0", "CC0-1.0"))
        stems = []
        roles = ["primary", *(layer.name for layer in work.settings.layers)]
        with StemFolder(folder) as written:
            for role in roles:
                file = written.write(waveform, 48000, role, metadata)
                artifact = rewas_pb2.Artifact(name=file.path.name, size_bytes=file.size_bytes, sha256=file.sha256)
                stems.append(
                    rewas_pb2.Stem(
                        role=role, artifact=artifact, sample_rate_hz=48000, channels=1, samples=file.samples
                    )
                )  # fmt: skip
        energy = rewas_pb2.EnergyCurve(values=[-5.0] * _ENERGY_VALUES)
        pack = rewas_pb2.Pack(name="pack", version="1.0.0", licence="CC0-1.0", sample_rate_hz=16000)
        return rewas_pb2.SoundResult(
            pack=pack,
            takes=[rewas_pb2.Take(seed=1, stems=stems, output_energy=energy)],
            settings=work.settings,
            requested_energy=energy,
        )


def main() -> None:
    """Print the figures as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[1000, 10000], help="numbers of clips")
    parser.add_argument("--folder", type=Path, help="keep the files in this folder, and start from those in it")
    given = parser.parse_args()
    silence = _Silence()

    def sound_maker(self: runner.LocalRunner, record: BatchRecord, is_detached: bool) -> LocalMaker:
        return LocalMaker(record, silence.generate)

    runner.LocalRunner.sound_maker = sound_maker  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory(prefix="rewas-") as name:
        # Imports everything.
        reel = write_long_reel(Path(name), 4)
        for _ in range(2):
            _batch(reel)
    print("| Clips | OTIO alone | Start | First run | Repeat | Edit |\n|---:|---:|---:|---:|---:|---:|")
    print(f"| limits | | {_MAX_START_S} | | {_MAX_REPEAT_S} | {_MAX_REPEAT_S} |")
    for count in given.clips:
        with tempfile.TemporaryDirectory(prefix="rewas-") as name:
            measure(count, (given.folder or Path(name)) / str(count), silence)


def measure(count: int, folder: Path, silence: _Silence) -> None:
    """Print one row: CPU seconds for a timeline with this number of clips."""
    reel = LongReel(folder / "reel.otio", folder / "reel.csv")
    start_s: float | None = None
    first_s: float | None = None
    if not folder.exists():
        folder.mkdir(parents=True)
        reel = write_long_reel(folder, count)
        silence.reset()
        began_s = time.process_time()
        first_s = _cpu_s(lambda: _check(reel, generated=count))
        assert silence.started_s is not None
        start_s = silence.started_s - began_s
    _, alone_s = None, _cpu_s(lambda: otio.adapters.read_from_file(str(reel.timeline)))
    repeat_s = _cpu_s(lambda: _check(reel, generated=0))
    edited = LongReel(reel.timeline, folder / "edited.csv")
    edited.sheet.write_text(reel.sheet.read_text("utf-8").replace("a knock", f"a knock {time.time_ns()}", 1), "utf-8")
    edit_s = _cpu_s(lambda: _check(edited, generated=1))
    _check(reel, generated=0)
    shown = (f"{each:.2f}" if each is not None else "" for each in (alone_s, start_s, first_s, repeat_s, edit_s))
    print(f"| {count} | {' | '.join(shown)} |", flush=True)


def _check(reel: LongReel, *, generated: int) -> None:
    origins = Counter(clip["origin"] for clip in _batch(reel)["clips"])
    assert origins["generated"] == generated, origins


def _batch(reel: LongReel) -> dict[str, list[dict[str, str]]]:
    """Run the command, and return its report."""
    folder = reel.timeline.parent
    report = folder / "report.json"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
        code = run(
            [
                "batch", str(reel.timeline), "-o", str(folder / "out.otio"), "--stems", str(folder / "stems"),
                "--sheet", str(reel.sheet), "--report", str(report),
            ]
        )  # fmt: skip
    assert code == 0, errors.getvalue()[-2000:]
    held: dict[str, list[dict[str, str]]] = json.loads(report.read_text("utf-8"))
    return held


def _cpu_s(call: Callable[[], object]) -> float:
    began_s = time.process_time()
    call()
    return time.process_time() - began_s


if __name__ == "__main__":
    main()
