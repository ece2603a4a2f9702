"""The energy of a strip, from a real server: estimated from the picture or measured on a sound, and edited."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from conftest import part, set_rate
from test_generate import HAS_SOUND, add_movie, board, pump_until, served_scene, write_tone
from test_libraries import Layout

__all__ = ["served_scene"]

OUTDATED = "The prompt has changed since the energy was estimated."


def estimate(scene: Any, strip: Any, **source: str) -> np.ndarray[Any, Any]:
    """Estimate the energy of the active strip. Returns its keys."""
    questions, estimates = part("blender.questions"), part("blender.energy_estimates")
    assert bpy.ops.rewas.estimate_energy(**source) == {"FINISHED"}
    assert questions.is_asking("energy", strip)
    pump_until(lambda: not questions.is_asking("energy", strip) and not estimates.is_waiting())
    assert questions.problem_of("energy", strip) is None
    return np.asarray(part("blender.energy_curves").read_keys(scene, strip))


@pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")
def test_the_estimate_is_what_the_sound_would_follow_and_edited_keys_are_followed(
    served_scene: Any, ball: Path
) -> None:
    scene, curves = served_scene, part("blender.energy_curves")
    strip = add_movie(scene, ball, start=11)
    part("blender.compat").set_handles(strip, 21, 51)
    bpy.ops.rewas.generate()
    bpy.ops.rewas.wait(timeout_s=150)
    keys = estimate(scene, strip)
    assert strip.rewas.settings.energy_source == "DRAWN"
    (take,) = part("blender.take_list").read_takes(strip)

    def levels_db(take: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        energy = take.requested_energy
        times_s = take.lead_in_frames / float(take.scene_rate) + (np.arange(len(energy.values)) + 0.5) / energy.rate_hz
        return times_s.astype(float), np.asarray(energy.values) * 20 / np.log(10)

    times_s, from_picture = levels_db(take)
    assert np.interp(times_s, *keys.T) == pytest.approx(from_picture, abs=0.6)
    # What the Graph Editor shows is what is generated.
    lead_in_s = 10 / float(take.scene_rate)
    edited = ((lead_in_s, -60.0), (lead_in_s + 0.5, -25.0), (lead_in_s + 1, -90.0))
    curves.write_keys(scene, strip, edited)
    curves.read_keys(scene, strip)
    part("blender.compat").find_curve(scene, f"{strip.path_from_id()}.rewas_energy_db").keyframe_points[1].co.y = -30
    bpy.ops.rewas.generate()
    bpy.ops.rewas.wait(timeout_s=150)
    again = part("blender.take_list").read_takes(strip)[1]
    times_s, followed = levels_db(again)
    expected = np.interp(times_s, [time_s for time_s, _ in edited], [-60, -30, -90])
    # The server converts the lines to its own rate.
    assert followed == pytest.approx(expected, abs=3)
    assert np.abs(followed - expected).mean() < 0.5
    assert bpy.ops.rewas.energy_from_picture() == {"FINISHED"}
    assert (strip.rewas.settings.energy_source, curves.read_keys(scene, strip)) == ("PICTURE", ())
    with pytest.raises(RuntimeError, match="already follows the picture"):
        bpy.ops.rewas.energy_from_picture()
    # The settings of a take bring its curve back.
    assert bpy.ops.rewas.use_take_settings() == {"FINISHED"}
    assert np.asarray(curves.read_keys(scene, strip))[:, 1].max() == pytest.approx(-30, abs=0.1)


@pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module cannot tell how long a recording is")
def test_a_recording_becomes_the_curve(served_scene: Any, make_clip: Any, tmp_path: Path) -> None:
    set_rate(served_scene, 25, 1.0)
    strip = add_movie(served_scene, make_clip(Fraction(25), 25))
    recording = write_tone(tmp_path / "voice.wav", 0.4)
    questions, estimates = part("blender.questions"), part("blender.energy_estimates")
    strip.rewas.settings.energy_edits = "smooth 0.05"
    assert bpy.ops.rewas.energy_from_sound(filepath=str(recording)) == {"FINISHED"}
    bpy.ops.rewas.wait(timeout_s=150)
    assert (questions.problem_of("energy", strip), estimates.is_waiting()) == (None, False)
    times_s, levels_db = np.asarray(part("blender.energy_curves").read_keys(served_scene, strip)).T
    assert times_s[-1] == pytest.approx(1.0, abs=0.02)
    assert (levels_db[times_s > 0.5] == -100).all()
    assert levels_db[times_s < 0.3].mean() > -90
    settings = strip.rewas.settings
    assert (settings.energy_source, settings.energy_edits) == ("DRAWN", "")


@pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")
def test_a_layer_gets_the_estimate_and_is_generated_with_it(served_scene: Any, ball: Path) -> None:
    strip = add_movie(served_scene, ball)
    layer = strip.rewas.settings.layers.add()
    layer.name, layer.prompt = "rain", "light rain"
    assert bpy.ops.rewas.estimate_energy(layer="rain") == {"FINISHED"}
    bpy.ops.rewas.wait(timeout_s=150)
    assert part("blender.energy_curves").has_keys(served_scene, strip, "rain")
    assert (strip.rewas.settings.layers["rain"].energy, strip.rewas.settings.energy_source) == ("DRAWN", "PICTURE")
    bpy.ops.rewas.generate()
    bpy.ops.rewas.wait(timeout_s=150)
    (take,) = part("blender.take_list").read_takes(strip)
    assert take.roles == ("primary", "rain")
    with pytest.raises(RuntimeError, match="no layer snow"):
        bpy.ops.rewas.estimate_energy(layer="snow")


def test_a_picture_that_blender_renders_is_estimated_and_checked(served_scene: Any, ball: Path) -> None:
    strip = add_movie(served_scene, ball, start=101)
    strip.use_reverse_frames = True
    part("blender.compat").set_handles(strip, 106, 130)
    assert bpy.ops.rewas.check_prompt() == {"FINISHED"}
    keys = estimate(served_scene, strip)
    questions = part("blender.questions")
    pump_until(lambda: not questions.is_asking())
    assert questions.problem_of("check", strip) is None
    assert part("blender.check_results").read_check(strip) is not None
    rate = 24 / 1.001
    assert (keys[0, 0], keys[-1, 0]) == pytest.approx((5 / rate, 29 / rate), abs=0.03)
    with pytest.raises(RuntimeError, match="plays backwards, so its own sound does not fit"):
        bpy.ops.rewas.estimate_energy(source="OWN_SOUND")


def levels_at(keys: Any, times_s: Any) -> Any:
    return np.interp(times_s, *np.asarray(keys).T)


def energy_texts(strip: Any, layer: str = "") -> str:
    """What the panel says about the energy of the active strip, or about that of a layer."""
    operators, layout = part("blender.energy_operators"), Layout()
    context = SimpleNamespace(
        scene=bpy.context.scene,
        sequencer_scene=bpy.context.scene,
        region=SimpleNamespace(width=20_000),
        preferences=bpy.context.preferences,
    )
    if layer:
        operators.draw_layer_energy(layout, context, strip, strip.rewas.settings.layers[layer])
    else:
        operators.draw_energy(layout, context, strip)
    return "\n".join(layout.texts)


def test_a_pack_that_reads_words_estimates_for_the_prompt_and_marks_it_outdated(served_scene: Any, ball: Path) -> None:
    scene = served_scene
    bpy.ops.rewas.check_server()
    pump_until(lambda: board().server is not None and any(pack.reads_words for pack in board().server.packs))
    strip = add_movie(scene, ball, prompt="")
    settings, times_s = strip.rewas.settings, np.linspace(0.2, 1.8, 50)
    settings.pack, settings.level = "worded", "RAW"
    assert "Describe the sound first." in energy_texts(strip)
    found = {}
    for prompt in ("", "wind", "a hammer", "wind"):
        strip.rewas.prompt = prompt
        assert (OUTDATED in energy_texts(strip)) is bool(found)
        levels_db = levels_at(estimate(scene, strip), times_s)
        assert OUTDATED not in energy_texts(strip)
        assert found.setdefault(prompt, levels_db) == pytest.approx(levels_db, abs=1e-3)
    for prompt in ("", "a hammer"):
        assert np.abs(found[prompt] - found["wind"]).max() > 1
    strip.rewas.prompt = " wind "
    assert OUTDATED not in energy_texts(strip)
    # A layer has its own prompt.
    layer = settings.layers.add()
    layer.name, layer.prompt = "hits", "a hammer"
    assert bpy.ops.rewas.estimate_energy(layer="hits") == {"FINISHED"}
    bpy.ops.rewas.wait(timeout_s=150)
    keys = part("blender.energy_curves").read_keys(scene, strip, "hits")
    assert levels_at(keys, times_s) == pytest.approx(found["a hammer"], abs=1e-3)
    strip.rewas.prompt = "a dog"
    assert (OUTDATED in energy_texts(strip), OUTDATED in energy_texts(strip, "hits")) == (True, False)
    settings.layers["hits"].prompt = "footsteps"
    assert OUTDATED in energy_texts(strip, "hits")
    # What a picture without a drawn curve follows is estimated for its prompt.
    assert bpy.ops.rewas.energy_from_picture() == {"FINISHED"}
    assert OUTDATED not in energy_texts(strip)
    settings.layers.clear()
    strip.rewas.prompt = "a hammer"
    if HAS_SOUND:
        bpy.ops.rewas.generate()
        bpy.ops.rewas.wait(timeout_s=150)
        (take,) = part("blender.take_list").read_takes(strip)
        energy = take.requested_energy
        own_times_s = (np.arange(len(energy.values)) + 0.5) / float(energy.rate_hz)
        followed = np.interp(times_s, own_times_s, np.asarray(energy.values) * 20 / np.log(10))
        # The server interpolates between the values in another way.
        assert np.abs(followed - found["a hammer"]).mean() < 0.5


@pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")
def test_a_layer_that_follows_the_picture_is_generated_and_restored(served_scene: Any, ball: Path) -> None:
    strip = add_movie(served_scene, ball, prompt="wind")
    settings = strip.rewas.settings
    settings.pack = "worded"
    layer = settings.layers.add()
    layer.name, layer.prompt, layer.energy = "hits", "a hammer", "VIDEO"
    bpy.ops.rewas.generate()
    bpy.ops.rewas.wait(timeout_s=150)
    (take,) = part("blender.take_list").read_takes(strip)
    assert take.roles == ("primary", "hits")
    layer.energy = "STEADY"
    assert bpy.ops.rewas.use_take_settings() == {"FINISHED"}
    assert strip.rewas.settings.layers["hits"].energy == "VIDEO"


def test_undo_brings_back_what_the_curve_was_estimated_for(served_scene: Any, ball: Path) -> None:
    strip = add_movie(served_scene, ball, prompt="wind")
    strip.rewas.settings.pack = "worded"
    estimates = part("blender.energy_estimates")

    def find() -> Any:
        scene = bpy.context.scene
        (found,) = (each for each in part("blender.compat").strips_of(scene.sequence_editor) if each.type == "MOVIE")
        return scene, found

    # In background mode, the add-on pushes no steps.
    estimate(served_scene, strip)
    bpy.ops.ed.undo_push(message="estimate")
    scene, strip = find()
    strip.rewas.prompt = "a hammer"
    bpy.ops.ed.undo_push(message="prompt")
    assert estimates.is_outdated(*find())
    estimate(*find())
    bpy.ops.ed.undo_push(message="estimate again")
    assert not estimates.is_outdated(*find())
    bpy.ops.ed.undo()
    assert estimates.is_outdated(*find())
    bpy.ops.ed.undo()
    assert (find()[1].rewas.prompt, estimates.is_outdated(*find())) == ("wind", False)
    bpy.ops.ed.redo()
    bpy.ops.ed.redo()
    assert (find()[1].rewas.prompt, estimates.is_outdated(*find())) == ("a hammer", False)
    # Another pack's estimate, a curve from a sound and a curve drawn from nothing depend on no prompt.
    scene, strip = find()
    strip.rewas.settings.pack = "untrained"
    estimate(scene, strip)
    strip.rewas.prompt = "a dog"
    assert not estimates.is_outdated(scene, strip)
    part("blender.energy_curves").note_estimate(strip.rewas.settings, "rain")
    part("blender.energy_curves").remove_keys(scene, strip)
    part("blender.energy_curves").write_keys(scene, strip, [(0.0, -30.0)])
    assert not estimates.is_outdated(scene, strip)


def test_a_failed_estimate_is_reported_in_the_panel(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    with pytest.raises(RuntimeError, match="no file is chosen"):
        bpy.ops.rewas.estimate_energy(source="OTHER_SOUND")
    questions = part("blender.questions")
    assert "no file is chosen" in str(questions.problem_of("energy", strip))
    assert bpy.ops.rewas.estimate_energy() == {"FINISHED"}
    with pytest.raises(RuntimeError, match="already being estimated"):
        bpy.ops.rewas.estimate_energy()
    with pytest.raises(RuntimeError, match=r"127\.0\.0\.1:9"):
        bpy.ops.rewas.wait(timeout_s=30)
    assert "127.0.0.1:9" in str(questions.problem_of("energy", strip))
    assert strip.rewas.settings.energy_source == "PICTURE"


def test_an_estimate_waits_while_the_user_is_busy_and_is_dropped_with_its_strip(
    scene: Any, ball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimates, questions, pump = part("blender.energy_estimates"), part("blender.questions"), part("blender.pump").pump
    core, key = part("core.energy_question"), part("timeline.energy_keys").EnergyKey
    strip, other = add_movie(scene, ball), add_movie(scene, ball, start=100)
    settings = part("core.sound_settings").SoundSettings()

    def arrive(strip: Any) -> None:
        reading, placement = part("blender.strip_reading"), part("blender.placement")
        clip = part("timeline.selection").clip_from_strip(reading.read_strip(scene, strip), reading.scene_rate(scene))
        address = placement.StripAddress(placement.ensure_uid(scene, strip), scene.name, strip.name, clip.path)
        question = core.EnergyQuestion(settings, clip.source_duration_s)
        request = part("core.analysis").AnalysisRequest(f"energy {address.uid}", clip, question)
        answer = core.EnergyAnswer((key(0.0, -20.0), key(1.0, -30.0)), ("There is little motion.",))
        estimates.add_estimate(questions.Asked(request, address, Fraction(1, 2)), answer)

    arrive(strip)
    monkeypatch.setattr(estimates, "is_user_busy", lambda: True)
    pump()
    curves = part("blender.energy_curves")
    assert (curves.has_keys(scene, strip), estimates.is_waiting()) == (False, True)
    monkeypatch.undo()
    pump_until(lambda: not estimates.is_waiting())
    expected = np.asarray([(0.5, -20), (1.5, -30)])
    assert np.asarray(curves.read_keys(scene, strip)) == pytest.approx(expected, abs=1e-4)
    assert estimates.notes_of(strip) == ("There is little motion.",)
    arrive(other)
    part("blender.compat").strips_of(scene.sequence_editor).remove(other)
    pump_until(lambda: not estimates.is_waiting())
    assert len(part("blender.compat").animation_curves(scene)) == 2


def test_a_copied_control_brings_its_curve(scene: Any, ball: Path) -> None:
    curves = part("blender.energy_curves")
    strip, other = add_movie(scene, ball), add_movie(scene, ball, start=100)
    curves.write_keys(scene, strip, [(0.0, -30.0), (1.0, -50.0)])
    strip.select = other.select = True
    scene.sequence_editor.active_strip = strip
    assert bpy.ops.rewas.copy_settings(sets={"CONTROL"}) == {"FINISHED"}
    assert other.rewas.settings.energy_source == "DRAWN"
    assert np.asarray(curves.read_keys(scene, other)) == pytest.approx(np.asarray([(0, -30), (1, -50)]), abs=1e-4)
