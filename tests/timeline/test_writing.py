"""Written timelines: every format keeps places, names and media, and losses are reported beforehand."""

from __future__ import annotations

import json
import os
import shutil
import xml.etree.ElementTree as ElementTree
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import opentimelineio as otio
import pytest
import soundfile
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rewas_api.errors import ProblemError
from rewas_server.otio.clips import timeline_start_s
from rewas_server.otio.exact_times import exact_seconds
from rewas_server.otio.formats import FORMATS, MediaPaths
from rewas_server.otio.frame_timeline import placed_items
from rewas_server.otio.losses import describe_losses
from rewas_server.otio.media_paths import find_path, name_media
from rewas_server.otio.reading import ReadOptions, open_timeline
from rewas_server.otio.reaper import read_project
from rewas_server.otio.writing import check_output, write_timeline

SAMPLE_RATE_HZ = 48000
RATES = [Fraction(24), Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)]
FRAME_FORMATS = [".xml", ".aaf", ".edl"]
WRITTEN = sorted(suffix for suffix, found in FORMATS.items() if found.writes)
STEM_FRAMES = [(0, 50), (50, 37), (120, 25)]
"""First frame and length of each stem."""


def time(value: float, rate: Fraction | int) -> otio.opentime.RationalTime:
    return otio.opentime.RationalTime(value, float(rate))


def span(start: float, duration: float, rate: Fraction | int) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(time(start, rate), time(duration, rate))


def stem_clip(path: Path, name: str, start_frames: int, frames: int, rate: Fraction) -> otio.schema.Clip:
    """A sound with a time reference, as the batch places it. start_frames: timecode of the clip."""
    samples = round(Fraction(frames) / rate * SAMPLE_RATE_HZ)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(samples), SAMPLE_RATE_HZ, subtype="PCM_24")
    begin = round(Fraction(start_frames) / rate * SAMPLE_RATE_HZ)
    media = otio.schema.ExternalReference(str(path), span(begin, samples, SAMPLE_RATE_HZ))
    clip = otio.schema.Clip(name, media, span(start_frames, frames, rate))
    clip.metadata["rewas"] = {"role": "primary"}
    return clip


def make_reel(folder: Path, rate: Fraction = Fraction(24), hours: int = 1) -> otio.schema.Timeline:
    """A picture track, and a sound track with gaps. hours: the start timecode."""
    start = hours * 3600 * round(rate)
    reel = otio.schema.Timeline("reel", global_start_time=time(start, rate))
    pictures = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    sounds = otio.schema.Track("A1", kind=otio.schema.TrackKind.Audio)
    reel.tracks.extend([pictures, sounds])
    for number in range(4):
        media = otio.schema.ExternalReference(str(folder / "rushes" / "film.mov"), span(0, 5000, rate))
        pictures.append(otio.schema.Clip(f"shot {number}", media, span(100 * number, 50, rate)))
    reached = 0
    for number, (first, frames) in enumerate(STEM_FRAMES):
        if first > reached:
            sounds.append(otio.schema.Gap(duration=time(first - reached, rate)))
        path = folder / "stems" / f"{number} дождь #1 50%.wav"
        sounds.append(stem_clip(path, f"sound {number}", start + first, frames, rate))
        reached = first + frames
    return reel


def read_back(path: Path, rate: Fraction = Fraction(24)) -> otio.schema.Timeline:
    if path.suffix == ".rpp":
        return read_project(path)
    arguments = {"rate": float(rate)} if path.suffix == ".edl" else {}
    found = otio.adapters.read_from_file(str(path), **arguments)
    assert isinstance(found, otio.schema.Timeline)
    return found


def places(
    timeline: otio.schema.Timeline, kind: str, *, from_timecode: bool = False
) -> list[tuple[str, Fraction, Fraction, Fraction]]:
    """Name, timecode, duration and start in the media of each clip of a kind, in seconds.

    from_timecode: give the timecode of the media instead of the time since its beginning.
    """
    found = []
    for track in timeline.tracks:
        for placed in placed_items(track):
            clip = placed.item
            if track.kind != kind or not isinstance(clip, otio.schema.Clip):
                continue
            start_s = exact_seconds(clip.source_range.start_time, clip.name, "start")
            available = clip.media_reference.available_range
            if available is not None and not from_timecode:
                start_s -= exact_seconds(available.start_time, clip.name, "media start")
            found.append((clip.name, timeline_start_s(timeline) + placed.start_s, placed.duration_s, start_s))
    return found


@pytest.mark.parametrize("rate", RATES, ids=str)
@pytest.mark.parametrize("suffix", [*FRAME_FORMATS, ".rpp"])
def test_every_clip_keeps_its_place(tmp_path: Path, suffix: str, rate: Fraction) -> None:
    reel = make_reel(tmp_path, rate)
    output = tmp_path / f"reel{suffix}"
    write_timeline(reel, output)
    found = read_back(output, rate)
    for kind in (otio.schema.TrackKind.Video, otio.schema.TrackKind.Audio):
        # Only EDLs contain the timecode of media without its start.
        expected = places(reel, kind, from_timecode=suffix == ".edl")
        read = places(found, kind, from_timecode=suffix == ".edl")
        assert [one[0] for one in read] == [one[0] for one in expected]
        tolerance_s = Fraction(1, 2 * SAMPLE_RATE_HZ) if suffix == ".rpp" else 0
        for column in (1, 2):
            assert all(
                abs(one[column] - other[column]) <= 2 * tolerance_s for one, other in zip(read, expected, strict=True)
            )
        # The file of a stem starts on a whole sample, and its clip on a whole frame.
        assert all(
            abs(one[3] - other[3]) <= Fraction(1, 2 * SAMPLE_RATE_HZ) for one, other in zip(read, expected, strict=True)
        )
    paths = [find_path(clip.media_reference.target_url, tmp_path) for clip in found.find_clips()]
    assert paths == [find_path(clip.media_reference.target_url, tmp_path) for clip in reel.find_clips()]


@pytest.mark.parametrize("suffix", [".otio", ".otioz", ".otiod", ".edl", ".rpp"])
def test_a_moved_folder_still_opens(tmp_path: Path, suffix: str) -> None:
    before = tmp_path / "before"
    reel = make_reel(before)
    write_timeline(reel, before / f"reel{suffix}")
    after = tmp_path / "after"
    shutil.move(before, after)
    found = read_back(after / f"reel{suffix}")
    folder = after / f"reel{suffix}" if suffix == ".otiod" else after
    sounds = [clip.media_reference.target_url for clip in found.tracks[1] if isinstance(clip, otio.schema.Clip)]
    if suffix == ".otioz":
        extracted = tmp_path / "extracted"
        extracted.mkdir()
        otio.adapters.read_from_file(str(after / "reel.otioz"), extract_to_directory=str(extracted))
        folder = extracted
    assert len(sounds) == 3
    assert not any(str(before) in url for url in sounds)
    assert all(soundfile.info(str(find_path(url, folder))).samplerate == SAMPLE_RATE_HZ for url in sounds)


@pytest.mark.parametrize("suffix", [".otioz", ".otiod"])
def test_a_bundle_contains_files_of_the_same_name_and_every_media_reference(tmp_path: Path, suffix: str) -> None:
    reel = make_reel(tmp_path)
    clip = reel.tracks[1][0]
    takes = {}
    for number in (1, 2, 3):
        path = tmp_path / f"take {number}" / "Take.wav"
        path.parent.mkdir()
        path.write_bytes(b"%d" % number)
        takes[f"take {number}"] = otio.schema.ExternalReference(str(path))
    clip.set_media_references(takes, "take 2")
    write_timeline(reel, tmp_path / f"reel{suffix}")
    extracted = tmp_path / "reel.otiod"
    if suffix == ".otioz":
        extracted = tmp_path / "extracted"
        extracted.mkdir()
        otio.adapters.read_from_file(str(tmp_path / "reel.otioz"), extract_to_directory=str(extracted))
    found = read_back(tmp_path / f"reel{suffix}").tracks[1][0].media_references()
    contents = {key: find_path(one.target_url, extracted).read_bytes() for key, one in found.items()}
    assert contents == {"take 1": b"1", "take 2": b"2", "take 3": b"3"}


def test_foreign_contents_survive_byte_for_byte(tmp_path: Path) -> None:
    reel = make_reel(tmp_path)
    foreign = {"int": 2**62, "float": 23.976023976023978, "one": 1.0, "text": 'дождь\u2028"', "list": [{}, None]}
    reel.metadata["other"] = foreign
    reel.tracks[0][0].metadata["other"] = foreign
    content = json.loads(reel.to_json_string())
    shot = content["tracks"]["children"][0]["children"][0]
    unknown = {"OTIO_SCHEMA": "Sparkle.7", "stars": [1, 2.5], "size": {"OTIO_SCHEMA": "Size.2", "x": -0.0}}
    effect = {"OTIO_SCHEMA": "Effect.1", "name": "", "effect_name": "glow", "enabled": True}
    shot["effects"] = [{**effect, "metadata": {"other": foreign, "unknown": unknown}}]
    reel = otio.adapters.read_from_string(json.dumps(content), "otio_json")
    write_timeline(reel, tmp_path / "out.otio")
    written = json.loads((tmp_path / "out.otio").read_text("utf-8"))
    again = written["tracks"]["children"][0]["children"][0]
    for one, other in ((written, content), (again, shot)):
        assert json.dumps(one["metadata"], sort_keys=True) == json.dumps(other["metadata"], sort_keys=True)
    assert json.dumps(again["effects"], sort_keys=True) == json.dumps(shot["effects"], sort_keys=True)
    assert again["media_references"] == shot["media_references"]


def test_two_equal_clips_are_both_written(tmp_path: Path) -> None:
    reel = make_reel(tmp_path)
    reel.tracks[0].append(reel.tracks[0][0].deepcopy())
    for suffix in FRAME_FORMATS:
        write_timeline(reel, tmp_path / f"reel{suffix}")
        found = places(read_back(tmp_path / f"reel{suffix}"), otio.schema.TrackKind.Video)
        assert found == places(reel, otio.schema.TrackKind.Video)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("reel.mov", "its suffix is not that of a timeline format"),
        ("reel", "its suffix is not that of a timeline format"),
        ("reel.kdenlive", "Kdenlive project can only be read"),
        ("nowhere/reel.otio", "does not exist"),
        ("folder.otio", "which is a folder"),
        ("folder.otiod", "which is a folder with other contents"),
        ("input.otio", "which is also an input"),
        ("file.otiod", "the format needs a folder, but this is a file"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "folder.otio").mkdir()
    (tmp_path / "folder.otiod").mkdir()
    (tmp_path / "folder.otiod" / "mine.txt").write_text("mine")
    (tmp_path / "input.otio").write_text("{}")
    (tmp_path / "file.otiod").write_text("")
    with pytest.raises(ProblemError) as caught:
        check_output(tmp_path / name, inputs=[tmp_path / "input.otio"])
    assert sentence in str(caught.value)
    assert (tmp_path / "folder.otiod" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("suffix", WRITTEN)
def test_losses_are_reported_beforehand(tmp_path: Path, suffix: str) -> None:
    reel = make_reel(tmp_path)
    reel.tracks[0][0].effects.append(otio.schema.LinearTimeWarp(time_scalar=0.5))
    said = check_output(tmp_path / f"reel{suffix}", timeline=reel)
    assert ("1 retimed clip" in said) == (suffix == ".aaf")


@pytest.mark.parametrize("suffix", [*FRAME_FORMATS, ".rpp"])
def test_a_rate_without_timecode_is_refused_before_the_work(tmp_path: Path, suffix: str) -> None:
    reel = otio.schema.Timeline("odd", global_start_time=time(0, Fraction(25, 2)))
    with pytest.raises(ProblemError, match=r"does not support 12\.5 frames per second"):
        check_output(tmp_path / f"reel{suffix}", timeline=reel)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reel = make_reel(tmp_path / "media")
    out = tmp_path / "out"
    out.mkdir()
    write_timeline(reel, out / f"reel{suffix}")
    before = sorted(os.walk(out))

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        write_timeline(reel, out / f"reel{suffix}")
    assert sorted(os.walk(out)) == before


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("C:\\rushes\\a#1.mov", "file:///C:/rushes/a%231.mov"),
        ("C:/rushes/a.mov", "file:///C:/rushes/a.mov"),
        ("\\\\server\\share\\a b.mov", "file://server/share/a%20b.mov"),
        ("file://server/share/a%20b.mov", "file://server/share/a%20b.mov"),
        ("/rushes/50% ü.mov", "file:///rushes/50%25%20%C3%BC.mov"),
        ("file://localhost/rushes/a.mov", "file:///rushes/a.mov"),
        ("https://example.org/a.mov", "https://example.org/a.mov"),
        ("a.mov", "file://{folder}/a.mov"),
    ],
)
def test_urls_name_files_of_every_system(tmp_path: Path, url: str, expected: str) -> None:
    reel = otio.schema.Timeline("reel")
    reel.tracks.append(otio.schema.Track(kind=otio.schema.TrackKind.Video))
    reel.tracks[0].append(otio.schema.Clip("a", otio.schema.ExternalReference(url), span(0, 10, 24)))
    write_timeline(reel, tmp_path / "out.otio", media_paths="url")
    found = read_back(tmp_path / "out.otio").tracks[0][0].media_reference.target_url
    assert found == expected.format(folder=tmp_path)
    # Without a style, a foreign reference stays unchanged.
    write_timeline(reel, tmp_path / "out.otio")
    assert read_back(tmp_path / "out.otio").tracks[0][0].media_reference.target_url == url


def test_further_audio_tracks_go_to_further_edls(tmp_path: Path) -> None:
    reel = make_reel(tmp_path)
    for number in range(2, 7):
        copy = reel.tracks[1].deepcopy()
        copy.name = f"A{number}"
        reel.tracks.append(copy)
    written = write_timeline(reel, tmp_path / "reel.edl")
    assert [path.name for path in written] == ["reel.edl", "reel A5-A6.edl"]
    lists = [read_back(path) for path in written]
    assert [track.name for one in lists for track in one.tracks] == [
        *("V", "A1", "A2", "A3", "A4"),
        *("A1", "A2"),
    ]


def test_an_edl_counts_drop_frame_and_the_speed_of_pictures(tmp_path: Path) -> None:
    rate = Fraction(30000, 1001)
    reel = make_reel(tmp_path, rate, hours=0)
    reel.global_start_time = time(107892, rate)
    reel.tracks[0][1].effects.append(otio.schema.LinearTimeWarp(time_scalar=0.5))
    reel.tracks[0][2].effects.append(otio.schema.FreezeFrame())
    write_timeline(reel, tmp_path / "reel.edl")
    text = (tmp_path / "reel.edl").read_text("utf-8")
    assert "FCM: DROP FRAME" in text
    assert "01:00:00;00 01:00:01;20" in text
    pictures = read_back(tmp_path / "reel.edl", rate).tracks[0]
    assert pictures[1].effects[0].time_scalar == pytest.approx(0.5, abs=1e-4)
    assert isinstance(pictures[2].effects[0], otio.schema.FreezeFrame)


def test_disabled_sounds_are_not_audible_in_other_programs(tmp_path: Path) -> None:
    reel = make_reel(tmp_path)
    reel.tracks[1][1].enabled = False
    for suffix in (".aaf", ".edl"):
        write_timeline(reel, tmp_path / f"reel{suffix}")
        names = [one[0] for one in places(read_back(tmp_path / f"reel{suffix}"), otio.schema.TrackKind.Audio)]
        assert names == ["sound 0", "sound 2"]
    write_timeline(reel, tmp_path / "reel.xml")
    sounds = ElementTree.parse(tmp_path / "reel.xml").findall(".//audio/track/clipitem/enabled")
    assert [one.text for one in sounds] == ["TRUE", "FALSE", "TRUE"]
    write_timeline(reel, tmp_path / "reel.rpp")
    project = read_back(tmp_path / "reel.rpp")
    assert [clip.enabled for clip in project.tracks[1] if clip.name] == [True, False, True]


def test_a_project_keeps_takes_mutes_metadata_and_identities(tmp_path: Path) -> None:
    reel = make_reel(tmp_path)
    sounds = reel.tracks[1]
    clip = sounds[0]
    reel.metadata["rewas"] = {"identity": "it's"}
    clip.metadata["rewas"] = {"role": "primary", "prompt": 'it\'s "a" `dog`\nbarking', "seed": 2**53}
    takes = {f"take {number}": clip.media_reference.deepcopy() for number in (1, 2, 3)}
    clip.set_media_references(takes, "take 2")
    sounds[1].enabled = False
    sounds.enabled = False
    write_timeline(reel, tmp_path / "reel.rpp")
    project = read_back(tmp_path / "reel.rpp")
    again = project.tracks[1]
    assert dict(again[0].metadata["rewas"]) == dict(clip.metadata["rewas"])
    assert dict(project.metadata["rewas"]) == {"identity": "it's"}
    assert len(again[0].media_references()) == 3
    assert again[0].active_media_reference_key == "take 2"
    assert not again.enabled
    assert not again[1].enabled
    write_timeline(project, tmp_path / "again.rpp")
    identities = [
        [line for line in (tmp_path / name).read_text("utf-8").splitlines() if line.startswith("IGUID")]
        for name in ("reel.rpp", "again.rpp")
    ]
    assert identities[0] == identities[1]


@pytest.mark.parametrize("speed", [0.5, 2.0, -1.0, -0.5])
def test_a_project_plays_pictures_at_their_speed(tmp_path: Path, speed: float) -> None:
    reel = make_reel(tmp_path)
    reel.tracks[0][1].effects.append(otio.schema.LinearTimeWarp(time_scalar=speed))
    write_timeline(reel, tmp_path / "reel.rpp")
    project = read_back(tmp_path / "reel.rpp")
    clip = project.tracks[0][1]
    assert [effect.time_scalar for effect in clip.effects] == [speed]
    assert exact_seconds(clip.source_range.start_time, "clip", "start") == Fraction(100, 24)


def make_rich_reel(folder: Path) -> otio.schema.Timeline:
    """A reel with an example of everything that a format may lose."""
    reel = make_reel(folder)
    pictures, sounds = reel.tracks
    pictures[0].markers.append(otio.schema.Marker("on a clip", span(10, 0, 24)))
    reel.tracks.markers.append(otio.schema.Marker("on the timeline", span(5, 3, 24)))
    pictures[1].effects.append(otio.schema.LinearTimeWarp(time_scalar=0.5))
    pictures[2].effects.append(otio.schema.Effect(effect_name="glow"))
    pictures[3].enabled = False
    pictures.insert(1, otio.schema.Transition("dissolve", "SMPTE_Dissolve", time(5, 24), time(5, 24)))
    title = otio.schema.GeneratorReference("title", "Slug", span(0, 100, 24))
    pictures.append(otio.schema.Clip("title", title, span(0, 20, 24)))
    nested = otio.schema.Stack("nested", source_range=span(3, 20, 24))
    nested.append(otio.schema.Track("inside", kind=otio.schema.TrackKind.Video))
    media = pictures[0].media_reference.deepcopy()
    nested[0].append(otio.schema.Clip("inner", media, span(7, 30, 24)))
    pictures.append(nested)
    upper = otio.schema.Track("V2", kind=otio.schema.TrackKind.Video)
    upper.extend([otio.schema.Gap(duration=time(10, 24)), pictures[0].deepcopy()])
    reel.tracks.insert(1, upper)
    sounds[0].set_media_references({key: sounds[0].media_reference.deepcopy() for key in ("one", "two")}, "one")
    return reel


@pytest.mark.parametrize("suffix", WRITTEN)
def test_only_reported_losses_occur(tmp_path: Path, suffix: str) -> None:
    reel = make_rich_reel(tmp_path)
    output = tmp_path / f"reel{suffix}"
    said = set(check_output(output, timeline=reel))
    write_timeline(reel, output)
    opened = open_timeline(output, ReadOptions(rate=Fraction(24)))
    lost = set(describe_losses(reel, opened.timeline))
    # Formats that leave out disabled clips and generators leave out their media, too.
    hidden = {"1 video clip", "1 link to media"} if "1 disabled clip or track" in said else set()
    assert lost - hidden <= said
    assert (suffix == ".otio") == (not said)
    # The film of the reel does not exist.
    assert ("1 media file that does not exist" in said) == (suffix in (".otioz", ".otiod"))


@pytest.mark.parametrize("suffix", [*FRAME_FORMATS, ".rpp"])
def test_the_clips_of_a_nested_timeline_stay_in_place(tmp_path: Path, suffix: str) -> None:
    reel = make_rich_reel(tmp_path)
    output = tmp_path / f"reel{suffix}"
    write_timeline(reel, output)
    found = places(read_back(output), otio.schema.TrackKind.Video)
    inner = next(one for one in found if one[0] == "inner")
    assert inner == ("inner", 3600 + Fraction(220, 24), Fraction(20, 24), Fraction(10, 24))


def test_a_bundle_that_does_not_fit_on_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reel = make_reel(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
    with pytest.raises(ProblemError, match=r"The media of reel\.otioz needs .*, but the disk has"):
        check_output(tmp_path / "reel.otioz", timeline=reel)
    check_output(tmp_path / "reel.otio", timeline=reel)


@pytest.mark.parametrize(("speed", "start"), [(0.5, 100), (2.0, 100), (-1.0, 100), (-0.5, 101), (0.0, 100)])
def test_fcp_xml_has_the_speed_and_the_range_of_the_media(tmp_path: Path, speed: float, start: int) -> None:
    reel = make_reel(tmp_path)
    clip = reel.tracks[0][1]
    clip.source_range = span(start, 50, 24)
    clip.effects.append(otio.schema.LinearTimeWarp(time_scalar=speed) if speed else otio.schema.FreezeFrame())
    write_timeline(reel, tmp_path / "reel.xml")
    opened = open_timeline(tmp_path / "reel.xml", ReadOptions())
    found = opened.timeline.tracks[0][1]
    assert [effect.time_scalar for effect in found.effects] == [speed]
    assert found.source_range.duration == clip.source_range.duration
    assert abs(found.source_range.start_time.value - start) <= max(0.5, abs(speed) / 2)


NAMES = [
    "tab\tnew\nline\r",
    "quotes \" ' and `",
    "日本語 עברית 🎬 дождь",
    "<&>]]> -- >",
    "../CON: %41#?*",
    "control \x01\x1f and \ufffe",
    "long " * 1000,
    "",
]


@pytest.mark.parametrize("suffix", WRITTEN)
def test_any_name_can_be_written_and_read(tmp_path: Path, suffix: str) -> None:
    reel = make_reel(tmp_path)
    (sounds,) = reel.tracks[1:]
    for name in NAMES:
        clip = sounds[0].deepcopy()
        clip.name = name
        sounds.append(clip)
        reel.tracks.markers.append(otio.schema.Marker(name, span(1, 1, 24)))
    reel.name = sounds.name = "".join(NAMES[:-1])
    write_timeline(reel, tmp_path / f"reel{suffix}")
    opened = open_timeline(tmp_path / f"reel{suffix}", ReadOptions(rate=Fraction(24)))
    found = [clip.name for clip in opened.timeline.tracks[1] if isinstance(clip, otio.schema.Clip)][-len(NAMES) :]
    assert len(found) == len(NAMES)
    # In an EDL, an event without a name gets the name of its file.
    simple = {"日本語 עברית 🎬 дождь", "<&>]]> -- >", "../CON: %41#?*", *(() if suffix == ".edl" else ("",))}
    assert simple <= set(found)
    if suffix in (".otio", ".otioz", ".otiod"):
        assert found == NAMES


@settings(max_examples=200)
@given(
    parts=st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1), min_size=1),
    style=st.sampled_from(list(MediaPaths)),
)
def test_a_path_is_found_again_whatever_it_is_called(parts: list[str], style: MediaPaths) -> None:
    folder = Path("/project/timelines")
    path = Path(os.path.normpath("/media/" + "/".join(parts)))
    written = name_media(path, style, folder)
    assume(style is not MediaPaths.RELATIVE or not Path(written).is_absolute())
    assert find_path(written, folder) == path


def test_a_project_keeps_the_sound_of_a_film_and_markers_in_timecode(tmp_path: Path) -> None:
    reel = make_reel(tmp_path)
    reel.tracks[1].clear()
    reel.tracks[1].append(reel.tracks[0][0].deepcopy())
    # EDL readers give the timecode of the timeline.
    reel.tracks[0][1].markers.append(otio.schema.Marker("bang", span(86400 + 60, 0, 24)))
    write_timeline(reel, tmp_path / "reel.rpp")
    project = read_back(tmp_path / "reel.rpp")
    assert [track.kind for track in project.tracks] == ["Video", "Audio"]
    (marker,) = project.tracks.markers
    assert exact_seconds(marker.marked_range.start_time, "marker", "start") == Fraction(60, 24)


@pytest.mark.parametrize("suffix", FRAME_FORMATS)
def test_missing_media_and_media_from_before_midnight_are_written(tmp_path: Path, suffix: str) -> None:
    reel = make_reel(tmp_path)
    reel.tracks[1][0].media_reference = otio.schema.MissingReference()
    reel.tracks[0][1].media_reference.available_range = span(-24, 5000, 24)
    write_timeline(reel, tmp_path / f"reel{suffix}")
    found = places(read_back(tmp_path / f"reel{suffix}"), otio.schema.TrackKind.Video)
    assert [one[:3] for one in found] == [one[:3] for one in places(reel, otio.schema.TrackKind.Video)]


def test_a_generator_of_another_file_stays_one_in_fcp_xml(tmp_path: Path) -> None:
    reel = make_reel(tmp_path)
    title = otio.schema.GeneratorReference("Text", "Text", span(0, 100, 24))
    title.metadata["fcp_xml"] = {"effecttype": "generator", "mediatype": "video"}
    reel.tracks[0][0].media_reference = title
    write_timeline(reel, tmp_path / "reel.xml")
    found = read_back(tmp_path / "reel.xml")
    assert isinstance(found.tracks[0][0].media_reference, otio.schema.GeneratorReference)


@pytest.mark.parametrize("suffix", WRITTEN)
def test_frozen_clips_and_nested_speeds_are_reported_as_losses(tmp_path: Path, suffix: str) -> None:
    reel = make_rich_reel(tmp_path)
    reel.tracks[0][0].effects.append(otio.schema.FreezeFrame())
    (nested,) = reel.tracks.find_children(descended_from_type=otio.schema.Stack)
    nested.effects.append(otio.schema.LinearTimeWarp(time_scalar=2))
    said = check_output(tmp_path / f"reel{suffix}", timeline=reel)
    assert ("1 freeze frame" in said) == (suffix in (".aaf", ".rpp"))
    assert ("1 speed of a nested timeline" in said) == (suffix == ".aaf")


def find_named(timeline: otio.schema.Timeline, name: str) -> otio.schema.Clip:
    (clip,) = (each for each in timeline.find_clips() if each.name == name)
    return clip


@pytest.mark.parametrize("suffix", [".xml", ".edl", ".rpp"])
def test_speeds_of_one_clip_are_multiplied_in_every_format(tmp_path: Path, suffix: str) -> None:
    reel = make_reel(tmp_path)
    picture, sound = reel.tracks[0][1], reel.tracks[1][0]
    picture.effects.extend([otio.schema.LinearTimeWarp(time_scalar=4), otio.schema.Effect(effect_name="glow")])
    picture.effects.append(otio.schema.LinearTimeWarp(time_scalar=-0.5))
    sound.effects.append(otio.schema.LinearTimeWarp(time_scalar=0.5))
    output = tmp_path / f"reel{suffix}"
    assert check_output(output, timeline=reel) == ["1 effect", *LOST_IN_REEL.get(suffix, [])]
    write_timeline(reel, output)
    found = open_timeline(output, ReadOptions(rate=Fraction(24))).timeline
    speeds = [[effect.time_scalar for effect in find_named(found, each.name).effects] for each in (picture, sound)]
    assert speeds == [[-2], [0.5]]
    assert "retimed clip" not in " ".join(describe_losses(reel, found))


LOST_IN_REEL = {".xml": ["3 objects with metadata"], ".edl": ["3 objects with metadata"]}


@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_variable_speed_is_reported_as_a_loss(tmp_path: Path, suffix: str) -> None:
    reel = make_reel(tmp_path)
    reel.tracks[0][1].effects.append(otio.schema.TimeEffect("ramp", "Time Remap"))
    reel.tracks[0][1].effects.append(otio.schema.LinearTimeWarp(time_scalar=2))
    said = check_output(tmp_path / f"reel{suffix}", timeline=reel)
    assert ("1 variable speed" in said) == (suffix not in (".otio", ".otioz", ".otiod"))
    assert not {"1 retimed clip", "2 retimed clips"} & set(said)
    write_timeline(reel, tmp_path / f"reel{suffix}")
    places_in = places(reel, otio.schema.TrackKind.Video)
    assert [one[:3] for one in places(read_back(tmp_path / f"reel{suffix}"), otio.schema.TrackKind.Video)] == [
        one[:3] for one in places_in
    ]


@pytest.mark.parametrize(("speed", "source_in", "source_out"), [(0.5, 20, 45), (2.0, 80, 180), (-1.0, 40, 90)])
def test_an_edl_has_the_range_of_a_retimed_sound(tmp_path: Path, speed: float, source_in: int, source_out: int) -> None:
    """The track hides the first 40 frames of the clip, and shows 50 frames."""
    reel = make_reel(tmp_path, hours=0)
    media = otio.schema.ExternalReference("a.wav", span(0, 1000, 24))
    sound = otio.schema.Clip("a", media, span(0, 130, 24))
    sound.effects.append(otio.schema.LinearTimeWarp(time_scalar=speed))
    reel.tracks[1][:] = [sound]
    reel.tracks[1].source_range = span(40, 50, 24)
    del reel.tracks[0]
    write_timeline(reel, tmp_path / "reel.edl")
    found = find_named(open_timeline(tmp_path / "reel.edl", ReadOptions(rate=Fraction(24))).timeline, "a")
    assert [effect.time_scalar for effect in found.effects] == [speed]
    assert found.source_range == span(source_in, 50, 24)
    text = (tmp_path / "reel.edl").read_text("utf-8")
    label = [f"00:00:{frames // 24:02}:{frames % 24:02}" for frames in (source_in, source_out)]
    assert f"C        {label[0]} {label[1]} 00:00:00:00 00:00:02:02" in text


def test_an_edl_has_pictures_whose_media_cannot_be_read(tmp_path: Path) -> None:
    reel = make_reel(tmp_path)
    missing, outside = reel.tracks[0][0], reel.tracks[0][1]
    missing.media_reference = otio.schema.MissingReference()
    missing.source_range = span(7, 50, 24)
    outside.media_reference.available_range = span(0, 10, 24)
    write_timeline(reel, tmp_path / "reel.edl")
    found = read_back(tmp_path / "reel.edl")
    assert not {"1 video clip", "2 video clips"} & set(describe_losses(reel, found))
    assert find_named(found, missing.name).source_range == missing.source_range
    assert find_named(found, outside.name).source_range == outside.source_range


def test_pictures_that_an_edl_cannot_place_are_reported(tmp_path: Path) -> None:
    reel = make_reel(tmp_path)
    broken = otio.schema.Clip("broken", otio.schema.MissingReference())
    reel.tracks[0].insert(1, broken)
    assert "4 video clips that cannot be read" in check_output(tmp_path / "reel.edl", timeline=reel)


@pytest.mark.parametrize("suffix", WRITTEN)
@pytest.mark.parametrize(("hours", "losing"), [(-1, {".xml", ".edl"}), (0, set()), (25, {".edl"})])
def test_a_timecode_that_a_format_does_not_have_is_reported_beforehand(
    tmp_path: Path, suffix: str, hours: int, losing: set[str]
) -> None:
    reel = make_reel(tmp_path, Fraction(30000, 1001), hours)
    said = [loss for loss in check_output(tmp_path / f"reel{suffix}", timeline=reel) if "start timecode" in loss]
    where = "forward" if hours < 0 else "back"
    assert said == ([f"the start timecode (moved {where} by 24 hours)"] if suffix in losing else [])
    write_timeline(reel, tmp_path / f"reel{suffix}")
    found = open_timeline(tmp_path / f"reel{suffix}", ReadOptions(rate=Fraction(30000, 1001))).timeline
    assert [loss for loss in describe_losses(reel, found) if "start timecode" in loss] == said


def test_timecode_after_midnight_is_reported_for_an_edl(tmp_path: Path) -> None:
    reel = make_reel(tmp_path, Fraction(25), 0)
    reel.global_start_time = time(25 * 86400 - 60, 25)
    assert "the timecode after midnight (starts again at 0)" in check_output(tmp_path / "reel.edl", timeline=reel)
    assert not any("timecode" in loss for loss in check_output(tmp_path / "reel.xml", timeline=reel))
