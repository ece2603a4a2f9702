"""Decide which events of recordings sound when, and how loud, so that their energy follows a curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.energy import SILENCE_NATS, EnergyCurve
from rewas_engine.curves.events import EnergyEvent, find_events
from rewas_engine.recordings.index import LibraryIndex
from rewas_engine.recordings.levels import energy_of, gains_for
from rewas_engine.recordings.options import PerformanceOptions
from rewas_engine.recordings.profiles import FRAME_RATE_HZ, Profile, ProfileReader

FloatArray = NDArray[np.float64]
SHARP_RISE_FRAMES = 10
"""Frames within which the energy of a strike rises from a fifth to four fifths."""
SMEAR_S = 0.032
"""Half a window of the front end: the energy rises this long before an onset."""
SEARCH_S = (-0.012, 0.035)
"""Range in which the onset is sought around the first estimate, which is early for a strike out of silence."""
MAX_FIT_ERROR_NATS = 1.0
"""With a larger error, the rise of the curve is not that of the sound, and the first estimate is kept."""
QUIETEST_TOP_NATS = -5.0
"""If the loudest event of a curve is softer than this, soft events of the recordings are used."""
RECENT_STRIKES = 3
"""An event is not used again within this many strikes, if there are enough events."""
FILL_BELOW_NATS = 0.7
"""A roll is struck again when its energy is this far below the curve."""
FILL_GAP_S = (0.045, 0.11)
"""Shortest time between the strikes of a roll where it is loudest and where it is softest."""
FILL_RANGE_NATS = 4.0
PLATEAU_FRAMES, PLATEAU_FALL_NATS = 30, 0.25
"""A curve that falls by this much within this many frames is a decay, during which nothing is struck."""
FAINT_NATS, FAINT_PLATEAU_FRAMES = 2.0, 100
"""Where the curve is more than this below the last strike, only a longer plateau counts as more than its decay."""
LAST_FILL_S = 0.06
"""No roll is struck within this time before the end."""
ROLL_GAP_S = 0.15
"""Strikes that follow each other within this time belong to a roll, which continues until the curve falls."""
EXPLAINED_SHARE = 0.35
"""A rise of the curve is part of the last strike if that strike's own sound rises by this share of it there."""
EXPLAINED_REACH_FRAMES = 6
MAX_BOOST_NATS = 2.8
"""Largest gain of a tail relative to its strike: 24 dB."""
NOISE_BELOW_PEAK_DB = 40.0
"""A tail is not raised so far that the noise of its recording comes closer to the peak than this."""
GRAIN_ATTACK_S = 0.04
"""Sounds whose loudest moment is later than this have no attack. Rolls are made of their grains."""
GRAIN_S, GRAIN_FADE_S = 0.16, 0.06
GRAIN_PLACES = 16
"""Number of different grains of one event."""
SPEED_STEPS = 400
"""Playback speeds are multiples of 1 / SPEED_STEPS, so that few versions of an event are resampled."""
_DB_PER_NAT = 20 / np.log(10)


@dataclass(eq=False)
class Strike:
    """An event of a recording at a time of the performance.

    Attributes:
        event: Index of the event.
        asked_s: Onset that the curve asks for, in seconds.
        onset_s: Onset in the performance, in seconds.
        gain_nats: Gain at the onset.
        start_sample, onset_sample, end_sample: The part of the recording, in its samples.
        speed: Playback speed.
        is_fill: Whether it belongs to a roll rather than to an event of the curve.
        fade_s: Length of the fades at both ends of a grain; 0 for a whole event.
        tail_frames: First frame at which the gain of the tail changes.
        tail_nats: Changes of the gain from there on, one per frame. The last one stays in effect.
    """

    event: int
    asked_s: float
    onset_s: float
    gain_nats: float
    start_sample: int
    onset_sample: int
    end_sample: int
    speed: Fraction
    is_fill: bool = False
    fade_s: float = 0.0
    tail_frames: int = 0
    tail_nats: list[float] = field(default_factory=list)

    def gains_nats(self, times_s: FloatArray) -> FloatArray:
        """Gains at times in seconds from the start of the performance."""
        if not self.tail_nats:
            return np.full(times_s.shape, self.gain_nats)
        frames = np.arange(self.tail_frames - 1, self.tail_frames + len(self.tail_nats))
        return self.gain_nats + np.interp(times_s, (frames + 0.5) / FRAME_RATE_HZ, [0.0, *self.tail_nats])


@dataclass(frozen=True, eq=False)
class _Part:
    """A whole event or a grain of it, positions in samples of its recording."""

    event: int
    start_sample: int
    onset_sample: int
    end_sample: int
    fade_s: float
    profile: Profile


@dataclass(eq=False)
class _Sounding:
    """The last strike, whose tail is not decided yet: its powers from a frame on."""

    strike: Strike
    first: int
    powers: NDArray[np.float32]
    peak_frame: int
    max_boost_nats: float


class StrikePlanner:
    """Places events of recordings along a curve.

    Args:
        index: Index of the library.
        events: Indices of the events that may be used.
        profiles: Measures the events.
        energy_nats: The curve at FRAME_RATE_HZ, `[T]`.
        options: Options of the performance.
        rng: Source of all random decisions.
    """

    def __init__(
        self,
        index: LibraryIndex,
        events: Sequence[int],
        profiles: ProfileReader,
        energy_nats: NDArray[np.float32],
        options: PerformanceOptions,
        rng: np.random.Generator,
    ) -> None:
        self._index, self._profiles, self._options, self._rng = index, profiles, options, rng
        self._events = np.asarray(events, int)
        self._levels = np.array([index.events[event].level_nats for event in events])
        self._asked = np.maximum(energy_nats.astype(np.float64), SILENCE_NATS)
        self._powers: NDArray[np.float64] = np.zeros((self._asked.size, 64))
        self._recent: list[int] = []
        self._sounding: _Sounding | None = None
        self._last_peak_nats, self._jitter = SILENCE_NATS, 0.5
        self._strikes: list[Strike] = []
        self._top_nats = max(float(self._asked.max()), QUIETEST_TOP_NATS)

    def plan(self) -> list[Strike]:
        """Return all strikes in the order of their onsets. Raises MediaError if a recording cannot be read."""
        latest_s = self._asked.size / FRAME_RATE_HZ - SMEAR_S
        begin = 0
        for event in find_events(EnergyCurve(self._asked, Fraction(FRAME_RATE_HZ))):
            if not self._is_sharp(event) or event.time_s > latest_s or self._is_explained(event):
                continue
            first = max(0, int(event.time_s * FRAME_RATE_HZ))
            self._fill(begin, first - round((SMEAR_S + 0.01) * FRAME_RATE_HZ))
            self._strike_event(event)
            begin = first
        self._fill(begin, self._asked.size - round(LAST_FILL_S * FRAME_RATE_HZ))
        self._settle(self._asked.size)
        return self._strikes

    def _is_sharp(self, event: EnergyEvent) -> bool:
        """Whether the rise of an event is that of a strike rather than of a swell."""
        rise = self._asked[max(0, event.start_index - 1) : event.end_index]
        peak = int(rise.argmax())
        low = rise[: peak + 1].min()
        if peak == 0 or rise[peak] <= SILENCE_NATS + 0.1:
            return peak == 0
        shares = (rise[: peak + 1] - low) / max(rise[peak] - low, 1e-9)
        return int(np.flatnonzero(shares < 0.8)[-1]) - int(np.flatnonzero(shares < 0.2)[-1]) <= SHARP_RISE_FRAMES

    def _is_explained(self, event: EnergyEvent) -> bool:
        """Whether the last strike itself rises where the curve does, such as with the latch after a slam."""
        if self._sounding is None:
            return False
        peak = event.start_index + int(self._asked[event.start_index : event.end_index].argmax())
        valley = max(event.start_index - 1, self._sounding.peak_frame)
        begin = max(valley - EXPLAINED_REACH_FRAMES, self._sounding.peak_frame)
        end = min(peak + EXPLAINED_REACH_FRAMES, self._sounding.first + len(self._sounding.powers))
        if end - begin < 3:
            return False
        own = self._sounding.powers[begin - self._sounding.first : end - self._sounding.first]
        energies = energy_of(self._powers[begin:end] + own)
        rise = float((energies - np.minimum.accumulate(energies)).max())
        return rise >= EXPLAINED_SHARE * (self._asked[peak] - self._asked[valley])

    def _strike_event(self, event: EnergyEvent) -> None:
        part = self._whole(self._choose_event(event.peak_nats))
        self._settle(max(0, int((event.time_s + SEARCH_S[0] - SMEAR_S) * FRAME_RATE_HZ)))
        onset_s = self._refined_onset_s(event, part.profile) if event.time_s > 0 else 0.0
        self._place(part, onset_s, event.peak_nats)
        self._last_peak_nats = event.peak_nats

    def _refined_onset_s(self, event: EnergyEvent, profile: Profile) -> float:
        """Onset at which the sound's own energy rises as the curve does.

        The front end smears every attack over its window. Comparing the rises locates the onset more finely than the
        frames of the curve.
        """
        peak = event.start_index + int(self._asked[event.start_index : event.end_index].argmax())
        peak = min(peak, int((event.time_s + SMEAR_S) * FRAME_RATE_HZ))
        low = max(event.start_index - 1, peak - 6, 0)
        if peak - low < 2:
            return event.time_s
        frames = np.arange(low, peak + 1)
        times_s = (frames + 0.5) / FRAME_RATE_HZ
        onsets_s = event.time_s + np.arange(SEARCH_S[0], SEARCH_S[1] + 5e-4, 0.001)
        powers = profile.attack_at(times_s[None, :] - onsets_s[:, None]).astype(np.float64)
        wanted = self._asked[frames]
        background = self._powers[frames]
        gains = np.zeros(onsets_s.size)
        for _ in range(5):
            energies = energy_of(np.exp(2 * gains)[:, None, None] * powers + background)
            gains = np.clip(gains + (wanted[-1] - energies[:, -1]), -12.0, 12.0)
        energies = energy_of(np.exp(2 * gains)[:, None, None] * powers + background)
        errors = np.sqrt(np.square(energies - wanted).mean(axis=1))
        best = int(errors.argmin())
        if errors[best] > MAX_FIT_ERROR_NATS or not 0 < best < onsets_s.size - 1:
            return event.time_s
        before, here, after = errors[best - 1 : best + 2]
        bend = before - 2 * here + after
        return float(onsets_s[best] + (0.0005 * (before - after) / bend if bend > 1e-9 else 0.0))

    def _gain(self, profile: Profile, onset_s: float, peak_nats: float) -> float:
        """Gain with which a strike reaches a peak."""
        first = min(max(0, int(onset_s * FRAME_RATE_HZ)), self._asked.size - 1)
        frames = np.arange(first, min(first + 5, self._asked.size))
        powers = profile.at((frames + 0.5) / FRAME_RATE_HZ - onset_s)
        loudest = int(energy_of(powers).argmax())
        # At least a third of the peak is the strike's own, so that it is heard in the tail of the one before.
        background = np.minimum(self._powers[frames[loudest]], np.exp(2 * (peak_nats - 0.4)))
        wanted = np.array([peak_nats])
        return float(
            gains_for(powers[loudest : loudest + 1], wanted, background=background[None], max_gain_nats=12.0)[0]
        )

    def _fill(self, begin: int, end: int) -> None:
        """Strike rolls where the curve stays high between two frames and the sound does not."""
        frame = begin
        while frame < end:
            stop = min(end, frame + 50)
            short = self._asked[frame:stop] - self._energy_with_boost(frame, stop)
            places = np.flatnonzero((short > FILL_BELOW_NATS) & self._is_plateau(frame, stop))
            if self._strikes:
                gap_s = (places + frame + 0.5) / FRAME_RATE_HZ - self._strikes[-1].onset_s
                places = places[gap_s >= self._gap_s(places + frame)]
            if not places.size:
                frame = stop
                continue
            frame += int(places[0])
            self._strike_fill(frame)
            frame += 1

    def _gap_s(self, frames: NDArray[np.int64]) -> FloatArray:
        """Shortest time before a strike of a roll at frames: the density follows the curve."""
        softness = np.clip((self._top_nats - self._asked[frames]) / FILL_RANGE_NATS, 0, 1)
        shortest, longest = FILL_GAP_S
        return (shortest + (longest - shortest) * softness) * (1 + 0.3 * self._jitter)

    def _is_plateau(self, begin: int, end: int) -> NDArray[np.bool_]:
        """Whether the curve stays high around frames [begin, end) or, in a roll, has stayed high before them."""
        frames, now = np.arange(begin, end), self._asked[begin:end]
        stays = self._fall(frames - PLATEAU_FRAMES // 2, frames + PLATEAU_FRAMES // 2) < PLATEAU_FALL_NATS
        if len(self._strikes) > 1 and self._strikes[-1].onset_s - self._strikes[-2].onset_s < ROLL_GAP_S:
            stays |= self._fall(frames - PLATEAU_FRAMES, frames) < PLATEAU_FALL_NATS
        reach = FAINT_PLATEAU_FRAMES // 2
        stays_long = self._fall(frames - reach, frames + reach) < PLATEAU_FALL_NATS
        is_faint = now < self._last_peak_nats - FAINT_NATS
        return np.asarray(np.where(is_faint, stays_long, stays) & (now > SILENCE_NATS + 0.5))

    def _fall(self, before: NDArray[np.int64], after: NDArray[np.int64]) -> FloatArray:
        """How far the curve falls between pairs of frames. Those before the last strike count as at it."""
        first = 0 if self._sounding is None else self._sounding.peak_frame
        last = self._asked.size - 1
        return np.asarray(self._asked[np.clip(before, first, last)] - self._asked[np.minimum(after, last)])

    def _energy_with_boost(self, begin: int, end: int) -> FloatArray:
        """Energy of what has been placed, with the last tail raised as far as it may be."""
        powers = self._powers[begin:end].copy()
        if self._sounding is not None:
            boost = np.exp(2 * self._sounding.max_boost_nats)
            offset = begin - self._sounding.first
            own = self._sounding.powers[max(0, offset) : max(0, end - self._sounding.first)]
            powers[max(0, -offset) : max(0, -offset) + len(own)] += boost * own
        return energy_of(powers)

    def _strike_fill(self, frame: int) -> None:
        peak_nats = float(self._asked[frame : frame + 4].max())
        part = self._whole(self._choose_event(peak_nats))
        if part.profile.peak_s > GRAIN_ATTACK_S:
            part = self._grain(part)
        onset_s = max(0.0, (frame + 0.5) / FRAME_RATE_HZ - (0.01 if self._strikes else 0.0))
        onset_s += float(self._rng.uniform(0.0, 0.008))
        self._settle(max(0, int((onset_s - SMEAR_S) * FRAME_RATE_HZ)))
        self._place(part, onset_s, peak_nats, is_fill=True)

    def _place(self, part: _Part, onset_s: float, peak_nats: float, *, is_fill: bool = False) -> None:
        event = self._index.events[part.event]
        gain = self._gain(part.profile, onset_s, peak_nats)
        spread = self._options.pitch_variation_cents
        cents = float(self._rng.uniform(-spread, spread))
        moved_s = float(self._rng.uniform(-1, 1)) * self._options.timing_variation_s
        strike = Strike(
            event=part.event,
            asked_s=onset_s,
            onset_s=max(0.0, onset_s + moved_s),
            gain_nats=gain,
            start_sample=part.start_sample,
            onset_sample=part.onset_sample,
            end_sample=part.end_sample,
            speed=Fraction(round(2 ** (cents / 1200) * SPEED_STEPS), SPEED_STEPS),
            is_fill=is_fill,
            fade_s=part.fade_s,
        )
        self._strikes.append(strike)
        first = max(0, int((onset_s - SMEAR_S - 0.02) * FRAME_RATE_HZ))
        length = min(self._asked.size - first, len(part.profile.course) + 2)
        times_s = (np.arange(first, first + length) + 0.5) / FRAME_RATE_HZ - onset_s
        powers = part.profile.at(times_s) * np.float32(np.exp(2 * gain))
        peak_frame = first + int(energy_of(powers[:12]).argmax())
        headroom_db = event.peak_db - NOISE_BELOW_PEAK_DB - self._index.recordings[event.recording].noise_floor_db
        boost_nats = float(np.clip(headroom_db / _DB_PER_NAT, 0.0, MAX_BOOST_NATS))
        self._sounding = _Sounding(strike, first, powers, peak_frame, boost_nats)
        self._jitter = float(self._rng.random())

    def _settle(self, until: int) -> None:
        """Decide the tail of the last strike up to a frame; its gain stays from there on."""
        sounding = self._sounding
        if sounding is None:
            return
        strike, first, powers = sounding.strike, sounding.first, sounding.powers
        begin, end = sounding.peak_frame + 1, min(until, first + len(powers), self._asked.size)
        changes = np.zeros(len(powers))
        if self._options.tail == "curve" and end > begin:
            rows = slice(begin - first, end - first)
            changes[rows] = gains_for(
                powers[rows],
                self._asked[begin:end],
                background=self._powers[begin:end],
                max_gain_nats=sounding.max_boost_nats,
            )
            changes[end - first :] = changes[end - first - 1]
            strike.tail_frames, strike.tail_nats = begin, changes[rows].tolist()
        self._powers[first : first + len(powers)] += np.exp(2 * changes)[:, None] * powers
        self._sounding = None

    def _choose_event(self, peak_nats: float) -> int:
        """Choose an event of about the strength of a peak that has not sounded lately."""
        wanted = self._levels.max() - (self._top_nats - peak_nats)
        distances = np.abs(self._levels - wanted)
        kept = min(RECENT_STRIKES, self._events.size - 1)
        recent = self._recent[-kept:] if kept else []
        weights = np.exp(-(distances - distances.min()) / 0.35)
        weights[np.isin(self._events, recent)] = 0.0
        if not weights.sum() > 0:
            weights = (~np.isin(self._events, recent)).astype(float)
        number = int(self._rng.choice(self._events, p=weights / weights.sum()))
        self._recent.append(number)
        return number

    def _whole(self, number: int) -> _Part:
        event = self._index.events[number]
        return self._part(number, event.start_sample, event.onset_sample, event.end_sample, 0.0)

    def _grain(self, whole: _Part) -> _Part:
        """A short part of an event, without its attack."""
        rate_hz = self._index.recordings[self._index.events[whole.event].recording].sample_rate_hz
        length, fade = round(GRAIN_S * rate_hz), round(GRAIN_FADE_S * rate_hz)
        places = whole.end_sample - whole.onset_sample - length
        if places <= 0:
            return whole
        begin = whole.onset_sample + places * int(self._rng.integers(0, GRAIN_PLACES)) // (GRAIN_PLACES - 1)
        return self._part(whole.event, begin, begin + fade // 2, begin + length, GRAIN_FADE_S)

    def _part(self, number: int, start_sample: int, onset_sample: int, end_sample: int, fade_s: float) -> _Part:
        recording = self._index.events[number].recording
        profile = self._profiles.profile(recording, start_sample, onset_sample, end_sample)
        return _Part(number, start_sample, onset_sample, end_sample, fade_s, profile)
