"""The timbre of a sound (its long-term spectrum, and its texture at each level), and filters that match spectra."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import oaconvolve

from rewas_engine.conditioning.controls import measure_textures
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.curves.energy import EnergyCurve, FloatArray
from rewas_engine.curves.texture import MAX_BAND_NATS, TextureCurve

MAX_MATCH_DB = 12.0
"""Largest gain and attenuation of a matching filter."""
AUDIBLE_MARGIN_NATS = 1.0
AUDIBLE_DEPTH_NATS = 6.0
"""Frames this far below the loudest one do not count towards a spectrum."""
_DB_PER_NAT = 20 / np.log(10)
_LEVELS = 32
_LEVEL_QUANTILES = (0.05, 0.95)
_LEVEL_WIDTH_NATS = 0.5
_SMOOTHING_BINS = 2.0
"""Standard deviation of the smoothing of a filter over frequency, about a third of an octave."""
_FILTER_S = Fraction(64, 1000)
_DESIGN_LENGTH_FACTOR = 4

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Timbre:
    """The character of a sound, independent of its level over time.

    Attributes:
        spectrum: `[bins]` mean log-mel of the audible frames in nats, minus its mean over the bins.
        levels: `[L]` ascending energies in nats.
        textures: `[L, bands]` texture of the sound at each of these levels, in nats.
    """

    spectrum: Values
    levels: Values
    textures: Values

    @classmethod
    def measure(cls, log_mel: torch.Tensor, silence_nats: float) -> Timbre | None:
        """Measure the timbre of a log-mel `[T, bins]` in nats; None if it is silent."""
        spectrum = measure_spectrum(log_mel, silence_nats)
        if spectrum is None:
            return None
        energy = log_mel.mean(dim=1).cpu().numpy().astype(np.float64)
        audible = _audible(energy, silence_nats)
        textures = measure_textures(log_mel[None], silence_nats)[0].cpu().numpy().astype(np.float64)[audible]
        lowest, highest = np.quantile(energy[audible], _LEVEL_QUANTILES).tolist()
        levels = np.linspace(lowest, highest, _LEVELS)
        distances = (levels[:, None] - energy[audible]) / _LEVEL_WIDTH_NATS
        shares = np.exp(-0.5 * (distances**2 - (distances**2).min(axis=1, keepdims=True)))
        return cls(spectrum, levels, shares @ textures / shares.sum(axis=1, keepdims=True))

    def texture_for(self, energy: EnergyCurve) -> TextureCurve:
        """Return the texture that this sound has at the levels of an energy curve.

        Levels that the sound does not reach get the texture of the nearest one that it does.
        """
        bands = np.stack([np.interp(energy.values, self.levels, band) for band in self.textures.T], axis=1)
        bands -= bands.mean(axis=1, keepdims=True)
        bands *= min(1.0, MAX_BAND_NATS / max(float(np.abs(bands).max()), 1e-9))
        return TextureCurve(bands.astype(np.float32), energy.rate_hz, "audio")


def measure_spectrum(log_mel: torch.Tensor, silence_nats: float) -> Values | None:
    """Measure the long-term spectrum of a log-mel `[T, bins]` in nats, as in `Timbre.spectrum`; None if it is silent.

    Louder frames count more.
    """
    energy = log_mel.mean(dim=1).cpu().numpy().astype(np.float64)
    audible = _audible(energy, silence_nats)
    if not audible.any():
        return None
    weights = energy[audible] - silence_nats
    spectrum = weights @ log_mel.cpu().numpy()[audible] / weights.sum()
    return np.asarray(spectrum - spectrum.mean())


def spectrum_distance_db(first: Values, second: Values) -> float:
    """Root of the mean squared difference of two spectra `[bins]` in nats over the mel bins, in dB."""
    return float(np.sqrt(np.mean((first - second) ** 2)) * _DB_PER_NAT)


def matching_gains_db(produced: Values, wanted: Values) -> Values:
    """Gains `[bins]` in dB that bring the spectrum of a sound to that of another.

    They are smooth over frequency and within ±MAX_MATCH_DB. Their mean is 0, so that the energy of the sound, a mean
    over the bins, stays the same.

    Args:
        produced: Spectrum `[bins]` of the sound in nats, from `measure_spectrum`.
        wanted: The other spectrum.
    """
    difference_db = gaussian_filter1d(wanted - produced, _SMOOTHING_BINS, mode="nearest")
    difference_db *= _DB_PER_NAT
    # The mean of the limited gains falls with the offset, so bisection finds the one at which it is 0.
    low, high = float(difference_db.min()), float(difference_db.max())
    for _ in range(60):
        offset = (low + high) / 2
        if np.clip(difference_db - offset, -MAX_MATCH_DB, MAX_MATCH_DB).mean() > 0:
            low = offset
        else:
            high = offset
    return np.clip(difference_db - (low + high) / 2, -MAX_MATCH_DB, MAX_MATCH_DB)


def apply_gains_db(waveform: FloatArray, gains_db: Values, front_end: AudioFrontEnd, *, is_loop: bool) -> FloatArray:
    """Filter a waveform `[samples]` with gains `[bins]` in dB at the centres of the mel bins.

    The filter has minimum phase: nothing sounds before an onset.

    Args:
        waveform: At the sample rate of the front end.
        gains_db: Gains of the bins.
        front_end: Its mel bins.
        is_loop: Whether the end of the waveform continues at its start.
    """
    response = _minimum_phase(gains_db, front_end).astype(np.float32)
    tail = response.size - 1
    sound = waveform
    if is_loop:
        sound = np.concatenate([waveform.take(np.arange(-tail, 0), mode="wrap"), waveform])
    filtered = oaconvolve(sound, response)
    start = tail if is_loop else 0
    return np.asarray(filtered[start : start + waveform.size], np.float32)


def _audible(energy: Values, silence_nats: float) -> NDArray[np.bool_]:
    return (energy > silence_nats + AUDIBLE_MARGIN_NATS) & (energy > energy.max() - AUDIBLE_DEPTH_NATS)


def _minimum_phase(gains_db: Values, front_end: AudioFrontEnd) -> Values:
    """Impulse response of the gains, from their real cepstrum (Oppenheim and Schafer 1989)."""
    config = front_end.config
    taps = int(_FILTER_S * config.sample_rate_hz)
    length = 2 ** int(np.ceil(np.log2(_DESIGN_LENGTH_FACTOR * taps)))
    frequencies_hz = np.linspace(0, config.sample_rate_hz / 2, length // 2 + 1)
    log_gains = np.interp(frequencies_hz, _centres_hz(front_end), gains_db) / _DB_PER_NAT
    cepstrum = np.fft.irfft(log_gains, length)
    cepstrum[1 : length // 2] *= 2
    cepstrum[length // 2 + 1 :] = 0
    response = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), length)[:taps]
    fade = taps // 2
    response[taps - fade :] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fade + 1) / fade)
    return np.asarray(response)


def _centres_hz(front_end: AudioFrontEnd) -> Values:
    config: MelConfig = front_end.config
    bank = front_end.filter_bank.astype(np.float64)
    frequencies_hz = np.linspace(0, config.sample_rate_hz / 2, config.window_samples // 2 + 1)
    return np.asarray(bank @ frequencies_hz / bank.sum(axis=1))
