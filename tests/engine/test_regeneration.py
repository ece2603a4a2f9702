"""Regenerated ranges: kept samples, new samples, and the crossfades between them."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_engine import (
    SILENCE_NATS,
    Control,
    EnergyCurve,
    GenerationResult,
    Output,
    Regenerate,
    ReWaS,
    Sampling,
    SettingsError,
    Stem,
    VideoClip,
)
from rewas_engine.conditioning.mel import AudioFrontEnd, MelConfig
from rewas_engine.generation.synthesis import InpaintSource
from rewas_engine.requests import take_making
from rewas_engine.requests.regeneration import CROSSFADE_S, match_level

RATE_HZ = 16_000


def stem(seconds: float, rate_hz: int = RATE_HZ, channels: int = 1) -> Stem:
    noise = np.random.default_rng(0).normal(0, 0.1, (channels, round(seconds * rate_hz)))
    return Stem("primary", noise.astype(np.float32), rate_hz)


@settings(max_examples=60)
@given(
    st.sampled_from([16_000, 22_050, 44_100, 48_000]),
    st.fractions(Fraction(0), Fraction(2), max_denominator=1001),
    st.fractions(Fraction(0), Fraction(2), max_denominator=1001),
    st.integers(1, 2),
)
def test_samples_outside_range_and_crossfades_are_unchanged(
    rate_hz: int, one: Fraction, other: Fraction, channels: int
) -> None:
    start_s, end_s = sorted((one, other))
    if start_s == end_s:
        return
    old, duration_s = stem(2, rate_hz, channels), Fraction(2)
    new_waveform = np.ones((1, 2 * rate_hz), np.float32)
    whole = Regenerate(old, start_s, end_s).splice(new_waveform, duration_s)
    times_s = np.arange(2 * rate_hz) / rate_hz
    fade_s = float(CROSSFADE_S)
    slack_s = 1.5 / rate_hz
    outside = (times_s < float(start_s) - fade_s - slack_s) | (times_s > float(end_s) + fade_s + slack_s)
    assert np.array_equal(whole[:, outside], old.waveform[:, outside])
    inside = (times_s > float(start_s) + slack_s) & (times_s < float(end_s) - slack_s)
    assert (whole[:, inside] == 1).all()


def test_a_crossfade_is_gradual() -> None:
    old = Stem("primary", np.zeros((1, 2 * RATE_HZ), np.float32), RATE_HZ)
    whole = Regenerate(old, Fraction(1), Fraction(3, 2)).splice(np.ones((1, 2 * RATE_HZ), np.float32), Fraction(2))
    assert np.abs(np.diff(whole[0])).max() < 1.01 / (RATE_HZ * 0.02)


def test_an_extended_sound_crossfades_before_its_end() -> None:
    old = stem(1)
    whole = Regenerate(old, Fraction(1)).splice(np.ones((1, 2 * RATE_HZ), np.float32), Fraction(2))
    assert np.array_equal(whole[0, : RATE_HZ - 321], old.waveform[0, : RATE_HZ - 321])
    assert (whole[0, RATE_HZ:] == 1).all()
    assert (whole[0, RATE_HZ - 16 : RATE_HZ] > 0.8).all()


@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_frames_within_the_range_are_not_kept(rate_hz: int) -> None:
    earlier = Regenerate(stem(2, rate_hz), Fraction(1, 2), Fraction(1)).inpaint_source(
        Fraction(2), AudioFrontEnd(MelConfig())
    )
    assert earlier.log_mel.shape == (200, 64)
    assert earlier.keep_mask[:50].all()
    assert not earlier.keep_mask[50:100].any()
    assert earlier.keep_mask[100:].all()


def test_regenerating_the_whole_sound_keeps_no_frames() -> None:
    assert not Regenerate(stem(2), strength=0.3).inpaint_source(Fraction(2), AudioFrontEnd(MelConfig())).keep_mask.any()


@pytest.mark.parametrize(
    ("start_s", "end_s", "strength", "message"),
    [
        (-1, 1, 1.0, "is not within the clip"),
        (1, 1, 1.0, "is not within the clip"),
        (1, 4, 1.0, "is not within the clip"),
        (0, 1, 0.0, "The strength is 0"),
        (0, 1, float("nan"), "The strength is nan"),
        (Fraction(5, 2), 3, 1.0, "would leave part of the clip without sound"),
        (1, Fraction(5, 2), 1.0, "would leave part of the clip without sound"),
    ],
)
def test_invalid_ranges_are_refused(start_s, end_s, strength: float, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Regenerate(stem(2), Fraction(start_s), Fraction(end_s), strength).range_s(Fraction(3))
    with pytest.raises(SettingsError, match="end of the range is not a time"):
        Regenerate(stem(2), 0, float("nan")).range_s(Fraction(3))
    with pytest.raises(SettingsError, match="longer than the clip"):
        Regenerate(stem(2)).range_s(Fraction(1))


DURATION_S = Fraction(8)


@pytest.fixture(scope="module")
def clip(long_clip: Path) -> VideoClip:
    return VideoClip(long_clip, start=1, duration=DURATION_S)


@pytest.fixture(scope="module")
def take(model: ReWaS, clip: VideoClip) -> Stem:
    energy = EnergyCurve(np.full(800, -4, np.float32), Fraction(100))
    result = model.generate(
        clip,
        prompt="a bell",
        seed=3,
        control=Control(energy=energy),
        sampling=Sampling(num_inference_steps=2),
        output=Output(sample_rate_hz=48_000),
    )
    return result.takes[0].stems["primary"]


def regenerate_range(
    model: ReWaS, clip: VideoClip, regenerate: Regenerate, steps: int = 2, **settings
) -> GenerationResult:
    sampling = Sampling(num_inference_steps=steps)
    return model.generate(clip, prompt="a bell", regenerate=regenerate, seed=5, sampling=sampling, **settings)


def test_a_range_of_a_take_is_regenerated(model: ReWaS, clip: VideoClip, take: Stem) -> None:
    result = regenerate_range(model, clip, Regenerate(take, Fraction(3), Fraction(4)))
    new = result.takes[0].stems["primary"]
    assert new.sample_rate_hz == 48_000
    assert new.waveform.shape == take.waveform.shape
    times_s = np.arange(new.waveform.shape[1]) / 48_000
    outside = (times_s < 2.979) | (times_s > 4.021)
    assert np.array_equal(new.waveform[:, outside], take.waveform[:, outside])
    inside = (times_s > 3) & (times_s < 4)
    assert np.abs(new.waveform[:, inside] - take.waveform[:, inside]).mean() > 0.05 * np.abs(take.waveform).mean()
    repeated = regenerate_range(model, clip, Regenerate(take, Fraction(3), Fraction(4)))
    assert np.array_equal(repeated.takes[0].stems["primary"].waveform, new.waveform)


def test_a_range_is_scored_separately(model: ReWaS, clip: VideoClip, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kept part is silent although sound is requested. That must not count as a fault of the range.
    silent = Stem("primary", np.zeros((1, 8 * 48_000), np.float32), 48_000)
    energy = EnergyCurve(np.full(800, -4, np.float32), Fraction(100))
    lengths: list[tuple[int, int, int]] = []
    faults = take_making.find_faults

    def record_lengths(waveform, log_mel, requested, *others):
        lengths.append((len(waveform), len(log_mel), len(requested.values)))
        return faults(waveform, log_mel, requested, *others)

    monkeypatch.setattr(take_making, "find_faults", record_lengths)
    result = regenerate_range(
        model, clip, Regenerate(silent, Fraction(3), Fraction(7, 2)), control=Control(energy=energy)
    )
    take = result.takes[0]
    inside = slice(300, 350)
    expected = np.abs(result.requested_energy.values - take.produced_energy.values)[inside].mean()
    assert take.energy_mae_nats == pytest.approx(float(expected), rel=1e-6)
    assert len(take.produced_energy.values) == len(result.requested_energy.values) == 800
    assert set(lengths) == {(RATE_HZ // 2, 50, 50)}


def test_a_faulty_range_is_replaced_once(
    model: ReWaS, clip: VideoClip, take: Stem, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([("stuck",), ()])
    monkeypatch.setattr(take_making, "find_faults", lambda *of_what: next(found))
    (regenerated_take,) = regenerate_range(model, clip, Regenerate(take, Fraction(3), Fraction(4))).takes
    assert (regenerated_take.replaced_seed, regenerated_take.faults) == (5, ())


def test_a_take_is_extended_beyond_its_end(model: ReWaS, clip: VideoClip, take: Stem) -> None:
    begun = replace(take, waveform=take.waveform[:, : 5 * 48_000])
    new = regenerate_range(model, clip, Regenerate(begun, start_s=Fraction(5))).takes[0].stems["primary"].waveform
    assert new.shape == take.waveform.shape
    assert np.array_equal(new[:, : 5 * 48_000 - 961], begun.waveform[:, : 5 * 48_000 - 961])
    assert np.abs(new[:, 5 * 48_000 :]).max() > 0


def test_a_variation_follows_the_energy_of_the_take(model: ReWaS, clip: VideoClip, take: Stem) -> None:
    updates = []
    result = regenerate_range(model, clip, Regenerate(take, strength=0.4), steps=5, on_progress=updates.append)
    own = model.front_end.measure_energy(Regenerate(take).mono_waveform(16_000))
    assert np.array_equal(result.requested_energy.values, np.maximum(own.values, -11.5129).astype(np.float32))
    steps = [progress.step for progress in updates if progress.stage == "sample"]
    assert max(steps) == 2 == max(progress.total_steps for progress in updates if progress.stage == "sample")


def test_kept_samples_are_not_resampled(model: ReWaS, clip: VideoClip, take: Stem) -> None:
    with pytest.raises(SettingsError, match="regenerate is at 48000 Hz, but the sample rate is set to 44100 Hz"):
        regenerate_range(model, clip, Regenerate(take), output=Output(sample_rate_hz=44_100))


def test_a_sound_beyond_full_scale_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"is 6\.0 dB beyond full scale"):
        Regenerate(Stem("primary", np.full((1, 100), 2.0, np.float32), RATE_HZ))


@pytest.mark.parametrize("gain_db", [0.0, -18.0])
def test_the_requested_energy_has_the_level_of_the_kept_sound(model: ReWaS, long_clip: Path, gain_db: float) -> None:
    clip, old = VideoClip(long_clip, duration=2), stem(2)
    quieter = replace(old, waveform=(old.waveform * 10 ** (gain_db / 20)).astype(np.float32))
    results = [
        model.generate(
            clip,
            prompt="a bell",
            regenerate=Regenerate(one, 1, 1.5),
            sampling=Sampling(num_inference_steps=1, guidance_scale=1.0),
        )
        for one in (old, quieter)
    ]
    whole, lowered = (result.requested_energy.values for result in results)
    audible = (whole > SILENCE_NATS + 3) & (lowered > SILENCE_NATS + 1)
    assert audible.any()
    np.testing.assert_allclose((lowered - whole)[audible], gain_db / 20 * np.log(10), atol=0.1)


def test_a_given_energy_is_not_changed(model: ReWaS, long_clip: Path) -> None:
    clip, energy = VideoClip(long_clip, duration=2), EnergyCurve(np.full(200, -4, np.float32), Fraction(100))
    quiet = replace(stem(2), waveform=0.01 * stem(2).waveform)
    result = model.generate(
        clip,
        prompt="a bell",
        regenerate=Regenerate(quiet, 1),
        control=Control(energy=energy),
        sampling=Sampling(num_inference_steps=1, guidance_scale=1.0),
    )
    np.testing.assert_allclose(result.requested_energy.values, -4, atol=1e-5)


@pytest.mark.parametrize("kept_frames", [0, 9])
def test_with_too_few_kept_frames_the_energy_is_not_changed(kept_frames: int) -> None:
    front_end, energy = AudioFrontEnd(MelConfig()), EnergyCurve(np.full(200, -4, np.float32), Fraction(100))
    earlier = InpaintSource(torch.full((200, 64), -7.0), np.arange(200) < kept_frames)
    assert match_level(earlier, energy, front_end) is energy
    assert match_level(None, energy, front_end) is energy
    enough = InpaintSource(torch.full((200, 64), -7.0), np.arange(200) < 20)
    np.testing.assert_allclose(match_level(enough, energy, front_end).values, -7, atol=1e-5)
