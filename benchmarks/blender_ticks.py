"""Measure how long the add-on blocks Blender's main thread, in files with many strips, before and after a change.

    .venv/bin/python benchmarks/blender_ticks.py [--before CHECKOUT] [--strips 1 100 500] [--blender 4.5 5.0 5.2]

It builds the extension from this checkout and, with --before, from another one, installs each in every version of
Blender, and calls it as Blender's timer does. It prints the longest ticks of the add-on in milliseconds of processor
time, which other programs hardly change. Blender's own work after a tick, such as updating the scene, is not included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ADDON = "bl_ext.user_default.rewas_nle"
FRAMES = 24
ARRIVALS = 20
LIMIT_MS = 5.0


# In the main environment


def build(checkout: Path, folder: Path) -> Path:
    """Build the extension of a checkout and return its zip."""
    command = [sys.executable, checkout / "scripts" / "dev" / "build_extension.py", "--output", folder]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("rewas_nle-*.zip"))


def measure_in_blender(version: str, extension: Path, movie: Path, strips: int) -> dict[str, list[float]]:
    """Return the durations of the ticks in each situation, in milliseconds."""
    with tempfile.TemporaryDirectory() as profile:
        environment = {
            **os.environ,
            "BLENDER_USER_RESOURCES": profile,
            "XDG_DATA_HOME": f"{profile}/data",
            "XDG_CACHE_HOME": f"{profile}/cache",
            "OMP_NUM_THREADS": "1",
        }
        environment.pop("PYTHONPATH", None)
        report = Path(profile) / "report.json"
        python = ROOT / f".venv-blender-{version}" / "bin" / "python"
        command = [python, __file__, "--inside", extension, movie, str(strips), report]
        done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
        if not report.exists():
            raise SystemExit(f"Blender {version} failed:\n{done.stdout}{done.stderr}")
        measured: dict[str, list[float]] = json.loads(report.read_text("utf-8"))
        return measured


def print_comparison(name: str, columns: list[list[float]]) -> None:
    """Print the longest tick, the ticks above the limit, all ticks and their total duration, for each checkout."""
    cells = [
        f"{max(ticks, default=0.0):8.2f} {sum(tick > LIMIT_MS for tick in ticks):5} {len(ticks):6} {sum(ticks):9.1f}"
        for ticks in columns
    ]
    print(f"{name:44}" + "   ".join(cells), flush=True)


def make_movie(path: Path) -> None:
    """Write a short movie."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24")))
        container.mux(stream.encode())


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout to compare with")
    parser.add_argument("--strips", type=int, nargs="+", default=[1, 100, 500])
    parser.add_argument("--blender", nargs="+", default=["4.5", "5.0", "5.2"])
    options = parser.parse_args()
    checkouts = [*([options.before.resolve()] if options.before else []), ROOT]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_movie(folder / "movie.mp4")
        extensions = [build(checkout, folder / str(number)) for number, checkout in enumerate(checkouts)]
        heading = f"{'longest':>8} {'>5 ms':>5} {'ticks':>6} {'all':>9}"
        print(f"{'ms':44}" + "   ".join([heading] * len(checkouts)))
        for version in options.blender:
            for strips in options.strips:
                measured = [
                    measure_in_blender(version, extension, folder / "movie.mp4", strips) for extension in extensions
                ]
                for situation in measured[-1]:
                    label = f"{version}, {strips} strips, {situation}"
                    print_comparison(label, [of.get(situation, []) for of in measured])


# In Blender


def inside(extension: Path, movie: Path, count: int, report: Path) -> None:
    """Measure everything in this Blender and write the report."""
    import bpy

    bpy.ops.extensions.package_install_files(
        filepath=str(extension), repo="user_default", enable_on_install=True, overwrite=True
    )
    report.write_text(json.dumps(_Measurement(movie, count, report.parent).run()), "utf-8")
    sys.stdout.flush()
    # Blender's module may wait forever when the interpreter exits.
    os._exit(0)


class _InWindow:
    """The bpy module as if a window were open. The add-on then spreads its work over ticks."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        self._module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class _Measurement:
    def __init__(self, movie: Path, count: int, folder: Path) -> None:
        self.movie, self.count, self.folder = movie, count, folder
        import bpy

        self.bpy = bpy
        window = _InWindow(bpy, app=_InWindow(bpy.app, background=False))
        self.pump = self.part("blender.pump")
        for name in ("pump", "arrivals"):
            self.part(f"blender.{name}").bpy = window
        preferences = bpy.context.preferences.addons[ADDON].preferences
        preferences.server_address, preferences.stems_folder = "127.0.0.1:9", str(folder / "stems")
        self.ticks: list[float] = []

    def part(self, name: str) -> Any:
        """Import a module of the extension."""
        import importlib

        return importlib.import_module(f"{ADDON}.{name}")

    def measured(self, work: Callable[[], Any]) -> Any:
        """Run work of the add-on as one tick, then update the scene as Blender does after it."""
        begin_s = time.thread_time()
        result = work()
        self.ticks.append((time.thread_time() - begin_s) * 1e3)
        self.bpy.context.view_layer.update()
        return result

    def tick_until(self, condition: Callable[[], bool]) -> None:
        """Call the timer until a condition holds and nothing is left to do."""
        deadline_s = time.monotonic() + 300
        idle = 0
        while idle < 3:
            if time.monotonic() > deadline_s:
                raise SystemExit(f"The work did not end: {self.part('blender.shared_session').session().board}")
            interval_s = self.measured(self.pump.pump)
            idle = idle + 1 if condition() and interval_s >= self.pump.BUSY_INTERVAL_S else 0
            time.sleep(0.001)

    def situation(self) -> list[float]:
        """Return the ticks since the last call."""
        ticks, self.ticks = self.ticks, []
        return ticks

    def run(self) -> dict[str, list[float]]:
        """Measure each situation."""
        bpy, found = self.bpy, {}
        session = self.part("blender.shared_session").session
        self.build_scene()
        self.tick_until(lambda: True)
        self.situation()
        self.measured(lambda: self.pump.run_in_slices(self.start_jobs()))
        self.tick_until(lambda: len(session().board.jobs) == self.count)
        found["pressing Generate"] = self.situation()
        if bpy.app.version >= (4, 3):
            keys = self.let_arrive(session(), ARRIVALS)
            self.tick_until(lambda: all(session().board.jobs[key].is_finished for key in keys))
            found[f"sound arrives for {len(keys)} of them"] = self.situation()
            self.measured(lambda: self.pump.run_in_slices(self.start_jobs(ARRIVALS)))
            self.tick_until(lambda: not self.pump._work)
            self.situation()
            keys = self.let_arrive(session(), ARRIVALS, newest=True)
            self.tick_until(lambda: all(session().board.jobs[key].is_finished for key in keys))
            found["new takes replace it"] = self.situation()
        blend = self.folder / "film.blend"
        bpy.ops.wm.save_as_mainfile(filepath=str(blend))
        bpy.ops.wm.open_mainfile(filepath=str(blend))
        self.tick_until(lambda: not session().is_looking and not self.pump._work)
        found["opening the file"] = self.situation()
        bpy.context.scene.copy()
        self.part("blender.links").request_scan()
        self.tick_until(lambda: True)
        found["copying the scene"] = self.situation()
        return found

    def start_jobs(self, count: int | None = None) -> Any:
        """Return the work that a press of Generate starts."""
        generating = self.part("blender.generating")
        return generating.start_jobs(generating.selected_names(self.bpy.context.scene)[:count])

    def build_scene(self) -> None:
        """Fill a new file with selected movie strips."""
        bpy = self.bpy
        bpy.ops.wm.read_homefile(use_empty=True)
        scene = bpy.context.scene
        scene.render.fps, scene.render.fps_base = 24, 1.0
        editor = scene.sequence_editor_create()
        strips = self.part("blender.compat").strips_of(editor)
        for number in range(self.count):
            strip = strips.new_movie(f"strip {number}", str(self.movie), 1, 1 + number * (FRAMES + 2))
            strip.rewas.prompt = "rain"
            strip.select = True

    def let_arrive(self, session: Any, count: int, *, newest: bool = False) -> list[str]:
        """Let the sound of some jobs arrive, as their threads do. Return the keys of these jobs."""
        waiting = [record for record in session.book.all() if record.received is None]
        chosen = waiting[-count:] if newest else waiting[:count]
        for record in chosen:
            self.receive(session, record)
        return [record.key for record in chosen]

    def receive(self, session: Any, record: Any) -> None:
        """Write the sound of a job and report it."""
        messages = self.part("core.messages")
        samples = round(record.clip.source_duration_s * 48000)
        path = record.stems_folder / f"{record.key}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 3, 48000, 0, "NONE", ""))
            file.writeframes(bytes(3 * samples))
        received = messages.StemsReceived(
            key=record.key,
            job_id=f"job-{record.key}",
            generation_info=messages.GenerationInfo("untrained", "1.0.0", "Apache-2.0", 4, 1.0, 1.0),
            duration_s=record.clip.source_duration_s,
            takes=(
                messages.ReceivedTake(
                    number=1,
                    seed=1,
                    stems=(messages.StemFile("primary", path, 48000, 1, samples),),
                    energy_mae_nats=0.5,
                    energy_correlation=None,
                ),
            ),
        )
        session.book.change(record.key, received=received, job_id=received.job_id)
        session._messages.put(received)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
    else:
        main()
