"""Stems are placed exactly under their clips, on separate tracks."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Literal

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine.exact_time import sample_count
from rewas_server.delivery.layout import arrange_tracks
from rewas_server.delivery.metadata import TimecodeRate
from rewas_server.delivery.profiles import Layout, ProfileTables, TrackRule
from rewas_server.delivery.provenance import Provenance
from rewas_server.delivery.stems import PlacedStem
from rewas_server.delivery.time_reference import time_reference_samples
from rewas_server.otio.clips import timeline_frame_rate, timeline_start_s
from rewas_server.otio.exact_times import exact_seconds
from rewas_server.otio.planning import FindOptions, find_clips, ready_clips
from rewas_server.otio.stem_tracks import add_stem_tracks, remove_stem_tracks

RATES = [Fraction(n) for n in (24, 25, 30, 50, 60)] + [Fraction(n * 1000, 1001) for n in (24, 30, 60)]
SAMPLE_RATE_HZ = 48000


def video_timeline(shots: list[tuple[int, int, Fraction, bool]]) -> otio.schema.Timeline:
    """A timeline of (gap frames, clip frames, rate, has a prompt) on one track."""
    timeline = otio.schema.Timeline(name="reel")
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    timeline.tracks.append(track)
    for number, (gap, frames, rate, prompted) in enumerate(shots):
        if gap:
            track.append(otio.schema.Gap(duration=otio.opentime.RationalTime(gap, float(rate))))
        clip = otio.schema.Clip(
            name=f"shot {number}",
            media_reference=otio.schema.ExternalReference(target_url=f"/media/{number}.mov"),
            source_range=otio.opentime.TimeRange(
                otio.opentime.RationalTime(0, float(rate)), otio.opentime.RationalTime(frames, float(rate))
            ),
        )
        if prompted:
            clip.metadata["rewas"] = {"prompt": f"sound {number}"}
        track.append(clip)
    return timeline


def stems_for(
    timeline: otio.schema.Timeline,
    takes: int = 1,
    roles: tuple[str, ...] = ("primary",),
    head_frames: int = 0,
    track: str | None = None,
) -> list[PlacedStem]:
    """The stems of all clips. The first take is audible, without its mix."""
    rate = TimecodeRate.usual(timeline_frame_rate(timeline))
    head_s = head_frames / rate.frame_rate
    start_s = timeline_start_s(timeline) - head_s
    return [
        PlacedStem(
            clip_name=clip.source.name,
            clip_number=number,
            role=role,
            take_number=take,
            track=track or role,
            is_audible=take == 1 and role != "mix",
            position_s=clip.position_s,
            duration_s=clip.duration_s,
            frame_rate=clip.frame_rate,
            target_url=f"{clip.source.name} {role} {take}.wav",
            sample_rate_hz=SAMPLE_RATE_HZ,
            samples=sample_count(head_s + clip.duration_s, SAMPLE_RATE_HZ),
            time_reference_samples=time_reference_samples(start_s + clip.position_s, rate, SAMPLE_RATE_HZ),
            head_handle_s=head_s,
            provenance=Provenance(clip.settings.prompt, 7, "starter", "0.1.0", "Apache-2.0"),
        )
        for number, clip in enumerate(ready_clips(find_clips(timeline, FindOptions(visible="all"))), start=1)
        for take in range(1, takes + 1)
        for role in roles
    ]


shots = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(1, 5000), st.sampled_from(RATES), st.booleans()),
    min_size=1,
    max_size=12,
)


@given(shots)
def test_each_stem_is_under_its_clip(shots: list[tuple[int, int, Fraction, bool]]) -> None:
    timeline = video_timeline(shots)
    before = timeline.tracks[0].clone()
    stems = stems_for(timeline)
    add_stem_tracks(timeline, stems)
    timeline = otio.adapters.read_from_string(timeline.to_json_string(), "otio_json")
    assert timeline.tracks[0].is_equivalent_to(before)
    assert len(timeline.tracks) == (2 if stems else 1)
    clips_by_name = {clip.name: clip for clip in timeline.tracks[0].find_clips()}
    for track in timeline.tracks[1:]:
        assert track.kind == otio.schema.TrackKind.Audio
        for clip in track.find_clips():
            clip_range = clips_by_name[clip.name.removesuffix(" primary")].range_in_parent()
            stem_range = clip.range_in_parent()
            # Whole frames are exact; positions off the frames of the timeline are rounded to samples.
            is_in_frames = clip.source_range.duration.rate != SAMPLE_RATE_HZ
            tolerance_s = (0.01 if is_in_frames else 0.501) / SAMPLE_RATE_HZ
            assert abs(stem_range.start_time.to_seconds() - clip_range.start_time.to_seconds()) < tolerance_s
            assert abs(stem_range.duration.to_seconds() - clip_range.duration.to_seconds()) < 2 * tolerance_s
            media = clip.media_reference.available_range
            tolerance_s = 0.501 / SAMPLE_RATE_HZ
            assert abs(clip.source_range.start_time.to_seconds() - media.start_time.to_seconds()) < tolerance_s
            assert abs(media.duration.to_seconds() - stem_range.duration.to_seconds()) <= 2 * tolerance_s
            for time in (clip.source_range.start_time, clip.source_range.duration):
                assert time.value == round(time.value)


def test_one_version_is_audible_and_the_others_are_on_muted_tracks() -> None:
    timeline = video_timeline([(0, 24, Fraction(24), True), (12, 24, Fraction(24), True)])
    add_stem_tracks(timeline, stems_for(timeline, takes=2, roles=("primary", "ambience", "mix")))
    assert [(track.name, track.enabled) for track in timeline.tracks] == [
        ("V1", True),
        ("ReWaS primary", True),
        ("ReWaS ambience", True),
        ("ReWaS mix, take 1", False),
        ("ReWaS primary, take 2", False),
        ("ReWaS ambience, take 2", False),
        ("ReWaS mix, take 2", False),
    ]
    assert [len(list(track.find_clips())) for track in timeline.tracks] == [2] * 7
    assert dict(timeline.tracks[4].metadata["rewas"]) == {
        "role": "primary",
        "take": 2,
        "track": "primary",
        "made_by": "batch",
    }


def test_further_takes_can_be_media_references_of_the_clip() -> None:
    timeline = video_timeline([(0, 24, Fraction(24), True)])
    profile = ProfileTables(schema=1, layout=Layout(further_takes="references"))
    add_stem_tracks(timeline, stems_for(timeline, takes=3), profile)
    timeline = otio.adapters.read_from_string(timeline.to_json_string(), "otio_json")
    (clip,) = timeline.tracks[1].find_clips()
    references = clip.media_references()
    assert {key: reference.target_url for key, reference in references.items()} == {
        "DEFAULT_MEDIA": "shot 0 primary 1.wav",
        "take 2": "shot 0 primary 2.wav",
        "take 3": "shot 0 primary 3.wav",
    }
    assert clip.media_reference.target_url == "shot 0 primary 1.wav"
    assert references["take 3"].metadata["rewas"]["take"] == 3
    assert len(timeline.tracks) == 2


def test_tracks_are_in_the_order_of_the_profile() -> None:
    timeline = video_timeline([(0, 24, Fraction(24), True)])
    rules = tuple(TrackRule(name) for name in ("FX", "FOLEY", "AMB"))
    profile = ProfileTables(schema=1, tracks=rules, layout=Layout("{track}", "{track} take {take}"))
    stems = [stem for track in ("Doors", "AMB", "FX") for stem in stems_for(timeline, track=track)]
    add_stem_tracks(timeline, stems, profile)
    assert [track.name for track in timeline.audio_tracks()] == ["FX", "AMB", "Doors"]


@given(
    spans=st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20), st.sampled_from(["FX", "AMB"])), max_size=30),
    takes=st.integers(1, 3),
    further_takes=st.sampled_from(["tracks", "references"]),
)
def test_each_stem_is_placed_once_without_overlaps(
    spans: list[tuple[int, int, str]], takes: int, further_takes: Literal["tracks", "references"]
) -> None:
    provenance = Provenance("rain", 7, "starter", "0.1.0", "Apache-2.0")
    stems = [
        PlacedStem(
            f"clip {number}", "primary", take, track, take == 1, Fraction(begin, 24), Fraction(frames, 24),
            Fraction(24), f"{number} {take}.wav", 48_000, 2000 * frames, 2000 * begin, provenance, clip_number=number,
        )
        for number, (begin, frames, track) in enumerate(spans)
        for take in range(1, takes + 1)
    ]  # fmt: skip
    profile = ProfileTables(schema=1, layout=Layout(further_takes=further_takes))
    tracks = arrange_tracks(stems, profile)
    placed = [stem for track in tracks for stem in track.stems]
    referenced = [stem for track in tracks for others in track.further_takes for stem in others]
    assert sorted(stem.target_url for stem in [*placed, *referenced]) == sorted(stem.target_url for stem in stems)
    assert bool(referenced) == (further_takes == "references" and takes > 1 and bool(spans))
    assert len({track.name for track in tracks}) == len(tracks)
    for track in tracks:
        assert {stem.track for stem in track.stems} == {track.track}
        assert {stem.is_audible for stem in track.stems} == {track.is_audible}
        for stem, following in pairwise(track.stems):
            assert stem.position_s + stem.duration_s <= following.position_s
    # No more lanes than sounds at the same time.
    for name in ("FX", "AMB"):
        lanes = [track for track in tracks if track.track == name and track.is_audible]
        busiest = max((sum(b <= at < b + f and t == name for b, f, t in spans) for at in range(80)), default=0)
        assert len(lanes) == busiest


def test_stems_of_overlapping_clips_are_on_two_tracks() -> None:
    timeline = video_timeline([(0, 48, Fraction(24), True), (12, 24, Fraction(24), True)])
    above = video_timeline([(24, 48, Fraction(24), True)])
    timeline.tracks.append(above.tracks[0].clone())
    add_stem_tracks(timeline, stems_for(timeline))
    assert [track.name for track in timeline.tracks[2:]] == ["ReWaS primary", "ReWaS primary (2)"]
    assert [len(list(track.find_clips())) for track in timeline.tracks[2:]] == [2, 1]
    assert timeline.tracks[3].range_of_child_at_index(1).start_time.to_seconds() == 1


def test_a_stem_has_its_generation_settings_as_metadata() -> None:
    timeline = video_timeline([(0, 24, Fraction(24000, 1001), True)])
    add_stem_tracks(timeline, stems_for(timeline))
    (clip,) = timeline.tracks[1].find_clips()
    assert dict(clip.metadata["rewas"]) == {
        "role": "primary",
        "take": 1,
        "track": "primary",
        "prompt": "sound 0",
        "seed": 7,
        "pack": "starter",
        "pack_version": "0.1.0",
        "licence": "Apache-2.0",
        "permitted_use": "",
        "digital_source_type": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
        "sample_rate_hz": 48000,
        "samples": 48048,
        "channels": 1,
        "time_reference_samples": 0,
    }


def test_the_timecode_counts_from_the_start_of_the_timeline() -> None:
    timeline = video_timeline([(24, 24, Fraction(24), True)])
    timeline.global_start_time = otio.opentime.from_timecode("01:00:00:00", 24)
    add_stem_tracks(timeline, stems_for(timeline))
    (stem,) = timeline.tracks[1].find_clips()
    assert stem.media_reference.available_range.start_time.value == 3601 * SAMPLE_RATE_HZ
    assert stem.source_range.start_time.to_seconds() == 3601
    assert stem.range_in_parent().start_time.to_seconds() == 1


@pytest.mark.parametrize(
    ("rate", "timecode", "frames", "samples"),
    [
        (Fraction(30000, 1001), "01:00:00;00", 107_892, 172_799_827),
        (Fraction(60000, 1001), "01:00:00;00", 215_784, 172_799_827),
        (Fraction(24000, 1001), "02:00:00:00", 172_800, 345_945_600),
        (Fraction(25), "10:00:00:00", 900_000, 1_728_000_000),
    ],
)
def test_timecodes_are_on_whole_frames(rate: Fraction, timecode: str, frames: int, samples: int) -> None:
    timeline = video_timeline([(0, 10, rate, True), (7, 25, rate, True)])
    timeline.global_start_time = otio.opentime.RationalTime(frames, float(rate))
    add_stem_tracks(timeline, stems_for(timeline))
    first, gap, second = timeline.tracks[1]
    assert first.source_range.start_time == otio.opentime.RationalTime(frames, float(rate))
    assert first.source_range.start_time.to_timecode(float(rate), None if rate.denominator == 1001 else False)
    assert otio.opentime.to_timecode(first.source_range.start_time) == timecode
    assert first.media_reference.available_range.start_time.value == samples
    assert (gap.source_range.duration.value, second.source_range.duration.value) == (7, 25)
    assert second.source_range.start_time.value == frames + 17


def test_clips_off_the_frames_of_the_timeline_are_placed_to_the_sample() -> None:
    # 10 frames at 25 are 19 200 samples; 9.6 frames of a timeline at 24.
    timeline = video_timeline([(0, 10, Fraction(25), True), (7, 24, Fraction(24), True), (0, 24, Fraction(24), True)])
    timeline.global_start_time = otio.opentime.RationalTime(86_400, 24)
    add_stem_tracks(timeline, stems_for(timeline))
    first, gap, second, third = timeline.tracks[1]
    assert [item.source_range.duration.rate for item in (first, gap, second, third)] == [48000] * 4
    assert [item.source_range.duration.value for item in (first, gap, second, third)] == [
        19_200,
        14_000,
        48_000,
        48_000,
    ]
    assert first.source_range.start_time.value == 3600 * 48_000
    assert third.source_range.start_time.value == 3600 * 48_000 + 19_200 + 14_000 + 48_000


def test_the_clip_begins_after_the_handle_of_its_file() -> None:
    timeline = video_timeline([(24, 24, Fraction(24), True)])
    add_stem_tracks(timeline, stems_for(timeline, head_frames=12))
    _, stem = timeline.tracks[1]
    media = stem.media_reference.available_range
    assert (media.start_time.value, media.duration.value) == (24_000, 72_000)
    assert (stem.source_range.start_time.value, stem.source_range.duration.value) == (24, 24)


def test_a_handle_before_midnight_continues_from_the_day_before() -> None:
    timeline = video_timeline([(0, 24, Fraction(24), True)])
    add_stem_tracks(timeline, stems_for(timeline, head_frames=12))
    (stem,) = timeline.tracks[1]
    assert stem.media_reference.available_range.start_time.value == 86_400 * 48_000 - 24_000
    assert stem.source_range.start_time.value == 86_400 * 24


def test_our_stems_are_removed_and_nothing_else() -> None:
    timeline = video_timeline([(0, 24, Fraction(24), True), (0, 24, Fraction(24), True)])
    music = otio.schema.Track("Music", kind=otio.schema.TrackKind.Audio)
    timeline.tracks.append(music)
    before = timeline.clone()
    add_stem_tracks(timeline, stems_for(timeline, takes=2))
    assert remove_stem_tracks(timeline) == 4
    assert timeline.is_equivalent_to(before)
    assert remove_stem_tracks(timeline) == 0
    add_stem_tracks(timeline, stems_for(timeline))
    own = otio.schema.Clip("my door", otio.schema.ExternalReference("door.wav"))
    own.source_range = otio.opentime.TimeRange(otio.opentime.RationalTime(0, 24), otio.opentime.RationalTime(5, 24))
    timeline.tracks[2].append(own)
    assert remove_stem_tracks(timeline) == 2
    assert [type(item) for item in timeline.tracks[2]] == [otio.schema.Gap, otio.schema.Gap, otio.schema.Clip]
    assert own.range_in_parent().start_time.value == 48


def test_a_timeline_keeps_its_stems_when_processed_twice() -> None:
    timeline = video_timeline([(0, 24, Fraction(24), True)])
    add_stem_tracks(timeline, stems_for(timeline))
    assert len(ready_clips(find_clips(timeline))) == 1
    add_stem_tracks(timeline, stems_for(timeline))
    assert len(timeline.tracks) == 3


@given(shots, st.sampled_from(RATES), st.integers(0, 3_000_000), st.integers(0, 24))
def test_the_media_of_a_stem_covers_its_clip(
    shots: list[tuple[int, int, Fraction, bool]], rate: Fraction, start: int, head_frames: int
) -> None:
    timeline = video_timeline(shots)
    timeline.global_start_time = otio.opentime.RationalTime(start, float(rate))
    stems = stems_for(timeline, takes=2, head_frames=head_frames)
    add_stem_tracks(timeline, stems)
    for track in timeline.audio_tracks():
        for clip in track:
            if not isinstance(clip, otio.schema.Clip):
                continue
            shown, media = clip.source_range, clip.media_reference.available_range
            begin_s, media_begin_s = (exact_seconds(one.start_time, "", "") for one in (shown, media))
            end_s = begin_s + exact_seconds(shown.duration, "", "")
            media_end_s = media_begin_s + exact_seconds(media.duration, "", "")
            assert media_begin_s <= begin_s
            assert media_end_s >= end_s
            # It is that of the file, to within one sample.
            (file,) = {(stem.time_reference_samples, stem.samples) for stem in stems if stem.target_url == target(clip)}
            assert 0 <= file[0] - media_begin_s * SAMPLE_RATE_HZ <= 1
            assert 0 <= media_end_s * SAMPLE_RATE_HZ - (file[0] + file[1]) <= 1


def target(clip: otio.schema.Clip) -> str:
    return str(clip.media_reference.target_url)
