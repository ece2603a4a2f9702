"""Stems on the timeline: exactly under their clip and on named channels, even if the strip has changed."""

import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import pytest
from conftest import add_movie, part, set_rate, strips_of

has_sound = pytest.mark.skipif(bpy.app.version < (4, 3), reason="Blender's 4.2 module is built without sound")
NTSC_FILM = Fraction(24000, 1001)


def write_wav(path: Path, samples: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(48000)
        file.writeframes(bytes(3 * samples))
    return path


def request_for(scene: Any, key: str = "4f2c") -> Any:
    """The request that Generate creates for the selected strip. It marks the strip as having a running job."""
    sequencer, generate = part("blender.sequencer"), part("core.generate")
    selection = part("timeline.selection").select_clips(sequencer.selected_strips(scene), sequencer.scene_rate(scene))
    assert not selection.refusals, selection.refusals
    folder = part("blender.preferences").stems_folder()
    clip_request = generate.ClipRequest(key, selection.clips[0], generate.SoundSettings(), scene.name, folder)
    part("blender.stem_placement").mark_strip(clip_request)
    return clip_request


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
                        write_wav(clip_request.stems_folder / f"{clip_request.key}-{role}-{number}.wav", samples),
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
    return part("blender.stem_placement").place_stems(clip_request, received)


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
def test_stems_and_takes_have_named_channels(scene: Any, ball: Path) -> None:
    add_movie(scene, ball)
    clip_request = request_for(scene)
    placed = place(clip_request, receive_stems(clip_request, takes=2, roles=("primary", "ambience")))
    channels = scene.sequence_editor.channels
    on = {sound.name: (channels[sound.channel].name, sound.mute) for sound in sounds_of(scene)}
    clip = ball.name
    assert on == {
        f"{clip} primary take 1": ("primary", False),
        f"{clip} ambience take 1": ("ambience", False),
        f"{clip} primary take 2": ("primary 2", True),
        f"{clip} ambience take 2": ("ambience 2", True),
    }
    assert len({sound.channel for sound in sounds_of(scene)}) == 4
    assert "takes 2 to 2 are muted" in placed.note


@has_sound
def test_clips_share_a_channel_and_a_second_version_mutes_the_first(scene: Any, ball: Path) -> None:
    first = add_movie(scene, ball)
    clip_request = request_for(scene, "one")
    place(clip_request, receive_stems(clip_request))
    first.select = False
    later = add_movie(scene, ball, start=49)
    clip_request = request_for(scene, "two")
    place(clip_request, receive_stems(clip_request))
    sounds = sounds_of(scene)
    assert len({sound.channel for sound in sounds}) == 1
    clip_request = request_for(scene, "three")
    assert "the previous sound is muted" in place(clip_request, receive_stems(clip_request)).note
    muted = [sound["rewas_sound"]["job"] for sound in sounds_of(scene) if sound.mute]
    assert muted == ["job-two"]
    newest = next(sound for sound in sounds_of(scene) if sound["rewas_sound"]["job"] == "job-three")
    assert frames_of(newest) == frames_of(later)
    assert scene.sequence_editor.channels[newest.channel].name == "primary 2"


@has_sound
def test_sound_follows_a_strip_that_was_moved_renamed_and_copied(scene: Any, ball: Path) -> None:
    compat = part("blender.compat")
    strip = add_movie(scene, ball)
    clip_request = request_for(scene)
    copy = add_movie(scene, ball, start=200, channel=5)
    copy["rewas_job_" + clip_request.key] = "x"
    strip.name = "A better name"
    copy.name = "Another"
    strips_of(scene.sequence_editor).remove(copy)
    if compat._HAS_HANDLES:
        strip.content_start = 301
    else:
        strip.frame_start = 301
    assert place(clip_request, receive_stems(clip_request)).problem is None
    (sound,) = sounds_of(scene)
    assert frames_of(sound) == frames_of(strip) == (301, 349)
    assert not [key for key in strip.keys() if key.startswith("rewas_job_")]  # noqa: SIM118


@has_sound
def test_sound_is_trimmed_like_its_strip(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    clip_request = request_for(scene)
    part("blender.compat").set_handles(strip, 11, 40)
    placed = place(clip_request, receive_stems(clip_request))
    (sound,) = sounds_of(scene)
    assert frames_of(sound) == (11, 40)
    assert part("blender.compat").content_start(sound) == 1
    assert "trimmed to the strip" in placed.note


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
    sequencer, generate = part("blender.sequencer"), part("core.generate")
    clip = part("timeline.selection").clip_from_strip(sequencer.read_strip(scene, strip), sequencer.scene_rate(scene))
    return generate.ClipRequest(
        "meta", clip, generate.SoundSettings(), scene.name, part("blender.preferences").stems_folder()
    )


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


@pytest.mark.skipif(bpy.app.version >= (4, 3), reason="only Blender's 4.2 module is built without sound")
def test_blender_without_sound_is_reported_and_the_file_is_kept(scene: Any, ball: Path) -> None:
    add_movie(scene, ball)
    clip_request = request_for(scene)
    received = receive_stems(clip_request)
    placed = place(clip_request, received)
    assert "cannot load the sound" in placed.problem.what
    assert received.takes[0].stems[0].path.exists()
    assert len(strips_of(scene.sequence_editor)) == 1


@has_sound
def test_the_exported_timeline_has_video_prompts_and_sound(scene: Any, ball: Path, tmp_path: Path) -> None:
    import opentimelineio as otio

    strip = add_movie(scene, ball, start=25, prompt="a ball on wood")
    part("blender.compat").set_handles(strip, 30, 60)
    clip_request = request_for(scene)
    place(clip_request, receive_stems(clip_request, takes=2))
    strip.select = False
    add_movie(scene, ball, start=100, prompt="").mute = True
    path = tmp_path / "timeline.otio"
    assert bpy.ops.rewas.export_timeline(filepath=str(path)) == {"FINISHED"}
    timeline = otio.adapters.read_from_file(str(path))
    rate = 24000 / 1001
    (video_track,) = timeline.video_tracks()
    gap, first, second_gap, second = video_track
    assert gap.duration() == otio.opentime.RationalTime(29, rate)
    assert second_gap.duration() == otio.opentime.RationalTime(40, rate)
    assert first.metadata["rewas"]["prompt"] == "a ball on wood"
    assert first.source_range.start_time == otio.opentime.RationalTime(5, rate)
    assert "rewas" not in second.metadata
    assert (first.enabled, second.enabled) == (True, False)
    sound, muted = timeline.audio_tracks()
    assert (sound.name, muted.name) == ("primary", "primary 2")
    for track in (sound, muted):
        stem = track[1]
        assert track.range_of_child_at_index(1) == video_track.range_of_child_at_index(1)
        assert stem.metadata["rewas"]["prompt"] == "a ball on wood"
        assert stem.metadata["rewas"]["licence"] == "Apache-2.0"
        assert Path(stem.media_reference.target_url).exists()
    assert (sound[1].enabled, muted[1].enabled) == (True, False)
    assert sound[1].metadata["rewas"]["seed"] == 2**40 + 1
    assert list(tmp_path.glob(".*unfinished")) == []
