"""The energy plots of the web page."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rewas_api.v1 import rewas_pb2
from rewas_server.web.energy_plot import HEIGHT, LEFT, MAX_POINTS, RIGHT, TOP, WIDTH, plot_energy

values = st.lists(st.floats(width=32, allow_nan=True), min_size=0, max_size=2000)
rates = st.tuples(st.integers(1, 10**6), st.integers(1, 10**6))


def curve(curve_values: list[float], rate: tuple[int, int] = (20, 1)) -> rewas_pb2.EnergyCurve:
    hz = rewas_pb2.Rational(numerator=rate[0], denominator=rate[1])
    return rewas_pb2.EnergyCurve(rate_hz=hz, values=curve_values)


def points(line: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (point.split(",") for point in line.points.split())]


@given(values, values, rates, rates)
def test_every_point_is_in_the_picture(
    first: list[float], second: list[float], rate: tuple[int, int], other_rate: tuple[int, int]
) -> None:
    plot = plot_energy({"requested": curve(first, rate), "produced": curve(second, other_rate)}, "Energy.")
    if plot is None:
        assert not first
        assert not second
        return
    for line in plot.lines:
        assert 1 <= len(points(line)) <= MAX_POINTS
        for x, y in points(line):
            assert LEFT <= x <= WIDTH - RIGHT
            assert TOP <= y <= HEIGHT
    assert all(LEFT <= tick.position <= WIDTH - RIGHT for tick in plot.times)
    assert 1 <= len(plot.times) <= 10
    assert len(plot.levels) <= 6


def test_a_short_event_of_a_long_curve_stays_visible() -> None:
    plot = plot_energy({"produced": curve([-11.5] * 50_000 + [0.0] + [-11.5] * 50_000)}, "Energy.")
    assert plot is not None
    assert min(y for _, y in points(plot.lines[0])) == TOP


def test_curves_of_other_rates_share_their_times() -> None:
    plot = plot_energy({"requested": curve([-5.0] * 40, (20, 1)), "produced": curve([-5.0] * 400, (200, 1))}, "Energy.")
    assert plot is not None
    ends = [points(line)[-1][0] for line in plot.lines]
    # The middles of the last values are 0.0225 s apart, of 2 s.
    assert abs(ends[0] - ends[1]) < 0.03 / 2 * WIDTH


def test_curves_without_a_rate_are_not_drawn() -> None:
    assert plot_energy({"produced": rewas_pb2.EnergyCurve(values=[1.0])}, "Energy.") is None
