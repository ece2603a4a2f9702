"""Make silent clips at 24000/1001 fps. The demo has a drawn ball that bounces, and a rendered person with a hammer."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rewas_engine.training.rendered_export import render_staged
from rewas_engine.training.stage_renderer import RendererCommand, StageRenderer
from rewas_engine.world import ENVELOPE_RATE_HZ, Scene, render_video, sample_scene
from rewas_engine.world.stage.staged_scene import StagedScene, sample_staged_scene
from rewas_server.blender_program import blender_command, blender_environment

ROOT = Path(__file__).resolve().parents[2]
BLENDER_PYTHON = ROOT / ".venv-blender-4.5" / "bin" / "python"
RENDER_PROCESS = ROOT / "server" / "rewas_stage" / "render_process.py"
FRAME_RATE = Fraction(24000, 1001)
WIDTH, HEIGHT = 640, 360
RENDERED_WIDTH, RENDERED_HEIGHT = 192, 108
"""Small, so that a shot takes seconds."""
DECAY_S = 0.25


@dataclass(frozen=True)
class DrawnShot:
    """A drawn clip: its class, length, and the times (seconds) and strengths (0 to 1) of its contacts."""

    file_name: str
    prompt: str
    class_name: str
    world_seed: int
    frames: int
    contacts_s: tuple[float, ...]
    strengths: tuple[float, ...]

    @property
    def duration_s(self) -> Fraction:
        return self.frames / FRAME_RATE

    def scene(self) -> Scene:
        """Return the clip as a scene of the synthetic world, outdoors and close, with exactly these contacts."""
        drawn = sample_scene(self.world_seed, self.class_name, float(self.duration_s), pattern="regular")
        times_s, strengths = np.array(self.contacts_s), np.array(self.strengths)
        return dataclasses.replace(
            drawn,
            event_times_s=times_s,
            event_strengths=strengths,
            envelope=outline(times_s, strengths, drawn.envelope.size),
            distance=0.1,
            reverb_s=0.0,
        )

    def draw(self) -> NDArray[np.uint8]:
        """Return the frames [T, H, W, 3]."""
        return render_video(self.scene(), frame_rate=FRAME_RATE, width=WIDTH, height=HEIGHT)


@dataclass(frozen=True)
class RenderedShot:
    """A clip that Blender renders: its class and length. Its seed decides the contacts and everything that is seen."""

    file_name: str
    prompt: str
    class_name: str
    world_seed: int
    frames: int

    @property
    def duration_s(self) -> Fraction:
        return self.frames / FRAME_RATE

    @cached_property
    def staged(self) -> StagedScene:
        """The clip as a staged scene of the synthetic world."""
        size = (RENDERED_WIDTH, RENDERED_HEIGHT)
        return sample_staged_scene(
            self.world_seed,
            self.class_name,
            float(self.duration_s),
            pattern="regular",
            frame_rate=FRAME_RATE,
            size=size,
        )

    @property
    def contacts_s(self) -> tuple[float, ...]:
        return tuple(self.staged.scene.event_times_s.tolist())

    def draw(self) -> NDArray[np.uint8]:
        """Return the frames [T, H, W, 3]. Raises RendererError if Blender cannot render them."""
        with tempfile.TemporaryDirectory(prefix="rewas-blender-") as profile:
            command = blender_command(BLENDER_PYTHON, RENDER_PROCESS)
            with StageRenderer(RendererCommand(tuple(command), blender_environment(Path(profile)))) as renderer:
                return render_staged(self.staged, renderer, self.file_name)


DemoClip = DrawnShot | RenderedShot


def outline(times_s: NDArray[np.float64], strengths: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return the intensity of the contacts at ENVELOPE_RATE_HZ: each rises instantly and decays over DECAY_S."""
    since_s = np.arange(count)[None, :] / ENVELOPE_RATE_HZ - times_s[:, None]
    return np.where(since_s >= 0, strengths[:, None] * np.maximum(1 - since_s / DECAY_S, 0), 0.0).max(axis=0)


def bounces(first_s: float, first_gap_s: float, count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return times and strengths of a dropped ball, which keeps about four fifths of its speed at each bounce."""
    kept = 0.82 ** np.arange(count)
    times_s = first_s + np.concatenate([[0.0], np.cumsum(first_gap_s * kept[:-1])])
    return tuple(times_s.tolist()), tuple((0.35 + 0.65 * kept).tolist())


BALL_CONTACTS_S, BALL_STRENGTHS = bounces(first_s=0.55, first_gap_s=0.72, count=7)
DRAWN_CLIPS = (
    DrawnShot("ball.mp4", "a rubber ball bounces on the floor", "ball_bounce", 3, 96, BALL_CONTACTS_S, BALL_STRENGTHS),
    DrawnShot(
        "hammer.mp4",
        "a hammer knocking on wood",
        "wood_knock",
        5,
        101,
        (0.6, 0.95, 1.3, 2.2, 2.55, 2.9, 3.6),
        (0.7, 0.75, 1.0, 0.7, 0.75, 1.0, 0.9),
    ),
)
"""Clips that need no Blender, for the plots of the documentation and for tests."""
DEMO_CLIPS: tuple[DemoClip, ...] = (
    DRAWN_CLIPS[0],
    RenderedShot("nail.mp4", "a hammer hits a nail", "hammer", 14, 101),
)
"""The clips of the demo."""


def encode(frames: NDArray[np.uint8], path: Path, frame_rate: Fraction) -> None:
    """Write frames [T, H, W, 3] as H.264 at this exact rate."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=frame_rate, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.codec_context.time_base = 1 / frame_rate
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, 1 / frame_rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def make_clip(clip: DemoClip, folder: Path) -> Path:
    """Make one clip and verify its exact rate and length."""
    path = folder / clip.file_name
    encode(clip.draw(), path, FRAME_RATE)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        written = stream.average_rate, sum(1 for _ in container.decode(stream))
    if written != (FRAME_RATE, clip.frames):
        raise RuntimeError(f"{path} has {written[1]} frames at {written[0]} instead of {clip.frames} at {FRAME_RATE}.")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the drawn clips.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for clip in DRAWN_CLIPS:
        print(make_clip(clip, folder))


if __name__ == "__main__":
    main()
