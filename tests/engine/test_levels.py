"""Levels: the energy of a video at the level of its prompt, and stems at the standard level."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine import (
    SILENCE_NATS,
    Control,
    EnergyCurve,
    Layer,
    Offset,
    Output,
    Sampling,
    VideoClip,
    flat_curve,
    parse_edit,
)
from rewas_engine.media.loudness import integrated_loudness_lufs, true_peak_of
from rewas_engine.pipeline import ReWaS
from rewas_engine.requests.levels import (
    MAX_SPREAD_NATS,
    TYPICAL_LEVEL_NATS,
    apply_typical_level,
    has_little_motion,
    level_nats,
    standard_gain_db,
)

RATE_HZ = Fraction(25)
CHARACTERS = ("steady", "struck", "varied")
FAST = Sampling(num_inference_steps=2)


def curve(values: object) -> EnergyCurve:
    return EnergyCurve(np.asarray(values, np.float32), RATE_HZ, "picture")


def strikes(peak_nats: float, count: int = 5) -> EnergyCurve:
    """Strikes a second apart that decay to silence."""
    decay = np.maximum(peak_nats - np.arange(25) / 2, SILENCE_NATS)
    return curve(np.tile(decay, count))


estimates = st.lists(st.floats(-11.5, 0, width=32), min_size=50, max_size=200).map(curve)


@given(estimates, st.sampled_from(CHARACTERS))
def test_the_shape_stays_and_the_level_is_that_of_the_prompt(estimate: EnergyCurve, character) -> None:
    if level_nats(estimate) < SILENCE_NATS + 2:
        return
    moved = apply_typical_level(estimate, character, SILENCE_NATS)
    assert moved.values.min() >= np.float32(SILENCE_NATS)
    # Louder moments stay louder.
    order = np.argsort(estimate.values, kind="stable")
    assert (np.diff(moved.values[order]) >= -1e-4).all()
    assert level_nats(moved) == pytest.approx(TYPICAL_LEVEL_NATS[character], abs=2)
    limit = MAX_SPREAD_NATS[character]
    if limit is not None:
        assert moved.values.std() <= limit + 1e-3


@given(st.floats(-11.5, -3), st.sampled_from(CHARACTERS))
def test_a_video_at_any_level_gives_the_same_energy(peak_nats: float, character) -> None:
    level = level_nats(apply_typical_level(strikes(peak_nats), character, SILENCE_NATS))
    if level_nats(strikes(peak_nats)) >= SILENCE_NATS + 2:
        assert level == pytest.approx(TYPICAL_LEVEL_NATS[character], abs=0.5)


def test_without_motion_a_struck_sound_is_silent_and_others_are_even() -> None:
    still = curve(SILENCE_NATS + 0.1 * np.random.default_rng(0).random(100))
    assert has_little_motion(still, SILENCE_NATS)
    assert (apply_typical_level(still, "struck", SILENCE_NATS).values == np.float32(SILENCE_NATS)).all()
    for character in ("steady", "varied"):
        even = apply_typical_level(still, character, SILENCE_NATS)
        assert even.values == pytest.approx(TYPICAL_LEVEL_NATS[character], abs=0.2)


def test_one_strike_in_a_long_clip_is_heard() -> None:
    values = np.full(1500, SILENCE_NATS)
    values[700:705] = -5
    moved = apply_typical_level(curve(values), "struck", SILENCE_NATS)
    assert has_little_motion(curve(values), SILENCE_NATS)  # so a note is due
    assert moved.values.max() == pytest.approx(TYPICAL_LEVEL_NATS["struck"] + 1, abs=0.2)


def test_long_gaps_between_strikes_stay_silent() -> None:
    moved = apply_typical_level(strikes(-8), "struck", SILENCE_NATS)
    assert (moved.values[strikes(-8).values == np.float32(SILENCE_NATS)] == np.float32(SILENCE_NATS)).all()


@pytest.mark.parametrize("character", CHARACTERS)
def test_a_muted_event_leaves_the_gain_of_the_others(character) -> None:
    rng = np.random.default_rng(1)
    energy = strikes(-4)
    sound = np.repeat(np.exp(energy.values), 640) * rng.standard_normal(energy.values.size * 640)
    sound = (0.5 * sound / np.abs(sound).max()).astype(np.float32)
    whole_db = standard_gain_db(sound[None], 16_000, character, energy, energy)
    edited = parse_edit("mute event 3").apply(energy)
    muted = sound.copy()
    muted[2 * 16_000 : 3 * 16_000] = 0
    muted_db = standard_gain_db(muted[None], 16_000, character, edited, energy)
    assert muted_db == pytest.approx(whole_db, abs=1.0)
    lower = Offset(-1.0).apply(energy)
    lower_db = standard_gain_db(sound[None], 16_000, character, lower, energy)
    assert lower_db - whole_db == pytest.approx(-8.7, abs=0.5)


def generate(model: ReWaS, clip: Path, prompt: str, *, output: Output | None = None, **more: object):
    return model.generate(VideoClip(clip), prompt=prompt, seed=1, sampling=FAST, output=output, **more)


@pytest.mark.parametrize(("prompt", "is_struck"), [("rain on a roof", False), ("a hammer", True)])
def test_stems_are_delivered_at_the_standard_level(model: ReWaS, long_clip: Path, prompt: str, is_struck: bool) -> None:
    duration_s = model.read_clip(VideoClip(long_clip)).duration_s
    energy = EnergyCurve((-5 + 2 * np.sin(np.arange(int(duration_s * 25)) / 6)).astype(np.float32), RATE_HZ)
    take = generate(
        model, long_clip, prompt, control=Control(energy=energy), output=Output(sample_rate_hz=48_000)
    ).takes[0]
    stem = take.stems["primary"]
    peak_db = 20 * np.log10(true_peak_of(stem.waveform, 48_000))
    loudness = integrated_loudness_lufs(stem.waveform, 48_000)
    if is_struck:
        assert -27.2 <= loudness <= -22.3
        assert peak_db == pytest.approx(-6, abs=0.2) or min(abs(loudness + 27), abs(loudness + 22.5)) < 0.2
    else:
        assert loudness == pytest.approx(-23, abs=0.2) or (loudness < -23 and peak_db == pytest.approx(-1.1, abs=0.2))
    raw = generate(model, long_clip, prompt, control=Control(energy=energy), output=Output(level="raw")).takes[0]
    assert raw.level_gain_db == 0
    # The same sound at another level.
    plain = generate(model, long_clip, prompt, control=Control(energy=energy)).takes[0]
    one, other = plain.stems["primary"].waveform[0], raw.stems["primary"].waveform[0]
    assert np.corrcoef(one, other)[0, 1] == pytest.approx(1, abs=1e-6)
    assert 20 * np.log10(true_peak_of(other[None], plain.stems["primary"].sample_rate_hz)) <= -1


def test_layers_keep_their_distance_to_the_primary_sound(model: ReWaS, long_clip: Path) -> None:
    duration_s = model.read_clip(VideoClip(long_clip)).duration_s
    control = Control(energy=flat_curve(duration=duration_s))
    layers = [Layer("ambience", "wind")]
    standard, raw = (
        generate(model, long_clip, "rain", control=control, layers=layers, output=Output(level=level)).takes[0]
        for level in ("standard", "raw")
    )
    for take in (standard, raw):
        rate_hz = take.stems["primary"].sample_rate_hz
        for waveform in (take.mix().waveform, *(stem.waveform for stem in take.stems.values())):
            assert 20 * np.log10(true_peak_of(waveform, rate_hz)) <= -1
    primary_db, ambience_db = (
        20 * np.log10(np.abs(standard.stems[role].waveform).max() / np.abs(raw.stems[role].waveform).max())
        for role in ("primary", "ambience")
    )
    assert primary_db == pytest.approx(ambience_db, abs=0.05)
