"""Flash and click: in Blender's own renders and mixdowns, each click lies at the first sample of its flash."""

import subprocess
import wave
from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import bpy
import pytest
from conftest import MAIN_PYTHON, add_movie, part, set_rate
from test_placing_takes import has_sound, place, receive_stems, request_for

SAMPLE_RATE_HZ = 48000
FLASHES = 5
TOLERANCE_SAMPLES = 4
"""Blender rounds where a sound strip and its content begin; it has been at most two samples off."""
DRAW_FLASHES = """
import sys, av, numpy as np
from fractions import Fraction
path, rate, frames, flashes = sys.argv[1], Fraction(sys.argv[2]), int(sys.argv[3]), eval(sys.argv[4])
with av.open(path, "w") as container:
    stream = container.add_stream("libx264", rate=rate)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    for index in range(frames):
        picture = np.full((64, 64, 3), 235 if index in flashes else 16, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
    container.mux(stream.encode())
"""


class Film:
    """A scene with one strip that flashes once per second, and a sound with a click at each flash."""

    def __init__(self, scene: Any, folder: Path, rate: Fraction) -> None:
        self.scene, self.folder, self.rate = scene, folder, rate
        # No flash lies in the first frame, whose start would be hard to tell from the start of the sound.
        self.flashes = [ceil((second + Fraction(1, 3)) * rate) for second in range(FLASHES)]
        path = folder / "flashes.mp4"
        frames = ceil(FLASHES * rate)
        subprocess.run(
            [MAIN_PYTHON, "-c", DRAW_FLASHES, path, str(rate), str(frames), str(self.flashes)],
            check=True,
            capture_output=True,
        )
        self.strip = add_movie(scene, path, start=11)
        scene.frame_start, scene.frame_end = 1, frames + 200
        scene.render.resolution_x = scene.render.resolution_y = 64
        scene.render.resolution_percentage = 100

    def generate(self) -> None:
        """Place a sound as if it had been generated for the range that the strip shows now."""
        compat = part("blender.compat")
        record = request_for(self.scene)
        received = receive_stems(record)
        first = compat.left_handle(self.strip) - compat.content_start(self.strip)
        ((stem,),) = [take.stems for take in received.takes]
        clicks = [
            round(Fraction(flash - first) / self.rate * SAMPLE_RATE_HZ) for flash in self.flashes if flash >= first
        ]
        write_clicks(stem.path, stem.samples, clicks)
        assert place(record, received).problem is None
        part("blender.links").settle()

    def shown_flashes(self) -> list[int]:
        """The frames of the scene where the strip shows a flash, by its position on the timeline."""
        compat = part("blender.compat")
        frames = (compat.content_start(self.strip) + flash for flash in self.flashes)
        return [frame for frame in frames if compat.left_handle(self.strip) <= frame < compat.right_handle(self.strip)]

    def is_white(self, frame: int) -> bool:
        """Whether Blender renders a flash at a frame."""
        self.scene.frame_set(frame)
        settings = self.scene.render.image_settings
        if hasattr(settings, "media_type"):
            settings.media_type = "IMAGE"
        settings.file_format = "PNG"
        self.scene.render.filepath = str(self.folder / f"{frame}.png")
        bpy.ops.render.render(write_still=True, scene=self.scene.name)
        image = bpy.data.images.load(self.scene.render.filepath)
        middle = 4 * (32 * 64 + 32)
        value = image.pixels[middle]
        bpy.data.images.remove(image)
        return bool(value > 0.5)

    def mixed_clicks(self) -> list[int]:
        """The samples where a click begins in Blender's mixdown."""
        self.scene.render.ffmpeg.audio_mixrate = SAMPLE_RATE_HZ
        path = self.folder / "mix.wav"
        path.unlink(missing_ok=True)
        part("blender.compat").run_in_sequencer(
            self.scene,
            lambda: bpy.ops.sound.mixdown(filepath=str(path), container="WAV", codec="PCM", format="S16"),
        )
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getsampwidth()) == (SAMPLE_RATE_HZ, 2)
            samples = memoryview(file.readframes(file.getnframes())).cast("h")[:: file.getnchannels()]
        loud = [index for index, value in enumerate(samples) if abs(value) > 3000]
        return [index for before, index in zip([-SAMPLE_RATE_HZ, *loud], loud, strict=False) if index - before > 1000]

    def assert_in_sync(self) -> None:
        expected = [
            Fraction(frame - self.scene.frame_start) / self.rate * SAMPLE_RATE_HZ for frame in self.shown_flashes()
        ]
        heard = self.mixed_clicks()
        assert len(heard) == len(expected) > 0
        for click, flash in zip(heard, expected, strict=True):
            assert abs(click - flash) <= TOLERANCE_SAMPLES
        frame = self.shown_flashes()[-1]
        assert [self.is_white(each) for each in (frame - 1, frame, frame + 1)] == [False, True, False]


def write_clicks(path: Path, samples: int, clicks: Sequence[int]) -> None:
    """Write a 24-bit sound with clicks of 1 ms."""
    data = bytearray(3 * samples)
    for click in clicks:
        length = min(48, samples - click)
        if length > 0:
            data[3 * click : 3 * (click + length)] = b"\x00\x00\x60" * length
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(bytes(data))


@has_sound
@pytest.mark.parametrize(
    ("fps", "fps_base", "rate"),
    [
        (24, 1.001, Fraction(24000, 1001)),
        (24, 1.0, Fraction(24)),
        (25, 1.0, Fraction(25)),
        (30, 1.001, Fraction(30000, 1001)),
        (50, 1.0, Fraction(50)),
        (60, 1.001, Fraction(60000, 1001)),
    ],
)
def test_each_click_is_heard_at_its_flash(
    scene: Any, tmp_path: Path, fps: int, fps_base: float, rate: Fraction
) -> None:
    compat, settle = part("blender.compat"), part("blender.links").settle
    set_rate(scene, fps, fps_base)
    film = Film(scene, tmp_path, rate)
    strip, start = film.strip, compat.content_start(film.strip)
    compat.set_handles(strip, start + 9, compat.right_handle(strip))
    film.generate()
    film.assert_in_sync()
    # Moved.
    compat.set_content_start(strip, start + 101)
    settle()
    film.assert_in_sync()
    # Trimmed at both ends.
    compat.set_handles(strip, compat.left_handle(strip) + 30, compat.right_handle(strip) - 17)
    settle()
    film.assert_in_sync()
    # Slipped: other pictures between the same handles.
    handles = compat.left_handle(strip), compat.right_handle(strip)
    compat.set_content_start(strip, compat.content_start(strip) - 7)
    compat.set_handles(strip, *handles)
    settle()
    film.assert_in_sync()
