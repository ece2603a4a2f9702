"""Media that would take too much memory or time is refused, with the value and the limit."""

from __future__ import annotations

import dataclasses
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numbered_clips import noise, write_numbered_clip, write_sound

from rewas_engine import MediaError, VideoClip
from rewas_engine.media.audio import probe_sound, read_audio, read_audio_file
from rewas_engine.media.limits import DecodingLimits, current_limits, decoding_limits
from rewas_engine.media.probe import read_clip
from rewas_engine.media.video import probe_video, read_frames

DEFAULTS = DecodingLimits()


def large_gif(path: Path, width: int = 16_000, height: int = 16_000, frames: int = 200) -> Path:
    """A GIF of a few bytes for each large frame."""
    frame = b"!\xf9\x04\0\x01\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0"
    head = b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff"
    path.write_bytes(head + frame * frames + b";")
    return path


def large_png(path: Path, width: int, height: int) -> Path:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(bytes(1024))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def changing_size(path: Path, codec: str, sizes: list[tuple[int, int]]) -> Path:
    """A transport stream whose frames change their size."""
    parts = []
    for number, size in enumerate(sizes):
        part = path.with_name(f"part{number}.ts")
        with av.open(str(part), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for place in range(25):
                frame = av.VideoFrame.from_ndarray(np.full(size[::-1], 90, np.uint8), format="gray")
                frame.pts, frame.time_base = 25 * number + place, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return path


def read_one_second(path: Path) -> np.ndarray:
    return read_frames(path, start_s=Fraction(0), duration_s=Fraction(1), frame_rate=Fraction(25), width=32, height=32)


def read_sound(path: Path) -> np.ndarray:
    return read_audio(path, start_s=Fraction(0), duration_s=Fraction(1), sample_rate_hz=16_000)


@pytest.mark.parametrize("make", [large_gif, lambda path: large_png(path, 16_000, 16_000)], ids=["gif", "png"])
@pytest.mark.parametrize("read", [probe_video, read_one_second])
def test_frames_of_too_many_pixels_are_refused(make: Callable, read: Callable, tmp_path: Path) -> None:
    path = make(tmp_path / "clip.gif")
    with pytest.raises(MediaError) as refusal:
        read(path)
    assert refusal.value.what == (
        f"clip.gif has frames of 16000 x 16000 pixels; the limit is {DEFAULTS.pixels} pixels."
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not state the peak this way")
def test_a_large_gif_is_refused_before_its_frames_take_memory(tmp_path: Path) -> None:
    """One frame would take 1 GB."""
    path = large_gif(tmp_path / "clip.gif")
    code = """if True:
        import resource, sys
        from pathlib import Path
        from rewas_engine.media.video import probe_video
        from rewas_engine import MediaError
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            probe_video(Path(sys.argv[1]))
        except MediaError:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) * (1 if sys.platform == "darwin" else 1024) < 32 * 2**20


def test_containers_that_state_a_large_size_are_refused(tmp_path: Path) -> None:
    path = write_numbered_clip(tmp_path / "clip.mkv", frames=25, codec="mjpeg", pixel_format="yuvj420p")
    with decoding_limits(dataclasses.replace(DEFAULTS, pixels=96 * 64)):
        assert probe_video(path).width == 96
    with (
        decoding_limits(dataclasses.replace(DEFAULTS, pixels=96 * 64 - 1)),
        pytest.raises(MediaError, match=r"clip\.mkv has frames of 96 x 64 pixels; the limit is 6143 pixels"),
    ):
        probe_video(path)


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
@pytest.mark.parametrize("large", [(128, 96), (512, 512)])
def test_frames_that_become_larger_count_too(codec: str, large: tuple[int, int], tmp_path: Path) -> None:
    path = changing_size(tmp_path / "clip.ts", codec, [(96, 64), large])

    def read() -> np.ndarray:
        return read_frames(
            path, start_s=Fraction(0), duration_s=Fraction(19, 10), frame_rate=Fraction(25), width=32, height=32
        )

    assert len(read()) == 48
    with decoding_limits(dataclasses.replace(DEFAULTS, pixels=96 * 64)), pytest.raises(MediaError, match=r"clip\.ts"):
        read()


@pytest.mark.parametrize(("width", "height"), [(20_000, 8), (8, 20_000)])
def test_frames_of_one_line_are_refused(width: int, height: int, tmp_path: Path) -> None:
    path = large_gif(tmp_path / "clip.gif", width, height, 2)
    with pytest.raises(MediaError, match=f"{width} x {height} pixels; the longer side may be at most 100 times"):
        read_one_second(path)


def test_a_frame_of_the_largest_size_is_read(tmp_path: Path) -> None:
    """A small limit stands for the default, which would take a while."""
    path = large_gif(tmp_path / "clip.gif", 640, 360, 2)
    with decoding_limits(dataclasses.replace(DEFAULTS, pixels=640 * 360)):
        assert probe_video(path).width == 640


def test_too_many_frames_are_refused(tmp_path: Path) -> None:
    clip = write_numbered_clip(tmp_path / "clip.mp4", frames=50)
    sound = write_sound(tmp_path / "sound.wav", noise(16_000 * 10), 16_000)
    with decoding_limits(dataclasses.replace(DEFAULTS, frames=20)):
        with pytest.raises(MediaError, match=r"clip\.mp4 has more than 20 frames"):
            read_one_second(clip)
        with pytest.raises(MediaError, match=r"sound\.wav has more than 20 frames"):
            probe_sound(sound)


def test_too_long_a_range_is_refused(tmp_path: Path) -> None:
    """A file of a few bytes may state any duration: its last frame would be repeated for years."""
    path = large_gif(tmp_path / "clip.gif", 64, 48, 2)
    far = Fraction(10**9)
    expected = r"The range of clip\.gif lasts 1000000000 s; the limit is 86400 s\."
    with pytest.raises(MediaError, match=expected):
        read_frames(path, start_s=Fraction(0), duration_s=far, frame_rate=Fraction(25), width=8, height=8)
    sound = write_sound(tmp_path / "clip.wav", noise(16_000), 16_000)
    with pytest.raises(MediaError, match=expected.replace("gif", "wav")):
        read_audio(sound, start_s=Fraction(0), duration_s=far, sample_rate_hz=16_000, track=1)
    long = write_numbered_clip(
        tmp_path / "long.mkv", frames=3, times_s=[Fraction(0), Fraction(50_000), Fraction(100_000)]
    )
    with pytest.raises(MediaError, match=r"The range of long\.mkv lasts 1000\d\d s"):
        read_clip(VideoClip(long))
    assert read_clip(VideoClip(long, duration=5)).duration_s == 5


def test_too_many_streams_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=16_000) for _ in range(9)]
        for stream in streams:
            stream.layout = "mono"
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
            frame.sample_rate = 16_000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    assert probe_sound(path).duration_s > 0
    with (
        decoding_limits(dataclasses.replace(DEFAULTS, streams=8)),
        pytest.raises(MediaError, match=r"clip\.mov .*(8 streams|cannot be read)"),
    ):
        probe_sound(path)


@pytest.mark.parametrize("read", [probe_sound, read_sound, read_audio_file])
def test_too_many_channels_are_refused(read: Callable, tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.zeros((64, 64), np.float32), 48_000, format="WAV")
    read(path)
    soundfile.write(path, np.zeros((64, 65), np.float32), 48_000, format="WAV")
    with pytest.raises(MediaError, match=r"sound\.wav has sound with 65 channels; the limit is 64\."):
        read(path)


@pytest.mark.parametrize("read", [probe_sound, read_sound, read_audio_file])
@pytest.mark.parametrize("rate_hz", [1, 999, 2_000_000])
def test_impossible_sample_rates_are_refused(read: Callable, rate_hz: int, tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.zeros(64, np.float32), rate_hz, format="WAV")
    with pytest.raises(MediaError, match=f"a sample rate of {rate_hz} Hz; it must be from 1000 to 1536000 Hz"):
        read(path)


def test_a_sound_that_states_a_huge_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.flac"
    soundfile.write(path, np.zeros(4096, np.float32), 48_000)
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F  # the highest bits of the number of samples
    data[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    with pytest.raises(MediaError, match=r"The sound sound\.flac has \d{11} samples; the limit is 536870912\."):
        read_audio_file(path)


def test_limits_hold_within_their_block_alone() -> None:
    with decoding_limits(DecodingLimits(pixels=1)):
        assert current_limits().pixels == 1
    assert current_limits() == DEFAULTS


def test_large_frames_are_decoded_by_fewer_threads() -> None:
    sizes = [(1920, 1080), (4096, 2160), (7680, 4320), (12_288, 6480)]
    assert [DEFAULTS.decoding_threads(width * height) for width, height in sizes] == [8, 8, 4, 1]
