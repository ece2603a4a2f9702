"""Loudness figures and the limit of the true peak, compared with other meters."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from ffmpeg_meter import read_meter
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from rewas_engine.media.audio import fade_ends
from rewas_engine.media.loudness import true_peak, true_peak_of
from rewas_server.delivery.fades import apply_fades
from rewas_server.delivery.loudness import LoudnessFigures, measure_loudness
from rewas_server.delivery.peaks import apply_gain, true_peak_gain_db

RATE_HZ = 48_000


def uneven_noise(channels: int, seconds: int, rate_hz: int = RATE_HZ, seed: int = 1) -> np.ndarray:
    """Noise whose level changes from second to second."""
    rng = np.random.default_rng(seed)
    levels = np.repeat(10 ** rng.uniform(-2, -0.8, seconds), rate_hz)
    return (rng.standard_normal((channels, seconds * rate_hz)) * levels).astype(np.float32)


def loud_sound(kind: str, rate_hz: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((1, rate_hz // 4))
    sounds = {
        "noise": noise,
        "square": np.sign(np.sin(2 * np.pi * rng.uniform(50, 3000) * np.arange(rate_hz // 4) / rate_hz))[None],
        "bits": np.sign(noise),
        "click": np.eye(1, rate_hz // 4, rate_hz // 8),
        "high tone": np.sin(2 * np.pi * 0.49 * np.arange(rate_hz // 4) + rng.uniform(0, 6))[None],
    }
    return (sounds[kind] * rng.uniform(0.1, 4)).astype(np.float32)


def sharp_meter(samples: np.ndarray, rate_hz: int) -> float:
    """The peak of soxr's best quality, at eight times the rate."""
    return float(np.abs(soxr.resample(samples, rate_hz, 8 * rate_hz, quality="VHQ")).max())


def scipy_meter(samples: np.ndarray, rate_hz: int) -> float:
    """The peak of SciPy's short filter, at four times the rate."""
    return float(np.abs(resample_poly(samples, 4, 1)).max())


def standard_meter(samples: np.ndarray, rate_hz: int) -> float:
    """The peak of the filter in annex 2 of BS.1770-4, in 2^-13."""
    outer = [14, 90, -161, 272, -487, 1125, 7964, -838, 390, -218, 122, -68]
    inner = [-239, 240, -424, 730, -1364, 3810, 6388, -1641, 832, -477, 271, -155]
    phases = (outer, inner, inner[::-1], outer[::-1])
    return max(float(np.abs(np.convolve(samples, np.array(phase) / 8192)).max()) for phase in phases)


@pytest.mark.parametrize(
    ("channels", "seconds", "rate_hz"), [(1, 1, RATE_HZ), (1, 5, RATE_HZ), (2, 66, RATE_HZ), (1, 4, 16_000)]
)
def test_figures_are_those_of_another_meter(channels: int, seconds: int, rate_hz: int) -> None:
    waveform = uneven_noise(channels, seconds, rate_hz)
    figures, other = measure_loudness(waveform, rate_hz), read_meter(waveform, rate_hz)
    assert figures.integrated_lufs == pytest.approx(other.integrated_lufs, abs=0.1)
    assert figures.max_momentary_lufs == pytest.approx(other.max_momentary_lufs, abs=0.1)
    if seconds >= 3:
        assert figures.max_short_term_lufs == pytest.approx(other.max_short_term_lufs, abs=0.1)
    assert figures.max_true_peak_dbtp is not None
    assert 10 ** (figures.max_true_peak_dbtp / 20) >= other.true_peak - 0.001
    if seconds >= 60:
        assert figures.range_lu == pytest.approx(other.range_lu, abs=0.2)
    else:
        assert figures.range_lu is None


@pytest.mark.parametrize(
    ("samples", "known"),
    [
        (RATE_HZ * 4 // 10 - 1, {"max_true_peak_dbtp"}),
        (RATE_HZ * 4 // 10, {"max_true_peak_dbtp", "integrated_lufs", "max_momentary_lufs"}),
        (RATE_HZ * 3 - 1, {"max_true_peak_dbtp", "integrated_lufs", "max_momentary_lufs"}),
        (RATE_HZ * 3, {"max_true_peak_dbtp", "integrated_lufs", "max_momentary_lufs", "max_short_term_lufs"}),
    ],
)
def test_a_short_sound_has_only_the_figures_that_fit_its_length(samples: int, known: set[str]) -> None:
    figures = measure_loudness(uneven_noise(1, 4)[:, :samples], RATE_HZ)
    assert {name for name, value in vars(figures).items() if value is not None} == known


def test_silence_has_no_figures() -> None:
    assert measure_loudness(np.zeros((1, RATE_HZ * 4), np.float32), RATE_HZ) == LoudnessFigures()
    assert measure_loudness(np.zeros((1, 0), np.float32), RATE_HZ) == LoudnessFigures()


def test_unknown_loudspeakers_have_a_peak_only() -> None:
    figures = measure_loudness(uneven_noise(6, 4), RATE_HZ)
    assert {name for name, value in vars(figures).items() if value is not None} == {"max_true_peak_dbtp"}


def test_a_long_sound_is_measured_in_parts_without_a_seam() -> None:
    waveform = uneven_noise(1, 25)
    chunks = [waveform[:, first : first + 7_777] for first in range(0, waveform.shape[1], 7_777)]
    assert true_peak(chunks, RATE_HZ) == pytest.approx(true_peak_of(waveform, RATE_HZ), rel=1e-5)
    # The level of each second is that of the same second alone, after the filters have settled.
    alone = measure_loudness(waveform[:, 20 * RATE_HZ :], RATE_HZ)
    loud = waveform.copy()
    loud[:, : 20 * RATE_HZ] = 0
    assert measure_loudness(loud, RATE_HZ).max_momentary_lufs == pytest.approx(alone.max_momentary_lufs, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["noise", "square", "bits", "click", "high tone"]),
    st.sampled_from([16_000, 22_050, 44_100, 48_000, 96_000]),
    st.integers(0, 10**6),
)
def test_no_other_meter_reads_a_true_peak_above_the_limit(kind: str, rate_hz: int, seed: int) -> None:
    sound = loud_sound(kind, rate_hz, seed)
    gain_db = true_peak_gain_db([sound], rate_hz)
    limited = apply_gain(sound, gain_db)
    delivered = np.round(limited * 2.0**23) / 2.0**23
    # The meter rounds to thousandths.
    assert read_meter(delivered, rate_hz).true_peak <= 10 ** (-1 / 20) + 0.0005
    for meter in (sharp_meter, standard_meter, scipy_meter):
        assert meter(delivered[0], rate_hz) <= 10 ** (-1 / 20), meter.__name__
    assert gain_db <= 0
    assert true_peak_gain_db([limited], rate_hz) == pytest.approx(0, abs=1e-4)


def test_a_sound_below_the_limit_keeps_its_samples() -> None:
    quiet = uneven_noise(2, 2)
    quiet *= np.float32(0.5 / np.abs(quiet).max())
    assert true_peak_gain_db([quiet], RATE_HZ) == 0
    assert np.array_equal(apply_gain(quiet, 0.0), quiet)


def test_stems_of_a_take_keep_their_balance() -> None:
    loud, quiet = uneven_noise(1, 2, seed=1) * 40, uneven_noise(1, 2, seed=2)
    assert true_peak_gain_db([loud, quiet], RATE_HZ) == true_peak_gain_db([loud], RATE_HZ) < 0
    assert true_peak_gain_db([], RATE_HZ) == 0


@pytest.mark.parametrize(("at_start", "at_end"), [(True, True), (True, False), (False, True), (False, False)])
def test_only_the_chosen_ends_are_faded(at_start: bool, at_end: bool) -> None:
    wave = np.full((2, RATE_HZ), 0.5, np.float32)
    faded = apply_fades(wave, RATE_HZ, at_start=at_start, at_end=at_end)
    fade = RATE_HZ * 5 // 1000
    assert np.array_equal(wave, np.full((2, RATE_HZ), 0.5, np.float32))
    assert np.array_equal(faded[:, fade:-fade], wave[:, fade:-fade])
    assert (abs(faded[0, 0]) < 1e-3, abs(faded[0, -1]) < 1e-3) == (at_start, at_end)
    if at_start and at_end:
        assert np.allclose(faded, faded[:, ::-1])


@given(st.integers(0, 400))
def test_a_fade_is_at_most_half_as_long_as_the_sound(samples: int) -> None:
    faded = apply_fades(np.full((1, samples), 0.5, np.float32), RATE_HZ)
    assert faded.shape == (1, samples)
    if samples % 2:
        assert faded[0, samples // 2] == 0.5


def test_a_silent_end_needs_no_fade() -> None:
    waveform = np.zeros((1, 2000), np.float32)
    waveform[:, 1:-300] = 0.5
    assert np.array_equal(apply_fades(waveform, RATE_HZ), waveform)
    before = waveform.copy()
    fade_ends(waveform, RATE_HZ, at_end=False)
    assert np.array_equal(waveform, before)
