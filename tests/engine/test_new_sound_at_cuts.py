"""A new sound at every cut: shots are independent, joins are short, and the length is exact."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_engine import (
    Control,
    EnergyCurve,
    Layer,
    Output,
    Regenerate,
    ReWaS,
    Sampling,
    SettingsError,
    Stem,
    VideoClip,
)
from rewas_engine.exact_time import sample_count
from rewas_engine.requests.per_shot import ShotPlan, crossfade_shots
from rewas_engine.requests.validation import validate_cuts

FAST = {"prompt": "rain", "sampling": Sampling(num_inference_steps=2, guidance_scale=1.0)}
FADE_SAMPLES = 160
CUTS_S = (Fraction(1), Fraction(5, 2))


def energy(*levels: float) -> EnergyCurve:
    """One level for each of the shots between CUTS_S, in a clip of 3.5 s."""
    ends = [round(100 * time_s) for time_s in (0, *CUTS_S, Fraction(7, 2))]
    lengths = np.diff(ends)
    return EnergyCurve(np.repeat(np.array(levels, np.float32), lengths), Fraction(100))


def generate(model: ReWaS, curve: EnergyCurve, **more: object) -> np.ndarray:
    result = model.generate(
        VideoClip(more.pop("clip"), duration="3.5"),
        control=Control(energy=curve),
        output=Output(cuts=CUTS_S, level="raw"),  # the standard level depends on the loudest shot
        **FAST,
        **more,
    )
    assert result.cuts_s == CUTS_S
    return result.takes[0].stems["primary"].waveform[0]


@pytest.fixture
def trained_model(model: ReWaS):
    """The model with an adapter that responds to the energy."""
    conv = model._components["adapter"].middle_zero_conv
    conv.weight.fill_(0.3)
    yield model
    conv.weight.zero_()


def test_shots_do_not_affect_each_other(trained_model: ReWaS, long_clip: Path) -> None:
    first = generate(trained_model, energy(-8, -7, -8), clip=long_clip)
    other = generate(trained_model, energy(-8, -5, -8), clip=long_clip)
    begin, end = (sample_count(cut_s, 16_000) for cut_s in CUTS_S)
    assert np.array_equal(first[:begin], other[:begin])
    assert np.array_equal(first[end + FADE_SAMPLES :], other[end + FADE_SAMPLES :])
    assert not np.allclose(first[begin + FADE_SAMPLES : end], other[begin + FADE_SAMPLES : end], atol=1e-4)


def test_shots_have_different_sounds_and_the_first_has_the_seed_of_the_take(model: ReWaS, long_clip: Path) -> None:
    clip = VideoClip(long_clip, duration=3)
    level = EnergyCurve(np.full(300, -6, np.float32), Fraction(100))
    parted = model.generate(clip, seed=4, control=Control(energy=level), output=Output(cuts=["1.5"]), **FAST).takes[0]
    alone = model.generate(
        VideoClip(long_clip, duration="1.5"),
        seed=4,
        control=Control(energy=level.with_duration(Fraction(3, 2))),
        **FAST,
    )
    waveform = parted.stems["primary"].waveform[0]
    assert parted.seed == 4
    half = 24_000
    correlation = np.corrcoef(waveform[:half], waveform[half:])[0, 1]
    assert abs(correlation) < 0.2
    # The sounds overlap at the cut, and normalisation spreads that slightly over all frames of a window. Full scale
    # is kept over both shots, so the gain may differ.
    same = alone.takes[0].stems["primary"].waveform[0][: half - 16_000]
    assert np.corrcoef(waveform[: half - 16_000], same)[0, 1] > 0.999


@pytest.mark.parametrize(("duration", "rate_hz"), [("7007/2400", 48_000), ("3.3333", 44_100), ("2.9", 22_050)])
def test_the_length_is_exact(model: ReWaS, long_clip: Path, duration: str, rate_hz: int) -> None:
    cuts = ("0.2", "1001/1200", "2.25")
    result = model.generate(
        VideoClip(long_clip, duration=duration), output=Output(cuts=cuts, sample_rate_hz=rate_hz), **FAST
    )
    assert result.takes[0].stems["primary"].waveform.shape == (1, sample_count(Fraction(duration), rate_hz))
    assert result.cuts_s == tuple(map(Fraction, cuts))


def test_layers_continue_across_cuts(model: ReWaS, long_clip: Path) -> None:
    clip, layers = VideoClip(long_clip, duration=2), (Layer("ambience", "wind"),)
    plain, cut = (model.generate(clip, layers=layers, output=Output(cuts=cuts), **FAST).takes[0] for cuts in ((), (1,)))
    gain = np.abs(plain.stems["ambience"].waveform).max() / np.abs(cut.stems["ambience"].waveform).max()
    np.testing.assert_allclose(gain * cut.stems["ambience"].waveform, plain.stems["ambience"].waveform, atol=1e-5)
    assert not np.allclose(plain.stems["primary"].waveform, cut.stems["primary"].waveform, atol=1e-3)


@settings(max_examples=60)
@given(st.lists(st.integers(20, 400), min_size=1, max_size=5), st.integers(1, 20), st.integers(0, 100))
def test_parts_are_joined_within_the_fade(lengths: list[int], fade: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    begins = np.concatenate([[0], np.cumsum(lengths[:-1])]).astype(int).tolist()
    total = sum(lengths)
    parts = [rng.uniform(-0.5, 0.5, length + fade).astype(np.float32) for length in lengths]
    whole = crossfade_shots(parts, begins, total, fade)
    assert whole.shape == (total,)
    for number, (part, begin) in enumerate(zip(parts, begins, strict=True)):
        own = slice(begin + (fade if number else 0), begin + lengths[number])
        assert np.array_equal(whole[own], part[fade if number else 0 : lengths[number]])


def test_joins_keep_the_power() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, 0.1, 48_000).astype(np.float32) for _ in range(2)]
    whole = crossfade_shots(parts, [0, 24_000], 48_000, 4000)
    assert whole[24_000:28_000].std() == pytest.approx(0.1, rel=0.05)


def test_every_shot_has_its_own_seed() -> None:
    shots = ShotPlan.from_cuts((Fraction(1), Fraction(2)), Fraction(100), 300)
    assert shots.starts == (0, 100, 200)
    seeds = shots.derive_seeds(7)
    assert seeds[0] == 7
    assert len(set(seeds)) == 3
    assert shots.derive_seeds(8)[1] != seeds[1]


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ((2, 1), "leave a shot from 2 s to 1 s"),
        ((1, 1), "leave a shot from 1 s to 1 s"),
        ((0.1,), "leave a shot from 0 s to 0.1 s"),
        ((2.9,), "leave a shot from 2.9 s to 3 s"),
        ((-1,), "The cut at -1 s is not within the clip"),
        ((4,), "The cut at 4 s is not within the clip, which lasts 3 s"),
        ((float("nan"),), "A cut is not a time"),
        ((float("inf"),), "A cut is not a time"),
        (("soon",), "A cut is not a time"),
    ],
)
def test_invalid_cuts_are_refused(cuts: tuple, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        validate_cuts(cuts, Fraction(3))


def test_a_clip_without_cuts_may_be_shorter_than_a_shot() -> None:
    assert validate_cuts((), Fraction(1, 24)) == ()


def test_options_that_contradict_cuts_are_refused(model: ReWaS, long_clip: Path) -> None:
    clip, stem = VideoClip(long_clip, duration=2), Stem("primary", np.zeros((1, 32_000), np.float32), 16_000)
    with pytest.raises(SettingsError, match="A loop cannot have a new sound at cuts"):
        model.generate(clip, output=Output(cuts=(1,), loop=True), **FAST)
    with pytest.raises(SettingsError, match="A regenerated sound cannot have a new sound at cuts"):
        model.generate(clip, regenerate=Regenerate(stem, 0, 1), output=Output(cuts=(1,)), **FAST)
