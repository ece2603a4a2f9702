"""Changes that another program made to the sounds are applied to the strips of the scene."""

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy
import pytest
from arriving_stems import write_silence
from conftest import MAIN_PYTHON, add_movie, part, strips_of
from reaper_projects import as_project
from test_exchange import export, has_sound, state_of, with_takes

pytestmark = has_sound


def import_changes(path: Path, **options: Any) -> Any:
    """Import the changes in a file, and return the report."""
    assert bpy.ops.rewas.import_sound_changes(filepath=str(path), **options) == {"FINISHED"}
    part("blender.links").settle()
    return part("blender.exchange_report").last_report()


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the clips with these names in a file."""
    timeline = json.loads(path.read_text(encoding="utf-8"))
    clips: dict[str, Any] = {}
    for track in timeline["tracks"]["children"]:
        for number, child in enumerate(track["children"]):
            clips[child["name"]] = (track["children"], number)
    change(clips)
    path.write_text(json.dumps(timeline), encoding="utf-8")


def move(clips: dict[str, Any], name: str, frames: float) -> None:
    children, number = clips[name]
    children[number - 1]["source_range"]["duration"]["value"] += frames
    if number + 1 < len(children):
        children[number + 1]["source_range"]["duration"]["value"] -= frames


def place(strip: Any) -> tuple[int, int, int]:
    compat = part("blender.compat")
    return compat.content_start(strip), compat.left_handle(strip), compat.right_handle(strip)


@pytest.fixture
def film(scene: Any, ball: Path, tmp_path: Path) -> Any:
    """A picture with the sounds of two takes, and two production sounds on one channel."""
    compat = part("blender.compat")
    picture = add_movie(scene, ball, channel=5, start=40)
    compat.set_handles(picture, 44, 80)
    with_takes(scene, picture, tmp_path)
    for name, start in (("production", 10), ("music", 100)):
        path = write_silence(tmp_path / "sounds" / f"{name}.wav", 96096)
        strip = strips_of(scene.sequence_editor).new_sound(name, str(path), 1, start)
        compat.set_handles(strip, start, start + 30)
    return scene


def named(scene: Any, part_of_name: str) -> Any:
    (found,) = (strip for strip in strips_of(scene.sequence_editor) if part_of_name in strip.name)
    return found


def test_a_file_without_changes_changes_nothing(film: Any, tmp_path: Path) -> None:
    before = state_of(film)
    report = import_changes(export(tmp_path / "film.otio"))
    assert (report.text, report.details, report.notes) == ("Imported no changes from film.otio", (), ())
    assert state_of(film) == before


def test_moved_muted_and_renamed_sounds_come_back(film: Any, tmp_path: Path) -> None:
    path = export(tmp_path / "film.otio")
    stem = named(film, "primary")
    before, stem_name = place(stem), stem.name
    others = {each.name for each in strips_of(film.sequence_editor)}

    def change(clips: dict[str, Any]) -> None:
        move(clips, stem_name, 6)
        move(clips, "music", -10)
        children, number = clips["production"]
        children[number]["name"], children[number]["enabled"] = "location", False

    edit(path, change)
    report = import_changes(path)
    assert report.text == "Imported 3 changes from film.otio"
    assert set(report.details) == {
        f'The sound "{stem_name}" is 6 frames later.',
        'The sound "music" is 10 frames earlier.',
        'The sound "production" is now named "location" and is muted.',
    }
    assert report.notes == ()
    assert place(named(film, stem_name)) == tuple(frame + 6 for frame in before)
    assert place(named(film, "music")) == (90, 90, 120)
    assert named(film, "location").mute
    assert named(film, "location").channel == named(film, "music").channel == 1
    assert {each.name for each in strips_of(film.sequence_editor)} == (others - {"production"}) | {"location"}
    # The sound has its own place now, and keeps it when its picture moves.
    compat, links = part("blender.compat"), part("blender.links")
    picture = next(strip for strip in strips_of(film.sequence_editor) if strip.type == "MOVIE")
    compat.set_content_start(picture, compat.content_start(picture) + 10)
    links.settle()
    assert place(named(film, stem_name)) == tuple(frame + 16 for frame in before)


def test_sounds_that_change_places_stay_on_their_channel(film: Any, tmp_path: Path) -> None:
    path = export(tmp_path / "film.otio")

    def change(clips: dict[str, Any]) -> None:
        # production goes where music is, and music goes where production is.
        children, first = clips["production"]
        second = clips["music"][1]
        children[first], children[second] = children[second], children[first]

    edit(path, change)
    report = import_changes(path)
    assert len(report.details) == 2
    assert (place(named(film, "production"))[1:], place(named(film, "music"))[1:]) == ((100, 130), (10, 40))
    assert {named(film, name).channel for name in ("production", "music")} == {1}


def test_missing_sounds_are_listed_or_removed(film: Any, tmp_path: Path) -> None:
    path = export(tmp_path / "film.otio")

    def change(clips: dict[str, Any]) -> None:
        children, number = clips["music"]
        del children[number]

    edit(path, change)
    report = import_changes(path)
    assert [str(note) for note in report.notes] == [
        'The file no longer contains the sound "music". Delete the strip, or import again with Remove Missing Sounds '
        "turned on."
    ]
    assert named(film, "music")
    report = import_changes(path, remove_missing=True)
    assert report.details == ('The sound "music" was removed.',)
    assert not any(strip.name == "music" for strip in strips_of(film.sequence_editor))


def test_a_locked_strip_does_not_change(film: Any, tmp_path: Path) -> None:
    path = export(tmp_path / "film.otio")
    named(film, "music").lock = True
    edit(path, lambda clips: move(clips, "music", 5))
    report = import_changes(path)
    assert [note.what for note in report.notes] == ['The strip "music" is locked, so it was not changed.']
    assert place(named(film, "music")) == (100, 100, 130)


def test_a_strip_on_a_locked_channel_does_not_change(film: Any, tmp_path: Path) -> None:
    path = export(tmp_path / "film.otio")
    channel = film.sequence_editor.channels[1]
    channel.name, channel.lock = "Production", True
    edit(path, lambda clips: move(clips, "music", 5))
    report = import_changes(path)
    assert [str(note) for note in report.notes] == [
        'The channel "Production" of the strip "music" is locked, so the strip was not changed. Unlock the channel, '
        "and import again."
    ]
    assert place(named(film, "music")) == (100, 100, 130)


def test_the_file_of_another_film_is_refused(film: Any, tmp_path: Path) -> None:
    path = export(tmp_path / "film.otio")
    other = path.read_text(encoding="utf-8").replace(".wav", " (other).wav")
    path.write_text(other, encoding="utf-8")
    before = state_of(film)
    with pytest.raises(RuntimeError, match=r'film\.otio contains none of the sounds of the scene "Scene"'):
        bpy.ops.rewas.import_sound_changes(filepath=str(path))
    assert state_of(film) == before


def write_project(path: Path, items: list[tuple[str, Path, Fraction, Fraction, str]]) -> Path:
    """Write a REAPER project. items: name, file, position and length in seconds, further lines."""
    blocks = "".join(
        f'<ITEM\nPOSITION {float(position):.15f}\nLENGTH {float(length):.15f}\nNAME "{name}"\n{lines}\n'
        f'<SOURCE WAVE\nFILE "{file}"\n>\n>\n'
        for name, file, position, length, lines in items
    )
    path.write_text(
        f'<REAPER_PROJECT 0.1 "7.11/linux-x86_64" 1\nSAMPLERATE 48000 0 0\n<TRACK {{A}}\nNAME "Mix"\n{blocks}>\n>\n',
        encoding="utf-8",
    )
    return path


def test_a_reaper_project_changes_takes_volume_and_adds_sounds(film: Any, tmp_path: Path) -> None:
    rate, compat = part("blender.strip_reading").scene_rate(film), part("blender.compat")
    start = film.frame_start
    stem = named(film, "primary")
    picture = next(strip for strip in strips_of(film.sequence_editor) if strip.type == "MOVIE")
    second = next(item for item in picture.rewas.takes if item.number == 2)
    file = {role.name: Path(role.path) for role in second.stems}["primary"]
    crash = write_silence(tmp_path / "mix" / "crash.wav", 24024)
    at = lambda frame: Fraction(frame - start) / rate  # noqa: E731
    begins, ends = compat.left_handle(stem), compat.right_handle(stem)
    project = write_project(
        tmp_path / "mix" / "mix.rpp",
        [
            (
                file.name,
                Path(bpy.path.abspath(str(file))),
                at(begins),
                Fraction(ends - begins) / rate,
                "VOLPAN 0.5 0 1 -1",
            ),
            ("crash", Path("crash.wav"), at(70) + Fraction(1, 2) / rate, Fraction(24024, 48000), ""),
        ],
    )
    report = import_changes(project)
    assert report.details == (
        f'The sound "{stem.name}" plays another take and has a volume of -6.0 dB.',
        'The sound "crash" is new, on the channel "Mix".',
    )
    assert part("blender.take_list").active_item(picture).number == 2
    stem = named(film, "primary")
    assert Path(bpy.path.abspath(stem.sound.filepath)).name == file.name
    assert stem.volume == 0.5
    assert (compat.left_handle(stem), compat.right_handle(stem)) == (begins, ends)
    new = named(film, "crash")
    assert Path(bpy.path.abspath(new.sound.filepath)) == crash
    assert place(new) == (70, 70, 83)
    if hasattr(new, "sound_offset"):
        assert new.sound_offset == pytest.approx(float(Fraction(1, 2) / rate), abs=1e-7)
    # The other role and the production sounds are not in the project.
    (note,) = report.notes
    assert note.what.startswith("The file no longer contains the sound")
    assert note.what.endswith("and 2 more.")


def test_a_reaper_project_is_imported_as_a_scene(film: Any, tmp_path: Path) -> None:
    crash = write_silence(tmp_path / "mix" / "crash.wav", 24024)
    project = write_project(tmp_path / "mix" / "mix.rpp", [("crash", crash, Fraction(1), Fraction(1, 2), "MUTE 1 0")])
    assert bpy.ops.rewas.import_timeline(filepath=str(project)) == {"FINISHED"}
    imported = part("blender.compat").scene_of(bpy.context)
    assert (imported.name, named(imported, "crash").mute, place(named(imported, "crash"))) == (
        "mix",
        True,
        (25, 25, 37),
    )


@pytest.mark.skipif(not MAIN_PYTHON.exists(), reason="needs the main environment; `make test` has it")
def test_a_timeline_comes_back_from_reaper_with_its_edits(film: Any, tmp_path: Path) -> None:
    stem, music = named(film, "primary"), named(film, "music")
    stem.volume, music.pan = 0.25, -0.5
    if hasattr(music, "sound_offset"):
        # From Blender 4.5 on, a sound can begin between two frames.
        music.sound_offset = 0.01
    film.frame_start = 10
    part("blender.links").settle()
    before = state_of(film)
    project = as_project(export(tmp_path / "film.otio"))
    report = import_changes(project)
    assert (report.text, report.details, report.notes) == ("Imported no changes from film.rpp", (), ())
    assert state_of(film) == before
    # Half a second later, and the second take.
    lines = project.read_text(encoding="utf-8").splitlines()
    item = max(number for number, line in enumerate(lines[: lines.index(f'NAME "{stem.name}"')]) if line == "<ITEM")
    position = next(number for number in range(item, len(lines)) if lines[number].startswith("POSITION "))
    seconds = Fraction(lines[position].split()[1]) + Fraction(12012, 24000)
    lines[position] = f"POSITION {float(seconds):.12f}"
    take = next(number for number in range(item, len(lines)) if lines[number].startswith("TAKE"))
    lines[take] = "TAKE SEL"
    project.write_text("\n".join(lines), encoding="utf-8")
    report = import_changes(project)
    assert report.details == (f'The sound "{stem.name}" plays another take and is 12 frames later.',)
    assert report.notes == ()


def volume_keys(scene: Any, strip: Any) -> list[tuple[float, float]]:
    """Frame and volume of each keyframe of a strip's volume."""
    curve = part("blender.compat").find_curve(scene, f"{strip.path_from_id()}.volume")
    return [] if curve is None else [(point.co.x, round(point.co.y, 6)) for point in curve.keyframe_points]


def test_fades_of_a_reaper_project_become_keyframes(film: Any, tmp_path: Path) -> None:
    rate, start = part("blender.strip_reading").scene_rate(film), film.frame_start
    music = tmp_path / "sounds" / "music.wav"
    crash = write_silence(tmp_path / "mix" / "crash.wav", 48048)
    lines = f"VOLPAN 0.5 0 1 -1\nFADEIN 1 {float(6 / rate):.12f} 0\nFADEOUT 1 {float(10 / rate):.12f} 0"

    def import_mix(first_frame: int, lines: str) -> Any:
        items = [
            ("music", music, Fraction(first_frame - start) / rate, Fraction(30) / rate, lines),
            ("crash", crash, Fraction(200 - start) / rate, Fraction(20) / rate, lines),
        ]
        return import_changes(write_project(tmp_path / "mix" / "mix.rpp", items))

    report = import_mix(105, lines)
    assert report.details[0] == (
        'The sound "music" is 5 frames later, has a volume of -6.0 dB, fades in over 6 frames and fades out over 10 '
        "frames."
    )
    assert volume_keys(film, named(film, "music")) == [(105, 0), (111, 0.5), (125, 0.5), (135, 0)]
    assert volume_keys(film, named(film, "crash")) == [(200, 0), (206, 0.5), (210, 0.5), (220, 0)]
    assert import_mix(105, lines).details == ()
    film.frame_set(108)
    assert named(film, "music").volume == pytest.approx(0.25)
    # The fades move with the sound, and disappear with those of the project.
    assert import_mix(110, lines).details == ('The sound "music" is 5 frames later.',)
    assert volume_keys(film, named(film, "music"))[0] == (110, 0)
    removed = import_mix(110, "VOLPAN 0.5 0 1 -1\nFADEIN 1 0 0\nFADEOUT 1 0 0")
    assert removed.details == tuple(
        f'The sound "{name}" no longer fades in and no longer fades out.' for name in ("music", "crash")
    )
    assert volume_keys(film, named(film, "music")) == []
    assert named(film, "music").volume == 0.5


@pytest.mark.skipif(not MAIN_PYTHON.exists(), reason="needs the main environment; `make test` has it")
def test_fades_go_to_reaper_and_back(film: Any, tmp_path: Path) -> None:
    faded, level = part("timeline.fades"), part("blender.exchange_building")
    level.set_level(film, named(film, "music"), faded.Level(0.5, faded.Fades(6, 12)))
    path = export(tmp_path / "film.otio")
    before = state_of(film)
    project = as_project(path)
    text = project.read_text(encoding="utf-8")
    assert "FADEIN 1 0.25025 " in text
    assert "FADEOUT 1 0.5005 " in text
    assert import_changes(project).details == ()
    assert state_of(film) == before
    assert bpy.ops.rewas.import_timeline(filepath=str(project)) == {"FINISHED"}
    imported = part("blender.compat").scene_of(bpy.context)
    assert volume_keys(imported, named(imported, "music")) == [(100, 0), (106, 0.5), (118, 0.5), (130, 0)]


def test_a_reaper_project_brings_its_levels_into_a_scene(film: Any, tmp_path: Path) -> None:
    crash = write_silence(tmp_path / "mix" / "crash.wav", 48048)
    lines = "VOLPAN 0.5 -0.25 1 -1\nFADEOUT 1 0.25 0"
    project = write_project(tmp_path / "mix" / "mix.rpp", [("crash", crash, Fraction(1), Fraction(1), lines)])
    assert bpy.ops.rewas.import_timeline(filepath=str(project)) == {"FINISHED"}
    imported = part("blender.compat").scene_of(bpy.context)
    strip = named(imported, "crash")
    assert strip.pan == -0.25
    assert volume_keys(imported, strip) == [(43, 0.5), (49, 0)]
