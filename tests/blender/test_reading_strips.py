"""Reading strips as clips in every Blender version, and refusing unsupported ones with a reason."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import pytest
from conftest import add_movie, part, set_rate, strips_of

NTSC_FILM = Fraction(24000, 1001)


def select_strips(scene: Any) -> Any:
    sequencer = part("blender.sequencer")
    return part("timeline.selection").select_clips(sequencer.selected_strips(scene), sequencer.scene_rate(scene))


def only_refusal(scene: Any) -> str:
    selection = select_strips(scene)
    assert selection.clips == ()
    assert len(selection.refusals) == 1
    return str(selection.refusals[0])


def test_a_trimmed_strip_gives_its_range_of_the_media(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball, start=101)
    part("blender.compat").set_handles(strip, 106, 142)
    (clip,) = select_strips(scene).clips
    assert (clip.start_frame, clip.frames, clip.rate) == (106, 36, NTSC_FILM)
    assert clip.source_start_s == 5 / NTSC_FILM
    assert clip.source_duration_s == 36 / NTSC_FILM
    assert (clip.media_rate, clip.media_frames) == (NTSC_FILM, 48)
    otio_clip = part("timeline.clips").clip_to_otio(clip)
    assert otio_clip.source_range.start_time.value == 5
    assert otio_clip.source_range.duration.value == 36
    assert otio_clip.source_range.duration.rate == 24000 / 1001
    assert otio_clip.media_reference.available_range.duration.value == 48
    assert otio_clip.media_reference.target_url == str(ball)
    assert otio_clip.metadata["rewas"]["prompt"] == "a ball bounces"


def test_a_hard_trim_is_included(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    if hasattr(strip, "content_trim_start"):
        strip.content_trim_start, strip.content_trim_end = 4, 2
    else:
        strip.animation_offset_start, strip.animation_offset_end = 4, 2
    (clip,) = select_strips(scene).clips
    assert (clip.source_start_s, clip.frames, clip.media_frames) == (4 / NTSC_FILM, 42, 48)


def test_paths_relative_to_the_blend_file_are_resolved(scene: Any, ball: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(ball.parent / "relative.blend"))
    strip = add_movie(scene, ball)
    strip.filepath = "//" + ball.name
    (clip,) = select_strips(scene).clips
    assert clip.path == str(ball)


def test_converted_media_is_read_in_scene_frames(scene: Any, make_clip: Any) -> None:
    media = make_clip(Fraction(30000, 1001), 120)
    set_rate(scene, 24, 1.0)
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "SEQUENCE_EDITOR"
    options: dict[str, Any] = {"move_strips": False} if bpy.app.version >= (5, 0) else {}
    if hasattr(window.workspace, "sequencer_scene"):
        window.workspace.sequencer_scene = scene
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.sequencer.movie_strip_add(
            filepath=str(media),
            frame_start=1,
            channel=1,
            use_framerate=False,
            adjust_playback_rate=True,
            sound=False,
            **options,
        )
    strip = strips_of(scene.sequence_editor)[0]
    strip.rewas.prompt = "a ball"
    part("blender.compat").set_handles(strip, 13, 49)
    (clip,) = select_strips(scene).clips
    assert (clip.source_start_s, clip.source_duration_s) == (Fraction(12, 24), Fraction(36, 24))
    assert (clip.media_frames, clip.media_rate) == (120, Fraction(30000, 1001))
    assert not bpy.data.movieclips


def test_unconverted_media_of_another_rate_is_refused(scene: Any, make_clip: Any) -> None:
    set_rate(scene, 24, 1.0)
    add_movie(scene, make_clip(Fraction(30000, 1001), 120))
    text = only_refusal(scene)
    assert "ball-30000-1001-120.mp4" in text
    assert "29.97 fps media" in text
    assert "Adjust Playback Rate" in text


def test_a_meta_strip_is_refused_by_name(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    strip.select = False
    meta = strips_of(scene.sequence_editor).new_meta("Scene 12", 3, 1)
    meta.select = True
    assert '"Scene 12" is a meta strip' in only_refusal(scene)


def test_a_reversed_strip_is_refused(scene: Any, ball: Path) -> None:
    add_movie(scene, ball).use_reverse_frames = True
    assert "plays backwards" in only_refusal(scene)


def test_a_strip_with_a_speed_effect_is_refused(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    strips = strips_of(scene.sequence_editor)
    length = {"length": 48} if bpy.app.version >= (5, 0) else {"frame_end": 49}
    source = {"seq1": strip} if bpy.app.version < (4, 4) else {"input1": strip}
    effect = strips.new_effect(name="Slow", type="SPEED", channel=2, frame_start=1, **length, **source)
    effect.select = False
    assert 'speed effect "Slow"' in only_refusal(scene)


def test_a_still_frame_at_the_end_is_refused(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    part("blender.compat").set_handles(strip, 1, 60)
    assert "holds a still frame" in only_refusal(scene)


@pytest.mark.parametrize("damage", ["missing", "not a video", "truncated"])
def test_media_that_cannot_be_read_is_refused_with_its_path(
    scene: Any, ball: Path, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "shot.mp4"
    path.write_bytes(ball.read_bytes())
    if damage != "missing":
        path.write_bytes(b"no video at all" if damage == "not a video" else ball.read_bytes()[:200])
        add_movie(scene, path)
    else:
        add_movie(scene, path)
        path.unlink()
    assert str(path) in only_refusal(scene)


@pytest.mark.parametrize(("prompt", "expected"), [("  ", "has no prompt"), ("x" * 10_000, "has 10000 characters")])
def test_a_prompt_that_cannot_be_sent_is_refused(scene: Any, ball: Path, prompt: str, expected: str) -> None:
    add_movie(scene, ball, prompt=prompt)
    assert expected in only_refusal(scene)


def test_an_empty_selection_is_reported(scene: Any, ball: Path) -> None:
    add_movie(scene, ball).select = False
    assert "No movie strip is selected" in only_refusal(scene)
