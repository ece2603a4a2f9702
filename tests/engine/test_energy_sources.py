"""Curves from points, files and sounds: reading, and errors for invalid input."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numbered_clips import clicks, write_numbered_clip, write_sound

from rewas_engine import (
    SILENCE_NATS,
    EnergyCurve,
    MediaError,
    ReWaS,
    SettingsError,
    VideoClip,
    curve_from_points,
    find_events,
    flat_curve,
    read_curve,
    write_curve,
)
from rewas_engine.media.audio import probe_sound

nats = st.floats(-11.5, 4, width=32)


def test_between_points_a_curve_is_linear() -> None:
    curve = curve_from_points([(0, -11.5), (1, -3), (2, -7)], duration=2)
    assert (curve.rate_hz, curve.values.size, curve.source) == (100, 200, "user")
    moments_s = curve.times_s()
    np.testing.assert_allclose(curve.values[100:], -3 - 4 * (moments_s[100:] - 1), atol=1e-4)
    rise = curve.values[:100]
    np.testing.assert_allclose(rise, SILENCE_NATS + (-3 - SILENCE_NATS) * moments_s[:100], atol=1e-4)


@given(st.lists(st.tuples(st.integers(1, 999), nats), min_size=1, unique_by=lambda point: point[0]), nats, nats)
def test_a_curve_stays_between_its_points(middle, first: float, last: float) -> None:
    points = [(0, first), *((time / 100, value) for time, value in sorted(middle)), (10, last)]
    curve = curve_from_points(points, duration=10)
    values = [value for _, value in points]
    assert min(values) - 0.02 <= curve.values.min() <= curve.values.max() <= max(values) + 1e-5
    for time_s, value in points:
        assert np.interp(time_s, curve.times_s(), curve.values) == pytest.approx(value, abs=15.6 * 0.5 + 1e-3)


def test_a_curve_may_be_slightly_short_at_its_ends() -> None:
    curve = curve_from_points([(0.2, -4), (1.8, -6)], duration="2.002")
    assert (curve.values[0], curve.values[-1]) == (-4, -6)
    assert curve.values.size == 201
    assert curve_from_points([(0, -4), (2.1, -6)], duration=2).values.size == 200


@given(
    arrays.arrays(np.float32, st.integers(2, 300), elements=nats | st.just(SILENCE_NATS)), st.sampled_from([20, 100])
)
def test_a_written_curve_is_read_unchanged(tmp_path_factory, values, rate_hz: int) -> None:
    curve = EnergyCurve(values, Fraction(rate_hz))
    path = write_curve(curve, tmp_path_factory.getbasetemp() / "curve.csv")
    assert path.read_text().startswith("time_s,energy\n")
    again = read_curve(path, duration=curve.duration_s)
    np.testing.assert_allclose(again.resample(rate_hz, values.size), np.maximum(values, SILENCE_NATS), atol=0.02)
    assert [left.name for left in path.parent.glob("*.partial")] == []


def test_a_file_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_bytes(b'\xef\xbb\xbftime_s, energy\r\n0,-11.5\r\n"1",-3\r\n\r\n 2 ,-11.5\r\n')
    curve = read_curve(path, duration=2)
    assert curve.values.max() == pytest.approx(-3, abs=0.1)
    assert curve.values[0] == pytest.approx(SILENCE_NATS, abs=0.1)


def test_written_silence_is_read_as_silence(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("time_s,energy\n0,-11.5\n2,-11.5\n")
    assert (read_curve(path, duration=2).values == np.float32(SILENCE_NATS)).all()


def test_a_flat_curve_is_flat() -> None:
    curve = flat_curve(duration=Fraction(7007, 24_000), nats=-4)
    assert (curve.values == -4).all()
    assert curve.values.size == 30
    assert (flat_curve(duration=1, nats=-11.5).values == np.float32(SILENCE_NATS)).all()


def test_a_curve_is_cut_or_filled_with_silence() -> None:
    curve = EnergyCurve(np.array([-3, -4, -5], np.float32), Fraction(25), "audio")
    assert curve.with_duration(Fraction(2, 25)).values.tolist() == [-3, -4]
    longer = curve.with_duration(Fraction(9, 50))
    np.testing.assert_allclose(longer.values, [-3, -4, -5, SILENCE_NATS, SILENCE_NATS], atol=1e-5)
    assert longer.source == "audio"
    assert (curve.with_duration(curve.duration_s).values == curve.values).all()
    with pytest.raises(SettingsError, match="duration of the energy curve is -1 s"):
        curve.with_duration(Fraction(-1))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "no points"),
        ([(0, -5)], "one point only"),
        ([(0, -5), (1, float("nan")), (2, -5)], r"Point 2 .* \(1 s, nan nats\)"),
        ([(0, -5), (float("inf"), -5)], r"Point 2 .* \(inf s"),
        ([(0, -5), (2, float("-inf"))], r"-inf nats"),
        ([(0, -5), (2, -5), (1, -5)], "Point 3 .* at 1 s, not after the previous one, at 2 s"),
        ([(0, -5), (0, -4), (2, -5)], "Point 2 .* at 0 s, not after"),
        ([(-1, -5), (2, -5)], "Point 1 .* before the clip, at -1 s"),
        ([(0, -5), (2.2, -5)], "extends to 2.2 s, beyond the clip's end at 2.000 s"),
        ([(0, -5), (1.7, -5)], "too short: it ends at 1.7 s"),
        ([(0.3, -5), (2, -5)], "too short: it begins at 0.3 s"),
        ([(0, -5), (1, 5.5), (2, -5)], "Point 2 .* 5.5 nats, louder"),
        ([(0, -5, 1), (2, -5, 1)], "not pairs"),
        ([(0, "loud"), (2, -5)], "not numbers"),
        ([0, 1], "not numbers"),
    ],
)
def test_invalid_points_are_refused(points, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        curve_from_points(points, duration=2)
    assert refused.value.what.startswith(("The ", "Point "))
    assert refused.value.remedy.endswith(".")


@pytest.mark.parametrize("duration", [0, -1, float("nan"), "soon"])
def test_an_invalid_duration_is_refused(duration) -> None:
    with pytest.raises(SettingsError, match="duration"):
        curve_from_points([(0, -5), (2, -5)], duration=duration)
    with pytest.raises(SettingsError, match="duration"):
        flat_curve(duration=duration)


@pytest.mark.parametrize("level", [float("nan"), float("inf"), 6])
def test_an_invalid_flat_level_is_refused(level: float) -> None:
    with pytest.raises(SettingsError, match="nats"):
        flat_curve(duration=1, nats=level)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "curve.csv is empty"),
        (b"\n \n", "curve.csv is empty"),
        (b"0,-5\n2,-5\n", "begins with “0,-5”"),
        (b"time,energy\n0,-5\n2,-5\n", "begins with “time,energy”"),
        (b"time_s;energy\n0;-5\n2;-5\n", "begins with “time_s;energy”"),
        (b"time_s,energy\n0,-5\n2\n", "line “2” of curve.csv is not a point"),
        (b"time_s,energy\n0,-5\n1,loud\n2,-5\n", "line “1,loud” of curve.csv"),
        (b"time_s,energy\n0,5,3\n", "line “0,5,3”"),
        (b"\xff\xfe\x00\x01\x80", "curve.csv is not text"),
        (b"time_s,energy\n0,-5\x00\n", "curve.csv is not text"),
    ],
)
def test_files_without_a_table_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=message):
        read_curve(path, duration=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("time_s,energy\n", "curve.csv has no points"),
        ("time_s,energy\n0,-5\n", "curve.csv has one point only"),
        ("time_s,energy\n0,-5\n1,nan\n2,-5\n", "Point 2 of curve.csv"),
        ("time_s,energy\n0,-5\n2,inf\n", "Point 2 of curve.csv"),
        ("time_s,energy\n0,-5\n5,-5\n", "curve.csv extends to 5 s"),
        ("time_s,energy\n0,-5\n1,-5\n", "curve.csv is too short"),
        ("time_s,energy\n2,-5\n0,-5\n", "Point 2 of curve.csv"),
    ],
)
def test_files_with_invalid_points_are_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text(content)
    with pytest.raises(SettingsError, match=message):
        read_curve(path, duration=2)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.csv", tmp_path):
        with pytest.raises(MediaError, match=r"curve file .* does not exist"):
            read_curve(path, duration=2)


# Performed energy: from a file with sound only


@pytest.mark.parametrize("name", ["hands.wav", "hands.flac"])
def test_the_energy_of_a_sound_file_is_measured(model: ReWaS, name: str, tmp_path: Path) -> None:
    taps = clicks(3 * 44_100, [44_100, 2 * 44_100])
    codec = {"hands.wav": "pcm_s16le", "hands.flac": "flac"}[name]
    path = write_sound(tmp_path / name, taps, 44_100, codec)
    curve = model.measure_energy(VideoClip(path))
    assert curve.source == "audio"
    assert float(curve.duration_s) == pytest.approx(3, abs=0.02)
    np.testing.assert_allclose([event.time_s for event in find_events(curve)], [1, 2], atol=0.035)
    part = model.measure_energy(VideoClip(path, start="1.5", duration=1))
    np.testing.assert_allclose([event.time_s for event in find_events(part)], [0.5], atol=0.035)


def test_a_sound_file_has_the_energy_of_the_same_sound_in_a_video(model: ReWaS, tmp_path: Path) -> None:
    taps = clicks(2 * 16_000, [8_000, 20_000])
    alone = model.measure_energy(VideoClip(write_sound(tmp_path / "a.wav", taps, 16_000)))
    film = write_numbered_clip(tmp_path / "a.mov", frames=50, sound=taps)
    np.testing.assert_allclose(alone.values, model.measure_energy(VideoClip(film)).values, atol=1e-3)


def test_a_sound_file_has_a_duration_but_no_video(model: ReWaS, tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", clicks(16_000, [8_000]), 16_000)
    assert probe_sound(path).duration_s == 1
    with pytest.raises(MediaError, match=r"a.wav ends at 1.000 s"):
        model.measure_energy(VideoClip(path, start=0, duration=2))
    with pytest.raises(MediaError, match="no video"):
        model.estimate_energy(VideoClip(path))
    (tmp_path / "text.wav").write_text("no sound at all")
    with pytest.raises(MediaError, match=r"text\.wav cannot be read"):
        model.measure_energy(VideoClip(tmp_path / "text.wav"))
