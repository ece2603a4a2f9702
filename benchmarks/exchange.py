"""Measure how long export and import block Blender's main thread.

    .venv-blender-4.5/bin/python benchmarks/exchange.py MOVIE [--strips 1 100 500]

Each strip of the scene shows the same movie and has a prompt and two takes with long energy curves. The longest slices
are given in processor time, which other programs hardly change. The rest of the work runs in a thread, and is given in
elapsed time.
"""

from __future__ import annotations

import argparse
import struct
import sys
import tempfile
import time
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "addon"))

from rewas_nle.blender import compat, placement, properties
from rewas_nle.blender.exchange_building import build_scene, prepare_target
from rewas_nle.blender.exchange_reading import read_scene as read_blender_scene
from rewas_nle.blender.take_list import restore_takes
from rewas_nle.core.exchange_files import read_scene, write_scene
from rewas_nle.timeline.takes import EnergyCurve, Stem, Take, store_take

SAMPLES = 96000
RATE_HZ = 48000


def write_silence(path: Path) -> None:
    """Write a mono WAV file of two seconds."""
    data = bytes(2 * SAMPLES)
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(data),
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        RATE_HZ,
        2 * RATE_HZ,
        2,
        16,
        b"data",
        len(data),
    )
    path.write_bytes(header + data)


def make_scene(movie: Path, sound: Path, count: int) -> Any:
    """Return a new scene with this many strips, each with its sound on the timeline."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = 24, 1.0
    strips = compat.strips_of(scene.sequence_editor_create())
    curve = EnergyCurve(Fraction(100), tuple(-number / 20 for number in range(200)))
    for number in range(count):
        strip = strips.new_movie(f"strip {number}", str(movie), 10 + number % 10, 1 + number // 10 * 60)
        strip.rewas.prompt = "rain"
        uid = placement.ensure_uid(scene, strip)
        takes = [
            Take(
                id=f"{number * 10 + each:032x}",
                scene_rate=Fraction(24),
                lead_in_frames=0,
                frames=48,
                stems=(Stem("primary", sound, RATE_HZ, 1, SAMPLES),),
                number=each,
                requested_energy=curve,
                output_energy=curve,
            )
            for each in (1, 2)
        ]
        restore_takes(strip, [store_take(take) for take in takes], 2, takes[0].id)
        try:
            stem = strips.new_sound(f"sound {number}", str(sound), 30 + number % 10, 1 + number // 10 * 60)
        except RuntimeError:  # Blender's 4.2 module is built without sound
            continue
        stem.rewas.stem.owner, stem.rewas.stem.take, stem.rewas.stem.role = uid, takes[0].id, "primary"
    return scene


def measure(label: str, count: int, work: Generator[None, None, Any]) -> Any:
    """Do the work, print the times and return its result."""
    begin_s = at_s = time.thread_time()
    slices: list[float] = []
    while True:
        try:
            next(work)
        except StopIteration as end:
            result = end.value
            break
        finally:
            now_s = time.thread_time()
            slices.append((now_s - at_s) * 1e3)
            at_s = now_s
    total_ms = (time.thread_time() - begin_s) * 1e3
    slow = sum(each > 5 for each in slices)
    print(f"{label:8} {count:6} {total_ms:8.1f} ms {max(slices):8.2f} ms {slow:6}", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("movie", type=Path)
    parser.add_argument("--strips", type=int, nargs="+", default=[1, 100, 500])
    options = parser.parse_args()
    properties.register()
    print(f"Blender {bpy.app.version_string}")
    print(f"{'':8} {'strips':>6} {'all, CPU':>11} {'longest':>11} {'> 5 ms':>6}")
    with tempfile.TemporaryDirectory() as folder:
        sound, path = Path(folder) / "sound.wav", Path(folder) / "film.otio"
        write_silence(sound)
        for count in options.strips:
            scene = make_scene(options.movie.absolute(), sound, count)
            read = measure("export", count, read_blender_scene(scene.name))
            begin_s = time.perf_counter()
            write_scene(read, path)
            written_s = time.perf_counter()
            found = read_scene(path)
            read_s = time.perf_counter()
            size_mb = path.stat().st_size / 1e6
            times = f"writes {written_s - begin_s:.2f} s, {size_mb:.1f} MB, reads {read_s - written_s:.2f} s"
            print(f"thread   {count:6} {times}")
            target = prepare_target(found.scene, into_new=True, current=scene)
            measure("import", count, build_scene(found.scene, target))


if __name__ == "__main__":
    main()
