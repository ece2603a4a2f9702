"""Render the two silent demo clips at 24000/1001 fps: a bouncing ball and a knocking hammer."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rewas_engine.world import ENVELOPE_RATE_HZ, Scene, render_video, sample_scene

FRAME_RATE = Fraction(24000, 1001)
WIDTH, HEIGHT = 640, 360
DECAY_S = 0.25


@dataclass(frozen=True)
class DemoClip:
    """One clip: its class, length, and the times (seconds) and strengths (0 to 1) of its contacts."""

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
DEMO_CLIPS = (
    DemoClip("ball.mp4", "a rubber ball bounces on the floor", "ball_bounce", 3, 96, BALL_CONTACTS_S, BALL_STRENGTHS),
    DemoClip(
        "hammer.mp4",
        "a hammer knocking on wood",
        "wood_knock",
        5,
        101,
        (0.6, 0.95, 1.3, 2.2, 2.55, 2.9, 3.6),
        (0.7, 0.75, 1.0, 0.7, 0.75, 1.0, 0.9),
    ),
)


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
    """Render one clip and verify its exact rate and length."""
    path = folder / clip.file_name
    encode(render_video(clip.scene(), frame_rate=FRAME_RATE, width=WIDTH, height=HEIGHT), path, FRAME_RATE)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        written = stream.average_rate, sum(1 for _ in container.decode(stream))
    if written != (FRAME_RATE, clip.frames):
        raise RuntimeError(f"{path} has {written[1]} frames at {written[0]} instead of {clip.frames} at {FRAME_RATE}.")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Render the clips of the demo.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for clip in DEMO_CLIPS:
        print(make_clip(clip, folder))


if __name__ == "__main__":
    main()
