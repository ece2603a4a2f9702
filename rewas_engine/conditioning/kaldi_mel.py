"""The log-mel filter bank of Kaldi, which ImageBind reads."""

from __future__ import annotations

import functools
import warnings

import numpy as np
from numpy.typing import NDArray
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 400, 160, 512
LOWEST_HZ = 20.0
PREEMPHASIS = 0.97
FLOOR = 1.1920929e-07
"""Smallest power, the float32 epsilon."""


def kaldi_log_mel(waveform: NDArray[np.float32], sample_rate_hz: int, bins: int) -> NDArray[np.float32]:
    """Natural logarithms of mel powers, [T, bins], of a waveform [samples] of at least one window.

    Frames of 400 samples every 160 without padding; each loses its mean and is pre-emphasised before the Hann window.
    """
    found = spectrogram(
        waveform,
        window_function(WINDOW_SAMPLES, "hann", periodic=False),
        frame_length=WINDOW_SAMPLES,
        hop_length=HOP_SAMPLES,
        fft_length=FFT_SAMPLES,
        power=2.0,
        center=False,
        preemphasis=PREEMPHASIS,
        mel_filters=_filters(sample_rate_hz, bins),
        log_mel="log",
        mel_floor=FLOOR,
        remove_dc_offset=True,
    )
    return np.ascontiguousarray(found.T, np.float32)


@functools.cache
def _filters(sample_rate_hz: int, bins: int) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        # The lowest filters are narrower than a bin of the spectrum, and remain empty in Kaldi too.
        warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
        bank = mel_filter_bank(
            num_frequency_bins=FFT_SAMPLES // 2 + 1,
            num_mel_filters=bins,
            min_frequency=LOWEST_HZ,
            max_frequency=sample_rate_hz / 2,
            sampling_rate=sample_rate_hz,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
    return np.asarray(bank)
