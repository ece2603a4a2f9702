"""Stems that the server's package adds to a timeline come back as takes, with any arrangement of a profile."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest

from rewas_engine import UsedRecording
from rewas_nle.timeline.exchanged import ExchangedScene, ExchangedStrip
from rewas_nle.timeline.otio_import import Import, read_timeline
from rewas_nle.timeline.otio_json import read_otio
from rewas_server.delivery.metadata import TimecodeRate
from rewas_server.delivery.profiles import SCHEMA, Layout, ProfileTables
from rewas_server.delivery.provenance import Provenance, with_recordings
from rewas_server.delivery.stems import PlacedStem
from rewas_server.delivery.time_reference import time_reference_samples
from rewas_server.otio.stem_tracks import add_stem_tracks

RATE = Fraction(24000, 1001)
START = 86400
RANGE = otio.opentime.TimeRange
TIME = otio.opentime.RationalTime


def film(*clips: tuple[str, int, int], prompt: str = "rain") -> otio.schema.Timeline:
    """A timeline from 01:00:00:00 with clips on one track: name, first frame, frames."""
    timeline = otio.schema.Timeline("film", global_start_time=TIME(START, float(RATE)))
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    reached = 0
    for name, first, frames in clips:
        if first > reached:
            track.append(otio.schema.Gap(duration=TIME(first - reached, float(RATE))))
        shown = RANGE(TIME(12, float(RATE)), TIME(frames, float(RATE)))
        clip = otio.schema.Clip(name, otio.schema.ExternalReference(f"/film/{name}.mov"), shown)
        if prompt:
            clip.metadata["rewas"] = {"prompt": prompt}
        track.append(clip)
        reached = first + frames
    timeline.tracks.append(track)
    return timeline


def stem(name: str, first: int, frames: int, role: str = "primary", take: int = 1, **fields: Any) -> PlacedStem:
    handle_frames = fields.pop("handle_frames", 0)
    begins_s = (START + first - handle_frames) / RATE
    return PlacedStem(
        clip_name=name,
        role=role,
        take_number=take,
        track=fields.pop("track", role),
        is_audible=fields.pop("is_audible", take == 1),
        position_s=first / RATE,
        duration_s=frames / RATE,
        frame_rate=RATE,
        target_url=f"/stems/{name} {role} {take}.wav",
        sample_rate_hz=48000,
        samples=round((frames + 2 * handle_frames) / RATE * 48000),
        time_reference_samples=time_reference_samples(begins_s, TimecodeRate.usual(RATE), 48000),
        provenance=fields.pop("provenance", Provenance("rain", 2**40 + take, "starter", "1", "Apache-2.0")),
        head_handle_s=handle_frames / RATE,
        tail_handle_s=handle_frames / RATE,
        **fields,
    )


def imported(timeline: otio.schema.Timeline, stems: list[PlacedStem], **layout: Any) -> Import:
    add_stem_tracks(timeline, stems, ProfileTables(schema=SCHEMA, layout=Layout(**layout)))
    return read_timeline(read_otio(timeline.to_json_string()), str)


def named(scene: ExchangedScene, name: str) -> ExchangedStrip:
    return next(strip for strip in scene.strips if strip.name == name)


@pytest.mark.parametrize("further_takes", ["tracks", "references"])
def test_takes_come_back_and_the_audible_one_is_active(further_takes: str) -> None:
    stems = [
        stem(name, first, 48, role, take, clip_number=number, is_audible=take == 2)
        for number, (name, first) in enumerate((("a", 24), ("b", 100)), start=1)
        for take in (1, 2, 3)
        for role in ("primary", "ambience")
    ]
    read = imported(film(("a", 24, 48), ("b", 100, 48)), stems, further_takes=further_takes)
    assert read.notes == ()
    assert {strip.kind for strip in read.scene.strips} == {"MOVIE"}
    assert [channel.name for channel in read.scene.channels] == ["V1"]
    for name, first in (("a", 24), ("b", 100)):
        strip = named(read.scene, name)
        assert (strip.start_frame, strip.end_frame) == (START + first, START + first + 48)
        assert [take.roles for take in strip.takes] == [("primary", "ambience")] * 3
        assert [str(take.stems[0].path) for take in strip.takes] == [
            f"/stems/{name} primary {n}.wav" for n in (1, 2, 3)
        ]
        assert [(take.lead_in_frames, take.frames) for take in strip.takes] == [(12, 48)] * 3
        assert strip.active_take == strip.takes[1].id
        assert strip.takes[1].seed == 2**40 + 2


def test_takes_of_a_batch_name_their_recordings_and_packs() -> None:
    rain = UsedRecording("weather/rain.wav", "heavy rain", "CC-BY-4.0", "Jane Doe", "ab")
    performed = with_recordings(Provenance("rain", 1, "foley", "2", "CC0-1.0"), [rain])
    parts = [stem("a", 24, 48, clip_number=1), stem("a", 24, 48, "ambience", clip_number=1, provenance=performed)]
    (take,) = named(imported(film(("a", 24, 48)), parts).scene, "a").takes
    assert take.pack == "starter"
    assert [(used.role, used.credit_line) for used in take.recordings] == [
        ("ambience", "heavy rain, CC-BY-4.0, Jane Doe")
    ]
    assert [(pack.role, pack.name) for pack in take.layer_packs] == [("ambience", "foley")]
    mix = [stem("a", 24, 48, "mix", clip_number=1, provenance=performed)]
    (take,) = named(imported(film(("a", 24, 48)), mix).scene, "a").takes
    assert [used.name for used in take.recordings_of("mix")] == ["weather/rain.wav"]


@pytest.mark.parametrize("further_takes", ["tracks", "references"])
def test_handles_are_before_the_clip(further_takes: str) -> None:
    stems = [stem("a", 24, 48, take=take, clip_number=1, handle_frames=10) for take in (1, 2)]
    strip = named(imported(film(("a", 24, 48)), stems, further_takes=further_takes).scene, "a")
    assert [(take.lead_in_frames, take.frames) for take in strip.takes] == [(2, 68)] * 2
    assert [take.stems[0].samples for take in strip.takes] == [136136] * 2


@pytest.mark.parametrize("audible_mix", [True, False])
def test_a_mix_does_not_sound_with_its_stems(audible_mix: bool) -> None:
    stems = [
        stem("a", 24, 48, role, take, clip_number=1, is_audible=take == 1 and (role == "mix") == audible_mix)
        for take in (1, 2)
        for role in ("primary", "ambience", "mix")
    ]
    strip = named(imported(film(("a", 24, 48)), stems, audible_mix=audible_mix).scene, "a")
    expected = ("mix",) if audible_mix else ("primary", "ambience")
    assert [take.roles for take in strip.takes] == [expected] * 2


def test_a_prompt_from_another_place_comes_with_the_take() -> None:
    strip = named(imported(film(("a", 24, 48), prompt=""), [stem("a", 24, 48, clip_number=1)]).scene, "a")
    assert (len(strip.takes), strip.settings["prompt"]) == (1, "rain")


def test_a_sound_for_a_part_of_a_clip_is_a_separate_strip() -> None:
    stems = [stem("a", 30, 12, take=take, clip_number=1, handle_frames=5) for take in (1, 2)]
    read = imported(film(("a", 24, 48)), stems)
    assert named(read.scene, "a").takes == ()
    sound = named(read.scene, "a primary")
    assert (sound.kind, sound.files, sound.channel) == ("SOUND", ("/stems/a primary 1.wav",), 2)
    first = START + 30
    assert (sound.content_start_frame, sound.start_frame, sound.end_frame) == (first - 5, first, first + 12)
    assert [channel.name for channel in read.scene.channels] == ["V1", "ReWaS primary"]
    assert [note.what for note in read.notes] == [
        f'The stem "a primary" is for frames {first} to {first + 11}, but no clip has exactly these frames, so it is a '
        "separate sound strip.",
        f'The stem "a primary" (take 2) is for frames {first} to {first + 11}, but no clip has exactly these frames.',
    ]


def test_two_clips_with_the_same_frames_get_their_own_stems() -> None:
    timeline = film(("a", 24, 48))
    timeline.tracks.append(film(("b", 24, 48)).tracks[0].clone())
    stems = [stem(name, 24, 48, clip_number=number) for number, name in enumerate("ab", start=1)]
    scene = imported(timeline, stems).scene
    paths = {name: [take.stems[0].path for take in named(scene, name).takes] for name in "ab"}
    assert paths == {name: [Path(f"/stems/{name} primary 1.wav")] for name in "ab"}
