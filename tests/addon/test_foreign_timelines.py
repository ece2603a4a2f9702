"""Timelines of other programs, one quirk each: what becomes of them, and what a later export keeps."""

import json
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest

from rewas_nle.timeline.exchanged import ExchangedScene, ExchangedStrip, Original
from rewas_nle.timeline.otio_export import build_timeline
from rewas_nle.timeline.otio_import import MAX_FRAME, Import, choose_timeline, read_timeline
from rewas_nle.timeline.otio_json import OtioError, read_otio

S = otio.schema
NTSC_FILM = 23.976024627685547


def time(value: float, rate: float = 24) -> Any:
    return otio.opentime.RationalTime(value, rate)


def span(start: float, duration: float, rate: float = 24) -> Any:
    return otio.opentime.TimeRange(time(start, rate), time(duration, rate))


def clip(name: str, start: float, duration: float, url: str = "", rate: float = 24, **more: Any) -> Any:
    reference = S.ExternalReference(url or f"media/{name}.mov", span(0, 1000, rate))
    return S.Clip(name, reference, span(start, duration, rate), **more)


def timeline_of(*tracks: Any, start: Any = None, name: str = "cut") -> Any:
    timeline = S.Timeline(name, global_start_time=start)
    for number, children in enumerate(tracks, start=1):
        is_track = isinstance(children, S.Track)
        track = children if is_track else S.Track(f"V{number}", kind=S.TrackKind.Video)
        if not is_track:
            track.extend(children)
        timeline.tracks.append(track)
    return timeline


def audio(*children: Any, name: str = "A1") -> Any:
    track = S.Track(name, kind=S.TrackKind.Audio)
    track.extend(children)
    return track


def import_of(timeline: Any, rate: Fraction | None = None) -> Import:
    return read_timeline(choose_timeline(read_otio(timeline.to_json_string())), to_path, rate)


def scene_of(timeline: Any, rate: Fraction | None = None, notes: int = 0) -> ExchangedScene:
    read = import_of(timeline, rate)
    assert len(read.notes) == notes, read.notes
    return read.scene


def to_path(url: str) -> str:
    return url if url.startswith("/") else f"/cut/{url}"


def to_url(path: str) -> str:
    return path.removeprefix("/cut/")


def spans(scene: ExchangedScene) -> list[tuple[str, int, int, int, int]]:
    return [(each.name, each.channel, each.start_frame, each.end_frame, each.lead_in_frames) for each in scene.strips]


def strip_named(scene: ExchangedScene, name: str) -> ExchangedStrip:
    return next(strip for strip in scene.strips if strip.name == name)


def exported(scene: ExchangedScene) -> Any:
    """The timeline that the scene is exported as, which the real library must accept."""
    text = build_timeline(scene, to_url).timeline.to_json_string()
    return otio.adapters.read_from_string(text, "otio_json")


def without_state(value: Any) -> Any:
    """Plain values without what the export adds for Blender."""
    if isinstance(value, dict):
        return {key: without_state(each) for key, each in value.items() if key != "blender"}
    return [without_state(each) for each in value] if isinstance(value, list) else value


def plain(item: Any) -> Any:
    return without_state(json.loads(item.to_json_string()))


def test_gaps_and_trims() -> None:
    scene = scene_of(
        timeline_of([S.Gap(duration=time(10)), clip("a", 5, 20), S.Gap(duration=time(3)), clip("b", 0, 7)])
    )
    assert spans(scene) == [("a", 1, 11, 31, 5), ("b", 1, 34, 41, 0)]
    assert (scene.start_frame, scene.end_frame, scene.rate) == (1, 40, 24)
    assert scene.strips[0].files == ("/cut/media/a.mov",)


def test_sounds_go_below_pictures_and_channels_get_the_names_of_the_tracks() -> None:
    scene = scene_of(timeline_of([clip("a", 0, 9)], [clip("b", 0, 9)], audio(clip("c", 0, 9, "c.wav"), name="DX")))
    assert spans(scene) == [("a", 2, 1, 10, 0), ("b", 3, 1, 10, 0), ("c", 1, 1, 10, 0)]
    assert [(each.number, each.name) for each in scene.channels] == [(1, "DX"), (2, "V1"), (3, "V2")]
    assert strip_named(scene, "c").kind == "SOUND"


@pytest.mark.parametrize("rate", [NTSC_FILM, 23.976, 24000 / 1001, 23.98])
def test_ntsc_rates_written_as_floats(rate: float) -> None:
    start = otio.opentime.RationalTime(86400, rate)
    scene = scene_of(timeline_of([clip("a", 12, 48, rate=rate)], start=start))
    assert scene.rate == Fraction(24000, 1001)
    assert spans(scene) == [("a", 1, 86400, 86448, 12)]


def test_a_timecode_start_becomes_the_first_frame_and_is_exported_again() -> None:
    scene = scene_of(timeline_of([clip("a", 0, 24)], start=time(86400)))
    assert (scene.start_frame, scene.strips[0].start_frame) == (86400, 86400)
    assert exported(scene).global_start_time == time(86400)


def test_a_timecode_beyond_blenders_last_frame_is_kept_for_export() -> None:
    rate = 60
    timeline = timeline_of([clip("a", 0, 24, rate=rate)], start=time(10 * 3600 * rate, rate))
    assert 10 * 3600 * rate > MAX_FRAME
    read = import_of(timeline)
    assert "last frame" in read.notes[0].what
    assert (read.scene.start_frame, read.scene.strips[0].start_frame) == (1, 1)
    assert exported(read.scene).global_start_time == time(10 * 3600 * rate, rate)


def test_media_with_timecode() -> None:
    reference = S.ExternalReference("a.mov", span(86400, 500))
    scene = scene_of(timeline_of([S.Clip("a", reference, span(86412, 30))]))
    assert spans(scene) == [("a", 1, 1, 31, 12)]
    assert exported(scene).tracks[0][0].source_range == span(86412, 30)


def test_a_track_whose_range_begins_earlier() -> None:
    """The EDL adapter writes this for an edit that is recorded from 01:00:00:00."""
    timeline = timeline_of([clip("a", 0, 24)])
    timeline.tracks[0].source_range = span(-86400, 86424)
    assert spans(scene_of(timeline)) == [("a", 1, 86401, 86425, 0)]


def test_a_track_that_hides_a_part_of_its_clips() -> None:
    timeline = timeline_of([clip("a", 0, 24), clip("b", 10, 24)])
    timeline.tracks[0].source_range = span(6, 30)
    assert spans(scene_of(timeline)) == [("a", 1, 1, 19, 6), ("b", 1, 19, 31, 10)]


def test_a_dissolve_becomes_overlapping_strips_with_a_cross() -> None:
    dissolve = S.Transition("mix", S.TransitionTypes.SMPTE_Dissolve, time(4), time(6), {"resolve": {"curve": 3}})
    timeline = timeline_of([clip("a", 0, 24), dissolve, clip("b", 10, 24), clip("c", 0, 5)])
    scene = scene_of(timeline)
    assert spans(scene) == [("a", 1, 1, 31, 0), ("mix", 3, 21, 31, 0), ("b", 2, 21, 49, 6), ("c", 1, 49, 54, 0)]
    mix = strip_named(scene, "mix")
    assert (mix.kind, mix.inputs) == ("CROSS", ("a", "b"))
    found = exported(scene)
    assert [plain(child) for child in found.tracks[0]] == [plain(child) for child in timeline.tracks[0]]


def test_a_fade_from_black_is_kept_for_export() -> None:
    fade = S.Transition("fade", S.TransitionTypes.SMPTE_Dissolve, time(0), time(6))
    timeline = timeline_of([S.Gap(duration=time(5)), fade, clip("a", 0, 24)])
    read = import_of(timeline)
    assert "fade" in read.notes[0].what
    assert spans(read.scene) == [("a", 1, 6, 30, 0)]
    found = exported(read.scene)
    assert [type(child) for child in found.tracks[0]] == [S.Gap, S.Transition, S.Clip]


def test_nested_stacks_become_metas() -> None:
    inner = S.Stack("nest")
    inner.append(S.Track("V1", [clip("a", 5, 20), clip("b", 0, 30)]))
    inner.append(S.Track("V2", [S.Gap(duration=time(8)), clip("c", 0, 4)]))
    inner.source_range = span(10, 25)
    scene = scene_of(timeline_of([S.Gap(duration=time(100)), inner]))
    (meta,) = scene.strips
    assert (meta.kind, *spans(scene)[0]) == ("META", "nest", 1, 101, 126, 10)
    assert [(each.name, each.channel, each.start_frame, each.end_frame) for each in meta.strips] == [
        ("a", 1, 91, 111),
        ("b", 1, 111, 141),
        ("c", 2, 99, 103),
    ]


def test_speed_becomes_a_speed_effect() -> None:
    warped = clip("a", 0, 24, effects=[S.LinearTimeWarp(time_scalar=2)])
    scene = scene_of(timeline_of([warped, clip("b", 0, 9)]))
    effect = strip_named(scene, "Speed")
    assert (effect.kind, effect.inputs, effect.properties["speed_factor"]) == ("SPEED", ("a",), 2.0)
    assert (effect.start_frame, effect.end_frame) == (1, 25)
    assert plain(exported(scene).tracks[0][0]) == plain(warped)


def test_a_freeze_holds_its_first_frame() -> None:
    frozen = clip("a", 30, 24, effects=[S.FreezeFrame()])
    scene = scene_of(timeline_of([frozen]))
    assert (scene.strips[0].is_frozen, scene.strips[0].lead_in_frames) == (True, 30)
    assert plain(exported(scene).tracks[0][0]) == plain(frozen)


def test_reversed_clips_show_the_same_frames() -> None:
    reverse = clip("a", 100, 24, effects=[S.LinearTimeWarp(time_scalar=-1)])
    scene = scene_of(timeline_of([reverse]))
    (strip,) = scene.strips
    assert strip.properties["use_reverse_frames"] is True
    # Of 1000 frames, frame 100 to 123 are 876 to 899 when counted from the end.
    assert strip.lead_in_frames == 876


def test_audio_between_frames_is_placed_to_the_sample() -> None:
    reference = S.ExternalReference("a.wav", span(0, 480000, 48000))
    sound = S.Clip("a", reference, otio.opentime.TimeRange(time(3010, 48000), time(48000, 48000)))
    scene = scene_of(timeline_of([clip("p", 0, 24)], audio(S.Gap(duration=time(1001, 48000)), sound)))
    strip = strip_named(scene, "a")
    starts_s = Fraction(strip.content_start_frame - 1, 24) + strip.sound_offset_s
    assert starts_s == Fraction(1001 - 3010, 48000)
    assert 0 <= strip.sound_offset_s < Fraction(1, 24)


def test_images_generators_missing_media_and_sounds_on_video_tracks() -> None:
    sequence = S.ImageSequenceReference("/seq/", "s.", ".exr", 1001, 1, 24, 4, available_range=span(0, 3))
    bars = S.GeneratorReference(generator_kind="SMPTEBars", parameters={"level": 75})
    children = [
        S.Clip("seq", sequence, span(1, 2)),
        clip("still", 0, 50, "still.png"),
        S.Clip("bars", bars, span(0, 9)),
        S.Clip("offline.mov", S.MissingReference(), span(0, 9)),
        clip("boom", 0, 9, "boom.wav"),
    ]
    read = import_of(timeline_of(children))
    kinds = {strip.name: (strip.kind, strip.files) for strip in read.scene.strips}
    assert kinds == {
        "seq": ("IMAGE", tuple(f"/seq/s.{number}.exr" for number in (1001, 1002, 1003))),
        "still": ("IMAGE", ("/cut/still.png",)),
        "bars": ("COLOR", ()),
        "offline.mov": ("MOVIE", ("",)),
        "boom": ("SOUND", ("/cut/boom.wav",)),
    }
    assert strip_named(read.scene, "seq").lead_in_frames == 1
    assert [note.what for note in read.notes] == ['The clip "bars" shows SMPTEBars.']
    found = exported(read.scene)
    shown = {child.name: child for track in found.tracks for child in track}
    for child in children:
        assert plain(shown[child.name]) == plain(child)


def test_markers_keep_their_colours_notes_and_owners() -> None:
    marked = clip("a", 20, 24, markers=[S.Marker("hit", span(26, 0), "RED", {"x": 1}, comment="a door")])
    timeline = timeline_of([S.Gap(duration=time(10)), marked], start=time(100))
    timeline.tracks.markers.append(S.Marker("act 2", span(30, 48), "CYAN"))
    timeline.tracks[0].markers.append(S.Marker("reel", span(1, 1), "GREEN"))
    scene = scene_of(timeline)
    assert sorted((each.name, each.frame, each.owner) for each in scene.markers) == [
        ("act 2", 130, ""),
        ("hit", 116, "a"),
        ("reel", 101, ""),
    ]
    found = exported(scene)
    assert plain(found.tracks[0][1].markers[0]) == plain(marked.markers[0])
    act = next(marker for marker in found.tracks.markers if marker.name == "act 2")
    assert plain(act) == plain(timeline.tracks.markers[0])


def test_what_blender_does_not_know_is_exported_again() -> None:
    media = S.ExternalReference("file:///cards/a%20b.mov", span(0, 99), {"resolve": {"reel": "A001"}})
    shot = S.Clip("a", media, span(0, 24), {"resolve": {"grade": [1, 2]}}, effects=[S.Effect("n", "blur", {"r": 3})])
    shot.set_media_references({"DEFAULT_MEDIA": media, "proxy": S.ExternalReference("proxy/a.mov")}, "DEFAULT_MEDIA")
    timeline = timeline_of([shot], start=time(0))
    timeline.metadata["premiere"] = {"project": 7}
    timeline.tracks.metadata["stack"] = True
    timeline.tracks[0].metadata["resolve"] = {"locked": True}
    data = json.loads(timeline.to_json_string())
    item = data["tracks"]["children"][0]["children"][0]
    item["effects"].append({"OTIO_SCHEMA": "FutureWarp.7", "curve": [1, 2], "metadata": {}, "name": ""})
    item["made_later"] = {"a": 1}
    data["tracks"]["children"][0]["made_later"] = 5
    read = read_timeline(read_otio(json.dumps(data)), to_path)
    assert not read.notes
    text = build_timeline(read.scene, to_url).timeline.to_json_string()
    assert without_state(json.loads(text)) == data


def test_a_moved_and_trimmed_clip_keeps_the_rest() -> None:
    scene = scene_of(timeline_of([clip("a", 5, 20, metadata={"resolve": {"grade": 1}})]))
    (strip,) = scene.strips
    moved = ExchangedStrip(**{**vars(strip), "start_frame": 13, "end_frame": 23, "content_start_frame": 6})
    found = exported(ExchangedScene(**{**vars(scene), "strips": (moved,)}))
    gap, item = found.tracks[0]
    assert gap.duration() == time(12)
    assert item.source_range == span(7, 10)
    assert item.metadata["resolve"] == {"grade": 1}
    assert isinstance(strip.original, Original)


def test_a_changed_position_in_an_exported_file_moves_the_strip() -> None:
    """Another program may move, trim and rename what Blender has exported."""
    strip = ExchangedStrip(
        "a", "MOVIE", 4, 10, 30, 4, 100, ("/cut/a.mov",), Fraction(24), 100, properties={"blend_alpha": 0.5}
    )
    timeline = exported(ExchangedScene("cut", Fraction(24), 1, 100, (strip,)))
    gap, item = timeline.tracks[0]
    assert (gap.duration(), item.source_range) == (time(9), span(6, 20))
    gap.source_range = span(0, 20)
    item.source_range = span(9, 11)
    item.name = "b"
    (found,) = scene_of(timeline).strips
    assert spans(scene_of(timeline)) == [("b", 4, 21, 32, 9)]
    assert found.properties == {"blend_alpha": 0.5}


def test_other_rates_go_to_the_nearest_frame_without_adding_up() -> None:
    shots = [clip(str(number), 0, 7, rate=30) for number in range(100)]
    scene = scene_of(timeline_of(shots), rate=Fraction(24))
    assert scene.strips[-1].end_frame == 1 + 700 * 24 // 30
    assert all(first.end_frame == second.start_frame for first, second in pairwise(scene.strips))


def test_the_stems_of_a_batch_become_takes_of_their_clips() -> None:
    prompted = clip("a", 5, 24, metadata={"rewas": {"prompt": "rain", "takes": 2}})
    stems = []
    for take in (1, 2):
        for role in ("primary", "ambience"):
            prompt = "rain" if role == "primary" else "a quiet room"
            origin = {"role": role, "take": take, "prompt": prompt, "seed": 2**40 + take, "pack": "starter"}
            media = S.ExternalReference(f"stems/{role}{take}.wav", span(48000, 48000, 48000))
            stem = S.Clip(f"a {role}", media, span(24, 24), {"rewas": origin})
            track = audio(S.Gap(duration=time(10)), stem, name=f"ReWaS {role}, take {take}")
            track.metadata["rewas"] = {"role": role, "take": take}
            stems.append(track)
    lost = S.Clip("b primary", S.ExternalReference("b.wav"), span(0, 9), {"rewas": {"role": "primary", "take": 1}})
    read = import_of(timeline_of([S.Gap(duration=time(10)), prompted], *stems, audio(lost)))
    strip, separate = read.scene.strips
    assert (separate.kind, separate.start_frame, separate.end_frame) == ("SOUND", 1, 10)
    assert [take.number for take in strip.takes] == [1, 2]
    first = strip.takes[0]
    assert (first.roles, first.seed, first.pack) == (("primary", "ambience"), 2**40 + 1, "starter")
    assert (first.lead_in_frames, first.frames, first.scene_rate) == (5, 24, 24)
    assert (first.stems[0].path, first.stems[0].samples) == (Path("/cut/stems/primary1.wav"), 48000)
    assert (strip.active_take, strip.has_new_takes) == (first.id, True)
    assert [each.name for each in read.scene.channels] == ["A1", "V1"]
    assert '"b primary"' in read.notes[0].what


def first_range(data: Any) -> Any:
    return data["tracks"]["children"][0]["children"][0]["source_range"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data["tracks"].update(children=[1, {}]), ""),
        (lambda data: data["tracks"]["children"][0].update(kind="Subtitle"), "kept only for export"),
        (
            lambda data: data["tracks"]["children"][0]["children"][0]["source_range"]["duration"].update(value=0),
            "no duration",
        ),
    ],
)
def test_unusual_files_are_read(change: Any, reason: str) -> None:
    data = json.loads(timeline_of([clip("a", 0, 9)]).to_json_string())
    change(data)
    read = read_timeline(read_otio(json.dumps(data)), to_path)
    assert read.scene.strips == ()
    assert reason in " ".join(map(str, read.notes))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda clip: clip["source_range"]["duration"].update(value=-5), "has a duration of"),
        (lambda clip: clip["source_range"]["duration"].update(rate=0), "is not a time"),
        (lambda clip: clip["source_range"]["start_time"].update(value=float("nan")), "is not a time"),
        (lambda clip: clip["source_range"]["start_time"].update(value="7"), "The field"),
        (lambda clip: clip.update(media_references=[]), "The field"),
    ],
)
def test_invalid_files_are_refused_with_the_reason(change: Any, reason: str) -> None:
    data = json.loads(timeline_of([clip("a", 0, 9)]).to_json_string())
    change(data["tracks"]["children"][0]["children"][0])
    with pytest.raises(OtioError, match=reason):
        read_timeline(read_otio(json.dumps(data)), to_path)


def test_deep_nesting_and_too_many_tracks_are_refused() -> None:
    stack: Any = clip("a", 0, 9)
    for _ in range(80):
        stack = S.Stack("deep", [S.Track("t", [stack])])
    with pytest.raises(OtioError, match="levels") as refused:
        import_of(timeline_of([stack]))
    assert "fewer levels" in refused.value.remedy
    with pytest.raises(OtioError, match="129 channels") as refused:
        import_of(timeline_of(*[[clip(str(number), 0, 9)] for number in range(129)]))
    assert "fewer tracks" in refused.value.remedy


def bin_of(*names: str) -> Any:
    return read_otio(S.SerializableCollection("bin", [timeline_of(name=name) for name in names]).to_json_string())


def test_one_of_several_timelines_is_chosen_by_name() -> None:
    assert choose_timeline(bin_of("one", "two"), "two").name == "two"
    assert choose_timeline(bin_of("one"), "").name == "one"


@pytest.mark.parametrize(
    ("names", "chosen", "what", "remedy"),
    [
        (("one", "two"), "", '2 timelines ("one", "two")', "Enter one of these names under Timeline."),
        (("one", "two"), "three", 'named "three", only "one", "two"', "Enter one of these names under Timeline."),
        (("one",), "two", 'named "two", only "one"', "Leave Timeline empty."),
        (("", ""), "", "2 timelines", "Give each timeline its own name"),
        (("", ""), "two", 'named "two"', "Give each timeline its own name"),
        (("one", "one", "two"), "one", '2 timelines ("one", "one")', "Give each timeline its own name"),
        (("one", "one", "two"), "", "3 timelines", "Enter one of these names under Timeline."),
        ((), "", "contains no timeline", "Choose a file that contains a timeline."),
        ((), "one", "contains no timeline.", "Choose a file that contains a timeline."),
    ],
)
def test_a_name_that_chooses_no_timeline_is_refused_with_what_helps(
    names: tuple[str, ...], chosen: str, what: str, remedy: str
) -> None:
    with pytest.raises(OtioError) as refused:
        choose_timeline(bin_of(*names), chosen)
    assert what in str(refused.value)
    assert refused.value.remedy.startswith(remedy)


def test_a_file_without_a_timeline_is_refused() -> None:
    with pytest.raises(OtioError, match="contains no timeline, but a MissingReference") as refused:
        choose_timeline(read_otio(S.MissingReference().to_json_string()))
    assert refused.value.remedy == "Choose a file that contains a timeline."


@pytest.mark.parametrize(
    ("name", "track", "sentence"),
    [
        ("a", "V1", 'The clip "a" on the track "V1" has no duration.'),
        ("", "V1", 'A clip without a name on the track "V1" has no duration.'),
        ("a", "", 'The clip "a" on a track without a name has no duration.'),
    ],
)
def test_a_clip_without_a_duration_is_named_in_a_sentence(name: str, track: str, sentence: str) -> None:
    (note,) = import_of(timeline_of(S.Track(track, [clip(name, 0, 0, "media/a.mov")]))).notes
    assert note.what == sentence


def test_damaged_metadata_is_reported_and_the_clip_stays() -> None:
    state = {"type": "MOVIE", "lead_in_frames": "x", "takes": [{"id": 1}], "modifiers": 3, "trimmed_frames": [1]}
    read = import_of(timeline_of([clip("a", 5, 20, metadata={"blender": state})]))
    assert 'The Blender data of the strip "a" is damaged' in read.notes[0].what
    assert [(each.name, each.start_frame, each.end_frame) for each in read.scene.strips] == [("a", 1, 21)]
