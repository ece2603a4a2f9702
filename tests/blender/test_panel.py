"""What the panel's operators do: settings, layers, presets, takes, ranges, shortcuts and menus."""

import time
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest
from conftest import add_movie, part, strips_of
from test_following import generate, sounds_under
from test_placing_takes import has_sound


@pytest.fixture
def picture(scene: Any, ball: Path) -> Any:
    return add_movie(scene, ball)


def activate(scene: Any, strip: Any) -> None:
    for other in strips_of(scene.sequence_editor):
        other.select = other == strip
    scene.sequence_editor.active_strip = strip


def change_everything(settings: Any) -> None:
    """Set every setting to something other than its default."""
    settings.lock_seed, settings.seed = True, 11
    settings.negative_prompt, settings.pack = "music", "starter"
    settings.ambience, settings.ambience_gain_db = "a hall", -3.0
    for name in ("rain", "wind"):
        layer = settings.layers.add()
        layer.name, layer.prompt, layer.gain_db, layer.energy = name, f"some {name}", 2.5, "FOLLOWING"
        layer.pack, layer.recording, layer.sounds_like = "foley", 4, __file__
    settings.ambience_pack, settings.ambience_recording = "foley", 5
    settings.recording, settings.tail, settings.room = 6, "NATURAL", "OUT"
    settings.pitch_variation_cents, settings.timing_variation_s = 35.0, 0.01
    settings.energy_source, settings.flat_db, settings.energy_edits = "FLAT", -30.0, "smooth 0.2; mute event 1"
    settings.control, settings.control_strength = "ONSETS", 0.5
    settings.control_start, settings.control_end = 0.25, 0.75
    settings.takes, settings.cuts, settings.conflict_policy = 3, "FOUND", "SOFTEN"
    settings.use_own_sampling, settings.num_inference_steps, settings.guidance_scale = True, 12, 2.5
    settings.sampler, settings.level, settings.gain_db = "DPM++-SDE", "RAW", -6.0
    settings.mix, settings.sample_rate, settings.rank_by = True, "96000", "AVH"
    settings.sounds_like = __file__


def read(scene: Any, strip: Any) -> Any:
    clip = part("timeline.selection").clip_from_strip(
        part("blender.strip_reading").read_strip(scene, strip), part("blender.strip_reading").scene_rate(scene)
    )
    return part("blender.sound_properties").read_settings(scene, strip, clip, "")


def test_settings_are_copied_with_their_layers(scene: Any, ball: Path, picture: Any) -> None:
    change_everything(picture.rewas.settings)
    other = add_movie(scene, ball, start=100, prompt="rain")
    activate(scene, picture)
    with pytest.raises(RuntimeError, match="Also select the strips to copy to"):
        bpy.ops.rewas.copy_settings()
    other.select = True
    bpy.ops.rewas.copy_settings(sets={"LAYERS"})
    assert [layer.name for layer in other.rewas.settings.layers] == ["rain", "wind"]
    assert (other.rewas.prompt, other.rewas.settings.takes) == ("rain", 1)
    bpy.ops.rewas.copy_settings()
    assert other.rewas.prompt == "a ball bounces"
    assert read(scene, other) == read(scene, picture)


def test_every_setting_belongs_to_a_set(picture: Any) -> None:
    sets = part("blender.sound_properties").SETTING_SETS
    names = [name for _, _, names in sets.values() for name in names]
    assert len(names) == len(set(names))
    others = {"active_layer_index", "estimate", "name", "rna_type"}  # not chosen by the user
    assert set(names) == set(picture.rewas.settings.bl_rna.properties.keys()) - others


def test_settings_can_be_read_and_written_back(scene: Any, ball: Path, picture: Any) -> None:
    change_everything(picture.rewas.settings)
    settings = read(scene, picture)
    assert settings.energy.edits == ("smooth 0.2", "mute event 1")
    assert [layer.name for layer in settings.layers] == ["ambience", "rain", "wind"]
    other = add_movie(scene, ball, start=100)
    part("blender.sound_properties").write_settings(other.rewas.settings, settings)
    other.rewas.settings.lock_seed, other.rewas.settings.seed = True, 11
    assert read(scene, other) == settings


def test_an_unlocked_seed_is_new_each_time_and_shown(scene: Any, picture: Any) -> None:
    seeds = {read(scene, picture).seed for _ in range(4)}
    assert len(seeds) == 4
    assert picture.rewas.settings.seed in seeds
    picture.rewas.settings.lock_seed = True
    assert read(scene, picture).seed == picture.rewas.settings.seed


def test_another_sound_must_exist(scene: Any, picture: Any, tmp_path: Path) -> None:
    settings = picture.rewas.settings
    settings.energy_source = "OTHER_SOUND"
    assert "no file is chosen" in read(scene, picture).what
    settings.energy_sound = str(tmp_path / "voice.wav")
    assert "voice.wav is missing" in read(scene, picture).what


def test_a_sound_to_resemble_must_exist(scene: Any, picture: Any, tmp_path: Path) -> None:
    settings = picture.rewas.settings
    settings.sounds_like = str(tmp_path / "rain.wav")
    refusal = read(scene, picture)
    assert f'The sound of the strip "{picture.name}" should resemble' in refusal.what
    assert "rain.wav, which is missing" in refusal.what
    settings.sounds_like = ""
    bpy.ops.rewas.add_layer()
    settings.layers[0].prompt, settings.layers[0].sounds_like = "wind", "//wind.wav"
    assert "The layer layer-1 of the strip" in read(scene, picture).what


def test_the_timbre_is_that_of_the_sound_to_resemble(scene: Any, picture: Any) -> None:
    settings = picture.rewas.settings
    settings.energy_source, settings.use_texture = "OWN_SOUND", True
    assert read(scene, picture).energy.use_texture
    settings.sounds_like = __file__
    chosen = read(scene, picture)
    assert (chosen.energy.use_texture, chosen.like) == (False, str(Path(__file__).absolute()))


def test_the_file_of_a_selected_strip_becomes_the_sound_to_resemble(scene: Any, ball: Path, picture: Any) -> None:
    activate(scene, picture)
    with pytest.raises(RuntimeError, match="Also select one sound or movie strip"):
        bpy.ops.rewas.sounds_like_strip()
    other = add_movie(scene, ball, start=200, channel=5)
    activate(scene, picture)
    other.select = True
    assert bpy.ops.rewas.sounds_like_strip() == {"FINISHED"}
    settings = picture.rewas.settings
    assert Path(bpy.path.abspath(settings.sounds_like)) == ball
    assert read(scene, picture).like == str(ball)
    bpy.ops.rewas.add_layer()
    settings.layers[0].prompt = "wind"
    bpy.ops.rewas.sounds_like_strip(layer="layer-1")
    assert read(scene, picture).layers[0].like == str(ball)
    with pytest.raises(RuntimeError, match="The strip has no layer gone"):
        bpy.ops.rewas.sounds_like_strip(layer="gone")


def test_the_panels_draw_the_sound_to_resemble(scene: Any, picture: Any) -> None:
    class Layout:
        """Records the properties and operators that are drawn."""

        def __init__(self) -> None:
            self.drawn: list[str] = []

        def prop(self, owner: Any, name: str, **named: Any) -> None:
            assert name in owner.bl_rna.properties
            self.drawn.append(name)

        def operator(self, name: str, **named: Any) -> Any:
            self.drawn.append(name)
            return SimpleNamespace()

        def __getattr__(self, name: str) -> Any:
            return lambda *arguments, **named: self

    activate(scene, picture)
    bpy.ops.rewas.add_layer()
    for kind in ("REWAS_PT_control", "REWAS_PT_layers"):
        layout = Layout()
        panel = getattr(part("blender.panels"), kind)
        panel.draw(SimpleNamespace(layout=layout), bpy.context)
        assert "sounds_like" in layout.drawn
        assert "rewas.sounds_like_strip" in layout.drawn


def test_markers_become_cuts(scene: Any, picture: Any) -> None:
    picture.rewas.settings.cuts = "MARKERS"
    for frame in (1, 13, 14, 25, 300):
        scene.timeline_markers.new(str(frame), frame=frame)
    assert [float(cut_s) for cut_s in read(scene, picture).cuts_s] == pytest.approx([12 * 1.001 / 24, 24 * 1.001 / 24])


def test_layers_are_added_moved_renamed_and_removed(scene: Any, picture: Any) -> None:
    settings = picture.rewas.settings
    with pytest.raises(RuntimeError, match="Add a layer first"):
        bpy.ops.rewas.remove_layer()
    bpy.ops.rewas.add_layer()
    bpy.ops.rewas.add_layer()
    assert [layer.name for layer in settings.layers] == ["layer-1", "layer-2"]
    settings.layers[1].role = "Ferner Regen!"
    assert settings.layers[1].name == "ferner-regen"
    bpy.ops.rewas.move_layer(direction="UP")
    assert [layer.name for layer in settings.layers] == ["ferner-regen", "layer-1"]
    assert bpy.ops.rewas.move_layer(direction="UP") == {"CANCELLED"}
    bpy.ops.rewas.remove_layer()
    assert [layer.name for layer in settings.layers] == ["layer-1"]
    settings.ambience = "a hall"
    for _ in range(6):
        bpy.ops.rewas.add_layer()
    with pytest.raises(RuntimeError, match="can have 8 layers"):
        bpy.ops.rewas.add_layer()


def test_a_preset_holds_all_settings_and_keeps_the_prompt(scene: Any, ball: Path, picture: Any) -> None:
    change_everything(picture.rewas.settings)
    assert bpy.ops.rewas.add_preset(name="Foley in a hall") == {"FINISHED"}
    (folder,) = bpy.utils.preset_paths("rewas")
    other = add_movie(scene, ball, start=100, prompt="rain")
    activate(scene, other)
    preset = Path(folder) / "Foley_in_a_hall.py"
    bpy.ops.rewas.load_preset(filepath=str(preset))
    assert read(scene, other) == read(scene, picture)
    assert other.rewas.prompt == "rain"
    preset.write_text("import bpy\nsettings = bpy.context.window_manager.rewas.preset\nsettings.takes = 'x'\n")
    with pytest.raises(RuntimeError, match="cannot be used"):
        bpy.ops.rewas.load_preset(filepath=str(preset))
    assert read(scene, other) == read(scene, picture)
    bpy.ops.rewas.add_preset(name="Foley in a hall", remove_name=True)
    assert not preset.exists()


@has_sound
def test_every_strip_of_a_picture_leads_to_it(scene: Any, ball: Path, picture: Any) -> None:
    active = part("blender.active_picture")
    generate(scene, picture, roles=("primary", "ambience"))
    later = add_movie(scene, ball, start=100)
    for stem in sounds_under(scene, picture):
        activate(scene, stem)
        assert active.active_picture(bpy.context) == picture
        assert active.active_picture(bpy.context) == picture  # from the cache
    # The sound of the movie's own file, as Blender adds it.
    file = stem.sound.filepath
    own = strips_of(scene.sequence_editor).new_sound("own", file, 9, 100)
    activate(scene, own)
    assert active.active_picture(bpy.context) is None
    activate(scene, strips_of(scene.sequence_editor).new_sound("production", str(ball), 10, 100))
    assert active.active_picture(bpy.context) == later
    activate(scene, later)
    assert active.active_picture(bpy.context) == later
    scene.sequence_editor.active_strip = None
    assert active.active_picture(bpy.context) is None


@has_sound
def test_takes_are_compared_renamed_and_sent(scene: Any, ball: Path, picture: Any) -> None:
    with pytest.raises(RuntimeError, match="Generate sound for this strip first"):
        bpy.ops.rewas.compare_takes()
    generate(scene, picture, takes=3)
    activate(scene, picture)
    settings = picture.rewas
    settings.active_take_index = 2
    bpy.ops.rewas.compare_takes()
    assert settings.active_take_index == 0
    bpy.ops.rewas.compare_takes()
    assert settings.active_take_index == 2
    bpy.ops.rewas.next_take()
    assert settings.active_take_index == 0
    item = settings.takes[0]
    assert item.label == "Take 1"
    item.label = " the dry one "
    assert (item.label, item.name) == ("the dry one", "the dry one")
    item.label = "Take 1"
    assert item.name == ""
    other = add_movie(scene, ball, start=100)
    activate(scene, picture)
    other.select = True
    bpy.ops.rewas.send_take()
    (stem,) = sounds_under(scene, other)
    assert part("blender.compat").left_handle(stem) == 100
    assert len(other.rewas.takes) == 1


@has_sound
def test_files_of_a_deleted_take_go_with_the_next_save_unless_used(scene: Any, picture: Any, tmp_path: Path) -> None:
    generate(scene, picture, takes=2)
    activate(scene, picture)
    path = tmp_path / "film.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    picture = scene.sequence_editor.active_strip
    first, second = [part("blender.take_list").absolute_path(item.stems[0].path) for item in picture.rewas.takes]
    bpy.ops.rewas.delete_take()
    assert first.exists()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "copy.blend"), copy=True)
    assert first.exists()
    bpy.ops.wm.save_mainfile()
    assert not first.exists()
    assert second.exists()


@has_sound
def test_a_range_is_planned_from_preview_range_or_markers(scene: Any, picture: Any) -> None:
    operators = part("blender.take_operators")
    generate(scene, picture, roles=("primary", "ambience"))
    activate(scene, picture)
    with pytest.raises(RuntimeError, match="Set a preview range"):
        bpy.ops.rewas.range_again()
    clip = part("timeline.selection").clip_from_strip(
        part("blender.strip_reading").read_strip(scene, picture), part("blender.strip_reading").scene_rate(scene)
    )
    settings = part("core.sound_settings").SoundSettings(mix=True, gain_db=2.0)
    for frame in (13, 25):
        scene.timeline_markers.new(str(frame), frame=frame)
    scene.frame_current = 20
    _, planned = operators.plan_range_again(scene, picture, clip, settings)
    assert float(planned.regenerate.start_s) == pytest.approx(0.5005)
    assert float(planned.regenerate.end_s) == pytest.approx(1.001)
    assert [stem.role for stem in planned.kept.stems] == ["ambience"]
    assert (planned.mix, planned.gain_db) == (None, None)
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 400, 500
    assert "outside Take 1" in operators.plan_range_again(scene, picture, clip, settings).what
    _, whole = operators.plan_again(scene, picture, clip, settings)
    assert (whole.regenerate.start_s, whole.regenerate.end_s) == (0, clip.source_duration_s)


def answer(verdict: str = "conflict") -> Any:
    analysis = part("core.analysis")
    mark = analysis.ConflictMark(0.5, 1.0, 0.1, "dog barking")
    return analysis.ConflictAnswer(verdict, 0.2, "The picture shows a dog.", "CLIP", (mark,), ("a dog barks", "a dog"))


def test_a_check_is_stored_in_its_strip_and_marks_follow_the_picture(scene: Any, picture: Any, tmp_path: Path) -> None:
    results, compat = part("blender.check_results"), part("blender.compat")
    results.write_check(picture, "a ball bounces", answer(), 0.25)
    assert results.is_flagged(picture)
    rate = part("blender.strip_reading").scene_rate(scene)
    check = results.read_check(picture)
    assert results.frame_of(scene, picture, check.marks[0].start_s) == pytest.approx(1 + 0.75 * float(rate))
    compat.set_content_start(picture, 101)
    assert results.frame_of(scene, picture, check.marks[0].start_s) == pytest.approx(101 + 0.75 * float(rate))
    assert bpy.ops.rewas.use_prompt(prompt=check.suggestions[0]) == {"FINISHED"}
    assert picture.rewas.prompt == "a dog barks"
    assert not results.is_flagged(picture)
    bpy.ops.rewas.show_mark(index=0)
    assert scene.frame_current == 119
    path = tmp_path / "film.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.open_mainfile(filepath=str(path))
    (strip,) = strips_of(bpy.context.scene.sequence_editor)
    assert results.read_check(strip) == results.Check(
        "conflict", pytest.approx(0.2), "The picture shows a dog.", check.marks, ("a dog barks", "a dog"), True
    )


def test_a_check_that_fails_is_reported_in_the_panel(scene: Any, picture: Any) -> None:
    questions = part("blender.questions")
    assert bpy.ops.rewas.check_prompt() == {"FINISHED"}
    with pytest.raises(RuntimeError, match="already running"):
        bpy.ops.rewas.check_prompt()
    deadline_s = time.monotonic() + 30
    while questions.is_asking():
        assert time.monotonic() < deadline_s
        part("blender.pump").pump()
    assert "127.0.0.1:9" in str(questions.problem_of("check", picture))
    picture.rewas.prompt = " "
    with pytest.raises(RuntimeError, match="Describe the sound first"):
        bpy.ops.rewas.check_prompt()


KEYMAPS_IN_THE_SEQUENCER = (
    "Window",
    "Screen",
    "Screen Editing",
    "Frames",
    "View2D",
    "View2D Buttons List",
    "Markers",
    "Animation",
    "Animation Channels",
    "User Interface",
)


@pytest.mark.parametrize("name", ["blender_default", "industry_compatible_data"])
def test_shortcuts_do_not_clash_with_those_of_blender(installed: str, name: str) -> None:
    (path,) = (
        path
        for folder in bpy.utils.script_paths(subdir="presets/keyconfig/keymap_data")
        for path in Path(folder).glob(f"{name}.py")
    )
    module: Any = types.ModuleType(name)
    module.__file__ = str(path)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    keymaps = module.generate_keymaps(
        module.Params() if name == "blender_default" else module.Params(use_mouse_emulate_3_button=False)
    )
    taken: dict[tuple[Any, ...], str] = {}
    for keymap, _, content in keymaps:
        if "Sequence" in keymap or keymap in KEYMAPS_IN_THE_SEQUENCER:
            for item in content["items"]:
                event = item[1]
                modifiers = (bool(event.get(key)) for key in ("ctrl", "shift", "alt"))
                taken[(event["type"], *modifiers)] = f"{keymap}: {item[0]}"
    assert len(taken) > 100
    for shortcut in part("blender.menus").SHORTCUTS:
        key = (shortcut.key, shortcut.ctrl, shortcut.shift, shortcut.alt)
        assert taken.get(key) is None, shortcut.operator
        group, _, operator = shortcut.operator.partition(".")
        assert hasattr(getattr(bpy.ops, group), operator)


def test_the_menu_lists_the_operators_of_an_editor(scene: Any, picture: Any) -> None:
    drawn: list[str] = []

    class Layout:
        def operator(self, name: str, **_: Any) -> Any:
            drawn.append(name)
            return types.SimpleNamespace()

        def operator_menu_enum(self, name: str, prop: str) -> None:
            drawn.append(name)

        def separator(self) -> None:
            pass

    menu = part("blender.menus").REWAS_MT_sound
    menu.draw(types.SimpleNamespace(layout=Layout()), bpy.context)
    for name in drawn:
        group, _, operator = name.partition(".")
        assert getattr(getattr(bpy.ops, group), operator).get_rna_type().description
    in_panel_only = {"move_layer", "remove_layer", "add_preset", "load_preset", "retry", "clear_finished", "wait"}
    takes = part("blender.take_operators").CLASSES
    settings = part("blender.setting_operators").CLASSES
    for kind in (*takes, *(kind for kind in settings if hasattr(kind, "bl_idname") and "_OT_" in kind.__name__)):
        name = kind.bl_idname.partition(".")[2]
        assert kind.bl_idname in drawn or name in in_panel_only, name
