"""Measure how long drawing energy over the strips blocks Blender, in a window.

    blender --factory-startup --app-template Video_Editing --python benchmarks/energy_overlay.py -- --zip ZIP

The script installs the extension from ZIP. Each strip has a drawn curve and a take with its requested energy and the
energy of its sound, at 100 values per second. For each number of strips, the script prints the median and the maximum
of three durations of a redraw: the processor time of the add-on's code and of its OpenGL calls, which other programs
hardly change, and the elapsed time of both. Without a graphics card (LIBGL_ALWAYS_SOFTWARE=1), OpenGL computes the
geometry in these calls. Blender's own drawing is not included.
"""

from __future__ import annotations

import argparse
import importlib
import math
import statistics
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import bpy

ADDON = "bl_ext.user_default.rewas_nle"
FRAMES, CHANNELS, REDRAWS = 96, 8, 30
HEADING = f"{'':34} {'strips':>6} {'redraws':>8} {'add-on, CPU':>18} {'OpenGL, CPU':>18} {'both, elapsed':>18}"

_times: list[tuple[float, float, float]] = []
_calls_s = 0.0


def part(name: str) -> Any:
    """Import a module of the extension."""
    return importlib.import_module(f"{ADDON}.{name}")


def time_drawing() -> None:
    """Measure each redraw of the overlay from now on."""
    overlay = part("blender.energy_overlay")
    draw, draw_groups = overlay._draw, overlay._draw_groups

    def timed() -> None:
        global _calls_s
        _calls_s = 0.0
        clock_s, cpu_s = time.perf_counter(), time.thread_time()
        draw()
        all_s = time.thread_time() - cpu_s
        _times.append((all_s - _calls_s, _calls_s, time.perf_counter() - clock_s))

    def timed_calls(*arguments: Any) -> None:
        global _calls_s
        cpu_s = time.thread_time()
        draw_groups(*arguments)
        _calls_s = time.thread_time() - cpu_s

    overlay.unregister()
    overlay._draw, overlay._draw_groups = timed, timed_calls
    overlay.register()


def report(label: str, count: int) -> None:
    """Print the times since the last report."""
    columns = [[times[index] * 1e3 for times in _times] for index in range(3)]
    shown = "".join(f"{statistics.median(column):8.2f} {max(column):6.2f} ms" for column in columns)
    print(f"{label:34} {count:6} {len(_times):8} {shown}", flush=True)
    _times.clear()


def build_scene(count: int) -> Any:
    """Fill the timeline with strips of four seconds that have energy."""
    scene = bpy.context.scene
    compat, takes = part("blender.compat"), part("timeline.takes")
    editor = scene.sequence_editor_create()
    strips = compat.strips_of(editor)
    for strip in list(strips):
        strips.remove(strip)
    shown = bpy.data.scenes.get("Shown") or bpy.data.scenes.new("Shown")
    scene.render.fps, scene.render.fps_base = 24, 1.0
    values = [tuple(-4 + 4 * math.sin(index / 7 + shift) for index in range(400)) for shift in (0.0, 0.5)]
    energies = [takes.EnergyCurve(Fraction(100), column) for column in values]
    keys = [(index / 12, -50 + 40 * math.sin(index)) for index in range(49)]
    for number in range(count):
        start = 1 + number // CHANNELS * FRAMES
        strip = strips.new_scene(f"strip {number}", shown, 1 + number % CHANNELS, start)
        compat.set_handles(strip, start, start + FRAMES)
        part("blender.energy_curves").write_keys(scene, strip, keys)
        take = takes.Take(
            f"{number:032x}", Fraction(24), 0, FRAMES, (), requested_energy=energies[0], output_energy=energies[1]
        )
        part("blender.take_list").add_takes(strip, [take])
        strip.rewas.active_take_index = 0
    scene.frame_end = 1 + math.ceil(count / CHANNELS) * FRAMES
    return scene


def timeline() -> tuple[Any, Any, Any]:
    """Return window, area and region of the timeline."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR" and area.spaces.active.view_type != "PREVIEW":
                return window, area, next(region for region in area.regions if region.type == "WINDOW")
    raise LookupError("no sequencer is open")


def in_timeline(operator: Any, **arguments: Any) -> None:
    """Run an operator in the timeline."""
    window, area, region = timeline()
    with bpy.context.temp_override(window=window, area=area, region=region):
        operator(**arguments)


def measure(count: int) -> Iterator[None]:
    """Measure one number of strips. Each step ends with a redraw."""
    compat = part("blender.compat")
    scene = build_scene(count)
    in_timeline(bpy.ops.sequencer.view_all)
    yield from wait(2.0)
    part("blender.energy_overlay").forget_curves()
    _times.clear()
    yield from settle()
    report("everything is new", count)
    for _ in range(REDRAWS):
        yield
    report("nothing has changed", count)
    for step in range(REDRAWS):
        in_timeline(bpy.ops.view2d.pan, deltax=40 if step < REDRAWS // 2 else -40)
        yield
    report("scrolling", count)
    yield from settle()
    _times.clear()
    for step in range(REDRAWS):
        zoom = bpy.ops.view2d.zoom_in if step < REDRAWS // 2 else bpy.ops.view2d.zoom_out
        in_timeline(zoom, zoomfacx=0.1, zoomfacy=0.0)
        yield
    report("zooming", count)
    yield from settle()
    _times.clear()
    strip = compat.strips_of(scene.sequence_editor)[0]
    for step in range(REDRAWS):
        compat.set_content_start(strip, 1 + step % 3)
        scene.update_tag()
        yield
    report("moving a strip", count)
    for strip in compat.strips_of(scene.sequence_editor):
        compat.set_content_start(strip, compat.content_start(strip) + 5)
    yield from settle()
    report("all strips have moved", count)
    for step in range(REDRAWS):
        part("blender.energy_curves").write_keys(scene, strip, [(0, -60), (1, -20 - step), (4, -60)])
        yield
    report("changing a curve", count)


def settle() -> Iterator[None]:
    """Redraw until all curves are drawn."""
    overlay = part("blender.energy_overlay")
    yield
    while overlay._missing or overlay._stale or overlay._shown != overlay._redrawn:
        yield


def wait(duration_s: float) -> Iterator[None]:
    """Redraw for a while."""
    end_s = time.monotonic() + duration_s
    while time.monotonic() < end_s:
        yield


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zip", help="the extension, if it is not installed yet")
    parser.add_argument("--strips", type=int, nargs="+", default=[1, 100, 500])
    options = parser.parse_args(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else [])
    if options.zip:
        bpy.ops.extensions.package_install_files(
            filepath=options.zip, repo="user_default", enable_on_install=True, overwrite=True
        )
    time_drawing()
    print(f"Blender {bpy.app.version_string}\n{HEADING}", flush=True)
    steps = (step for count in options.strips for step in measure(count))

    def on_timer() -> float | None:
        try:
            next(steps)
        except StopIteration:
            bpy.ops.wm.quit_blender()
            return None
        timeline()[1].tag_redraw()
        return 0.03

    bpy.app.timers.register(on_timer, first_interval=1.0)


if __name__ == "__main__":
    main()
