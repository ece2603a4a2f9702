"""Uploads are stored without an extension, so every container must be recognised by its content."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rewas_engine.media.audio import read_audio
from rewas_engine.media.video import probe_video

VIDEO = {
    "mov": "mpeg4",
    "mp4": "mpeg4",
    "m4v": "mpeg4",
    "3gp": "mpeg4",
    "mkv": "mpeg4",
    "webm": "libvpx-vp9",
    "avi": "mpeg4",
    "mxf": "mpeg2video",
    "mpg": "mpeg2video",
    "ts": "mpeg2video",
    "m2ts": "mpeg2video",
    "flv": "flv",
    "gif": "gif",
}
"""Video codecs by extension."""
SOUND = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame", "m4a": "aac", "ogg": "libopus", "aiff": "pcm_s16be"}


@pytest.mark.parametrize("extension", VIDEO)
def test_video_is_recognised_without_extension(extension: str, tmp_path: Path) -> None:
    named = tmp_path / f"clip.{extension}"
    with av.open(str(named), "w") as container:
        stream = container.add_stream(VIDEO[extension], rate=25)
        stream.width, stream.height = 176, 144
        if extension == "gif":
            stream.pix_fmt = "rgb8"
        for number in range(25):
            image = np.full((144, 176, 3), number * 10, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=stream.pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    expected = probe_video(named)
    found = probe_video(named.rename(tmp_path / ("a" * 64)))
    assert (found.width, found.height) == (expected.width, expected.height) == (176, 144)
    assert found.duration_s == expected.duration_s


@pytest.mark.parametrize("extension", SOUND)
def test_sound_is_recognised_without_extension(extension: str, tmp_path: Path) -> None:
    named = tmp_path / f"clip.{extension}"
    with av.open(str(named), "w") as container:
        stream = container.add_stream(SOUND[extension], rate=48_000, layout="mono")
        samples = (np.sin(np.arange(48_000) / 20) * 10_000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = 48_000
        for resampled in av.AudioResampler(stream.format, "mono", 48_000, stream.frame_size or None).resample(frame):
            container.mux(stream.encode(resampled))
        container.mux(stream.encode(None))
    span = {"start_s": Fraction(0), "duration_s": Fraction(1, 2)}
    expected = read_audio(named, **span, sample_rate_hz=16_000)
    found = read_audio(named.rename(tmp_path / ("a" * 64)), **span, sample_rate_hz=16_000)
    assert np.array_equal(found, expected)
    assert np.abs(found).max() > 0.2
