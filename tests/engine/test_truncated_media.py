"""Files that were cut short: a range past the break is an error, and earlier ranges are read as ever."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numbered_clips import noise, write_numbered_clip, write_sound

from rewas_engine import MediaError, VideoClip
from rewas_engine.media.audio import read_audio
from rewas_engine.media.probe import read_clip, read_clip_with_sound
from rewas_engine.media.truncation import is_file_cut_short
from rewas_engine.media.video import probe_video, read_frames

CLIPS = {
    "faststart.mp4": ("libx264", "aac", {"movflags": "faststart"}),
    "faststart.mov": ("libx264", "pcm_s16le", {"movflags": "faststart"}),
    "fragments.mp4": ("libx264", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    "plain.mkv": ("libx264", "aac", {}),
    "plain.webm": ("libvpx", "libopus", {}),
    "plain.avi": ("mpeg4", "pcm_s16le", {}),
}
SOUNDS = {"wav": "WAV", "rf64": "RF64", "w64": "W64", "aiff": "AIFF", "flac": "FLAC"}


def write_clip(path: Path, sound_s: int = 10) -> Path:
    """Ten seconds of noise at 10 frames per second, with interleaved sound."""
    codec, sound_codec, options = CLIPS[path.name]
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options=options) as container:
        video = container.add_stream(codec, rate=10, options={"g": "10", "b": "400000", "deadline": "realtime"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        audio = container.add_stream(sound_codec, rate=48_000)
        audio.layout = "mono"
        for number in range(100):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (64, 96), np.uint8), format="gray")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(video.encode(frame))
            if number < 10 * sound_s:
                samples = rng.integers(-9000, 9000, (1, 4800), np.int16)
                part = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                part.sample_rate, part.pts, part.time_base = 48_000, number * 4800, Fraction(1, 48_000)
                container.mux(audio.encode(part))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


def cut_short(path: Path, tenths: int = 6) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * tenths // 10])
    return path


def read_video(path: Path, start_s: float, duration_s: float) -> np.ndarray:
    return read_frames(
        path,
        start_s=Fraction(start_s),
        duration_s=Fraction(duration_s),
        frame_rate=Fraction(10),
        width=48,
        height=32,
    )


def read_sound(path: Path, start_s: float, duration_s: float) -> np.ndarray:
    return read_audio(
        path,
        start_s=Fraction(start_s),
        duration_s=Fraction(duration_s),
        sample_rate_hz=16_000,
        origin_s=probe_video(path).start_s,
    )


@pytest.mark.parametrize("name", CLIPS)
def test_a_range_past_the_break_is_refused_for_video_and_sound(name: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / name)
    assert not is_file_cut_short(path)
    assert read_clip(VideoClip(path)).duration_s == pytest.approx(10, abs=0.15)
    before = read_video(path, 1, 2), read_sound(path, 1, 2)
    cut_short(path)
    for start_s, duration_s in ((8, 1), (3, 5), (7, 3)):
        with pytest.raises(MediaError, match=rf"^{name} breaks off [4-7]\.\d+ s after its start\.") as caught:
            read_clip(VideoClip(path, start=start_s, duration=duration_s))
        assert caught.value.remedy == "Copy or export it again, or choose an earlier range."
        with pytest.raises(MediaError, match=rf"^{name} breaks off [4-7]\."):
            read_video(path, start_s, duration_s)
        with pytest.raises(MediaError, match=rf"^The sound of {name} breaks off [4-7]\."):
            read_sound(path, start_s, duration_s)
    with pytest.raises(MediaError, match="breaks off"):
        read_clip(VideoClip(path))  # the whole file
    assert read_clip(VideoClip(path, start=1, duration=2)).duration_s == 2
    np.testing.assert_array_equal(read_video(path, 1, 2), before[0])
    np.testing.assert_array_equal(read_sound(path, 1, 2), before[1])


def test_a_range_that_ends_soon_after_the_break_is_refused(tmp_path: Path) -> None:
    path = cut_short(write_clip(tmp_path / "faststart.mp4"))
    with pytest.raises(MediaError, match="breaks off") as caught:
        read_clip(VideoClip(path))
    break_s = float(caught.value.what.split("off ")[1].split(" s")[0])
    with pytest.raises(MediaError, match="breaks off"):
        read_video(path, break_s - 0.2, 0.6)
    with pytest.raises(MediaError, match="breaks off"):
        read_sound(path, break_s - 0.2, 0.6)


@pytest.mark.parametrize("name", [name for name in CLIPS if name != "plain.webm"])
def test_a_sound_that_is_shorter_than_its_video_is_padded(name: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / name, sound_s=4)
    sound = read_sound(path, 3, 5)
    assert np.abs(sound[:14_000]).mean() > 0.01
    assert not sound[20_000:].any()
    assert len(read_video(path, 3, 7)) == 70


def test_a_short_sound_in_a_file_that_was_cut_later_is_padded(tmp_path: Path) -> None:
    path = cut_short(write_clip(tmp_path / "faststart.mov", sound_s=2), 8)
    assert not read_sound(path, 3, 2).any()


def test_a_tail_of_zeros_is_a_break(tmp_path: Path) -> None:
    # Download programs reserve the space of the whole file first.
    path = write_clip(tmp_path / "faststart.mov")
    data = path.read_bytes()
    kept = len(data) * 6 // 10
    path.write_bytes(data[:kept] + bytes(len(data) - kept))
    with pytest.raises(MediaError, match=r"faststart.mov (breaks off|is damaged)"):
        read_video(path, 7, 2)


@pytest.mark.parametrize("extension", SOUNDS)
def test_a_sound_file_that_was_cut_short_is_refused_past_its_break(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"hands.{extension}"
    soundfile.write(path, np.stack([noise(160_000), noise(160_000, 1)]).T, 16_000, format=SOUNDS[extension])
    assert read_clip_with_sound(VideoClip(path))[0].duration_s == 10
    cut_short(path)
    for clip in (VideoClip(path), VideoClip(path, start=8, duration=1), VideoClip(path, start=5, duration=3)):
        with pytest.raises(MediaError, match=rf"^hands.{extension} breaks off [56]\.\d+ s after its start"):
            read_clip_with_sound(clip)
    assert read_clip_with_sound(VideoClip(path, start=2, duration=3))[0].duration_s == 3
    with pytest.raises(MediaError, match=rf"hands.{extension} breaks off|ends at"):
        read_clip_with_sound(VideoClip(path, start=5, duration=4))


def _set_sizes(size: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        place = data.index(b"data") + 4
        data[place : place + 4] = struct.pack("<I", size)
        data[4:8] = struct.pack("<I", min(0xFFFFFFFF, size + 36))

    return change


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF])
def test_a_sound_from_a_pipe_is_whole(size: int, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "pipe.wav", noise(32_000), 16_000)
    data = bytearray(path.read_bytes())
    _set_sizes(size)(data)
    path.write_bytes(data)
    assert read_clip_with_sound(VideoClip(path))[0].duration_s == 2
    sound = read_audio(path, start_s=Fraction(1), duration_s=Fraction(3), sample_rate_hz=16_000)
    assert not sound[17_000:].any()


@pytest.mark.parametrize("options", [{"live": "1"}, {"cues_to_front": "1"}, {"reserve_index_space": "4096"}])
def test_matroska_files_of_all_layouts_are_whole(options: dict[str, str], tmp_path: Path) -> None:
    path = write_numbered_clip(tmp_path / "a.mkv", frames=50, container_options=options, sound=noise(32_000))
    assert not is_file_cut_short(path)
    assert read_clip(VideoClip(path)).duration_s == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("data", [b"", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x00", b"RIFF", b"\x00\x00\x00\x00ftyp"])
def test_a_header_alone_states_no_size(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    assert not is_file_cut_short(tmp_path / "a")
