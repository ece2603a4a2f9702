"""How the sound of an event develops: its mel powers around and after the onset."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import soxr
from cachetools import LRUCache
from numpy.typing import NDArray

from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.recordings.index import LibraryIndex
from rewas_engine.recordings.levels import MUTE_NATS, energy_of
from rewas_engine.recordings.reading import RecordingReader

FloatArray = NDArray[np.float32]
FRAME_RATE_HZ = 100
"""Frames per second of the front end, and of all energies here."""
ANALYSIS_HZ = 16_000
LEAD_S = 0.05
"""A profile begins this long before the onset."""
ATTACK_END_S = 0.06
"""The attack is analysed in steps of a millisecond up to this time after the onset."""
MAX_PROFILE_S = 4.0
"""Longest time after the onset. Later parts of a decay are not measured."""
ROOM_BELOW_PEAK_NATS, ROOM_EXPANSION = 1.4, 3.0
"""A tail that is 12 dB below the peak counts as the room. To reduce it, each dB below that becomes three."""
_CACHED_PROFILES = 512
_HOP, _FINE_HOP = ANALYSIS_HZ // FRAME_RATE_HZ, ANALYSIS_HZ // 1000
_LEAD = round(LEAD_S * ANALYSIS_HZ)


@dataclass(frozen=True, eq=False)
class Profile:
    """Mel powers of a sound.

    Attributes:
        attack: `[N, bins]`; row i is centred i + 0.5 ms after the beginning of the profile.
        course: `[T, bins]`; row i is centred i + 0.5 frames after the beginning of the profile.
        peak_s: Seconds from the onset to the centre of the loudest frame of the attack.
    """

    attack: FloatArray
    course: FloatArray
    peak_s: float

    def attack_at(self, offsets_s: NDArray[np.float64]) -> FloatArray:
        """Powers `[..., bins]` of frames centred at times relative to the onset, within the attack."""
        places = np.clip((offsets_s + LEAD_S) * 1000 - 0.5, -1.0, len(self.attack) - 1)
        low = np.floor(places).astype(int)
        share = (places - low)[..., None].astype(np.float32)
        # Before its first row, the profile rises from 0.
        before = self.attack[np.maximum(low, 0)] * (low >= 0)[..., None]
        after = self.attack[np.clip(low + 1, 0, len(self.attack) - 1)]
        return np.asarray(before * (1 - share) + after * share * (places > -1)[..., None], np.float32)

    def at(self, offsets_s: NDArray[np.float64]) -> FloatArray:
        """Powers `[T, bins]` of frames centred at ascending times relative to the onset; 0 before the profile begins.

        The course is interpolated between its frames.
        """
        powers = np.zeros((offsets_s.size, self.course.shape[1]), np.float32)
        begun = offsets_s > -LEAD_S
        early = begun & (offsets_s < ATTACK_END_S - 0.001)
        powers[early] = self.attack_at(offsets_s[early])
        places = (offsets_s + LEAD_S) * FRAME_RATE_HZ - 0.5
        later = begun & ~early & (places < len(self.course))
        low = np.minimum(places[later].astype(int), len(self.course) - 1)
        share = (places[later] - low)[:, None].astype(np.float32)
        powers[later] = self.course[low] * (1 - share) + self.course[np.minimum(low + 1, len(self.course) - 1)] * share
        return powers

    def room_gains_nats(self, offsets_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gains `[T]` that reduce the room: an expander that lowers the tail below ROOM_BELOW_PEAK_NATS.

        Args:
            offsets_s: Times relative to the onset, `[T]`.
        """
        levels = 0.5 * np.log(self.course.sum(axis=1, dtype=np.float64) + 1e-30)
        # The level is the loudest one from here on, so that a fluctuation is not lowered.
        envelope = np.maximum.accumulate(levels[::-1])[::-1]
        below = np.minimum(envelope - envelope.max() + ROOM_BELOW_PEAK_NATS, 0.0)
        gains = np.maximum((ROOM_EXPANSION - 1) * below, MUTE_NATS)
        return np.asarray(np.interp((offsets_s + LEAD_S) * FRAME_RATE_HZ - 0.5, np.arange(gains.size), gains))


class ProfileReader:
    """Measures the profiles of the sounds of a library."""

    def __init__(self, index: LibraryIndex) -> None:
        self._reader = RecordingReader(index, rate_hz=ANALYSIS_HZ, channels=1)
        self._index = index
        self._coarse = AudioFrontEnd(MelConfig(sample_rate_hz=ANALYSIS_HZ, hop_samples=_HOP))
        self._fine = AudioFrontEnd(MelConfig(sample_rate_hz=ANALYSIS_HZ, hop_samples=_FINE_HOP))
        self._profiles: LRUCache[tuple[int, int, int, int], Profile] = LRUCache(_CACHED_PROFILES)

    @property
    def bins(self) -> int:
        """Number of mel bins."""
        return self._coarse.config.bins

    def close(self) -> None:
        """Close the files that are still open."""
        self._reader.close()

    def profile(self, recording: int, start_sample: int, onset_sample: int, end_sample: int) -> Profile:
        """Profile of a part of a recording, positions in its samples. Raises MediaError."""
        key = recording, start_sample, onset_sample, end_sample
        if key not in self._profiles:
            self._profiles[key] = self._measure(*key)
        found: Profile = self._profiles[key]
        return found

    def mean_powers(self, recording: int, start_sample: int, end_sample: int) -> FloatArray:
        """Mean mel powers `[bins]` of a part of a recording, of its first MAX_PROFILE_S seconds. Raises MediaError."""
        scale = Fraction(ANALYSIS_HZ, self._index.recordings[recording].sample_rate_hz)
        count = min(int((end_sample - start_sample) * scale), int(MAX_PROFILE_S * ANALYSIS_HZ))
        found = self.powers(self._reader.read(recording, start_sample, 0, max(1, count))[0])
        return np.asarray(found.mean(axis=0), np.float32)

    def powers(self, sound: FloatArray, frames: int | None = None) -> FloatArray:
        """Mel powers `[T, bins]` of a sound `[samples]` at ANALYSIS_HZ, at FRAME_RATE_HZ.

        Args:
            sound: The sound.
            frames: T; None is what the sound fills. Missing frames are silent.
        """
        found = _powers(self._coarse, sound)
        if frames is not None and len(found) < frames:
            found = np.pad(found, ((0, frames - len(found)), (0, 0)))
        return found[:frames]

    def _measure(self, recording: int, start_sample: int, onset_sample: int, end_sample: int) -> Profile:
        source_hz = self._index.recordings[recording].sample_rate_hz
        scale = Fraction(ANALYSIS_HZ, source_hz)
        before = min(_LEAD, int((onset_sample - start_sample) * scale))
        after = min(int((end_sample - onset_sample) * scale) + 1, int(MAX_PROFILE_S * ANALYSIS_HZ))
        sound = np.zeros(_LEAD + after + 2 * 1024, np.float32)
        sound[_LEAD - before : _LEAD + after] = self._reader.read(recording, onset_sample, -before, after)[0]
        attack_samples = _LEAD + round(ATTACK_END_S * ANALYSIS_HZ) + self._fine.config.window_samples
        attack = _powers(self._fine, sound[:attack_samples])[: round((LEAD_S + ATTACK_END_S) * 1000)]
        peak = int(np.argmax(energy_of(attack)))
        return Profile(attack, _powers(self._coarse, sound), (peak + 0.5) / 1000 - LEAD_S)


def _powers(front_end: AudioFrontEnd, sound: FloatArray) -> FloatArray:
    """Mel powers `[T, bins]`, 0 where the log-mel is at its floor."""
    log_mel = front_end.encode(sound).numpy()
    return np.maximum(np.exp(2 * log_mel) - np.exp(2 * front_end.config.silence_nats), 0).astype(np.float32)


def to_analysis_rate(sound: FloatArray, rate_hz: int) -> FloatArray:
    """Resample a sound `[samples]` to ANALYSIS_HZ."""
    return np.asarray(soxr.resample(sound, rate_hz, ANALYSIS_HZ, quality="MQ"), np.float32)
