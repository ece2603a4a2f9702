"""Events and stretches are found where they are known to be, in any format of samples and any length of blocks."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.curves.onsets import match_onsets
from rewas_engine.media.audio import resample
from rewas_engine.recordings.analysis import AFTER_S, CORE_S, Analysis, analyse
from rewas_engine.recordings.event_selection import MOST_OF_LEVEL, EventSelection, FoundEvent
from rewas_engine.recordings.event_shapes import EventShape
from rewas_engine.recordings.rounds import group_rounds
from rewas_engine.world.scene import Scene, sample_scene
from rewas_engine.world.sound import render_sound

RATE_HZ = 16_000
SEPARATE_CLASSES = ("ball_bounce", "wood_knock", "drum_hit", "hand_clap", "hammer", "gunshot", "typing", "clock_tick")
FloatArray = NDArray[np.float32]


def struck_scene(class_name: str, pattern: str, duration_s: float = 8.0) -> Scene:
    """The first scene with separate strikes and nothing else."""
    for seed in range(40, 400):
        scene = sample_scene(seed, class_name, duration_s, pattern=pattern)
        apart = np.diff(scene.event_times_s).min(initial=1.0) >= 0.15
        if not scene.floor and scene.ambience is None and scene.distance < 0.5 and apart:
            return scene
    raise AssertionError(f"no such scene of {class_name}")


def in_blocks(sound: FloatArray, length: int = 10_000) -> Iterator[FloatArray]:
    """A waveform `[channels, samples]` in blocks."""
    for first in range(0, sound.shape[1], length):
        yield np.ascontiguousarray(sound[:, first : first + length].T)


def onsets_s(analysis: Analysis, rate_hz: int = RATE_HZ) -> NDArray[np.float64]:
    return np.array([event.onset_sample for event in analysis.events]) / rate_hz


def test_strikes_of_the_world_are_found_within_10_ms() -> None:
    matched = known = found = 0
    for class_name in SEPARATE_CLASSES:
        for pattern in ("few", "regular"):
            scene = struck_scene(class_name, pattern)
            times_s = onsets_s(analyse(in_blocks(render_sound(scene)[None]), RATE_HZ))
            matched += len(match_onsets(scene.event_times_s, times_s, 0.01))
            known, found = known + len(scene.event_times_s), found + len(times_s)
    assert matched / known >= 0.95
    assert matched / found >= 0.97


def test_the_strikes_of_one_body_are_one_round_and_those_of_two_bodies_are_two() -> None:
    sounds = [render_sound(struck_scene(name, "regular")) for name in ("drum_hit", "glass_clink")]
    for sound in sounds:
        assert {event.round for event in analyse(in_blocks(sound[None]), RATE_HZ).events} == {0}
    both = analyse(in_blocks(np.concatenate(sounds)[None]), RATE_HZ).events
    rounds = [event.round for event in both]
    assert set(rounds) == {0, 1}
    assert rounds == sorted(rounds)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 96_000, 192_000])
@pytest.mark.parametrize("time_constant_s", [0.01, 0.1])
def test_onset_peak_and_decay_are_measured_at_any_rate(rate_hz: int, time_constant_s: float) -> None:
    times_s = np.arange(3 * rate_hz) / rate_hz
    sound = np.zeros_like(times_s)
    for start_s, gain in ((0.5, 0.5), (1.75, 0.25)):
        after_s = np.maximum(times_s - start_s, 0)
        sound += np.where(times_s >= start_s, gain * np.exp(-after_s / time_constant_s) * np.cos(6283 * after_s), 0)
    events = analyse(in_blocks(sound[None].astype(np.float32)), rate_hz).events
    np.testing.assert_allclose([event.onset_sample / rate_hz for event in events], [0.5, 1.75], atol=1e-3)
    np.testing.assert_allclose([event.peak_db for event in events], [-6.02, -12.04], atol=0.2)
    for event in events:
        assert 0 <= event.onset_sample - event.start_sample <= 0.005 * rate_hz
        assert abs(sound[event.start_sample]) < 1e-4
        assert event.decay_s == pytest.approx(np.log(10) * time_constant_s, abs=0.012)
        # 60 dB below its peak, unless silence comes first.
        assert (event.end_sample - event.onset_sample) / rate_hz == pytest.approx(6.9 * time_constant_s, abs=0.06)
        # A short event is mostly its attack, which has all frequencies.
        assert event.centroid_hz == pytest.approx(1000, rel=0.5 if time_constant_s == 0.1 else 1)
    assert events[0].level_nats - events[1].level_nats == pytest.approx(np.log(2), abs=0.2)


def test_levels_are_those_of_an_energy_curve() -> None:
    scene = struck_scene("hammer", "few")
    sound = render_sound(scene)
    energy = AudioFrontEnd(MelConfig()).measure_energy(sound).values
    for event in analyse(in_blocks(sound[None]), RATE_HZ).events:
        frame = event.onset_sample // 160
        assert event.level_nats == pytest.approx(
            energy[max(0, frame - 1) : frame + 29].max(), abs=0.02
        )  # rumble is removed


@settings(max_examples=4, deadline=None)
@given(lengths=st.integers(1000, 400_000), seed=st.integers(0, 100))
def test_the_result_does_not_depend_on_the_blocks(lengths: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sound = np.zeros((1, RATE_HZ * (CORE_S + AFTER_S + 12)), np.float32)
    for start in rng.integers(0, sound.shape[1] - RATE_HZ, 12):
        sound[0, start : start + 4000] += rng.normal(0, 0.2, 4000) * np.exp(-np.arange(4000) / 800)
    whole, parts = analyse(in_blocks(sound, sound.shape[1]), RATE_HZ), analyse(in_blocks(sound, lengths), RATE_HZ)
    assert [event.onset_sample for event in parts.events] == [event.onset_sample for event in whole.events]
    assert [event.end_sample for event in parts.events] == [event.end_sample for event in whole.events]
    assert parts.stretches == whole.stretches
    assert parts.samples == sound.shape[1]


def test_events_are_found_once_over_many_chunks() -> None:
    rng = np.random.default_rng(1)
    length_s, spacing_s = 4 * CORE_S + 7, Fraction(1)
    known = [round(RATE_HZ * (Fraction(1, 2) + spacing_s * number)) for number in range(length_s - 1)]
    # At the borders of the chunks, too.
    known += [RATE_HZ * CORE_S, RATE_HZ * 2 * CORE_S - 40, RATE_HZ * 3 * CORE_S + 40]
    sound = np.zeros((1, RATE_HZ * length_s), np.float32)
    for start in known:
        sound[0, start : start + 3000] += rng.normal(0, 0.2, 3000) * np.exp(-np.arange(3000) / 400)
    found = [event.onset_sample for event in analyse(in_blocks(sound), RATE_HZ).events]
    assert len(found) == len(known)
    np.testing.assert_allclose(found, sorted(known), atol=RATE_HZ // 500)


def test_steady_sound_is_a_stretch_that_loops_where_it_agrees() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 0.1, 12 * RATE_HZ)
    noise[: 2 * RATE_HZ] *= 0.001
    noise[9 * RATE_HZ :] *= 0.2
    analysis = analyse(in_blocks(noise[None].astype(np.float32)), RATE_HZ)
    loud, soft = analysis.stretches
    assert loud.start_sample / RATE_HZ == pytest.approx(2, abs=0.3)
    assert loud.end_sample / RATE_HZ == pytest.approx(9, abs=0.3)
    assert loud.level_db == pytest.approx(-20, abs=0.5)
    assert soft.level_db == pytest.approx(-34, abs=0.5)
    assert loud.level_nats - soft.level_nats == pytest.approx(np.log(5), abs=0.1)
    assert loud.loop_end_sample - loud.loop_start_sample > 2 * RATE_HZ
    assert analysis.noise_floor_db == pytest.approx(-80, abs=1)


def test_loops_join_level_and_spectrum() -> None:
    """A sound whose level and brightness drift is looped where both are alike."""
    rng, length_s = np.random.default_rng(5), 10
    times_s = np.arange(length_s * RATE_HZ) / RATE_HZ
    noise = rng.normal(0, 0.1, times_s.size)
    dark = np.convolve(noise, np.ones(8) / 8, "same") * 2.8
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * times_s / 4.3)
    sound = (noise * wave + dark * (1 - wave)) * 10 ** (np.sin(2 * np.pi * times_s / 3.1) / 20)
    (stretch,) = analyse(in_blocks(sound[None].astype(np.float32)), RATE_HZ).stretches

    def around(sample: int) -> NDArray[np.float64]:
        piece = sound[sample - RATE_HZ // 10 : sample + RATE_HZ // 10]
        spectrum = np.abs(np.fft.rfft(piece)) ** 2
        return 10 * np.log10(np.array([spectrum[:400].sum(), spectrum[400:].sum()]))

    np.testing.assert_allclose(around(stretch.loop_start_sample), around(stretch.loop_end_sample), atol=1.5)


@pytest.mark.parametrize("duration_s", [0.4, 2, 2.5])
def test_a_recording_without_an_onset_is_one_event(duration_s: float) -> None:
    noise = np.random.default_rng(2).normal(0, 0.1, round(duration_s * RATE_HZ)).astype(np.float32)
    swell = noise * (np.hanning(len(noise)) ** 4).astype(np.float32)
    analysis = analyse(in_blocks(swell[None]), RATE_HZ)
    assert not analysis.stretches
    (event,) = analysis.events
    loud = np.flatnonzero(np.hanning(len(noise)) ** 4 > 0.1) / RATE_HZ
    assert event.onset_sample / RATE_HZ == pytest.approx(loud[0], abs=0.02 + 0.05 * duration_s)
    assert event.end_sample / RATE_HZ >= loud[-1]
    assert event.peak_db == pytest.approx(20 * np.log10(np.abs(swell).max()), abs=0.01)
    level_nats = AudioFrontEnd(MelConfig()).measure_energy(swell).values.max()
    assert event.level_nats == pytest.approx(level_nats, abs=0.05)


def test_a_recording_that_begins_and_ends_within_a_sound_is_one_event() -> None:
    sound = np.random.default_rng(3).normal(0, 0.2, RATE_HZ * 3 // 4).astype(np.float32)
    (event,) = analyse(in_blocks(sound[None]), RATE_HZ).events
    assert event.onset_sample < 0.02 * RATE_HZ
    assert event.end_sample > 0.7 * RATE_HZ


def test_silence_has_neither_events_nor_stretches() -> None:
    analysis = analyse(in_blocks(np.zeros((2, 5 * RATE_HZ), np.float32)), RATE_HZ)
    assert (analysis.events, analysis.stretches) == ((), ())
    assert (analysis.peak_db, analysis.noise_floor_db, analysis.stereo_width) == (-120, -120, 0)


def test_an_offset_is_reported_and_is_not_an_event() -> None:
    rng = np.random.default_rng(2)
    sound = np.zeros((1, 3 * RATE_HZ)) + 0.2
    sound[0, RATE_HZ : RATE_HZ + 2000] += rng.normal(0, 0.1, 2000) * np.exp(-np.arange(2000) / 300)
    analysis = analyse(in_blocks(sound.astype(np.float32)), RATE_HZ)
    assert analysis.offset == pytest.approx(0.2, abs=0.001)
    assert [round(event.onset_sample / RATE_HZ, 2) for event in analysis.events] == [1.0]


def test_clipping_is_measured() -> None:
    sound = np.clip(2 * np.sin(np.arange(RATE_HZ) / 20), -1, 1)[None].astype(np.float32)
    assert analyse(in_blocks(sound), RATE_HZ).clipped_s == pytest.approx(2 / 3, abs=0.02)
    assert analyse(in_blocks(sound * 0.9), RATE_HZ).clipped_s == 0


@pytest.mark.parametrize(
    ("mixture", "width"), [([[1, 0], [1, 0]], 0), ([[1, 0], [0, 1]], 1), ([[1, 0], [-1, 0]], 1), ([[1, 0], [0, 0]], 0)]
)
def test_stereo_width(mixture: list[list[float]], width: float) -> None:
    noise = np.random.default_rng(4).normal(0, 0.1, (2, 2 * RATE_HZ))
    sound = (np.array(mixture) @ noise).astype(np.float32)
    assert analyse(in_blocks(sound), RATE_HZ).stereo_width == pytest.approx(width, abs=0.02)


@pytest.mark.parametrize("channels", [1, 6, 64])
def test_any_number_of_channels(channels: int) -> None:
    sound = np.repeat(render_sound(struck_scene("drum_hit", "few"))[None], channels, axis=0)
    events = analyse(in_blocks(sound), RATE_HZ).events
    assert [event.onset_sample for event in events] == [
        event.onset_sample for event in analyse(in_blocks(sound[:1]), RATE_HZ).events
    ]


def test_a_higher_rate_finds_the_same_events() -> None:
    sound = render_sound(struck_scene("wood_knock", "regular"))[None]
    higher = resample(sound, RATE_HZ, 48_000, sound.shape[1] * 3)
    low, high = analyse(in_blocks(sound), RATE_HZ), analyse(in_blocks(higher), 48_000)
    np.testing.assert_allclose(onsets_s(high, 48_000), onsets_s(low), atol=0.002)
    assert [event.round for event in high.events] == [event.round for event in low.events]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_rounds_are_counted_from_0_in_order(bodies: list[int]) -> None:
    spectra = [np.roll(np.r_[np.zeros(8), np.full(56, -20.0)], 16 * body).astype(np.float32) for body in bodies]
    order = list(dict.fromkeys(bodies))
    assert group_rounds(spectra) == [order.index(body) for body in bodies]


@given(
    seed=st.integers(0, 2**16),
    width_s=st.floats(0.001, 0.3),
    peak=st.floats(1e-5, 3e-4),
    rate_hz=st.sampled_from([8000, 48_000]),
)
@example(seed=0, width_s=0.05, peak=3.1e-5, rate_hz=48_000)
@settings(max_examples=20, deadline=None)
def test_sounds_at_the_limit_of_silence_are_analysed(seed: int, width_s: float, peak: float, rate_hz: int) -> None:
    time_s = np.arange(rate_hz) / rate_hz - 0.5
    sound = peak * np.random.default_rng(seed).normal(size=rate_hz) * np.exp(-(time_s**2) / 2 / width_s**2)
    assert analyse([sound.astype(np.float32)[:, None]], rate_hz).samples == rate_hz


def test_of_many_events_of_one_level_an_even_share_is_kept() -> None:
    selection = EventSelection()
    shape = EventShape(0, 0, 10, -20.0, 0.1)
    for number in range(10_000):
        peak_db = -3.0 if number == 7777 else -20.0
        moved = replace(shape, onset_sample=100 * number, end_sample=100 * number + 50, peak_db=peak_db)
        selection.add(FoundEvent(moved, 0.0, 0.0, np.zeros(1, np.float32)))
    kept = [event.shape for event in selection.events()]
    assert [each.onset_sample for each in kept if each.peak_db > -10] == [777_700]
    onsets = np.array([each.onset_sample for each in kept if each.peak_db < -10])
    assert MOST_OF_LEVEL / 2 <= len(onsets) <= MOST_OF_LEVEL
    assert set(np.diff(onsets)) <= {3200, 3300}
    assert onsets[-1] > 990_000


def test_a_long_ticking_recording_has_a_bounded_number_of_events() -> None:
    tick = np.zeros((800, 1), np.float32)
    tick[100:140, 0] = np.random.default_rng(0).normal(0, 0.3, 40)
    found = analyse(itertools.repeat(np.tile(tick, (20, 1)), 100), 8000)
    assert found.samples == 800 * 2000
    assert MOST_OF_LEVEL / 2 <= len(found.events) <= 2 * MOST_OF_LEVEL
    ends = [event.end_sample for event in found.events]
    onsets = [event.onset_sample for event in found.events]
    assert all(end <= onset + 800 for end, onset in zip(ends, onsets, strict=True))
