"""A performance follows its curve, hits its onsets, has the exact length, and repeats no event without need."""

import tracemalloc
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
from rewas_engine.curves.events import find_events
from rewas_engine.curves.onsets import onset_f1
from rewas_engine.curves.sources import curve_from_points, flat_curve
from rewas_engine.errors import Cancelled, MediaError, SettingsError
from rewas_engine.exact_time import sample_count
from rewas_engine.media.audio import resample
from rewas_engine.recordings.choosing import Choice
from rewas_engine.recordings.index import Stretch
from rewas_engine.recordings.options import PerformanceOptions
from rewas_engine.recordings.performing import PlannedPerformance

STRENGTHS = np.geomspace(0.02, 0.8, 10)
TIMES_S = np.array([0.3137, 0.802, 1.2496, 1.505, 2.2071, 2.9])


def chosen(*recordings: int) -> Choice:
    return Choice("sound", recordings, 1.0, True, ())


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory):
    """0: strikes, 1: soft noise, 2: loud, brighter noise, 3: a swell, 4: a mono strike, 5: clicks, 6: a long decay."""
    rng = np.random.default_rng(0)
    made = MadeLibrary(tmp_path_factory.mktemp("library"))
    made.add_events("strikes.wav", [strike_sound(rng, peak) for peak in rng.permutation(STRENGTHS)])
    made.add_stretch("soft.wav", noise(rng, 6, 0.01))
    made.add_stretch("loud.wav", np.diff(noise(rng, 6, 0.1), prepend=0.0))
    made.add_events("swell.flac", [swell_sound(rng) for _ in range(4)])
    made.add_events("single.wav", [strike_sound(rng, 0.5)], channels=1)
    made.add_events("clicks.wav", [click_sound(peak) for peak in (0.9, 0.5, 0.3, 0.7)])
    made.add_events("room.wav", [strike_sound(rng, peak, decay_s=0.15) for peak in (0.6, 0.5, 0.4)])
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


def click_sound(peak: float) -> np.ndarray:
    """A click of one sample, `[samples]`."""
    sound = np.zeros(RATE_HZ // 10)
    sound[0] = peak
    return sound


def energy_of_sound(waveform: np.ndarray, rate_hz: int = RATE_HZ) -> EnergyCurve:
    samples = waveform.shape[1] * 16_000 // rate_hz
    return FRONT_END.measure_energy(resample(waveform.mean(axis=0, keepdims=True), rate_hz, 16_000, samples)[0])


def performed(
    index, choice, energy, duration_s, *, rate_hz=RATE_HZ, channels=2, seed=0, options=None, onsets_only=False
):
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
        onsets_only=onsets_only,
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


@pytest.mark.parametrize("tail", ["curve", "natural"])
def test_an_onset_sounds_within_a_millisecond_of_the_time_asked_for(library, struck_curve: EnergyCurve, tail) -> None:
    waveform, planned = performed(library, chosen(0), struck_curve, "3.5", options=PerformanceOptions(tail=tail))
    loud = np.abs(waveform[0])
    assert len(planned.strikes) == TIMES_S.size
    for strike in planned.strikes:
        around = loud[round((strike.asked_s - 0.005) * RATE_HZ) : round((strike.asked_s + 0.02) * RATE_HZ)]
        first_s = int(np.argmax(around > 0.1 * around.max())) / RATE_HZ - 0.005
        assert abs(first_s) <= 0.001


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps_s=st.lists(st.floats(0.15, 0.9), min_size=2, max_size=5),
    peaks=st.lists(st.floats(0.1, 0.9), min_size=5, max_size=5),
    rate_hz=st.sampled_from([44_100, 48_000, 96_000]),
)
def test_clicks_sound_within_a_millisecond_of_those_of_the_curve(library, gaps_s, peaks, rate_hz: int) -> None:
    times = np.round(np.cumsum(gaps_s) * RATE_HZ).astype(int)
    sound = np.zeros(times[-1] + RATE_HZ, np.float32)
    sound[times] = peaks[: times.size]
    duration_s = Fraction(sound.size, RATE_HZ)
    waveform, _ = performed(library, chosen(5), energy_of_sound(sound[None]), duration_s, rate_hz=rate_hz)
    # A click has no tail, so that everything near its peak is the click.
    loud = np.abs(waveform[0])
    for time_s in times / RATE_HZ:
        first = round((time_s - 0.06) * rate_hz)
        around = loud[first : first + round(0.12 * rate_hz)]
        heard_s = (first + int(around.argmax())) / rate_hz
        assert abs(heard_s - time_s) <= 0.001


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


def test_the_room_can_be_left_out(library) -> None:
    curve = curve_from_points([(0, -11.5), (0.5, -11.5), (0.51, -3), (2, -9), (3, -11.5)], duration=3)
    levels_db = {}
    for room in ("in", "out"):
        options = PerformanceOptions(tail="natural", room=room, pitch_variation_cents=0)
        waveform, planned = performed(library, chosen(6), curve, 3, options=options)
        onset = round(planned.strikes[0].onset_s * RATE_HZ)
        parts = [waveform[0, onset + round(begin_s * RATE_HZ) :][: RATE_HZ // 50] for begin_s in (0, 0.3, 0.45)]
        levels_db[room] = np.array([20 * np.log10(np.sqrt(np.square(part).mean()) + 1e-9) for part in parts])
    lower_db = levels_db["in"] - levels_db["out"]
    assert abs(lower_db[0]) < 0.5
    assert lower_db[1] > 6
    assert lower_db[2] > 12


def test_only_the_onsets_of_a_curve_can_be_followed(library, struck_curve: EnergyCurve) -> None:
    raised = EnergyCurve(np.maximum(struck_curve.values, -7.0), struck_curve.rate_hz)
    waveform, planned = performed(library, chosen(0), raised, "3.5", onsets_only=True)
    assert onset_f1(TIMES_S, np.array([strike.onset_s for strike in planned.strikes]), 0.01).f1 == 1
    assert planned.grains is None
    assert energy_of_sound(waveform).values[:20].max() == pytest.approx(SILENCE_NATS)


def test_onsets_of_a_soft_curve_are_struck(library) -> None:
    times_s = (np.arange(300) + 0.5) / 100
    hills = sum(np.exp(-(((times_s - time_s) / 0.15) ** 2)) for time_s in (0.6, 1.5, 2.4))
    soft = EnergyCurve((-7 + 3 * hills).astype(np.float32), Fraction(100))
    waveform, planned = performed(library, chosen(0), soft, 3, onsets_only=True)
    onsets_s = [event.time_s for event in find_events(soft)]
    assert [strike.onset_s for strike in planned.strikes] == pytest.approx(onsets_s, abs=0.02)
    assert np.abs(waveform).max() > 0.01


def test_events_sound_over_a_bed_of_stretches(library, struck_curve: EnergyCurve) -> None:
    raised = EnergyCurve(np.maximum(struck_curve.values, -6.5), struck_curve.rate_hz)
    waveform, planned = performed(library, chosen(0, 1), raised, "3.5")
    assert planned.manner == "layered"
    assert {recording.path.name for recording in planned.used} == {"strikes.wav", "soft.wav"}
    onsets_s = np.array([strike.onset_s for strike in planned.strikes])
    heard = raised.values[(TIMES_S * 100).astype(int) + 1] > -6.0
    assert onset_f1(TIMES_S[heard], onsets_s, 0.01).f1 == 1
    produced = energy_of_sound(waveform).values
    assert energy_agreement(raised.values, produced)[1] > 0.97
    assert np.abs(produced[170:210] - -6.5).max() < 0.5


def test_what_lies_between_strikes_is_filled_with_grains(library, struck_curve: EnergyCurve) -> None:
    raised = EnergyCurve(np.maximum(struck_curve.values, -6.5), struck_curve.rate_hz)
    waveform, planned = performed(library, chosen(0), raised, "3.5")
    assert planned.manner == "struck"
    assert len(planned.strikes) <= TIMES_S.size
    assert planned.grains is not None
    assert planned.grains.count > 20
    produced = energy_of_sound(waveform).values
    assert energy_agreement(raised.values, produced)[1] > 0.97
    assert np.abs(produced[170:210] - -6.5).max() < 0.8


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
    assert planned.grains is not None
    assert planned.grains.count > 20
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


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frames=st.integers(1, 220),
    frame_rate_hz=st.sampled_from([Fraction(24_000, 1001), Fraction(30_000, 1001), Fraction(25), Fraction(997, 50)]),
    rate_hz=st.sampled_from([44_100, 48_000, 96_000]),
    recordings=st.sampled_from([(0,), (1,), (3,), (0, 1)]),
    channels=st.integers(1, 8),
)
def test_the_length_is_exact(library, frames: int, frame_rate_hz: Fraction, rate_hz: int, recordings, channels) -> None:
    curve = curve_from_points([(0, -7), (1, -4), (2, -9), (12, -5)], duration=12)
    duration_s = frames / frame_rate_hz
    waveform, _ = performed(library, chosen(*recordings), curve, duration_s, rate_hz=rate_hz, channels=channels)
    assert waveform.shape == (channels, sample_count(duration_s, rate_hz))
    assert np.isfinite(waveform).all()


@pytest.mark.slow
@pytest.mark.parametrize("recordings", [(0,), (0, 1)])
def test_memory_does_not_grow_with_the_length(library, recordings) -> None:
    """A minute more of powers `[T, 64]` or of sound at 8 kHz would need 3.1 MB or 1.9 MB."""
    peaks_mb = []
    for minutes in (0.5, 2):
        values = np.full(round(minutes * 6000), -7.0, np.float32)
        for frame in range(50, values.size - 50, 50):
            values[frame : frame + 6] = [-5, -3, -3.5, -4.5, -5.5, -6.5]
        tracemalloc.start()
        planned = PlannedPerformance(
            library,
            chosen(*recordings),
            EnergyCurve(values, 100),
            duration_s=Fraction(minutes) * 60,
            rate_hz=8_000,
            channels=1,
            seed=0,
        )
        assert sum(block.shape[1] for block in planned.blocks()) == round(minutes * 60) * 8_000
        planned.close()
        peaks_mb.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    assert peaks_mb[1] - peaks_mb[0] < 1.5 * 1.5


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
        waveform, planned = performed(library, chosen(recording), curve, 3)
        assert not waveform.any()
        assert planned.used == ()


def test_a_cancelled_performance_ends(library) -> None:
    class Cancel:
        def is_set(self) -> bool:
            return True

    planned = PlannedPerformance(
        library,
        chosen(0),
        flat_curve(duration=3),
        duration_s=Fraction(3),
        rate_hz=RATE_HZ,
        channels=2,
        seed=0,
    )
    with pytest.raises(Cancelled):
        planned.render(Cancel())
    planned.close()


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
