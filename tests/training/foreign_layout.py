"""Clips of the world as a stranger would keep them: other rates, channels, lengths, folders and column names.

    python tests/training/foreign_layout.py DIR

writes 24 sounds, 16 videos and a table of captions, to try `rewas train pack` on.
"""

from __future__ import annotations

import csv
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

from rewas_engine.world import SAMPLE_RATE_HZ, render_sound, render_video, sample_scene

NTSC = Fraction(30000, 1001)
FILE_COLUMN, CAPTION_COLUMN = "Datei", "Zu hören"
CLASSES = ("dog_bark", "rain", "hammer", "engine")
LENGTHS_S = (5.12, 2.5, 9.0)
FIRST_SEED = 770_000_000


def write_foreign_layout(folder: Path, sounds: int = 24, videos: int = 16) -> Path:
    """Write clips of four classes below a new folder and return the table that names all of them.

    sounds/day N/…: stereo WAV at 44.1 kHz. takes/…: MP4 at 30000/1001 pictures a second with stereo AAC at 48 kHz.
    The table is a TSV whose paths count from the folder above both.
    """
    rows = []
    for number in range(sounds + videos):
        seed, class_name = FIRST_SEED + number, CLASSES[number % len(CLASSES)]
        scene = audible_scene(seed, class_name, LENGTHS_S[number % len(LENGTHS_S)])
        if number < sounds:
            name = f"sounds/day {number % 3}/{class_name}/take_{number:02d}.WAV"
            write_stereo(folder / name, render_sound(scene))
        else:
            name = f"takes/{number:02d}.mp4"
            write_video(folder / name, scene)
        rows.append((scene.caption, "16 bit", name))
    table = folder / "notes.tsv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows([(CAPTION_COLUMN, "format", FILE_COLUMN), *rows])
    return table


def audible_scene(seed: int, class_name: str, duration_s: float):
    """The first scene from a seed on that is not silent."""
    while (scene := sample_scene(seed, class_name, duration_s)).is_silent or not render_sound(scene).any():
        seed += 1_000_000
    return scene


def write_stereo(path: Path, sound: np.ndarray, rate_hz: int = 44_100) -> Path:
    """The sound [samples] at 16 kHz as 16-bit stereo, the right channel weaker."""
    path.parent.mkdir(parents=True, exist_ok=True)
    changed = soxr.resample(sound, SAMPLE_RATE_HZ, rate_hz)
    soundfile.write(path, np.stack([changed, 0.5 * changed], axis=1).clip(-1, 1), rate_hz, subtype="PCM_16")
    return path


def write_video(path: Path, scene, rate: Fraction = NTSC, with_sound: bool = True) -> Path:
    """Picture and sound of a scene, squeezed by codecs that cameras use."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = render_video(scene, frame_rate=rate, width=160, height=90)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=rate, options={"b": "2000000"})
        picture.width, picture.height, picture.pix_fmt = 160, 90, "yuv420p"
        heard = container.add_stream("aac", rate=48_000, layout="stereo") if with_sound else None
        for number, shown in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(shown, "rgb24")
            frame.pts = number
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if heard is not None:
            sound = soxr.resample(render_sound(scene), SAMPLE_RATE_HZ, 48_000).clip(-1, 1)
            packed = av.AudioFrame.from_ndarray(np.stack([sound, sound]).astype(np.float32), "fltp", "stereo")
            packed.sample_rate, packed.pts = 48_000, 0
            container.mux(heard.encode(packed))
            container.mux(heard.encode())
    return path


if __name__ == "__main__":
    write_foreign_layout(Path(sys.argv[1]))
