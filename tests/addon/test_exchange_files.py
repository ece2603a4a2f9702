"""Timeline files on the disk: archives, locations of media, cancelling, and files that must be refused."""

import zipfile
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Any

import opentimelineio as otio
import pytest

from rewas_nle.core import exchange_files, media_locations
from rewas_nle.core.exchange_files import CancelledError, ExchangeError, read_scene, write_scene
from rewas_nle.core.media_locations import MediaFinder, local_path, relative_location
from rewas_nle.timeline.exchanged import ExchangedScene, ExchangedStrip


def scene_with(*files: str, kind: str = "MOVIE") -> ExchangedScene:
    return ExchangedScene("cut", Fraction(24), 1, 10, (ExchangedStrip("a", kind, 1, 1, 4, 1, files=files),))


def media(folder: Path, name: str, data: bytes = b"picture") -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def archive_with(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


EMPTY = otio.schema.Timeline("cut").to_json_string().encode()


def test_an_archive_contains_its_media_and_the_library_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "film"
    images = tuple(media(folder / "shots", f"s.{number:03d}.png", bytes([number])) for number in (1, 2, 3))
    strips = (
        ExchangedStrip("a", "MOVIE", 1, 1, 4, 1, files=(media(folder / "one", "x.mov", b"1"),)),
        ExchangedStrip("b", "MOVIE", 1, 4, 7, 4, files=(media(folder / "two", "X.mov", b"22"),)),
        ExchangedStrip("c", "IMAGE", 2, 1, 4, 1, files=images),
        ExchangedStrip("d", "SOUND", 3, 1, 4, 1, files=(str(folder / "gone.wav"),)),
    )
    path = tmp_path / "film.otioz"
    notes = write_scene(ExchangedScene("cut", Fraction(24), 1, 10, strips), path)
    assert [note.what for note in notes] == [
        f"The file {folder / 'gone.wav'} is missing, so the archive does not contain it."
    ]
    timeline = otio.adapters.read_from_file(str(path))
    assert [clip.media_reference.target_url for clip in timeline.tracks[0]] == ["media/x.mov", "media/X 2.mov"]
    folder.rename(tmp_path / "gone")
    path.rename(tmp_path / "sent.otioz")
    read = read_scene(tmp_path / "sent.otioz")
    found = {strip.name: strip.files for strip in read.scene.strips}
    assert read.extracted == tmp_path / "sent"
    assert [Path(path).read_bytes() for name in "abc" for path in found[name]] == [b"1", b"22", b"\1", b"\2", b"\3"]
    assert "gone.wav" in read.notes[0].what
    # A second import does not touch the files of the first.
    assert read_scene(tmp_path / "sent.otioz").extracted == tmp_path / "sent 2"


@pytest.mark.parametrize("name", ["media/../../evil.mov", "media/..\\evil.mov", "media/C:evil.mov"])
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    path = archive_with(tmp_path / "cut.otioz", {"content.otio": EMPTY, name: b"x"})
    with pytest.raises(ExchangeError, match="unsafe name"):
        read_scene(path)
    assert list(tmp_path.iterdir()) == [path]


def test_links_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.otioz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("content.otio", EMPTY)
        link = zipfile.ZipInfo("media/link.mov")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ExchangeError, match="unsafe name"):
        read_scene(path)


def test_archives_that_would_fill_the_disk_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {"content.otio": EMPTY, "media/zeros.mov": bytes(10_000_000)}
    path = archive_with(tmp_path / "cut.otioz", members, zipfile.ZIP_DEFLATED)
    with pytest.raises(ExchangeError, match="times its size"):
        read_scene(path)
    monkeypatch.setattr(exchange_files, "_MAX_RATIO", 10**6)
    monkeypatch.setattr(exchange_files, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(ExchangeError, match="MB are free"):
        read_scene(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("members", "reason"),
    [({}, "contains no timeline"), ({"content.otio": b"{"}, "It is not JSON"), (None, "is damaged")],
)
def test_damaged_archives_are_refused_and_leave_no_folder(tmp_path: Path, members: Any, reason: str) -> None:
    path = tmp_path / "cut.otioz"
    if members is None:
        path.write_bytes(b"PK\x03\x04 not a zip file")
    else:
        archive_with(path, {**members, "media/a.mov": b"x"})
    with pytest.raises(ExchangeError, match=reason):
        read_scene(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xfe\x00binary", "is not an OpenTimelineIO file or REAPER project"),
        (b"[" * 100_000, "nested too deeply|not JSON"),
        (b'{"OTIO_SCHEMA": "MissingReference.1"}', "contains no timeline"),
        (b"7", "contains no timeline"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "cut.otio"
    path.write_bytes(data)
    with pytest.raises(ExchangeError, match=reason):
        read_scene(path)


def test_cancelling_leaves_nothing_behind(tmp_path: Path) -> None:
    cancelled = Event()
    cancelled.set()
    path = tmp_path / "out" / "film.otioz"
    path.parent.mkdir()
    scene = scene_with(media(tmp_path, "a.mov"))
    with pytest.raises(CancelledError):
        write_scene(scene, path, cancelled=cancelled)
    assert list(path.parent.iterdir()) == []
    write_scene(scene, path)
    with pytest.raises(CancelledError):
        read_scene(path, cancelled=cancelled)
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_export_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "film.otio"
    path.write_text("old")

    def fail(self: Path, *_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(ExchangeError, match="No space left on device"):
        write_scene(scene_with(str(tmp_path / "a.mov")), path)
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])


def test_paths_are_relative_unless_absolute_ones_are_requested(tmp_path: Path) -> None:
    scene = scene_with(media(tmp_path / "media", "växjö 100%.mov"))
    for relative, expected in ((True, "../media/växjö 100%.mov"), (False, scene.strips[0].files[0])):
        path = tmp_path / "cuts" / f"{relative}.otio"
        path.parent.mkdir(exist_ok=True)
        write_scene(scene, path, relative=relative)
        timeline = otio.adapters.read_from_file(str(path))
        assert timeline.tracks[0][0].media_reference.target_url == expected
        assert read_scene(path).scene.strips[0].files == scene.strips[0].files


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("file:///a/b%20c.mov", "/a/b c.mov"),
        ("file://localhost/a/b.mov", "/a/b.mov"),
        ("file:///C:/a/b.mov", "C:/a/b.mov"),
        ("file://nas/share/b.mov", "//nas/share/b.mov"),
        ("C:\\a\\b.mov", "C:/a/b.mov"),
        ("\\\\nas\\share\\b.mov", "//nas/share/b.mov"),
        ("a/b%20c.mov", "a/b%20c.mov"),
        ("/a/100%.mov", "/a/100%.mov"),
    ],
)
def test_locations_in_every_style(location: str, path: str) -> None:
    assert local_path(location) == path


def test_media_is_found_where_it_has_moved_to(tmp_path: Path) -> None:
    here = media(tmp_path / "cut", "b c.mov")
    near = media(tmp_path / "archive" / "reel 2", "Shot.MOV")
    media(tmp_path / "archive" / "reel 1", "Shot.MOV")
    finder = MediaFinder(tmp_path / "cut", [tmp_path / "archive"])
    assert finder.locate("b%20c.mov") == here
    assert finder.locate("C:\\old\\b c.mov") == here
    assert finder.locate("D:\\film\\reel 2\\shot.mov") == near
    assert finder.locate("file:///film/reel%202/shot.mov") == near
    assert finder.locate("/nowhere/else.mov") == "/nowhere/else.mov"
    assert finder.locate("bad\0name") == ""
    assert relative_location(near, tmp_path / "cut") == "../archive/reel 2/Shot.MOV"


def test_a_moved_folder_of_images_is_found(tmp_path: Path) -> None:
    media(tmp_path / "archive" / "Reel 2" / "shot", "s.0001.png")
    finder = MediaFinder(tmp_path / "cut", [tmp_path / "archive"])
    assert finder.locate("file:///film/reel%202/shot") == str(tmp_path / "archive" / "Reel 2" / "shot")


def test_the_remedy_of_a_refusal_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "bin.otio"
    path.write_text(
        otio.schema.SerializableCollection(
            "bin", [otio.schema.Timeline("one"), otio.schema.Timeline("two")]
        ).to_json_string()
    )
    with pytest.raises(ExchangeError) as refused:
        read_scene(path)
    assert refused.value.what == 'bin.otio cannot be imported. It contains 2 timelines ("one", "two").'
    assert refused.value.remedy == "Enter one of these names under Timeline."
    path.write_text("{")
    with pytest.raises(ExchangeError) as refused:
        read_scene(path)
    assert refused.value.remedy == "Export it again in the program that wrote it."


@pytest.mark.parametrize(
    ("gone", "reported"),
    [
        ((), ""),
        ((2,), '1 of 5 images of the strip "a" is missing ({folder}/s.002.png).'),
        ((3, 5), '2 of 5 images of the strip "a" are missing ({folder}/s.003.png and 1 more).'),
        ((1, 2, 3, 4, 5), '5 of 5 images of the strip "a" are missing ({folder}/s.001.png and 4 more).'),
    ],
)
def test_each_missing_image_of_a_sequence_is_counted(tmp_path: Path, gone: tuple[int, ...], reported: str) -> None:
    folder = tmp_path / "shots"
    images = [media(folder, f"s.{number:03d}.png") for number in range(1, 6)]
    write_scene(scene_with(*images, kind="IMAGE"), tmp_path / "cut.otio")
    for number in gone:
        Path(images[number - 1]).unlink()
    notes = [note.what for note in read_scene(tmp_path / "cut.otio").notes]
    assert notes == ([reported.format(folder=folder)] if reported else [])


def test_strips_that_miss_the_same_file_are_reported_together(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    strips = tuple(
        ExchangedStrip(name, "MOVIE", number, 1, 4, 1, files=(str(tmp_path / "x.mov"),))
        for number, name in enumerate(names, 1)
    )
    write_scene(ExchangedScene("cut", Fraction(24), 1, 10, strips), tmp_path / "cut.otio")
    (note,) = read_scene(tmp_path / "cut.otio").notes
    assert note.what == f'The media of the strip "a" and 2 more is missing ({tmp_path / "x.mov"}).'


def test_a_search_that_stops_early_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "archive"
    for number in range(4):
        media(archive / f"reel {number}", f"{number}.mov")
    write_scene(scene_with(str(tmp_path / "3.mov")), tmp_path / "cut.otio")
    assert len(read_scene(tmp_path / "cut.otio", search=(archive,)).notes) == 0
    monkeypatch.setattr(media_locations, "_MAX_SEARCHED_FILES", 3)
    *_, stopped = read_scene(tmp_path / "cut.otio", search=(archive,)).notes
    assert stopped.what.startswith(f"The search in {archive} stopped after 3 files")
    assert "Search Folder" in stopped.remedy
    # Without missing media, there is no search.
    media(tmp_path, "3.mov")
    assert read_scene(tmp_path / "cut.otio", search=(archive,)).notes == ()
