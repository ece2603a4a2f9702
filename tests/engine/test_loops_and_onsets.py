"""Generating loops, and generating sounds that follow onsets."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_engine import (
    SILENCE_NATS,
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
from rewas_engine.errors import MediaError
from rewas_engine.exact_time import sample_count
from rewas_engine.media.audio import read_audio_file, resample_loop

FAST = {"prompt": "rain", "sampling": Sampling(num_inference_steps=1, guidance_scale=1.0)}


def relative_step_at_join(waveform: np.ndarray) -> float:
    """The step from the last sample to the first, relative to the 99th percentile of all other steps."""
    steps = np.abs(np.diff(waveform))
    return float(abs(waveform[0] - waveform[-1]) / np.quantile(steps, 0.99))


@given(
    st.integers(200, 3000),
    st.sampled_from([(16_000, 48_000), (16_000, 44_100), (16_000, 22_050), (16_000, 16_000)]),
    st.integers(1, 20),
)
@settings(max_examples=40)
def test_a_resampled_loop_still_loops(length: int, rates: tuple[int, int], periods: int) -> None:
    # A whole number of periods has a known loop.
    wave = np.sin(2 * np.pi * periods * np.arange(length) / length).astype(np.float32)
    samples = sample_count(Fraction(length, rates[0]), rates[1])
    resampled = resample_loop(wave[None], samples)[0]
    assert resampled.shape == (samples,)
    spectrum = np.abs(np.fft.rfft(resampled)) / (samples / 2)
    assert spectrum[periods] == pytest.approx(1, abs=0.01)
    assert np.delete(spectrum, periods).max() < 0.01


@pytest.mark.parametrize(
    ("duration", "rate_hz"), [("1", 48_000), ("7007/24000", 44_100), ("6.4321", 22_050), ("1/5", None)]
)
def test_a_loop_has_the_exact_length_of_its_clip_and_no_step(
    model: ReWaS, long_clip: Path, duration: str, rate_hz: int | None
) -> None:
    clip = VideoClip(long_clip, duration=duration)
    result = model.generate(clip, output=Output(loop=True, sample_rate_hz=rate_hz), **FAST)
    stem = result.takes[0].stems["primary"]
    assert stem.waveform.shape == (1, sample_count(Fraction(duration), stem.sample_rate_hz))
    assert relative_step_at_join(stem.waveform[0]) < 2
    assert result.output.loop
    # Without a given energy, a loop has a constant energy, whatever the video shows.
    assert np.ptp(result.requested_energy.values) == 0


def test_a_loop_follows_a_given_energy(model: ReWaS, long_clip: Path) -> None:
    curve = EnergyCurve(np.linspace(-4, -8, 100, dtype=np.float32), Fraction(50))
    result = model.generate(
        VideoClip(long_clip, duration=2), output=Output(loop=True), control=Control(energy=curve), **FAST
    )
    assert result.requested_energy.values[-1] < result.requested_energy.values[0] - 3
    with pytest.raises(SettingsError, match="the loop would break off at its join"):
        model.generate(
            VideoClip(long_clip, duration=2),
            output=Output(loop=True),
            control=Control(energy=replace(curve, values=curve.values[::-1].copy())),
            **FAST,
        )


def test_a_regenerated_range_cannot_be_a_loop(model: ReWaS, long_clip: Path) -> None:
    stem = Stem("primary", np.zeros((1, 16_000), np.float32), 16_000)
    with pytest.raises(SettingsError, match="A regenerated sound cannot be a loop"):
        model.generate(
            VideoClip(long_clip, duration=1),
            regenerate=Regenerate(stem, strength=0.5),
            output=Output(loop=True),
            **FAST,
        )


def test_onsets_are_refused_if_the_pack_does_not_support_them(model: ReWaS, long_clip: Path) -> None:
    with pytest.raises(SettingsError, match="does not support the control onsets"):
        model.generate(VideoClip(long_clip, duration=1), control=Control(kind="onsets"), **FAST)


def test_an_energy_without_onsets_is_refused(reading_all_controls: ReWaS, long_clip: Path) -> None:
    flat = EnergyCurve(np.full(100, -5, np.float32), Fraction(100))
    with pytest.raises(SettingsError, match="The energy has no onsets"):
        reading_all_controls.generate(
            VideoClip(long_clip, duration=1), control=Control(energy=flat, kind="onsets"), **FAST
        )


def test_layers_follow_their_energy_when_the_primary_sound_follows_onsets(
    reading_all_controls: ReWaS, long_clip: Path
) -> None:
    values = np.full(100, SILENCE_NATS, np.float32)
    values[40:45] = -3
    strike, clip, layers = EnergyCurve(values, Fraction(100)), VideoClip(long_clip, duration=1), (Layer("air", "wind"),)

    def generate_layer(control) -> np.ndarray:
        result = reading_all_controls.generate(
            clip, layers=layers, seed=3, control=Control(energy=strike, kind=control), **FAST
        )
        return result.takes[0].stems["air"].waveform / np.abs(result.takes[0].stems["air"].waveform).max()

    np.testing.assert_allclose(generate_layer("onsets"), generate_layer("energy"), atol=1e-4)


def test_onset_control_ignores_the_shape_of_the_energy(reading_all_controls: ReWaS, long_clip: Path) -> None:
    times_s = (np.arange(300) + 0.5) / 100

    def strike(fall_s: float) -> EnergyCurve:
        since_s = np.where(times_s < 1, np.inf, times_s - 1)
        return EnergyCurve(np.maximum(-3 - since_s / fall_s, -11).astype(np.float32), Fraction(100))

    clip = VideoClip(long_clip, duration=3)

    def generate(curve: EnergyCurve, control: str) -> np.ndarray:
        result = reading_all_controls.generate(clip, control=Control(energy=curve, kind=control), **FAST)
        assert result.control.kind == control
        return result.takes[0].stems["primary"].waveform

    short, long = strike(0.02), strike(0.2)
    assert np.array_equal(generate(short, "onsets"), generate(long, "onsets"))
    assert not np.array_equal(generate(short, "energy"), generate(long, "energy"))
    assert not np.array_equal(generate(short, "onsets"), generate(short, "energy"))


def test_written_stems_are_read_unchanged(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).integers(-(2**23), 2**23, (2, 5000)) / 2**23
    stem = Stem("ambience", drawn.astype(np.float32), 44_100)
    read = Stem.read(stem.save(tmp_path / "stem.wav"), "ambience")
    assert np.array_equal(read.waveform, stem.waveform)
    assert (read.role, read.sample_rate_hz) == ("ambience", 44_100)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not a sound at all"])
def test_files_without_sound_are_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(MediaError, match=r"a\.wav (cannot be read|is in a format that is not supported)"):
        read_audio_file(tmp_path / "a.wav")
    with pytest.raises(MediaError, match=r"b\.wav cannot be read"):
        read_audio_file(tmp_path / "b.wav")
