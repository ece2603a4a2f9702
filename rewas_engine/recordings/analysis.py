"""Find the sound events and the steady stretches of a recording, and measure both, in bounded memory.

The samples arrive in blocks. Events are found in chunks of CORE_S seconds with some context. To find stretches, ten
values per second of the whole recording are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.signal import butter, sosfilt
from scipy.signal.windows import hann

from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.curves.onsets import detect_onsets
from rewas_engine.media.audio import ChannelPowers
from rewas_engine.recordings.event_selection import EventSelection, FoundEvent
from rewas_engine.recordings.event_shapes import SHORTEST_GAP_S, Envelope, find_shapes, whole_shape
from rewas_engine.recordings.index import SoundEvent, Stretch
from rewas_engine.recordings.rounds import group_rounds
from rewas_engine.recordings.stretches import SteadyTrack, find_stretches

ANALYSIS_VERSION = 1
"""Increase it when the same sound is measured differently, so that libraries are measured again."""
CORE_S, BEFORE_S, AFTER_S = 20, 1, 8
"""Seconds of a chunk: the core, whose onsets are used, and the context before and after it, which fits long decays."""
OVERLAP_S = 0.05
"""Onsets this close to the core may be found in either of two chunks."""
CONTEXT_S = 1.0
"""Seconds after the core in which onsets are also detected, because they may end the last events of the core."""
TRACK_HZ = 10
LOWEST_HZ = 30.0
"""Lowest frequency that counts as sound. A DC offset and rumble are below it."""
SILENCE_DB = -120.0
CLIPPED_SAMPLES = 3
"""Consecutive samples at full scale that count as clipped."""
FULL_SCALE = 1 - 2**-15
EVENT_BELOW_PEAK_DB = 50.0
"""Events that are this much weaker than the loudest sound of the recording are ignored."""
ROUND_FRAMES = 12
"""Mel frames after the onset by which events are grouped into variations of one sound."""
_LEVEL_FRAMES = 30
"""Mel frames after the onset. The loudest of them gives the level."""
_MEL = MelConfig()
_REACH = (_MEL.window_samples - _MEL.hop_samples) // 2

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Analysis:
    """What was found in a recording. Its events and stretches have the recording number 0.

    Attributes:
        samples: Samples of each channel.
        noise_floor_db, peak_db, stereo_width: As in `Recording`.
        offset: Mean of all samples; 0 unless the recording has a DC offset.
        clipped_s: Seconds of clipped sound.
        better_weights: Weights `[channels]` with which to analyse the recording again, because the channels cancel each
            other out in the mix that was analysed, or almost all are silent.
    """

    samples: int
    noise_floor_db: float
    peak_db: float
    stereo_width: float
    offset: float
    clipped_s: float
    events: tuple[SoundEvent, ...]
    stretches: tuple[Stretch, ...]
    better_weights: FloatArray | None = None


def analyse(blocks: Iterable[FloatArray], sample_rate_hz: int, weights: FloatArray | None = None) -> Analysis:
    """Analyse a recording.

    Args:
        blocks: Its samples in order, each block `[samples, channels]`; full scale is 1.
        sample_rate_hz: Rate of the samples.
        weights: Weights `[channels]` of the channels in the mix that is analysed; None is their mean.
    """
    return _Analyser(sample_rate_hz, weights).run(blocks)


def decibels(amplitude: float) -> float:
    """Level of an amplitude in dBFS, at least SILENCE_DB."""
    return max(SILENCE_DB, 20 * float(np.log10(max(amplitude, 1e-9))))


@dataclass
class _Totals:
    """Sums over the whole recording."""

    samples: int = 0
    peak: float = 0.0
    total: float = 0.0
    clipped_samples: int = 0
    powers: ChannelPowers = field(default_factory=ChannelPowers)

    def add(self, block: FloatArray, peaks: FloatArray) -> None:
        self.samples += len(block)
        self.total += float(block.sum(dtype=np.float64)) / block.shape[1]
        highest = float(peaks.max(initial=0.0))
        self.peak = max(self.peak, highest)
        if highest >= FULL_SCALE:
            full = np.flatnonzero(peaks >= FULL_SCALE)
            runs = np.split(full, np.flatnonzero(np.diff(full) > 1) + 1)
            self.clipped_samples += sum(len(run) for run in runs if len(run) >= CLIPPED_SAMPLES)
        if block.shape[1] > 1:
            self.powers.add(np.ascontiguousarray(block.T))


class _Chunk:
    """A part of the recording with its context.

    Attributes:
        mono, peaks: The mix without rumble, and the largest magnitude of all channels, of each sample.
        slow: The mix at 16 kHz.
        begin_s: Time of the first sample.
        core: Seconds [first, last) within the chunk; the end of the recording belongs to the core.
        is_last: Whether the recording ends with it.
    """

    def __init__(
        self,
        mono: FloatArray,
        peaks: FloatArray,
        slow: FloatArray,
        begin_s: int,
        core: tuple[int, float],
        is_last: bool,
    ) -> None:
        self.mono, self.peaks, self.slow, self.begin_s, self.core, self.is_last = (
            mono, peaks, slow, begin_s, core, is_last,
        )  # fmt: skip

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole recording."""
        return self.begin_s == 0 and self.is_last

    @cached_property
    def onsets_s(self) -> NDArray[np.float64]:
        """Approximate onsets from the core on, in seconds from the start of the chunk."""
        first, last = self.core
        heard = self.slow[: round((last + CONTEXT_S) * _MEL.sample_rate_hz)]
        # The detector ignores the last half window, so an onset at the very end needs sound after it.
        heard = np.pad(heard, (0, _MEL.window_samples)) if self.is_last else heard
        times_s, _ = detect_onsets(heard, _MEL.sample_rate_hz)
        return times_s[times_s >= first - OVERLAP_S] if first else times_s


class _Analyser:
    def __init__(self, sample_rate_hz: int, weights: FloatArray | None) -> None:
        self.rate_hz, self.weights = sample_rate_hz, weights
        self.totals, self.track = _Totals(), SteadyTrack(TRACK_HZ)
        self.selection = EventSelection()
        self.latest: FoundEvent | None = None

    def run(self, blocks: Iterable[FloatArray]) -> Analysis:
        for chunk in self._chunks(blocks):
            self._examine(chunk)
        return self._summary()

    def _chunks(self, blocks: Iterable[FloatArray]) -> Iterator[_Chunk]:
        rate_hz, length_s = self.rate_hz, BEFORE_S + CORE_S + AFTER_S
        cutoff = min(LOWEST_HZ, rate_hz / 8)
        rumble = butter(2, cutoff, "highpass", fs=rate_hz, output="sos")
        state: NDArray[Any] | None = None
        resampler = soxr.ResampleStream(rate_hz, _MEL.sample_rate_hz, 1, dtype="float32", quality="MQ")
        mono, peaks = _Buffer(length_s * rate_hz), _Buffer(length_s * rate_hz)
        slow = _Buffer(length_s * _MEL.sample_rate_hz + _MEL.sample_rate_hz)
        begin_s, before_s = 0, 0

        def cut(is_last: bool) -> _Chunk:
            end_s = max(mono.size / rate_hz, slow.size / _MEL.sample_rate_hz) if is_last else before_s + CORE_S
            return _Chunk(mono.filled, peaks.filled, slow.filled, begin_s, (before_s, end_s), is_last)

        for block in blocks:
            mixed = block[:, 0] if block.shape[1] == 1 else self._mix(block)
            magnitudes = np.abs(block).max(axis=1) if block.shape[1] > 1 else np.abs(mixed)
            self.totals.add(block, magnitudes)
            if state is None:  # settled on the first value, so that a DC offset does not begin with a step
                state = np.stack([np.array(_settled(section)) for section in rumble]) * float(mixed[0])
                state[1:] = 0.0
            filtered, state = sosfilt(rumble, mixed, zi=state)
            filtered = filtered.astype(np.float32)
            done = 0
            while done < len(filtered):
                part = slice(done, done + mono.room)
                peaks.append(magnitudes[part])
                slow.append(resampler.resample_chunk(filtered[part]))
                done += mono.append(filtered[part])
                if not mono.room:
                    yield cut(is_last=False)
                    step_s = before_s + CORE_S - BEFORE_S
                    mono.drop(step_s * rate_hz)
                    peaks.drop(step_s * rate_hz)
                    slow.drop(step_s * _MEL.sample_rate_hz)
                    begin_s, before_s = begin_s + step_s, BEFORE_S
        slow.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
        if mono.size > before_s * rate_hz:
            yield cut(is_last=True)

    def _mix(self, block: FloatArray) -> FloatArray:
        if self.weights is None:
            return np.asarray(block.mean(axis=1))
        return np.asarray(block @ self.weights, np.float32)

    def _examine(self, chunk: _Chunk) -> None:
        first_s, last_s = chunk.core
        spectra = _MelSpectra(chunk.slow, chunk.begin_s == 0, chunk.is_last)
        frame_hz = int(_MEL.frame_rate_hz)
        core = slice(first_s * frame_hz, spectra.count if chunk.is_last else round(last_s * frame_hz))
        magnitudes, centroids = spectra.between(core.start, min(spectra.count, core.stop + _LEVEL_FRAMES))
        log_mel = np.log(np.maximum(magnitudes, _MEL.floor))
        in_core = slice(0, core.stop - core.start)
        samples = chunk.mono[first_s * self.rate_hz : round(last_s * self.rate_hz)]
        self.track.add(log_mel[in_core], magnitudes[in_core], centroids[in_core], samples, self.rate_hz)
        energies = log_mel.mean(axis=1)
        envelope = Envelope.of(chunk.mono, chunk.peaks, self.rate_hz)
        level_frames = _LEVEL_FRAMES
        shapes = list(find_shapes(envelope, chunk.onsets_s))
        if chunk.is_whole and not shapes and not self._stretches():
            # A whoosh or a rustle has no onset. The whole recording is one event.
            shapes, level_frames = [shape for shape in [whole_shape(envelope)] if shape], len(energies)
        for shape in shapes:
            onset_s = shape.onset_sample / self.rate_hz
            moved = shape.later(chunk.begin_s * self.rate_hz)
            latest = self.latest.shape.onset_sample if self.latest is not None else -self.rate_hz
            if onset_s >= last_s + OVERLAP_S or moved.onset_sample - latest < SHORTEST_GAP_S * self.rate_hz:
                continue
            frame = int(onset_s * frame_hz) - core.start
            near = slice(max(0, frame - 1), max(0, frame - 1) + level_frames)
            if not len(energies[near]):
                continue
            loudest = near.start + int(energies[near].argmax())
            attack = slice(near.start, min(near.start + ROUND_FRAMES, len(energies)))
            weights = magnitudes[attack].sum(axis=1) + 1e-9
            self._finish_latest(moved.onset_sample)
            self.latest = FoundEvent(
                moved,
                float(energies[loudest]),
                float(np.average(centroids[attack], weights=weights)),
                log_mel[attack].mean(axis=0),
            )

    def _finish_latest(self, next_onset_sample: int) -> None:
        """Select the latest event, which ends where the next one begins at the latest."""
        if self.latest is None:
            return
        shape = self.latest.shape
        end = min(shape.end_sample, next_onset_sample)
        if end > shape.onset_sample:
            decay_s = min(shape.decay_s, (end - shape.onset_sample) / self.rate_hz)
            self.selection.add(replace(self.latest, shape=replace(shape, end_sample=end, decay_s=decay_s)))
        self.latest = None

    def _summary(self) -> Analysis:
        totals = self.totals
        self._finish_latest(totals.samples)
        found = self.selection.events()
        loudest_db = max((event.shape.peak_db for event in found), default=0.0)
        found = [event for event in found if event.shape.peak_db > loudest_db - EVENT_BELOW_PEAK_DB]
        rounds = group_rounds([event.spectrum for event in found])
        events = [
            SoundEvent(0, shape.start_sample, shape.onset_sample, shape.end_sample, shape.peak_db, event.level_nats,
                       event.centroid_hz, shape.decay_s, round_number)
            for event, round_number in zip(found, rounds, strict=True)
            for shape in [event.shape]
        ]  # fmt: skip
        return Analysis(
            samples=totals.samples,
            noise_floor_db=self.track.noise_floor_db(),
            peak_db=decibels(totals.peak),
            stereo_width=totals.powers.width(),
            offset=totals.total / max(1, totals.samples),
            clipped_s=totals.clipped_samples / self.rate_hz,
            events=tuple(events),
            stretches=self._stretches(),
            better_weights=self._better_weights(),
        )

    def _stretches(self) -> tuple[Stretch, ...]:
        return find_stretches(self.track, self.rate_hz, self.totals.samples)

    def _better_weights(self) -> FloatArray | None:
        if self.weights is not None:
            return None
        weights = next(iter(self.totals.powers.weights().values()), None)
        return None if weights is None else weights.astype(np.float32)


class _Buffer:
    """A buffer of fixed size that is filled at its end and emptied at its start."""

    def __init__(self, capacity: int) -> None:
        self._values = np.empty(capacity, np.float32)
        self.size = 0

    @property
    def room(self) -> int:
        return len(self._values) - self.size

    @property
    def filled(self) -> FloatArray:
        return self._values[: self.size]

    def append(self, values: FloatArray) -> int:
        """Append values and return their number. There must be room for them."""
        self._values[self.size : self.size + len(values)] = values
        self.size += len(values)
        return len(values)

    def drop(self, count: int) -> None:
        kept = self._values[count : self.size].copy()
        self._values[: len(kept)] = kept
        self.size = len(kept)


class _MelSpectra:
    """Mel spectra of a chunk, equal to those of AudioFrontEnd for the whole recording."""

    def __init__(self, slow: FloatArray, is_first: bool, is_last: bool) -> None:
        self.count = -(-len(slow) // _MEL.hop_samples)
        whole = self.count * _MEL.hop_samples
        padded = np.pad(slow, (0, max(whole, _MEL.window_samples) - len(slow)))
        # Reflected only at the ends of the recording; elsewhere, the frames at the ends are not used.
        self._padded = np.pad(padded, _REACH, mode="reflect" if is_first or is_last else "edge")

    def between(self, first: int, last: int) -> tuple[FloatArray, FloatArray]:
        """Mel magnitudes `[T, bins]` and spectral centroids `[T]` in Hz of the frames [first, last)."""
        window, hop = _MEL.window_samples, _MEL.hop_samples
        magnitudes = np.empty((max(0, last - first), _MEL.bins), np.float32)
        centroids = np.empty(max(0, last - first), np.float32)
        for start in range(first, last, 256):
            stop = min(start + 256, last)
            piece = self._padded[start * hop : (stop - 1) * hop + window]
            windows = np.lib.stride_tricks.sliding_window_view(piece, window)[::hop]
            spectrum = np.abs(rfft(windows * _WINDOW, axis=1))
            magnitudes[start - first : stop - first] = spectrum @ _FILTERS
            centroids[start - first : stop - first] = (spectrum @ _FREQUENCIES) / np.maximum(spectrum.sum(axis=1), 1e-9)
        return magnitudes, centroids


_WINDOW = hann(_MEL.window_samples, sym=False).astype(np.float32)
_FILTERS = np.ascontiguousarray(AudioFrontEnd(_MEL).filter_bank.T)
_FREQUENCIES = np.linspace(0, _MEL.sample_rate_hz / 2, _MEL.window_samples // 2 + 1, dtype=np.float32)


def _settled(section: NDArray[Any]) -> tuple[float, float]:
    """State of a high-pass section after a long constant input of 1, for which its output is 0."""
    b0, b1, b2, _, a1, a2 = section
    gain = (b0 + b1 + b2) / (1 + a1 + a2)
    return b1 + b2 - (a1 + a2) * gain, b2 - a2 * gain
