"""Building blocks of the world's sounds: decaying modes, shaped noise, grains and rooms (mono, 16 kHz, float64)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import butter, lfilter

from rewas_engine.world.classes import SAMPLE_RATE_HZ

FloatArray = NDArray[np.floating[Any]]
_MODE_BLOCK_SAMPLES = 256


def decaying_modes(
    frequencies_hz: FloatArray, decays_s: FloatArray, amplitudes: FloatArray, duration_s: float
) -> FloatArray:
    """Sums of exponentially decaying sines, [..., samples] for amplitudes [..., modes].

    decays_s is the time in which a mode falls to 1/e. The sines start at zero, so that the contact is the onset.
    """
    samples = int(duration_s * SAMPLE_RATE_HZ)
    poles = (2j * np.pi * frequencies_hz - 1 / decays_s)[:, None] / SAMPLE_RATE_HZ
    # exp(pole * (block + i)) as a product needs far fewer exponentials than one per sample.
    blocks = np.exp(poles * np.arange(0, samples, _MODE_BLOCK_SAMPLES))
    within = np.exp(poles * np.arange(_MODE_BLOCK_SAMPLES))
    modes = (blocks[:, :, None] * within[:, None, :]).imag.reshape(frequencies_hz.size, -1)[:, :samples]
    return np.asarray((amplitudes @ modes) * _fade_out(samples))


def shaped_noise(rng: np.random.Generator, samples: int, gain: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """White noise through a magnitude response given as a function of frequency in Hz; standard deviation 1."""
    length = next_fast_len(samples, real=True)
    bins = length // 2 + 1
    # The spectrum of white noise is itself noise, so it is drawn directly.
    spectrum = rng.standard_normal(2 * bins).view(np.complex128) * gain(rfftfreq(length, 1 / SAMPLE_RATE_HZ))
    spectrum[0] = 0.0
    noise = irfft(spectrum, length)[:samples]
    return np.asarray(noise / (noise.std() + 1e-12))


def band(low_hz: float, high_hz: float, slope: float = 4.0) -> Callable[[FloatArray], FloatArray]:
    """A smooth pass band; slope is the order of its two flanks."""

    def gain(frequency_hz: FloatArray) -> FloatArray:
        ratio = np.maximum(frequency_hz, 1.0)
        return 1.0 / np.sqrt((1 + (low_hz / ratio) ** (2 * slope)) * (1 + (ratio / high_hz) ** (2 * slope)))

    return gain


def resonances(
    frequencies_hz: FloatArray, widths_hz: FloatArray, gains: FloatArray
) -> Callable[[FloatArray], FloatArray]:
    """Sum of resonant peaks, such as formants or the cavities of a motor."""

    def gain(frequency_hz: FloatArray) -> FloatArray:
        offset = (frequency_hz[:, None] - frequencies_hz) / (widths_hz / 2)
        return np.asarray((gains / np.sqrt(1 + offset**2)).sum(axis=1) * np.minimum(frequency_hz / 40.0, 1.0))

    return gain


def apply_filter(sound: FloatArray, gain: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Apply a zero-phase magnitude response, given as a function of frequency in Hz."""
    length = next_fast_len(sound.size, real=True)
    return np.asarray(irfft(rfft(sound, length) * gain(rfftfreq(length, 1 / SAMPLE_RATE_HZ)), length)[: sound.size])


def decay_curve(samples: int, decay_s: float) -> FloatArray:
    """Exponential decay to 1/e in decay_s, with a fade at the end so that it ends in true silence: [samples]."""
    return np.exp(-np.arange(samples) / (decay_s * SAMPLE_RATE_HZ)) * _fade_out(samples)


def noise_burst(
    rng: np.random.Generator, duration_s: float, decay_s: float, low_hz: float, high_hz: float
) -> FloatArray:
    """A decaying burst of noise in a pass band."""
    samples = int(duration_s * SAMPLE_RATE_HZ)
    return shaped_noise(rng, samples, band(low_hz, high_hz)) * decay_curve(samples, decay_s)


def place_grains(samples: int, starts: NDArray[np.int64], gains: FloatArray, grains: list[FloatArray]) -> FloatArray:
    """Add grains to a track: grain i % len(grains) at sample starts[i] with gains[i]."""
    track = np.zeros(samples)
    for index, (start, gain) in enumerate(zip(starts, gains, strict=True)):
        grain = grains[index % len(grains)]
        room = min(grain.size, samples - int(start))
        if room > 0:
            track[start : start + room] += gain * grain[:room]
    return track


def poisson_starts(rng: np.random.Generator, rate_hz: FloatArray) -> NDArray[np.int64]:
    """Start samples of grains whose rate follows rate_hz [samples] (grains per second)."""
    expected = np.cumsum(rate_hz) / SAMPLE_RATE_HZ
    count = rng.poisson(expected[-1])
    return np.searchsorted(expected, np.sort(rng.uniform(0.0, expected[-1], count))).astype(np.int64)


def add_reverb(rng: np.random.Generator, sound: FloatArray, reverb_s: float, wet: float) -> FloatArray:
    """Add a room's tail: noise that falls by 60 dB in reverb_s; wet is its level relative to the sound."""
    tail = rng.standard_normal(int(1.5 * reverb_s * SAMPLE_RATE_HZ))
    tail *= decay_curve(tail.size, reverb_s / np.log(1000.0))
    tail[: int(0.004 * SAMPLE_RATE_HZ)] = 0.0
    tail *= wet / np.sqrt((tail**2).sum())
    length = next_fast_len(sound.size + tail.size, real=True)
    return np.asarray(sound + irfft(rfft(sound, length) * rfft(tail, length), length)[: sound.size])


def apply_distance(sound: FloatArray, distance: float) -> FloatArray:
    """Apply a distance from 0 (near) to 1 (14 dB softer, and low-passed at 2.8 kHz)."""
    numerator, denominator = butter(1, 7900.0 * 0.35**distance, fs=SAMPLE_RATE_HZ)
    return np.asarray(lfilter(numerator, denominator, sound)) * 10 ** (-14.0 * distance / 20)


def remove_rumble(sound: FloatArray) -> FloatArray:
    """Remove everything below 40 Hz, so that the mean is zero and gaps stay silent."""
    numerator, denominator = butter(2, 40.0, "highpass", fs=SAMPLE_RATE_HZ)
    return np.asarray(lfilter(numerator, denominator, sound))


def normalise_peak(sound: FloatArray, peak: float = 1.0) -> FloatArray:
    """Scale the sound to a peak."""
    return np.asarray(sound * (peak / (np.abs(sound).max() + 1e-12)))


def normalise_deviation(sound: FloatArray) -> FloatArray:
    """Scale the sound to a standard deviation of 1; silence stays silent."""
    return np.asarray(sound / (sound.std() + 1e-9))


def _fade_out(samples: int) -> FloatArray:
    fade = np.ones(samples)
    tail = max(1, samples // 5)
    fade[-tail:] = 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, tail))
    return fade
