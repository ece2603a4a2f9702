"""Stems on the timeline: exactly under their clip and on named channels, even if the strip has changed."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import pytest
from arriving_stems import write_silence
from conftest import add_movie, part, set_rate, strips_of

has_sound = pytest.mark.skipif(bpy.app.version < (4, 3), reason="Blender's 4.2 module is built without sound")
NTSC_FILM = Fraction(24000, 1001)


def request_for(scene: Any, key: str = "4f2c") -> Any:
    """The record that Generate creates for the selected strip."""
    reading, records = part("blender.strip_reading"), part("core.records")
    selection = part("timeline.selection").select_clips(reading.selected_strips(scene), reading.scene_rate(scene))
    assert not selection.refusals, selection.refusals
    folder = part("blender.preferences").stems_folder()
    clip = selection.clips[0]
    uid = part("blender.placement").strip_uid(scene, clip.name)
    return records.JobRecord(key, clip, records.SoundSettings(), scene.name, folder, strip_uid=uid)


def receive_stems(clip_request: Any, *, takes: int = 1, roles: tuple[str, ...] = ("primary",)) -> Any:
    messages = part("core.messages")
    samples = round(clip_request.clip.source_duration_s * 48000)
    return messages.StemsReceived(
        key=clip_request.key,
        job_id=f"job-{clip_request.key}",
        generation_info=messages.GenerationInfo("untrained", "1.0.0", "Apache-2.0", 4, 1.0, 1.0),
        duration_s=clip_request.clip.source_duration_s,
        takes=tuple(
            messages.ReceivedTake(
                number=number,
                seed=2**40 + number,
                stems=tuple(
                    messages.StemFile(
                        role,
                        write_silence(clip_request.stems_folder / f"{clip_request.key}-{role}-{number}.wav", samples),
                        48000,
                        1,
                        samples,
                    )
                    for role in roles
                ),
                energy_mae_nats=0.5,
                energy_correlation=None,
            )
            for number in range(1, takes + 1)
        ),
    )


def sounds_of(scene: Any) -> list[Any]:
    return sorted((strip for strip in strips_of(scene.sequence_editor) if strip.type == "SOUND"), key=lambda s: s.name)


def frames_of(strip: Any) -> tuple[int, int]:
    compat = part("blender.compat")
    return compat.left_handle(strip), compat.right_handle(strip)


def place(clip_request: Any, received: Any) -> Any:
    placement, clip = part("blender.placement"), clip_request.clip
    address = placement.StripAddress(clip_request.strip_uid, clip_request.scene_name, clip.name, clip.path)
    return placement.place_takes(address, part("core.received_takes").build_takes(clip, received))


@has_sound
@pytest.mark.parametrize(
    ("fps", "fps_base", "rate", "start", "trim"),
    [
        (24, 1.001, Fraction(24000, 1001), 1, (1, 49)),
        (24, 1.001, Fraction(24000, 1001), 87654, (87659, 87691)),
        (30, 1.001, Fraction(30000, 1001), 3, (4, 5)),
        (25, 1.0, Fraction(25), 1001, (1001, 1049)),
        (60, 1.001, Fraction(60000, 1001), -20, (-19, 20)),
    ],
)
def test_sound_is_placed_exactly_under_its_clip(
    scene: Any, make_clip: Any, fps: int, fps_base: float, rate: Fraction, start: int, trim: tuple[int, int]
) -> None:
    set_rate(scene, fps, fps_base)
    strip = add_movie(scene, make_clip(rate, 48), start=start)
    part("blender.compat").set_handles(strip, *trim)
    clip_request = request_for(scene)
    assert place(clip_request, receive_stems(clip_request)).problem is None
    (sound,) = sounds_of(scene)
    assert frames_of(sound) == frames_of(strip) == trim
    assert part("blender.compat").content_start(sound) == trim[0]


@has_sound
def test_a_saved_file_has_relative_sound_paths(scene: Any, ball: Path, tmp_path: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "film.blend"))
    add_movie(scene, ball)
    clip_request = request_for(scene)
    place(clip_request, receive_stems(clip_request))
    (sound,) = sounds_of(scene)
    assert sound.sound.filepath == "//stems/4f2c-primary-1.wav"
    assert part("blender.compat").right_handle(sound) == 49


@has_sound
def test_each_role_has_one_channel_and_further_takes_are_in_the_list(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    clip_request = request_for(scene)
    placed = place(clip_request, receive_stems(clip_request, takes=3, roles=("primary", "ambience")))
    channels = scene.sequence_editor.channels
    on = {sound.name: channels[sound.channel].name for sound in sounds_of(scene)}
    assert on == {f"{ball.name} primary": "primary", f"{ball.name} ambience": "ambience"}
    assert not any(sound.mute for sound in sounds_of(scene))
    takes = part("blender.take_list").read_takes(strip)
    assert [(take.number, take.label, take.seed, take.roles) for take in takes] == [
        (number, f"Take {number}", 2**40 + number, ("primary", "ambience")) for number in (1, 2, 3)
    ]
    assert strip.rewas.active_take_index == 0
    assert placed.note == "Take 1 is on primary, ambience; Take 2 to Take 3 are in the list of takes"


@has_sound
def test_a_new_take_replaces_the_sound_and_keeps_what_the_editor_has_set(scene: Any, ball: Path) -> None:
    compat = part("blender.compat")
    first = add_movie(scene, ball)
    clip_request = request_for(scene, "one")
    place(clip_request, receive_stems(clip_request))
    first.select = False
    later = add_movie(scene, ball, start=49)
    clip_request = request_for(scene, "two")
    place(clip_request, receive_stems(clip_request))
    other, sound = sorted(sounds_of(scene), key=compat.left_handle)
    assert other.channel == sound.channel
    sound.volume, sound.pan, sound.mute = 0.25, -0.5, True
    sound.keyframe_insert("volume", frame=60)
    compat.set_handles(sound, 49, 80)
    kept = (sound.name, sound.channel)
    clip_request = request_for(scene, "three")
    place(clip_request, receive_stems(clip_request))
    unchanged, sound = sorted(sounds_of(scene), key=compat.left_handle)
    assert (sound.name, sound.channel, sound.volume, sound.pan, sound.mute) == (*kept, 0.25, -0.5, True)
    assert frames_of(sound) == (49, 80)
    assert Path(bpy.path.abspath(sound.sound.filepath)).name == "three-primary-1.wav"
    assert (sound["rewas_sound"]["job"], sound["rewas_sound"]["take"]) == ("job-three", 2)
    assert unchanged["rewas_sound"]["job"] == "job-one"
    assert frames_of(unchanged) == frames_of(first)
    assert later.rewas.active_take_index == 1


@has_sound
def test_the_same_job_is_placed_only_once(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    clip_request = request_for(scene)
    received = receive_stems(clip_request, takes=2)
    place(clip_request, received)
    place(clip_request, received)
    assert [take.number for take in part("blender.take_list").read_takes(strip)] == [1, 2]
    assert len(sounds_of(scene)) == 1


@has_sound
@pytest.mark.parametrize("is_shorter", [False, True])
def test_a_take_of_another_length_fills_the_strip_again(scene: Any, make_clip: Any, is_shorter: bool) -> None:
    compat = part("blender.compat")
    strip = add_movie(scene, make_clip(NTSC_FILM, 48))
    ranges = [(1, 49), (11, 31)] if is_shorter else [(11, 31), (1, 49)]
    for number, handles in enumerate(ranges):
        compat.set_handles(strip, *handles)
        clip_request = request_for(scene, f"key{number}")
        assert place(clip_request, receive_stems(clip_request)).problem is None
    (sound,) = sounds_of(scene)
    assert frames_of(sound) == ranges[1]
    assert compat.content_start(sound) == ranges[1][0]
    assert compat.content_end(sound) == ranges[1][1]


@has_sound
def test_placing_changes_neither_selection_nor_active_strip(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    clip_request = request_for(scene)
    other = add_movie(scene, ball, start=200)
    strip.select = False
    place(clip_request, receive_stems(clip_request))
    assert [found.name for found in strips_of(scene.sequence_editor) if found.select] == [other.name]
    assert scene.sequence_editor.active_strip == other


@has_sound
def test_sound_finds_a_strip_that_was_moved_renamed_and_copied(scene: Any, ball: Path) -> None:
    compat = part("blender.compat")
    strip = add_movie(scene, ball)
    clip_request = request_for(scene)
    copy = add_movie(scene, ball, start=200, channel=5)
    copy.rewas.uid, copy.rewas.uid_scene, copy.rewas.uid_name = clip_request.strip_uid, scene.name, strip.name
    compat.set_content_start(strip, 301)
    assert place(clip_request, receive_stems(clip_request)).problem is None
    (sound,) = sounds_of(scene)
    assert frames_of(sound) == frames_of(strip) == (301, 349)


@has_sound
def test_sound_finds_a_strip_whose_identifier_was_undone(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    clip_request = request_for(scene)
    other = add_movie(scene, ball, start=200)
    strip.rewas.uid = ""
    assert place(clip_request, receive_stems(clip_request)).problem is None
    assert strip.rewas.uid == clip_request.strip_uid
    assert len(strip.rewas.takes) == 1
    assert len(other.rewas.takes) == 0


@has_sound
def test_sound_is_trimmed_like_its_strip(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    clip_request = request_for(scene)
    part("blender.compat").set_handles(strip, 11, 40)
    placed = place(clip_request, receive_stems(clip_request))
    (sound,) = sounds_of(scene)
    assert frames_of(sound) == (11, 40)
    assert part("blender.compat").content_start(sound) == 1
    assert placed.note == "Take 1 is on primary"


@has_sound
def test_sound_of_frames_that_the_strip_no_longer_shows_is_placed_muted(scene: Any, ball: Path) -> None:
    compat = part("blender.compat")
    strip = add_movie(scene, ball)
    compat.set_handles(strip, 1, 20)
    clip_request = request_for(scene)
    compat.set_handles(strip, 30, 49)
    placed = place(clip_request, receive_stems(clip_request))
    (sound,) = sounds_of(scene)
    assert (frames_of(sound), sound.mute) == ((19, 20), True)
    assert "no longer shows" in placed.note


@has_sound
def test_sound_of_a_strip_in_a_meta_strip_is_placed_there(scene: Any, ball: Path) -> None:
    compat = part("blender.compat")
    strip = add_movie(scene, ball)
    meta = strips_of(scene.sequence_editor).new_meta("Scene 12", 3, 1)
    strip.move_to_meta(meta)
    compat.set_handles(meta, 1, 49)
    assert compat.holder_of(scene.sequence_editor, strip) == meta
    clip_request = request_for_strip(scene, strip)
    assert place(clip_request, receive_stems(clip_request)).problem is None
    assert sounds_of(scene) == []
    (sound,) = (inside for inside in strips_of(meta) if inside.type == "SOUND")
    assert frames_of(sound) == (1, 49)


def request_for_strip(scene: Any, strip: Any) -> Any:
    reading, records = part("blender.strip_reading"), part("core.records")
    clip = part("timeline.selection").clip_from_strip(reading.read_strip(scene, strip), reading.scene_rate(scene))
    uid = part("blender.placement").ensure_uid(scene, strip)
    folder = part("blender.preferences").stems_folder()
    return records.JobRecord("meta", clip, records.SoundSettings(), scene.name, folder, strip_uid=uid)


def test_a_deleted_strip_is_reported_and_the_file_is_kept(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    clip_request = request_for(scene)
    received = receive_stems(clip_request)
    strips_of(scene.sequence_editor).remove(strip)
    placed = place(clip_request, received)
    path = received.takes[0].stems[0].path
    assert f'"{ball.name}" was deleted' in placed.problem.what
    assert path.name in placed.problem.remedy
    assert path.exists()
    assert len(strips_of(scene.sequence_editor)) == 0


def test_a_changed_scene_rate_is_reported_and_the_file_is_kept(scene: Any, ball: Path) -> None:
    add_movie(scene, ball)
    clip_request = request_for(scene)
    set_rate(scene, 25, 1.0)
    placed = place(clip_request, receive_stems(clip_request))
    assert "frame rate of the scene" in placed.problem.what
    assert sounds_of(scene) == []
    (strip,) = strips_of(scene.sequence_editor)
    assert len(strip.rewas.takes) == 1


@pytest.mark.skipif(bpy.app.version >= (4, 3), reason="only Blender's 4.2 module is built without sound")
def test_blender_without_sound_is_reported_and_the_file_is_kept(scene: Any, ball: Path) -> None:
    add_movie(scene, ball)
    clip_request = request_for(scene)
    received = receive_stems(clip_request)
    placed = place(clip_request, received)
    assert "cannot load the sound" in placed.problem.what
    assert received.takes[0].stems[0].path.exists()
    (strip,) = strips_of(scene.sequence_editor)
    assert (len(strip.rewas.takes), strip.rewas.active_take_index) == (1, -1)
