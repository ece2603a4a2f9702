"""The last steps before a sound is written: limiting its true peak, and measuring its loudness."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rewas_engine.media.loudness import MAX_TRUE_PEAK_DB, db_to_gain, true_peak_of
from rewas_server.delivery.loudness import measure_loudness
from rewas_server.delivery.metadata import BroadcastMetadata
from rewas_server.delivery.peaks import apply_gain, peak_gain_db

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FinishedSound:
    """A sound that is ready to be written.

    Attributes:
        waveform: `[channels, samples]` float32.
        metadata: Metadata with the loudness figures, and with the gain in `processing`.
    """

    waveform: NDArray[np.float32]
    metadata: BroadcastMetadata


def finish_sound(
    waveform: NDArray[np.float32],
    sample_rate_hz: int,
    metadata: BroadcastMetadata,
    *,
    max_true_peak_dbtp: float = MAX_TRUE_PEAK_DB,
) -> FinishedSound:
    """Limit the true peak of a waveform `[channels, samples]`, and measure it. If no gain is needed, no sample changes.

    metadata: of the sound. max_true_peak_dbtp: the limit, according to ITU-R BS.1770-4.
    """
    peak = true_peak_of(waveform, sample_rate_hz)
    gain_db = peak_gain_db(peak, max_true_peak_dbtp)
    processing = metadata.processing
    if gain_db:
        # Logs never contain prompts.
        _log.warning("A sound was lowered by %.2f dB to a true peak of %g dBTP.", -gain_db, max_true_peak_dbtp)
        processing = (*processing, f"lowered by {-gain_db:.2f} dB to a true peak of {max_true_peak_dbtp:g} dBTP")
        waveform, peak = apply_gain(waveform, gain_db), peak * db_to_gain(gain_db)
    loudness = measure_loudness(waveform, sample_rate_hz, peak)
    return FinishedSound(waveform, replace(metadata, processing=processing, loudness=loudness))
