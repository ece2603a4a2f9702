"""Textures: what they are, where they come from, what edits do to them, and what is refused in one sentence."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rewas_engine import (
    EnergyCurve,
    FadeIn,
    FadeOut,
    Gate,
    MediaError,
    RaiseBand,
    Scale,
    SettingsError,
    Shift,
    Smooth,
    Stretch,
    TextureCurve,
    TextureEdit,
    Tilt,
    apply_edits,
    flat_texture,
    parse_texture_edit,
    read_texture,
    texture_from_points,
    write_texture,
)
from rewas_engine.curves.texture import BAND_NAMES, MAX_BAND_NATS, texture_error

bands = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 120), st.just(4)), elements=st.floats(-5, 5, width=32, allow_nan=False)
)
rates = st.sampled_from([Fraction(25), Fraction(100), Fraction(24_000, 1001)])
textures = st.builds(TextureCurve, bands, rates)
edits = st.one_of(
    st.builds(Scale, st.floats(0, 100)),
    st.builds(Smooth, st.floats(0, 60)),
    st.builds(FadeIn, st.floats(0, 1e6)),
    st.builds(FadeOut, st.floats(0, 1e6)),
    st.builds(Shift, st.floats(-1e6, 1e6)),
    st.builds(Stretch, st.floats(0.01, 100)),
    st.builds(Tilt, st.floats(-24, 24)),
    st.builds(RaiseBand, st.sampled_from(BAND_NAMES), st.floats(-24, 24)),
)


def ramp(count: int = 100) -> TextureCurve:
    """From dark to bright."""
    return TextureCurve(np.linspace(-1, 1, count)[:, None] * np.array([-3, -1, 1, 3]), Fraction(100), "audio")


def applied(edit: TextureEdit, texture: TextureCurve) -> tuple[TextureCurve | None, str]:
    """The edited texture and "", or nothing and what was said."""
    try:
        return edit.apply(texture), ""
    except SettingsError as error:
        return None, error.what


# What a texture is


@given(bands, st.floats(-30, 30, width=32))
def test_only_differences_between_bands_count(values: np.ndarray, level: float) -> None:
    texture, raised = TextureCurve(values, Fraction(100)), TextureCurve(values + level, Fraction(100))
    np.testing.assert_allclose(texture.values, raised.values, atol=1e-4)
    np.testing.assert_allclose(texture.values.mean(axis=1), 0, atol=1e-5)


def test_a_tilt_is_how_far_the_high_band_stands_above_the_low_one() -> None:
    np.testing.assert_allclose(flat_texture(duration=1, tilt_nats=3).tilt_nats, 3, atol=1e-5)
    np.testing.assert_allclose(flat_texture(duration=1, tilt_nats=3).values[0], [-1.5, -0.5, 0.5, 1.5], atol=1e-5)
    assert not flat_texture(duration=1).values.any()
    assert flat_texture(duration=Fraction(7007, 24_000)).values.shape == (30, 4)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "empty or does not have 4 bands"),
        (np.zeros((0, 4)), "empty or does not have 4 bands"),
        (np.zeros(8), "empty or does not have 4 bands"),
        (np.zeros((8, 3)), "empty or does not have 4 bands"),
        (np.full((8, 4), np.nan), "Value 0 of the texture curve is nan"),
        ([[0, 0, 0, 0], [0, np.inf, 0, 0]], "Value 1 of the texture curve is inf"),
        ([[0, 0, 0, 0], [0, 0, 0, 20]], r"Value 1 of the texture curve has its high band \+15.0 nats"),
        ("loud", "values that are not numbers"),
    ],
)
def test_values_that_are_no_texture_are_refused(values, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        TextureCurve(values, Fraction(100))
    with pytest.raises(SettingsError, match="rate"):
        TextureCurve(np.zeros((8, 4)), Fraction(0))


def test_a_texture_is_read_at_any_rate_and_held_at_its_ends() -> None:
    texture = ramp()
    np.testing.assert_allclose(texture.resample(100, 100), texture.values, atol=1e-6)
    assert texture.resample(50, 70).shape == (70, 4)
    np.testing.assert_allclose(texture.resample(50, 70)[50:], np.tile(texture.values[-1], (20, 1)), atol=1e-6)
    longer = texture.with_duration(Fraction(2))
    assert longer.duration_s == 2
    np.testing.assert_allclose(longer.values[100:], np.tile(texture.values[-1], (100, 1)))
    assert len(texture.with_duration(Fraction(1, 4)).values) == 25
    with pytest.raises(SettingsError, match="duration of the texture curve is 0 s"):
        texture.with_duration(Fraction(0))


@pytest.mark.parametrize("tilt_nats", [float("nan"), float("inf"), 30, -30])
def test_a_tilt_that_no_sound_has_is_refused(tilt_nats: float) -> None:
    with pytest.raises(SettingsError, match="tilt"):
        flat_texture(duration=1, tilt_nats=tilt_nats)
    with pytest.raises(SettingsError, match="duration of the texture curve is 0 s"):
        flat_texture(duration=0)


def test_errors_are_counted_where_something_sounds() -> None:
    energy = np.array([-11.5, -11.5, -4, -4], np.float32)
    wanted, made = np.zeros((4, 4)), np.array([[9.0] * 4, [9.0] * 4, [1.0] * 4, [3.0] * 4])
    assert texture_error(wanted, made, energy) == pytest.approx(2.0)
    assert texture_error(wanted, made, np.full(4, -5, np.float32)) == pytest.approx(5.5)


# From points and files


def test_points_of_bands_and_of_tilts() -> None:
    of_bands = texture_from_points([(0, 2, 1, -1, -2), (2, -2, -1, 1, 2)], duration=2)
    assert of_bands.values.shape == (200, 4)
    np.testing.assert_allclose(of_bands.values[100], [-0.01, -0.005, 0.005, 0.01], atol=1e-4)
    of_tilts = texture_from_points([(0, -4), (2, 4)], duration=2)
    np.testing.assert_allclose(of_tilts.tilt_nats, np.linspace(-3.98, 3.98, 200), atol=1e-4)


steep = TextureCurve(np.tile([[0, 0, 0, 0], [-2.5, 7.5, -2.5, -2.5]], (60, 1)), Fraction(24_000, 1001), "user")


@given(textures)
@example(steep)
def test_a_texture_that_was_written_is_read_as_it_was(tmp_path_factory, texture: TextureCurve) -> None:
    path = write_texture(texture, tmp_path_factory.getbasetemp() / "texture.csv")
    assert path.read_text().startswith("time_s,low,low_mid,high_mid,high\n")
    if len(texture.values) < 2:
        return
    again = read_texture(path, duration=texture.duration_s)
    wanted = np.stack([np.interp(again.times_s(), texture.times_s(), row) for row in texture.values.T], axis=-1)
    np.testing.assert_allclose(again.values, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ("", MediaError, "texture.csv is empty"),
        ("time_s,energy\n0,-5\n2,-5\n", MediaError, "begins with “time_s,energy”"),
        ("time_s,tilt\n0,1\n1,2,3\n", MediaError, "line “1,2,3”"),
        ("time_s,low,low_mid,high_mid,high\n0,1\n", MediaError, "line “0,1”"),
        ("time_s,tilt\n0,1\n", SettingsError, "one point only"),
        ("time_s,tilt\n0,1\n1,nan\n2,0\n", SettingsError, r"Point 2 of texture.csv is \(1 s, nan nats\)"),
        ("time_s,tilt\n0,1\n1,inf\n2,0\n", SettingsError, "Point 2"),
        ("time_s,tilt\n0,1\n2,1\n1,0\n", SettingsError, "Point 3 of texture.csv is at 1 s, not after"),
        ("time_s,tilt\n0,1\n1,1\n", SettingsError, "texture.csv is too short"),
        ("time_s,tilt\n0,1\n9,1\n", SettingsError, "texture.csv extends to 9 s"),
        ("time_s,tilt\n-1,1\n2,1\n", SettingsError, "before the clip"),
        ("time_s,tilt\n0,1\n2,99\n", SettingsError, "Point 2 of texture.csv has a band"),
        ("time_s,low,low_mid,high_mid,high\n0,0,0,0,0\n2,0,0,0,99\n", SettingsError, "Point 2 of texture.csv"),
    ],
)
def test_files_that_hold_no_texture_are_refused(content: str, error, said: str, tmp_path: Path) -> None:
    (tmp_path / "texture.csv").write_text(content)
    with pytest.raises(error, match=said) as refused:
        read_texture(tmp_path / "texture.csv", duration=2)
    assert refused.value.remedy.endswith(".")


@pytest.mark.parametrize("points", [[], [1, 2], [(0, 1), (2, 1, 1)], [(0, 1, 1), (2, 1, 1)], [("a", "b")]])
def test_points_that_make_no_texture_are_refused(points) -> None:
    with pytest.raises(SettingsError, match="texture curve"):
        texture_from_points(points, duration=2)


# Edits


@given(textures, edits)
def test_an_edited_texture_is_a_texture_or_the_edit_is_refused(texture: TextureCurve, edit: TextureEdit) -> None:
    changed, said = applied(edit, texture)
    if changed is None:
        assert str(edit) in said
        return
    assert changed.values.shape == texture.values.shape
    assert (changed.rate_hz, changed.source) == (texture.rate_hz, texture.source)
    assert np.abs(changed.values).max() <= MAX_BAND_NATS + 1e-4
    np.testing.assert_allclose(changed.values.mean(axis=1), 0, atol=1e-4)


@given(edits)
def test_every_edit_can_be_said_and_is_understood(edit: TextureEdit) -> None:
    assert parse_texture_edit(str(edit)) == edit


@pytest.mark.parametrize(
    "edit", [Scale(1), Smooth(0), FadeIn(0), FadeOut(0), Shift(0), Stretch(1), Tilt(0), RaiseBand("low", 0)], ids=str
)
@given(texture=textures)
def test_some_edits_change_nothing(edit: TextureEdit, texture: TextureCurve) -> None:
    np.testing.assert_allclose(edit.apply(texture).values, texture.values, atol=1e-5)


def test_brighter_and_darker_are_tilts() -> None:
    assert parse_texture_edit("Brighter 1.5") == Tilt(1.5)
    assert parse_texture_edit("darker 1.5") == Tilt(-1.5)
    assert parse_texture_edit("raise low-mid -2") == RaiseBand("low_mid", -2)
    up = apply_edits(ramp(), [Tilt(2)])
    np.testing.assert_allclose(up.tilt_nats, ramp().tilt_nats + 2, atol=1e-5)


def test_a_raised_band_is_raised_against_the_others() -> None:
    raised = RaiseBand("high", 2).apply(flat_texture(duration=1)).values[0]
    np.testing.assert_allclose(raised, [-0.5, -0.5, -0.5, 1.5], atol=1e-6)


def test_what_comes_into_the_clip_is_like_its_end() -> None:
    later = Shift(0.2).apply(ramp()).values
    np.testing.assert_allclose(later[:20], np.tile(ramp().values[0], (20, 1)), atol=1e-5)
    np.testing.assert_allclose(later[20:], ramp().values[:80], atol=1e-5)
    quick = Stretch(0.5).apply(ramp()).values
    np.testing.assert_allclose(quick[50:], np.tile(ramp().values[-1], (50, 1)), atol=0.07)


def test_fades_lead_to_bands_alike() -> None:
    faded = apply_edits(flat_texture(duration=1, tilt_nats=4), [FadeIn(0.5), FadeOut(0.2)]).tilt_nats
    assert abs(faded[0]) < 0.1
    assert abs(faded[-1]) < 0.2
    np.testing.assert_allclose(faded[50:80], 4, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("", "tilt NATS; brighter NATS"),
        ("gate -8", "raise BAND NATS"),
        ("tilt", "Write it as tilt NATS."),
        ("tilt much", "Write it as tilt NATS."),
        ("tilt 1_0", "Write it as tilt NATS."),
        ("raise treble 2", "BAND is one of low, low_mid, high_mid, high."),
        ("raise 2", "raise BAND NATS"),
        ("fade 2", "fade in SECONDS"),
    ],
)
def test_words_that_mean_no_edit_are_refused_with_what_can_be_said(words: str, remedy: str) -> None:
    with pytest.raises(SettingsError, match="is not understood") as refused:
        parse_texture_edit(words)
    assert remedy in refused.value.remedy


@pytest.mark.parametrize("words", ["tilt nan", "tilt 25", "raise low inf", "scale -1", "smooth 61", "stretch 0"])
def test_numbers_out_of_bounds_are_refused(words: str) -> None:
    with pytest.raises(SettingsError, match="is"):
        parse_texture_edit(words)


def test_each_edit_is_of_its_own_kind_of_curve() -> None:
    with pytest.raises(SettingsError, match="not one-dimensional"):
        Gate(-8).apply(ramp())
    with pytest.raises(SettingsError, match="4 bands"):
        Tilt(2).apply(EnergyCurve(np.zeros(4), Fraction(100)))
