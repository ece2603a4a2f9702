"""Export to OpenTimelineIO and import: every strip comes back as it was."""

import json
import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest
from arriving_stems import write_silence
from conftest import ADDON, MAIN_PYTHON, ROOT, add_movie, part, set_rate, strips_of
from reaper_projects import as_project

has_sound = pytest.mark.skipif(bpy.app.version < (4, 3), reason="Blender's 4.2 module is built without sound")
HAS_SOUND = bpy.app.version >= (4, 3)


def effect(
    scene: Any, kind: str, channel: int, start: int, end: int, *inputs: Any, name: str = "", holder: Any = None
) -> Any:
    strips = strips_of(holder or scene.sequence_editor)
    return part("blender.compat").new_effect(strips, name or kind.title(), kind, channel, start, end, inputs)


def export(path: Path, **options: Any) -> Path:
    assert bpy.ops.rewas.export_timeline(filepath=str(path), **options) == {"FINISHED"}
    return path


def state_of(scene: Any) -> Any:
    """What the add-on exports of a scene: positions, properties, takes and everything else of each strip."""
    run_all, reading = part("core.slices").run_all, part("blender.exchange_reading")
    return run_all(reading.read_scene(scene.name))


def assert_same(found: Any, expected: Any) -> None:
    """Compare two scenes strip by strip, field by field. Identifiers and names of scenes may be new."""
    all_strips = part("timeline.exchanged").all_strips
    left = {strip.name: strip for strip in all_strips(found.strips)}
    right = {strip.name: strip for strip in all_strips(expected.strips)}
    assert sorted(left) == sorted(right)
    for name, strip in right.items():
        for field, value in vars(strip).items():
            if field not in ("strips", "rewas"):
                assert getattr(left[name], field) == value, (name, field)
        assert without_links(left[name].rewas) == without_links(strip.rewas), name
    for field in ("rate", "start_frame", "end_frame", "channels", "markers", "properties", "original"):
        assert getattr(found, field) == getattr(expected, field), field


def without_links(values: Any) -> Any:
    return {
        name: {key: each for key, each in value.items() if key not in ("owner", "is_connected")}
        if name == "stem"
        else value
        for name, value in values.items()
        if name != "uid"
    }


def write_image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = bpy.data.images.new("frame", 8, 8)
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)
    return path


@pytest.fixture
def rich_scene(scene: Any, make_clip: Any, tmp_path: Path) -> Any:
    """One strip of each kind that an editor uses, in a scene at 24000/1001 that starts at frame 1001."""
    compat = part("blender.compat")
    ball = make_clip(Fraction(24000, 1001), 48)
    scene.frame_start, scene.frame_end = 1001, 1500
    first = add_movie(scene, ball, channel=3, start=1001, prompt="a ball on wood")
    first.name = "first"
    compat.set_handles(first, 1006, 1045)
    first.rewas.settings.takes = 4
    first.rewas.settings.ambience = "a quiet room"
    part("blender.energy_curves").write_keys(scene, first, [(0.0, -60.0), (1.0, -20.0)])
    second = add_movie(scene, ball, channel=4, start=1030, prompt="")
    second.name = "second"
    effect(scene, "CROSS", 5, 1030, 1045, first, second, name="dissolve")
    trimmed = add_movie(scene, ball, channel=3, start=1100, prompt="reversed")
    trimmed.name = "reversed"
    compat.trim_media(trimmed, 5, 7)
    compat.set_handles(trimmed, 1103, 1150)
    trimmed.use_reverse_frames = True
    trimmed.mute = True
    trimmed.transform.scale_x, trimmed.crop.min_x, trimmed.blend_alpha = 0.5, 3, 0.25
    trimmed.color_tag = "COLOR_03"
    trimmed["note"] = {"shot": 7, "who": ["a", "b"]}
    compat.new_modifier(scene, trimmed, "bright", "BRIGHT_CONTRAST").contrast = 12.5
    trimmed.keyframe_insert("blend_alpha", frame=1103)
    trimmed.blend_alpha = 1.0
    trimmed.keyframe_insert("blend_alpha", frame=1120)
    effect(scene, "SPEED", 6, 1103, 1150, trimmed, name="speed").speed_control = "MULTIPLY"
    _add_other_strips(scene, ball, tmp_path)
    return scene


def _add_other_strips(scene: Any, ball: Path, tmp_path: Path) -> None:
    compat, strips = part("blender.compat"), strips_of(scene.sequence_editor)
    images = [write_image(tmp_path / "images" / f"shot.{number:04d}.png") for number in (98, 99, 100)]
    sequence = strips.new_image("sequence", str(images[0]), 3, 1200)
    for image in images[1:]:
        sequence.elements.append(image.name)
    still = strips.new_image("still", str(images[0]), 3, 1210)
    compat.set_handles(still, 1210, 1260)
    title = effect(scene, "TEXT", 7, 1001, 1050, name="title")
    title.text, title.font_size = "Växjö\n1958", 90
    effect(scene, "COLOR", 7, 1060, 1100, name="colour").color = (0.25, 0.5, 1.0)
    effect(scene, "ADJUSTMENT", 8, 1001, 1500, name="grade")
    other = bpy.data.scenes.new("Other")
    strips.new_scene("scene", other, 9, 1001)
    meta = strips.new_meta("meta", 10, 1300)
    inner = strips_of(meta).new_movie("inside", str(ball), 1, 1300)
    inner.rewas.prompt = "inside a meta"
    effect(scene, "COLOR", 2, 1310, 1370, name="inside colour", holder=meta)
    compat.set_handles(meta, 1305, 1360)
    meta.channels[1].name = "inner pictures"
    channels = scene.sequence_editor.channels
    channels[3].name, channels[3].lock, channels[7].mute, channels[20].name = "Pictures", True, True, "spare"
    scene.timeline_markers.new("act 2", frame=1200)
    if HAS_SOUND:
        sound = write_silence(tmp_path / "sounds" / "production.wav", 96096)
        strip = strips.new_sound("production", str(sound), 1, 1001)
        compat.set_handles(strip, 1006, 1040)
        strip.volume, strip.pan = 0.5, -0.25
        strip.keyframe_insert("volume", frame=1010)
        music = strips.new_sound("music", str(sound), 2, 1001)
        music.mute = True


def test_every_strip_comes_back(rich_scene: Any, tmp_path: Path) -> None:
    expected = state_of(rich_scene)
    path = export(tmp_path / "film.otio")
    assert bpy.ops.rewas.import_timeline(filepath=str(path)) == {"FINISHED"}
    found = part("blender.compat").scene_of(bpy.context)
    assert found != rich_scene
    assert_same(state_of(found), expected)


def with_takes(scene: Any, picture: Any, tmp_path: Path, count: int = 2) -> list[Any]:
    """Give a strip takes as jobs do, and put the first one on the timeline."""
    compat, takes = part("blender.compat"), part("timeline.takes")
    placement, rate = part("blender.placement"), part("blender.strip_reading").scene_rate(scene)
    start, content = compat.left_handle(picture), compat.content_start(picture)
    frames = compat.right_handle(picture) - start
    samples = round(frames * 48000 / rate)
    made = [
        takes.Take(
            id=f"{number:032x}",
            scene_rate=rate,
            lead_in_frames=start - content,
            frames=frames,
            stems=tuple(
                takes.Stem(
                    role,
                    write_silence(tmp_path / "stems" / f"{picture.name} {number} {role}.wav", samples),
                    48000,
                    1,
                    samples,
                )
                for role in ("primary", "ambience")
            ),
            media=picture.filepath,
            prompt=picture.rewas.prompt,
            seed=2**40 + number,
            settings={"num_inference_steps": 4},
            pack="untrained",
            licence="Apache-2.0",
            requested_energy=takes.EnergyCurve(Fraction(100), (-11.5, -3.25)),
        )
        for number in range(1, count + 1)
    ]
    uid = placement.ensure_uid(scene, picture)
    result = placement.place_takes(placement.StripAddress(uid, scene.name, picture.name, ""), made)
    assert result.problem is None, result.problem
    part("blender.links").settle()
    return [strip for strip in strips_of(scene.sequence_editor) if strip.rewas.stem.owner == uid]


@has_sound
def test_takes_come_back_linked_to_their_pictures(scene: Any, ball: Path, tmp_path: Path) -> None:
    compat, links = part("blender.compat"), part("blender.links")
    picture = add_movie(scene, ball, channel=5, start=40)
    compat.set_handles(picture, 44, 80)
    primary, ambience = sorted(with_takes(scene, picture, tmp_path), key=lambda strip: strip.name, reverse=True)
    primary.volume, ambience.mute = 0.25, True
    compat.set_content_start(primary, compat.content_start(primary) + 3)
    picture.rewas.takes[1].name = "the best"
    links.settle()
    expected = state_of(scene)
    path = export(tmp_path / "film.otio")
    stem = next(
        clip
        for track in json.loads(path.read_text())["tracks"]["children"]
        for clip in track["children"]
        if clip["name"] == primary.name
    )
    assert stem["active_media_reference_key"] == "take 1"
    assert sorted(stem["media_references"]) == ["take 1", "take 2"]
    assert stem["metadata"]["rewas"]["seed"] == 2**40 + 1
    bpy.ops.rewas.import_timeline(filepath=str(path))
    found = compat.scene_of(bpy.context)
    assert_same(state_of(found), expected)
    copy = strips_of(found.sequence_editor)[picture.name]
    assert copy.rewas.uid not in ("", picture.rewas.uid)
    # The scan finds nothing to correct, and the sound follows its picture and keeps its shift.
    for _ in range(2):
        links.settle()
        assert_same(state_of(found), expected)
    stems = part("blender.stem_strips").stems_of(found, copy.rewas.uid)
    before = compat.left_handle(stems["primary"])
    compat.set_content_start(copy, compat.content_start(copy) + 100)
    links.settle()
    assert compat.left_handle(stems["primary"]) == before + 100
    part("blender.placement").choose_take(found, copy, f"{2:032x}")
    assert stems["primary"].volume == 0.25


IMPORT_IN_ANOTHER_BLENDER = """
import importlib, json, sys
import bpy
addon, *paths = sys.argv[1:]
bpy.ops.preferences.addon_enable(module=addon)
part = lambda name: importlib.import_module(f"{addon}.{name}")
for path in paths:
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.rewas.import_timeline(filepath=path)
    scene = part("blender.compat").scene_of(bpy.context)
    read = part("core.slices").run_all(part("blender.exchange_reading").read_scene(scene.name))
    rows = [
        [strip.name, strip.kind, strip.channel, strip.start_frame, strip.end_frame, strip.content_start_frame,
            strip.files[:1]]
        for strip in part("timeline.exchanged").all_strips(read.strips)
    ]
    print("FOUND", json.dumps(rows))
"""


def test_a_moved_folder_opens_in_another_blender(rich_scene: Any, tmp_path: Path, ball: Path) -> None:
    """All files move, as to another computer, and a new process imports the timeline."""
    media = tmp_path / "project" / "media"
    media.mkdir(parents=True)
    (tmp_path / "images").rename(media / "images")
    for strip in strips_of(rich_scene.sequence_editor):
        if strip.type == "MOVIE":
            strip.filepath = shutil.copy(ball, media)
        elif strip.type == "IMAGE":
            strip.directory = str(media / "images")
    export(tmp_path / "project" / "film.otio")
    export(tmp_path / "film.otioz", include_media=True)
    expected = {
        strip.name: [
            strip.kind, strip.channel, strip.start_frame, strip.end_frame, strip.content_start_frame, bool(strip.files)
        ]
        for strip in part("timeline.exchanged").all_strips(state_of(rich_scene).strips)
    }  # fmt: skip
    (tmp_path / "project").rename(tmp_path / "moved")
    archive = tmp_path / "elsewhere" / "film.otioz"
    archive.parent.mkdir()
    (tmp_path / "film.otioz").rename(archive)
    command = [sys.executable, "-c", IMPORT_IN_ANOTHER_BLENDER, ADDON, tmp_path / "moved" / "film.otio", archive]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [json.loads(line.removeprefix("FOUND ")) for line in ran.stdout.splitlines() if line.startswith("FOUND ")]
    assert len(found) == 2, ran.stdout + ran.stderr
    for rows, folder in zip(found, (tmp_path / "moved", archive.parent), strict=True):
        by_name = {name: [*position, bool(files)] for name, *position, files in rows}
        # The other scene is not in the new file, so a black strip is in its place.
        assert by_name.pop("scene") == ["COLOR", *expected["scene"][1:]]
        assert by_name == {name: row for name, row in expected.items() if name != "scene"}
        moved = [files[0] for name, kind, *_, files in rows if kind in ("MOVIE", "IMAGE") and name != "inside"]
        assert len(moved) == 5
        assert all(path.startswith(str(folder)) and Path(path).is_file() for path in moved), moved


@has_sound
@pytest.mark.slow
@pytest.mark.parametrize(("output", "profile"), [("out.otio", "default"), ("out.otioz", "reaper")])
def test_the_stems_of_a_batch_come_back_as_takes(
    scene: Any, ball: Path, server_address: str, tmp_path: Path, output: str, profile: str
) -> None:
    compat = part("blender.compat")
    picture = add_movie(scene, ball, channel=3, start=1001)
    compat.set_handles(picture, 1005, 1030)
    picture.rewas.settings.ambience = "a quiet room"
    picture.rewas.settings.takes = 2
    backwards = add_movie(scene, ball, channel=3, start=1100, prompt="")
    backwards.use_reverse_frames = True
    existing = with_takes(scene, picture, tmp_path, count=1)
    path = export(tmp_path / "film.otio")
    command = [MAIN_PYTHON, "-m", "rewas_cli.main", "batch", path, "-o", tmp_path / output, "--profile", profile]
    options = ["--stems", tmp_path / "batch", "--pack", "untrained", "--steps", "1", "--server", server_address]
    ran = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("", "proto", "server")),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    imported = tmp_path / output
    stems_folder = tmp_path / "batch"
    if imported.suffix == ".otioz":
        # On another computer, there is nothing but the archive.
        (tmp_path / "elsewhere").mkdir()
        imported = imported.rename(tmp_path / "elsewhere" / "film.otioz")
        stems_folder = stems_folder.rename(tmp_path / "gone")
        stems_folder = tmp_path / "elsewhere" / "film" / "media"
    assert bpy.ops.rewas.import_timeline(filepath=str(imported)) == {"FINISHED"}
    assert part("blender.exchange_report").last_report().notes == ()
    found = compat.scene_of(bpy.context)
    copy = strips_of(found.sequence_editor)[picture.name]
    assert [take.number for take in copy.rewas.takes] == [1, 2, 3]
    assert copy.rewas.active_take_index in (1, 2)
    assert copy.rewas.prompt == picture.rewas.prompt
    stems = part("blender.stem_strips").stems_of(found, copy.rewas.uid)
    assert sorted(stems) == ["ambience", "primary"]
    assert len(stems) == len(existing)
    for stem in stems.values():
        assert not stem.mute
        file = Path(bpy.path.abspath(stem.sound.filepath))
        assert (file.is_file(), file.parent) == (True, stems_folder)
        assert (compat.left_handle(stem), compat.right_handle(stem)) == (1005, 1030)
    take = part("blender.take_list").active_take(copy)
    assert (take.stems[0].channels, take.pack) == (1, "untrained")
    assert take.frames >= 25
    part("blender.links").settle()
    assert part("blender.stem_strips").stems_of(found, copy.rewas.uid).keys() == stems.keys()
    if imported.suffix == ".otio":
        assert bpy.ops.rewas.import_sound_changes(filepath=str(as_project(imported))) == {"FINISHED"}
        report = part("blender.exchange_report").last_report()
        assert report.text == "Imported no changes from out.rpp"
        # The take that was there before is muted in the file.
        assert report.notes == ()
    # The other take of the batch is there, too.
    other = next(item for item in copy.rewas.takes if item.number in (2, 3) and item.uid != take.id)
    part("blender.placement").choose_take(found, copy, other.uid)
    shown = part("blender.stem_strips").stems_of(found, copy.rewas.uid)["primary"]
    assert (compat.left_handle(shown), compat.right_handle(shown)) == (1005, 1030)
    assert Path(bpy.path.abspath(shown.sound.filepath)) != file


def test_import_into_a_scene_with_strips_goes_above_them(rich_scene: Any, tmp_path: Path, ball: Path) -> None:
    expected = state_of(rich_scene)
    path = export(tmp_path / "film.otio")
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.sequence_editor_create()
    set_rate(scene, 25, 1.0)
    own = add_movie(scene, ball, channel=7)
    assert bpy.ops.rewas.import_timeline(filepath=str(path), target="CURRENT") == {"FINISHED"}
    assert part("blender.compat").scene_of(bpy.context) == scene
    assert part("blender.strip_reading").scene_rate(scene) == 25
    names = {strip.name: strip.channel for strip in strips_of(scene.sequence_editor)}
    assert names.pop(own.name) == 7
    if HAS_SOUND:
        assert names == {strip.name: strip.channel + 7 for strip in expected.strips}
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.rewas.import_timeline(filepath=str(path))
    assert part("blender.compat").scene_of(bpy.context) == bpy.context.scene
    assert len(bpy.data.scenes) == 1
    assert part("blender.strip_reading").scene_rate(bpy.context.scene) == Fraction(24000, 1001)


def test_a_failed_import_leaves_nothing_behind(rich_scene: Any, tmp_path: Path, monkeypatch: Any) -> None:
    path = export(tmp_path / "film.otio")
    before, sounds, scenes = state_of(rich_scene), len(bpy.data.sounds), len(bpy.data.scenes)
    building = part("blender.exchange_building")
    original = building._Builder._finish_strip

    def fail(self: Any, built: Any, strip: Any) -> None:
        original(self, built, strip)
        if strip.name == "title":
            raise RuntimeError("out of memory")

    monkeypatch.setattr(building._Builder, "_finish_strip", fail)
    for target in ("NEW", "CURRENT"):
        with pytest.raises(RuntimeError, match="out of memory"):
            bpy.ops.rewas.import_timeline(filepath=str(path), target=target)
        assert state_of(rich_scene) == before
        assert (len(bpy.data.sounds), len(bpy.data.scenes)) == (sounds, scenes)
    # The scan of sounds is no longer held back.
    part("blender.links").settle()


def test_files_that_cannot_be_imported_or_written_are_reported(scene: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.otio"
    bad.write_text("{")
    for path, reason in ((bad, "It is not JSON"), (tmp_path / "none.otio", "No such file")):
        with pytest.raises(RuntimeError, match=reason):
            bpy.ops.rewas.import_timeline(filepath=str(path))
    assert len(bpy.data.scenes) == 1
    with pytest.raises(RuntimeError, match="Cannot write"):
        bpy.ops.rewas.export_timeline(filepath=str(bad / "film.otio"))
    report = part("blender.exchange_report").last_report()
    assert report.is_failure


def timeline_file(path: Path, **changes: Any) -> Path:
    """Write a timeline with a marker and no clips."""
    otio_json = part("timeline.otio_json")
    span = otio_json.TimeRange(otio_json.RationalTime(7, 24), otio_json.RationalTime(0, 24))
    timeline = otio_json.Timeline(name="cut")
    timeline.tracks.markers.append(otio_json.Marker(name="act 2", marked_range=span, metadata={"colour": "mauve"}))
    path.write_text(timeline.to_json_string())
    return path


@pytest.mark.parametrize(
    "damaged",
    [
        "{",
        "[]",
        "7",
        7,
        b"\xff",
        {"markers": "a group"},
        "[" * 100_000,
        '{"markers": 5, "timeline": 5, "timecode_frame": "x"}',
        '{"markers": [1, {}, {"name": "act 2"}, {"name": "act 2", "frame": "7", "owner": "", "original": {}}]}',
        '{"markers": [{"name": "act 2", "frame": 8, "owner": 5, "original": {}}], "timecode_frame": [1]}',
        '{"markers": {"name": "act 2"}, "timeline": [1], "timecode_frame": 1e400}',
    ],
)
def test_damaged_data_of_an_earlier_import_is_ignored(scene: Any, ball: Path, tmp_path: Path, damaged: Any) -> None:
    """In the import above the strips of a scene, and in the export of the scene and its strips."""
    strip = add_movie(scene, ball)
    strip["rewas_otio"] = scene["rewas_otio"] = damaged
    path = timeline_file(tmp_path / "cut.otio")
    assert bpy.ops.rewas.import_timeline(filepath=str(path), target="CURRENT") == {"FINISHED"}
    exported = json.loads(export(tmp_path / "film.otio").read_text())
    (marker,) = [each for each in exported["tracks"]["markers"] if each["name"] == "act 2"]
    assert marker["metadata"]["colour"] == "mauve"


def test_a_scene_that_is_removed_while_it_is_read_ends_the_export(rich_scene: Any) -> None:
    reading = part("blender.exchange_reading")
    name = rich_scene.name
    steps = sum(1 for _ in reading.read_scene(name))
    for number in (1, 2, 3, steps // 2, steps):
        copy = rich_scene.copy()
        slices = reading.read_scene(copy.name)
        for _ in range(number):
            next(slices)
        bpy.data.scenes.remove(copy)
        assert part("core.slices").run_all(slices) is None, number


@pytest.mark.parametrize("operation", ["export", "import"])
def test_a_removed_scene_is_a_failure_with_a_remedy(
    scene: Any, ball: Path, tmp_path: Path, monkeypatch: Any, operation: str
) -> None:
    add_movie(scene, ball)
    bpy.data.scenes.new("Other")
    path = timeline_file(tmp_path / "cut.otio")
    name = scene.name
    operators, compat = part("blender.exchange_operators"), part("blender.compat")
    # The scene goes after the operator has begun, as with a script or another window.
    original = operators._Job.start if operation == "import" else operators.read_blender_scene

    def remove_and_go_on(*arguments: Any) -> Any:
        bpy.data.scenes.remove(compat.scene_of(bpy.context))
        return original(*arguments)

    if operation == "import":
        monkeypatch.setattr(operators._Job, "start", remove_and_go_on)
        start = lambda: bpy.ops.rewas.import_timeline(filepath=str(path), target="CURRENT")  # noqa: E731
        remedy = "Import the timeline again"
    else:
        monkeypatch.setattr(operators, "read_blender_scene", remove_and_go_on)
        start = lambda: bpy.ops.rewas.export_timeline(filepath=str(tmp_path / "film.otio"))  # noqa: E731
        remedy = "and export again"
    with pytest.raises(RuntimeError, match=f'The scene "{name}" was removed during the {operation}'):
        start()
    report = part("blender.exchange_report").last_report()
    assert report.is_failure
    assert remedy in report.text
    assert part("blender.exchange_report").current_activity() is None


def test_a_movie_of_another_rate_is_reported(scene: Any, make_clip: Any, tmp_path: Path) -> None:
    otio_json = part("timeline.otio_json")
    span = otio_json.TimeRange(otio_json.RationalTime(0, 24), otio_json.RationalTime(24, 24))
    clips = [
        otio_json.Clip(
            name=str(rate),
            media_references={"DEFAULT_MEDIA": otio_json.ExternalReference(target_url=str(make_clip(rate, 48)))},
            source_range=span,
        )
        for rate in (Fraction(24), Fraction(30000, 1001))
    ]
    timeline = otio_json.Timeline(name="mixed")
    timeline.tracks.append(otio_json.Track(name="V1", children=clips))
    path = tmp_path / "mixed.otio"
    path.write_text(timeline.to_json_string())
    assert bpy.ops.rewas.import_timeline(filepath=str(path)) == {"FINISHED"}
    (note,) = part("blender.exchange_report").last_report().notes
    assert '"30000/1001" and the scene have different frame rates' in note.what
    assert [(strip.name, part("blender.compat").right_handle(strip)) for strip in strips_of(scene.sequence_editor)] == [
        ("24", 25),
        ("30000/1001", 49),
    ]


def test_missing_media_becomes_a_strip_of_the_same_length(scene: Any, ball: Path, tmp_path: Path) -> None:
    compat = part("blender.compat")
    (tmp_path / "old").mkdir()
    strip = add_movie(scene, Path(shutil.copy(ball, tmp_path / "old" / "shot.mp4")), start=10)
    compat.set_handles(strip, 14, 40)
    expected = state_of(scene)
    path = export(tmp_path / "film.otio")
    (tmp_path / "archive" / "reel 1").mkdir(parents=True)
    (tmp_path / "old" / "shot.mp4").rename(tmp_path / "archive" / "reel 1" / "SHOT.mp4")
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.rewas.import_timeline(filepath=str(path))
    (missing,) = strips_of(compat.scene_of(bpy.context).sequence_editor)
    assert (compat.left_handle(missing), compat.right_handle(missing), compat.content_start(missing)) == (14, 40, 10)
    (note,) = part("blender.exchange_report").last_report().notes
    assert "shot.mp4" in note.what
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.rewas.import_timeline(filepath=str(path), search_folder=str(tmp_path / "archive"))
    found = state_of(compat.scene_of(bpy.context))
    assert found.strips[0].files == (str(tmp_path / "archive" / "reel 1" / "SHOT.mp4"),)
    assert found.strips[0].content_frames == expected.strips[0].content_frames


def test_after_an_undo_the_sequencer_shows_the_scene_before(rich_scene: Any, tmp_path: Path) -> None:
    compat = part("blender.compat")
    path = export(tmp_path / "film.otio")
    compat.show_scene(rich_scene)
    before = rich_scene.name
    bpy.ops.ed.undo_push(message="before the import")
    bpy.ops.rewas.import_timeline(filepath=str(path))
    imported = compat.scene_of(bpy.context).name
    assert imported != before
    bpy.ops.ed.undo_push(message="import")
    bpy.ops.ed.undo()
    assert imported not in bpy.data.scenes
    assert compat.shown_scene(bpy.context.window_manager.windows[0]) == bpy.data.scenes[before]


def test_the_name_and_the_option_of_an_export_agree(scene: Any) -> None:
    """The one that the user has changed in the file browser takes effect."""
    operator = part("blender.exchange_operators").REWAS_OT_export_timeline
    export = SimpleNamespace(filepath="/film/cut.otio", include_media=False, _included_media=False)

    def after(**changes: Any) -> tuple[str, bool]:
        vars(export).update(changes)
        while operator.check(export, bpy.context):
            pass
        return export.filepath, export.include_media

    assert after() == ("/film/cut.otio", False)
    assert after(include_media=True) == ("/film/cut.otioz", True)
    assert after(filepath="/film/mix.otio") == ("/film/mix.otio", False)
    assert after(filepath="/film/mix.OTIOZ") == ("/film/mix.otioz", True)
    assert after(filepath="/film/reel 1.5") == ("/film/reel 1.5.otioz", True)
    assert after(include_media=False) == ("/film/reel 1.5.otio", False)
