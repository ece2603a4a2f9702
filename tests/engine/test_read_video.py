"""Reading the frames that are shown in a range, for any container, and errors for unreadable files."""

import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numbered_clips import frames_at, noise, read_numbers, write_numbered_clip, write_sound

from rewas_engine import Cancelled, MediaError
from rewas_engine.media.video import probe_video, read_frames

B_FRAMES = {"bf": "3", "g": "40", "b-adapt": "0", "sc_threshold": "0", "preset": "ultrafast", "crf": "20"}
CASES = {
    "mp4 with B-frames": ("a.mp4", {"encoder": B_FRAMES}),
    "mp4 at 24000/1001": ("a.mp4", {"rate": "24000/1001", "encoder": B_FRAMES}),
    "mp4 at 60": ("a.mp4", {"rate": 60, "frames": 300, "encoder": B_FRAMES}),
    "mp4 with sound": ("a.mp4", {"encoder": B_FRAMES, "sound": noise(64_000), "sound_codec": "aac"}),
    "mkv that starts at 7.4 s": ("a.mkv", {"first_s": Fraction(37, 5), "encoder": B_FRAMES}),
    "mkv at 30000/1001 with longer sound": ("a.mkv", {"rate": "30000/1001", "sound": noise(90_000)}),
    "transport stream that starts at 10 s": ("a.ts", {"first_s": Fraction(10), "encoder": B_FRAMES}),
    "transport stream of MPEG-2": ("a.ts", {"codec": "mpeg2video", "encoder": {"g": "15", "bf": "2", "b": "4000000"}}),
    "mov of MJPEG": ("a.mov", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
    "avi of MPEG-4": ("a.avi", {"codec": "mpeg4", "encoder": {"g": "12", "b": "4000000"}}),
    "webm of VP9": (
        "a.webm",
        {"codec": "libvpx-vp9", "frames": 60, "encoder": {"deadline": "realtime", "cpu-used": "8"}},
    ),
    "mkv of an odd size": ("a.mkv", {"codec": "ffv1", "size": (101, 67), "pixel_format": "yuv444p"}),
}


@pytest.mark.parametrize("case", CASES)
def test_each_read_frame_is_the_one_shown(case: str, tmp_path: Path) -> None:
    name, recipe = CASES[case]
    recipe = {"frames": 120, **recipe}
    path = write_numbered_clip(tmp_path / name, **recipe)
    rate = Fraction(recipe.get("rate", 25))
    times_s = [number / rate for number in range(recipe["frames"])]
    length_s = recipe["frames"] / rate
    probed = probe_video(path)
    assert abs(probed.duration_s - length_s) <= max(1 / rate, Fraction(1, 50))
    assert probed.frame_rate == pytest.approx(float(rate), rel=1e-3)
    assert (probed.width, probed.height) == recipe.get("size", (96, 64))
    # Uploads are stored without an extension.
    path = path.rename(tmp_path / ("0" * 64))
    assert probe_video(path) == probed
    ranges = [
        (Fraction(0), length_s),
        (length_s * Fraction(2, 5), Fraction(1)),
        (length_s - Fraction(1, 3), Fraction(1, 3)),
    ]
    for start_s, duration_s in ranges:
        _check_range(path, times_s, start_s, duration_s)


def _check_range(path: Path, times_s: list[Fraction], start_s: Fraction, duration_s: Fraction) -> None:
    frames = read_frames(path, start_s=start_s, duration_s=duration_s, frame_rate=Fraction(25), width=64, height=64)
    assert frames.shape[1:] == (64, 64)
    assert len(frames) == -(-duration_s * 25 // 1)
    for index, number in enumerate(read_numbers(frames)):
        shown_s = start_s + (index + Fraction(1, 2)) / 25
        assert number in frames_at(times_s, shown_s), f"{float(start_s):.3f} s + {index}: {number}"


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_frames_of_a_variable_rate_last_until_the_next(name: str, tmp_path: Path) -> None:
    steps_ms = np.random.default_rng(4).integers(10, 200, 80)
    times_s = [Fraction(int(sum(steps_ms[:number])), 1000) for number in range(80)]
    path = write_numbered_clip(tmp_path / name, frames=80, times_s=times_s, encoder=B_FRAMES)
    _check_range(path, times_s, Fraction(0), times_s[-1])
    _check_range(path, times_s, times_s[40] + Fraction(1, 100), Fraction(1))
    # Within the duration of one long frame.
    longest = int(steps_ms[:79].argmax())
    _check_range(path, times_s, times_s[longest] + Fraction(1, 50), Fraction(1, 25))


def test_a_range_beyond_the_last_frame_repeats_it(tmp_path: Path) -> None:
    path = write_numbered_clip(tmp_path / "a.mp4", frames=50, encoder=B_FRAMES)
    frames = read_frames(
        path, start_s=Fraction(19, 10), duration_s=Fraction(1, 5), frame_rate=Fraction(25), width=64, height=64
    )
    assert read_numbers(frames) == [48, 49, 49, 49, 49] or read_numbers(frames) == [47, 48, 49, 49, 49]


def test_frames_are_scaled_without_cropping(tmp_path: Path) -> None:
    path = write_numbered_clip(tmp_path / "a.mkv", frames=3, codec="ffv1", size=(192, 64), pixel_format="yuv444p")
    frames = read_frames(
        path, start_s=Fraction(0), duration_s=Fraction(3, 25), frame_rate=Fraction(25), width=32, height=48
    )
    assert frames.shape == (3, 48, 32)
    assert read_numbers(frames) == [0, 1, 2]


def test_reading_can_be_cancelled(long_clip: Path) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        read_frames(
            long_clip,
            start_s=Fraction(0),
            duration_s=Fraction(20),
            frame_rate=Fraction(25),
            width=64,
            height=64,
            cancel=cancel,
        )


def _missing(path: Path) -> None:
    path.unlink(missing_ok=True)


def _text(path: Path) -> None:
    path.write_text("This is a shopping list, not a film.\n" * 50, "utf-8")


def _truncated(path: Path) -> None:
    # The index of an MP4 is at its end.
    write_numbered_clip(path, frames=50)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _header_only(path: Path) -> None:
    write_numbered_clip(path, frames=50, container_options={"movflags": "faststart"})
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"mdat") + 4])


def _sound_only(path: Path) -> None:
    write_sound(path, noise(8000), 16_000, "aac")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_missing, "The file .*door.mp4 does not exist"),
        (lambda path: path.write_bytes(b""), "door.mp4 cannot be read as media"),
        (_text, "door.mp4 cannot be read as media"),
        (_truncated, "door.mp4 cannot be read as media"),
        (_header_only, "door.mp4 "),
        (_sound_only, "door.mp4 has no video"),
        (lambda path: path.mkdir(), "The file .*door.mp4 does not exist"),
    ],
    ids=["missing", "empty", "text", "truncated", "header only", "sound only", "folder"],
)
def test_a_file_without_video_is_named(damage, message: str, tmp_path: Path) -> None:
    path = tmp_path / "door.mp4"
    damage(path)
    with pytest.raises(MediaError, match=message) as caught:
        probe_video(path)
    assert caught.value.remedy
    with pytest.raises(MediaError, match=message):
        read_frames(path, start_s=Fraction(0), duration_s=Fraction(1), frame_rate=Fraction(25), width=64, height=64)


def test_a_truncated_copy_is_refused(tmp_path: Path) -> None:
    path = write_numbered_clip(
        tmp_path / "door.mp4", frames=250, encoder=B_FRAMES, container_options={"movflags": "faststart"}
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match=r"door.mp4 breaks off [2-8]\."):
        read_frames(path, start_s=Fraction(0), duration_s=Fraction(10), frame_rate=Fraction(25), width=64, height=64)
    _check_range(path, [Fraction(number, 25) for number in range(250)], Fraction(0), Fraction(1))


def test_damage_in_the_middle_does_not_shift_later_frames(tmp_path: Path) -> None:
    path = write_numbered_clip(
        tmp_path / "a.ts", frames=200, encoder={"g": "10", "bf": "0", "preset": "ultrafast", "crf": "20"}
    )
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2 // 188 * 188
    whole[middle : middle + 188 * 4] = bytes(188 * 4)
    path.write_bytes(whole)
    start_s = Fraction(6)
    frames = read_frames(path, start_s=start_s, duration_s=Fraction(1), frame_rate=Fraction(25), width=64, height=64)
    assert read_numbers(frames) == list(range(150, 175))
