"""Media with random damage is read, or refused with a sentence: never a crash, a hang, or an error of our code."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_clips import noise, write_numbered_clip, write_sound

from rewas_engine import MediaError, VideoClip
from rewas_engine.media.audio import read_audio, read_audio_file
from rewas_engine.media.display import ActiveArea, find_active_area
from rewas_engine.media.isolation.pool import isolated_decoding
from rewas_engine.media.probe import read_clip, read_clip_with_sound
from rewas_engine.media.video import read_frames

VIDEOS = {"mp4": "libx264", "mkv": "mpeg4", "ts": "mpeg2video", "avi": "mpeg4", "flv": "flv", "mxf": "mpeg2video"}
SOUNDS = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame", "m4a": "aac"}
FILES_PER_FORMAT = 20


@pytest.fixture(scope="module")
def decoder() -> Iterator[None]:
    """Keeps the tests alive if a file crashes FFmpeg."""
    with isolated_decoding():
        yield


def damage(data: bytes, chance: random.Random) -> bytes:
    """Change, remove, insert or cut off bytes, mostly in the headers."""
    damaged = bytearray(data)
    for _ in range(chance.choice([1, 3, 10, 100])):
        place = chance.randrange(min(len(damaged), chance.choice([64, 1000, len(damaged)])))
        match chance.randrange(10):
            case 0 if place > 64:
                del damaged[place : place + chance.randrange(1, 50)]
            case 1:
                damaged[place:place] = chance.randbytes(chance.randrange(1, 20))
            case 2:
                damaged[place : place + 4] = chance.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
            case 3 if place > 1000:
                del damaged[place:]
            case _:
                damaged[place] = chance.choice([0, 127, 128, 255, chance.randrange(256)])
    return bytes(damaged)


def readings(path: Path) -> list[Callable[[], object]]:
    second = {"start_s": Fraction(0), "duration_s": Fraction(1)}
    return [
        lambda: read_clip_with_sound(VideoClip(path)),
        lambda: read_clip(VideoClip(path, duration=1)),
        lambda: read_frames(path, **second, frame_rate=Fraction(25), width=16, height=16),
        lambda: read_audio(path, **second, sample_rate_hz=16_000),
        lambda: read_audio_file(path),
    ]


def flv_tags(data: bytes, kind: int) -> bytes:
    """The tags of one kind in an FLV file, with their sizes: 8 is sound."""
    place, tags = 13, b""
    while place + 11 < len(data):
        end = place + 11 + int.from_bytes(data[place + 1 : place + 4], "big") + 4
        tags += data[place:end] if data[place] == kind else b""
        place = end
    return tags


def test_a_stream_that_appears_late_does_not_stop_reading(tmp_path: Path) -> None:
    video = write_numbered_clip(tmp_path / "video.flv", frames=500, codec="flv")
    both = write_numbered_clip(tmp_path / "both.flv", frames=25, codec="flv", sound=noise(22_050), sound_rate_hz=22_050)
    path = tmp_path / "late.flv"
    path.write_bytes(video.read_bytes() + flv_tags(both.read_bytes(), 8))
    code = """if True:
        import sys
        from pathlib import Path
        from rewas_engine.media.container import open_media, read_packets
        from rewas_engine.media.limits import DecodingLimits, decoding_limits
        with decoding_limits(DecodingLimits(probe_bytes=5000)), open_media(Path(sys.argv[1])) as container:
            count = len(container.streams)
            packets = sum(packet.size > 0 for packet in read_packets(container, container.streams[0]))
            print(count, packets)
    """
    # PyAV reads memory that it has not set, which glibc then fills.
    environment = os.environ | {"MALLOC_PERTURB_": "170"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.split() == ["1", "500"]


@pytest.mark.parametrize("line", [0, 1, 2, 45, 46, 47])
def test_a_picture_with_one_bright_line_has_no_bars(line: int) -> None:
    picture = np.zeros((48, 64), np.uint8)
    picture[line] = 255
    frames = [av.VideoFrame.from_ndarray(pixels, format="gray") for pixels in (picture, picture)]
    assert find_active_area(frames) == ActiveArea(0, 0, 64, 48)
    turned = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.T), format="gray")
    assert find_active_area([turned]) == ActiveArea(0, 0, 48, 64)


@pytest.mark.slow
@pytest.mark.parametrize("extension", [*VIDEOS, *SOUNDS])
@pytest.mark.usefixtures("decoder")
def test_damaged_media_is_read_or_refused(extension: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = tmp_path / f"whole.{extension}"
    if extension in VIDEOS:
        write_numbered_clip(whole, frames=25, codec=VIDEOS[extension])
    else:
        write_sound(whole, noise(16_000), 16_000, SOUNDS[extension])
    data, chance, refused, done = whole.read_bytes(), random.Random(extension), 0, 0
    path = tmp_path / f"damaged.{extension}"
    with caplog.at_level(logging.WARNING):
        for _ in range(FILES_PER_FORMAT):
            path.write_bytes(damage(data, chance))
            for read in readings(path):
                try:
                    result = read()
                except MediaError:
                    refused += 1
                else:
                    done += 1
                    assert not isinstance(result, np.ndarray) or result.size
    assert not caplog.records, "the decoder failed"
    assert refused
    assert done
