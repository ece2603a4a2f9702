"""Existing sound is fitted to another range to the sample, in the format of delivered stems."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_nle.core.sound_fitting import fit_sound

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


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVEdata\0\0\0\0", b"x" * 400])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stem.wav").write_bytes(content)
    with pytest.raises(ValueError, match=r"stem\.wav"):
        fit_sound(tmp_path / "stem.wav", tmp_path / "out.wav", offset_s=Fraction(0), duration_s=Fraction(1))
    assert [path.name for path in tmp_path.iterdir()] == ["stem.wav"]
