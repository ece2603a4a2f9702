"""Silence that was asked for is silence, and all else is left as it is."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine import SILENCE_NATS, Control, EnergyCurve, Output, ReWaS, Sampling, VideoClip
from rewas_engine.curves.energy import FloatArray
from rewas_engine.curves.silence import FADE_S, MIN_GAP_S, Gap, find_silence, mute_gaps


def curve(*levels: tuple[float, float]) -> EnergyCurve:
    """A curve of 100 values a second that stands for seconds at each level in nats."""
    parts = [np.full(round(seconds * 100), nats, np.float32) for seconds, nats in levels]
    return EnergyCurve(np.concatenate(parts), Fraction(100))


def silenced(sound: FloatArray, gaps: list[Gap], rate_hz: int) -> FloatArray:
    made = sound.copy()
    mute_gaps(made, gaps, rate_hz)
    return made


def test_gaps_are_where_silence_is_asked_for_long_enough() -> None:
    asked = curve((0.5, SILENCE_NATS), (1, -4), (0.2, SILENCE_NATS), (1, -6), (0.31, SILENCE_NATS + 0.2), (1, -10))
    assert find_silence(asked, SILENCE_NATS) == [(0, Fraction(1, 2)), (Fraction(27, 10), Fraction(301, 100))]
    assert find_silence(curve((3, -5)), SILENCE_NATS) == []
    assert find_silence(curve((3, SILENCE_NATS)), SILENCE_NATS) == [(0, 3)]


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.7]), st.booleans()), min_size=1, max_size=8))
def test_in_gaps_there_is_nothing_and_elsewhere_everything(spans: list[tuple[float, bool]]) -> None:
    asked = curve(*[(seconds, SILENCE_NATS if silent else -5.0) for seconds, silent in spans])
    rate_hz = 16_000
    sound = np.random.default_rng(0).uniform(0.5, 1, (2, round(float(asked.duration_s) * rate_hz))).astype(np.float32)
    gaps = find_silence(asked, SILENCE_NATS)
    made = silenced(sound, gaps, rate_hz)
    inside = np.zeros(sound.shape[1], bool)
    edge = np.zeros(sound.shape[1], bool)
    for begin_s, end_s in gaps:
        assert end_s - begin_s > MIN_GAP_S
        begin, end, fade = (int(time_s * rate_hz) for time_s in (begin_s, end_s, FADE_S))
        inside[begin:end] = True
        edge[begin : begin + fade] = edge[end - fade : end] = True
    assert not made[:, inside & ~edge].any()
    assert np.array_equal(made[:, ~inside], sound[:, ~inside])
    assert (np.abs(made) <= np.abs(sound)).all()


def test_nothing_jumps_at_a_gap() -> None:
    sound = np.ones((1, 48_000), np.float32)
    made = silenced(sound, [(Fraction(3, 10), Fraction(7, 10))], 48_000)[0]
    assert np.abs(np.diff(made)).max() < 0.01
    assert (made[0], made[-1], made[24_000]) == (1, 1, 0)
    # A sound that begins or ends in a gap is silent from its first sample or to its last.
    assert silenced(sound, [(Fraction(0), Fraction(1, 2))], 48_000)[0, 0] == 0
    assert silenced(sound, [(Fraction(1, 2), Fraction(1))], 48_000)[0, -1] == 0


def test_a_take_is_silent_where_it_is_asked_to_be(model: ReWaS, long_clip: Path) -> None:
    asked = curve((1, -4), (1, SILENCE_NATS), (1, -4))
    result = model.generate(
        VideoClip(long_clip, duration=3),
        prompt="rain",
        sampling=Sampling(num_inference_steps=1, guidance_scale=1.0),
        control=Control(energy=asked),
        output=Output(sample_rate_hz=48_000),
    )
    waveform = result.takes[0].stems["primary"].waveform[0]
    gap = waveform[round(1.02 * 48_000) : round(1.98 * 48_000)]
    assert waveform[:48_000].any()
    assert 20 * np.log10(np.sqrt(np.mean(gap.astype(np.float64) ** 2)) + 1e-12) < -55
