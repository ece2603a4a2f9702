"""OpenTimelineIO's format in plain Python, compared with the real library."""

import json
import math
from fractions import Fraction
from typing import Any

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline import otio_json
from rewas_nle.timeline.otio_json import OtherObject, OtioError, RationalTime, Timeline, read_otio

Time, Range = otio.opentime.RationalTime, otio.opentime.TimeRange
NTSC_FILM = 24000 / 1001


def real_timeline() -> Any:
    """A timeline that uses every schema of the module, and some that it does not know."""
    clip = otio.schema.Clip(
        name="växjö / 日本",
        media_reference=otio.schema.ExternalReference(
            "/films/a b.mp4", Range(Time(0, NTSC_FILM), Time(480, NTSC_FILM))
        ),
        source_range=Range(Time(1.5, NTSC_FILM), Time(40, NTSC_FILM)),
        metadata={"rewas": {"prompt": "rain", "seed": 2**63 - 1, "gain": 1e-7, "layers": [{"on": True}, None]}},
    )
    clip.set_media_references(
        {
            "DEFAULT_MEDIA": clip.media_reference,
            "frames": otio.schema.ImageSequenceReference("file:///f", "a.", ".exr", 1001, 1, NTSC_FILM, 4),
            "none": otio.schema.MissingReference(),
            "bars": otio.schema.GeneratorReference(generator_kind="bars", parameters={"a": 1}),
        },
        "DEFAULT_MEDIA",
    )
    clip.markers.append(otio.schema.Marker("hit", Range(Time(3, 24), Time(0, 24)), color="RED", comment="door"))
    clip.effects.append(otio.schema.LinearTimeWarp(time_scalar=2.0))
    clip.effects.append(otio.schema.Effect(effect_name="blur"))
    timeline = otio.schema.Timeline("film", global_start_time=Time(86400, 24))
    video, audio = otio.schema.Track("V1", kind="Video"), otio.schema.Track("A1", kind="Audio")
    timeline.tracks.extend([video, audio])
    timeline.tracks.markers.append(otio.schema.Marker("act 2", Range(Time(99, 24), Time(1, 24))))
    video.extend([otio.schema.Gap(duration=Time(3, 24)), clip])
    video.append(otio.schema.Transition("cross", "SMPTE_Dissolve", Time(5, 24), Time(6, 24)))
    video.append(otio.schema.Clip("missing"))
    inner = otio.schema.Stack("meta")
    inner.append(otio.schema.Track("inside"))
    audio.append(inner)
    audio.enabled = False
    return timeline


def test_a_text_of_the_library_is_read_and_written_unchanged() -> None:
    text = real_timeline().to_json_string(indent=2)
    timeline = read_otio(text)
    assert isinstance(timeline, Timeline)
    assert json.loads(timeline.to_json_string(indent=2)) == json.loads(text)
    gap, clip, transition, missing = timeline.tracks.children[0]
    assert [each.schema for each in (gap, clip, transition, missing)] == ["Gap", "Clip", "Transition", "Clip"]
    assert clip.media_reference.target_url == "/films/a b.mp4"
    assert clip.source_range.start_time.to_seconds() == Fraction(3, 2) / Fraction(24000, 1001)
    assert clip.metadata["rewas"]["seed"] == 2**63 - 1
    assert clip.markers[0].marked_range.start_time.value == 3
    warp, effect = clip.effects
    assert warp == otio_json.LinearTimeWarp(time_scalar=2.0)
    assert effect == OtherObject(
        schema_label="Effect.1", other={"metadata": {}, "name": "", "effect_name": "blur", "enabled": True}
    )
    assert timeline.global_start_time is not None
    assert timeline.global_start_time.to_seconds() == 3600


# The library's own parser rounds the last digit of some numbers, so these have few digits.
numbers = st.integers(-(10**9), 10**9).map(lambda number: number / 8)
times = st.builds(RationalTime, numbers, st.sampled_from([24.0, NTSC_FILM, 60.0]))
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(texts, st.dictionaries(texts, json_values, max_size=4), times, times)
def test_the_library_reads_what_is_written(
    name: str, metadata: Any, start: RationalTime, duration: RationalTime
) -> None:
    clip = otio_json.Clip(name=name, metadata=metadata, source_range=otio_json.TimeRange(start, duration))
    real = otio.adapters.read_from_string(clip.to_json_string(), "otio_json")
    assert real.name == name
    assert (real.source_range.start_time.value, real.source_range.duration.rate) == (start.value, duration.rate)
    assert read_otio(real.to_json_string()) == clip == read_otio(clip.to_json_string())


def test_unknown_fields_and_newer_schemas_are_kept() -> None:
    text = '{"OTIO_SCHEMA":"Clip.2","name":"a","new_field":{"OTIO_SCHEMA":"Shiny.4","x":[1]}}'
    clip = read_otio(text)
    assert clip.other["new_field"].schema_label == "Shiny.4"
    assert json.loads(clip.to_json_string()).items() >= json.loads(text).items()
    newer = '{"OTIO_SCHEMA":"Clip.3","name":{"not":"a text"}}'
    assert read_otio(newer).to_json_string() == newer


@pytest.mark.parametrize(
    "old",
    [
        '{"OTIO_SCHEMA":"Clip.1","name":"a","media_reference":{"OTIO_SCHEMA":"ExternalReference.1","target_url":"u"}}',
        '{"OTIO_SCHEMA":"Clip.1","name":"a","media_reference":null}',
        '{"OTIO_SCHEMA":"Sequence.1","name":"a","kind":"Video","children":[]}',
        '{"OTIO_SCHEMA":"Marker.1","range":{"OTIO_SCHEMA":"TimeRange.1",'
        '"start_time":{"OTIO_SCHEMA":"RationalTime.1","rate":24,"value":1},'
        '"duration":{"OTIO_SCHEMA":"RationalTime.1","rate":24,"value":2}}}',
    ],
)
def test_older_schemas_are_upgraded_as_the_library_does(old: str) -> None:
    real = otio.adapters.read_from_string(old, "otio_json").to_json_string()
    assert json.loads(read_otio(old).to_json_string()) == json.loads(real)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "It is not JSON"),
        ('{"OTIO_SCHEMA":', "line 1"),
        ("[" * 100_000, "nested too deeply"),
        ('{"OTIO_SCHEMA":"Clip.2","source_range":[]}', 'The field "source_range" of a Clip is [].'),
        ('{"OTIO_SCHEMA":"Clip.2","name":3}', 'The field "name" of a Clip is 3.'),
        ('{"OTIO_SCHEMA":"RationalTime.1","value":true}', 'The field "value" of a RationalTime is true.'),
        ('{"OTIO_SCHEMA":"Timeline.1","tracks":{"OTIO_SCHEMA":"Gap.1"}}', 'The field "tracks" of a Timeline is a Gap.'),
    ],
)
def test_an_invalid_text_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(OtioError) as refused:
        read_otio(text)
    assert reason in str(refused.value)


@pytest.mark.parametrize("time", [RationalTime(1, 0), RationalTime(1, math.nan), RationalTime(math.inf, 24)])
def test_what_is_not_a_time_is_refused(time: RationalTime) -> None:
    with pytest.raises(OtioError, match="is not a time"):
        time.to_seconds()
