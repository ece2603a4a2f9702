"""Levels of energies estimated from video, and of delivered stems.

The energy estimated from a video is a shape: it shows which moments are louder than others. Its absolute level is
unreliable (on real footage, it is further from the truth than a constant). So the level comes from the prompt, and the
stems are delivered at a level that fits next to production sound.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rewas_engine.curves.energy import MAX_ENERGY_NATS, EnergyCurve, FloatArray
from rewas_engine.curves.silence import find_silence
from rewas_engine.matching.sound_kinds import Character
from rewas_engine.media.loudness import db_to_gain, gated_mean_db, integrated_loudness_lufs, true_peak_of
from rewas_engine.requests.scoring import AUDIBLE_MARGIN_NATS

TYPICAL_LEVEL_NATS: dict[Character, float] = {"steady": -3.0, "struck": -3.2, "varied": -3.2}
"""Level of the energy of a sound that is scaled to a peak of 0.5, as in training: about the median of real
recordings."""
MAX_SPREAD_NATS: dict[Character, float | None] = {"steady": 0.5, "struck": None, "varied": 1.5}
"""Largest standard deviation of an energy from video. Without it, rain would pulse with the movement in the picture."""
STRUCK_SILENCE_NATS = -9.0
"""The silence of a struck sound must not become louder than this when its level is raised."""
LEVEL_PERCENTILE = 95
PEAK_ABOVE_LEVEL_NATS = 1.0

STANDARD_LOUDNESS_LUFS = -23.0
"""Integrated loudness of a delivered sound (EBU R 128), unless it is struck."""
STANDARD_PEAK_DB = -6.0
"""True peak of a delivered struck sound, as long as its loudness stays within STRUCK_LOUDNESS_LUFS."""
STRUCK_LOUDNESS_LUFS = (-27.0, -22.5)
"""Lowest and highest loudness of a struck sound. Its peak alone says little: with the same peak, short and long strikes
differ by more than 10 LU."""
MAX_STANDARD_GAIN_DB = 40.0
"""Larger gains would turn the noise of a failed take into a sound."""
_DB_PER_NAT = 20 / np.log(10)


def has_little_motion(energy: EnergyCurve, silence_nats: float) -> bool:
    """Whether an energy estimated from a video is inaudible for nearly all of the time."""
    return float(np.percentile(energy.values, LEVEL_PERCENTILE)) < silence_nats + AUDIBLE_MARGIN_NATS


def has_no_motion(energy: EnergyCurve, silence_nats: float) -> bool:
    """Whether not even the loudest moments of an energy estimated from a video are audible."""
    return level_nats(energy) < silence_nats + AUDIBLE_MARGIN_NATS


def level_nats(energy: EnergyCurve) -> float:
    """Level of an energy: its 95th percentile, or a nat below its peak if that is louder, as with rare strikes."""
    percentile = float(np.percentile(energy.values, LEVEL_PERCENTILE))
    return max(percentile, float(energy.values.max()) - PEAK_ABOVE_LEVEL_NATS)


def apply_typical_level(energy: EnergyCurve, character: Character, silence_nats: float) -> EnergyCurve:
    """Move an energy estimated from video to the typical level of a prompt.

    Steady and varied sounds keep the shape with a limited standard deviation. Struck sounds keep all of it, and their
    long gaps stay silent; without motion, they are silent throughout.

    Args:
        energy: Estimated energy.
        character: Character of the prompt's sound.
        silence_nats: Energy of silence.
    """
    if character == "struck" and has_no_motion(energy, silence_nats):
        return replace(energy, values=np.full_like(energy.values, silence_nats))
    level, target, factor = level_nats(energy), TYPICAL_LEVEL_NATS[character], 1.0
    limit, spread = MAX_SPREAD_NATS[character], float(energy.values.std())
    if limit is not None and spread > limit:
        factor = limit / spread
    elif character == "struck":
        factor = max(1.0, (target - STRUCK_SILENCE_NATS) / (level - silence_nats))
    values = np.clip(target + factor * (energy.values - level), silence_nats, MAX_ENERGY_NATS).astype(np.float32)
    if character == "struck":
        for begin_s, end_s in find_silence(energy, silence_nats):
            values[int(begin_s * energy.rate_hz) : int(end_s * energy.rate_hz)] = silence_nats
    return replace(energy, values=values)


def standard_gain_db(
    waveform: FloatArray,
    sample_rate_hz: int,
    character: Character,
    energy: EnergyCurve,
    unedited_energy: EnergyCurve,
) -> float | None:
    """Gain that brings a sound to the standard level.

    Edits of the energy change the level: a sound that follows an energy one nat below the unedited one is delivered
    8.7 dB below the standard level, and the sounds that an edit leaves alone keep their level.

    Args:
        waveform: The sound [channels, samples].
        sample_rate_hz: Samples per second.
        character: Character of the prompt's sound.
        energy: Energy that the sound follows.
        unedited_energy: The same before the edits.

    Returns:
        Gain in dB; None if the sound is silent.
    """
    loudness_lufs = integrated_loudness_lufs(waveform, sample_rate_hz)
    if loudness_lufs is None:
        return None
    gain_db = STANDARD_LOUDNESS_LUFS - loudness_lufs
    if character == "struck":
        peak_db = 20 * float(np.log10(true_peak_of(waveform, sample_rate_hz)))
        softest_lufs, loudest_lufs = STRUCK_LOUDNESS_LUFS
        gain_db = float(np.clip(STANDARD_PEAK_DB - peak_db, softest_lufs - loudness_lufs, loudest_lufs - loudness_lufs))
    edits_db = _relative_level_db(energy, character) - _relative_level_db(unedited_energy, character)
    return float(np.clip(gain_db + edits_db, -MAX_STANDARD_GAIN_DB, MAX_STANDARD_GAIN_DB))


def _relative_level_db(energy: EnergyCurve, character: Character) -> float:
    """Level of an energy in dB: its peak for struck sounds, otherwise its gated mean."""
    levels_db = _DB_PER_NAT * energy.values.astype(np.float64)
    if character == "struck":
        return float(levels_db.max())
    # Levels of an energy are relative, so the absolute gate has no meaning for them.
    mean_db = gated_mean_db(levels_db, absolute_gate_db=-np.inf)
    assert mean_db is not None
    return mean_db


def amplify(waveform: FloatArray, gain_db: float) -> FloatArray:
    """Apply a gain to a waveform `[..., samples]`."""
    return np.asarray(waveform * np.float32(db_to_gain(gain_db)), np.float32)
