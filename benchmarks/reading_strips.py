"""Measure how long it takes to read strips in Blender, and how long the longest slice blocks the main thread.

    .venv-blender-4.5/bin/python benchmarks/reading_strips.py MOVIE [--strips 1 100 500]

For each number of strips, it measures strips with one shared file and strips with a copy of the file each; first with
files that Blender has not opened yet, then again. It prints processor times, which other programs hardly change, and
elapsed times.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "addon"))

from rewas_nle.blender import compat, media_files, picture_keys, properties, strip_reading
from rewas_nle.timeline.selection import clip_from_strip

HEADING = f"{'':34} {'strips':>6} {'all, CPU':>10} {'clock':>10} {'longest slice, CPU':>20}"


def slices(scene: Any, names: list[str]) -> Iterator[None]:
    """Read strips as *Generate Sound* does."""
    surroundings = strip_reading.survey_strips(scene)
    yield
    rate = strip_reading.scene_rate(scene)
    strips = compat.all_strips_of(scene.sequence_editor)
    for name in names:
        snapshot = yield from strip_reading.read_in_slices(lambda name=name: (scene, strips[name]), surroundings)
        assert snapshot is not None
        clip_from_strip(snapshot, rate)
        yield


def measure(label: str, scene: Any) -> None:
    """Read all strips and print the times."""
    names = [strip.name for strip in compat.strips_of(scene.sequence_editor)]
    begin_s, begin_cpu_s = time.perf_counter(), time.thread_time()
    longest_s, at_s = 0.0, begin_cpu_s
    for _ in slices(scene, names):
        now_s = time.thread_time()
        longest_s, at_s = max(longest_s, now_s - at_s), now_s
    cpu_ms, clock_ms = (time.thread_time() - begin_cpu_s) * 1e3, (time.perf_counter() - begin_s) * 1e3
    print(f"{label:34} {len(names):6} {cpu_ms:7.1f} ms {clock_ms:7.1f} ms {longest_s * 1e3:17.2f} ms", flush=True)


def build_scene(paths: list[Path], fps: int, *, reverse: bool = False) -> Any:
    """Return the scene of a new file with a strip for each path."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = fps, 1.0
    strips = compat.strips_of(scene.sequence_editor_create())
    for number, path in enumerate(paths):
        strip = strips.new_movie(f"strip {number}", str(path), 1 + number % 20, 1 + number // 20 * 1000)
        strip.rewas.prompt = "rain"
        strip.use_reverse_frames = reverse
    return scene


def measure_all(movie: Path, counts: list[int], fps: int, folder: Path) -> None:
    """Measure everything for a movie in a scene with a given frame rate."""
    for count in counts:
        copies = [folder / f"{number}.mp4" for number in range(count)]
        for copy in copies:
            if not copy.exists():
                shutil.copy(movie, copy)
        for label, paths in (("one file", [movie] * count), ("a file each", copies)):
            scene = build_scene(paths, fps)
            media_files.forget_files()
            measure(f"{label}, {fps} fps, first time", scene)
            measure(f"{label}, {fps} fps, again", scene)
        measure(f"reversed, {fps} fps, again", build_scene(copies, fps, reverse=True))
        strips = list(compat.strips_of(bpy.context.scene.sequence_editor))
        begin_s = time.thread_time()
        for strip in strips:
            picture_keys.describe_picture(bpy.context.scene, [strip])
        print(f"{'hash of a picture':34} {count:6} {(time.thread_time() - begin_s) * 1e3 / count:7.3f} ms each")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("movie", type=Path)
    parser.add_argument("--strips", type=int, nargs="+", default=[1, 100, 500])
    parser.add_argument("--fps", type=int, nargs="+", default=[24, 25])
    options = parser.parse_args()
    properties.register()
    print(f"Blender {bpy.app.version_string}\n{HEADING}")
    with tempfile.TemporaryDirectory() as folder:
        for fps in options.fps:
            measure_all(options.movie.resolve(), options.strips, fps, Path(folder))
    sys.stdout.flush()
    # Blender's module may wait forever while the interpreter ends.
    os._exit(0)


if __name__ == "__main__":
    main()
