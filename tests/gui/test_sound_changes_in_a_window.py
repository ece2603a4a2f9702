"""A mix comes back through File > Import > Sound Changes, with mouse and keys. Each test continues where the one before
stopped. What another program does to a file is done here with OpenTimelineIO, or in the text of a REAPER project."""

import shutil
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import opentimelineio as otio
import pytest
import soundfile
from blender_window import BlenderWindow, WindowError

from rewas_server.otio.reading import open_timeline
from rewas_server.otio.writing import write_timeline

REPORT = "part('blender.exchange_report').last_report()"
EXPORT_ENTRY = "opentimelineio with sound (.otio, .otioz)"
STATE = """
compat = part('blender.compat')
def keys(strip):
    curve = compat.find_curve(scene(), strip.path_from_id() + '.volume')
    return [[point.co.x, round(point.co.y, 5)] for point in curve.keyframe_points] if curve else []
def level(strip):
    if strip.type != 'SOUND':
        return []
    return [round(strip.volume, 5), round(strip.pan, 5), strip.sound.filepath, keys(strip)]
result = sorted(
    [strip.name, strip.type, strip.channel, strip.mute, compat.content_start(strip), *ends_of(strip), *level(strip)]
    for strip in strips()
)
"""
"""What is seen and heard of each strip: name, type, channel, mute, start of the content, handles, level and file."""
NAME, MUTE, START, END, KEYS = 0, 3, 5, 6, 10
STEM = "max((strip.frame_final_start, strip.name) for strip in strips() if strip.rewas.stem.owner)[1]"
"""Name of a generated sound with no other one behind it."""
PICTURE = "max((strip.frame_final_start, strip.name) for strip in strips() if strip.type == 'MOVIE')[1]"


@pytest.fixture(scope="module")
def sounds(folder: Path) -> dict[str, Path]:
    """Two location sounds, 3 s long."""
    target = folder / "location"
    target.mkdir()
    times_s = np.arange(3 * 48000) / 48000
    paths = {}
    for name, frequency_hz in (("traffic", 110), ("voice", 330)):
        paths[name] = target / f"{name}.wav"
        soundfile.write(paths[name], 0.2 * np.sin(2 * np.pi * frequency_hz * times_s), 48000)
    return paths


@pytest.fixture
def mixed(window: BlenderWindow) -> Iterator[list[Any]]:
    """The state of the timeline before a test. The test must leave it as it was."""
    before = window.ask(STATE)
    yield before
    assert window.ask(STATE) == before


def strips_by_name(state: list[Any]) -> dict[str, list[Any]]:
    return {strip[NAME]: strip for strip in state}


def scroll_to_timeline_panel(window: BlenderWindow) -> None:
    """Scroll the sidebar to its end. A strip with many takes has a long panel, and from 5.0 an unselected one, too."""
    window.press_over_sidebar("Next", "Next", "Next")


def import_from_menu(window: BlenderWindow, path: Path) -> None:
    window.choose_file_from_menu("sound changes", path)
    wait_for_report(window, "Imported", path)


def wait_for_report(window: BlenderWindow, done: str, path: Path) -> None:
    ended = f"{REPORT} and {REPORT}.text.startswith({done!r}) and {REPORT}.text.endswith({path.name!r})"
    window.wait_until(ended, f"the report on {path.name}", within_s=40)


def export_from_menu(window: BlenderWindow, path: Path) -> None:
    window.choose_file_from_menu(EXPORT_ENTRY, path)
    wait_for_report(window, "Exported", path)


def turn_on(window: BlenderWindow, name: str) -> None:
    """Turn on the first option of the file browser."""
    left, bottom, width, height = window.ask("rectangle('TOOL_PROPS', file_browser())")
    for distance in range(10, 60, 6):
        window.click(left + width * 0.3, bottom + height - distance)
        if window.ask(f"file_browser().spaces.active.active_operator.{name}"):
            return
    raise WindowError(f"The file browser has no option {name}.")


def undo_and_redo(window: BlenderWindow, before: list[Any], picture: str) -> None:
    """One Undo restores everything, and one Redo brings it back."""
    after = window.ask(STATE)
    assert after != before
    window.press_over_timeline("ctrl+z")
    window.wait_until(lambda: window.ask(STATE) == before, "the timeline before the import")
    window.picture(picture)
    window.press_over_timeline("ctrl+shift+z")
    window.wait_until(lambda: window.ask(STATE) == after, "the changes again")
    window.press_over_timeline("ctrl+z")
    window.wait_until(lambda: window.ask(STATE) == before, "the timeline before the import")


def edit(timeline: otio.schema.Timeline, stem: str) -> None:
    """What a mixer does: a sound starts half a second later, one is trimmed and renamed, one is muted."""
    rate = timeline.global_start_time.rate
    for track in timeline.audio_tracks():
        for clip in [item for item in track if isinstance(item, otio.schema.Clip)]:
            start, length = clip.source_range.start_time, clip.source_range.duration
            if clip.name == stem:
                shift = otio.opentime.RationalTime(12, rate)
                lengthen_gap(track, track.index(clip), shift)
                lengthen_gap(track, track.index(clip) + 1, -shift)
            elif clip.name == "voice.wav":
                ten = otio.opentime.RationalTime(10, rate)
                clip.source_range = otio.opentime.TimeRange(start, length - ten)
                clip.name = "voice, take 2"
                lengthen_gap(track, track.index(clip) + 1, ten)
            elif clip.name == "traffic.wav":
                clip.enabled = False


def lengthen_gap(track: otio.schema.Track, number: int, by: otio.opentime.RationalTime) -> None:
    """Lengthen the gap before the item with a number, or the item if it is a gap. A track needs none at its end."""
    if number and isinstance(track[number - 1], otio.schema.Gap):
        number -= 1
    if number == len(track):
        return
    gap = track[number]
    if isinstance(gap, otio.schema.Gap):
        gap.source_range = otio.opentime.TimeRange(gap.source_range.start_time, gap.source_range.duration + by)
    else:
        track.insert(number, otio.schema.Gap(source_range=otio.opentime.TimeRange(by - by, by)))


def assert_edited(window: BlenderWindow, before: list[Any], stem: str) -> None:
    old, new = strips_by_name(before), strips_by_name(window.ask(STATE))
    assert [new[stem][place] - old[stem][place] for place in (START, END)] == [12, 12]
    renamed = new["voice, take 2"]
    assert (renamed[START], renamed[END]) == (old["voice.wav"][START], old["voice.wav"][END] - 10)
    assert new["traffic.wav"][MUTE]
    assert not old["traffic.wav"][MUTE]
    others = old.keys() - {stem, "voice.wav", "traffic.wav"}
    assert all(new[name] == old[name] for name in others)
    assert window.ask(f"[str(note) for note in {REPORT}.notes]") == []
    assert window.ask(f"len({REPORT}.details)") == 3


def test_sounds_are_added(window: BlenderWindow, sounds: dict[str, Path]) -> None:
    window.ask("setattr(bpy.context.preferences.view, 'filebrowser_display_type', 'SCREEN')")
    with_stems = "next(each for each in bpy.data.scenes if any(strip.rewas.stem.owner for strip in strips_of(each)))"
    window.ask(f"part('blender.compat').show_scene({with_stems})")
    window.press_over_timeline("shift+Right")
    for name, path in sounds.items():
        window.choose_in_menu("shift+a", "sound")
        window.choose_file(path)
        window.wait_until(f"[strip for strip in strips() if strip.name == {path.name!r}]", f"the sound {name}")
        # The next sound goes behind this one.
        window.ask(f"scene().frame_set(named({path.name!r}).frame_final_end + 10)")
    window.click(*window.ask(f"point_of_strip({PICTURE})"))
    window.press_over_timeline("Home")
    window.picture("location-sounds")
    # The other panels of a picture would be above this one.
    if not window.is_open("REWAS_PT_export"):
        window.open_panel("REWAS_PT_export")
    left, bottom, width, height = window.ask("rectangle('WINDOW')")
    window.click(left + width * 0.5, bottom + height * 0.9)
    window.wait_until("not [strip for strip in strips() if strip.select]", "no strip to be selected")


def test_changes_of_an_otio_file_are_imported_from_the_menu(
    window: BlenderWindow, folder: Path, mixed: list[Any]
) -> None:
    path, stem = folder / "mix.otio", window.ask(STEM)
    export_from_menu(window, path)
    timeline = otio.adapters.read_from_file(str(path))
    edit(timeline, stem)
    otio.adapters.write_to_file(timeline, str(path))
    import_from_menu(window, path)
    assert_edited(window, mixed, stem)
    scroll_to_timeline_panel(window)
    window.picture("sound-changes")
    undo_and_redo(window, mixed, "sound-changes-undone")


def test_changes_of_an_archive_are_imported_from_the_panel(
    window: BlenderWindow, folder: Path, mixed: list[Any]
) -> None:
    path, stem = folder / "archive" / "mix.otioz", window.ask(STEM)
    path.parent.mkdir()
    scroll_to_timeline_panel(window)
    window.press_button("rewas.export_timeline(")
    window.wait_until("file_browser()", "the file browser to open")
    turn_on(window, "include_media")
    window.picture("include-media", mouse_stays=True)
    window.choose_file(path)
    wait_for_report(window, "Exported", path)
    changed = path.with_name("changed.otioz")
    rewrite_archive(path, changed, lambda timeline: edit(timeline, stem))
    scroll_to_timeline_panel(window)
    window.press_button("rewas.import_sound_changes(")
    window.choose_file(changed)
    wait_for_report(window, "Imported", changed)
    assert_edited(window, mixed, stem)
    # The media is here already, so it is not extracted.
    assert sorted(each.name for each in path.parent.iterdir()) == ["changed.otioz", "mix.otioz"]
    undo_and_redo(window, mixed, "archive-changes-undone")


def rewrite_archive(source: Path, target: Path, change: Callable[[otio.schema.Timeline], None]) -> None:
    with zipfile.ZipFile(source) as read, zipfile.ZipFile(target, "w") as written:
        for member in read.infolist():
            data = read.read(member)
            if member.filename == "content.otio":
                timeline = otio.adapters.read_from_string(data.decode(), "otio_json")
                change(timeline)
                data = otio.adapters.write_to_string(timeline, "otio_json").encode()
            written.writestr(member, data)


def test_changes_of_a_reaper_project_are_imported_from_the_menu(
    window: BlenderWindow, folder: Path, mixed: list[Any]
) -> None:
    project, stem = folder / "mix.rpp", window.ask(STEM)
    # Blender remembers that the media was included, but the file name takes precedence.
    exported = folder / "for-reaper.otio"
    export_from_menu(window, exported)
    write_timeline(open_timeline(exported).timeline, project, source_folder=folder)
    rate = Fraction(*window.ask("(scene().render.fps, 1)"))
    lines = project.read_text(encoding="utf-8").splitlines()
    change_item(lines, stem, POSITION=lambda seconds: seconds + 12 / rate)
    change_item(lines, "voice.wav", LENGTH=lambda seconds: seconds - 10 / rate, FADEOUT=lambda _: 20 / rate)
    rename_item(lines, "voice.wav", "voice, take 2")
    change_item(lines, "traffic.wav", MUTE=lambda _: Fraction(1))
    project.write_text("\n".join(lines) + "\n", encoding="utf-8")
    import_from_menu(window, project)
    assert_edited(window, mixed, stem)
    start, end = strips_by_name(window.ask(STATE))["voice, take 2"][START : END + 1]
    assert strips_by_name(window.ask(STATE))["voice, take 2"][KEYS] == [[end - 20, 1], [end, 0]]
    assert start < end - 20
    window.picture("reaper-changes")
    undo_and_redo(window, mixed, "reaper-changes-undone")


def item_lines(lines: list[str], name: str) -> range:
    """The lines of the item with a name."""
    named = lines.index(f'NAME "{name}"')
    begin = max(number for number in range(named) if lines[number] == "<ITEM")
    end = next((number for number in range(named, len(lines)) if lines[number] == "<ITEM"), len(lines))
    return range(begin, end)


def change_item(lines: list[str], name: str, **changes: Callable[[Fraction], Fraction]) -> None:
    """Change the values of some lines of an item, as REAPER writes them. The length of a fade follows its shape."""
    for word, change in changes.items():
        number = next(each for each in item_lines(lines, name) if lines[each].startswith(f"{word} "))
        words = lines[number].split()
        place = 2 if word.startswith("FADE") else 1
        words[place] = f"{float(change(Fraction(words[place]))):.15g}"
        lines[number] = " ".join(words)


def rename_item(lines: list[str], name: str, new_name: str) -> None:
    number = next(each for each in item_lines(lines, name) if lines[each] == f'NAME "{name}"')
    lines[number] = f'NAME "{new_name}"'


def test_an_archive_is_imported_into_an_empty_scene(window: BlenderWindow, folder: Path, mixed: list[Any]) -> None:
    # On the other computer, the media has another path.
    archive = folder / "other computer" / "film.otioz"
    archive.parent.mkdir()
    shutil.copyfile(folder / "archive" / "mix.otioz", archive)
    scene = window.ask("scene().name")
    window.ask("part('blender.compat').show_scene(bpy.data.scenes.new('Empty'))")
    window.wait_until("scene().name == 'Empty' and not strips()", "the empty scene")
    window.choose_file_from_menu("opentimelineio with sound (.otio, .otioz, .rpp)", archive)
    wait_for_report(window, "Imported", archive)
    window.press_over_timeline("Home")
    window.picture("archive-imported")
    assert window.ask("scene().name") == "Empty"
    imported = window.ask(STATE)
    file = 9
    assert [[*strip[:file], *strip[KEYS:]] for strip in imported] == [[*strip[:file], *strip[KEYS:]] for strip in mixed]
    paths = window.ask("[bpy.path.abspath(strip.sound.filepath) for strip in strips() if strip.type == 'SOUND']")
    assert {Path(path).parent for path in paths} == {archive.with_suffix("") / "media"}
    assert all(Path(path).is_file() for path in paths)
    assert window.ask(f"[str(note) for note in {REPORT}.notes]") == []
    window.ask(f"part('blender.compat').show_scene(bpy.data.scenes[{scene!r}])")
