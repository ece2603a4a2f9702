"""Energy over the strips of the sequencer: what is drawn, events, and the pen."""

import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import pytest
from conftest import add_movie, part, set_rate, strips_of
from test_following import push, run, undo

KEYS = ((0.0, -100.0), (0.25, -100.0), (0.3, -20.0), (0.8, -60.0), (1.2, -60.0), (1.3, -30.0), (1.8, -100.0))
__all__ = ["run"]


@pytest.fixture
def picture(scene: Any, ball: Path) -> Any:
    """A strip of 48 frames from frame 1, with two drawn events."""
    set_rate(scene, 24, 1.0)
    part("blender.energy_overlay").forget_curves()
    strip = add_movie(scene, ball)
    part("blender.energy_curves").write_keys(scene, strip, KEYS)
    return strip


def keys_of(scene: Any, strip: Any) -> Any:
    return part("blender.energy_curves").read_keys(scene, strip)


def level_at(scene: Any, strip: Any, time_s: float) -> float:
    return float(part("timeline.energy_keys").level_at(keys_of(scene, strip), time_s))


def view(left: float = -10, right: float = 200) -> Any:
    return part("timeline.sequencer_view").SequencerView(left, right, 0.5, 6.5, 1000, 600)


def visible(scene: Any, shown: Any = None, budget_s: float = 10.0) -> dict[str, Any]:
    overlay = part("blender.energy_overlay")
    strips, is_complete = overlay.visible_curves(scene, shown or view(), time.perf_counter() + budget_s)
    assert is_complete == (budget_s > 0)
    return {strip.place[1]: strip for strip in strips}


def outlines(strip: Any) -> dict[str, Any]:
    return {name: shape.outline for name, shape in strip.curves.shapes.items()}


def points_of(strip: Any, name: str = "drawn") -> list[tuple[float, float]]:
    """What is drawn of a curve: frames of the scene and levels in decibels."""
    drawing = part("timeline.energy_drawing")
    outline = strip.curves.shapes[name].outline
    return [
        (strip.span.content_start_frame + x, drawing.level_at_height(y))
        for x, y in zip(outline.xs, outline.ys, strict=True)
    ]


def levels_of(strip: Any) -> set[int]:
    return {round(level_db) for _, level_db in points_of(strip)}


def give_take(strip: Any) -> Any:
    takes = part("timeline.takes")
    curves = [takes.EnergyCurve(Fraction(24), (level,) * 48) for level in (-5.0, -6.0)]
    take = takes.Take("a" * 32, Fraction(24), 0, 48, (), requested_energy=curves[0], output_energy=curves[1])
    part("blender.take_list").add_takes(strip, [take])
    strip.rewas.active_take_index = 0
    return take


def test_drawn_requested_and_produced_energy_are_shown_together(scene: Any, picture: Any) -> None:
    assert set(outlines(visible(scene)[picture.name])) == {"drawn"}
    give_take(picture)
    part("blender.energy_overlay").forget_curves()
    shown = visible(scene)[picture.name]
    assert set(outlines(shown)) == {"drawn", "requested", "produced"}
    assert points_of(shown, "requested")[0] == pytest.approx((1, -5 * 8.6859), abs=0.01)
    assert points_of(shown, "produced")[-1] == pytest.approx((49, -6 * 8.6859), abs=0.01)


def test_strips_without_energy_and_out_of_sight_are_left_out(scene: Any, ball: Path, picture: Any) -> None:
    add_movie(scene, ball, channel=2)
    assert set(visible(scene)) == {picture.name}
    assert visible(scene, view(60, 200)) == {}
    shown = part("timeline.sequencer_view").SequencerView(0, 100, 2, 9, 1000, 600)
    assert visible(scene, shown) == {}


def test_the_curve_ends_with_the_trimmed_strip_and_stays_with_its_picture(scene: Any, picture: Any) -> None:
    compat = part("blender.compat")
    before = points_of(visible(scene)[picture.name])
    assert (before[0][0], before[-1][0]) == (1, 49)
    compat.set_handles(picture, 7, 30)
    trimmed = points_of(visible(scene)[picture.name])
    assert (trimmed[0][0], trimmed[-1][0]) == (7, 30)
    peak_frame, _ = max(trimmed, key=lambda point: point[1])
    assert peak_frame == pytest.approx(1 + 0.3 * 24, abs=0.01)
    compat.set_content_start(picture, 101)
    moved = points_of(visible(scene)[picture.name])
    assert (moved[0][0], moved[-1][0]) == (107, 130)
    assert max(moved, key=lambda point: point[1])[0] == pytest.approx(101 + 0.3 * 24, abs=0.01)


def test_a_change_of_keys_is_seen(scene: Any, picture: Any) -> None:
    visible(scene)
    curve = part("blender.compat").find_curve(scene, f"{picture.path_from_id()}.rewas_energy_db")
    curve.keyframe_points[2].co.y = -5
    curve.update()
    scene.update_tag()
    bpy.context.view_layer.update()
    assert max(level for _, level in points_of(visible(scene)[picture.name])) == pytest.approx(-5, abs=0.01)


def test_without_time_known_curves_are_shown_and_nothing_outside_a_strip(scene: Any, picture: Any) -> None:
    assert visible(scene, budget_s=0) == {}
    before = points_of(visible(scene)[picture.name])
    # Zoomed in, the old outline still is where it should be.
    zoomed = part("timeline.sequencer_view").SequencerView(0, 50, 0.5, 6.5, 1000, 600)
    assert points_of(visible(scene, zoomed, budget_s=0)[picture.name]) == before
    part("blender.compat").set_handles(picture, 7, 30)
    assert outlines(visible(scene, budget_s=0)[picture.name]) == {"drawn": None}
    assert points_of(visible(scene)[picture.name])[0][0] == 7


def test_a_preview_is_shown_without_changing_the_curve(scene: Any, picture: Any) -> None:
    overlay = part("blender.energy_overlay")
    revision = part("blender.energy_curves").keys_revision(scene, picture)
    key = part("timeline.energy_keys").EnergyKey
    overlay.show_preview(scene, picture, (key(0.0, -10.0),))
    assert levels_of(visible(scene)[picture.name]) == {-10}
    overlay.show_preview(scene, picture, (key(0.0, -30.0),))
    assert levels_of(visible(scene)[picture.name]) == {-30}
    overlay.hide_preview()
    assert len(points_of(visible(scene)[picture.name])) > 4
    assert part("blender.energy_curves").keys_revision(scene, picture) == revision


def test_strips_inside_a_meta_strip_are_shown_while_it_is_open(scene: Any, picture: Any, run: Any) -> None:
    run("meta_make", [picture])
    meta = next(strip for strip in strips_of(scene.sequence_editor) if strip.type == "META")
    assert picture.name not in visible(scene)
    scene.sequence_editor.active_strip = meta
    run("meta_toggle", [meta])
    assert picture.name in visible(scene)


def test_events_are_muted_boosted_isolated_and_moved(scene: Any, picture: Any) -> None:
    scene.frame_set(10)
    push()
    assert bpy.ops.rewas.mute_event() == {"FINISHED"}
    assert level_at(scene, picture, 0.3) < -90
    assert level_at(scene, picture, 1.3) == pytest.approx(-30)
    part("blender.energy_curves").write_keys(scene, picture, KEYS)
    bpy.ops.rewas.boost_event(change_db=10)
    assert level_at(scene, picture, 0.3) == pytest.approx(-10)
    bpy.ops.rewas.move_event(by_s=0.25)
    assert level_at(scene, picture, 0.55) == pytest.approx(-10, abs=0.01)
    assert level_at(scene, picture, 0.3) < -90
    scene.frame_set(15)
    bpy.ops.rewas.isolate_event()
    assert level_at(scene, picture, 1.3) == -100
    assert level_at(scene, picture, 0.55) == pytest.approx(-10, abs=0.01)
    assert picture.rewas.settings.energy_source == "DRAWN"


def test_a_moved_event_stays_within_the_trimmed_strip(scene: Any, picture: Any) -> None:
    part("blender.compat").set_handles(picture, 5, 20)
    scene.frame_set(10)
    bpy.ops.rewas.move_event(by_s=9.0)
    last_s = 19 / 24
    assert level_at(scene, picture, last_s) == pytest.approx(-20, abs=0.01)


def test_the_event_under_the_playhead_is_shown_within_the_strip(scene: Any, picture: Any) -> None:
    event_frames = part("blender.strip_events").event_frames
    scene.frame_set(10)
    assert event_frames(scene, picture) == pytest.approx((1 + 0.25 * 24, 1 + 0.8 * 24), abs=0.01)
    part("blender.compat").set_handles(picture, 9, 15)
    assert event_frames(scene, picture) == (9, 15)
    scene.frame_set(26)
    assert event_frames(scene, picture) is None


def test_an_event_that_was_changed_comes_back_with_undo(scene: Any, picture: Any) -> None:
    scene.frame_set(10)
    push()
    bpy.ops.rewas.mute_event()
    push()
    scene = undo()
    picture = strips_of(scene.sequence_editor)[0]
    assert level_at(scene, picture, 0.3) == pytest.approx(-20)


def test_events_say_why_they_cannot_be_changed(scene: Any, ball: Path, picture: Any) -> None:
    scene.frame_set(26)
    with pytest.raises(RuntimeError, match="Move the playhead onto a peak"):
        bpy.ops.rewas.mute_event()
    add_movie(scene, ball, channel=3)
    with pytest.raises(RuntimeError, match="Estimate or draw the energy"):
        bpy.ops.rewas.boost_event()
    scene.sequence_editor.active_strip = None
    with pytest.raises(RuntimeError, match="picture strip"):
        bpy.ops.rewas.isolate_event()


def test_an_event_follows_the_mouse_slowly_or_from_frame_to_frame(scene: Any, picture: Any) -> None:
    operators = part("blender.event_operators")
    event = part("blender.strip_events").read_drawn_energy(scene, picture).events[0]
    drag = operators.EventDrag(scene.name, picture.name, keys_of(scene, picture), event, 10.0)
    drag.move_to(22.0, is_slow=False, snaps=False)
    assert drag.by_s == pytest.approx(0.5)
    drag.move_to(22.0, is_slow=True, snaps=False)
    assert drag.by_s == pytest.approx(0.05)
    moved = drag.move_to(22.0, is_slow=False, snaps=True)
    peak = max(moved, key=lambda key: key.level_db)
    assert peak.time_s * 24 == pytest.approx(19, abs=1e-4)
    assert level_at(scene, picture, 0.3) == pytest.approx(-20)


def draw_line(scene: Any, strip: Any) -> Any:
    """Draw from frame 13 to 25 (0.5 s to 1 s of the content) across the middle of the strip."""
    drawing = part("timeline.energy_drawing")
    middle = strip.channel + drawing.height_of(-50.0)
    pen = part("blender.energy_pen").Drawing.begin(scene, strip, 13.0, middle, 4.0)
    pen.move(25.0, middle, is_straight=False)
    return pen


def test_the_pen_draws_over_the_curve(scene: Any, picture: Any) -> None:
    pen = draw_line(scene, picture)
    part("blender.energy_curves").write_keys(scene, picture, pen.curve())
    assert level_at(scene, picture, 0.75) == pytest.approx(-50, abs=0.5)
    assert level_at(scene, picture, 0.3) == pytest.approx(-20)
    assert level_at(scene, picture, 1.3) == pytest.approx(-30)
    peaks = [event.peak_db for event in part("blender.strip_events").read_drawn_energy(scene, picture).events]
    assert peaks == pytest.approx([-20, -50, -30], abs=0.5) or peaks == pytest.approx([-20, -30], abs=0.5)


def test_the_pen_begins_with_what_the_take_requested_or_with_silence(scene: Any, ball: Path) -> None:
    set_rate(scene, 24, 1.0)
    strip = add_movie(scene, ball)
    levels = {round(key.level_db) for key in draw_line(scene, strip).curve()}
    assert levels == {-100, -50}
    give_take(strip)
    levels = {round(key.level_db) for key in draw_line(scene, strip).curve()}
    assert levels == {round(-5 * 8.6859), -50}
    assert keys_of(scene, strip) == ()


def test_the_strip_under_the_mouse_is_found(scene: Any, ball: Path, picture: Any) -> None:
    mouse = part("blender.timeline_mouse")
    above = add_movie(scene, ball, channel=2, start=30)
    assert mouse.picture_under(scene, 10.5, 1.5) == picture
    assert mouse.picture_under(scene, 40.0, 2.99) == above
    assert mouse.picture_under(scene, 10.5, 2.5) is None
    assert mouse.picture_under(scene, 49.0, 1.5) is None
    mouse.make_active(scene, picture)
    assert scene.sequence_editor.active_strip == picture
    assert [strip.name for strip in strips_of(scene.sequence_editor) if strip.select] == [picture.name]


def test_the_operators_have_tooltips_and_places_in_the_menu(scene: Any, picture: Any) -> None:
    drawn: list[str] = []

    class Layout:
        def operator(self, name: str, **_: Any) -> Any:
            drawn.append(name)
            return type("Properties", (), {})()

        def operator_menu_enum(self, name: str, prop: str) -> None:
            drawn.append(name)

        def separator(self) -> None:
            pass

    part("blender.menus").REWAS_MT_sound.draw(type("Menu", (), {"layout": Layout()})(), bpy.context)
    classes = (*part("blender.event_operators").CLASSES, part("blender.energy_pen").REWAS_OT_draw_energy)
    for kind in classes:
        assert getattr(bpy.ops.rewas, kind.bl_idname.partition(".")[2]).get_rna_type().description
        assert kind.bl_idname in drawn or "INTERNAL" in kind.bl_options
    assert scene.rewas.show_energy
