"""The shapes of energy curves over strips: nothing is lost, and nothing is drawn outside its strip."""

from array import array
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.energy_drawing import (
    CURVE_BOTTOM,
    CURVE_TOP,
    HIGHEST_DB,
    LOWEST_DB,
    Curve,
    FloatArray,
    KeyedCurve,
    Outline,
    SampledCurve,
    area_points,
    bin_width_frames,
    height_of,
    level_at_height,
    line_points,
)
from rewas_nle.timeline.energy_keys import DB_PER_NAT, EnergyKey
from rewas_nle.timeline.takes import EnergyCurve

RATE = Fraction(24000, 1001)
ZOOMS = st.integers(-4, 8)


@st.composite
def keyed_curves(draw: st.DrawFn, loudest_db: float = 20.0) -> tuple[Curve, np.ndarray, np.ndarray]:
    steps = draw(st.lists(st.floats(0.01, 3), min_size=1, max_size=60))
    levels = draw(st.lists(st.floats(-100, loudest_db), min_size=len(steps), max_size=len(steps)))
    times = draw(st.floats(-50, 50)) + np.cumsum(steps)
    keys = [EnergyKey(time_s, level_db) for time_s, level_db in zip(times.tolist(), levels, strict=True)]
    return KeyedCurve(keys, RATE), times * float(RATE), np.array(levels)


@st.composite
def sampled_curves(draw: st.DrawFn, loudest_nats: float = 2.0) -> tuple[Curve, np.ndarray, np.ndarray]:
    values = draw(st.lists(st.floats(-11.5129, loudest_nats), min_size=1, max_size=80))
    rate_hz, lead_in_s = Fraction(draw(st.integers(1, 100))), Fraction(draw(st.integers(-500, 500)), 10)
    curve = SampledCurve(EnergyCurve(rate_hz, tuple(values)), lead_in_s, RATE)
    places = [0, *(index + 0.5 for index in range(len(values))), len(values)]
    frames = np.array([float((lead_in_s + Fraction(place) / rate_hz) * RATE) for place in places])
    return curve, frames, np.array([values[0], *values, values[-1]]) * DB_PER_NAT


CURVES = st.one_of(keyed_curves(), sampled_curves())


def points_of(flat: FloatArray) -> np.ndarray:
    return np.array(flat).reshape(-1, 2)


def outline_of(curve: Curve, start: float, end: float, bin_frames: float = 1.0) -> Outline:
    outline = curve.outline(start, end, bin_frames)
    assert outline is not None
    return outline


@given(CURVES, st.floats(-1500, 1500), st.floats(0.5, 900), ZOOMS)
def test_a_curve_is_never_drawn_outside_its_strip(
    drawn: tuple[Curve, np.ndarray, np.ndarray], start: float, length: float, zoom: int
) -> None:
    curve, frames, _ = drawn
    outline = curve.outline(start, start + length, 2.0**zoom)
    if outline is None:
        assert isinstance(curve, SampledCurve)
        assert start + length <= frames[0] + 1e-6 or start >= frames[-1] - 1e-6
        return
    assert start <= outline.xs[0] < outline.xs[-1] <= start + length
    assert (np.diff(outline.xs) >= 0).all()
    assert min(outline.ys) >= CURVE_BOTTOM
    assert max(outline.ys) <= CURVE_TOP
    if isinstance(curve, KeyedCurve):
        assert (outline.xs[0], outline.xs[-1]) == (start, start + length)


@given(CURVES, st.floats(-1500, 1500), st.floats(0.5, 900), ZOOMS)
def test_no_peak_and_no_valley_is_lost(
    drawn: tuple[Curve, np.ndarray, np.ndarray], start: float, length: float, zoom: int
) -> None:
    curve, frames, levels = drawn
    bin_frames, end = 2.0**zoom, start + length
    outline = curve.outline(start, end, bin_frames)
    if outline is None:
        return
    xs, ys = np.array(outline.xs), np.array(outline.ys)
    # A millionth of a frame from a border, the points may belong to either side.
    inside = (frames > start + 1e-6) & (frames < end - 1e-6)
    places = frames / bin_frames
    clear = np.abs(places - np.round(places)) > 1e-6
    bins = np.floor(places)
    for number in np.unique(bins[inside & clear]):
        true = [height_of(level) for level in levels[inside & clear & (bins == number)]]
        shown = ys[np.abs(xs / bin_frames - number - 0.5) <= 0.5 + 1e-6]
        assert shown.max() >= max(true) - 1e-9
        assert shown.min() <= min(true) + 1e-9
    bins_in_sight = np.ceil(end / bin_frames) - np.floor(start / bin_frames)
    assert len(xs) <= 2 * bins_in_sight + 2


@given(
    # Where a line leaves the strip at the top, it is drawn a little lower.
    st.one_of(keyed_curves(loudest_db=0.0), sampled_curves(loudest_nats=0.0)),
    st.floats(-1500, 1500),
    st.floats(0.5, 900),
    st.floats(0, 1),
)
def test_a_clipped_curve_has_the_same_levels(
    drawn: tuple[Curve, np.ndarray, np.ndarray], start: float, length: float, share: float
) -> None:
    curve, frames, levels = drawn
    outline = curve.outline(start, start + length, 1e-6)
    if outline is None:
        return
    frame = outline.xs[0] + share * (outline.xs[-1] - outline.xs[0])
    low, high = sorted(map(height_of, np.interp([frame - 1e-6, frame + 1e-6], frames, levels)))
    assert low - 1e-4 <= np.interp(frame, outline.xs, outline.ys) <= high + 1e-4


def test_scrolling_and_zooming_a_little_change_no_shape() -> None:
    assert bin_width_frames(1.0) == bin_width_frames(1.2) == 2.0
    assert bin_width_frames(0.1) == 16.0
    assert bin_width_frames(20.0) == 1 / 8


@given(st.floats(0.001, 500))
def test_bins_are_about_two_pixels_wide(px_per_frame: float) -> None:
    assert 1.4 < bin_width_frames(px_per_frame) * px_per_frame < 2.84


@given(st.floats(LOWEST_DB, HIGHEST_DB))
def test_the_level_under_the_mouse_is_the_level_that_is_drawn(level_db: float) -> None:
    assert level_at_height(height_of(level_db)) == pytest.approx(level_db, abs=1e-9)


def test_the_energy_of_a_take_lies_where_its_sound_is() -> None:
    energy = EnergyCurve(Fraction(10), (-5.0, -1.0, -11.5129))
    curve = SampledCurve(energy, Fraction(2), Fraction(24))
    outline = outline_of(curve, 0, 1000, 0.1)
    assert outline.xs == pytest.approx([48, 49.2, 51.6, 54, 55.2])
    assert [level_at_height(y) for y in outline.ys] == pytest.approx([-43.43, -43.43, -8.69, -100, -100], abs=0.01)
    assert curve.outline(0, 48, 1.0) is None
    assert curve.outline(55.2, 60, 1.0) is None


def test_drawn_keys_continue_to_the_ends_of_the_strip() -> None:
    curve = KeyedCurve([EnergyKey(1.0, -50.0), EnergyKey(2.0, 0.0)], RATE)
    outline = outline_of(curve, -10, 100, 0.5)
    assert (outline.xs[0], outline.xs[-1]) == (-10, 100)
    middle = (CURVE_BOTTOM + CURVE_TOP) / 2
    assert np.interp([0, float(RATE), 90], outline.xs, outline.ys) == pytest.approx([middle, middle, CURVE_TOP])


def test_a_long_curve_has_no_more_points_than_pixels() -> None:
    values = [-8.0] * 400_000
    values[123_456] = -1.0
    curve = SampledCurve(EnergyCurve(Fraction(100), tuple(values)), Fraction(0), Fraction(24))
    outline = outline_of(curve, 0, 96_000, 64.0)
    assert len(outline.xs) <= 2 * 1500 + 2
    peak = max(range(len(outline.ys)), key=lambda index: outline.ys[index])
    assert outline.xs[peak] == pytest.approx(123_456.5 * 0.24, abs=64)
    assert outline.ys[peak] == pytest.approx(height_of(-DB_PER_NAT))


@given(keyed_curves(), keyed_curves())
def test_outlines_are_joined_without_lines_or_areas_between_them(
    first: tuple[Curve, np.ndarray, np.ndarray], second: tuple[Curve, np.ndarray, np.ndarray]
) -> None:
    outlines = [outline_of(drawn[0], -500, 2000) for drawn in (first, second)]
    places = [(0.0, 1), (3000.0, 2)]
    line, area = (
        points_of(sum((points(item, *place) for item, place in zip(outlines, places, strict=True)), array("f")))
        for points in (line_points, area_points)
    )
    assert len(line) == sum(2 * (len(item.xs) - 1) for item in outlines)
    assert (line[0::2, 1].astype(int) == line[1::2, 1].astype(int)).all()
    assert (line[:, 0].min(), line[:, 0].max()) == (-500, 5000)
    assert line[: 2 * len(outlines[0].xs) - 2 : 2, 1] == pytest.approx(np.array(outlines[0].ys[:-1]) + 1, abs=1e-6)
    for corners in zip(area, area[1:], area[2:], strict=False):
        spread = max(corner[1] for corner in corners) - min(corner[1] for corner in corners)
        # A triangle from one strip to another must be invisible: two of its corners are the same.
        assert spread < 1 or any((a == b).all() for a, b in pairwise(corners))
