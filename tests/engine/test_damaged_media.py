"""Media with random damage is read, or refused with a sentence: never a crash, a hang, or an error of our code."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numbered_clips import noise, write_numbered_clip, write_sound

from rewas_engine import MediaError, VideoClip
from rewas_engine.media.audio import read_audio, read_audio_file
from rewas_engine.media.isolation.pool import isolated_decoding
from rewas_engine.media.probe import read_clip, read_clip_with_sound
from rewas_engine.media.video import read_frames

VIDEOS = {"mp4": "libx264", "mkv": "mpeg4", "ts": "mpeg2video", "avi": "mpeg4", "flv": "flv", "mxf": "mpeg2video"}
SOUNDS = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame", "m4a": "aac"}
FILES_PER_FORMAT = 20


@pytest.fixture(scope="module", autouse=True)
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


@pytest.mark.slow
@pytest.mark.parametrize("extension", [*VIDEOS, *SOUNDS])
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
