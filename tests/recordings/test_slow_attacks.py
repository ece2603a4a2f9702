"""Energy from video rises slowly before a strike. The rise is part of the strike and not a second one."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_library import RATE_HZ, MadeLibrary, strike_sound

from rewas_engine.curves.energy import EnergyCurve
from rewas_engine.curves.events import find_events
from rewas_engine.recordings.choosing import Choice
from rewas_engine.recordings.index import LibraryIndex
from rewas_engine.recordings.performing import PlannedPerformance

FLOOR_NATS, PEAK_NATS = -9.8, -4.0
TIMES_S = (0.6, 1.3, 2.2, 2.7)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> LibraryIndex:
    rng = np.random.default_rng(0)
    made = MadeLibrary(tmp_path_factory.mktemp("library"))
    made.add_events("strikes.wav", [strike_sound(rng, peak) for peak in (0.05, 0.1, 0.2, 0.4, 0.8)])
    return made.index()


def rising_curve(rise_s: float, decay_s: float) -> EnergyCurve:
    """Strikes over a low background, each of which rises linearly, with its peak at one of TIMES_S."""
    times_s = (np.arange(350) + 0.5) / 100
    values = np.full(times_s.size, FLOOR_NATS)
    for time_s in TIMES_S:
        since_s = times_s - time_s
        shape = np.where(since_s < 0, 1 + since_s / rise_s, 1 - since_s / decay_s)
        values = np.maximum(values, FLOOR_NATS + (PEAK_NATS - FLOOR_NATS) * shape)
    return EnergyCurve(values.astype(np.float32), Fraction(100), "picture")


@given(rise_s=st.floats(0.02, 0.14), decay_s=st.floats(0.2, 0.35))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_event_of_a_slow_curve_is_one_strike(library: LibraryIndex, rise_s: float, decay_s: float) -> None:
    curve = rising_curve(rise_s, decay_s)
    planned = PlannedPerformance(
        library,
        Choice("strikes", (0,), 1.0, True, ()),
        curve,
        duration_s=Fraction(7, 2),
        rate_hz=RATE_HZ,
        channels=2,
        seed=0,
    )
    planned.close()
    events_s = [event.time_s for event in find_events(curve)]
    assert len(events_s) == len(TIMES_S)
    before_peaks = [
        [strike.onset_s for strike in planned.strikes if time_s - rise_s - 0.05 < strike.onset_s < time_s + 0.05]
        for time_s in TIMES_S
    ]
    assert [len(found) for found in before_peaks] == [1] * len(TIMES_S)
