"""Every state of the panel, reached with mouse and keys. Each test continues where the one before stopped.

The timeline holds the sample clip with its sound. The pictures in build/gui are for people to look at.
"""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from blender_window import HEIGHT_PX, BlenderWindow
from make_demo_clips import DRAWN_CLIPS
from measure_demo_mix import matched_offsets_s
from PIL import Image

from rewas_engine.curves.onsets import detect_onsets

FPS = 24
JOBS = "list(part('blender.shared_session').session().board.jobs.values())"
HAMMER = "named('hammer.mp4')"
REWAS = f"{HAMMER}.rewas"
SETTINGS = f"{REWAS}.settings"
ENDED = f"all(job.is_finished for job in {JOBS})"
REPORT = "part('blender.exchange_report').last_report()"
PROMPT = "a hammer knocking on wood"


def stem_of(name: str) -> str:
    """The sound of a strip, as an expression inside Blender."""
    return f"next((strip for strip in strips() if strip.rewas.stem.owner == named({name!r}).rewas.uid), None)"


def read_mono(path: str) -> tuple[np.ndarray, int]:
    waveform, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return waveform.mean(axis=1), rate_hz


def select(window: BlenderWindow, name: str) -> None:
    window.click(*window.ask(f"point_of_strip({name!r})"))
    window.wait_until(f"scene().sequence_editor.active_strip == named({name!r})", f"{name} to be the active strip")


def generate(window: BlenderWindow, name: str) -> None:
    """Press the shortcut, and wait for another take."""
    before = window.ask(f"len(named({name!r}).rewas.takes)")
    window.press_over_timeline("ctrl+shift+f")
    window.wait_until(f"len(named({name!r}).rewas.takes) > {before} and {ENDED}", "a take", within_s=55)


def test_a_movie_is_added_and_its_prompt_is_typed(window: BlenderWindow, films: dict[str, Path]) -> None:
    # As in Preferences > Interface > Temporary Editors. The tests have only one window.
    window.ask("setattr(bpy.context.preferences.view, 'filebrowser_display_type', 'SCREEN')")
    window.press_over_timeline("shift+Right", "Right")
    window.choose_in_menu("shift+a", "movie")
    window.choose_file(films["hammer"])
    window.press_over_timeline("Home")
    window.fill(REWAS, "prompt", PROMPT)
    assert window.ask(f"{REWAS}.prompt") == PROMPT
    window.picture("prompt")


def test_nothing_selected(window: BlenderWindow) -> None:
    left, bottom, width, height = window.ask("rectangle('WINDOW')")
    window.click(left + width * 0.5, bottom + height * 0.7)
    window.wait_until("not [strip for strip in strips() if strip.select]", "no strip to be selected")
    assert not window.ask("bpy.ops.rewas.generate.poll()")
    window.picture("nothing-selected")


def test_three_takes_are_generated_by_the_shortcut(window: BlenderWindow) -> None:
    select(window, "hammer.mp4")
    with window.panel("REWAS_PT_settings"):
        window.fill(SETTINGS, "takes", "3")
        assert window.ask(f"{SETTINGS}.takes") == 3
        window.picture("settings")
    window.press_over_timeline("ctrl+shift+f")
    window.wait_until(f"[job for job in {JOBS} if job.state == 'running' and job.stage]", "the job to run")
    window.picture("jobs")
    window.wait_until(f"len({REWAS}.takes) == 3 and {ENDED}", "three takes", within_s=55)
    window.picture("takes")


def test_the_sound_of_the_movie_is_in_its_place(window: BlenderWindow) -> None:
    picture, sound = window.ask(
        f"[(strip.frame_final_start, strip.frame_final_end) for strip in ({HAMMER}, {stem_of('hammer.mp4')})]"
    )
    assert picture == sound
    mono, rate_hz = read_mono(window.ask(f"bpy.path.abspath({stem_of('hammer.mp4')}.sound.filepath)"))
    assert len(mono) == (picture[1] - picture[0]) * rate_hz // FPS
    assert 20 * np.log10(np.abs(mono).max()) > -30
    contacts_s = next(clip.contacts_s for clip in DRAWN_CLIPS if clip.file_name == "hammer.mp4")
    onsets_s, _ = detect_onsets(mono, rate_hz)
    late_s = matched_offsets_s(onsets_s, contacts_s)
    assert len(late_s) >= 5, f"Only {len(late_s)} of {len(contacts_s)} knocks are heard: {onsets_s}"


def test_takes_are_compared_by_one_key_during_playback(window: BlenderWindow) -> None:
    path = f"{stem_of('hammer.mp4')}.sound.filepath"
    first = window.ask(path)
    window.press_over_timeline("space")
    window.wait_until("bpy.context.screen.is_animation_playing", "the film to play")
    window.press_over_timeline("alt+t")
    second = window.wait_until(f"{path} != {first!r} and {path}", "the other take")
    frame = window.ask("scene().frame_current")
    window.wait_until(f"scene().frame_current != {frame}", "the film to continue")
    window.press_over_timeline("alt+t")
    window.wait_until(f"{path} == {first!r}", "the first take")
    assert window.ask("bpy.context.screen.is_animation_playing")
    window.press_over_timeline("space")
    window.wait_until("not bpy.context.screen.is_animation_playing", "the film to stop")
    assert second != first


def test_a_click_on_a_take_puts_it_on_the_timeline(window: BlenderWindow) -> None:
    active, path = f"{REWAS}.active_take_index", f"{stem_of('hammer.mp4')}.sound.filepath"
    other, before = (window.ask(active) + 1) % 3, window.ask(path)
    window.click(*window.find(window.ask(f"{REWAS}.takes[{other}].label")))
    window.wait_until(f"{active} == {other} and {path} != {before!r}", "the sound of the take")


def test_a_marked_range_is_regenerated_by_the_shortcut(window: BlenderWindow) -> None:
    start = window.ask(f"{HAMMER}.frame_final_start")
    window.ask(f"[scene().timeline_markers.new(name, frame={start} + at) for name, at in (('a', 20), ('b', 60))]")
    window.ask(f"scene().frame_set({start} + 40)")
    window.ask(f"setattr({SETTINGS}, 'takes', 1)")
    before = window.ask(f"len({REWAS}.takes)")
    old, rate_hz = read_mono(window.ask(f"bpy.path.abspath({stem_of('hammer.mp4')}.sound.filepath)"))
    window.press_over_timeline("ctrl+alt+f")
    window.wait_until(f"len({REWAS}.takes) > {before} and {ENDED}", "the take", within_s=55)
    new, _ = read_mono(window.ask(f"bpy.path.abspath({stem_of('hammer.mp4')}.sound.filepath)"))
    first, last = round((20 / FPS - 0.1) * rate_hz), round((60 / FPS + 0.1) * rate_hz)
    assert np.array_equal(new[:first], old[:first])
    assert np.array_equal(new[last:], old[last:])
    assert not np.array_equal(new, old)


def test_a_failed_job_is_retried(window: BlenderWindow, films: dict[str, Path]) -> None:
    whole = films["hammer"].read_bytes()
    before = window.ask(f"len({REWAS}.takes)")
    films["hammer"].write_bytes(whole[: len(whole) // 3])
    try:
        window.press_over_timeline("ctrl+shift+f")
        window.wait_until(f"[job for job in {JOBS} if job.state == 'failed']", "the job to fail", within_s=40)
        assert window.ask(f"[job.problem.what for job in {JOBS} if job.problem and 'hammer.mp4' in job.problem.what]")
        window.picture("failed")
    finally:
        films["hammer"].write_bytes(whole)
    window.press_button("rewas.retry(")
    window.wait_until(f"len({REWAS}.takes) > {before} and {ENDED}", "the retried job", within_s=50)


def test_sound_waits_for_a_drag_and_text_is_not_lost(window: BlenderWindow) -> None:
    takes, start = f"len({REWAS}.takes)", window.ask(f"{HAMMER}.frame_final_start")
    before = window.ask(takes)
    window.press_over_timeline("ctrl+shift+f", "g")
    window.type("33")
    arriving = f"[job for job in {JOBS} if job.state == 'arriving']"
    window.wait_until(arriving, "the sound to arrive during the drag", within_s=50)
    window.ask("None", rounds=30)
    assert window.ask(f"({takes}, {HAMMER}.frame_final_start)") == [before, start + 33]
    window.press("Escape")
    window.wait_until(f"{takes} > {before} and {ENDED}", "the sound after the drag")
    assert window.ask(f"({HAMMER}.frame_final_start, {stem_of('hammer.mp4')}.frame_final_start)") == [start, start]


def test_text_is_typed_while_sound_arrives(window: BlenderWindow) -> None:
    takes = f"len({REWAS}.takes)"
    before = window.ask(takes)
    window.press_over_timeline("ctrl+shift+f")
    window.click(*window.find_field(REWAS, "prompt"), times=2)
    window.press("ctrl+a")
    typed = ""
    while window.ask(takes) == before and len(typed) < 800:
        window.type("hammer ")
        typed += "hammer "
    window.type("on wood")
    window.press("Return")
    assert window.ask(f"{REWAS}.prompt") == typed + "on wood"
    window.wait_until(f"{takes} > {before}", "the sound")
    window.fill(REWAS, "prompt", PROMPT)


def test_a_longer_strip_gets_only_what_is_missing(window: BlenderWindow) -> None:
    # Trim with keys: move the right handle 30 frames to the left and, when the sound has arrived, back.
    window.press_over_timeline("Home", "KP_Subtract")
    end = window.ask(f"{HAMMER}.frame_final_end")
    handle = f"({HAMMER}.frame_final_end, [strip.name for strip in strips() if strip.select_right_handle])"
    window.click(*window.ask("point_of_strip('hammer.mp4', 'right')"))
    window.press_over_timeline("g")
    window.type("-30")
    window.press("Return")
    assert window.wait_until(f"{HAMMER}.frame_final_end == {end - 30} and {handle}", "the trim")
    generate(window, "hammer.mp4")
    # A click would also select the handle of the connected sound. It ends here, so Blender would stop both handles.
    is_connected = window.ask("bpy.app.version >= (4, 5, 0)")
    window.click(*window.ask("point_of_strip('hammer.mp4', 'right')"), held="alt" if is_connected else "")
    window.press_over_timeline("g")
    window.type("30")
    window.press("Return")
    window.wait_until(f"{HAMMER}.frame_final_end == {end}", "the longer strip")
    window.find("rewas.generate_missing_sound(")
    window.picture("sound-too-short")
    before = window.ask(f"len({REWAS}.takes)")
    window.press_button("rewas.generate_missing_sound(")
    window.wait_until(f"len({REWAS}.takes) > {before} and {ENDED}", "the missing sound", within_s=50)
    assert window.ask(f"{stem_of('hammer.mp4')}.frame_final_end") == end


def test_the_ambience_gets_its_own_channel(window: BlenderWindow) -> None:
    with window.panel("REWAS_PT_layers"):
        window.fill(SETTINGS, "ambience", "wind in the trees")
        window.picture("layers")
    generate(window, "hammer.mp4")
    stems = f"sorted((s.rewas.stem.role, s.channel) for s in strips() if s.rewas.stem.owner == {REWAS}.uid)"
    (ambience, low), (primary, high) = window.ask(stems)
    assert (ambience, primary) == ("ambience", "primary")
    assert low != high
    window.picture("stems")


def test_the_energy_is_estimated_and_an_event_is_muted(window: BlenderWindow) -> None:
    keys = f"[list(key) for key in part('blender.energy_curves').read_keys(scene(), {HAMMER})]"
    with window.panel("REWAS_PT_control"):
        window.press_button("rewas.estimate_energy(")
        window.wait_until(f"{SETTINGS}.energy_source == 'DRAWN'", "the estimate", within_s=50)
        before = window.ask(keys)
        loudest_s = max(before, key=lambda key: key[1])[0]
        window.ask(f"scene().frame_set({HAMMER}.frame_final_start + int({loudest_s} * {FPS}))")
        window.picture("control")
        window.press_button("rewas.mute_event(", column=0.35)
        after = window.wait_until(f"{keys} != {before} and {keys}", "the muted event")
        assert after != before
        window.picture("energy")
        window.press_over_timeline("ctrl+z")
        window.wait_until(f"{keys} == {before}", "the event to be back")


def test_a_prompt_is_checked(window: BlenderWindow) -> None:
    window.fill(REWAS, "prompt", "a dog barking")
    with window.panel("REWAS_PT_check"):
        window.press_button("rewas.check_prompt(")
        window.wait_until(f"{REWAS}.check.verdict", "the answer", within_s=50)
        window.picture("check")
    assert window.ask(f"{REWAS}.check.verdict") == "conflict"


def test_the_timeline_is_exported_and_imported(window: BlenderWindow, folder: Path) -> None:
    strips = "sorted([strip.type, strip.name, strip.channel, *ends_of(strip)] for strip in strips())"
    pictures = (
        "[[strip.rewas.prompt, len(strip.rewas.takes), strip.rewas.active_take_index, "
        "[list(key) for key in part('blender.energy_curves').read_keys(scene(), strip)]] "
        "for strip in sorted(strips(), key=lambda strip: strip.name) if strip.type == 'MOVIE']"
    )
    before, scene = window.ask(f"[{strips}, {pictures}]"), window.ask("scene().name")
    with window.panel("REWAS_PT_export"):
        window.press_button("rewas.export_timeline(")
        window.choose_file(folder / "film.otio")
        window.wait_until((folder / "film.otio").exists, "the file")
        window.picture("exported")
        window.press_button("rewas.import_timeline(")
        window.choose_file(folder / "film.otio")
        window.wait_until(f"{REPORT} and scene().name != {scene!r}", "the imported timeline", within_s=40)
        window.picture("imported")
        assert window.ask(f"[{strips}, {pictures}]") == before
        assert window.ask(f"{REPORT}.notes") == []


def test_an_import_is_undone_and_redone(window: BlenderWindow) -> None:
    imported = window.ask("scene().name")
    count = window.ask("len(strips())")
    window.press_over_timeline("ctrl+z")
    shown = "part('blender.compat').shown_scene(bpy.context.window)"
    window.wait_until(f"{imported!r} not in bpy.data.scenes and {shown}", "the timeline before the import")
    assert len(window.ask("[strip.name for strip in strips()]")) == count
    window.picture("import-undone")
    # Blender brings the scene back and goes on showing the other one.
    window.press_over_timeline("ctrl+shift+z")
    window.wait_until(f"{imported!r} in bpy.data.scenes", "the imported scene")
    assert window.ask(f"len(strips_of(bpy.data.scenes[{imported!r}]))") == count


def test_the_import_of_a_timeline_names_lost_media(window: BlenderWindow, folder: Path) -> None:
    lost = folder / "lost.otio"
    lost.write_text((folder / "film.otio").read_text(encoding="utf-8").replace("hammer.mp4", "gone.mp4"))
    with window.panel("REWAS_PT_export"):
        window.press_button("rewas.import_timeline(")
        window.choose_file(lost)
        window.wait_until(f"{REPORT} and {REPORT}.notes", "the report", within_s=40)
        window.picture("lost-media")
    assert window.ask(f"[note for note in {REPORT}.notes if 'gone.mp4' in str(note)]")


def test_a_sequencer_without_a_scene_shows_no_energy(window: BlenderWindow) -> None:
    workspace = "bpy.context.workspace"
    if not window.ask(f"hasattr({workspace}, 'sequencer_scene')"):
        pytest.skip("Before Blender 5.0, a sequencer always has a scene.")
    name = window.ask(f"{workspace}.sequencer_scene.name")
    window.ask(f"setattr({workspace}, 'sequencer_scene', None)")
    assert window.ask("len(strips())"), "The scene of the window has strips."
    left, bottom, width, height = window.ask("rectangle('WINDOW')")
    rows = slice(HEIGHT_PX - bottom - height * 3 // 4, HEIGHT_PX - bottom)
    shown = np.asarray(Image.open(window.picture("without-scene")).convert("RGB"))[rows, left : left + width]
    window.ask("setattr(scene().rewas, 'show_energy', False)")
    hidden = np.asarray(Image.open(window.picture("without-scene")).convert("RGB"))[rows, left : left + width]
    window.ask("setattr(scene().rewas, 'show_energy', True)")
    window.ask(f"setattr({workspace}, 'sequencer_scene', bpy.data.scenes[{name!r}])")
    assert np.array_equal(shown, hidden)


def test_search_finds_the_operators(window: BlenderWindow) -> None:
    window.press_over_timeline("F3")
    window.type("Compare Takes")
    window.ask("None", rounds=20)
    window.picture("search", mouse_stays=True)
    window.press("Escape", "Escape")
