"""The part of the demo that runs in Blender: install the extension, edit, generate, save, export and render.

scripts/demo/run_demo.py runs it with the Python that has the bpy module:

    python scripts/demo/demo_in_blender.py JOB.json

JOB.json holds the extension's zip, the server's address, the clips with their prompts, the seed and the output folder.
The final timeline is written next to it as RESULT.json.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import bpy

EXTENSION = "bl_ext.user_default.rewas_nle"
FRAMES_PER_SECOND, FRAMES_BASE = 24, 1.001
WIDTH, HEIGHT = 640, 360
MOVIE_CHANNEL = 1
TIMEOUT_S = 900.0


def say(text: str) -> None:
    print(f"  [Blender {bpy.app.version_string}] {text}", flush=True)


def install_extension(zip_path: str, server_address: str, stems_folder: str) -> None:
    """Install the extension into this Blender profile and set its server."""
    bpy.ops.extensions.package_install_files(
        filepath=zip_path, repo="user_default", enable_on_install=True, overwrite=True
    )
    preferences = bpy.context.preferences.addons[EXTENSION].preferences
    preferences.server_address = server_address
    preferences.stems_folder = stems_folder
    say(f"installed and enabled {Path(zip_path).name}")


def build_timeline(job: dict[str, Any]) -> list[Any]:
    """Create a scene with the clips in a row on one channel, each with its prompt, all selected."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=False)
    bpy.context.preferences.filepaths.save_version = 0  # no backup of a file that is saved twice
    scene = bpy.context.scene
    scene.name = "Demo"
    scene.render.fps, scene.render.fps_base = FRAMES_PER_SECOND, FRAMES_BASE
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.view_settings.view_transform = "Standard"  # no tone mapping
    editor = scene.sequence_editor_create()
    editor.channels[MOVIE_CHANNEL].name = "Picture"
    strips, frame = [], scene.frame_start
    for clip in job["clips"]:
        strip = editor.strips.new_movie(Path(clip["path"]).name, clip["path"], MOVIE_CHANNEL, frame)
        strip.rewas.prompt = clip["prompt"]
        strip.rewas.settings.lock_seed, strip.rewas.settings.seed = True, job["seed"]
        strip.select = True
        strips.append(strip)
        frame += strip.frame_final_duration
    editor.active_strip = strips[0]
    scene.frame_end = frame - 1
    bpy.ops.wm.save_as_mainfile(filepath=str(Path(job["output"]) / "timeline.blend"))
    say(f"placed {len(strips)} clips on the timeline at {FRAMES_PER_SECOND}000/1001 frames per second")
    return strips


def generate_sound() -> None:
    """Generate, then pump messages until all jobs have ended, as the timer does in a window."""
    if bpy.ops.rewas.generate() != {"FINISHED"}:
        raise RuntimeError("Generate was refused; see the line above.")
    pump = importlib.import_module(f"{EXTENSION}.blender.pump")
    shared_session = importlib.import_module(f"{EXTENSION}.blender.shared_session")
    deadline_s = time.monotonic() + TIMEOUT_S
    shown: dict[str, tuple[str, int]] = {}
    while shared_session.session().board.is_busy:
        pump.pump()
        for job in shared_session.session().board.jobs.values():
            quarter = int(job.fraction * 4)
            if shown.get(job.key) != (job.stage, quarter) and job.stage:
                say(f"{job.clip_name}: {job.status_text} ({job.fraction:.0%})")
            shown[job.key] = job.stage, quarter
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"A job was still running after {TIMEOUT_S:.0f} s.")
        time.sleep(0.05)
    problems = [str(job.problem) for job in shared_session.session().board.jobs.values() if job.problem]
    if problems:
        raise RuntimeError(" ".join(dict.fromkeys(problems)))


def placed_sounds(strips: list[Any]) -> list[dict[str, Any]]:
    """Return the position and job of each clip, and the sound strips below it."""
    shared_session = importlib.import_module(f"{EXTENSION}.blender.shared_session")
    job_of_clip = {job.clip_name: job.job_id for job in shared_session.session().board.jobs.values()}
    editor = bpy.context.scene.sequence_editor
    clips = []
    for strip in strips:
        sounds = [
            {
                "name": sound.name,
                "path": str(Path(bpy.path.abspath(sound.sound.filepath)).resolve()),
                "channel": sound.channel,
                "channel_name": editor.channels[sound.channel].name,
                "start_frame": sound.frame_final_start,
                "frames": sound.frame_final_duration,
            }
            for sound in editor.strips_all
            if sound.type == "SOUND" and sound.frame_final_start == strip.frame_final_start and not sound.mute
        ]
        clips.append(
            {
                "name": strip.name,
                "job_id": job_of_clip[strip.name],
                "start_frame": strip.frame_final_start,
                "frames": strip.frame_final_duration,
                "sounds": sounds,
            }
        )
    for clip in clips:
        for sound in clip["sounds"]:
            say(f"{sound['name']} is on channel {sound['channel']}, {sound['channel_name']}")
    return clips


def render_mix(path: Path) -> None:
    """Render video and sound with Blender's sequencer."""
    render = bpy.context.scene.render
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.format, render.ffmpeg.codec = "MPEG4", "H264"
    render.ffmpeg.constant_rate_factor, render.ffmpeg.ffmpeg_preset = "HIGH", "REALTIME"
    render.ffmpeg.audio_codec, render.ffmpeg.audio_bitrate = "AAC", 192
    render.ffmpeg.audio_mixrate, render.ffmpeg.audio_channels = 48000, "STEREO"
    render.filepath, render.use_file_extension = str(path), False
    bpy.ops.render.render(animation=True)
    if not path.is_file():
        raise RuntimeError(f"Blender rendered no file at {path}.")


def main() -> None:
    job_path = Path(sys.argv[1])
    job = json.loads(job_path.read_text(encoding="utf-8"))
    output = Path(job["output"])
    install_extension(job["extension"], job["server"], str(output / "stems"))
    strips = build_timeline(job)
    generate_sound()
    clips = placed_sounds(strips)
    bpy.ops.wm.save_mainfile()
    if bpy.ops.rewas.export_timeline(filepath=str(output / "timeline.otio")) != {"FINISHED"}:
        raise RuntimeError("The timeline could not be exported; see the line above.")
    say("saved timeline.blend and timeline.otio; rendering mix.mp4")
    render_mix(output / "mix.mp4")
    job_path.with_name("RESULT.json").write_text(json.dumps({"clips": clips}), encoding="utf-8")


if __name__ == "__main__":
    main()
