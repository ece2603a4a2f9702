"""REAPER projects as OpenTimelineIO: items, takes, tracks, markers and start, and errors for invalid files."""

import json
from fractions import Fraction
from typing import Any

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.reaper_projects import ReaperError, read_reaper_project

HEAD = '<REAPER_PROJECT 0.1 "7.11/linux-x86_64" 1700000000\n'


def read(body: str, name: str = "mix") -> otio.schema.Timeline:
    """Read a project as OpenTimelineIO does, which checks every field."""
    values = read_reaper_project(f"{HEAD}{body}\n>\n", name)
    timeline = otio.adapters.read_from_string(json.dumps(values), "otio_json")
    assert isinstance(timeline, otio.schema.Timeline)
    return timeline


def item(position: str, length: str, lines: str = "", file: str = "stems/door.wav", kind: str = "WAVE") -> str:
    source = f'<SOURCE {kind}\nFILE "{file}"\n>'
    return f'<ITEM\nPOSITION {position}\nLENGTH {length}\nNAME "door 1"\n{lines}\n{source}\n>\n'


def track(items: str, lines: str = 'NAME "FX 1"') -> str:
    return f"<TRACK {{A1}}\n{lines}\n{items}>\n"


def placed(timeline: otio.schema.Timeline) -> list[tuple[str, float, float, float]]:
    """Name, start on the timeline, start in the media and length of each clip, in samples."""
    found = []
    for clip in timeline.find_clips():
        begins = clip.transformed_time_range(clip.trimmed_range(), timeline.tracks).start_time.value
        found.append((clip.name, begins, clip.source_range.start_time.value, clip.source_range.duration.value))
    return found


def test_items_are_at_their_samples() -> None:
    body = "SAMPLERATE 48000 0 0\n" + track(item("1.00104166666667", "2.25", "SOFFS 0.5") + item("4", "1"))
    timeline = read(body)
    assert placed(timeline) == [("door 1", 48050, 24000, 108000), ("door 1", 192000, 0, 48000)]
    (only,) = timeline.tracks
    assert (only.name, only.kind, only.enabled) == ("FX 1", "Audio", True)
    assert next(iter(timeline.find_clips())).media_reference.target_url == "stems/door.wav"


def test_overlapping_items_get_further_tracks() -> None:
    timeline = read(track(item("0", "2") + item("1", "2") + item("2", "1")))
    assert [(each.name, len(list(each.find_clips()))) for each in timeline.tracks] == [("FX 1", 2), ("FX 1", 1)]
    assert sorted(placed(timeline)) == [
        ("door 1", 0, 0, 96000),
        ("door 1", 48000, 0, 96000),
        ("door 1", 96000, 0, 48000),
    ]


def test_mute_volume_pan_and_fades_are_read() -> None:
    lines = "MUTE 1 0\nVOLPAN 0.5 -0.25 2 -1\nFADEIN 1 0.005 0\nFADEOUT 1 0.25 0\nLOOP 1\nIGUID {B2}"
    timeline = read(track(item("0", "1", lines), 'NAME "Room tone"\nVOLPAN 0.5 1 -1\nMUTESOLO 1 0 0'))
    (clip,) = timeline.find_clips()
    assert not clip.enabled
    expected = {"volume": 1.0, "pan": -0.25, "fade_in_s": 0.005, "fade_out_s": 0.25, "guid": "{B2}", "loops": True}
    assert dict(clip.metadata["reaper"]) == {**expected, "source": "WAVE"}
    assert not timeline.tracks[0].enabled
    assert dict(timeline.tracks[0].metadata["reaper"]) == {"volume": 0.5, "pan": 1.0, "guid": "{A1}"}


@pytest.mark.parametrize("active", [True, False])
def test_envelopes_that_play_are_known(active: bool) -> None:
    envelope = f"EGUID {{C3}}\nACT {int(active)} -1\nVIS 1 1 1\nPT 0 1 0\nPT 1 0.25 0\n>"
    timeline = read(track(item("0", "1", f"<VOLENV\n{envelope}"), f'NAME "FX 1"\n<PANENV2\n{envelope}'))
    (clip,) = timeline.find_clips()
    assert clip.metadata["reaper"].get("envelopes", False) == active
    assert timeline.tracks[0].metadata["reaper"].get("envelopes", False) == active


def test_takes_are_media_references() -> None:
    takes = 'SOFFS 1\n<SOURCE WAVE\nFILE "one.wav"\n>\nTAKE SEL\nNAME second\nTAKEVOLPAN 0.5 0.25 -1\nSOFFS 0.25'
    timeline = read(track(item("0", "1", takes, file="two.wav")))
    (clip,) = timeline.find_clips()
    references = {key: each.target_url for key, each in clip.media_references().items()}
    assert references == {"take 1": "one.wav", "take 2": "two.wav"}
    assert (clip.active_media_reference_key, clip.name) == ("take 2", "second")
    assert clip.source_range.start_time.value == 12000
    assert (clip.metadata["reaper"]["volume"], clip.metadata["reaper"]["pan"]) == (0.25, 0.5)


def test_sections_rates_and_reversal_are_read() -> None:
    section = '<SOURCE SECTION\nSTARTPOS 1.5\nMODE 2\n<SOURCE WAVE\nFILE "a b.wav"\n>\n>\n'
    body = track(f"<ITEM\nPOSITION 0\nLENGTH 1\nNAME x\nPLAYRATE 2 1 0\n{section}>\n")
    (clip,) = read(body).find_clips()
    assert clip.media_reference.target_url == "a b.wav"
    assert clip.source_range.start_time.value == 72000
    assert [effect.time_scalar for effect in clip.effects] == [-2]


def test_a_track_of_pictures_is_a_video_track() -> None:
    timeline = read(track(item("0", "1", kind="VIDEO", file="film.mov")) + track(item("0", "1")) + track(""))
    assert [each.kind for each in timeline.tracks] == ["Video", "Audio", "Audio"]


@pytest.mark.parametrize(
    ("mode", "rate"),
    [
        ("1 5 -1 24 0 0 -1", Fraction(24)),
        ("1 5 -1 24 2 0 -1", Fraction(24000, 1001)),
        ("1 5 -1 30 1 0 -1", Fraction(30000, 1001)),
        ("1 5 -1 60 2 0 -1", Fraction(60000, 1001)),
        ("1 5 -1 25 0 0 -1", Fraction(25)),
    ],
)
def test_the_start_is_the_timecode_of_the_first_frame(mode: str, rate: Fraction) -> None:
    start = read(f"TIMEMODE {mode}\nPROJOFFS {float(86400 / rate):.14f} 0 0").global_start_time
    assert start.value == 86400
    assert start.rate == pytest.approx(float(rate), abs=1e-12)
    assert read(f"TIMEMODE {mode}").global_start_time is None


def test_markers_and_regions_are_read() -> None:
    lines = 'MARKER 1 10.5 "SFX: door" 0\nMARKER 2 12 "act 2" 1 0 1 B {0} 0\nMARKER 2 15 "" 1'
    markers = read(lines).tracks.markers
    found = [(each.name, each.marked_range.start_time.value, each.marked_range.duration.value) for each in markers]
    assert found == [("SFX: door", 504000, 0), ("act 2", 576000, 144000)]


def test_stored_metadata_comes_back() -> None:
    stored = {"rewas": {"role": "primary", "prompt": "it's a \u201cdoor\u201d"}}
    text = json.dumps(stored, ensure_ascii=False).replace("'", "\\u0027")
    (clip,) = read(track(item("0", "1", f"<EXT\nrewas '{text}'\n>"))).find_clips()
    assert dict(clip.metadata["rewas"]) == stored["rewas"]
    on_track = read(track(item("0", "1"), f"NAME x\n<EXT\nrewas '{text}'\n>")).tracks[0]
    assert dict(on_track.metadata["rewas"]) == stored["rewas"]
    (edited,) = read(track(item("0", "1", "<EXT\nrewas '{'\n>"))).find_clips()
    assert list(edited.metadata) == ["reaper"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "It is not a REAPER project."),
        ("<xml/>", "It is not a REAPER project."),
        (HEAD, "The block REAPER_PROJECT has no end, so part of the project is missing."),
        (f"{HEAD}<TRACK\nNAME x\n>\n", "The block REAPER_PROJECT has no end"),
        (HEAD + "<A\n" * 100, "Line 65 is nested more than 64 levels deep."),
        (f"{HEAD}{track(item('abc', '1'))}>", "The line POSITION has 'abc' instead of a number."),
        (f"{HEAD}{track(item('1e99', '1'))}>", "The line POSITION has '1e99' instead of a number."),
        (f"{HEAD}{track(item('nan', '1'))}>", "The line POSITION has 'nan' instead of a number."),
        (f"{HEAD}{track(item('0', '-1'))}>", "An item at 0 s has a negative length."),
        (f"{HEAD}SAMPLERATE 0\n>", "The project has a sample rate of 0 Hz."),
    ],
)
def test_an_invalid_project_is_explained(text: str, what: str) -> None:
    with pytest.raises(ReaperError) as raised:
        read_reaper_project(text)
    assert raised.value.what.startswith(what)
    assert raised.value.remedy.endswith(".")


WORDS = st.sampled_from(
    [
        "<ITEM", "<TRACK", "<SOURCE WAVE", "<SOURCE SECTION", "<EXT", ">", "TAKE SEL", "POSITION", "LENGTH 2", "VOLPAN",
        "MARKER 1 2 x 1", "MARKER", "PROJOFFS", "TIMEMODE", "FILE 'x", "NAME `", "rewas '[]'", "PLAYRATE 0",
        "SOFFS -1", "MUTE", "1", "-0.5", "1e400", "\x00", "", "SAMPLERATE 44100",
    ]
)  # fmt: skip


@given(st.lists(st.lists(WORDS, max_size=3).map(" ".join), max_size=30))
def test_any_project_is_read_or_explained(lines: list[str]) -> None:
    try:
        values: Any = read_reaper_project(HEAD + "\n".join(lines) + "\n>\n")
    except ReaperError:
        return
    otio.adapters.read_from_string(json.dumps(values), "otio_json")
