"""Run the whole workflow on two clips: from video on Blender's timeline to sound on its channels.

Writes its results to demo-output/ and fails if one of them is wrong. All parts are real: a server process, the
extension's zip installed into a fresh Blender profile, and its operators.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from draw_demo_energy import DrawnClip, draw_energy, frames_at
from make_demo_clips import BLENDER_PYTHON, DEMO_CLIPS, FRAME_RATE, ROOT, DemoClip, make_clip
from measure_demo_mix import matched_offsets_s, onset_f_score, read_mix, stem_lag_s
from perform_library import LIBRARY, LibraryFailed, has_library, perform

from rewas_api.client import RewasClient
from rewas_api.v1 import rewas_pb2
from rewas_engine import EnergyCurve
from rewas_engine.curves.onsets import detect_onsets
from rewas_engine.training.stage_renderer import RendererError

DEFAULT_OUTPUT = ROOT / "demo-output"
DEMO_OUTPUTS = {
    "clips",
    "energy.png",
    LIBRARY,
    "mix.mp4",
    "report.json",
    "stems",
    "timeline.blend",
    "timeline.otio",
}
SEED = 7
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
SYNC_TOLERANCE_S = 0.001


class DemoError(Exception):
    """A part of the demo failed."""


@dataclass(frozen=True, eq=False)
class GeneratedClip:
    """One clip of the demo with its generated sound. placed: the clip on Blender's timeline."""

    demo: DemoClip
    placed: dict[str, Any]
    sound: rewas_pb2.SoundResult
    stem: Path


class Log:
    """Prints messages with the seconds since the start."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()

    def say(self, text: str) -> None:
        print(f"[{self.seconds:6.1f} s] {text}", flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start_s


@contextlib.contextmanager
def running_server(state: Path, media: Path, variables: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run `rewas serve` on a free port as a process. Yields its address and always ends the process.

    state: folder for its jobs. media: the only folder that the server may read. variables: its environment variables;
    None for those of this process.
    """
    command = [ROOT / ".venv" / "bin" / "rewas", "serve", "--port", "0"]
    command += ["--allow-root", media, "--state-dir", state]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=variables)
    lines: list[str] = []
    is_ready = threading.Event()

    def read_lines() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if "listens on" in line:
                is_ready.set()
        is_ready.set()

    reader = threading.Thread(target=read_lines, daemon=True)
    reader.start()
    try:
        is_ready.wait(START_TIMEOUT_S)
        address = re.search(r"listens on (\S+:\d+)", "".join(lines))
        if address is None:
            raise DemoError("The server did not start; see its output above.")
        yield address[1]
    except BaseException:
        print("".join(f"  [server] {line}" for line in lines), file=sys.stderr, end="")
        raise
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join(STOP_TIMEOUT_S)


def build_extension(folder: Path) -> Path:
    """Build the extension's zip from the current sources."""
    command = [sys.executable, ROOT / "scripts" / "dev" / "build_extension.py", "--output", folder]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    zips = sorted(folder.glob("*.zip"))
    if done.returncode != 0 or len(zips) != 1:
        raise DemoError(f"Building the extension failed:\n{done.stdout}{done.stderr}")
    return zips[0]


def edit_in_blender(
    extension: Path, server: str, clips: Sequence[Path], output: Path, work_dir: Path
) -> list[dict[str, Any]]:
    """Run the Blender part in a fresh profile. Returns the clips on its timeline."""
    job = {
        "extension": str(extension),
        "server": server,
        "clips": [{"path": str(path), "prompt": clip.prompt} for path, clip in zip(clips, DEMO_CLIPS, strict=True)],
        "seed": SEED,
        "output": str(output),
    }
    job_path = work_dir / "JOB.json"
    job_path.write_text(json.dumps(job), encoding="utf-8")
    profile = work_dir / "blender-profile"
    profile.mkdir()
    process = subprocess.Popen(
        [BLENDER_PYTHON, ROOT / "scripts" / "demo" / "demo_in_blender.py", job_path],
        env={**os.environ, "BLENDER_USER_RESOURCES": str(profile), "PYTHONPATH": "", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    output_lines = []
    for line in process.stdout:
        output_lines.append(line)
        if line.startswith("  [Blender"):  # Blender prints a line or two for each rendered frame
            print(line, end="", flush=True)
    if process.wait() != 0:
        raise DemoError("The Blender part failed:\n" + "".join(output_lines[-30:]))
    result: dict[str, Any] = json.loads((work_dir / "RESULT.json").read_text(encoding="utf-8"))
    return list(result["clips"])


def collect(placed_clips: Sequence[dict[str, Any]], server: str) -> list[GeneratedClip]:
    """Combine the clips on the timeline with the server's results."""
    clips = []
    with RewasClient(server) as client:
        for demo, placed in zip(DEMO_CLIPS, placed_clips, strict=True):
            if len(placed["sounds"]) != 1:
                raise DemoError(f"{demo.file_name} has {len(placed['sounds'])} sound strips below it instead of one.")
            sound = client.get_job(placed["job_id"]).sound
            clips.append(GeneratedClip(demo, placed, sound, Path(placed["sounds"][0]["path"])))
    return clips


def report_clip(clip: GeneratedClip, output: Path) -> dict[str, Any]:
    """Return the clip's entry in report.json. Raises DemoError if its stem is not exactly as long as the clip."""
    info = soundfile.info(clip.stem)
    expected_samples = clip.demo.duration_s * info.samplerate
    if expected_samples.denominator != 1:
        raise DemoError(f"{clip.demo.file_name} is not a whole number of samples long at {info.samplerate} Hz.")
    if info.frames != expected_samples:
        raise DemoError(f"{clip.stem.name} holds {info.frames} samples instead of {expected_samples}.")
    sound = clip.placed["sounds"][0]
    if (sound["start_frame"], sound["frames"]) != (clip.placed["start_frame"], clip.placed["frames"]):
        raise DemoError(f"{sound['name']} is not exactly below {clip.placed['name']}: {clip.placed}")
    if clip.placed["frames"] != clip.demo.frames:
        raise DemoError(f"{clip.demo.file_name} is {clip.placed['frames']} frames long on the timeline.")
    take = clip.sound.takes[0]
    waveform, rate = read_mono(clip.stem)
    onsets, _ = detect_onsets(waveform, rate)
    late_s = matched_offsets_s(onsets, clip.demo.contacts_s)
    return {
        "clip": clip.demo.file_name,
        "prompt": clip.sound.settings.prompt,
        "seed": take.seed,
        "pack": f"{clip.sound.pack.name} {clip.sound.pack.version}",
        "licence": clip.sound.pack.licence,
        "energy_correlation": round(take.energy_correlation, 4) if take.HasField("energy_correlation") else None,
        "energy_mae_nats": round(take.energy_mae_nats, 4),
        "samples": info.frames,
        "expected_samples": int(expected_samples),
        "sample_rate_hz": info.samplerate,
        "seconds": round(sum(spent.ToNanoseconds() for spent in clip.sound.timings.values()) / 1e9, 2),
        "contacts": len(clip.demo.contacts_s),
        "onsets": onsets.size,
        "contacts_with_an_onset": len(late_s),
        "onset_f_score": round(onset_f_score(len(late_s), onsets.size, len(clip.demo.contacts_s)), 3),
        "median_onset_offset_ms": round(1000 * float(np.median(late_s)), 1) if late_s else None,
        "stem": str(clip.stem.relative_to(output)),
    }


def check_mix(clips: Sequence[GeneratedClip], path: Path) -> dict[str, Any]:
    """Compare the rendered film with the timeline: its length, and the position of each stem in its sound."""
    mix = read_mix(path)
    frames = sum(clip.demo.frames for clip in clips)
    if (mix.frames, mix.frame_rate) != (frames, FRAME_RATE):
        raise DemoError(f"{path.name} holds {mix.frames} frames at {mix.frame_rate}, not {frames} at {FRAME_RATE}.")
    lags_s = []
    start_s = Fraction(0)
    for clip in clips:
        waveform, _ = read_mono(clip.stem)
        lags_s.append(stem_lag_s(mix, waveform, start_s))
        start_s += clip.demo.duration_s
    if max(map(abs, lags_s)) > SYNC_TOLERANCE_S:
        raise DemoError(f"The stems are out of sync in {path.name} by {[f'{1000 * lag:.2f} ms' for lag in lags_s]}.")
    return {"frames": frames, "frame_rate": str(FRAME_RATE), "stem_lags_ms": [round(1000 * lag, 3) for lag in lags_s]}


def draw(clips: Sequence[GeneratedClip], videos: Sequence[Path], path: Path) -> None:
    drawn = []
    for clip, video in zip(clips, videos, strict=True):
        waveform, rate = read_mono(clip.stem)
        take = clip.sound.takes[0]
        agreement = f"correlation {take.energy_correlation:.2f}" if take.HasField("energy_correlation") else "constant"
        title = f"{clip.demo.file_name}: “{clip.demo.prompt}”, seed {take.seed}, {agreement}"
        requested, generated = curve(clip.sound.requested_energy), curve(take.output_energy)
        frames = frames_at(video, clip.demo.contacts_s)
        drawn.append(DrawnClip(title, waveform, rate, requested, generated, clip.demo.contacts_s, frames))
    draw_energy(drawn, path)


def curve(message: rewas_pb2.EnergyCurve) -> EnergyCurve:
    rate_hz = Fraction(message.rate_hz.numerator, message.rate_hz.denominator)
    return EnergyCurve(np.array(message.values, np.float32), rate_hz)


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    waveform, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return waveform.mean(axis=1), rate


def clear(output: Path) -> None:
    """Remove the results of an earlier demo. Raises DemoError if the folder contains anything else."""
    if not output.exists():
        return
    foreign = sorted(path.name for path in output.iterdir() if path.name not in DEMO_OUTPUTS)
    if foreign:
        raise DemoError(f"{output} contains {foreign[0]}, which is not from a demo; choose another folder.")
    shutil.rmtree(output)


def run(log: Log, output: Path, work_dir: Path) -> None:
    clear(output)
    clips_folder = output / "clips"
    clips_folder.mkdir(parents=True)
    paths = [make_clip(clip, clips_folder) for clip in DEMO_CLIPS]
    log.say(f"drew {paths[0].name} and rendered {paths[1].name} at {FRAME_RATE} frames per second")
    extension = build_extension(work_dir / "extension")
    log.say(f"built the extension ({extension.stat().st_size / 1e6:.1f} MB)")
    with running_server(work_dir / "state", clips_folder) as server:
        log.say(f"started the server on {server}")
        placed = edit_in_blender(extension, server, paths, output, work_dir)
        log.say("Blender saved the timeline and rendered the film")
        clips = collect(placed, server)
    draw(clips, paths, output / "energy.png")
    performed: list[dict[str, Any]] = []
    if has_library():
        performed = perform(DEMO_CLIPS, paths, SEED, output / LIBRARY)
        log.say(f"performed the recordings of the library {LIBRARY} for the same clips")
    report: dict[str, Any] = {
        "clips": [report_clip(clip, output) for clip in clips],
        LIBRARY: performed,
        "mix": check_mix(clips, output / "mix.mp4"),
        "seconds": round(log.seconds, 1),
    }
    missing = [name for name in ("timeline.blend", "timeline.otio", "energy.png") if not (output / name).is_file()]
    if missing:
        raise DemoError(f"The demo did not write {' and '.join(missing)}.")
    (output / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for clip in report["clips"]:
        log.say(
            f"{clip['clip']}: {clip['samples']} samples, exactly the clip's length; generated in {clip['seconds']} s; "
            f"energy correlation {clip['energy_correlation']}; {clip['contacts_with_an_onset']} of "
            f"{clip['contacts']} contacts in the video have one of the sound's {clip['onsets']} onsets within 50 ms"
        )
    for clip in performed:
        log.say(
            f"{clip['clip']} with {LIBRARY}: energy correlation {clip['energy_correlation']}; "
            f"{clip['contacts_with_an_onset']} of {clip['contacts']} contacts have an onset within 50 ms"
        )
    log.say(f"each stem is within {max(map(abs, report['mix']['stem_lags_ms'])):.2f} ms of its position in the film")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the whole workflow on two clips.")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="folder for the results; it is replaced")
    output = parser.parse_args().output.absolute()
    log = Log()
    try:
        with tempfile.TemporaryDirectory(prefix="rewas-demo-") as folder:
            run(log, output, Path(folder))
    except (DemoError, LibraryFailed, RendererError) as error:
        print(f"The demo failed. {error}", file=sys.stderr)
        return 1
    shown = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
    print(
        f"\nDone in {log.seconds:.0f} s. To see and hear it, open\n"
        f"  {shown}/mix.mp4         the film: both clips with their generated sound\n"
        f"  {shown}/energy.png      frames at the contacts, spectrogram, requested and generated energy\n"
        f"  {shown}/timeline.blend  the Blender timeline with the sound on its own channels\n"
        f"  {shown}/timeline.otio   the same timeline for other editors\n"
        f"  {shown}/stems/          the sound of each clip, as 24-bit WAV\n"
        f"  {shown}/report.json     the measurements"
    )
    if (output / LIBRARY).is_dir():
        print(
            f"  {shown}/{LIBRARY}/          the same clips with recordings of the library {LIBRARY}, and their credits"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
