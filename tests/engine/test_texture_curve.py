"""Texture curves: properties, sources, edits, and errors for invalid values."""

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


def dark_to_bright(count: int = 100) -> TextureCurve:
    """From dark to bright."""
    return TextureCurve(np.linspace(-1, 1, count)[:, None] * np.array([-3, -1, 1, 3]), Fraction(100), "audio")


def try_edit(edit: TextureEdit, texture: TextureCurve) -> tuple[TextureCurve | None, str]:
    """The edited texture and "", or None and the error message."""
    try:
        return edit.apply(texture), ""
    except SettingsError as error:
        return None, error.what


# Properties


@given(bands, st.floats(-30, 30, width=32))
def test_only_differences_between_bands_matter(values: np.ndarray, level: float) -> None:
    texture, raised = TextureCurve(values, Fraction(100)), TextureCurve(values + level, Fraction(100))
    np.testing.assert_allclose(texture.values, raised.values, atol=1e-4)
    np.testing.assert_allclose(texture.values.mean(axis=1), 0, atol=1e-5)


def test_tilt_is_the_difference_of_the_outer_bands() -> None:
    np.testing.assert_allclose(flat_texture(duration=1, tilt_nats=3).tilt_nats, 3, atol=1e-5)
    np.testing.assert_allclose(flat_texture(duration=1, tilt_nats=3).values[0], [-1.5, -0.5, 0.5, 1.5], atol=1e-5)
    assert not flat_texture(duration=1).values.any()
    assert flat_texture(duration=Fraction(7007, 24_000)).values.shape == (30, 4)


@pytest.mark.parametrize(
    ("values", "message"),
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
def test_invalid_values_are_refused(values, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TextureCurve(values, Fraction(100))
    with pytest.raises(SettingsError, match="rate"):
        TextureCurve(np.zeros((8, 4)), Fraction(0))


def test_resampling_is_constant_beyond_the_ends() -> None:
    texture = dark_to_bright()
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
def test_an_invalid_tilt_is_refused(tilt_nats: float) -> None:
    with pytest.raises(SettingsError, match="tilt"):
        flat_texture(duration=1, tilt_nats=tilt_nats)
    with pytest.raises(SettingsError, match="duration of the texture curve is 0 s"):
        flat_texture(duration=0)


def test_errors_count_only_where_there_is_sound() -> None:
    energy = np.array([-11.5, -11.5, -4, -4], np.float32)
    requested, generated = np.zeros((4, 4)), np.array([[9.0] * 4, [9.0] * 4, [1.0] * 4, [3.0] * 4])
    assert texture_error(requested, generated, energy) == pytest.approx(2.0)
    assert texture_error(requested, generated, np.full(4, -5, np.float32)) == pytest.approx(5.5)


# From points and files


def test_points_of_bands_and_tilts() -> None:
    of_bands = texture_from_points([(0, 2, 1, -1, -2), (2, -2, -1, 1, 2)], duration=2)
    assert of_bands.values.shape == (200, 4)
    np.testing.assert_allclose(of_bands.values[100], [-0.01, -0.005, 0.005, 0.01], atol=1e-4)
    of_tilts = texture_from_points([(0, -4), (2, 4)], duration=2)
    np.testing.assert_allclose(of_tilts.tilt_nats, np.linspace(-3.98, 3.98, 200), atol=1e-4)


steep = TextureCurve(np.tile([[0, 0, 0, 0], [-2.5, 7.5, -2.5, -2.5]], (60, 1)), Fraction(24_000, 1001), "user")


@given(textures)
@example(steep)
def test_a_written_texture_is_read_unchanged(tmp_path_factory, texture: TextureCurve) -> None:
    path = write_texture(texture, tmp_path_factory.getbasetemp() / "texture.csv")
    assert path.read_text().startswith("time_s,low,low_mid,high_mid,high\n")
    if len(texture.values) < 2:
        return
    read = read_texture(path, duration=texture.duration_s)
    expected = np.stack([np.interp(read.times_s(), texture.times_s(), row) for row in texture.values.T], axis=-1)
    np.testing.assert_allclose(read.values, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "error", "message"),
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
def test_invalid_files_are_refused(content: str, error, message: str, tmp_path: Path) -> None:
    (tmp_path / "texture.csv").write_text(content)
    with pytest.raises(error, match=message) as refused:
        read_texture(tmp_path / "texture.csv", duration=2)
    assert refused.value.remedy.endswith(".")


@pytest.mark.parametrize("points", [[], [1, 2], [(0, 1), (2, 1, 1)], [(0, 1, 1), (2, 1, 1)], [("a", "b")]])
def test_invalid_points_are_refused(points) -> None:
    with pytest.raises(SettingsError, match="texture curve"):
        texture_from_points(points, duration=2)


# Edits


@given(textures, edits)
def test_an_edit_gives_a_valid_texture_or_is_refused(texture: TextureCurve, edit: TextureEdit) -> None:
    changed, error_message = try_edit(edit, texture)
    if changed is None:
        assert str(edit) in error_message
        return
    assert changed.values.shape == texture.values.shape
    assert (changed.rate_hz, changed.source) == (texture.rate_hz, texture.source)
    assert np.abs(changed.values).max() <= MAX_BAND_NATS + 1e-4
    np.testing.assert_allclose(changed.values.mean(axis=1), 0, atol=1e-4)


@given(edits)
def test_every_edit_survives_a_round_trip_through_text(edit: TextureEdit) -> None:
    assert parse_texture_edit(str(edit)) == edit


@pytest.mark.parametrize(
    "edit", [Scale(1), Smooth(0), FadeIn(0), FadeOut(0), Shift(0), Stretch(1), Tilt(0), RaiseBand("low", 0)], ids=str
)
@given(texture=textures)
def test_neutral_edits_change_nothing(edit: TextureEdit, texture: TextureCurve) -> None:
    np.testing.assert_allclose(edit.apply(texture).values, texture.values, atol=1e-5)


def test_brighter_and_darker_are_tilts() -> None:
    assert parse_texture_edit("Brighter 1.5") == Tilt(1.5)
    assert parse_texture_edit("darker 1.5") == Tilt(-1.5)
    assert parse_texture_edit("raise low-mid -2") == RaiseBand("low_mid", -2)
    up = apply_edits(dark_to_bright(), [Tilt(2)])
    np.testing.assert_allclose(up.tilt_nats, dark_to_bright().tilt_nats + 2, atol=1e-5)


def test_a_band_is_raised_relative_to_the_others() -> None:
    raised = RaiseBand("high", 2).apply(flat_texture(duration=1)).values[0]
    np.testing.assert_allclose(raised, [-0.5, -0.5, -0.5, 1.5], atol=1e-6)


def test_shifted_in_values_repeat_the_end() -> None:
    later = Shift(0.2).apply(dark_to_bright()).values
    np.testing.assert_allclose(later[:20], np.tile(dark_to_bright().values[0], (20, 1)), atol=1e-5)
    np.testing.assert_allclose(later[20:], dark_to_bright().values[:80], atol=1e-5)
    quick = Stretch(0.5).apply(dark_to_bright()).values
    np.testing.assert_allclose(quick[50:], np.tile(dark_to_bright().values[-1], (50, 1)), atol=0.07)


def test_fades_lead_to_equal_bands() -> None:
    faded = apply_edits(flat_texture(duration=1, tilt_nats=4), [FadeIn(0.5), FadeOut(0.2)]).tilt_nats
    assert abs(faded[0]) < 0.1
    assert abs(faded[-1]) < 0.2
    np.testing.assert_allclose(faded[50:80], 4, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "remedy"),
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
def test_unknown_edits_are_refused_with_the_valid_forms(text: str, remedy: str) -> None:
    with pytest.raises(SettingsError, match="is not understood") as raised:
        parse_texture_edit(text)
    assert remedy in raised.value.remedy


@pytest.mark.parametrize("text", ["tilt nan", "tilt 25", "raise low inf", "scale -1", "smooth 61", "stretch 0"])
def test_numbers_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is"):
        parse_texture_edit(text)


def test_edits_apply_only_to_their_kind_of_curve() -> None:
    with pytest.raises(SettingsError, match="not one-dimensional"):
        Gate(-8).apply(dark_to_bright())
    with pytest.raises(SettingsError, match="4 bands"):
        Tilt(2).apply(EnergyCurve(np.zeros(4), Fraction(100)))
