"""Existing sound is fitted to another range to the sample, in the format of delivered stems."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_nle.core import sound_fitting
from rewas_nle.core.sound_fitting import fit_sound, read_wav_format
from rewas_server.delivery.riff import write_wave
from rewas_server.delivery.sample_formats import ENCODINGS, format_chunks

RATE_HZ = 8000


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 3000),
    channels=st.integers(1, 2),
    offset=st.integers(-3500, 3500),
    duration=st.integers(1, 4000),
)
def test_every_sample_stays_at_its_time(
    tmp_path_factory: pytest.TempPathFactory, samples: int, channels: int, offset: int, duration: int
) -> None:
    folder = tmp_path_factory.mktemp("sounds")
    values = np.random.default_rng(samples).integers(-(2**23), 2**23, (samples, channels), np.int32) << 8
    soundfile.write(folder / "stem.wav", values, RATE_HZ, "PCM_24", format="WAVEX")
    fit_sound(
        folder / "stem.wav",
        folder / "fitted.wav",
        offset_s=Fraction(offset, RATE_HZ),
        duration_s=Fraction(duration, RATE_HZ),
    )
    fitted, rate_hz = soundfile.read(folder / "fitted.wav", dtype="int32", always_2d=True)
    expected = np.concatenate([np.zeros((max(offset, 0), channels), np.int32), values[max(-offset, 0) :]])
    silence = np.zeros((max(offset, 0), channels), np.int32)
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(fitted, expected[: max(duration, len(silence))])
    assert soundfile.info(folder / "fitted.wav").subtype == "PCM_24"
    assert not list(folder.glob(".*"))


def test_a_broadcast_wav_file_is_read(tmp_path: Path) -> None:
    samples = np.arange(4800, dtype=np.int32)[:, None] << 8
    soundfile.write(tmp_path / "plain.wav", samples, RATE_HZ, "PCM_24")
    plain = (tmp_path / "plain.wav").read_bytes()
    # A chunk of odd length before the samples, as bext and iXML chunks are.
    begin = plain.index(b"data")
    body = plain[12:begin] + b"bext" + (5).to_bytes(4, "little") + b"hello\0" + plain[begin:]
    (tmp_path / "stem.wav").write_bytes(b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WAVE" + body)
    fit_sound(tmp_path / "stem.wav", tmp_path / "out.wav", offset_s=Fraction(1, 80), duration_s=Fraction(10))
    fitted, _ = soundfile.read(tmp_path / "out.wav", dtype="int32", always_2d=True)
    np.testing.assert_array_equal(fitted, np.concatenate([np.zeros((100, 1), np.int32), samples]))


def write_sparse(path: Path, seconds: int, end: bytes) -> int:
    """Write an RF64 file as delivery does, with silence that takes no space on the disk, and then these samples.

    Returns the number of samples.
    """
    encoding = ENCODINGS["pcm_24"]
    samples = seconds * RATE_HZ + len(end) // 3
    with path.open("wb") as file:
        # The header states all samples, although none is written with it.
        chunks = [(b"bext", bytes(602)), *format_chunks(encoding, 1, RATE_HZ, samples)]
        with pytest.raises(ValueError, match="0 bytes instead of"):
            write_wave(file, chunks, [], data_bytes=samples * 3, frames=samples)
        file.seek(seconds * RATE_HZ * 3, 1)
        file.write(end + bytes(len(end) % 2))
    return samples


def test_a_sound_beyond_4_gib_is_read(tmp_path: Path) -> None:
    seconds = 2**32 // (3 * RATE_HZ) + 10
    end = np.arange(1, 801, dtype="<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    samples = write_sparse(tmp_path / "stem.wav", seconds, end)
    assert read_wav_format(tmp_path / "stem.wav") == (1, RATE_HZ, samples)
    fit_sound(tmp_path / "stem.wav", tmp_path / "out.wav", offset_s=Fraction(-seconds), duration_s=Fraction(1))
    fitted, _ = soundfile.read(tmp_path / "out.wav", dtype="int32")
    np.testing.assert_array_equal(fitted >> 8, np.arange(1, 801))


def test_a_sound_too_large_for_wav_becomes_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_fitting, "LARGEST_WAV_BYTES", 2000)
    samples = np.arange(1, 801, dtype=np.int32) << 8
    soundfile.write(tmp_path / "stem.wav", samples, RATE_HZ, "PCM_24", format="RF64")
    fit_sound(tmp_path / "stem.wav", tmp_path / "out.wav", offset_s=Fraction(1, 80), duration_s=Fraction(1))
    fitted, _ = soundfile.read(tmp_path / "out.wav", dtype="int32")
    assert soundfile.info(tmp_path / "out.wav").format == "RF64"
    np.testing.assert_array_equal(fitted, np.concatenate([np.zeros(100, np.int32), samples]))
    assert read_wav_format(tmp_path / "out.wav") == (1, RATE_HZ, 900)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEdata\0\0\0\0", b"x" * 400])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stem.wav").write_bytes(content)
    with pytest.raises(ValueError, match=r"stem\.wav"):
        fit_sound(tmp_path / "stem.wav", tmp_path / "out.wav", offset_s=Fraction(0), duration_s=Fraction(1))
    assert [path.name for path in tmp_path.iterdir()] == ["stem.wav"]
