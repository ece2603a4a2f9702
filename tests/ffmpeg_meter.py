"""FFmpeg's meter for EBU R 128, as an independent measurement."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

_LAYOUTS = {1: "mono", 2: "stereo"}


@dataclass(frozen=True)
class Reading:
    """The figures of the meter at the end. Peaks are magnitudes."""

    integrated_lufs: float
    range_lu: float
    true_peak: float
    max_momentary_lufs: float
    max_short_term_lufs: float


def read_meter(waveform: np.ndarray, sample_rate_hz: int) -> Reading:
    """Measure a waveform `[channels, samples]`."""
    layout = _LAYOUTS[len(waveform)]
    graph = av.filter.Graph()
    source = graph.add_abuffer(
        sample_rate=sample_rate_hz, format="fltp", layout=layout, time_base=Fraction(1, sample_rate_hz)
    )
    meter, sink = graph.add("ebur128", "peak=true:metadata=1"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    readings: list[dict[str, float]] = []

    def pull() -> None:
        while True:
            try:
                metadata = graph.pull().metadata
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            shown = {name.removeprefix("lavfi.r128."): float(value) for name, value in metadata.items()}
            if shown:
                readings.append(shown)

    # The meter reports every 100 ms, so silence is added after the sound to include the last peak.
    padded = np.concatenate([waveform, np.zeros((len(waveform), sample_rate_hz // 5))], axis=1).astype(np.float32)
    for first in range(0, padded.shape[1], sample_rate_hz // 10):
        part = np.ascontiguousarray(padded[:, first : first + sample_rate_hz // 10])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = sample_rate_hz, first, Fraction(1, sample_rate_hz)
        graph.push(frame)
        pull()
    within = readings[: waveform.shape[1] * 10 // sample_rate_hz] or readings[:1]
    return Reading(
        integrated_lufs=within[-1]["I"],
        range_lu=within[-1]["LRA"],
        true_peak=max(value for name, value in readings[-1].items() if name.startswith("true_peaks_ch")),
        max_momentary_lufs=max(shown["M"] for shown in within),
        max_short_term_lufs=max(shown["S"] for shown in within),
    )
