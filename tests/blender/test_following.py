"""Sound stays with its picture through Blender's own operators: split, duplicate, slip, delete, paste, meta, undo."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest
from arriving_stems import write_silence
from conftest import add_movie, part, strips_of
from test_placing_takes import has_sound, place, receive_stems, request_for

FRAMES = 48


@pytest.fixture
def run(scene: Any) -> Iterator[Callable[..., None]]:
    """A function that selects strips and runs an operator on them as from the sequencer, with an undo step."""
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    kept = area.type
    area.type = "SEQUENCE_EDITOR"
    bpy.ops.ed.undo_push(message="begin")

    def run(name: str, strips: list[Any], in_scene: Any = None, **arguments: Any) -> None:
        in_scene = in_scene or bpy.context.scene
        window = bpy.context.window_manager.windows[0]
        window.scene = in_scene
        if hasattr(window.workspace, "sequencer_scene"):
            window.workspace.sequencer_scene = in_scene
        for strip in strips_of(in_scene.sequence_editor):
            strip.select = strip in strips
        area = next(area for area in window.screen.areas if area.type == "SEQUENCE_EDITOR")
        region = next(region for region in area.regions if region.type == "WINDOW")
        with bpy.context.temp_override(window=window, area=area, region=region):
            assert getattr(bpy.ops.sequencer, name)("EXEC_DEFAULT", **arguments) == {"FINISHED"}
        # A script's operators push no undo step.
        push()

    yield run
    area = next((area for area in window.screen.areas if area.type == "SEQUENCE_EDITOR"), None)
    if area is not None:
        area.type = kept


def push() -> None:
    bpy.ops.ed.undo_push(message="edit")


def undo() -> Any:
    bpy.ops.ed.undo()
    return bpy.context.scene


def redo() -> Any:
    bpy.ops.ed.redo()
    return bpy.context.scene


def settle() -> None:
    part("blender.links").settle()


def generate(scene: Any, strip: Any, key: str = "4f2c", **received: Any) -> list[Any]:
    """Give a strip sound, as if it had been generated now. Returns the sound strips."""
    for other in strips_of(scene.sequence_editor):
        other.select = other == strip
    settle()
    record = request_for(scene, key)
    if bpy.app.version >= (4, 3):
        assert place(record, receive_stems(record, **received)).problem is None
    else:
        stand_in(scene, strip, key)
    settle()
    return sounds_under(scene, strip)


def stand_in(scene: Any, strip: Any, key: str) -> None:
    """Blender 4.2's module cannot load sounds. What is linked may be any strip."""
    stems = part("blender.stem_strips")
    position = stems.position_of(strip)
    name = f"{strip.name} primary"
    sound = strips_of(scene.sequence_editor).new_movie(name, strip.filepath, 20, position.start_frame)
    part("blender.compat").set_handles(sound, position.start_frame, position.end_frame)
    link = sound.rewas.stem
    link.owner, link.role, link.take, link.sound_frames = strip.rewas.uid, "primary", key, position.frames
    stems.write_positions(sound, position)


def sounds_under(scene: Any, strip: Any) -> list[Any]:
    strips = part("blender.compat").all_strips_of(scene.sequence_editor)
    return sorted((found for found in strips if found.rewas.stem.owner == strip.rewas.uid), key=role_of)


def role_of(sound: Any) -> str:
    return str(sound.rewas.stem.role)


def pictures(scene: Any) -> list[Any]:
    compat = part("blender.compat")
    strips = compat.all_strips_of(scene.sequence_editor)
    movies = (strip for strip in strips if strip.type == "MOVIE" and not strip.rewas.stem.owner)
    return sorted(movies, key=lambda strip: (compat.left_handle(strip), strip.channel, strip.name))


def where(strip: Any) -> tuple[int, int, int]:
    compat = part("blender.compat")
    return compat.content_start(strip), compat.left_handle(strip), compat.right_handle(strip)


def assert_in_sync(scene: Any, count: int) -> None:
    """Every picture has its own identifier, and one sound that starts and ends with it, frame by frame."""
    strips = pictures(scene)
    assert len(strips) == len({strip.rewas.uid for strip in strips}) == count
    for strip in strips:
        (sound,) = sounds_under(scene, strip)
        assert where(sound) == where(strip)
        assert not sound.mute
        assert sound.channel != strip.channel
    linked = [sound for sound in part("blender.compat").all_strips_of(scene.sequence_editor) if sound.rewas.stem.owner]
    assert len(linked) == count


@pytest.fixture
def picture(scene: Any, ball: Path) -> Any:
    """A strip of 48 frames with its sound."""
    strip = add_movie(scene, ball, start=1)
    generate(scene, strip)
    return strip


@has_sound
@pytest.mark.parametrize("with_sound", [False, True])
def test_both_halves_of_a_split_keep_their_sound(picture: Any, run: Any, with_sound: bool) -> None:
    scene = bpy.context.scene
    run("split", [picture, *(sounds_under(scene, picture) if with_sound else [])], frame=25, type="SOFT", side="RIGHT")
    settle()
    assert_in_sync(scene, 2)
    assert [where(strip)[1:] for strip in pictures(scene)] == [(1, 25), (25, 49)]
    first, second = ({sound.channel for sound in sounds_under(scene, strip)} for strip in pictures(scene))
    assert first == second
    scene = undo()
    settle()
    assert_in_sync(scene, 1)
    scene = redo()
    settle()
    assert_in_sync(scene, 2)


def test_both_halves_of_a_split_keep_their_sound_if_it_is_split_too(picture: Any, run: Any) -> None:
    scene = bpy.context.scene
    run("split", [picture, *sounds_under(scene, picture)], frame=25, type="SOFT", side="RIGHT")
    settle()
    assert_in_sync(scene, 2)
    uids = [strip.rewas.uid for strip in pictures(scene)]
    settle()
    undo()
    settle()
    scene = redo()
    settle()
    assert_in_sync(scene, 2)
    assert [strip.rewas.uid for strip in pictures(scene)] == uids


@has_sound
def test_generating_for_one_half_leaves_the_other_audible(picture: Any, run: Any) -> None:
    scene = bpy.context.scene
    run("split", [picture], frame=25, type="SOFT", side="RIGHT")
    settle()
    left, right = pictures(scene)
    generate(scene, right, "right")
    (left_sound,), (right_sound,) = (sounds_under(scene, strip) for strip in pictures(scene))
    assert (where(left_sound), left_sound.mute) == ((1, 1, 25), False)
    assert (where(right_sound), right_sound.mute) == ((25, 25, 49), False)
    assert left_sound["rewas_sound"]["job"] == "job-4f2c"
    assert right_sound["rewas_sound"]["job"] == "job-right"
    assert (len(left.rewas.takes), len(right.rewas.takes)) == (1, 2)


@has_sound
def test_a_dissolve_of_one_media_file_has_both_sounds(scene: Any, ball: Path) -> None:
    first, second = add_movie(scene, ball, start=1), add_movie(scene, ball, start=39, channel=2)
    generate(scene, first, "one")
    generate(scene, second, "two")
    (left,), (right,) = sounds_under(scene, first), sounds_under(scene, second)
    assert (where(left), left.mute) == (where(first), False)
    assert (where(right), right.mute) == (where(second), False)
    assert left.channel != right.channel
    names = scene.sequence_editor.channels
    assert (names[left.channel].name, names[right.channel].name) == ("primary", "primary 2")


@has_sound
def test_two_prompts_on_two_copies_of_a_clip_are_layered(picture: Any, run: Any) -> None:
    scene = bpy.context.scene
    run("duplicate", [picture])
    copied = next(strip for strip in pictures(scene) if strip != picture)
    copied.channel = 7
    copied.rewas.prompt = "wind"
    generate(scene, copied, "two")
    assert_in_sync(scene, 2)
    assert [len(strip.rewas.takes) for strip in (picture, copied)] == [1, 2]


@pytest.mark.parametrize("with_sound", [pytest.param(False, marks=has_sound), True])
def test_a_moved_duplicate_has_its_own_sound(picture: Any, run: Any, with_sound: bool) -> None:
    scene = bpy.context.scene
    moved = {"value": (99, 0)}
    chosen = [picture, *(sounds_under(scene, picture) if with_sound else [])]
    run("duplicate_move", chosen, TRANSFORM_OT_seq_slide=moved)
    settle()
    assert_in_sync(scene, 2)
    assert [where(strip)[0] for strip in pictures(scene)] == [1, 100]
    uids = [strip.rewas.uid for strip in pictures(scene)]
    scene = undo()
    settle()
    assert_in_sync(scene, 1)
    scene = redo()
    settle()
    assert_in_sync(scene, 2)
    assert [strip.rewas.uid for strip in pictures(scene)] == uids


def test_moving_trimming_and_slipping_carry_the_sound(picture: Any, run: Any) -> None:
    compat, scene = part("blender.compat"), bpy.context.scene
    compat.set_content_start(picture, 60)
    push()
    settle()
    assert_in_sync(scene, 1)
    compat.set_handles(picture, 65, 100)
    push()
    settle()
    assert_in_sync(scene, 1)
    run("slip", [picture], offset=-3)
    assert where(picture) == (57, 65, 100)
    settle()
    assert_in_sync(scene, 1)
    compat.set_handles(picture, 60, 105)
    push()
    settle()
    assert_in_sync(scene, 1)
    for expected in ((57, 65, 100), (60, 65, 100), (60, 60, 108), (1, 1, 49)):
        scene = undo()
        settle()
        assert [where(strip) for strip in pictures(scene)] == [expected]
        assert_in_sync(scene, 1)


def test_a_sound_that_was_shifted_on_purpose_keeps_its_shift(picture: Any) -> None:
    compat, scene = part("blender.compat"), bpy.context.scene
    (sound,) = sounds_under(scene, picture)
    compat.set_content_start(sound, 3)
    settle()
    assert where(sound) == (3, 3, 51)
    compat.set_content_start(picture, 101)
    settle()
    assert where(sound) == (103, 103, 151)


def test_a_sound_is_muted_while_its_picture_shows_none_of_its_frames(scene: Any, ball: Path) -> None:
    compat = part("blender.compat")
    strip = add_movie(scene, ball)
    compat.set_handles(strip, 1, 20)
    (sound,) = generate(scene, strip)
    compat.set_handles(strip, 30, 49)
    settle()
    assert (sound.mute, where(sound)[1:]) == (True, (19, 20))
    compat.set_handles(strip, 10, 49)
    settle()
    assert (sound.mute, where(sound)[1:]) == (False, (10, 20))


@pytest.mark.parametrize("with_sound", [False, True])
def test_deleting_the_picture_deletes_its_sound_and_undo_brings_both_back(
    picture: Any, run: Any, with_sound: bool
) -> None:
    scene = bpy.context.scene
    run("delete", [picture, *(sounds_under(scene, picture) if with_sound else [])])
    settle()
    assert len(strips_of(scene.sequence_editor)) == 0
    push()
    scene = undo()
    settle()
    assert len(strips_of(scene.sequence_editor)) == 0
    scene = undo()
    settle()
    assert_in_sync(scene, 1)


@has_sound
def test_a_deleted_sound_stays_deleted(picture: Any, run: Any) -> None:
    scene = bpy.context.scene
    generate(scene, picture, "two", roles=("primary", "ambience"))
    ambience, primary = sounds_under(scene, picture)
    run("delete", [ambience])
    settle()
    assert sounds_under(scene, picture) == [primary]
    run("split", [picture], frame=25, type="SOFT", side="RIGHT")
    settle()
    assert_in_sync(scene, 2)
    generate(scene, picture, "three", roles=("primary", "ambience"))
    assert len(sounds_under(scene, picture)) == 2


@pytest.mark.parametrize("with_sound", [pytest.param(False, marks=has_sound), True])
def test_copying_to_another_scene_brings_the_sound(picture: Any, run: Any, with_sound: bool) -> None:
    scene = bpy.context.scene
    run("copy", [picture, *(sounds_under(scene, picture) if with_sound else [])])
    other = bpy.data.scenes.new("Other")
    other.sequence_editor_create()
    other.render.fps, other.render.fps_base = scene.render.fps, scene.render.fps_base
    run("paste", [], other)
    settle()
    assert_in_sync(bpy.data.scenes["Other"], 1)
    assert_in_sync(scene, 1)
    uids = {pictures(found)[0].rewas.uid for found in (scene, other)}
    assert len(uids) == 2


def test_cutting_and_pasting_brings_the_sound_back(picture: Any, run: Any) -> None:
    scene, uid = bpy.context.scene, picture.rewas.uid
    run("copy", [picture, *sounds_under(scene, picture)])
    run("delete", [picture, *sounds_under(scene, picture)])
    settle()
    assert len(strips_of(scene.sequence_editor)) == 0
    run("paste", [])
    settle()
    assert_in_sync(scene, 1)
    assert pictures(scene)[0].rewas.uid == uid


def test_a_full_copy_of_the_scene_has_its_own_sounds(picture: Any) -> None:
    scene, uid = bpy.context.scene, picture.rewas.uid
    bpy.ops.scene.new(type="FULL_COPY")
    copied = bpy.context.scene
    assert copied != scene
    settle()
    assert_in_sync(scene, 1)
    assert_in_sync(copied, 1)
    assert pictures(scene)[0].rewas.uid == uid != pictures(copied)[0].rewas.uid


def test_a_meta_strip_takes_its_sound_along(picture: Any, run: Any) -> None:
    compat, scene = part("blender.compat"), bpy.context.scene
    run("meta_make", [picture, *sounds_under(scene, picture)])
    (meta,) = strips_of(scene.sequence_editor)
    compat.set_content_start(meta, where(meta)[0] + 50)
    push()
    settle()
    assert_in_sync(scene, 1)
    assert where(pictures(scene)[0]) == (51, 51, 99)
    run("duplicate", [meta])
    settle()
    assert_in_sync(scene, 2)
    run("meta_separate", [meta])
    settle()
    assert_in_sync(scene, 2)


def test_a_picture_in_a_meta_strip_is_followed_by_a_sound_outside(picture: Any, run: Any) -> None:
    compat, scene = part("blender.compat"), bpy.context.scene
    (sound,) = sounds_under(scene, picture)
    for strip in (picture, sound):
        strip.select = False
    run("meta_make", [picture])
    meta = next(strip for strip in strips_of(scene.sequence_editor) if strip.type == "META")
    outside = [strip for strip in sounds_under(scene, pictures(scene)[0]) if strip.parent_meta() is None]
    if not outside:
        pytest.skip("Blender has put the connected sound into the meta strip")
    compat.set_content_start(meta, where(meta)[0] + 50)
    compat.set_handles(meta, 60, 90)
    settle()
    assert where(outside[0]) == (51, 60, 90)


def test_a_renamed_strip_keeps_its_identifier(picture: Any, run: Any) -> None:
    scene, uid = bpy.context.scene, picture.rewas.uid
    name = picture.name
    picture.name = "Chopping"
    settle()
    run("duplicate", [picture, *sounds_under(scene, picture)])
    settle()
    assert picture.rewas.uid == uid
    copied = next(strip for strip in pictures(scene) if strip != picture)
    assert copied.rewas.uid not in ("", uid)
    copied.name = name
    settle()
    assert (picture.rewas.uid, picture.rewas.uid_name) == (uid, "Chopping")
    assert_in_sync(scene, 2)


@has_sound
def test_a_saved_file_is_linked_as_before(picture: Any, tmp_path: Path) -> None:
    uid = picture.rewas.uid
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "film.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "film.blend"))
    scene = bpy.context.scene
    settle()
    assert_in_sync(scene, 1)
    (strip,) = pictures(scene)
    assert strip.rewas.uid == uid
    part("blender.compat").set_content_start(strip, 20)
    settle()
    assert_in_sync(scene, 1)


@has_sound
def test_a_sound_that_was_pasted_alone_is_kept_as_an_ordinary_strip(picture: Any, run: Any) -> None:
    scene = bpy.context.scene
    (sound,) = sounds_under(scene, picture)
    run("copy", [sound])
    other = bpy.data.scenes.new("Other")
    other.sequence_editor_create()
    run("paste", [], other)
    (pasted,) = strips_of(other.sequence_editor)
    settle()
    assert pasted.rewas.stem.owner == ""
    assert_in_sync(scene, 1)


@has_sound
@pytest.mark.skipif(bpy.app.version < (4, 5), reason="Blender has connections from 4.5")
def test_the_sound_is_connected_and_selection_stays(scene: Any, ball: Path, run: Any) -> None:
    strip = add_movie(scene, ball)
    other = add_movie(scene, ball, start=200)
    (sound,) = generate(scene, strip)
    assert sound.rewas.stem.is_connected
    for found in (strip, sound):
        found.select = False
    other.select = True
    settle()
    assert [found.name for found in strips_of(scene.sequence_editor) if found.select] == [other.name]
    # Blender splits connected strips together, even if only one of them is selected.
    run("split", [strip], frame=25, type="SOFT", side="RIGHT")
    assert where(sound) == (1, 1, 25)


@has_sound
@pytest.mark.skipif(bpy.app.version < (4, 5), reason="Blender has connections from 4.5")
def test_many_groups_are_connected_by_few_operators(
    scene: Any, ball: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    compat, connecting = part("blender.compat"), part("blender.connecting")
    sounds = []
    for number in range(connecting.MOST_GROUPS + 2):
        (sound,) = generate(scene, add_movie(scene, ball, start=1 + 100 * number))
        sounds.append(sound.name)
    strips = strips_of(scene.sequence_editor)
    run("disconnect", list(strips))
    for name in sounds:
        strips[name].rewas.stem.is_connected = False
    chosen = sounds[3]
    for strip in strips:
        strip.select = strip.name == chosen
    calls = []
    in_sequencer = compat.run_in_sequencer
    monkeypatch.setattr(compat, "run_in_sequencer", lambda *given: [calls.append(1), in_sequencer(*given)][1])
    settle()
    assert len(calls) == 2
    assert [strip.name for strip in strips if strip.select] == [chosen]
    assert all(strips[name].rewas.stem.is_connected for name in sounds)
    for number in (0, connecting.MOST_GROUPS - 1, connecting.MOST_GROUPS + 1):
        start = 1 + 100 * number
        movie = next(strip for strip in strips if strip.type == "MOVIE" and where(strip)[1] == start)
        run("split", [movie], frame=start + 24, type="SOFT", side="RIGHT")
        assert where(strips[sounds[number]]) == (start, start, start + 24)


@has_sound
@pytest.mark.skipif(bpy.app.version < (4, 5), reason="Blender has connections from 4.5")
def test_the_movie_stays_connected_with_its_own_sound(scene: Any, ball: Path, run: Any) -> None:
    strip = add_movie(scene, ball)
    own = strips_of(scene.sequence_editor).new_sound("own", str(write_own_sound(ball)), 6, 1)
    own.sound.filepath = strip.filepath
    generate(scene, strip)
    run("split", [strip], frame=25, type="SOFT", side="RIGHT")
    assert where(own)[2] == 25


@has_sound
@pytest.mark.skipif(bpy.app.version < (5, 0), reason="Blender stops handles at the end of the content from 5.0")
def test_a_picture_with_more_content_than_its_sound_is_not_connected(scene: Any, ball: Path, run: Any) -> None:
    """Otherwise the end of the sound would stop the handle of the picture."""
    whole, trimmed = add_movie(scene, ball), add_movie(scene, ball, start=200)
    part("blender.compat").set_handles(trimmed, 200, 220)
    sounds = [generate(scene, strip, key)[0].name for strip, key in ((whole, "4f2c"), (trimmed, "4f2d"))]
    assert (is_connected(whole, run), is_connected(trimmed, run)) == (True, False)
    strips = strips_of(scene.sequence_editor)
    assert [where(strips[name])[1:] for name in sounds] == [(1, 49), (200, 220)]


def is_connected(strip: Any, run: Any) -> bool:
    """Whether disconnecting has an effect."""
    try:
        run("disconnect", [strip])
    except AssertionError:
        return False
    return True


def write_own_sound(beside: Path) -> Path:
    return write_silence(beside.with_suffix(".wav"), 2 * 48000)


@has_sound
def test_a_change_that_calls_no_handler_is_noticed(picture: Any, run: Any) -> None:
    """Splitting a strip in a window calls no handler."""
    links, scene = part("blender.links"), bpy.context.scene
    links.settle()
    bpy.app.handlers.depsgraph_update_post.remove(links._after_change)
    try:
        run("split", [picture], frame=10, type="SOFT", side="RIGHT")
        deadline_s = time.monotonic() + 2 * links._LONGEST_PAUSE_S
        while len({strip.rewas.uid for strip in pictures(scene)}) < 2:
            assert time.monotonic() < deadline_s
            links.step(time.monotonic() + 0.01)
            threading.Event().wait(0.05)
    finally:
        bpy.app.handlers.depsgraph_update_post.append(links._after_change)
    settle()
    assert_in_sync(scene, 2)


@has_sound
def test_the_larger_half_of_a_split_does_not_take_the_sound_of_the_other(picture: Any) -> None:
    """As in a Blender without connections, where only the picture is split."""
    compat, scene = part("blender.compat"), bpy.context.scene
    copied = add_movie(scene, Path(bpy.path.abspath(picture.filepath)), start=1)
    copied.rewas.uid, copied.rewas.uid_scene, copied.rewas.uid_name = (
        picture.rewas.uid,
        picture.rewas.uid_scene,
        picture.rewas.uid_name,
    )
    part("blender.take_list").add_takes(copied, part("blender.take_list").read_takes(picture))
    copied.rewas.active_take_index = 0
    compat.set_handles(picture, 1, 11)
    compat.set_handles(copied, 11, 49)
    settle()
    assert_in_sync(scene, 2)
    (first,), (second,) = (sounds_under(scene, strip) for strip in pictures(scene))
    assert first.channel == second.channel


def test_sounds_that_change_places_stay_on_their_channel(scene: Any, ball: Path) -> None:
    """Blender moves a strip to another channel as soon as its place is taken, even if only for a moment."""
    compat = part("blender.compat")
    strips = [add_movie(scene, ball, start=1 + 48 * number) for number in range(4)]
    sounds = [generate(scene, strip, f"key{number}")[0] for number, strip in enumerate(strips)]
    channels = [sound.channel for sound in sounds]
    for number, strip in enumerate(reversed(strips)):
        strip.channel = 5
        compat.set_content_start(strip, 1 + 48 * number)
    settle()
    assert [where(sound) for sound in sounds] == [where(strip) for strip in strips]
    assert [sound.channel for sound in sounds] == channels
