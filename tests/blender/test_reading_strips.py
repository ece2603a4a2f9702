"""Reading strips as clips in every Blender version, and refusing unsupported ones with a reason."""

import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import pytest
from conftest import add_movie, part, set_rate, strips_of

NTSC_FILM = Fraction(24000, 1001)
HAS_SOUND = bpy.app.version >= (4, 3)


def select_strips(scene: Any) -> Any:
    reading = part("blender.strip_reading")
    return part("timeline.selection").select_clips(reading.selected_strips(scene), reading.scene_rate(scene))


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


def add_effect(scene: Any, kind: str, name: str, channel: int, source: Any, frames: int = 48) -> Any:
    length = {"length": frames} if bpy.app.version >= (5, 0) else {"frame_end": 1 + frames}
    inputs = {"seq1": source} if bpy.app.version < (4, 4) else {"input1": source}
    options = {} if source is None else inputs
    strips = strips_of(scene.sequence_editor)
    effect = strips.new_effect(name=name, type=kind, channel=channel, frame_start=1, **length, **options)
    effect.select = False
    return effect


def add_modifier(strip: Any, kind: str) -> Any:
    workspace = bpy.context.window_manager.windows[0].workspace
    if hasattr(workspace, "sequencer_scene"):
        # 5.0 crashes without it.
        workspace.sequencer_scene = strip.id_data
    return strip.modifiers.new(kind, kind)


def only_reason(scene: Any) -> str:
    selection = select_strips(scene)
    assert selection.refusals == ()
    (clip,) = selection.clips
    assert clip.proxy is not None
    return str(clip.proxy.reason)


def test_unconverted_media_of_another_rate_is_rendered(scene: Any, make_clip: Any) -> None:
    set_rate(scene, 24, 1.0)
    add_movie(scene, make_clip(Fraction(30000, 1001), 120))
    assert "29.97 fps media frame by frame in this 24 fps scene" in only_reason(scene)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda strip: setattr(strip, "use_reverse_frames", True), "plays backwards"),
        (lambda strip: setattr(strip, "use_flip_x", True), "is mirrored"),
        (lambda strip: setattr(strip.crop, "min_x", 2), "is cropped"),
        (lambda strip: setattr(strip.transform, "rotation", 1.0), "is rotated"),
        (lambda strip: setattr(strip.transform, "scale_x", 100.0), "shows only a part of its picture"),
        (lambda strip: setattr(strip, "strobe", 3), "only one of 3 frames"),
        (lambda strip: add_modifier(strip, "MASK"), "is masked"),
        (lambda strip: part("blender.compat").set_handles(strip, 1, 60), "holds a still frame"),
        (lambda strip: part("blender.compat").set_handles(strip, -10, 30), "holds a still frame"),
    ],
)
def test_what_no_range_of_the_file_shows_is_rendered(scene: Any, ball: Path, change: Any, reason: str) -> None:
    change(add_movie(scene, ball))
    assert reason in only_reason(scene)


@pytest.mark.parametrize(
    "change",
    [
        lambda strip: setattr(strip, "blend_alpha", 0.5),
        lambda strip: setattr(strip, "mute", True),
        lambda strip: setattr(strip.transform, "scale_x", 2.0),
        lambda strip: add_modifier(strip, "BRIGHT_CONTRAST"),
    ],
)
def test_other_changes_are_read_from_the_file(scene: Any, ball: Path, change: Any) -> None:
    change(add_movie(scene, ball))
    (clip,) = select_strips(scene).clips
    assert clip.proxy is None


def test_an_animated_place_in_the_frame_is_rendered(scene: Any, ball: Path) -> None:
    strip = add_movie(scene, ball)
    other = add_movie(scene, ball, channel=2)
    strip.name = 'a "quoted" name'
    strip.transform.keyframe_insert("offset_x", frame=1)
    other.keyframe_insert("blend_alpha", frame=1)
    first, second = sorted(select_strips(scene).clips, key=lambda clip: clip.name)
    assert first.proxy.reason == "moves within the frame"
    assert second.proxy is None


def test_a_speed_effect_is_rendered_unless_it_is_muted(scene: Any, ball: Path) -> None:
    effect = add_effect(scene, "SPEED", "Slow", 2, add_movie(scene, ball))
    assert 'is used by the speed effect "Slow"' in only_reason(scene)
    effect.mute = True
    assert select_strips(scene).clips[0].proxy is None


def test_pictures_of_other_kinds_are_rendered(scene: Any, tmp_path: Path) -> None:
    strips = strips_of(scene.sequence_editor)
    image = bpy.data.images.new("frame", 8, 8)
    for number in (1, 2, 3):
        image.filepath_raw = str(tmp_path / f"{number}.png")
        image.save()
    still = strips.new_image("still", str(tmp_path / "1.png"), 1, 1)
    part("blender.compat").set_handles(still, 1, 25)
    sequence = strips.new_image("sequence", str(tmp_path / "1.png"), 2, 1)
    for number in (2, 3):
        sequence.elements.append(f"{number}.png")
    other = bpy.data.scenes.new("Set")
    strips.new_scene("set", other, 3, 1)
    strips.new_meta("meta", 4, 1)
    for strip in strips:
        strip.rewas.prompt = "rain"
        strip.select = True
    clips = {clip.name: clip for clip in select_strips(scene).clips}
    assert {name: clip.proxy.reason for name, clip in clips.items()} == {
        "still": "is a still image",
        "sequence": "is an image sequence",
        "set": "shows a scene",
        "meta": "is a meta strip",
    }
    assert clips["still"].frames == 24
    (tmp_path / "3.png").unlink()
    selection = select_strips(scene)
    assert len(selection.clips) == 3
    assert f'the strip "sequence" is missing ({tmp_path / "3.png"})' in str(selection.refusals[0])


@pytest.mark.parametrize(
    ("kind", "words"), [("TEXT", "a text strip"), ("COLOR", "a colour strip"), ("ADJUSTMENT", "an adjustment layer")]
)
def test_strips_that_show_no_picture_are_named(scene: Any, kind: str, words: str) -> None:
    add_effect(scene, kind, "Title", 1, None).select = True
    assert f'The strip "Title" is {words}' in only_refusal(scene)


def proxy_path(scene: Any) -> str:
    return str(select_strips(scene).clips[0].path)


def test_a_proxy_depends_on_what_is_shown_and_on_nothing_else(scene: Any, ball: Path, make_clip: Any) -> None:
    strip = add_movie(scene, ball, start=10)
    strip.use_reverse_frames = True
    paths = [proxy_path(scene)]

    def changed() -> bool:
        paths.append(proxy_path(scene))
        return paths[-1] != paths[-2]

    compat = part("blender.compat")
    strip.rewas.prompt = "another sound"
    strip.name, strip.channel, strip.lock, strip.mute = "renamed", 5, True, True
    compat.set_content_start(strip, 200)
    assert not changed()
    compat.set_handles(strip, 202, 240)
    assert changed()
    strip.color_saturation = 0.5
    assert changed()
    strip.crop.max_x = 3
    assert changed()
    add_modifier(strip, "BRIGHT_CONTRAST").bright = 0.3
    assert changed()
    scene.render.resolution_x = 1000
    assert changed()
    strip.keyframe_insert("blend_alpha", frame=210)
    assert changed()
    strip.filepath = str(make_clip(Fraction(24000, 1001), 60))
    assert changed()
    assert len(set(paths)) == len(paths) - 1


def test_the_proxy_of_a_meta_depends_on_the_strips_inside(scene: Any, ball: Path) -> None:
    strips = strips_of(scene.sequence_editor)
    meta = strips.new_meta("meta", 1, 1)
    inside = strips_of(meta)
    children = [inside.new_movie(f"{channel}", str(ball), channel, 1) for channel in (1, 2)]
    part("blender.compat").set_handles(meta, 1, 40)
    meta.rewas.prompt = "rain"
    meta.select = True
    paths = {proxy_path(scene)}
    children[0].color_saturation = 0.1
    paths.add(proxy_path(scene))
    children[1].mute = True
    paths.add(proxy_path(scene))
    meta.channels[1].mute = True
    paths.add(proxy_path(scene))
    assert len(paths) == 4
    children[1].color_saturation = 0.7  # it is muted
    assert proxy_path(scene) in paths


def test_a_file_is_opened_once(scene: Any, ball: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = part("blender.media_files")
    files.forget_files()
    opened: list[Any] = []
    monkeypatch.setattr(files, "exact_rate", lambda rate: opened.append(rate) or NTSC_FILM)
    for start in range(1, 500, 50):
        add_movie(scene, ball, start=start)
    assert len(select_strips(scene).clips) == 10
    assert len(opened) == 1
    other = ball.with_name("copy.mp4")
    other.write_bytes(ball.read_bytes())
    strip = add_movie(scene, other, channel=3)
    select_strips(scene)
    other.write_bytes(ball.read_bytes() + b"0")
    select_strips(scene)
    assert len(opened) == 3
    assert strip.type == "MOVIE"
    files.forget_files()


def test_movie_effect_sound_and_stem_lead_to_their_picture(scene: Any, ball: Path, make_clip: Any) -> None:
    find = part("blender.strip_reading").picture_strip
    strip = add_movie(scene, ball)
    speed = add_effect(scene, "SPEED", "Slow", 2, strip)
    other = add_movie(scene, ball, channel=3, start=200)
    title = add_effect(scene, "TEXT", "Title", 5, None)
    assert find(scene, strip) == strip
    assert find(scene, speed) == strip
    assert find(scene, other) == other
    assert find(scene, title) is None
    cross_inputs = ("seq1", "seq2") if bpy.app.version < (4, 4) else ("input1", "input2")
    length = {"length": 10} if bpy.app.version >= (5, 0) else {"frame_end": 11}
    cross = strips_of(scene.sequence_editor).new_effect(
        name="Cross",
        type="CROSS",
        channel=6,
        frame_start=1,
        **length,
        **dict(zip(cross_inputs, (strip, other), strict=True)),
    )
    assert find(scene, cross) is None


@pytest.mark.skipif(not HAS_SOUND, reason="Blender's 4.2 module is built without sound")
def test_sounds_lead_to_their_picture(scene: Any, ball: Path, tmp_path: Path) -> None:
    find = part("blender.strip_reading").picture_strip
    strips = strips_of(scene.sequence_editor)
    first, second = add_movie(scene, ball), add_movie(scene, ball, channel=3, start=300)
    own = strips.new_sound("own", str(ball), 2, 300)
    assert find(scene, own) == second
    part("blender.compat").set_content_start(own, 320)
    assert find(scene, own) is None
    wave_file = tmp_path / "stem.wav"
    with wave.open(str(wave_file), "wb") as file:
        file.setparams((1, 2, 48000, 0, "NONE", ""))
        file.writeframes(bytes(96000))
    stem = strips.new_sound("stem", str(wave_file), 4, 300)
    assert find(scene, stem) is None
    stem.rewas.stem.owner = part("blender.placement").ensure_uid(scene, first)
    assert find(scene, stem) == first


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
