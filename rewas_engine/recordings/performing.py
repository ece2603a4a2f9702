"""Perform recordings along an energy curve."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.checks import check_integer, check_seed
from rewas_engine.curves.curve import Nats, find_runs
from rewas_engine.curves.energy import SILENCE_NATS, SILENCE_THRESHOLD_NATS, EnergyCurve
from rewas_engine.errors import Cancelled, SettingsError
from rewas_engine.exact_time import sample_count
from rewas_engine.recordings.choosing import Choice
from rewas_engine.recordings.following import factors, following_gains
from rewas_engine.recordings.grains import GrainLayer
from rewas_engine.recordings.index import LibraryIndex, Recording
from rewas_engine.recordings.levels import MUTE_NATS
from rewas_engine.recordings.material import Manner, Material, find_material
from rewas_engine.recordings.options import PerformanceOptions
from rewas_engine.recordings.planned_powers import BedPowers
from rewas_engine.recordings.profiles import ANALYSIS_HZ, FRAME_RATE_HZ, ProfileReader, to_analysis_rate
from rewas_engine.recordings.reading import RecordingReader, mono_mix
from rewas_engine.recordings.strike_sound import StrikeSound
from rewas_engine.recordings.strike_times import CurveStrikes, find_onsets, find_strikes, steady_level
from rewas_engine.recordings.striking import Strike, StrikePlanner
from rewas_engine.recordings.sustaining import StretchLayer
from rewas_engine.runtime.progress import CancelSignal

FloatArray = NDArray[np.float32]
BLOCK_S = 8
MARGIN_S = 1
"""Seconds before and after a block that are measured with it, so that blocks join."""
BED_PASSES, FOLLOWING_PASSES = 2, 3
BED_GAINS_NATS, STRIKE_GAINS_NATS, ATTACK_GAINS_NATS = (MUTE_NATS, 4.0), (-4.0, 1.0), (-1.0, 1.0)
"""Smallest and largest gain with which the curve is followed by a bed, by all strikes together, and by strikes around
their onsets. Each strike also has its own gain."""
SMEAR_FRAMES, ATTACK_FRAMES = (4, 2), (2, 2)
"""Frames before and after an onset. In the first range, the strike raises the energy in the front end, and a bed does
not rise. In the second range, the attack is heard."""
NEEDED_NATS, NEEDED_FRAMES = 0.3, 3
"""Grains sound where the energy of the strikes is this far below the curve for at least this many frames."""
MAX_MEASURED_STRETCHES = 8
MAX_CHANNELS = 64
MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 384_000
_STRIKES_STREAM, _STRETCHES_STREAM, _GRAINS_STREAM = range(3)


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
        onsets_only: Only strike at the onsets of the curve. Strikes decay as recorded, and nothing sounds between them.
            If the recordings have no events, the stretches still follow the curve.

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
        onsets_only: bool = False,
    ) -> None:
        check_seed(seed)
        check_integer("channels", channels, 1, MAX_CHANNELS)
        check_integer("rate_hz", rate_hz, MIN_RATE_HZ, MAX_RATE_HZ)
        options = options or PerformanceOptions()
        self.options = replace(options, tail="natural") if onsets_only else options
        self.index, self.rate_hz, self._onsets_only = index, rate_hz, onsets_only
        self.samples = sample_count(duration_s, rate_hz)
        if self.samples < 1:
            raise SettingsError(f"The performance lasts {float(duration_s):g} s.", "Give a duration above 0 s.")
        self._asked = _asked_nats(energy, duration_s)
        self._reader = RecordingReader(index, rate_hz=rate_hz, channels=channels)
        self._profiles = ProfileReader(index)
        self._attacks = np.zeros(self._asked.size, np.bool_)
        self._bed_nats = self._asked
        self.strikes: list[Strike] = []
        self.layer: StretchLayer | None = None
        self.grains: GrainLayer | None = None
        material = find_material(index, choice)
        self.manner = material.manner
        if float(self._asked.max()) > SILENCE_THRESHOLD_NATS:
            try:
                self._plan(material, seed)
            except BaseException:
                self.close()
                raise
        self._struck = StrikeSound(index, self.strikes, self._reader)

    @property
    def channels(self) -> int:
        """Channels of the sound."""
        return self._reader.channels

    def _plan(self, material: Material, seed: int) -> None:
        follows_energy = not self._onsets_only or not material.events
        # The shape of the curve does not count where only its onsets are followed, nor how fast it rises.
        find = find_strikes if follows_energy else find_onsets
        curve_strikes = find(self._asked) if material.events else None
        bed: BedPowers | None = None
        if material.stretches and follows_energy:
            beneath = self._asked if curve_strikes is None else curve_strikes.removed_from(self._asked)
            rng = np.random.default_rng([seed, _STRETCHES_STREAM])
            self.layer = StretchLayer(
                self.index, material.stretches, self._reader, beneath.astype(np.float32), self.samples, rng
            )
            bed = BedPowers(beneath, self._mean_powers(material.stretches))
        if curve_strikes is None:
            return
        rng = np.random.default_rng([seed, _STRIKES_STREAM])
        planner = StrikePlanner(
            self.index,
            material.events,
            self._profiles,
            self._asked,
            curve_strikes,
            self.options,
            rng,
            can_fill=follows_energy,
            bed=bed,
        )
        self.strikes = planner.plan()
        self._bed_nats = self._find_bed_nats(curve_strikes)
        if self.layer is None and follows_energy:
            is_short = (self._bed_nats - planner.planned_nats > NEEDED_NATS) & (self._bed_nats > SILENCE_THRESHOLD_NATS)
            rng = np.random.default_rng([seed, _GRAINS_STREAM])
            self.grains = GrainLayer(
                self.index,
                material.events,
                self._reader,
                self._asked,
                _without_short_runs(is_short),
                rng,
            )

    def _find_bed_nats(self, curve_strikes: CurveStrikes) -> Nats:
        """Energy that strikes and bed should have together, `[T]`, and mark the attacks of the strikes."""
        wanted = self._asked
        if not self._follows_tails:
            wanted = steady_level(wanted) if self.layer is None else curve_strikes.removed_from(wanted)
        found = wanted.copy()
        for strike in self.strikes:
            frame = int(strike.onset_s * FRAME_RATE_HZ)
            self._attacks[max(0, frame - ATTACK_FRAMES[0]) : frame + ATTACK_FRAMES[1] + 1] = True
            first = max(0, frame - SMEAR_FRAMES[0])
            smeared = slice(first, frame + SMEAR_FRAMES[1] + 1)
            found[smeared] = np.minimum(found[smeared], wanted[max(0, first - 1)])
        return found

    @property
    def _follows_tails(self) -> bool:
        return self.options.tail == "curve" and self.options.room == "in"

    def _mean_powers(self, stretches: Sequence[int]) -> FloatArray:
        rows = [self.index.stretches[one] for one in stretches[:MAX_MEASURED_STRETCHES]]
        powers = [self._profiles.mean_powers(row.recording, row.start_sample, row.end_sample) for row in rows]
        return np.asarray(np.mean(powers, axis=0), np.float32)

    @property
    def used(self) -> tuple[Recording, ...]:
        """The recordings in the sound: those of strikes first, then those of stretches and grains."""
        numbers = [self.index.events[strike.event].recording for strike in self.strikes]
        if self.layer is not None:
            numbers += [self.index.stretches[part.stretch].recording for part in self.layer.parts]
        if self.grains is not None:
            numbers += [self.index.events[event].recording for event in self.grains.events]
        return tuple(self.index.recordings[number] for number in dict.fromkeys(numbers))

    def blocks(self, cancel: CancelSignal | None = None) -> Iterator[FloatArray]:
        """Yield the sound in blocks `[channels, samples]`. Raises MediaError and Cancelled."""
        known = _KnownGains()
        for begin_s in range(0, -(-self.samples // self.rate_hz), BLOCK_S):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            yield self._block(begin_s, min((begin_s + BLOCK_S) * self.rate_hz, self.samples), known)

    def _block(self, begin_s: int, end: int, known: _KnownGains) -> FloatArray:
        """Samples from the second begin_s to the sample end."""
        rate_hz, begin = self.rate_hz, begin_s * self.rate_hz
        from_s = max(0, begin_s - MARGIN_S)
        first, last = from_s * rate_hz, min(end + MARGIN_S * rate_hz, self.samples)
        bed = self.layer or self.grains
        is_struck, has_bed = self._struck.sounds_in(first, last), bed is not None and bed.sounds_in(first, last)
        frames = slice(from_s * FRAME_RATE_HZ, from_s * FRAME_RATE_HZ + -(-(last - first) * FRAME_RATE_HZ // rate_hz))
        next_begin = (begin_s + BLOCK_S - from_s) * FRAME_RATE_HZ
        kept = slice(next_begin - MARGIN_S * FRAME_RATE_HZ, next_begin + 1)
        inside = slice(begin - first, end - first)
        sound = self._struck.read(first, last)
        mono = to_analysis_rate(mono_mix(sound), rate_hz) if is_struck and (has_bed or self._follows_tails) else None
        if bed is not None and has_bed:
            laid = bed.read(first, last)
            laid_mono = to_analysis_rate(mono_mix(laid), rate_hz)
            gains = following_gains(
                laid_mono,
                self._bed_nats[frames],
                self._profiles.powers,
                lowest_nats=BED_GAINS_NATS[0],
                highest_nats=BED_GAINS_NATS[1],
                passes=FOLLOWING_PASSES if mono is None else BED_PASSES,
                background=0.0 if mono is None else self._profiles.powers(mono, self._bed_nats[frames].size),
                known_nats=known.bed,
            )
            known.bed = gains[kept].copy()
            sound = sound + laid * factors(gains, 0, last - first, rate_hz)
            if mono is not None:
                mono = mono + laid_mono * factors(gains, 0, mono.size, ANALYSIS_HZ)
        else:
            known.bed = np.zeros(0)
        if mono is None or not self._follows_tails:
            known.strikes = np.zeros(0)
            return sound[:, inside]
        limits = (
            np.where(self._attacks[frames], *pair) for pair in zip(ATTACK_GAINS_NATS, STRIKE_GAINS_NATS, strict=True)
        )
        lowest, highest = limits
        gains = following_gains(
            mono,
            self._asked[frames],
            self._profiles.powers,
            lowest_nats=lowest,
            highest_nats=highest,
            passes=FOLLOWING_PASSES,
            known_nats=known.strikes,
        )
        known.strikes = gains[kept].copy()
        return sound[:, inside] * factors(gains, begin - first, end - first, rate_hz)

    def render(
        self, cancel: CancelSignal | None = None, on_block: Callable[[int, int], object] | None = None
    ) -> FloatArray:
        """Return the whole sound `[channels, samples]`. Raises MediaError and Cancelled.

        Args:
            cancel: Ends the work.
            on_block: Called with finished and total blocks. An exception that it raises ends the work.
        """
        waveform = np.empty((self.channels, self.samples), np.float32)
        count, place = -(-self.samples // (BLOCK_S * self.rate_hz)), 0
        for number, block in enumerate(self.blocks(cancel), start=1):
            waveform[:, place : place + block.shape[1]] = block
            place += block.shape[1]
            if on_block is not None:
                on_block(number, count)
        return waveform

    def close(self) -> None:
        """Close the files that are still open."""
        self._reader.close()
        self._profiles.close()


@dataclass
class _KnownGains:
    """Gains that a block has set for the next one, from MARGIN_S before it to its first frame."""

    bed: Nats = field(default_factory=lambda: np.zeros(0))
    strikes: Nats = field(default_factory=lambda: np.zeros(0))


def find_manner(index: LibraryIndex, choice: Choice) -> Manner:
    """Return whether a performance of the chosen recordings consists of events, of stretches, or of both."""
    return find_material(index, choice).manner


def _without_short_runs(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Flags `[T]` without the runs shorter than NEEDED_FRAMES."""
    kept = np.zeros_like(flags)
    for begin, end in find_runs(flags):
        kept[begin:end] = end - begin >= NEEDED_FRAMES
    return kept


def _asked_nats(energy: EnergyCurve, duration_s: Fraction) -> Nats:
    """The curve at FRAME_RATE_HZ for a duration, `[T]`."""
    fitted = energy.with_duration(duration_s)
    asked = fitted.resample(FRAME_RATE_HZ, -(-duration_s * FRAME_RATE_HZ // 1))
    return np.where(asked <= SILENCE_THRESHOLD_NATS, SILENCE_NATS, np.maximum(asked, SILENCE_NATS).astype(np.float64))
