"""Edits of energy: what each one changes and keeps, and errors for invalid edits and texts."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rewas_engine import (
    SILENCE_NATS,
    BoostEvents,
    Compress,
    DuplicateEvent,
    EnergyCurve,
    EnergyEdit,
    EngineError,
    FadeIn,
    FadeOut,
    Gate,
    IsolateEvents,
    MoveEvent,
    MuteEvents,
    Offset,
    Scale,
    SettingsError,
    Shift,
    Smooth,
    Stretch,
    apply_edits,
    find_events,
    parse_edit,
)
from rewas_engine.curves.energy import MAX_ENERGY_NATS

silence = np.float32(SILENCE_NATS)
nats = st.floats(-11.5, 4, width=32) | st.just(silence)
rates = st.sampled_from([Fraction(25), Fraction(100), Fraction(24_000, 1001)])
curves = st.builds(EnergyCurve, arrays.arrays(np.float32, st.integers(1, 200), elements=nats), rates)
numbers = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
levels = st.floats(-20, 5)
edits = st.one_of(
    st.builds(Scale, st.floats(0, 100)),
    st.builds(Offset, st.floats(-20, 20)),
    st.builds(Smooth, st.floats(0, 60)),
    st.builds(Gate, levels),
    st.builds(Compress, levels, st.floats(1, 1000)),
    st.builds(FadeIn, st.floats(0, 1e6)),
    st.builds(FadeOut, st.floats(0, 1e6)),
    st.builds(Shift, st.floats(-1e6, 1e6)),
    st.builds(Stretch, st.floats(0.01, 100)),
    st.builds(IsolateEvents, numbers),
    st.builds(MuteEvents, numbers),
    st.builds(BoostEvents, numbers, st.floats(-20, 20)),
    st.builds(MoveEvent, st.integers(1, 9), st.floats(0, 1e6)),
    st.builds(DuplicateEvent, st.integers(1, 9), st.floats(0, 1e6)),
)


def height_above_silence(curve: EnergyCurve) -> np.ndarray:
    return curve.values.astype(np.float64) - SILENCE_NATS


def is_same(one: EnergyCurve, other: EnergyCurve, atol: float = 1e-5) -> bool:
    return one.rate_hz == other.rate_hz and np.allclose(one.values, other.values, atol=atol)


def knocks(*starts: int, peak: float = -3.0, floor: float = SILENCE_NATS, count: int = 200) -> EnergyCurve:
    """Knocks of seven values each that start at these indices, at 100 values per second."""
    values = np.full(count, floor)
    for start in starts:
        shape = np.array([0.9, 1, 0.8, 0.6, 0.4, 0.2, 0.1])[: count - start]
        values[start : start + 7] = floor + shape * (peak - floor)
    return EnergyCurve(values, Fraction(100), "picture")


def try_edit(edit: EnergyEdit, curve: EnergyCurve) -> tuple[EnergyCurve | None, str]:
    """The edited curve and "", or None and the error message."""
    try:
        return edit.apply(curve), ""
    except SettingsError as error:
        return None, error.what


# Properties of all edits


@given(curves, edits)
def test_an_edit_keeps_length_and_validity_or_is_refused(curve: EnergyCurve, edit) -> None:
    changed, error = try_edit(edit, curve)
    if changed is None:
        assert "There is no event" in error or str(edit) in error
        return
    assert changed.values.shape == curve.values.shape
    assert (changed.rate_hz, changed.source) == (curve.rate_hz, curve.source)
    assert np.isfinite(changed.values).all()
    assert changed.values.min() >= silence
    assert changed.values.max() <= MAX_ENERGY_NATS
    assert np.array_equal(edit.apply(curve).values, changed.values)


@given(edits)
def test_every_edit_survives_a_round_trip_through_text(edit: EnergyEdit) -> None:
    assert parse_edit(str(edit)) == edit


@given(st.integers(1, 100), rates, edits)
def test_silence_stays_silent(count: int, rate_hz: Fraction, edit: EnergyEdit) -> None:
    curve = EnergyCurve(np.full(count, silence), rate_hz)
    changed, error = try_edit(edit, curve)
    if changed is not None:
        assert is_same(changed, curve)
    else:
        assert "the curve has no events" in error or "lasts longer than the clip" in error


@pytest.mark.parametrize(
    "edit",
    [Scale(1), Offset(0), Smooth(0), Gate(-20), Compress(-5, 1), FadeIn(0), FadeOut(0), Shift(0), Stretch(1)],
    ids=str,
)
@given(curve=curves)
def test_neutral_edits_change_nothing(curve: EnergyCurve, edit: EnergyEdit) -> None:
    assert is_same(edit.apply(curve), curve)


def test_values_below_silence_are_raised_to_it() -> None:
    curve = EnergyCurve(np.array([-40, -3, -12], np.float32), Fraction(25))
    np.testing.assert_allclose(Offset(-1).apply(curve).values, [SILENCE_NATS, -4, SILENCE_NATS], atol=1e-5)


def test_a_chain_is_applied_in_order() -> None:
    curve = EnergyCurve(np.array([-6, -4], np.float32), Fraction(25))
    np.testing.assert_allclose(apply_edits(curve, [Offset(1), Gate(-4)]).values, [SILENCE_NATS, -3], atol=1e-5)
    np.testing.assert_allclose(apply_edits(curve, [Gate(-4), Offset(1)]).values, [SILENCE_NATS, -3], atol=1e-5)
    np.testing.assert_allclose(apply_edits(curve, [Offset(3), Gate(-4)]).values, [-3, -1], atol=1e-5)
    assert apply_edits(curve, []) is curve


# Level


@given(curves, st.floats(0, 1), st.floats(0, 1))
def test_scales_multiply(curve: EnergyCurve, first: float, second: float) -> None:
    np.testing.assert_allclose(
        height_above_silence(Scale(first).apply(curve)), height_above_silence(curve) * first, atol=1e-4
    )
    assert is_same(apply_edits(curve, [Scale(first), Scale(second)]), Scale(first * second).apply(curve), atol=1e-4)


@given(curves, st.floats(0, 1))
def test_an_offset_is_undone_by_its_opposite(curve: EnergyCurve, up: float) -> None:
    raised = Offset(up).apply(curve)
    sounding = curve.values > -11.5
    np.testing.assert_allclose(raised.values[sounding], curve.values[sounding] + up, atol=1e-4)
    np.testing.assert_allclose(raised.values[~sounding], SILENCE_NATS, atol=0.02)
    restored = Offset(-up).apply(raised)
    np.testing.assert_allclose(restored.values[sounding], curve.values[sounding], atol=1e-4)


@given(curves, st.floats(0, 2))
def test_smoothing_stays_between_the_extremes_and_reduces_noise(curve: EnergyCurve, window_s: float) -> None:
    smooth = Smooth(window_s).apply(curve).values
    assert curve.values.min() - 1e-5 <= smooth.min() <= smooth.max() <= curve.values.max() + 1e-5
    rng = np.random.default_rng(0)
    noisy = EnergyCurve(-5 + rng.normal(0, 0.5, 400), Fraction(100))
    assert Smooth(0.5).apply(noisy).values.std() < 0.5 * noisy.values.std()


@given(curves, st.floats(-11, 4))
def test_a_gate_silences_only_values_below_its_threshold(curve: EnergyCurve, threshold: float) -> None:
    gated = Gate(threshold).apply(curve)
    below = curve.values.astype(np.float64) < threshold
    assert (gated.values[below] == silence).all()
    assert np.array_equal(gated.values[~below], np.maximum(curve.values[~below], silence))
    assert is_same(Gate(threshold).apply(gated), gated)


@given(curves, st.floats(-11, 4), st.floats(1, 50))
def test_compression_lowers_values_above_its_threshold_and_keeps_order(
    curve: EnergyCurve, threshold: float, ratio: float
) -> None:
    compressed = Compress(threshold, ratio).apply(curve).values.astype(np.float64)
    above = curve.values > threshold
    np.testing.assert_allclose(compressed[above], threshold + (curve.values[above] - threshold) / ratio, atol=1e-4)
    np.testing.assert_allclose(compressed[~above], np.maximum(curve.values[~above], SILENCE_NATS), atol=1e-5)
    order = np.argsort(curve.values, kind="stable")
    assert (np.diff(compressed[order]) >= -1e-5).all()


@given(curves, st.floats(0.01, 1))
def test_fades_mirror_each_other_and_rise_from_silence(curve: EnergyCurve, share_of_clip: float) -> None:
    length_s = share_of_clip * float(curve.duration_s)
    mirrored = EnergyCurve(curve.values[::-1], curve.rate_hz)
    faded_in = FadeIn(length_s).apply(curve)
    np.testing.assert_allclose(FadeOut(length_s).apply(mirrored).values[::-1], faded_in.values, atol=1e-4)
    whole = curve.times_s() >= length_s
    np.testing.assert_allclose(faded_in.values[whole], np.maximum(curve.values[whole], SILENCE_NATS), atol=1e-5)
    share = np.minimum(curve.times_s() / length_s, 1)
    np.testing.assert_allclose(height_above_silence(faded_in), height_above_silence(curve) * share, atol=1e-4)


# Time


@given(curves, st.integers(-50, 50))
def test_a_shift_and_its_opposite_lose_only_what_left_the_clip(curve: EnergyCurve, values: int) -> None:
    by_s = values / float(curve.rate_hz)
    shifted = Shift(by_s).apply(curve)
    restored = Shift(-by_s).apply(shifted)
    count = curve.values.size
    kept = slice(0, max(0, count - values)) if values >= 0 else slice(min(count, -values), count)
    np.testing.assert_allclose(restored.values[kept], np.maximum(curve.values[kept], SILENCE_NATS), atol=1e-3)
    lost = np.ones(count, bool)
    lost[kept] = False
    np.testing.assert_allclose(restored.values[lost], SILENCE_NATS, atol=1e-5)


def test_a_shift_moves_events() -> None:
    (before,) = find_events(knocks(50))
    (after,) = find_events(Shift(0.25).apply(knocks(50)))
    assert after.time_s - before.time_s == pytest.approx(0.25, abs=1e-6)
    (between,) = find_events(Shift(0.254).apply(knocks(50)))
    assert between.time_s - before.time_s == pytest.approx(0.254, abs=0.005)


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.5, 3.0])
def test_stretching_multiplies_times_by_its_factor(factor: float) -> None:
    swell = EnergyCurve(-11 + 8 * np.exp(-(((np.arange(400) - 100) / 20) ** 2)), Fraction(100))
    stretched = Stretch(factor).apply(swell)
    peak_s = (100 + 0.5) / 100 * factor
    assert stretched.times_s()[stretched.values.argmax()] == pytest.approx(peak_s, abs=0.006)
    assert height_above_silence(stretched).sum() == pytest.approx(
        height_above_silence(swell)[swell.times_s() * factor < 4].sum() * factor, rel=0.02
    )


@given(curves, st.floats(0.5, 2))
def test_a_stretched_curve_has_no_new_extremes(curve: EnergyCurve, factor: float) -> None:
    stretched = Stretch(factor).apply(curve).values
    assert stretched.max() <= max(curve.values.max(), silence) + 1e-5
    if factor > 1:
        assert stretched.min() >= max(curve.values.min(), silence) - 1e-5


# Events

two_distant_knocks = st.tuples(st.integers(1, 80), st.integers(95, 190))


@given(two_distant_knocks, st.sampled_from([SILENCE_NATS, -8.0]))
def test_muting_an_event_keeps_the_other_and_the_floor(starts: tuple[int, int], floor: float) -> None:
    both = knocks(*starts, floor=floor)
    for number in (1, 2):
        remaining = MuteEvents((number,)).apply(both)
        assert is_same(remaining, knocks(starts[2 - number], floor=floor))
    assert is_same(MuteEvents((1, 2)).apply(both), knocks(floor=floor))
    assert is_same(MuteEvents((2, 1, 2)).apply(both), knocks(floor=floor))


@given(two_distant_knocks)
def test_an_isolated_event_is_surrounded_by_silence(starts: tuple[int, int]) -> None:
    both = knocks(*starts)
    for number in (1, 2):
        assert is_same(IsolateEvents((number,)).apply(both), knocks(starts[number - 1]))
    assert is_same(IsolateEvents((1, 2)).apply(both), both)
    over_rain = IsolateEvents((1,)).apply(knocks(*starts, floor=-8))
    outside = np.ones(200, bool)
    outside[starts[0] : starts[0] + 7] = False
    assert (over_rain.values[outside] == silence).all()
    assert over_rain.values.max() == pytest.approx(-3)


@given(two_distant_knocks, st.floats(-20, 6), st.sampled_from([SILENCE_NATS, -8.0]))
def test_a_boost_changes_only_its_event(starts: tuple[int, int], boost: float, floor: float) -> None:
    changed = BoostEvents((1,), boost).apply(knocks(*starts, floor=floor))
    event = slice(starts[0], starts[0] + 7)
    assert changed.values[event].max() == pytest.approx(max(-3 + boost, floor), abs=1e-4)
    rest = np.ones(200, bool)
    rest[event] = False
    np.testing.assert_allclose(changed.values[rest], knocks(*starts, floor=floor).values[rest], atol=1e-5)
    assert changed.values.min() >= np.float32(floor) - 1e-4


@given(curves)
def test_a_boost_by_0_and_a_move_to_the_same_time_change_nothing(curve: EnergyCurve) -> None:
    for event in find_events(curve):
        assert is_same(BoostEvents((event.number,), 0).apply(curve), curve, atol=1e-4)
        # A rounded time may differ slightly from the time of a value.
        moved = MoveEvent(event.number, event.time_s).apply(curve)
        assert is_same(moved, curve, atol=1e-3)


@given(two_distant_knocks, st.integers(-90, 90), st.sampled_from([SILENCE_NATS, -8.0]))
def test_a_moved_event_keeps_its_shape(starts: tuple[int, int], values: int, floor: float) -> None:
    moved_start = min(max(starts[0] + values, 1), 193)
    both = knocks(*starts, floor=floor)
    event = find_events(both)[0]
    moved = MoveEvent(1, event.time_s + (moved_start - starts[0]) / 100).apply(both)
    if abs(moved_start - starts[1]) > 7:
        # The event is moved without loss.
        assert is_same(moved, knocks(moved_start, starts[1], floor=floor), atol=1e-3)
    else:
        assert moved.values.max() == pytest.approx(-3, abs=1e-3)


@example((1, 95), 199)
@given(two_distant_knocks, st.integers(0, 199))
def test_a_copy_keeps_the_original(starts: tuple[int, int], copied_start: int) -> None:
    both = knocks(*starts)
    event = find_events(both)[0]
    to_s = max(0.0, event.time_s + (copied_start - starts[0]) / 100)
    copied = DuplicateEvent(1, min(to_s, float(both.duration_s))).apply(both)
    assert (copied.values >= both.values - 1e-5).all()
    if all(abs(copied_start - other) > 7 for other in starts) and copied_start >= 1 and to_s <= both.duration_s:
        assert is_same(copied, knocks(*starts, copied_start), atol=1e-3)


@given(curves, numbers)
def test_muting_and_isolating_never_raise_a_value(curve: EnergyCurve, requested: tuple[int, ...]) -> None:
    existing = tuple(number for number in requested if number <= len(find_events(curve)))
    if not existing:
        return
    loudest = np.maximum(curve.values, silence) + 1e-4
    assert (MuteEvents(existing).apply(curve).values <= loudest).all()
    assert (IsolateEvents(existing).apply(curve).values <= loudest).all()


# Refused edits


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scale(-1), "factor of scale is -1"),
        (lambda: Scale(math.inf), "factor of scale is inf"),
        (lambda: Offset(math.nan), "offset is nan nats"),
        (lambda: Offset(21), "offset is 21 nats"),
        (lambda: Smooth(-0.1), "window of smooth is -0.1 s"),
        (lambda: Gate(math.inf), "threshold of gate is inf"),
        (lambda: Compress(-5, 0.5), "ratio of compress is 0.5"),
        (lambda: FadeIn(-1), "length of fade in is -1 s"),
        (lambda: FadeOut(math.nan), "length of fade out is nan s"),
        (lambda: Shift(math.inf), "shift is inf s"),
        (lambda: Stretch(0), "factor of stretch is 0"),
        (lambda: Stretch(-2), "factor of stretch is -2"),
        (lambda: MuteEvents(()), "No event is given to mute"),
        (lambda: MuteEvents((0,)), "no event 0"),
        (lambda: BoostEvents((1,), math.nan), "change of boost is nan"),
        (lambda: MoveEvent(1, -1), "time to move to is -1 s"),
        (lambda: DuplicateEvent(1, math.inf), "time of the copy is inf s"),
    ],
)
def test_invalid_edits_are_refused(make, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (MuteEvents((3,)), "no event 3: the curve has 2 events"),
        (MoveEvent(1, 2.5), "“move event 1 to 2.5” ends beyond the end of the clip"),
        (DuplicateEvent(2, 9), "beyond the end"),
        (Offset(10), "“offset 10” would make the energy 7.0 nats"),
        (Scale(2), "“scale 2” would make the energy 5.5 nats"),
        (BoostEvents((1,), 9), "“boost event 1 by 9” would make the energy 6.0 nats"),
    ],
)
def test_edits_that_do_not_fit_the_curve_are_refused(edit: EnergyEdit, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        edit.apply(knocks(50, 120))


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("scale 1.2", Scale(1.2)),
        ("  Gate   -8 ", Gate(-8)),
        ("fade in .5", FadeIn(0.5)),
        ("fade out 1e-1", FadeOut(0.1)),
        ("compress -5 2", Compress(-5, 2)),
        ("mute event 3", MuteEvents((3,))),
        ("mute events 1, 3", MuteEvents((1, 3))),
        ("isolate events 2 4 6", IsolateEvents((2, 4, 6))),
        ("boost events 1 2 by -3", BoostEvents((1, 2), -3)),
        ("move event 12 to 0.75", MoveEvent(12, 0.75)),
        ("duplicate event 1 to 3", DuplicateEvent(1, 3)),
    ],
)
def test_text_is_parsed_to_an_edit(text: str, edit: EnergyEdit) -> None:
    assert parse_edit(text) == edit


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "scale FACTOR; smooth SECONDS"),
        ("reverse", "one of"),
        ("gate", "gate NATS"),
        ("gate loud", "gate NATS"),
        ("gate -8 -9", "gate NATS"),
        ("scale 1_0", "scale FACTOR"),
        ("scale ٣", "scale FACTOR"),
        ("fade", "fade in SECONDS"),
        ("fade away 3", "one of"),
        ("fade in", "fade in SECONDS"),
        ("mute", "mute event N"),
        ("mute event", "mute event N"),
        ("mute event 1.5", "mute event N"),
        ("mute event -1", "mute event N"),
        ("boost event 1", "boost event N by NATS"),
        ("boost event 1 to 3", "boost event N by NATS"),
        ("move event 1 2 to 3", "move event N to SECONDS"),
        ("move event to 3", "move event N to SECONDS"),
        ("duplicate event 1 to", "duplicate event N to SECONDS"),
    ],
)
def test_unknown_edits_are_refused_with_the_valid_forms(text: str, remedy: str) -> None:
    with pytest.raises(SettingsError, match="is not understood") as raised:
        parse_edit(text)
    assert remedy in raised.value.remedy


@given(st.text(max_size=40) | st.from_regex(r"(scale|fade in|mute events?|move event) .{0,12}", fullmatch=True))
def test_any_text_is_an_edit_or_a_clear_error(text: str) -> None:
    try:
        sentences = [str(parse_edit(text))]
    except EngineError as error:
        sentences = [error.what, error.remedy]
        is_clear = all(sentence.endswith(".") for sentence in sentences)
    else:
        is_clear = parse_edit(sentences[0]) == parse_edit(text)
    assert is_clear
