"""Measure what a clip of the rendered world costs: drawing its scene, and rendering it with Blender.

    .venv/bin/python benchmarks/rendering_clips.py [--clips 4] [--first-seed 40] [--blender PROGRAM]

It prints the CPU time, which other programs hardly affect, in seconds for each clip and for each exposure. A clip has
one exposure for each frame, or two if its motion is blurred.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from rewas_engine.training.rendered_export import SAMPLES
from rewas_engine.training.stage_renderer import RendererCommand, StageRenderer
from rewas_engine.world.stage.description import describe_stage
from rewas_engine.world.stage.staged_scene import sample_staged_scene
from rewas_server.blender_program import blender_command, blender_environment, find_blender

SCRIPT = Path(__file__).resolve().parents[1] / "server" / "rewas_stage" / "render_process.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=40)
    parser.add_argument("--blender", default="", help="Blender, or a Python interpreter with the module bpy")
    choices = parser.parse_args()
    program = find_blender(choices.blender, "render clips")
    exposures, scenes_s = 0, 0.0
    with tempfile.TemporaryDirectory(prefix="rewas-blender-") as profile:
        command = RendererCommand(tuple(blender_command(program, SCRIPT)), blender_environment(Path(profile)))
        with StageRenderer(command) as renderer:
            for seed in range(choices.first_seed, choices.first_seed + choices.clips):
                started = time.process_time()
                staged = sample_staged_scene(seed)
                description = describe_stage(staged, SAMPLES)
                scenes_s += time.process_time() - started
                renderer.render(description, f"seed {seed}")
                exposures += description["exposures"]
                size = f"{description['width']} x {description['height']}"
                print(f"seed {seed}: {staged.scene.class_name}, {description['exposures']} exposures of {size}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    blender_s = used.ru_utime + used.ru_stime
    print(f"drawing a scene: {scenes_s / choices.clips:.2f} s")
    print(f"rendering, with the start of Blender: {blender_s / choices.clips:.1f} s for a clip")
    print(f"or {blender_s / exposures:.3f} s for an exposure")


if __name__ == "__main__":
    main()
