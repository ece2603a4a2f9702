"""Render the sample clip of the Blender extension: a child bounces a rubber ball, in four silent seconds.

    scripts/dev/make_sample_clip.py [path]

The scene, its motion and its drawing are this project's own, so the clip is free of other people's rights. It is in the
public domain (CC0-1.0).
"""

from __future__ import annotations

import argparse
import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rewas_engine.world import ENVELOPE_RATE_HZ, Scene, render_video, sample_scene

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "addon" / "rewas_nle" / "sample" / "ball.mp4"
FRAME_RATE = Fraction(24)
FRAMES = 96
WIDTH, HEIGHT = 480, 270
DECAY_S = 0.25
CONTACTS_S = (0.4, 0.95, 1.5, 2.05, 2.6, 3.15, 3.7)
STRENGTHS = (1.0, 0.9, 1.0, 0.9, 1.0, 0.9, 1.0)


def sample_clip_scene() -> Scene:
    """Return the scene of the clip: outdoors, close, with contacts at exactly CONTACTS_S."""
    drawn = sample_scene(3, "ball_bounce", float(FRAMES / FRAME_RATE), pattern="regular")
    times_s, strengths = np.array(CONTACTS_S), np.array(STRENGTHS)
    since_s = np.arange(drawn.envelope.size)[None, :] / ENVELOPE_RATE_HZ - times_s[:, None]
    envelope = np.where(since_s >= 0, strengths[:, None] * np.maximum(1 - since_s / DECAY_S, 0), 0.0).max(axis=0)
    return dataclasses.replace(
        drawn, event_times_s=times_s, event_strengths=strengths, envelope=envelope, distance=0.1, reverb_s=0.0
    )


def render_frames() -> NDArray[np.uint8]:
    """Return the frames of the clip [T, H, W, 3]."""
    return render_video(sample_clip_scene(), frame_rate=FRAME_RATE, width=WIDTH, height=HEIGHT)


def encode(frames: NDArray[np.uint8], path: Path) -> None:
    """Write the frames as H.264."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FRAME_RATE, options={"crf": "26", "preset": "slow"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, 1 / FRAME_RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("path", type=Path, nargs="?", default=SAMPLE)
    path = parser.parse_args().path
    path.parent.mkdir(parents=True, exist_ok=True)
    encode(render_frames(), path)
    print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
