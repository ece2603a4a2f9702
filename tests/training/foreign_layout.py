"""Synthetic clips in a user's layout: other rates, channels, lengths, folders and column names.

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

    sounds/day N/…: stereo WAV at 44.1 kHz. takes/…: MP4 at 30000/1001 fps with stereo AAC at 48 kHz.
    The table is a TSV with paths relative to the folder above both.
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
    """The first audible scene, beginning at a seed."""
    while (scene := sample_scene(seed, class_name, duration_s)).is_silent or not render_sound(scene).any():
        seed += 1_000_000
    return scene


def write_stereo(path: Path, sound: np.ndarray, rate_hz: int = 44_100) -> Path:
    """Write a sound [samples] at 16 kHz as 16-bit stereo with a quieter right channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    resampled = soxr.resample(sound, SAMPLE_RATE_HZ, rate_hz)
    soundfile.write(path, np.stack([resampled, 0.5 * resampled], axis=1).clip(-1, 1), rate_hz, subtype="PCM_16")
    return path


def write_video(path: Path, scene, rate: Fraction = NTSC, with_sound: bool = True) -> Path:
    """Write the video and sound of a scene with codecs that cameras use."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = render_video(scene, frame_rate=rate, width=160, height=90)
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=rate, options={"b": "2000000"})
        video.width, video.height, video.pix_fmt = 160, 90, "yuv420p"
        audio = container.add_stream("aac", rate=48_000, layout="stereo") if with_sound else None
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            sound = soxr.resample(render_sound(scene), SAMPLE_RATE_HZ, 48_000).clip(-1, 1)
            packed = av.AudioFrame.from_ndarray(np.stack([sound, sound]).astype(np.float32), "fltp", "stereo")
            packed.sample_rate, packed.pts = 48_000, 0
            container.mux(audio.encode(packed))
            container.mux(audio.encode())
    return path


if __name__ == "__main__":
    write_foreign_layout(Path(sys.argv[1]))
