"""Takes of a strip: choosing, deleting, and takes whose files are gone."""

from pathlib import Path
from typing import Any

import bpy
import pytest
from conftest import add_movie, part
from test_following import generate, settle, sounds_under, where
from test_placing_takes import has_sound

pytestmark = has_sound


@pytest.fixture
def picture(scene: Any, ball: Path) -> Any:
    """A strip with three takes of two stems, of which the first is on the timeline."""
    strip = add_movie(scene, ball)
    generate(scene, strip, takes=3, roles=("primary", "ambience"))
    return strip


def takes_of(strip: Any) -> list[Any]:
    return part("blender.take_list").read_takes(strip)


def playing(scene: Any, strip: Any) -> list[str]:
    return [Path(bpy.path.abspath(sound.sound.filepath)).name for sound in sounds_under(scene, strip)]


def test_another_take_is_chosen_in_place(scene: Any, picture: Any) -> None:
    ambience, primary = sounds_under(scene, picture)
    primary.volume, ambience.mute = 0.5, True
    part("blender.placement").choose_take(scene, picture, takes_of(picture)[1].id)
    assert playing(scene, picture) == ["4f2c-ambience-2.wav", "4f2c-primary-2.wav"]
    assert sounds_under(scene, picture) == [ambience, primary]
    assert (primary.volume, primary.mute, ambience.mute) == (0.5, False, True)
    assert where(primary) == where(picture)
    settle()
    assert picture.rewas.active_take_index == 1
    with pytest.raises(KeyError):
        part("blender.placement").choose_take(scene, picture, "other")


def test_a_take_that_is_chosen_in_a_list_is_shown(scene: Any, picture: Any) -> None:
    picture.rewas.active_take_index = 2
    settle()
    assert playing(scene, picture) == ["4f2c-ambience-3.wav", "4f2c-primary-3.wav"]


def test_a_take_without_an_ambience_keeps_its_volume_for_the_next_one(scene: Any, picture: Any) -> None:
    ambience, _ = sounds_under(scene, picture)
    ambience.volume, ambience.pan = 0.25, 0.75
    generate(scene, picture, "other")
    assert playing(scene, picture) == ["other-primary-1.wav"]
    picture.rewas.active_take_index = 0
    settle()
    ambience, _ = sounds_under(scene, picture)
    assert (ambience.volume, ambience.pan) == (0.25, 0.75)


def test_deleting_takes(scene: Any, picture: Any) -> None:
    placement, takes = part("blender.placement"), takes_of(picture)
    used = part("blender.take_list").used_paths()
    assert {stem.path for take in takes for stem in take.stems} <= used
    assert placement.delete_take(scene, picture, takes[1].id) == takes[1]
    assert playing(scene, picture) == ["4f2c-ambience-1.wav", "4f2c-primary-1.wav"]
    placement.delete_take(scene, picture, takes[0].id)
    assert playing(scene, picture) == ["4f2c-ambience-3.wav", "4f2c-primary-3.wav"]
    assert [take.number for take in takes_of(picture)] == [3]
    placement.delete_take(scene, picture, takes[2].id)
    assert (sounds_under(scene, picture), picture.rewas.active_take_index) == ([], -1)
    settle()
    assert sounds_under(scene, picture) == []
    assert all(stem.path.exists() for take in takes for stem in take.stems)
    generate(scene, picture, "again")
    assert [take.number for take in takes_of(picture)] == [4]


def test_a_take_whose_file_is_gone_is_reported_and_the_sound_stays(scene: Any, picture: Any) -> None:
    takes, links = takes_of(picture), part("blender.links")
    takes[1].stems[0].path.unlink()
    with pytest.raises(part("blender.stem_strips").PlacementError) as raised:
        part("blender.placement").choose_take(scene, picture, takes[1].id)
    assert "4f2c-primary-2.wav" in raised.value.what
    assert playing(scene, picture) == ["4f2c-ambience-1.wav", "4f2c-primary-1.wav"]
    picture.rewas.active_take_index = 1
    settle()
    assert "4f2c-primary-2.wav" in links.problems[picture.rewas.uid].what
    picture.rewas.active_take_index = 2
    settle()
    assert links.problems == {}
    assert playing(scene, picture) == ["4f2c-ambience-3.wav", "4f2c-primary-3.wav"]


def test_a_damaged_take_is_reported_and_stops_no_other_strip(scene: Any, picture: Any, ball: Path) -> None:
    other = add_movie(scene, ball, start=100)
    generate(scene, other, "other")
    picture.rewas.takes[1].record = '{"damaged": true}'
    picture.rewas.active_take_index = 1
    part("blender.compat").set_content_start(other, 200)
    settle()
    assert "cannot be read" in part("blender.links").problems[picture.rewas.uid].what
    assert playing(scene, picture) == ["4f2c-ambience-1.wav", "4f2c-primary-1.wav"]
    assert where(sounds_under(scene, other)[0]) == where(other)


def test_sixteen_jobs_need_one_channel_for_each_role(scene: Any, picture: Any) -> None:
    for number in range(16):
        generate(scene, picture, f"job{number}", roles=("primary", "ambience"))
    assert len(takes_of(picture)) == 19
    assert len(sounds_under(scene, picture)) == 2
    names = {channel.name for channel in scene.sequence_editor.channels}
    assert {name for name in names if not name.startswith("Channel")} == {"primary", "ambience"}


def test_a_stem_leads_to_its_picture(scene: Any, picture: Any) -> None:
    stems = part("blender.stem_strips")
    for sound in sounds_under(scene, picture):
        assert stems.picture_of(scene, sound) == picture
    assert stems.picture_of(scene, picture) == picture
