"""Linking the clips of a timeline to files: where the files are, how they are named, and which time counts."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import opentimelineio as otio
import pytest
import soundfile

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_engine import VideoClip
from rewas_engine.media.facts import MediaFacts, read_media_facts
from rewas_server.files.media import MediaLibrary
from rewas_server.otio import media_links, media_search
from rewas_server.otio.clips import read_clip_source
from rewas_server.otio.media_links import (
    MediaLink,
    MediaResolver,
    ResolvedMedia,
    ResolveOptions,
    link_found_media,
    resolve_media,
)
from rewas_server.otio.media_search import PathMap, parse_path_map, plain_path
from rewas_server.work.requests import ClipRequest, parse_request, parse_timeline_request
from rewas_server.work.timeline import plan_timeline


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with n24.mp4 and tc.mov: 5 s at 24 fps, the second one from 00:00:02:00 on."""
    folder = tmp_path_factory.mktemp("media")
    write_media(folder / "n24.mp4")
    write_media(folder / "tc.mov", timecode="00:00:02:00")
    return folder


def write_media(
    path: Path, *, timecode: str = "", rate: Fraction | int = 24, frames: int = 120, codec: str = "mpeg4"
) -> Path:
    """Write a small video, with a timecode as its container stores it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv422p" if codec == "mjpeg" else "yuv420p"
        if codec == "mpeg2video":
            stream.width, stream.height = 320, 240
        if path.suffix in (".ts", ".mpg"):
            stream.options = {"gop_timecode": timecode or "00:00:00:00"}
        if timecode:
            (container if path.suffix in (".mkv", ".avi") else stream).metadata["timecode"] = timecode
        shape = (stream.height, stream.width)
        for number in range(frames):
            image = av.VideoFrame.from_ndarray(np.full(shape, number % 200 + 20, np.uint8), format="gray")
            container.mux(stream.encode(image.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    settle(path)
    return path


def settle(path: Path) -> None:
    """Make a file look as if it was written long ago."""
    os.utime(path, (1e9, 1e9))


def span(start: float, frames: float, rate: float = 24) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(frames, rate))


def make_clip(
    url: str | Path | None,
    start: float = 0,
    frames: float = 24,
    *,
    available: otio.opentime.TimeRange | None = None,
    rate: float = 24,
) -> otio.schema.Clip:
    reference = otio.schema.MissingReference()
    if url is not None:
        reference = otio.schema.ExternalReference(target_url=str(url), available_range=available)
    return otio.schema.Clip(name="shot", media_reference=reference, source_range=span(start, frames, rate))


def resolve(folder: Path, *clips: otio.schema.Clip, **options: object) -> ResolvedMedia:
    timeline = otio.schema.Timeline(name="reel")
    track = otio.schema.Track(kind=otio.schema.TrackKind.Video)
    track.extend(clips)
    timeline.tracks.append(track)
    before = timeline.to_json_string()
    resolved = resolve_media(timeline, ResolveOptions(folder, **options))
    assert timeline.to_json_string() == before
    return resolved


def link_one(folder: Path, clip: otio.schema.Clip, **options: object) -> tuple[MediaLink, otio.schema.Clip]:
    resolved = resolve(folder, clip, **options)
    return resolved.links[0, 0], resolved.timeline.tracks[0][0]


def starts_at(folder: Path, clip: otio.schema.Clip, **options: object) -> tuple[Fraction, tuple[str, ...]]:
    """Where a clip begins in its file, and the notes on it."""
    link, linked = link_one(folder, clip, **options)
    assert link.problem is None, link.problem
    return read_clip_source(linked).start_s, link.notes


# Which time counts


def test_a_start_at_or_after_the_timecode_of_the_media_is_timecode(media: Path) -> None:
    assert starts_at(media, make_clip("tc.mov", 48 + 12)) == (
        Fraction(1, 2),
        (
            "Its source range was read by the timecode of the media, which begins at 00:00:02:00. "
            "It would also fit as time in the file.",
        ),
    )
    assert starts_at(media, make_clip("tc.mov", 48 + 96)) == (4, ())
    assert starts_at(media, make_clip("tc.mov", 24))[0] == 1
    assert "begins before the timecode of the media" in starts_at(media, make_clip("tc.mov", 24))[1][0]
    assert starts_at(media, make_clip("n24.mp4", 24)) == (1, ())


@pytest.mark.parametrize(
    ("name", "label", "rate", "codec"),
    [
        ("a.mov", "01:00:00:00", Fraction(24), "mpeg4"),
        ("a.mov", "01:00:00:00", Fraction(24_000, 1001), "mpeg4"),
        ("a.mov", "01:00:00;02", Fraction(30_000, 1001), "mpeg4"),
        ("a.mov", "01:00:00:00", Fraction(30_000, 1001), "mpeg4"),
        ("a.mp4", "10:59:59;28", Fraction(60_000, 1001), "mpeg4"),
        ("a.mxf", "10:00:00:00", Fraction(25), "mpeg2video"),
        ("a.mkv", "10:00:00:00", Fraction(25), "mpeg4"),
        ("a.mkv", "23:00:01;18", Fraction(30_000, 1001), "mpeg4"),
        ("a.avi", "10:00:00:00", Fraction(25), "mpeg4"),
        ("a.ts", "10:00:00:00", Fraction(25), "mpeg2video"),
        ("a.ts", "01:00:00;02", Fraction(30_000, 1001), "mpeg2video"),
        ("a.mpg", "10:00:00:00", Fraction(25), "mpeg2video"),
    ],
    ids=str,
)
def test_the_timecode_of_each_container_counts(
    name: str, label: str, rate: Fraction, codec: str, tmp_path: Path
) -> None:
    write_media(tmp_path / name, timecode=label, rate=rate, frames=90, codec=codec)
    # OTIO counts drop-frame timecode independently.
    begin = otio.opentime.from_timecode(label, float(rate)).value
    for offset in (0, 1, 60):
        start_s, _ = starts_at(tmp_path, make_clip(name, begin + offset, 24, rate=float(rate)))
        assert start_s == offset / rate
    link, clip = link_one(tmp_path, make_clip(name, begin + 80, 24, rate=float(rate)))
    assert link.problem is None
    with pytest.raises(ProblemError, match=r"of its media, which spans"):
        read_clip_source(clip)


def test_the_samples_of_a_broadcast_wave_file_count(tmp_path: Path) -> None:
    path = tmp_path / "voice.wav"
    soundfile.write(path, np.zeros(48_000, np.float32), 48_000, subtype="PCM_24")
    bext = bytearray(602)
    bext[338:346] = (3600 * 48_000).to_bytes(8, "little")
    whole = path.read_bytes()
    content = whole[12:] + b"bext" + len(bext).to_bytes(4, "little") + bext
    path.write_bytes(b"RIFF" + (4 + len(content)).to_bytes(4, "little") + b"WAVE" + content)
    settle(path)
    assert starts_at(tmp_path, make_clip(path, 3600 * 48_000 + 12_000, 24_000, rate=48_000))[0] == Fraction(1, 4)


def test_media_at_24000_1001_in_a_timeline_at_24_are_matched_by_their_labels(tmp_path: Path) -> None:
    write_media(tmp_path / "a.mov", timecode="01:00:00:00", rate=Fraction(24_000, 1001))
    start_s, notes = starts_at(tmp_path, make_clip("a.mov", 86_400 + 24))
    assert start_s == 1
    assert notes == ("It counts 24 frames per second, but its media 23.976.",)


def test_a_recording_past_midnight_is_followed(tmp_path: Path) -> None:
    write_media(tmp_path / "a.mov", timecode="23:59:58:00")
    assert starts_at(tmp_path, make_clip("a.mov", 86_399 * 24))[0] == 1
    start_s, notes = starts_at(tmp_path, make_clip("a.mov", 24))
    assert start_s == 3
    assert "It would also fit as time in the file." in notes[0]
    write_media(tmp_path / "b.mov", timecode="23:59:50:00")
    assert starts_at(tmp_path, make_clip("b.mov", 24))[0] == 1


def test_a_stated_range_wins_over_the_timecode_and_is_noted(media: Path) -> None:
    assert starts_at(media, make_clip("tc.mov", 60, available=span(48, 120))) == (Fraction(1, 2), ())
    start_s, notes = starts_at(media, make_clip("tc.mov", 60, available=span(0, 120)))
    assert start_s == Fraction(5, 2)
    assert notes == (
        "It was read by its available range, which begins at 00:00:00:00, and not by the timecode of the media, which "
        "begins at 00:00:02:00.",
    )
    start_s, notes = starts_at(media, make_clip("tc.mov", 144, available=span(0, 120)))
    assert start_s == 4
    assert "lies outside its available range, and was read by the timecode of the media" in notes[0]
    start_s, notes = starts_at(media, make_clip("n24.mp4", 24, available=span(86_400, 120)))
    assert (start_s, notes) == (
        1,
        ("Its source range lies outside its available range, and was read as time in the file.",),
    )


def test_the_length_of_the_file_counts_and_not_the_stated_one(media: Path) -> None:
    link, clip = link_one(media, make_clip("n24.mp4", 96, 48, available=span(0, 9999)))
    assert link.problem is None
    with pytest.raises(ProblemError, match="spans 00:00:00:00 to 00:00:05:00"):
        read_clip_source(clip)


def test_a_retimed_range_is_compared_as_it_is_shown(media: Path) -> None:
    clip = make_clip("tc.mov", 48, 60)
    clip.effects.append(otio.schema.LinearTimeWarp(time_scalar=2))
    assert starts_at(media, clip)[0] == 0
    frozen = make_clip("tc.mov", 48 + 119, 2400)
    frozen.effects.append(otio.schema.FreezeFrame())
    assert starts_at(media, frozen)[0] == Fraction(119, 24)


def test_a_clip_without_a_range_shows_all_of_its_media(media: Path) -> None:
    clip = make_clip("tc.mov")
    clip.source_range = None
    _, linked = link_one(media, clip)
    source = read_clip_source(linked)
    assert (source.start_s, source.duration_s, source.timecode_s) == (0, 5, 2)


# Where the media is


def spellings(path: Path) -> Iterator[str]:
    yield str(path)
    yield path.as_uri()
    yield f"file://localhost{path}"
    yield f"file:{path}"
    yield path.as_uri().replace("file:", "FILE:")


def test_a_file_is_found_by_every_spelling_of_its_location(tmp_path: Path) -> None:
    folder = tmp_path / "Dän 100%20 #1"
    write_media(folder / "shot é?.mov")
    for spelling in spellings(folder / "shot é?.mov"):
        link, clip = link_one(tmp_path, make_clip(spelling))
        assert (link.path, link.change) == (folder / "shot é?.mov", ""), spelling
        assert clip.media_reference.target_url == str(link.path)
    for relative in (
        "Dän 100%20 #1/shot é?.mov",
        "D%C3%A4n%20100%2520%20%231/shot%20%C3%A9%3F.mov",
        unicodedata.normalize("NFD", "Dän 100%20 #1/shot é?.mov"),
        "dän 100%20 #1/SHOT É?.MOV",
        "./other/../Dän 100%20 #1/shot é?.mov",
    ):
        link, _ = link_one(tmp_path, make_clip(relative))
        assert (link.path, link.change) == (folder / "shot é?.mov", "relative"), relative


def test_between_names_that_differ_only_in_case_nothing_is_guessed(tmp_path: Path) -> None:
    for name in ("SHOT.mov", "Shot.mov"):
        write_media(tmp_path / name)
    if len([*tmp_path.iterdir()]) < 2:
        pytest.skip("This file system ignores case.")
    assert link_one(tmp_path, make_clip("SHOT.mov"))[0].path == tmp_path / "SHOT.mov"
    assert "does not exist" in link_one(tmp_path, make_clip("shot.mov"))[0].problem.what


MAPS = {
    r"X:\Media": [
        "X:\\Media\\a\\n24.mp4",
        "x:/media/a/n24.mp4",
        "file:///X:/Media/a/n24.mp4",
        "file://X:/Media/a/n24.mp4",
    ],
    r"\\server\share": [
        "\\\\server\\share\\a\\n24.mp4",
        "//SERVER/share/a/n24.mp4",
        "file://server/share/a/n24.mp4",
        "file:////server/share/a/n24.mp4",
    ],
    "/Volumes/My Media": ["/Volumes/My Media/a/n24.mp4", "file:///Volumes/My%20Media/a/n24.mp4"],
    "file://server/share/": ["//server/share/a/n24.mp4"],
    "https://media.example/films": ["https://media.example/films/a/n24.mp4"],
}


@pytest.mark.parametrize("prefix", MAPS)
def test_a_path_map_leads_to_the_folder_here(prefix: str, tmp_path: Path) -> None:
    write_media(tmp_path / "mnt" / "a" / "n24.mp4")
    path_map = parse_path_map(f"{prefix}={tmp_path / 'mnt'}")
    for location in MAPS[prefix]:
        link, _ = link_one(tmp_path, make_clip(location), path_maps=(path_map,))
        assert (link.path, link.change, link.location) == (tmp_path / "mnt" / "a" / "n24.mp4", "mapped", location)
        link, _ = link_one(tmp_path, make_clip(location.replace("a/n24", "ab/n24").replace("a\\n24", "ab\\n24")))
        assert link.problem is not None
        assert link.problem.kind is ProblemKind.MEDIA
        assert "--path-map" in link.problem.remedy


def test_a_path_map_ends_at_the_border_of_a_folder(tmp_path: Path) -> None:
    write_media(tmp_path / "short" / "b" / "a.mov")
    write_media(tmp_path / "long" / "a.mov")
    maps = (PathMap("X:/m", tmp_path / "short"), PathMap("X:/m/b", tmp_path / "long"))
    assert link_one(tmp_path, make_clip("X:/m/b/a.mov"), path_maps=maps)[0].path == tmp_path / "long" / "a.mov"
    assert link_one(tmp_path, make_clip("X:/m/bb/a.mov"), path_maps=maps)[0].path is None
    assert link_one(tmp_path, make_clip("X:/mb/a.mov"), path_maps=maps)[0].path is None


@pytest.mark.parametrize("text", ["", "X:/Media", "=/tmp", "X:/Media=", "X:/Media=/no/such/folder"])
def test_a_path_map_that_leads_nowhere_is_refused(text: str) -> None:
    with pytest.raises(ProblemError, match="path map") as caught:
        parse_path_map(text)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/a/b c.mov", "/a/b c.mov"),
        ("file:///a/b%20c.mov", "/a/b c.mov"),
        ("a/b.mov", "a/b.mov"),
        ("..\\a\\b.mov", "../a/b.mov"),
        ("s3://bucket/a%20b.mov", "s3://bucket/a%20b.mov"),
        ("take:1.mov", "take:1.mov"),
    ],
)
def test_locations_are_read_as_paths(location: str, path: str) -> None:
    assert plain_path(location) == path


@pytest.mark.skipif(sys.platform == "win32", reason="These are paths of Windows.")
@pytest.mark.parametrize(
    ("location", "what", "remedy"),
    [
        ("file:///X:/Films/a.mov", "is a path of another machine", "--path-map 'X:/Films=/mnt/media'"),
        ("\\\\nas\\films\\day\\a.mov", "is a path of another machine", "--path-map '//nas/films=/mnt/media'"),
        ("https://films.example/a.mov", "is not a file on this machine", "--path-map"),
        ("/no/such/a.mov", "The media file /no/such/a.mov does not exist", "--search-folder"),
        (None, "is not linked to a media file", "--search-folder"),
        ("x" * 5000, "does not exist", "--search-folder"),
        ("a\0b.mov", "does not exist", "--search-folder"),
    ],
    ids=str,
)
def test_missing_media_gives_a_problem_with_a_remedy(location: str | None, what: str, remedy: str, media: Path) -> None:
    resolved = resolve(media, make_clip(location), make_clip("n24.mp4"))
    problem = resolved.problem((0, 0))
    assert problem is not None
    assert problem.what.startswith('The clip "shot"')
    assert what in problem.what
    assert remedy in problem.remedy
    assert len(problem.what) < 400
    assert resolved.problem((0, 1)) is None


def test_an_unreadable_file_affects_only_its_clip(media: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mov").touch()
    (tmp_path / "list.mov").write_text("milk, eggs\n" * 100, "utf-8")
    whole = (media / "n24.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "folder.mov").mkdir()
    names = ["empty.mov", "list.mov", "half.mp4", "folder.mov"]
    resolved = resolve(tmp_path, *(make_clip(name) for name in names), make_clip(media / "n24.mp4"))
    problems = [resolved.problem((0, index)) for index in range(5)]
    assert problems[4] is None
    for name, problem, what in zip(
        names, problems[:4], ("because it is empty", "cannot be read", "cannot be read", "does not exist"), strict=True
    ):
        assert problem is not None
        assert 'The clip "shot"' in problem.what
        assert name in problem.what
        assert what in problem.what


def test_a_file_that_breaks_off_or_grows_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=24, options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        images = np.random.default_rng(0).integers(0, 255, (240, 64, 64), np.uint8)
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="gray").reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    link, clip = link_one(tmp_path, make_clip("a.mp4", 0, 24))
    assert link.notes[0].startswith("a.mp4 was written a moment ago")
    settle(path)
    link, clip = link_one(tmp_path, make_clip("a.mp4", 0, 24))
    assert link.notes[0].startswith("a.mp4 breaks off ")
    assert 3 < read_clip_source(clip).media_length_s < 8
    _, past = link_one(tmp_path, make_clip("a.mp4", 200, 24))
    with pytest.raises(ProblemError, match="of its media, which spans"):
        read_clip_source(past)


# Relinking


def test_missing_media_is_found_by_name_in_the_searched_folders(tmp_path: Path) -> None:
    write_media(tmp_path / "disk" / "day 1" / "roll" / "A001.MOV")
    link, clip = link_one(tmp_path, make_clip("/gone/a001.mov", 12), search_folders=(tmp_path / "disk",))
    assert (link.path, link.change) == (tmp_path / "disk" / "day 1" / "roll" / "A001.MOV", "relinked")
    assert "found by name" in link.notes[0]
    assert read_clip_source(clip).start_s == Fraction(1, 2)
    for location in ("X:\\gone\\A001.mov", "https://example.org/A001.mov", "A001.mov"):
        assert link_one(tmp_path, make_clip(location), search_folders=(tmp_path / "disk",))[0].path == link.path


def test_a_search_that_ends_early_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / "disk").mkdir(exist_ok=True)
        (tmp_path / "disk" / f"{number}.txt").touch()
    monkeypatch.setattr(media_search, "MAX_SEARCHED_FILES", 4)
    resolver = MediaResolver(ResolveOptions(tmp_path, search_folders=(tmp_path / "disk",)))
    link = resolver.link(make_clip("lost.mov", 0))
    assert link.problem is not None
    assert "Search a smaller folder (the search stopped after" in link.problem.remedy


def test_files_of_one_name_are_told_apart_by_timecode_then_by_folder(tmp_path: Path) -> None:
    search = {"search_folders": (tmp_path / "disk",)}
    one = write_media(tmp_path / "disk" / "day1" / "A.mov", timecode="01:00:00:00")
    two = write_media(tmp_path / "disk" / "day2" / "A.mov", timecode="02:00:00:00")
    assert link_one(tmp_path, make_clip("/gone/A.mov", 86_400 + 10), **search)[0].path == one
    assert link_one(tmp_path, make_clip("/gone/A.mov", 2 * 86_400 + 10), **search)[0].path == two
    available = span(2 * 86_400, 120)
    assert link_one(tmp_path, make_clip("/x/A.mov", 172_805, available=available), **search)[0].path == two
    # Both fit: the folder decides, and without it the clip is refused.
    assert link_one(tmp_path, make_clip("/gone/day1/A.mov", 10), **search)[0].path == one
    assert link_one(tmp_path, make_clip("D:\\DAY2\\A.mov", 10), **search)[0].path == two
    problem = link_one(tmp_path, make_clip("/gone/A.mov", 10), **search)[0].problem
    assert problem is not None
    assert problem.what == f'The clip "shot" fits 2 files named A.mov: {one} and {two}.'
    assert "Search only the folder" in problem.remedy


def test_a_transcode_with_another_extension_must_hold_the_range(tmp_path: Path) -> None:
    search = {"search_folders": (tmp_path / "disk",)}
    path = write_media(tmp_path / "disk" / "A001.mov", timecode="01:00:00:00")
    assert link_one(tmp_path, make_clip("/gone/A001.MXF", 86_424), **search)[0].path == path
    assert link_one(tmp_path, make_clip("/gone/A001.MXF", 5 * 86_400), **search)[0].problem is not None


def test_a_clip_without_a_file_is_linked_by_its_reel_or_name(tmp_path: Path) -> None:
    path = write_media(tmp_path / "disk" / "A001C003.mov", timecode="10:00:00:00")
    for metadata in ({"cmx_3600": {"reel": "A001C003"}}, {"ALE": {"Source File": "A001C003.mov"}}, {}):
        clip = make_clip(None, 864_012)
        clip.name = "A001C003" if not metadata else "Close on hands"
        for key, value in metadata.items():
            clip.metadata[key] = value
        link, linked = link_one(tmp_path, clip, search_folders=(tmp_path / "disk",))
        assert (link.path, link.change) == (path, "relinked")
        assert read_clip_source(linked).start_s == Fraction(1, 2)
    assert "is not linked" in link_one(tmp_path, make_clip(None), search_folders=(tmp_path,))[0].problem.what


def test_another_reference_replaces_missing_media_and_is_named(media: Path) -> None:
    clip = make_clip("/gone/camera.mxf", 86_424, available=span(86_400, 120))
    clip.set_media_references(
        {"DEFAULT_MEDIA": clip.media_reference.clone(), "low": otio.schema.ExternalReference(str(media / "n24.mp4"))},
        "DEFAULT_MEDIA",
    )
    link, linked = link_one(media, clip)
    assert (link.path, link.change) == (media / "n24.mp4", "other reference")
    assert link.notes == ('camera.mxf is missing, so its media reference "low" (n24.mp4) is used.',)
    # The proxy has no timecode, but its original does.
    assert read_clip_source(linked).start_s == 1
    clip.set_media_references({**clip.media_references(), "DEFAULT_MEDIA": otio.schema.GeneratorReference()}, "low")
    assert link_one(media, clip)[0].change == ""


def test_a_title_is_refused_when_it_is_read_and_not_when_it_is_linked(media: Path) -> None:
    clip = make_clip("n24.mp4")
    clip.media_reference = otio.schema.GeneratorReference(generator_kind="SMPTEBars")
    link, linked = link_one(media, clip)
    assert link == MediaLink("")
    with pytest.raises(ProblemError, match="generator"):
        read_clip_source(linked)


def test_nested_clips_are_linked_by_their_path(media: Path) -> None:
    inner = otio.schema.Stack(children=[otio.schema.Track(children=[make_clip("n24.mp4"), make_clip("/gone.mov")])])
    resolved = resolve(media, make_clip("tc.mov"), otio.schema.Gap(duration=otio.opentime.RationalTime(9, 24)), inner)
    assert {path: link.problem is None for path, link in resolved.links.items()} == {
        (0, 0): True,
        (0, 2, 0, 0): True,
        (0, 2, 0, 1): False,
    }


def test_found_media_are_linked_in_the_timeline_and_working_links_stay(media: Path, tmp_path: Path) -> None:
    path = write_media(tmp_path / "disk" / "A001C003.mov", timecode="10:00:00:00")
    reel = make_clip(None, 864_012)
    reel.name = "A001C003"
    clips = [make_clip(media / "n24.mp4"), reel, make_clip("X:\\day\\A001C003.mov", 864_012), make_clip("/gone/b.mov")]
    maps = (PathMap("X:/day", tmp_path / "disk"),)
    links = resolve(media, *clips, search_folders=(tmp_path / "disk",), path_maps=maps).links
    timeline = otio.schema.Timeline()
    timeline.tracks.append(otio.schema.Track(kind=otio.schema.TrackKind.Video, children=clips))
    link_found_media(timeline, links)
    urls = [clip.media_reference.target_url for clip in timeline.tracks[0]]
    assert urls == [str(media / "n24.mp4"), str(path), str(path), "/gone/b.mov"]
    assert read_clip_source(timeline.tracks[0][1]).start_s == Fraction(1, 2)


# Stills and sequences


def write_still(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 64, "rgb24", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))
    settle(path)
    return path


def test_a_still_may_be_shown_for_any_time(tmp_path: Path) -> None:
    write_still(tmp_path / "a.png")
    link, clip = link_one(tmp_path, make_clip("a.png", 86_400, 240, available=span(0, 1)))
    assert link.notes == ("It is a still picture, so its sound has a steady energy.",)
    assert read_clip_source(clip).duration_s == 10


def make_sequence(base: str, **changes: object) -> otio.schema.Clip:
    values = {"name_prefix": "s.", "name_suffix": ".png", "start_frame": 1001, "rate": 24, "frame_zero_padding": 4}
    clip = make_clip(None, 2, 4)
    clip.media_reference = otio.schema.ImageSequenceReference(target_url_base=base, **{**values, **changes})
    return clip


def test_sequences_are_found_checked_and_relinked(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    for number in range(1001, 1025):
        write_still(folder / f"s.{number}.png")
    whole = span(0, 24)
    for base in ("a b/", "a b", "a%20b/", folder.as_uri() + "/", str(folder)):
        link, clip = link_one(tmp_path, make_sequence(base, available_range=whole))
        assert link.path == folder / "s.####.png", base
        assert read_clip_source(clip).start_s == Fraction(1, 12)
    # Without a range, its pictures are counted, and a start at or after their first number is a picture number.
    _, clip = link_one(tmp_path, make_sequence("a b/"))
    source = read_clip_source(clip)
    assert (source.start_s, source.sequence.count) == (Fraction(1, 12), 24)
    numbered = make_sequence("a b/")
    numbered.source_range = span(1003, 4)
    _, clip = link_one(tmp_path, numbered)
    assert read_clip_source(clip).start_s == Fraction(1, 12)
    named = make_clip("a b/s.%04d.png", 1003, 4)
    link, clip = link_one(tmp_path, named)
    assert (link.path, read_clip_source(clip).start_s) == (folder / "s.####.png", Fraction(1, 12))
    link, _ = link_one(tmp_path, make_sequence("/gone/", available_range=whole), search_folders=(tmp_path,))
    assert (link.path, link.change) == (folder / "s.####.png", "relinked")
    (folder / "s.1004.png").unlink()
    (folder / "s.1006.png").unlink()
    problem = link_one(tmp_path, make_sequence("a b/", available_range=whole))[0].problem
    assert problem is not None
    assert problem.what == (
        f'The clip "shot" shows 4 pictures of {folder}/s.####.png, of which s.1004.png and 1 more do not exist.'
    )
    problem = link_one(tmp_path, make_sequence("none/", available_range=whole))[0].problem
    assert problem is not None
    assert "does not exist" in problem.what


def test_each_file_is_read_once_even_if_many_clips_show_it(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def count(path: Path) -> MediaFacts:
        read.append(path)
        return read_media_facts(path)

    monkeypatch.setattr(media_links, "read_media_facts", count)
    clips = [make_clip(("n24.mp4", "tc.mov")[number % 2], 48 + number % 60) for number in range(1000)]
    resolved = resolve(media, *clips)
    assert all(link.problem is None for link in resolved.links.values())
    assert sorted(path.name for path in read) == ["n24.mp4", "tc.mov"]


# Clips and timelines that are sent to a server without ranges of their media


def video_clip(work: rewas_pb2.EnergyWork | rewas_pb2.SoundWork, folder: Path) -> VideoClip:
    name = "energy" if isinstance(work, rewas_pb2.EnergyWork) else "sound"
    request = parse_request(rewas_pb2.SubmitJobRequest(**{name: work}))
    assert isinstance(request, ClipRequest)
    return request.video_clip(MediaLibrary([folder], folder).locate)


def test_a_single_clip_is_read_by_the_timecode_of_its_media(media: Path) -> None:
    for start, expected_s in ((24, Fraction(1)), (48 + 60, Fraction(5, 2)), (0, Fraction(0))):
        work = rewas_pb2.EnergyWork(clip_otio_json=make_clip(media / "tc.mov", start).to_json_string())
        assert video_clip(work, media).start_s == expected_s
    stated = make_clip(media / "tc.mov", 60, available=span(0, 120))
    assert video_clip(rewas_pb2.EnergyWork(clip_otio_json=stated.to_json_string()), media).start_s == Fraction(5, 2)


@pytest.mark.parametrize("speed", [1, 2, -1, 0])
def test_the_clips_of_a_sent_timeline_are_read_by_the_timecode_of_their_media(speed: int, media: Path) -> None:
    clip = make_clip(media / "tc.mov", 48 + 24)
    clip.metadata["rewas"] = {"prompt": "rain"}
    if speed != 1:
        clip.effects.append(otio.schema.LinearTimeWarp(time_scalar=speed) if speed else otio.schema.FreezeFrame())
    timeline = otio.schema.Timeline("reel", global_start_time=otio.opentime.RationalTime(86_400, 24))
    timeline.tracks.append(otio.schema.Track(kind=otio.schema.TrackKind.Video, children=[clip]))
    work = rewas_pb2.TimelineWork(timeline_otio_json=timeline.to_json_string())
    (planned,) = plan_timeline(parse_timeline_request(work), "starter")
    shown = video_clip(planned.work, media)
    assert (shown.start_s, shown.duration_s, shown.speed) == (2 if speed < 0 else 1, 1, speed)


def test_a_clip_of_an_unreadable_file_is_left_to_the_engine(media: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.mov").touch()
    work = rewas_pb2.EnergyWork(clip_otio_json=make_clip(tmp_path / "empty.mov", 60).to_json_string())
    assert video_clip(work, tmp_path).start_s == Fraction(5, 2)  # The engine says what is wrong.
