"""Perform recordings along an energy curve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rewas_engine.checks import check_integer, check_seed
from rewas_engine.curves.energy import SILENCE_NATS, SILENCE_THRESHOLD_NATS, EnergyCurve
from rewas_engine.errors import Cancelled, MediaError, SettingsError
from rewas_engine.exact_time import sample_count
from rewas_engine.recordings.choosing import Choice
from rewas_engine.recordings.index import LibraryIndex, Recording
from rewas_engine.recordings.levels import MUTE_NATS, gains_for
from rewas_engine.recordings.options import PerformanceOptions
from rewas_engine.recordings.profiles import ANALYSIS_HZ, FRAME_RATE_HZ, ProfileReader, to_analysis_rate
from rewas_engine.recordings.reading import RecordingReader, mono_mix
from rewas_engine.recordings.striking import Strike, StrikePlanner
from rewas_engine.recordings.sustaining import StretchLayer
from rewas_engine.runtime.progress import CancelSignal

FloatArray = NDArray[np.float32]
BLOCK_S = 8
MARGIN_S = 1
"""Seconds before and after a block that are measured with it, so that blocks join."""
FOLLOWING_PASSES = 3
STRETCH_GAINS_NATS, STRIKE_GAINS_NATS = (MUTE_NATS, 4.0), (-1.0, 1.0)
"""Smallest and largest gain with which stretches, and all strikes together, follow the curve. Each strike also has its
own gain."""
END_FADE_S = 0.005
MAX_CHANNELS = 64
MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 384_000
_STRIKES_STREAM, _STRETCHES_STREAM = range(2)

Manner = Literal["struck", "sustained"]
"""Whether a performance consists of events or of stretches."""


@dataclass(frozen=True, eq=False)
class Performance:
    """A sound that was performed from recordings.

    Attributes:
        waveform: `[channels, samples]` float32. It may exceed ±1 where the curve asks for it.
        rate_hz: Samples per second.
        used: The recordings that sound in it, in the order of their first use.
    """

    waveform: FloatArray
    rate_hz: int
    used: tuple[Recording, ...]


class PlannedPerformance:
    """The plan of a performance. The sound is rendered block by block, so it can have any length.

    Args:
        index: Index of the library.
        choice: The recordings to perform.
        energy: The curve. If it is shorter than the performance, the rest is silent.
        duration_s: Duration of the performance in seconds.
        rate_hz: Sample rate of the performance.
        channels: Channels of the performance.
        seed: Determines all random decisions.
        options: Options of the performance.

    Raises:
        MediaError: A recording is missing, has changed or cannot be read, or the chosen ones have no sounds.
        SettingsError: A setting is out of range.
    """

    def __init__(
        self,
        index: LibraryIndex,
        choice: Choice,
        energy: EnergyCurve,
        *,
        duration_s: Fraction,
        rate_hz: int,
        channels: int,
        seed: int,
        options: PerformanceOptions | None = None,
    ) -> None:
        check_seed(seed)
        check_integer("channels", channels, 1, MAX_CHANNELS)
        check_integer("rate_hz", rate_hz, MIN_RATE_HZ, MAX_RATE_HZ)
        self.index, self.rate_hz, self.options = index, rate_hz, options or PerformanceOptions()
        self.samples = sample_count(duration_s, rate_hz)
        if self.samples < 1:
            raise SettingsError(f"The performance lasts {float(duration_s):g} s.", "Give a duration above 0 s.")
        self._asked = _asked_nats(energy, duration_s)
        self._reader = RecordingReader(index, rate_hz=rate_hz, channels=channels)
        self._profiles = ProfileReader(index)
        self.manner, chosen = _material(index, choice)
        self.strikes: list[Strike] = []
        self.layer: StretchLayer | None = None
        if self.manner == "struck":
            rng = np.random.default_rng([seed, _STRIKES_STREAM])
            planner = StrikePlanner(index, chosen, self._profiles, self._asked, self.options, rng)
            self.strikes = planner.plan()
        elif float(self._asked.max()) > SILENCE_THRESHOLD_NATS:
            rng = np.random.default_rng([seed, _STRETCHES_STREAM])
            self.layer = StretchLayer(index, chosen, self._reader, self._asked, self.samples, rng)

    @property
    def used(self) -> tuple[Recording, ...]:
        """The recordings that sound, in the order of their first use."""
        numbers = [self.index.events[strike.event].recording for strike in self.strikes]
        if self.layer is not None:
            numbers = [self.index.stretches[part.stretch].recording for part in self.layer.parts]
        return tuple(self.index.recordings[number] for number in dict.fromkeys(numbers))

    def blocks(self, cancel: CancelSignal | None = None) -> Iterator[FloatArray]:
        """Yield the sound in blocks `[channels, samples]`. Raises MediaError and Cancelled."""
        known_nats = np.zeros(0)
        for begin_s in range(0, -(-self.samples // self.rate_hz), BLOCK_S):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            end = min((begin_s + BLOCK_S) * self.rate_hz, self.samples)
            if self.layer is not None:
                block, known_nats = self._followed(self.layer.read, STRETCH_GAINS_NATS, begin_s, end, known_nats)
            elif self.options.tail == "curve":
                block, known_nats = self._followed(self._struck, STRIKE_GAINS_NATS, begin_s, end, known_nats)
            else:
                block = self._struck(begin_s * self.rate_hz, end)
            yield block

    def _struck(self, begin: int, end: int) -> FloatArray:
        """Samples [begin, end) of all strikes."""
        sound = np.zeros((self._reader.channels, end - begin), np.float32)
        for strike in self.strikes:
            recording = self.index.events[strike.event].recording
            before = self._reader.samples_at_rate(recording, strike.onset_sample - strike.start_sample, strike.speed)
            after = self._reader.samples_at_rate(recording, strike.end_sample - strike.onset_sample, strike.speed)
            onset = round(strike.onset_s * self.rate_hz)
            first, last = max(begin, onset - before), min(end, onset + after)
            if first >= last:
                continue
            whole = self._reader.read(recording, strike.onset_sample, -before, after, speed=strike.speed)
            piece = whole[:, first - onset + before : last - onset + before]
            gains = np.exp(strike.gains_nats(np.arange(first, last) / self.rate_hz)).astype(np.float32)
            gains *= _faded_ends(
                first - onset + before, last - onset + before, before + after, strike.fade_s, self.rate_hz
            )
            sound[:, first - begin : last - begin] += piece * gains
        return sound

    def _followed(
        self,
        read: Callable[[int, int], FloatArray],
        limits_nats: tuple[float, float],
        begin_s: int,
        end: int,
        known_nats: NDArray[np.float64],
    ) -> tuple[FloatArray, NDArray[np.float64]]:
        """Samples of a block with gains that follow the curve.

        Args:
            read: Function from a range of samples to the sound without these gains.
            limits_nats: Smallest and largest gain.
            begin_s: Start of the block in seconds.
            end: End of the block in samples.
            known_nats: Gains that the previous block has set, from MARGIN_S before this block to its first frame.

        Returns:
            The block, and `known_nats` for the next one.
        """
        rate_hz, begin = self.rate_hz, begin_s * self.rate_hz
        from_s = max(0, begin_s - MARGIN_S)
        first = from_s * rate_hz
        sound = read(first, min(end + MARGIN_S * rate_hz, self.samples))
        mono = to_analysis_rate(mono_mix(sound), rate_hz)
        asked = self._asked[from_s * FRAME_RATE_HZ :][: -(-mono.size * FRAME_RATE_HZ // ANALYSIS_HZ)]
        gains = np.zeros(asked.size)
        for _ in range(FOLLOWING_PASSES):
            shaped = mono * self._factors(gains, 0, mono.size, ANALYSIS_HZ)
            step = gains_for(self._profiles.powers(shaped)[: asked.size], asked, max_gain_nats=limits_nats[1])
            gains = np.clip(gains + step, *limits_nats)
            gains[: known_nats.size] = known_nats
        block = sound[:, begin - first : end - first] * self._factors(gains, begin - first, end - first, rate_hz)
        next_begin = (begin_s + BLOCK_S - from_s) * FRAME_RATE_HZ
        return block, gains[next_begin - MARGIN_S * FRAME_RATE_HZ : next_begin + 1].copy()

    def _factors(self, gains_nats: NDArray[np.float64], begin: int, end: int, rate_hz: int) -> FloatArray:
        """Factors of samples [begin, end), interpolated between the gains of frames."""
        frames = (np.arange(begin, end) + 0.5) * (FRAME_RATE_HZ / rate_hz) - 0.5
        interpolated = np.interp(frames, np.arange(gains_nats.size), gains_nats)
        return np.where(interpolated <= MUTE_NATS, 0.0, np.exp(interpolated)).astype(np.float32)

    def close(self) -> None:
        """Close the files that are still open."""
        self._reader.close()
        self._profiles.close()


def perform(
    index: LibraryIndex,
    choice: Choice,
    energy: EnergyCurve,
    *,
    duration_s: Fraction,
    rate_hz: int,
    channels: int,
    seed: int,
    options: PerformanceOptions | None = None,
    cancel: CancelSignal | None = None,
) -> Performance:
    """Perform recordings along an energy curve. For arguments and errors, see `PlannedPerformance`.

    Raises:
        Cancelled: The caller asked to stop.
    """
    planned = PlannedPerformance(
        index,
        choice,
        energy,
        duration_s=duration_s,
        rate_hz=rate_hz,
        channels=channels,
        seed=seed,
        options=options,
    )
    try:
        waveform = np.concatenate(list(planned.blocks(cancel)), axis=1)
        return Performance(waveform, rate_hz, planned.used)
    finally:
        planned.close()


def _faded_ends(begin: int, end: int, length: int, fade_s: float, rate_hz: int) -> FloatArray:
    """Gains of samples [begin, end) of a part. A grain fades at both ends, a whole event only at its end."""
    places = np.arange(begin, end)
    fade = max(1, min(length // 2, round((fade_s or END_FADE_S) * rate_hz)))
    share = np.clip((length - places) / fade, 0, 1)
    if fade_s:
        share = np.minimum(share, np.clip((places + 0.5) / fade, 0, 1))
    return np.sin(share * np.pi / 2).astype(np.float32)


def _asked_nats(energy: EnergyCurve, duration_s: Fraction) -> FloatArray:
    """The curve at FRAME_RATE_HZ for a duration, `[T]`."""
    fitted = energy.with_duration(duration_s)
    asked = fitted.resample(FRAME_RATE_HZ, -(-duration_s * FRAME_RATE_HZ // 1))
    return np.where(asked <= SILENCE_THRESHOLD_NATS, np.float32(SILENCE_NATS), asked)


def _material(index: LibraryIndex, choice: Choice) -> tuple[Manner, list[int]]:
    """Whether the chosen recordings mainly consist of events or stretches, and the indices of these."""
    chosen = set(choice.recordings)
    events = [number for number, event in enumerate(index.events) if event.recording in chosen]
    stretches = [number for number, stretch in enumerate(index.stretches) if stretch.recording in chosen]
    if not events and not stretches:
        raise MediaError("The chosen recordings have no sounds.", "Choose others, or make the library again.")
    steady_s = sum(
        (index.stretches[one].end_sample - index.stretches[one].start_sample)
        / index.recordings[index.stretches[one].recording].sample_rate_hz
        for one in stretches
    )
    struck_s = sum(
        (index.events[one].end_sample - index.events[one].onset_sample)
        / index.recordings[index.events[one].recording].sample_rate_hz
        for one in events
    )
    return ("sustained", stretches) if steady_s >= struck_s else ("struck", _variations(index, choice, events))


def _variations(index: LibraryIndex, choice: Choice, events: list[int]) -> list[int]:
    """The events that are variations of one sound: of each recording, the sound with the most events."""
    kept: list[int] = []
    for recording in choice.recordings:
        own = [number for number in events if index.events[number].recording == recording]
        if own:
            rounds = [index.events[number].round for number in own]
            commonest = max(dict.fromkeys(rounds), key=rounds.count)
            kept += [number for number in own if index.events[number].round == commonest]
    return kept
