"""Texture control: its effect, its report, and refusals."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numbered_clips import clicks, write_sound

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
    TextureCurve,
    VideoClip,
    flat_curve,
    flat_texture,
)
from rewas_engine.checks import ControlName

FAST = {
    "prompt": "wind",
    "seed": 3,
    "sampling": Sampling(num_inference_steps=1),
    "output": Output(sample_rate_hz=16_000),
}


def waveform(result, role: str = "primary") -> np.ndarray:
    return result.takes[0].stems[role].waveform


def test_a_pack_without_texture_control_refuses_it(model: ReWaS, long_clip: Path) -> None:
    with pytest.raises(SettingsError, match="does not support the control texture") as refused:
        model.generate(VideoClip(long_clip, duration=1), control=Control(texture=flat_texture(duration=1)), **FAST)
    assert "It supports energy" in refused.value.remedy


def test_a_texture_has_an_effect_and_is_reported(reading_all_controls: ReWaS, long_clip: Path) -> None:
    clip, energy = VideoClip(long_clip, duration=2), flat_curve(duration=2)
    plain = reading_all_controls.generate(clip, control=Control(energy=energy), **FAST)
    assert plain.requested_texture is None
    assert plain.takes[0].produced_texture is None
    assert plain.takes[0].texture_error_nats is None
    dark = reading_all_controls.generate(
        clip, control=Control(energy=energy, texture=flat_texture(duration=2, tilt_nats=-4)), **FAST
    )
    repeated = reading_all_controls.generate(
        clip, control=Control(energy=energy, texture=flat_texture(duration=2, tilt_nats=-4)), **FAST
    )
    assert not np.array_equal(waveform(plain), waveform(dark))
    assert np.array_equal(waveform(dark), waveform(repeated))
    assert dark.requested_texture is not None
    (take,) = dark.takes
    assert take.produced_texture is not None
    assert dark.requested_texture.values.shape == take.produced_texture.values.shape == (200, 4)
    np.testing.assert_allclose(dark.requested_texture.tilt_nats, -4, atol=1e-5)
    difference = np.abs(dark.requested_texture.values - take.produced_texture.values).mean()
    assert take.texture_error_nats == pytest.approx(difference, abs=1e-5)


@pytest.mark.parametrize(("kind", "loop"), [("onsets", False), ("energy", True)])
def test_texture_works_with_onsets_and_loops(
    reading_all_controls: ReWaS, long_clip: Path, kind: ControlName, loop: bool
) -> None:
    clip = VideoClip(long_clip, duration="1.01")
    energy = EnergyCurve(-4 - 6 * np.abs(np.sin(np.arange(101) / 10)).astype(np.float32), Fraction(100))
    results = [
        reading_all_controls.generate(
            clip,
            control=Control(kind=kind, energy=energy, texture=texture),
            **{**FAST, "output": Output(sample_rate_hz=16_000, loop=loop)},
        )
        for texture in (None, flat_texture(duration="1.01", tilt_nats=6))
    ]
    assert not np.array_equal(*map(waveform, results))
    assert results[1].takes[0].texture_error_nats is not None


def test_texture_does_not_apply_to_layers(reading_all_controls: ReWaS, long_clip: Path) -> None:
    clip, layers = VideoClip(long_clip, duration=1), [Layer("ambience", "rain", gain_db=-30)]
    results = [
        reading_all_controls.generate(
            clip, layers=layers, control=Control(energy=flat_curve(duration=1), texture=texture), **FAST
        )
        for texture in (None, flat_texture(duration=1, tilt_nats=-6))
    ]
    reports = [result.takes[0].layers["ambience"] for result in results]
    assert np.array_equal(reports[0].produced_energy.values, reports[1].produced_energy.values)
    assert results[1].takes[0].texture_error_nats is not None


def test_a_regenerated_range_may_have_another_texture(reading_all_controls: ReWaS, long_clip: Path) -> None:
    clip = VideoClip(long_clip, duration=3)
    old = Stem("primary", np.random.default_rng(0).uniform(-0.3, 0.3, (1, 48_000)).astype(np.float32), 16_000)
    results = [
        reading_all_controls.generate(
            clip,
            regenerate=Regenerate(old, 1, 2),
            control=Control(energy=flat_curve(duration=3), texture=texture),
            **FAST,
        )
        for texture in (None, flat_texture(duration=3, tilt_nats=-6))
    ]
    assert not np.array_equal(*map(waveform, results))
    for result in results:
        assert np.array_equal(waveform(result)[:, :15_000], old.waveform[:, :15_000])


@pytest.mark.parametrize("duration", [1, 3])
def test_a_texture_must_have_the_length_of_the_clip(
    reading_all_controls: ReWaS, long_clip: Path, duration: int
) -> None:
    with pytest.raises(SettingsError, match=rf"The texture curve lasts {duration}.000 s, but the clip .* 2.000 s"):
        reading_all_controls.generate(
            VideoClip(long_clip, duration=2), control=Control(texture=flat_texture(duration=duration)), **FAST
        )


def test_the_texture_of_a_sound_is_measured(model: ReWaS, tmp_path: Path) -> None:
    moments_s = np.arange(3 * 16_000) / 16_000
    tones = {}
    for name, frequency_hz in (("low", 300), ("high", 5000)):
        tone = (0.3 * np.sin(2 * np.pi * frequency_hz * moments_s)).astype(np.float32)
        tones[name] = model.measure_texture(VideoClip(write_sound(tmp_path / f"{name}.wav", tone, 16_000)))
        assert tones[name].source == "audio"
        assert tones[name].values.shape == (300, 4)
    assert tones["low"].values[150].argmax() == 0
    assert tones["high"].values[150].argmax() == 3
    assert tones["low"].tilt_nats[150] < -0.5 < 0.5 < tones["high"].tilt_nats[150]
    silent = model.measure_texture(VideoClip(write_sound(tmp_path / "silent.wav", clicks(16_000, []), 16_000)))
    assert not silent.values.any()
    assert isinstance(silent, TextureCurve)
