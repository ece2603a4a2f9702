"""The audio front end, compared with the formulas of the method in numpy."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from rewas_engine import SILENCE_NATS
from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig


def _mel_of_hz(hz):
    """Slaney's mel scale: linear to 1000 Hz (15 mels), then 27 mels for each factor of 6.4."""
    hz = np.asarray(hz, np.float64)
    return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000) / 1000) / np.log(6.4))


def _hz_of_mel(mel):
    mel = np.asarray(mel, np.float64)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * np.log(6.4) / 27))


def _filters(config: MelConfig) -> np.ndarray:
    corners = _hz_of_mel(np.linspace(_mel_of_hz(config.lowest_hz), _mel_of_hz(config.highest_hz), config.bins + 2))
    hz = np.arange(config.window_samples // 2 + 1) * config.sample_rate_hz / config.window_samples
    bank = np.zeros((config.bins, hz.size))
    for row, (low, middle, high) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        rising, falling = (hz - low) / (middle - low), (high - hz) / (high - middle)
        bank[row] = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return bank


def _log_mel(waveform: np.ndarray, config: MelConfig) -> np.ndarray:
    size, hop = config.window_samples, config.hop_samples
    padded = np.pad(waveform.astype(np.float64), (size - hop) // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    frames = np.stack([padded[start : start + size] * window for start in range(0, padded.size - size + 1, hop)])
    magnitude = np.abs(np.fft.rfft(frames, axis=1))
    return np.log(np.maximum(magnitude @ _filters(config).T, config.floor))


@pytest.fixture(scope="module")
def front_end() -> AudioFrontEnd:
    return AudioFrontEnd(MelConfig())


@pytest.mark.parametrize(
    "config",
    [MelConfig(), MelConfig(sample_rate_hz=22_050, hop_samples=256, bins=80, highest_hz=7600, lowest_hz=50)],
    ids=["AudioLDM", "80 bins"],
)
def test_the_log_mel_matches_the_formulas(config: MelConfig) -> None:
    random = np.random.default_rng(3)
    seconds = np.arange(config.hop_samples * 40) / config.sample_rate_hz
    waveform = (0.3 * np.sin(2 * np.pi * 440 * seconds) * np.exp(-4 * seconds)).astype(np.float32)
    waveform[2000:2400] += random.normal(0, 0.1, 400).astype(np.float32)
    ours = AudioFrontEnd(config).log_mel(torch.from_numpy(waveform)[None])[0].numpy()
    assert ours.shape == (40, config.bins)
    np.testing.assert_allclose(ours, _log_mel(waveform, config), atol=2e-3)


def test_known_values_of_a_pure_tone(front_end: AudioFrontEnd) -> None:
    # A sine of amplitude a on a line of the spectrum has magnitude a·512/2 there and half of it on both neighbours.
    seconds = np.arange(16_000) / 16_000
    line = 64
    waveform = (0.5 * np.sin(2 * np.pi * line * 15.625 * seconds)).astype(np.float32)
    magnitudes = np.zeros(513)
    magnitudes[line - 1 : line + 2] = 64, 128, 64
    expected = np.log(np.maximum(_filters(front_end.config) @ magnitudes, 1e-5))
    row = front_end.log_mel(torch.from_numpy(waveform)[None])[0, 50].numpy()
    loud = expected > -8
    assert loud.sum() >= 2
    np.testing.assert_allclose(row[loud], expected[loud], atol=1e-3)


def test_silence_is_the_floor(front_end: AudioFrontEnd) -> None:
    log_mel = front_end.log_mel(torch.zeros(1, 16_000))
    assert log_mel.min() == log_mel.max() == pytest.approx(-11.5129, abs=1e-4)
    assert pytest.approx(-11.5129, abs=1e-4) == SILENCE_NATS == front_end.config.silence_nats


def test_one_window_has_512_frames(front_end: AudioFrontEnd) -> None:
    assert front_end.log_mel(torch.zeros(2, 81_920)).shape == (2, 512, 64)
    assert front_end.config.frame_rate_hz == Fraction(100)


@limits(max_examples=25)
@given(st.integers(1, 6000))
def test_the_energy_covers_the_whole_sound(samples: int) -> None:
    front_end = AudioFrontEnd(MelConfig())
    curve = front_end.measure_energy(np.full(samples, 0.1, np.float32))
    assert curve.values.size == -(-samples // 160) == front_end.frame_count(samples)
    assert curve.rate_hz == 100
    assert curve.source == "audio"


def test_energy_is_the_mean_over_bins_at_the_time_of_the_sound(front_end: AudioFrontEnd) -> None:
    waveform = np.zeros(32_000, np.float32)
    waveform[16_000:16_160] = 0.5 * np.random.default_rng(0).standard_normal(160).clip(-1, 1)
    curve = front_end.measure_energy(waveform)
    np.testing.assert_allclose(curve.values, _log_mel(waveform, front_end.config).mean(axis=1), atol=2e-3)
    assert abs(int(curve.values.argmax()) - 100) <= 1


def test_a_normalised_waveform_has_no_offset_and_a_peak_of_0_5() -> None:
    waveform = np.random.default_rng(1).normal(0.2, 0.01, 5000).astype(np.float32)
    prepared = normalise(waveform)
    assert prepared.dtype == np.float32
    assert np.abs(prepared).max() == pytest.approx(0.5, abs=1e-4)
    assert prepared.mean() == pytest.approx(0, abs=1e-4)
    assert not normalise(np.zeros(100, np.float32)).any()
