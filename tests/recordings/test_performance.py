"""A performance follows its curve, hits its onsets, has the exact length, and repeats no event without need."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_library import FRONT_END, RATE_HZ, MadeLibrary, noise, strike_sound, swell_sound

from rewas_engine.curves.energy import SILENCE_NATS, EnergyCurve, energy_agreement
from rewas_engine.curves.onsets import onset_f1
from rewas_engine.curves.sources import curve_from_points, flat_curve
from rewas_engine.errors import Cancelled, MediaError, SettingsError
from rewas_engine.exact_time import sample_count
from rewas_engine.media.audio import resample
from rewas_engine.recordings.choosing import Choice
from rewas_engine.recordings.index import Stretch
from rewas_engine.recordings.options import PerformanceOptions
from rewas_engine.recordings.performing import PlannedPerformance, perform

STRENGTHS = np.geomspace(0.02, 0.8, 10)
TIMES_S = np.array([0.3137, 0.802, 1.2496, 1.505, 2.2071, 2.9])


def chosen(*recordings: int) -> Choice:
    return Choice("sound", recordings, 1.0, True, ())


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory):
    """0: strikes, 1: soft noise, 2: loud, brighter noise, 3: a swell, 4: one mono strike."""
    rng = np.random.default_rng(0)
    made = MadeLibrary(tmp_path_factory.mktemp("library"))
    made.add_events("strikes.wav", [strike_sound(rng, peak) for peak in rng.permutation(STRENGTHS)])
    made.add_stretch("soft.wav", noise(rng, 6, 0.01))
    made.add_stretch("loud.wav", np.diff(noise(rng, 6, 0.1), prepend=0.0))
    made.add_events("swell.flac", [swell_sound(rng) for _ in range(4)])
    made.add_events("single.wav", [strike_sound(rng, 0.5)], channels=1)
    return made.index()


@pytest.fixture(scope="module")
def struck_curve() -> EnergyCurve:
    """Energy of strikes of another sound at TIMES_S."""
    rng = np.random.default_rng(7)
    sound = np.zeros(round(3.5 * RATE_HZ))
    for time_s, peak in zip(TIMES_S, [0.5, 0.2, 0.7, 0.5, 0.1, 0.4], strict=True):
        strike = strike_sound(rng, peak, decay_s=0.035)
        sound[round(time_s * RATE_HZ) :][: strike.size] += strike
    return energy_of_sound(sound.astype(np.float32)[None])


def energy_of_sound(waveform: np.ndarray, rate_hz: int = RATE_HZ) -> EnergyCurve:
    samples = waveform.shape[1] * 16_000 // rate_hz
    return FRONT_END.measure_energy(resample(waveform.mean(axis=0, keepdims=True), rate_hz, 16_000, samples)[0])


def performed(index, choice, energy, duration_s, *, rate_hz=RATE_HZ, channels=2, seed=0, options=None):
    """The waveform and the plan of a performance."""
    planned = PlannedPerformance(
        index,
        choice,
        energy,
        duration_s=Fraction(duration_s),
        rate_hz=rate_hz,
        channels=channels,
        seed=seed,
        options=options,
    )
    waveform = np.concatenate(list(planned.blocks()), axis=1)
    planned.close()
    return waveform, planned


def test_strikes_land_where_those_of_the_curve_were(library, struck_curve: EnergyCurve) -> None:
    waveform, planned = performed(library, chosen(0), struck_curve, "3.5")
    onsets_s = np.array([strike.onset_s for strike in planned.strikes])
    assert onset_f1(TIMES_S, onsets_s, 0.003).f1 == 1
    energy = energy_of_sound(waveform)
    correlation = energy_agreement(struck_curve.values, energy.values)[1]
    assert correlation is not None
    assert correlation > 0.97


def test_an_onset_sounds_within_a_millisecond_of_the_time_asked_for(library, struck_curve: EnergyCurve) -> None:
    waveform, planned = performed(library, chosen(0), struck_curve, "3.5", options=PerformanceOptions(tail="natural"))
    loud = np.abs(waveform[0])
    for strike in planned.strikes:
        around = loud[round((strike.asked_s - 0.005) * RATE_HZ) : round((strike.asked_s + 0.02) * RATE_HZ)]
        first_s = int(np.argmax(around > 0.1 * around.max())) / RATE_HZ - 0.005
        assert abs(first_s) <= 0.001


def test_levels_follow_the_peaks_of_the_curve(library, struck_curve: EnergyCurve) -> None:
    waveform, _ = performed(library, chosen(0), struck_curve, "3.5")
    produced = energy_of_sound(waveform).values
    for time_s in TIMES_S:
        around = slice(round(time_s * 100) - 2, round(time_s * 100) + 6)
        assert abs(produced[around].max() - struck_curve.values[around].max()) < 0.35


def test_strong_peaks_get_strong_events(library, struck_curve: EnergyCurve) -> None:
    _, planned = performed(library, chosen(0), struck_curve, "3.5")
    levels = {
        round(float(time_s), 2): library.events[strike.event].level_nats
        for time_s, strike in zip(TIMES_S, planned.strikes, strict=True)
    }
    assert levels[1.25] > levels[0.8] > levels[2.21]


def test_no_event_sounds_twice_in_a_row(library) -> None:
    points = [(0.0, -11.5)]
    for number in range(20):
        at_s = 0.2 + 0.25 * number
        points += [(at_s, -11.5), (at_s + 0.01, -4.0), (at_s + 0.1, -11.5)]
    curve = curve_from_points([*points, (5.5, -11.5)], duration="5.5")
    _, planned = performed(library, chosen(0), curve, "5.5")
    events = [strike.event for strike in planned.strikes]
    assert len(events) >= 20
    assert all(one != other for one, other in pairwise(events))
    assert len(Counter(events)) >= 4


def test_one_event_can_sound_again(library) -> None:
    curve = curve_from_points(
        [(0, -11.5), (0.5, -11.5), (0.51, -4), (0.8, -11.5), (1.2, -11.5), (1.21, -4), (1.5, -11.5), (2, -11.5)],
        duration=2,
    )
    waveform, planned = performed(library, chosen(4), curve, 2)
    assert len(planned.strikes) == 2
    assert waveform.shape == (2, 2 * RATE_HZ)
    assert np.array_equal(waveform[0], waveform[1])


@pytest.mark.parametrize("tail", ["curve", "natural"])
def test_a_tail_follows_the_curve_or_stays(library, tail) -> None:
    curve = curve_from_points([(0, -11.5), (0.5, -11.5), (0.51, -3), (0.56, -11.5), (2, -11.5)], duration=2)
    waveform, _ = performed(library, chosen(4), curve, 2, options=PerformanceOptions(tail=tail))
    tail_energy = energy_of_sound(waveform).values[66:70].max()
    assert (tail_energy > -8) == (tail == "natural")


def test_a_roll_is_struck_as_long_as_the_curve_stays_up(library) -> None:
    curve = curve_from_points([(0, -11.5), (0.5, -11.5), (0.52, -4), (2.5, -4), (2.6, -11.5), (3, -11.5)], duration=3)
    waveform, planned = performed(library, chosen(0), curve, 3)
    onsets_s = np.array([strike.onset_s for strike in planned.strikes])
    assert (onsets_s > 0.45).all()
    assert (onsets_s < 2.6).all()
    assert np.diff(onsets_s).max() < 0.25
    assert energy_of_sound(waveform).values[60:240].min() > -5.5


def test_a_long_decay_is_not_struck_again(library) -> None:
    curve = curve_from_points([(0, -11.5), (0.5, -11.5), (0.51, -3), (3, -9), (4, -11.5)], duration=4)
    _, planned = performed(library, chosen(0), curve, 4)
    assert len(planned.strikes) == 1


def test_sounds_without_attack_are_performed_in_grains(library) -> None:
    curve = curve_from_points([(0, -11.5), (0.5, -5), (2.5, -4.5), (3, -11.5)], duration=3)
    waveform, planned = performed(library, chosen(3), curve, 3)
    assert sum(strike.fade_s > 0 for strike in planned.strikes) > 10
    produced = energy_of_sound(waveform).values
    assert np.abs(produced[80:240] - curve.values[80:240]).mean() < 0.3


def test_steady_sound_follows_the_curve(library) -> None:
    curve = curve_from_points([(0, -8), (2, -4), (4, -6), (5, -11.5), (7, -11.5), (7.05, -4), (9, -5)], duration=9)
    waveform, planned = performed(library, chosen(1), curve, 9)
    assert planned.manner == "sustained"
    mae_nats, correlation = energy_agreement(curve.values, energy_of_sound(waveform).values)
    assert correlation is not None
    assert correlation > 0.99
    assert mae_nats < 0.15


def test_steady_sound_whose_channels_cancel_each_other_out_is_not_raised(tmp_path: Path) -> None:
    made, sound = MadeLibrary(tmp_path), noise(np.random.default_rng(0), 4, 0.05)
    made._write("wide.wav", np.stack([sound, -sound], axis=1).astype(np.float32), "")
    heard = resample(sound[None].astype(np.float32), RATE_HZ, 16_000, sound.size // 3)[0]
    level = float(FRONT_END.measure_energy(heard).values.mean())
    made.stretches.append(Stretch(0, 0, sound.size, 0, sound.size, -26.0, level, 1e3))
    waveform, _ = performed(made.index(), chosen(0), flat_curve(duration=4, nats=level), 4)
    assert waveform[:, RATE_HZ : 3 * RATE_HZ].std() == pytest.approx(0.05, rel=0.2)


def test_intensity_follows_the_curve(library) -> None:
    level = [library.stretches[number].level_nats for number in (0, 1)]
    curve = curve_from_points([(0, -6), (4, -6), (4.2, -6 + level[1] - level[0]), (8, -3.6)], duration=8)
    _, planned = performed(library, chosen(1, 2), curve, 8)
    assert planned.layer is not None
    parts = planned.layer.parts
    at = {time_s: next(part.stretch for part in parts if part.end > time_s * RATE_HZ) for time_s in (1, 6)}
    assert at == {1: 0, 6: 1}
    assert {recording.path.name for recording in planned.used} == {"soft.wav", "loud.wav"}


def test_a_joint_is_no_louder_and_no_rougher_than_the_rest(library) -> None:
    waveform, planned = performed(library, chosen(1), flat_curve(duration=40), 40)
    assert planned.layer is not None
    assert len(planned.layer.joints) >= 5
    energies = energy_of_sound(waveform).values
    errors = np.abs(energies - flat_curve(duration=40).values)
    near = np.zeros(energies.size, bool)
    for joint in planned.layer.joints:
        near[max(0, joint * 100 // RATE_HZ - 8) : joint * 100 // RATE_HZ + 8] = True
    assert errors[near].mean() < 1.5 * errors[~near].mean() + 0.01


def test_blocks_continue_each_other(library, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sound does not depend on where the blocks end, except for gains that are computed from less of the sound."""
    curve = curve_from_points([(0, -6), (5, -4), (10, -6), (12, -5)], duration=12)
    whole = {}
    for block_s in (8, 2):
        monkeypatch.setattr("rewas_engine.recordings.performing.BLOCK_S", block_s)
        whole[block_s] = performed(library, chosen(1), curve, 12)[0]
    difference = np.abs(whole[8] - whole[2]).max()
    assert difference < 0.02 * np.abs(whole[8]).max()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    duration_s=st.fractions(min_value=Fraction(1, 100), max_value=11, max_denominator=24_000),
    rate_hz=st.sampled_from([22_050, 44_100, 48_000]),
    recording=st.sampled_from([0, 1, 3]),
    channels=st.integers(1, 3),
)
def test_the_length_is_exact(library, duration_s: Fraction, rate_hz: int, recording: int, channels: int) -> None:
    curve = curve_from_points([(0, -7), (1, -4), (2, -9), (12, -5)], duration=12)
    waveform, _ = performed(library, chosen(recording), curve, duration_s, rate_hz=rate_hz, channels=channels)
    assert waveform.shape == (channels, sample_count(duration_s, rate_hz))
    assert np.isfinite(waveform).all()


@pytest.mark.parametrize("recording", [0, 1, 3])
def test_the_seed_decides_the_performance(library, struck_curve: EnergyCurve, recording: int) -> None:
    options = PerformanceOptions(timing_variation_s=0.01)
    first, again, other = (
        performed(library, chosen(recording), struck_curve, 3, seed=seed, options=options)[0] for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_silence_is_silent(library) -> None:
    curve = EnergyCurve(np.full(300, SILENCE_NATS, np.float32), 100)
    for recording in (0, 1):
        result = perform(library, chosen(recording), curve, duration_s=Fraction(3), rate_hz=RATE_HZ, channels=2, seed=0)
        assert not result.waveform.any()
        assert result.used == ()


def test_a_cancelled_performance_ends(library) -> None:
    class Cancel:
        def is_set(self) -> bool:
            return True

    with pytest.raises(Cancelled):
        perform(
            library,
            chosen(0),
            flat_curve(duration=3),
            duration_s=Fraction(3),
            rate_hz=RATE_HZ,
            channels=2,
            seed=0,
            cancel=Cancel(),
        )


def test_errors_are_sentences(library, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="pitch_variation_cents is -1"):
        PerformanceOptions(pitch_variation_cents=-1)
    with pytest.raises(SettingsError, match="The performance lasts 0 s"):
        performed(library, chosen(0), flat_curve(duration=1), 0)
    empty = MadeLibrary(tmp_path)
    empty.add_stretch("tone.wav", noise(np.random.default_rng(0), 1, 0.1))
    empty.stretches.clear()
    with pytest.raises(MediaError, match="The chosen recordings have no sounds"):
        performed(empty.index(), chosen(0), flat_curve(duration=1), 1)
