"""The drawn energy of a strip is an F-curve that stays with the picture through Blender's own operators."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from conftest import add_movie, part, set_rate, strips_of
from test_following import generate, pictures, push, redo, run, settle, undo, where
from test_placing_takes import has_sound

KEYS = ((0.0, -100.0), (0.25, -100.0), (0.5, -20.0), (1.5, -60.0), (2.0, -40.5))
__all__ = ["run"]


def curves() -> Any:
    return part("blender.energy_curves")


@pytest.fixture
def picture(scene: Any, ball: Path) -> Any:
    """A strip of 48 frames whose energy is drawn, and which has an identifier."""
    set_rate(scene, 24, 1.0)
    strip = add_movie(scene, ball)
    part("blender.placement").ensure_uid(scene, strip)
    curves().write_keys(scene, strip, KEYS)
    push()
    return strip


def level_curve(scene: Any, strip: Any, name: str = "rewas_energy_db") -> Any:
    return part("blender.compat").find_curve(scene, f"{strip.path_from_id()}.{name}")


def frames_of(scene: Any, strip: Any) -> list[float]:
    return [point.co.x for point in level_curve(scene, strip).keyframe_points]


def snap(run: Any, strip: Any, frame: int) -> None:
    """Move a strip with Blender's operator, which moves its F-curves too. What it aligns depends on the version."""
    before = where(strip)
    has_sides = "keep_offset" in bpy.ops.sequencer.snap.get_rna_type().properties
    run("snap", [strip], frame=frame, **({"side": "RIGHT"} if has_sides else {}))
    assert where(strip) != before


def assert_with_picture(scene: Any, strip: Any, trimmed_frames: float = 0.0) -> None:
    """The keys are read right before and after the scan, and are then drawn where the picture is."""
    shifted = [(time_s - trimmed_frames / 24, level_db) for time_s, level_db in KEYS]
    assert np.asarray(curves().read_keys(scene, strip)) == pytest.approx(np.asarray(shifted), abs=1e-4)
    settle()
    assert np.asarray(curves().read_keys(scene, strip)) == pytest.approx(np.asarray(shifted), abs=1e-4)
    start = where(strip)[0] - trimmed_frames
    assert frames_of(scene, strip) == pytest.approx([start + time_s * 24 for time_s, _ in KEYS], abs=1e-3)


def test_keys_are_read_as_they_were_written(scene: Any, picture: Any) -> None:
    assert_with_picture(scene, picture)
    assert picture.rewas.settings.energy_source == "DRAWN"
    assert curves().has_keys(scene, picture)
    curves().write_keys(scene, picture, [(1.0, 90.0), (0.5, -300.0), (1.0, -7.0)])
    assert curves().read_keys(scene, picture) == ((0.5, -100), (1, -7))
    curves().remove_keys(scene, picture)
    assert curves().read_keys(scene, picture) == ()
    assert not curves().has_keys(scene, picture)
    assert part("blender.compat").animation_curves(scene) == []
    with pytest.raises(ValueError, match="at least one key"):
        curves().write_keys(scene, picture, [])


def test_the_energy_follows_moves_trims_and_slips(picture: Any, run: Any) -> None:
    scene, compat = bpy.context.scene, part("blender.compat")
    snap(run, picture, 60)
    assert_with_picture(scene, picture)
    compat.set_handles(picture, 65, 100)
    push()
    assert_with_picture(scene, picture)
    run("slip", [picture], offset=-3)
    assert where(picture) == (57, 65, 100)
    assert_with_picture(scene, picture)
    if "slip_keyframes" in bpy.ops.sequencer.slip.get_rna_type().properties:
        run("slip", [picture], offset=5, slip_keyframes=True)
        assert where(picture)[0] == 62
        assert_with_picture(scene, picture)
    compat.set_content_start(picture, 30)
    push()
    assert_with_picture(scene, picture)
    for _ in range(3):
        scene = undo()
        assert_with_picture(scene, pictures(scene)[0])
    for _ in range(3):
        scene = redo()
        assert_with_picture(scene, pictures(scene)[0])


@pytest.mark.parametrize("kind", ["SOFT", "HARD"])
def test_both_halves_of_a_split_have_the_energy(picture: Any, run: Any, kind: str) -> None:
    scene = bpy.context.scene
    run("split", [picture], frame=25, type=kind, side="RIGHT")
    left, right = pictures(scene)
    trimmed_frames = 24 if kind == "HARD" else 0
    assert_with_picture(scene, left)
    assert_with_picture(scene, right, trimmed_frames)
    curves().write_keys(scene, right, [(0.0, -10.0)])
    assert_with_picture(scene, left)
    snap(run, right, 200)
    assert curves().read_keys(scene, right) == ((0, -10),)
    settle()
    assert frames_of(scene, right) == [where(right)[0]]
    assert left.rewas.uid != right.rewas.uid


def test_a_hard_split_of_converted_media_keeps_the_energy(scene: Any, make_clip: Any, run: Any) -> None:
    from fractions import Fraction

    set_rate(scene, 24, 1.0)
    path = make_clip(Fraction(12), 24)
    arguments = {"filepath": str(path), "frame_start": 1, "channel": 1}
    if "move_strips" in bpy.ops.sequencer.movie_strip_add.get_rna_type().properties:
        arguments["move_strips"] = False
    run("movie_strip_add", [], adjust_playback_rate=True, **arguments)
    set_rate(scene, 24, 1.0)
    (strip,) = pictures(scene)
    assert where(strip) == (1, 1, 49)
    curves().write_keys(scene, strip, KEYS)
    run("split", [strip], frame=25, type="HARD", side="RIGHT")
    left, right = pictures(scene)
    assert_with_picture(scene, left)
    assert_with_picture(scene, right, 24)


def test_a_duplicate_has_its_own_energy(picture: Any, run: Any) -> None:
    scene = bpy.context.scene
    run("duplicate_move", [picture], TRANSFORM_OT_seq_slide={"value": (99, 0)})
    first, second = pictures(scene)
    assert_with_picture(scene, first)
    assert_with_picture(scene, second)
    curves().write_keys(scene, second, [(0.0, -10.0)])
    curves().remove_keys(scene, first)
    assert curves().read_keys(scene, second) == ((0, -10),)


def test_copies_in_another_place_and_in_another_scene_have_the_energy(picture: Any, run: Any) -> None:
    scene = bpy.context.scene
    run("copy", [picture])
    scene.frame_set(200)
    run("paste", [])
    _, pasted = pictures(scene)
    assert where(pasted)[0] == 200
    assert_with_picture(scene, pasted)
    other = bpy.data.scenes.new("Other")
    set_rate(other, 24, 1.0)
    other.sequence_editor_create()
    other.frame_set(50)
    run("paste", [], other)
    (elsewhere,) = pictures(other)
    assert_with_picture(other, elsewhere)
    assert where(elsewhere)[0] == 50
    assert_with_picture(scene, pictures(scene)[0])


def test_a_full_copy_of_the_scene_has_its_own_energy(picture: Any) -> None:
    window = bpy.context.window_manager.windows[0]
    with bpy.context.temp_override(window=window):
        bpy.ops.scene.new(type="FULL_COPY")
    copy = window.scene
    original = bpy.data.scenes["Scene"]
    assert copy != original
    curves().write_keys(copy, pictures(copy)[0], [(0.0, -10.0)])
    assert_with_picture(original, pictures(original)[0])


def test_a_meta_strip_takes_the_energy_along(picture: Any, run: Any) -> None:
    scene = bpy.context.scene
    run("meta_make", [picture])
    (meta,) = (strip for strip in strips_of(scene.sequence_editor) if strip.type == "META")
    snap(run, meta, 60)
    (inner,) = pictures(scene)
    assert where(inner)[0] == 60
    assert_with_picture(scene, inner)


def test_a_strip_with_a_strange_name_is_moved(picture: Any, run: Any) -> None:
    picture.name = 'a "b" \\ c.d["e"]'
    snap(run, picture, 60)
    assert_with_picture(bpy.context.scene, picture)


def test_the_energy_is_saved_and_removed_with_its_strip(picture: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "film.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    scene = bpy.context.scene
    assert_with_picture(scene, pictures(scene)[0])
    strips_of(scene.sequence_editor).remove(pictures(scene)[0])
    settle()
    assert part("blender.compat").animation_curves(scene) == []


def test_what_the_user_does_in_the_graph_editor_is_read(scene: Any, picture: Any) -> None:
    origin = level_curve(scene, picture, "rewas_energy_origin")
    assert (origin.lock, origin.hide, origin.mute) == (True, True, True)
    curve = level_curve(scene, picture)
    before = curves().keys_revision(scene, picture)
    curve.keyframe_points[2].co.y = -10.0
    assert curves().keys_revision(scene, picture) != before
    assert curves().read_keys(scene, picture)[2] == (0.5, -10)
    # A key that the user inserts by hand, and other shapes than straight lines.
    curve.keyframe_points.insert(1 + 24, -30.0)
    assert (1.0, -30) in curves().read_keys(scene, picture)
    for point in curve.keyframe_points:
        point.interpolation = "CONSTANT" if point.co.x == 25 else "BEZIER" if point.co.x == 13 else "LINEAR"
    curve.update()
    level_at = part("timeline.energy_keys").level_at
    keys = curves().read_keys(scene, picture)
    for frame in np.arange(1, 49, 0.5).tolist():
        assert level_at(keys, (frame - 1) / 24) == pytest.approx(curve.evaluate(frame), abs=1e-3), frame
    curve.extrapolation = "LINEAR"
    for frame in np.arange(1, 49, 0.5).tolist():
        keys = curves().read_keys(scene, picture)
        assert level_at(keys, (frame - 1) / 24) == pytest.approx(max(curve.evaluate(frame), -100), abs=1e-3), frame


def test_keys_that_the_user_inserts_alone_belong_to_the_picture(scene: Any, ball: Path, run: Any) -> None:
    set_rate(scene, 24, 1.0)
    strip = add_movie(scene, ball)
    for frame, level_db in ((1, -30.0), (25, -50.0)):
        strip.rewas_energy_db = level_db
        strip.keyframe_insert("rewas_energy_db", frame=frame)
    settle()
    snap(run, strip, 60)
    settle()
    keys = curves().read_keys(scene, strip)
    assert (keys[0], keys[-1]) == ((0, -30), (1, -50))
    # Without keys the origin goes too.
    part("blender.compat").remove_curve(scene, level_curve(scene, strip))
    settle()
    assert level_curve(scene, strip, "rewas_energy_origin") is None


def test_a_layer_has_its_own_curve(scene: Any, picture: Any, ball: Path, run: Any) -> None:
    settings, keys = picture.rewas.settings, ((0.0, -30.0), (1.0, -50.0))
    for name in ("rain", "wind"):
        layer = settings.layers.add()
        layer.name, layer.prompt, layer.energy = name, name, "FLAT"
    assert not curves().has_keys(scene, picture, "rain")
    # The keys of the primary sound have not been moved with the picture yet.
    part("blender.compat").set_handles(picture, 5, 40)
    run("slip", [picture], offset=-3)
    curves().write_keys(scene, picture, keys, "rain")
    assert_with_picture(scene, picture)
    assert settings.layers["rain"].energy == "DRAWN"
    snap(run, picture, 60)
    settle()
    settings = picture.rewas.settings
    assert np.asarray(curves().read_keys(scene, picture, "rain")) == pytest.approx(np.asarray(keys), abs=1e-4)
    settings.layers["rain"].role = "Heavy Rain"
    assert curves().has_keys(scene, picture, "heavy-rain")
    run("duplicate_move", [picture], TRANSFORM_OT_seq_slide={"value": (99, 0)})
    copy = pictures(scene)[1]
    settle()
    assert np.asarray(curves().read_keys(scene, copy, "heavy-rain")) == pytest.approx(np.asarray(keys), abs=1e-4)
    curves().remove_keys(scene, picture)
    assert curves().has_keys(scene, picture, "heavy-rain")
    # Copies and takes bring the curves of layers along.
    other = add_movie(scene, ball, channel=5)
    for strip in pictures(scene):
        strip.select = strip in (picture, other)
    scene.sequence_editor.active_strip = picture
    bpy.ops.rewas.copy_settings(sets={"LAYERS"})
    assert np.asarray(curves().read_keys(scene, other, "heavy-rain")) == pytest.approx(np.asarray(keys), abs=1e-4)
    other.rewas.settings.active_layer_index = 0
    scene.sequence_editor.active_strip = other
    bpy.ops.rewas.remove_layer()
    assert not any(other.name in curve.data_path for curve in part("blender.compat").animation_curves(scene))


def add_layer(strip: Any, name: str, energy: str = "STEADY") -> None:
    layer = strip.rewas.settings.layers.add()
    layer.name, layer.prompt, layer.energy = name, name, energy


def curves_of_layers(scene: Any, strip: Any) -> set[str]:
    """Names of the layers with an F-curve in the action, whether or not the strip still has them."""
    compat = part("blender.compat")
    paths = [curve.data_path for curve in compat.animation_curves(scene)]
    start = f'{strip.path_from_id()}.rewas.settings.layers["'
    return {path.removeprefix(start).partition('"')[0] for path in paths if path.startswith(start)}


def test_copied_layers_leave_no_curves_of_the_old_ones(scene: Any, picture: Any, ball: Path) -> None:
    other = add_movie(scene, ball, channel=5)
    for name in ("rain", "wind"):
        add_layer(other, name)
        curves().write_keys(scene, other, [(0.0, -30.0), (1.0, -50.0)], name)
    curves().write_keys(scene, other, KEYS)
    add_layer(picture, "rain")
    for strip in (picture, other):
        strip.select = True
    scene.sequence_editor.active_strip = picture
    bpy.ops.rewas.copy_settings(sets={"CONTROL"})
    assert curves_of_layers(scene, other) == {"rain", "wind"}
    bpy.ops.rewas.copy_settings(sets={"LAYERS"})
    assert [layer.name for layer in other.rewas.settings.layers] == ["rain"]
    assert curves_of_layers(scene, other) == set()
    assert np.asarray(curves().read_keys(scene, other)) == pytest.approx(np.asarray(KEYS), abs=1e-4)


def test_a_preset_leaves_no_curves_of_the_layers_that_it_replaces(scene: Any, picture: Any, tmp_path: Path) -> None:
    for name in ("rain", "wind", "birds"):
        add_layer(picture, name)
        curves().write_keys(scene, picture, [(0.0, -30.0), (1.0, -50.0)], name)
    scene.sequence_editor.active_strip = picture
    preset = tmp_path / "preset.py"
    preset.write_text(
        "import bpy\n"
        "layers = bpy.context.window_manager.rewas.preset.layers\n"
        "layers.clear()\n"
        "for name, energy in (('rain', 'FLAT'), ('birds', 'DRAWN')):\n"
        "    layer = layers.add()\n"
        "    layer.name, layer.energy = name, energy\n"
    )
    assert bpy.ops.rewas.load_preset(filepath=str(preset)) == {"FINISHED"}
    # A preset holds no curve: a layer that follows one keeps that of the strip, as the primary sound does.
    assert curves_of_layers(scene, picture) == {"birds"}
    assert np.asarray(curves().read_keys(scene, picture)) == pytest.approx(np.asarray(KEYS), abs=1e-4)


@has_sound
def test_restored_settings_leave_no_curves_of_the_layers_that_they_replace(scene: Any, picture: Any) -> None:
    reading = part("blender.strip_reading")
    for name in ("rain", "wind"):
        add_layer(picture, name)
        curves().write_keys(scene, picture, [(0.0, -30.0), (1.0, -50.0)], name)
    picture.rewas.settings.layers["wind"].energy = "STEADY"
    clip = part("timeline.selection").clip_from_strip(reading.read_strip(scene, picture), reading.scene_rate(scene))
    chosen = part("blender.sound_properties").read_settings(scene, picture, clip, "")
    generate(scene, picture)
    take = part("blender.take_list").active_take(picture)
    take = replace(take, settings={**take.settings, "chosen": part("core.plain_json").to_plain(chosen)})
    picture.rewas.settings.layers["rain"].role = "snow"
    part("blender.take_operators").restore_settings(picture, take)
    assert [layer.name for layer in picture.rewas.settings.layers] == ["rain", "wind"]
    assert curves_of_layers(scene, picture) == {"rain"}


@has_sound
def test_a_range_of_a_trimmed_strip_follows_the_curve_of_the_whole_take(scene: Any, picture: Any) -> None:
    reading, compat = part("blender.strip_reading"), part("blender.compat")
    generate(scene, picture)
    compat.set_handles(picture, 13, 37)
    clip = part("timeline.selection").clip_from_strip(reading.read_strip(scene, picture), reading.scene_rate(scene))
    settings = part("blender.sound_properties").read_settings(scene, picture, clip, "")
    assert settings.energy.keys[0] == (0, -20)
    whole, planned = part("blender.take_operators").plan_again(scene, picture, clip, settings)
    assert (whole.start_frame, whole.frames) == (1, 48)
    assert np.asarray(planned.energy.keys)[:5] == pytest.approx(np.asarray(KEYS), abs=1e-3)


def test_the_energies_of_layers_are_read_for_the_request(scene: Any, picture: Any) -> None:
    reading, read = part("blender.strip_reading"), part("blender.sound_properties").read_settings
    for name in ("rain", "wind"):
        layer = picture.rewas.settings.layers.add()
        layer.name, layer.prompt, layer.energy, layer.flat_db = name, name, "FLAT", -20.0
    curves().write_keys(scene, picture, [(0.0, -30.0), (5.0, -50.0)], "wind")
    clip = part("timeline.selection").clip_from_strip(reading.read_strip(scene, picture), reading.scene_rate(scene))
    rain, wind = read(scene, picture, clip, "").layers
    assert (rain.energy, rain.flat_nats) == ("flat", pytest.approx(-2.3026, abs=1e-4))
    end_s = float(clip.source_duration_s)
    assert (wind.energy, wind.keys[0]) == ("drawn", (0, -30))
    assert wind.keys[-1] == pytest.approx((end_s, -30 - 4 * end_s), abs=1e-3)
    curves().remove_keys(scene, picture, "wind")
    assert 'The layer wind of the strip "ball' in read(scene, picture, clip, "").what


def test_thousands_of_keys_are_written_and_read_in_milliseconds(scene: Any, picture: Any) -> None:
    keys = [(index / 100, -50.0 + index % 7) for index in range(3000)]
    curves().write_keys(scene, picture, keys)
    assert len(curves().read_keys(scene, picture)) == 3000
    took_s = []
    for _ in range(9):
        begin_s = time.process_time()
        curves().write_keys(scene, picture, keys)
        took_s.append(time.process_time() - begin_s)
    # It takes 3 ms. One key at a time would take longer than this.
    assert min(took_s) < 0.05


def test_the_request_has_the_keys_of_the_range_that_the_strip_shows(scene: Any, picture: Any) -> None:
    compat, reading = part("blender.compat"), part("blender.strip_reading")
    compat.set_handles(picture, 7, 31)
    clip = part("timeline.selection").clip_from_strip(reading.read_strip(scene, picture), reading.scene_rate(scene))
    read = part("blender.sound_properties").read_settings
    energy = read(scene, picture, clip, "").energy
    assert energy.source == "drawn"
    end_s = float(clip.source_duration_s)
    assert np.asarray(energy.keys) == pytest.approx(
        np.asarray([(0, -100), (0.25, -20), (end_s, -20 - 40 * (end_s - 0.25))]), abs=1e-3
    )
    curves().remove_keys(scene, picture)
    assert "follows a drawn curve, but has none" in read(scene, picture, clip, "").what
