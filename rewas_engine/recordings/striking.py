"""Decide which events of recordings sound when, and how loud, so that their energy follows a curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewas_engine.curves.curve import Nats
from rewas_engine.curves.energy import SILENCE_NATS
from rewas_engine.curves.events import EnergyEvent
from rewas_engine.recordings.index import LibraryIndex
from rewas_engine.recordings.levels import MUTE_NATS, energy_of, gains_for
from rewas_engine.recordings.options import PerformanceOptions
from rewas_engine.recordings.planned_powers import BedPowers, PlannedPowers
from rewas_engine.recordings.profiles import FRAME_RATE_HZ, Profile, ProfileReader
from rewas_engine.recordings.strike_times import CurveStrikes

FloatArray = NDArray[np.float64]
SMEAR_S = 0.032
"""Half a window of the front end: the energy rises this long before an onset."""
SEARCH_S = (-0.02, 0.02)
"""Range in which the onset is sought around the first estimate."""
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
PLATEAU_DIP_NATS = 0.6
"""A curve that falls by this much and rises again is not a plateau either."""
FAINT_NATS, FAINT_PLATEAU_FRAMES = 2.0, 100
"""Where the curve is more than this below the last strike, only a longer plateau counts as more than its decay."""
LAST_FILL_S = 0.06
"""No roll is struck within this time before the end."""
ROLL_GAP_S = 0.15
"""Strikes that follow each other within this time belong to a roll, which continues until the curve falls."""
ATTACK_NATS = 0.1
"""A curve that rises by more than this within a frame, up to an event, is the attack of the event."""
EXPLAINED_SHARE = 0.35
"""A rise of the curve is part of the last strike if that strike's own sound rises by this share of it there."""
EXPLAINED_REACH_FRAMES = 6
MAX_BOOST_NATS = 2.8
"""Largest gain of a tail relative to its strike: 24 dB."""
LOWEST_TAIL_NATS, TAIL_SLEW_NATS = -3.0, 0.2
"""Smallest gain of a tail relative to its strike while the curve is above silence, and by how much its gain can rise
within a frame. Faster changes would sound like more strikes."""
NOISE_BELOW_PEAK_DB = 40.0
"""A tail is not raised so far that the noise of its recording comes closer to the peak than this."""
LONGEST_ATTACK_S = 0.04
"""Sounds whose loudest moment is later than this have no attack. No rolls are struck with them."""
ATTACKS_CHECKED = 8
ROLL_ABOVE_BACKGROUND_NATS = 1.0
"""A roll is this far above the level from which the strikes around it rise."""
SPEED_STEPS = 400
"""Playback speeds are multiples of 1 / SPEED_STEPS, so that few versions of an event are resampled."""
LATER_PEAK_NATS = 0.7
"""How far the loudest moment of a strike may be above the peak that the curve asks for at its onset."""
BALANCED_NATS = 0.7
"""Recordings whose peaks are further above their energy than usual, by more than this, are played softer."""
LONGEST_VARIED_S = 8.0
"""Longer events are played at their own speed, so that parts of them can be read exactly."""
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
    tail_frames: int = 0
    tail_nats: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    def gains_nats(self, times_s: FloatArray) -> FloatArray:
        """Gains at times in seconds from the start of the performance."""
        if not self.tail_nats.size:
            return np.full(times_s.shape, self.gain_nats)
        frames = np.arange(self.tail_frames - 1, self.tail_frames + self.tail_nats.size)
        return self.gain_nats + np.interp(times_s, (frames + 0.5) / FRAME_RATE_HZ, [0.0, *self.tail_nats.tolist()])


@dataclass(eq=False)
class _Sounding:
    """The last strike, whose tail is not decided yet: its powers and the gains of its room from a frame on."""

    strike: Strike
    first: int
    powers: NDArray[np.float32]
    room_nats: FloatArray
    peak_frame: int
    max_boost_nats: float


class StrikePlanner:
    """Places events of recordings along a curve.

    Args:
        index: Index of the library.
        events: Indices of the events that may be used.
        profiles: Measures the events.
        energy_nats: The curve at FRAME_RATE_HZ, `[T]`.
        strikes: The strikes of the curve.
        options: Options of the performance.
        rng: Source of all random decisions.
        can_fill: Whether more strikes may be added between the strikes where the curve requires them.
        bed: The steady sound below the strikes, if there is one. Nothing else sounds between them then.
    """

    def __init__(
        self,
        index: LibraryIndex,
        events: Sequence[int],
        profiles: ProfileReader,
        energy_nats: Nats,
        strikes: CurveStrikes,
        options: PerformanceOptions,
        rng: np.random.Generator,
        *,
        can_fill: bool = True,
        bed: BedPowers | None = None,
    ) -> None:
        self._index, self._profiles, self._options, self._rng = index, profiles, options, rng
        self._events = np.asarray(events, int)
        self._levels = np.array([index.events[event].level_nats for event in events])
        self._softer_nats = _softer_nats(index, events)
        self._asked, self._curve_strikes = energy_nats, strikes
        self._powers = PlannedPowers(energy_nats.size, profiles.bins, bed)
        self._can_roll = bed is None and can_fill and self._has_attack()
        self._recent: list[int] = []
        self._sounding: _Sounding | None = None
        self._last_peak_nats, self._jitter = SILENCE_NATS, 0.5
        self._strikes: list[Strike] = []
        self._top_nats = max(float(energy_nats.max()), QUIETEST_TOP_NATS)

    def plan(self) -> list[Strike]:
        """Return all strikes in the order of their onsets. Raises MediaError if a recording cannot be read."""
        latest_s = self._asked.size / FRAME_RATE_HZ - SMEAR_S
        begin = 0
        for event in self._curve_strikes.events:
            if event.time_s > latest_s or self._is_explained(event):
                continue
            first = max(0, int(event.time_s * FRAME_RATE_HZ))
            self._fill(begin, self._attack_begin(first - round((SMEAR_S + 0.01) * FRAME_RATE_HZ)))
            self._strike_event(event)
            begin = first
        self._fill(begin, self._asked.size - round(LAST_FILL_S * FRAME_RATE_HZ))
        self._settle(self._asked.size)
        self._powers.forget(self._asked.size)
        return self._strikes

    @property
    def planned_nats(self) -> Nats:
        """Energy of the strikes after planning, `[T]`."""
        return self._powers.energies_nats

    def _has_attack(self) -> bool:
        checked = self._events[:: max(1, self._events.size // ATTACKS_CHECKED)]
        peaks_s = [self._profile(int(event)).peak_s for event in checked]
        return float(np.median(peaks_s)) <= LONGEST_ATTACK_S

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
        energies = energy_of(self._powers.rows(begin, end) + own)
        rise = float((energies - np.minimum.accumulate(energies)).max())
        return rise >= EXPLAINED_SHARE * (self._asked[peak] - self._asked[valley])

    def _strike_event(self, event: EnergyEvent) -> None:
        number = self._choose_event(event.peak_nats)
        self._settle(max(0, int((event.time_s + SEARCH_S[0] - SMEAR_S) * FRAME_RATE_HZ)))
        onset_s = self._refined_onset_s(event, self._profile(number)) if event.time_s > 0 else 0.0
        self._place(number, onset_s, event.peak_nats)
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
        coarse_s = event.time_s + np.arange(SEARCH_S[0], SEARCH_S[1] + 5e-4, 0.001)
        errors = self._rise_errors(profile, low, peak + 1, coarse_s)
        best = int(errors.argmin())
        if errors[best] > MAX_FIT_ERROR_NATS or not 0 < best < coarse_s.size - 1:
            return event.time_s
        fine_s = coarse_s[best] + np.arange(-9, 10) * 1e-4
        return float(fine_s[self._rise_errors(profile, low, peak + 1, fine_s).argmin()])

    def _rise_errors(self, profile: Profile, begin: int, end: int, onsets_s: FloatArray) -> FloatArray:
        """RMS difference in nats between the curve and a sound in frames [begin, end), for each onset `[N]`."""
        times_s = (np.arange(begin, end) + 0.5) / FRAME_RATE_HZ
        powers = profile.attack_at(times_s[None, :] - onsets_s[:, None]).astype(np.float64)
        wanted, background = self._asked[begin:end], self._powers.rows(begin, end)
        gains = np.zeros(onsets_s.size)
        for _ in range(5):
            energies = energy_of(np.exp(2 * gains)[:, None, None] * powers + background)
            gains = np.clip(gains + (wanted[-1] - energies[:, -1]), -12.0, 12.0)
        energies = energy_of(np.exp(2 * gains)[:, None, None] * powers + background)
        return np.asarray(np.sqrt(np.square(energies - wanted).mean(axis=1)), np.float64)

    def _gain(self, profile: Profile, onset_s: float, peak_nats: float) -> float:
        """Gain with which a strike reaches a peak."""
        first = min(max(0, int(onset_s * FRAME_RATE_HZ)), self._asked.size - 1)
        frames = np.arange(first, min(first + 5, self._asked.size))
        powers = profile.at((frames + 0.5) / FRAME_RATE_HZ - onset_s)
        loudest = int(energy_of(powers).argmax())
        # At least a third of the peak is the strike's own, so that it is heard in the tail of the one before.
        background = self._powers.rows(int(frames[loudest]), int(frames[loudest]) + 1)[0]
        background = np.minimum(background, np.exp(2 * (peak_nats - 0.4)))
        gain = gains_for(
            powers[loudest : loudest + 1], np.array([peak_nats]), background=background[None], max_gain_nats=12.0
        )
        # A sound that gets louder later, such as a creak before a slam, is not raised so far that it begins loud.
        later = profile.course[int(energy_of(profile.course).argmax())][None]
        limit = gains_for(later, np.array([peak_nats + LATER_PEAK_NATS]), max_gain_nats=12.0)
        return float(min(gain[0], limit[0]))

    def _attack_begin(self, frame: int) -> int:
        """The frame at which the rise before an event begins. frame: a frame in it. The rise belongs to the event.

        The energy from a video rises slowly before a strike, which must not sound like a second strike.
        """
        while frame > 0 and self._asked[frame] - self._asked[frame - 1] > ATTACK_NATS:
            frame -= 1
        return frame

    def _fill(self, begin: int, end: int) -> None:
        """Strike rolls where the curve stays high between two frames and the sound does not."""
        frame = begin if self._can_roll else end
        backgrounds = self._curve_strikes.backgrounds_nats
        while frame < end:
            stop = min(end, frame + 50)
            asked = self._asked[frame:stop]
            short = asked - self._energy_with_boost(frame, stop)
            is_high = asked > backgrounds[frame:stop] + ROLL_ABOVE_BACKGROUND_NATS
            places = np.flatnonzero((short > FILL_BELOW_NATS) & is_high & self._is_plateau(frame, stop))
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
        half, reach = PLATEAU_FRAMES // 2, FAINT_PLATEAU_FRAMES // 2
        stays = self._stays(begin, end, half, half)
        if len(self._strikes) > 1 and self._strikes[-1].onset_s - self._strikes[-2].onset_s < ROLL_GAP_S:
            stays |= self._stays(begin, end, PLATEAU_FRAMES, 0)
        now = self._asked[begin:end]
        is_faint = now < self._last_peak_nats - FAINT_NATS
        return np.asarray(np.where(is_faint, self._stays(begin, end, reach, reach), stays) & (now > SILENCE_NATS + 0.5))

    def _stays(self, begin: int, end: int, before: int, after: int) -> NDArray[np.bool_]:
        """Whether the curve does not fall from some frames before the frames [begin, end) to some after them.

        Frames before the peak of the last strike count as that peak.
        """
        first = 0 if self._sounding is None else self._sounding.peak_frame
        last = self._asked.size - 1
        frames = np.arange(begin, end)
        high = self._asked[np.clip(frames - before, first, last)]
        around = np.arange(-before, after + 1)[None, :] + frames[:, None]
        lowest = self._asked[np.clip(around, first, last)].min(axis=1)
        falls = high - self._asked[np.clip(frames + after, first, last)]
        return np.asarray((falls < PLATEAU_FALL_NATS) & (high - lowest < PLATEAU_DIP_NATS))

    def _energy_with_boost(self, begin: int, end: int) -> FloatArray:
        """Energy of what has been placed, with the last tail raised as far as it may be."""
        powers = self._powers.rows(begin, end)
        if self._sounding is not None:
            boost = np.exp(2 * self._sounding.max_boost_nats)
            offset = begin - self._sounding.first
            own = self._sounding.powers[max(0, offset) : max(0, end - self._sounding.first)]
            powers[max(0, -offset) : max(0, -offset) + len(own)] += boost * own
        return energy_of(powers)

    def _strike_fill(self, frame: int) -> None:
        peak_nats = float(self._asked[frame : frame + 4].max())
        number = self._choose_event(peak_nats)
        onset_s = max(0.0, (frame + 0.5) / FRAME_RATE_HZ - (0.01 if self._strikes else 0.0))
        onset_s += float(self._rng.uniform(0.0, 0.008))
        self._settle(max(0, int((onset_s - SMEAR_S) * FRAME_RATE_HZ)))
        self._place(number, onset_s, peak_nats, is_fill=True)

    def _place(self, number: int, onset_s: float, peak_nats: float, *, is_fill: bool = False) -> None:
        event, profile = self._index.events[number], self._profile(number)
        gain = self._gain(profile, onset_s, peak_nats) - self._softer_nats[event.recording]
        spread = self._options.pitch_variation_cents
        cents = float(self._rng.uniform(-spread, spread))
        if (
            event.end_sample - event.start_sample
            > LONGEST_VARIED_S * self._index.recordings[event.recording].sample_rate_hz
        ):
            cents = 0.0
        moved_s = float(self._rng.uniform(-1, 1)) * self._options.timing_variation_s
        strike = Strike(
            event=number,
            asked_s=onset_s,
            onset_s=max(0.0, onset_s + moved_s),
            gain_nats=gain,
            start_sample=event.start_sample,
            onset_sample=event.onset_sample,
            end_sample=event.end_sample,
            speed=Fraction(round(2 ** (cents / 1200) * SPEED_STEPS), SPEED_STEPS),
            is_fill=is_fill,
        )
        self._strikes.append(strike)
        first = max(0, int((onset_s - SMEAR_S - 0.02) * FRAME_RATE_HZ))
        self._powers.forget(first - round(ROLL_GAP_S * FRAME_RATE_HZ))
        length = min(self._asked.size - first, len(profile.course) + 2)
        times_s = (np.arange(first, first + length) + 0.5) / FRAME_RATE_HZ - onset_s
        room_nats = profile.room_gains_nats(times_s) if self._options.room == "out" else np.zeros(length)
        powers = profile.at(times_s) * np.exp(2 * (gain + room_nats))[:, None].astype(np.float32)
        peak_frame = first + int(energy_of(powers[:12]).argmax())
        headroom_db = event.peak_db - NOISE_BELOW_PEAK_DB - self._index.recordings[event.recording].noise_floor_db
        boost_nats = float(np.clip(headroom_db / _DB_PER_NAT, 0.0, MAX_BOOST_NATS))
        if not self._follows_tails or self._options.room == "out":
            boost_nats = 0.0
        self._sounding = _Sounding(strike, first, powers, room_nats, peak_frame, boost_nats)
        self._jitter = float(self._rng.random())

    @property
    def _follows_tails(self) -> bool:
        return self._options.tail == "curve"

    def _settle(self, until: int) -> None:
        """Decide the tail of the last strike up to a frame; its gain stays from there on."""
        sounding = self._sounding
        if sounding is None:
            return
        strike, first, powers = sounding.strike, sounding.first, sounding.powers
        begin, end = sounding.peak_frame + 1, min(until, first + len(powers), self._asked.size)
        changes = np.zeros(len(powers))
        if self._follows_tails and end > begin:
            rows = slice(begin - first, end - first)
            asked = self._asked[begin:end]
            found = gains_for(
                powers[rows],
                asked,
                background=self._powers.rows(begin, end),
                max_gain_nats=sounding.max_boost_nats,
            )
            is_audible = asked > SILENCE_NATS + 1e-3
            found[is_audible] = np.maximum(found[is_audible], LOWEST_TAIL_NATS)
            changes[rows] = _slewed(found)
            # The next strike sounds from here on, so this tail is no longer raised.
            later = np.arange(1, changes.size - (end - first) + 1) * TAIL_SLEW_NATS
            last = changes[end - first - 1]
            changes[end - first :] = np.maximum(last - later, min(last, 0.0))
        # The last change stays in effect, so that equal ones at the end need not be kept.
        kept = np.maximum(changes + sounding.room_nats, MUTE_NATS)[begin - first :].astype(np.float32)
        different = np.flatnonzero(kept != kept[-1]) if kept.size else np.empty(0, int)
        strike.tail_frames = begin
        strike.tail_nats = kept[: int(different[-1]) + 2] if different.size else kept[: int(kept.any())]
        self._powers.add(first, np.exp(2 * changes)[:, None] * powers)
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

    def _profile(self, number: int) -> Profile:
        event = self._index.events[number]
        return self._profiles.profile(event.recording, event.start_sample, event.onset_sample, event.end_sample)


def _softer_nats(index: LibraryIndex, events: Sequence[int]) -> dict[int, float]:
    """How much softer the energy of each recording has to be than the curve to sound as loud as the others.

    Energy is a mean of logarithms, which is low for sounds with few frequencies, such as a thump, although they are
    loud. Their peaks are then far above their energy.
    """
    heights: dict[int, list[float]] = {}
    for number in events:
        event = index.events[number]
        heights.setdefault(event.recording, []).append(event.peak_db / _DB_PER_NAT - event.level_nats)
    medians = {recording: float(np.median(own)) for recording, own in heights.items()}
    usual = float(np.median(list(medians.values())))
    return {recording: max(0.0, height - usual - BALANCED_NATS) for recording, height in medians.items()}


def _slewed(gains_nats: Nats) -> Nats:
    """Gains `[T]` of a tail, lowered so that they begin at 0 at most and do not rise by more than TAIL_SLEW_NATS."""
    slope = np.arange(1, gains_nats.size + 1) * TAIL_SLEW_NATS
    return np.asarray(np.minimum.accumulate(np.minimum(gains_nats - slope, 0.0)) + slope)
