"""Requested silence is silent in the output, and the rest is not changed."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine import SILENCE_NATS, Control, EnergyCurve, Output, ReWaS, Sampling, VideoClip
from rewas_engine.curves.energy import FloatArray
from rewas_engine.curves.silence import FADE_S, MIN_GAP_S, Gap, find_silence, mute_gaps


def curve(*levels: tuple[float, float]) -> EnergyCurve:
    """A curve of 100 values per second from pairs of seconds and level in nats."""
    parts = [np.full(round(seconds * 100), nats, np.float32) for seconds, nats in levels]
    return EnergyCurve(np.concatenate(parts), Fraction(100))


def mute_copy(sound: FloatArray, gaps: list[Gap], rate_hz: int) -> FloatArray:
    output = sound.copy()
    mute_gaps(output, gaps, rate_hz)
    return output


def test_gaps_are_long_stretches_of_requested_silence() -> None:
    requested = curve((0.5, SILENCE_NATS), (1, -4), (0.2, SILENCE_NATS), (1, -6), (0.31, SILENCE_NATS + 0.2), (1, -10))
    assert find_silence(requested, SILENCE_NATS) == [(0, Fraction(1, 2)), (Fraction(27, 10), Fraction(301, 100))]
    assert find_silence(curve((3, -5)), SILENCE_NATS) == []
    assert find_silence(curve((3, SILENCE_NATS)), SILENCE_NATS) == [(0, 3)]


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.7]), st.booleans()), min_size=1, max_size=8))
def test_only_gaps_are_muted(spans: list[tuple[float, bool]]) -> None:
    requested = curve(*[(seconds, SILENCE_NATS if silent else -5.0) for seconds, silent in spans])
    rate_hz = 16_000
    sound = (
        np.random.default_rng(0).uniform(0.5, 1, (2, round(float(requested.duration_s) * rate_hz))).astype(np.float32)
    )
    gaps = find_silence(requested, SILENCE_NATS)
    output = mute_copy(sound, gaps, rate_hz)
    inside = np.zeros(sound.shape[1], bool)
    edge = np.zeros(sound.shape[1], bool)
    for begin_s, end_s in gaps:
        assert end_s - begin_s > MIN_GAP_S or (begin_s, end_s) == (0, requested.duration_s)
        begin, end, fade = (int(time_s * rate_hz) for time_s in (begin_s, end_s, FADE_S))
        inside[begin:end] = True
        edge[begin : begin + fade] = edge[end - fade : end] = True
    assert not output[:, inside & ~edge].any()
    assert np.array_equal(output[:, ~inside], sound[:, ~inside])
    assert (np.abs(output) <= np.abs(sound)).all()


def test_gaps_have_gradual_edges() -> None:
    sound = np.ones((1, 48_000), np.float32)
    output = mute_copy(sound, [(Fraction(3, 10), Fraction(7, 10))], 48_000)[0]
    assert np.abs(np.diff(output)).max() < 0.01
    assert (output[0], output[-1], output[24_000]) == (1, 1, 0)
    # A gap at the start or end of the sound is silent up to its first or last sample.
    assert mute_copy(sound, [(Fraction(0), Fraction(1, 2))], 48_000)[0, 0] == 0
    assert mute_copy(sound, [(Fraction(1, 2), Fraction(1))], 48_000)[0, -1] == 0


def test_a_take_is_silent_in_requested_gaps(model: ReWaS, long_clip: Path) -> None:
    requested = curve((1, -4), (1, SILENCE_NATS), (1, -4))
    result = model.generate(
        VideoClip(long_clip, duration=3),
        prompt="rain",
        sampling=Sampling(num_inference_steps=1, guidance_scale=1.0),
        control=Control(energy=requested),
        output=Output(sample_rate_hz=48_000),
    )
    waveform = result.takes[0].stems["primary"].waveform[0]
    gap = waveform[round(1.02 * 48_000) : round(1.98 * 48_000)]
    assert waveform[:48_000].any()
    assert 20 * np.log10(np.sqrt(np.mean(gap.astype(np.float64) ** 2)) + 1e-12) < -55


def test_a_short_energy_without_sound_is_silent_throughout() -> None:
    energy = EnergyCurve(np.full(4, SILENCE_NATS), Fraction(100))
    assert find_silence(energy, SILENCE_NATS) == [(0, Fraction(4, 100))]
    loud = EnergyCurve(np.array([-4, SILENCE_NATS, SILENCE_NATS, SILENCE_NATS]), Fraction(100))
    assert find_silence(loud, SILENCE_NATS) == []
