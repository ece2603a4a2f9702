"""Stems are placed exactly under their clips, on separate tracks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import opentimelineio as otio
from hypothesis import given
from hypothesis import strategies as st

from rewas_engine.exact_time import sample_count
from rewas_server.files.delivery import Provenance
from rewas_server.otio.clips import find_prompted_clips
from rewas_server.otio.stem_tracks import PlacedStem, add_stem_tracks, timecode_samples

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
    timeline: otio.schema.Timeline, takes: int = 1, roles: tuple[str, ...] = ("primary",)
) -> list[PlacedStem]:
    return [
        PlacedStem(
            clip=clip,
            role=role,
            take_number=take,
            path=Path(f"/stems/{clip.source.name} {role} {take}.wav"),
            sample_rate_hz=SAMPLE_RATE_HZ,
            samples=sample_count(clip.duration_s, SAMPLE_RATE_HZ),
            provenance=Provenance(
                clip.settings.prompt,
                7,
                "starter",
                "0.1.0",
                "Apache-2.0",
                timecode_samples(timeline, clip, SAMPLE_RATE_HZ),
            ),
        )
        for clip in find_prompted_clips(timeline)
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
            tolerance_s = 0.01 / SAMPLE_RATE_HZ
            assert abs(stem_range.start_time.to_seconds() - clip_range.start_time.to_seconds()) < tolerance_s
            assert abs(stem_range.duration.to_seconds() - clip_range.duration.to_seconds()) < tolerance_s
            media = clip.media_reference.available_range
            assert abs(clip.source_range.start_time.to_seconds() - media.start_time.to_seconds()) < tolerance_s
            assert abs(media.duration.to_seconds() - stem_range.duration.to_seconds()) <= 0.5 / SAMPLE_RATE_HZ + 1e-9


def test_each_role_and_take_has_a_track() -> None:
    timeline = video_timeline([(0, 24, Fraction(24), True), (12, 24, Fraction(24), True)])
    add_stem_tracks(timeline, stems_for(timeline, takes=2, roles=("primary", "ambience")))
    assert [track.name for track in timeline.tracks] == [
        "V1",
        "ReWaS primary, take 1",
        "ReWaS ambience, take 1",
        "ReWaS primary, take 2",
        "ReWaS ambience, take 2",
    ]
    assert [len(list(track.find_clips())) for track in timeline.tracks] == [2, 2, 2, 2, 2]


def test_stems_of_overlapping_clips_are_on_two_tracks() -> None:
    timeline = video_timeline([(0, 48, Fraction(24), True)])
    above = video_timeline([(24, 48, Fraction(24), True)])
    timeline.tracks.append(above.tracks[0].clone())
    add_stem_tracks(timeline, stems_for(timeline))
    assert [track.name for track in timeline.tracks[2:]] == ["ReWaS primary, take 1", "ReWaS primary, take 1 (2)"]
    assert timeline.tracks[3].range_of_child_at_index(1).start_time.to_seconds() == 1


def test_a_stem_has_its_generation_settings_as_metadata() -> None:
    timeline = video_timeline([(0, 24, Fraction(24000, 1001), True)])
    add_stem_tracks(timeline, stems_for(timeline))
    (clip,) = timeline.tracks[1].find_clips()
    assert dict(clip.metadata["rewas"]) == {
        "role": "primary",
        "take": 1,
        "prompt": "sound 0",
        "seed": 7,
        "pack": "starter",
        "pack_version": "0.1.0",
        "licence": "Apache-2.0",
    }


def test_the_timecode_counts_from_the_start_of_the_timeline() -> None:
    timeline = video_timeline([(24, 24, Fraction(24), True)])
    timeline.global_start_time = otio.opentime.from_timecode("01:00:00:00", 24)
    (clip,) = find_prompted_clips(timeline)
    assert timecode_samples(timeline, clip, SAMPLE_RATE_HZ) == 3601 * SAMPLE_RATE_HZ
    add_stem_tracks(timeline, stems_for(timeline))
    (stem,) = timeline.tracks[1].find_clips()
    assert stem.media_reference.available_range.start_time.to_seconds() == 3601
    assert stem.source_range.start_time.to_seconds() == 3601
    assert stem.range_in_parent().start_time.to_seconds() == 1


def test_a_timeline_keeps_its_stems_when_processed_twice() -> None:
    timeline = video_timeline([(0, 24, Fraction(24), True)])
    add_stem_tracks(timeline, stems_for(timeline))
    assert len(find_prompted_clips(timeline)) == 1
    add_stem_tracks(timeline, stems_for(timeline))
    assert len(timeline.tracks) == 3
