"""Clips at other speeds, freeze frames, stills and image sequences show the right frame at each time."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_clips import _draw_number, frames_at, noise, read_numbers, write_numbered_clip

from rewas_engine import EnergyCurve, ImageSequence, MediaError, SettingsError, TextureCurve, VideoClip, find_cuts
from rewas_engine.media import video
from rewas_engine.media.isolation.pool import isolated_decoding
from rewas_engine.media.probe import ProbedClip, read_clip, select_audio_track
from rewas_engine.media.video import iter_frames, read_frames

SIZE = {"width": 64, "height": 64}
LONG_GROUPS = {"bf": "3", "g": "40", "b-adapt": "0", "sc_threshold": "0", "preset": "ultrafast", "crf": "20"}
SPEEDS = [Fraction(-1), Fraction(1, 2), Fraction(2), Fraction(7, 3), Fraction(25, 24), Fraction(-7, 3), Fraction(-1, 2)]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 s of numbered frames at 24 fps, with key frames far apart."""
    path = tmp_path_factory.mktemp("film") / "n24.mp4"
    return write_numbered_clip(path, frames=288, rate=24, encoder=LONG_GROUPS)


def frames_of(read: ProbedClip, rate: int) -> np.ndarray:
    return read_frames(
        read.path,
        start_s=read.start_s,
        duration_s=read.duration_s,
        frame_rate=Fraction(rate),
        speed=read.speed,
        sequence=read.sequence,
        **SIZE,
    )


@pytest.mark.parametrize(
    ("speed", "rate"),
    # At half speed, 24 fps are less than half of 25 fps, so they are blended.
    [(speed, rate) for speed in SPEEDS for rate in (24, 25) if (abs(speed), rate) != (Fraction(1, 2), 25)],
    ids=str,
)
def test_each_frame_of_a_retimed_clip_is_the_one_shown(speed: Fraction, rate: int, film: Path) -> None:
    start_s, duration_s = Fraction(6), Fraction(5, 2)
    read = read_clip(VideoClip(film, start=start_s, duration=duration_s, speed=speed))
    assert (read.speed, read.duration_s) == (speed, duration_s)
    numbers = read_numbers(frames_of(read, rate))
    assert len(numbers) == -(-duration_s * rate // 1)
    times_s = [Fraction(number, 24) for number in range(288)]
    for index, number in enumerate(numbers):
        shown_s = start_s + speed * (index + Fraction(1, 2)) / rate
        assert number in frames_at(times_s, shown_s), f"{index}: {number}"


def test_backwards_from_the_end_shows_all_frames_once(film: Path) -> None:
    read = read_clip(VideoClip(film, start=12, speed=-1))
    assert read.duration_s == 12
    assert read_numbers(frames_of(read, 24)) == list(range(287, -1, -1))


def test_backwards_is_read_in_blocks_of_limited_memory(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_BLOCK_BYTES", 10 * 64 * 64)
    read = read_clip(VideoClip(film, start=5, duration=4, speed="-1"))
    assert read_numbers(frames_of(read, 24)) == list(range(119, 23, -1))


@pytest.mark.parametrize("number", [0, 1, 100, 287])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_a_freeze_frame_shows_the_frame_that_begins_there(number: int, container: str, tmp_path: Path) -> None:
    path = write_numbered_clip(tmp_path / f"a.{container}", frames=288, rate=24, encoder=LONG_GROUPS)
    read = read_clip(VideoClip(path, start=Fraction(number, 24), duration=1, speed=0))
    assert read.is_frozen
    assert read_numbers(frames_of(read, 25)) == [number] * 25
    assert find_cuts(VideoClip(path, start=1, duration=1, speed=0)) == ()


def test_retiming_works_in_the_process_that_decodes(film: Path) -> None:
    with isolated_decoding():
        read = read_clip(VideoClip(film, start=6, duration=1, speed=Fraction(-7, 3)))
        separate = frames_of(read, 24)
    assert np.array_equal(separate, frames_of(read, 24))


def test_slow_motion_blends_frames_that_are_far_apart(film: Path) -> None:
    slow = frames_of(read_clip(VideoClip(film, start=1, duration=1, speed=Fraction(1, 8))), 24).astype(int)
    steps = np.abs(np.diff(slow, axis=0)).mean(axis=(1, 2))
    assert (steps[2:-2] > 0).all(), "a frame is repeated"


def test_a_time_lapse_averages_the_frames_in_between(tmp_path: Path) -> None:
    # Every eighth frame is white. At 8 times the speed, all shown frames are white or none is, by chance.
    path = tmp_path / "flicker.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "gray"
        for number in range(24 * 8):
            level = 240 if number % 7 == 0 else 16
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64), level, np.uint8), format="gray")))
        container.mux(stream.encode(None))
    shown = frames_of(read_clip(VideoClip(path, duration=1, speed=8)), 24).mean(axis=(1, 2))
    expected = [
        np.mean([240 if number % 7 == 0 else 16 for number in range(8 * index, 8 * index + 8)]) for index in range(24)
    ]
    assert shown == pytest.approx(expected, abs=2)
    backwards = frames_of(read_clip(VideoClip(path, start=8, duration=1, speed=-8)), 24).mean(axis=(1, 2))
    assert backwards == pytest.approx(expected[::-1], abs=2)


def test_ranges_are_checked_as_they_are_shown(film: Path) -> None:
    assert read_clip(VideoClip(film, start=6, speed=2)).duration_s == 3
    assert read_clip(VideoClip(film, start=6, speed=Fraction(-1, 2))).duration_s == 12
    with pytest.raises(MediaError, match=r"extends from 6.000 s to 14.000 s, but n24.mp4 ends at 12.000 s"):
        read_clip(VideoClip(film, start=6, duration=4, speed=2))
    with pytest.raises(MediaError, match=r"ends at 12.000 s"):
        read_clip(VideoClip(film, start=12, duration=4, speed=0))
    with pytest.raises(MediaError, match="is a freeze frame and has no duration"):
        read_clip(VideoClip(film, start=6, speed=0))
    with pytest.raises(SettingsError, match="beyond the start of its media"):
        VideoClip(film, start=1, duration=1, speed=-2)
    for speed in (float("nan"), float("inf"), "fast", "1/0", 1e6, None):
        with pytest.raises(SettingsError, match=r"The speed of n24.mp4 is"):
            VideoClip(film, speed=speed)


def test_the_speed_belongs_to_the_content_of_a_clip(film: Path) -> None:
    keys = {
        ProbedClip("a", film, Fraction(1), Fraction(1), Fraction(24), "0" * 64, speed).content_key() for speed in SPEEDS
    }
    assert len(keys) == len(SPEEDS)


def test_cuts_are_at_the_times_of_the_clip(tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    shots = np.random.default_rng(1).integers(0, 255, (2, 36, 64), np.uint8).repeat(4, 1).repeat(4, 2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 256, 144, "gray"
        for number in range(96):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shots[int(number >= 36)], format="gray")))
        container.mux(stream.encode(None))
    assert find_cuts(VideoClip(path)) == (Fraction(3, 2),)
    assert find_cuts(VideoClip(path, speed=Fraction(1, 3))) == (Fraction(9, 2),)
    assert find_cuts(VideoClip(path, speed=2)) == (Fraction(3, 4),)
    assert find_cuts(VideoClip(path, start=4, speed=-1)) == (Fraction(5, 2),)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 400),
    st.fractions(Fraction(-12), Fraction(12)).filter(lambda speed: abs(speed) > Fraction(1, 50)),
)
def test_a_retimed_curve_keeps_its_events_at_their_times(count: int, speed: Fraction) -> None:
    ramp = EnergyCurve(np.linspace(-8, 0, count), Fraction(50), "audio")
    duration_s = ramp.duration_s / abs(speed)
    shown = ramp.retime(speed, duration_s)
    assert len(shown) == -(-duration_s * 50 // 1)
    assert np.isfinite(shown).all()
    middles = (np.arange(len(shown)) + 0.5) / 50 * float(abs(speed)) / float(ramp.duration_s)
    expected = -8 + 8 * (middles if speed > 0 else 1 - middles)
    step = 8 / max(1, count - 1)
    assert np.abs(shown - expected.clip(-8, 0))[:-1].max(initial=0) <= step


def test_a_retimed_texture_keeps_its_rows() -> None:
    rows = np.zeros((100, 4), np.float32)
    rows[50:, 0] = 4
    rows -= rows.mean(axis=1, keepdims=True)
    shown = TextureCurve(rows, Fraction(50), "audio").retime(Fraction(-2), Fraction(1))
    assert shown.shape == (50, 4)
    assert np.allclose(shown[:25], rows[99])
    assert np.allclose(shown[25:], rows[0])


def write_picture(path: Path, number: int, size: tuple[int, int] = (96, 64)) -> Path:
    """Write a numbered picture."""
    codec = {".png": "png", ".jpg": "mjpeg", ".tif": "tiff", ".tiff": "tiff", ".bmp": "bmp", ".exr": "exr"}[path.suffix]
    pixel_format = {"mjpeg": "yuvj420p", "bmp": "bgr24", "exr": "gbrpf32le"}.get(codec, "rgb24")
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = *size, pixel_format, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(_draw_number(number, size), format="gray").reformat(format=pixel_format)
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.exr"])
def test_a_still_is_shown_for_any_duration(name: str, tmp_path: Path) -> None:
    path = write_picture(tmp_path / name, 77)
    read = read_clip(VideoClip(path, start=3600, duration=30))
    assert read.is_frozen
    assert read_numbers(frames_of(read, 5)) == [77] * 150
    with pytest.raises(MediaError, match=rf"The clip {name} is a still picture and has no duration"):
        read_clip(VideoClip(path))
    assert find_cuts(VideoClip(path, duration=2)) == ()


def sequence(folder: Path, numbers, **changes) -> tuple[Path, ImageSequence]:
    """Write the pictures of a sequence at 24 fps with these numbers in their names."""
    folder.mkdir(exist_ok=True)
    values = {"prefix": "shot.", "suffix": ".png", "start_number": 1, "step": 1, "digits": 4}
    values |= {"picture_rate": Fraction(24), "count": len(numbers)} | changes
    found = ImageSequence(**values)
    for number in numbers:
        write_picture(folder / f"shot.{number:04d}.png", number)
    return folder / found.pattern, found


@pytest.mark.parametrize("speed", [Fraction(1), *SPEEDS], ids=str)
def test_each_picture_of_a_sequence_is_shown_at_its_time(speed: Fraction, tmp_path: Path) -> None:
    path, pictures = sequence(tmp_path / "a", range(1, 49))
    start_s = Fraction(1)
    read = read_clip(VideoClip(path, start=start_s, duration=Fraction(2, 5), speed=speed, sequence=pictures))
    assert (read.frame_rate, read.name) == (24, "shot.####.png")
    for index, number in enumerate(read_numbers(frames_of(read, 24))):
        assert number == 1 + (start_s + speed * (index + Fraction(1, 2)) / 24) * 24 // 1


def test_a_sequence_may_count_in_steps(tmp_path: Path) -> None:
    path, pictures = sequence(
        tmp_path / "a", range(10, 34, 2), start_number=10, step=2, picture_rate=Fraction(12), count=12
    )
    read = read_clip(VideoClip(path, sequence=pictures))
    assert read.duration_s == 1
    assert read_numbers(frames_of(read, 24)) == sorted([*range(10, 34, 2)] * 2)


def test_missing_pictures_are_an_error_held_or_black(tmp_path: Path) -> None:
    path, pictures = sequence(tmp_path / "a", [1, 2, 5, 6], count=6)
    with pytest.raises(MediaError, match=r"The picture shot.0003.png of the image sequence .*shot.####.png does not"):
        frames_of(read_clip(VideoClip(path, sequence=pictures)), 24)
    assert read_numbers(frames_of(read_clip(VideoClip(path, duration=Fraction(1, 12), sequence=pictures)), 24)) == [
        1,
        2,
    ]
    _, held = sequence(tmp_path / "a", [1, 2, 5, 6], count=6, missing="hold")
    assert read_numbers(frames_of(read_clip(VideoClip(path, sequence=held)), 24)) == [1, 2, 2, 2, 5, 6]
    _, black = sequence(tmp_path / "a", [1, 2, 5, 6], count=6, missing="black")
    shown = frames_of(read_clip(VideoClip(path, sequence=black)), 24)
    assert not shown[2:4].any()
    assert read_numbers(shown[[0, 1, 4, 5]]) == [1, 2, 5, 6]
    with pytest.raises(MediaError, match=r"shot.0001.png"):
        read_clip(VideoClip(tmp_path / "none" / "a", sequence=held))


def test_a_sequence_is_read_by_the_process_that_decodes(tmp_path: Path) -> None:
    path, pictures = sequence(tmp_path / "a", range(1, 13))
    with isolated_decoding():
        assert read_numbers(frames_of(read_clip(VideoClip(path, sequence=pictures)), 24)) == list(range(1, 13))


def test_a_changed_picture_changes_the_content_of_its_clips_alone(tmp_path: Path) -> None:
    import os

    path, pictures = sequence(tmp_path / "a", range(1, 25))
    for file in path.parent.iterdir():
        os.utime(file, (1e9, 1e9))
    first = read_clip(VideoClip(path, duration=Fraction(1, 2), sequence=pictures))
    second = read_clip(VideoClip(path, start=Fraction(1, 2), sequence=pictures))
    keys = first.content_key(), second.content_key()
    os.utime(path.parent / "shot.0020.png", (1e9 + 9, 1e9 + 9))
    assert first.content_key() == keys[0] is not None
    assert second.content_key() != keys[1]


@pytest.mark.parametrize(
    "changes",
    [
        {"prefix": "../shot."},
        {"suffix": "/a.png"},
        {"count": 0},
        {"count": 10**9},
        {"step": 0},
        {"digits": 99},
        {"picture_rate": Fraction(0)},
    ],
    ids=str,
)
def test_an_impossible_sequence_is_refused(changes: dict) -> None:
    values = {"prefix": "a", "suffix": ".png", "start_number": 1, "step": 1, "digits": 4, "count": 2}
    with pytest.raises(SettingsError, match=r"[Tt]he image sequence"):
        ImageSequence(**{"picture_rate": Fraction(24), **values, **changes})


def test_a_freeze_frame_and_a_sequence_have_no_sound(tmp_path: Path) -> None:
    film = write_numbered_clip(tmp_path / "a.mp4", frames=25, sound=noise(16_000), sound_codec="aac")
    with pytest.raises(MediaError, match=r"The clip a.mp4 is a freeze frame, so it has no sound"):
        select_audio_track(VideoClip(film, duration=1, speed=0))
    path, pictures = sequence(tmp_path / "b", range(1, 5))
    with pytest.raises(MediaError, match="shows an image sequence, so it has no sound"):
        select_audio_track(VideoClip(path, sequence=pictures))


def test_frames_stream_backwards(film: Path) -> None:
    shown = iter_frames(
        film, start_s=Fraction(12), duration_s=Fraction(12), frame_rate=Fraction(24), speed=Fraction(-1), **SIZE
    )
    assert read_numbers(np.stack([next(shown)])) == [287]
