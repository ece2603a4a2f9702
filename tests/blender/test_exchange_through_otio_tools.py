"""A timeline goes to another computer and through OpenTimelineIO's own tools, and comes back to Blender."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import bpy
import pytest
from conftest import MAIN_PYTHON, ROOT, add_movie, part, strips_of
from test_exchange import export, has_sound, state_of, with_takes

pytestmark = [
    has_sound,
    pytest.mark.skipif(not MAIN_PYTHON.exists(), reason="needs the main environment; `make test` has it"),
]


@pytest.fixture
def film(scene: Any, ball: Path, tmp_path: Path) -> Any:
    """Two pictures, the sounds of two takes of the first one, and a marker, at 24000/1001."""
    project = tmp_path / "project"
    project.mkdir()
    scene.frame_start, scene.frame_end = 1, 200
    first = add_movie(scene, Path(shutil.copy(ball, project / "first.mp4")), channel=5, start=40)
    first.name = "first"
    part("blender.compat").set_handles(first, 44, 80)
    with_takes(scene, first, project)
    second = add_movie(scene, Path(shutil.copy(ball, project / "second.mp4")), channel=5, start=100)
    second.name = "second"
    scene.timeline_markers.new("act 2", frame=100)
    part("blender.links").settle()
    return scene


def run_tool(name: str, *arguments: Any) -> None:
    """Run one of OpenTimelineIO's commands, without the plugins of this project."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [MAIN_PYTHON.with_name(name), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def imported(path: Path, **options: Any) -> Any:
    assert bpy.ops.rewas.import_timeline(filepath=str(path), target="NEW", **options) == {"FINISHED"}
    part("blender.links").settle()
    return part("blender.compat").scene_of(bpy.context)


def notes() -> list[str]:
    return [str(note) for note in part("blender.exchange_report").last_report().notes]


def files_of(scene: Any) -> dict[str, str]:
    """The file of each strip."""
    all_strips = part("timeline.exchanged").all_strips
    return {strip.name: strip.files[0] for strip in all_strips(state_of(scene).strips)}


def assert_same_elsewhere(found: Any, expected: Any, folder: Path) -> None:
    """Compare two scenes strip by strip. All files of the first one are in a folder, with the same names."""
    left, right = state_of(found), expected
    kept = ("kind", "channel", "start_frame", "end_frame", "content_start_frame", "is_muted", "settings", "properties")
    expected_strips = {strip.name: strip for strip in part("timeline.exchanged").all_strips(right.strips)}
    found_strips = {strip.name: strip for strip in part("timeline.exchanged").all_strips(left.strips)}
    assert sorted(found_strips) == sorted(expected_strips)
    for name, strip in expected_strips.items():
        copy = found_strips[name]
        assert {each: getattr(copy, each) for each in kept} == {each: getattr(strip, each) for each in kept}
        assert copy.stem.get("role") == strip.stem.get("role")
        assert [Path(path).name for path in copy.files] == [Path(path).name for path in strip.files]
        assert all(Path(path).is_relative_to(folder) and Path(path).is_file() for path in copy.files)
        takes, copies = ([stored.read() for stored in each.stored_takes] for each in (strip, copy))
        assert [take.id for take in copies] == [take.id for take in takes]
        for stem in (stem for take in copies for stem in take.stems):
            assert stem.path.is_relative_to(folder)
            assert stem.path.is_file()
    assert (left.rate, left.start_frame, left.end_frame) == (right.rate, right.start_frame, right.end_frame)
    assert [(each.name, each.frame) for each in left.markers] == [(each.name, each.frame) for each in right.markers]


def test_an_archive_is_unpacked_elsewhere(film: Any, tmp_path: Path) -> None:
    """The archive is unpacked by hand, and the project is gone, as on another computer."""
    expected = state_of(film)
    archive = export(tmp_path / "film.otioz", include_media=True)
    shutil.unpack_archive(archive, tmp_path / "other computer", "zip")
    (tmp_path / "project").rename(tmp_path / "unreachable")
    found = imported(tmp_path / "other computer" / "content.otio")
    assert notes() == []
    assert_same_elsewhere(found, expected, tmp_path / "other computer" / "media")


def test_an_archive_becomes_a_bundle_and_a_file(film: Any, tmp_path: Path) -> None:
    """otioconvert rewrites all metadata, and puts the media into a folder."""
    expected = state_of(film)
    archive = export(tmp_path / "film.otioz", include_media=True)
    shutil.unpack_archive(archive, tmp_path / "unpacked", "zip")
    run_tool("otioconvert", "-i", tmp_path / "unpacked" / "content.otio", "-o", tmp_path / "unpacked" / "film.otio")
    (tmp_path / "project").rename(tmp_path / "unreachable")
    found = imported(tmp_path / "unpacked" / "film.otio")
    assert notes() == []
    assert_same_elsewhere(found, expected, tmp_path / "unpacked" / "media")


def test_media_that_is_missing_is_named_and_found_again(film: Any, tmp_path: Path) -> None:
    expected = state_of(film)
    path = export(tmp_path / "project" / "film.otio")
    elsewhere = tmp_path / "other computer"
    elsewhere.mkdir()
    shutil.move(path, elsewhere)
    rushes = elsewhere / "rushes" / "day 1"
    rushes.parent.mkdir()
    (tmp_path / "project").rename(rushes)
    found = imported(elsewhere / "film.otio")
    assert [note.split(" is missing")[0] for note in notes()] == [
        f'The media of the strip "{name}"' for name in sorted(files_of(film), key=lambda name: order_of(film, name))
    ]
    places = {strip.name: (strip.channel, strip.start_frame, strip.end_frame) for strip in expected.strips}
    again = {strip.name: (strip.channel, strip.start_frame, strip.end_frame) for strip in state_of(found).strips}
    assert again == places
    found = imported(elsewhere / "film.otio", search_folder=str(elsewhere / "rushes"))
    assert notes() == []
    assert_same_elsewhere(found, expected, rushes)


def order_of(scene: Any, name: str) -> tuple[bool, int]:
    """Audio tracks come after video tracks in the file; within them, the earlier strip comes first."""
    strip = strips_of(scene.sequence_editor)[name]
    return strip.type == "SOUND", strip.channel


def test_a_timeline_is_trimmed_by_otiotool(film: Any, tmp_path: Path) -> None:
    """otiotool cuts the timeline at a time in the first picture. The rest stays in sync and keeps its takes."""
    compat = part("blender.compat")
    path, trimmed = export(tmp_path / "project" / "film.otio"), tmp_path / "project" / "trimmed.otio"
    # Frames 61 to 140. The film starts at frame 1.
    run_tool("otiotool", "--input", path, "--trim", 60 * 1001 / 24000, 140 * 1001 / 24000, "--output", trimmed)
    found = imported(trimmed)
    assert notes() == []
    strips = strips_of(found.sequence_editor)
    before = {strip.name: strip for strip in strips_of(film.sequence_editor)}
    assert sorted(strip.name for strip in strips) == sorted(before)
    shift = {
        compat.right_handle(strip) - compat.right_handle(before[strip.name])
        for strip in strips
        if strip.name != "second"
    }
    assert len(shift) == 1
    for strip in strips:
        assert compat.content_start(strip) == compat.content_start(before[strip.name]) + next(iter(shift)), strip.name
    first = strips["first"]
    assert len(first.rewas.takes) == 2
    stems = part("blender.stem_strips").stems_of(found, first.rewas.uid)
    assert {compat.left_handle(stem) for stem in stems.values()} == {compat.left_handle(first)}
