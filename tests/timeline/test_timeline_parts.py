"""A timeline becomes one request for each clip, and their sounds become tracks: the same as if it were done at once."""

from __future__ import annotations

import json

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_api.errors import ProblemError, ProblemKind
from rewas_api.v1 import rewas_pb2
from rewas_server.otio.clips import parse_timeline, timeline_start_s
from rewas_server.otio.planning import find_clips, ready_clips
from rewas_server.work.clip_outcomes import no_sound_problem
from rewas_server.work.requests import SoundRequest, TimelineRequest, parse_request
from rewas_server.work.timeline import PlannedClip, assemble_timeline, plan_timeline

RATES = [24.0, 25.0, 30.0, 50.0, 23.976, 24000 / 1001, 29.97, 59.94, 12.5, 1000.0, 14.985014985]
SAMPLE_RATES_HZ = (16000, 44100, 48000, 96000)


def span(start: float, frames: float, rate: float) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, rate), otio.opentime.RationalTime(frames, rate))


def shot(
    name: str, start: float, frames: float, rate: float, media_start: float | None = None, **settings: object
) -> otio.schema.Clip:
    available = None if media_start is None else span(media_start, start - media_start + frames + 10, rate)
    clip = otio.schema.Clip(name, otio.schema.ExternalReference(f"file:///media/{name}.mov", available))
    clip.source_range = span(start, frames, rate)
    clip.metadata["rewas"] = {"prompt": f"sound of {name}", **settings}
    return clip


def reel(*items: otio.core.Composable, start: otio.opentime.RationalTime | None = None) -> otio.schema.Timeline:
    timeline = otio.schema.Timeline("reel", global_start_time=start)
    timeline.tracks.append(otio.schema.Track("V1", list(items), kind=otio.schema.TrackKind.Video))
    return timeline


def request_of(timeline: otio.schema.Timeline, **fields: object) -> TimelineRequest:
    work = rewas_pb2.TimelineWork(timeline_otio_json=timeline.to_json_string(), **fields)
    request = parse_request(rewas_pb2.SubmitJobRequest(timeline=work))
    assert isinstance(request, TimelineRequest)
    return request


def request_for(clip: PlannedClip) -> SoundRequest:
    request = parse_request(rewas_pb2.SubmitJobRequest(sound=clip.work))
    assert isinstance(request, SoundRequest)
    return request


shots = st.lists(
    st.tuples(
        st.integers(0, 3000),
        st.integers(1, 3000),
        st.integers(0, 200_000),
        st.none() | st.integers(0, 100_000),
        st.sampled_from(RATES),
    ),
    min_size=1,
    max_size=5,
)


@given(
    shots,
    st.none() | st.tuples(st.integers(0, 24 * 3600 * 60), st.sampled_from(RATES)),
    st.none() | st.tuples(st.integers(1, 400), st.integers(1, 9000), st.sampled_from(RATES)),
)
def test_each_request_is_for_exactly_the_range_and_time_reference_of_its_clip(
    shots: list[tuple[int, int, int, int | None, float]],
    start: tuple[int, float] | None,
    window: tuple[int, int, float] | None,
) -> None:
    items: list[otio.core.Composable] = []
    for number, (gap, frames, offset, media_start, rate) in enumerate(shots):
        items.append(otio.schema.Gap(duration=otio.opentime.RationalTime(gap, rate)))
        items.append(shot(f"shot {number}", (media_start or 0) + offset, frames, rate, media_start))
    timeline = reel(*items, start=None if start is None else otio.opentime.RationalTime(*start))
    if window is not None:
        # A nested and trimmed track: the clips begin and end between their own frames.
        nested = otio.schema.Stack(children=[timeline.tracks[0].clone()], source_range=span(*window))
        timeline = reel(nested, start=timeline.global_start_time)
        if not ready_clips(find_clips(timeline)):
            return
    request = request_of(timeline)
    planned = plan_timeline(request, "starter")
    assert len(planned) == len(request.clips)
    for number, (clip, place) in enumerate(zip(planned, request.clips, strict=True), start=1):
        read = request_for(clip)
        assert read.timeline_number == number
        assert (read.source.start_s, read.source.duration_s) == (place.source.start_s, place.duration_s)
        assert read.source.timecode_s == timeline_start_s(request.timeline) + place.position_s
        assert (read.source.name, read.source.target_url) == (place.source.name, place.source.target_url)


def test_a_request_has_the_settings_of_its_clip_over_the_defaults_and_a_seed() -> None:
    layers = [{"name": "ambience", "prompt": "wind", "gain_db": -9.0}]
    timeline = reel(shot("a", 0, 24, 24, seed=3, takes=2, layers=layers), shot("b", 0, 24, 24), shot("c", 0, 24, 24))
    defaults = rewas_pb2.SoundSettings(num_inference_steps=5, takes=4)
    planned = plan_timeline(request_of(timeline, defaults=defaults), "starter")
    first, second, third = (request_for(clip).settings for clip in planned)
    assert (first.prompt, first.seed, first.takes, first.num_inference_steps) == ("sound of a", 3, 2, 5)
    assert first.layers is not None
    assert first.layers[0].gain_db == -9
    assert (second.takes, second.pack, first.pack) == (4, "starter", "starter")
    assert second.seed is not None
    assert second.seed != third.seed
    # The request holds the seed, so each time that it runs it gives the same sound.
    assert request_for(planned[1]).settings.seed == second.seed
    assert [clip.amount_s for clip in planned] == [2, 4, 4]


def test_a_request_names_only_the_upload_of_its_own_clip() -> None:
    uploads = {f"file:///media/{name}.mov": sha256 * 64 for name, sha256 in (("a", "1"), ("b", "2"), ("other", "3"))}
    request = request_of(reel(shot("a", 0, 24, 24), shot("b", 0, 24, 24), shot("c", 0, 9, 24)), uploaded_media=uploads)
    works = [dict(clip.work.uploaded_media) for clip in plan_timeline(request, "starter")]
    assert works == [{"file:///media/a.mov": "1" * 64}, {"file:///media/b.mov": "2" * 64}, {}]


@pytest.mark.parametrize("number", [0, -1, 10**6, 1.5, "7", True, [1]])
def test_an_invalid_number_on_the_timeline_is_refused(number: object) -> None:
    clip = shot("a", 0, 24, 24)
    document = json.loads(clip.to_json_string())
    document["metadata"]["rewas"]["timeline_number"] = number
    work = rewas_pb2.SoundWork(clip_otio_json=json.dumps(document), settings={"prompt": "rain"})
    with pytest.raises(ProblemError, match=r'timeline_number in metadata.* of the clip "a" is') as refused:
        parse_request(rewas_pb2.SubmitJobRequest(sound=work))
    assert refused.value.kind is ProblemKind.TIMELINE


def sound_of(clip: PlannedClip, folder: str, roles: tuple[str, ...] = ("primary",)) -> rewas_pb2.SoundResult:
    request = request_for(clip)
    takes = []
    for number in range(request.settings.takes or 1):
        seed = (request.settings.seed or 0) + number
        stems = [
            rewas_pb2.Stem(
                role=role,
                artifact={"name": f"{role} {number}.wav", "path": f"{folder}/{role} {number}.wav"},
                sample_rate_hz=48000,
                channels=1,
                samples=int(clip.amount_s * 48000),
            )
            for role in roles
        ]
        layers = [rewas_pb2.LayerResult(name=role, seed=seed + 100) for role in roles if role not in ("primary", "mix")]
        takes.append(rewas_pb2.Take(seed=seed, stems=stems, layers=layers))
    return rewas_pb2.SoundResult(
        takes=takes, settings=clip.work.settings, pack={"name": "starter", "version": "1.0", "licence": "Apache-2.0"}
    )


def test_the_stems_of_finished_clips_are_placed_and_failed_ones_keep_their_problem() -> None:
    layers = [{"name": "wind", "prompt": "wind in trees"}]
    start = otio.opentime.RationalTime(86_400, 24)
    timeline = reel(
        shot("a", 0, 24, 24), shot("b", 0, 48, 24), shot("c", 12, 24, 24, seed=7, takes=2, layers=layers), start=start
    )
    request = request_of(timeline)
    planned = plan_timeline(request, "starter")
    problem = ProblemError("The picture is torn.", "Take another.", ProblemKind.MEDIA)
    clips = [
        rewas_pb2.TimelineClip(name="a", job_id="1", sound=sound_of(planned[0], "/stems/1")),
        rewas_pb2.TimelineClip(name="b", job_id="2", problem=problem.to_proto()),
        rewas_pb2.TimelineClip(
            name="c", job_id="3", sound=sound_of(planned[2], "/stems/3", ("primary", "wind", "mix"))
        ),
    ]
    result = assemble_timeline(request, clips)
    assert list(result.clips) == clips
    finished = parse_timeline(result.timeline_otio_json)
    assert finished.tracks[0].is_equivalent_to(timeline.tracks[0])
    placed = {(track.name, clip.name): clip for track in finished.audio_tracks() for clip in track.find_clips()}
    assert {track.name for track in finished.audio_tracks() if track.enabled} == {"ReWaS primary", "ReWaS wind"}
    assert {track.name for track in finished.audio_tracks() if not track.enabled} == {
        "ReWaS mix, take 1",
        *(f"ReWaS {role}, take 2" for role in ("primary", "wind", "mix")),
    }
    assert {clip for _, clip in placed} == {"a primary", "c primary", "c wind", "c mix"}
    wind = placed["ReWaS wind, take 2", "c wind"]
    assert wind.media_reference.target_url == "wind 1.wav"
    assert wind.range_in_parent().start_time.to_seconds() == 3
    # One hour of timecode, and three seconds.
    assert wind.media_reference.available_range.start_time.value == (3600 + 3) * 48000
    assert wind.metadata["rewas"]["prompt"] == "wind in trees"
    assert (wind.metadata["rewas"]["seed"], wind.metadata["rewas"]["take"]) == (108, 2)
    mix = placed["ReWaS mix, take 1", "c mix"].metadata["rewas"]
    assert (mix["prompt"], mix["seed"]) == ("sound of c; wind in trees", 7)
    assert (mix["pack"], mix["pack_version"], mix["licence"]) == ("starter", "1.0", "Apache-2.0")


def test_one_bad_clip_keeps_its_problem_and_stops_no_other() -> None:
    beyond = shot("beyond", 0, 24, 24, media_start=0)
    beyond.source_range = span(90, 24, 24)
    bad_seed = shot("seed", 0, 24, 24, seed=2**63 - 1, takes=2)
    number = shot("number", 0, 24, 24, takes="many")
    timeline = reel(beyond, shot("a", 0, 24, 24), bad_seed, number, shot("b", 0, 24, 24))
    request = request_of(timeline)
    assert [clip.source.name for clip in request.clips] == ["a", "b"]
    planned = plan_timeline(request, "starter")
    clips = [rewas_pb2.TimelineClip(name=clip.name, sound=sound_of(clip, f"/stems/{clip.name}")) for clip in planned]
    result = assemble_timeline(request, clips)
    assert [(clip.name, clip.HasField("sound")) for clip in result.clips] == [
        ("beyond", False),
        ("a", True),
        ("seed", False),
        ("number", False),
        ("b", True),
    ]
    assert result.failed_clip_count == 3
    problems = [clip.problem for clip in result.clips if not clip.HasField("sound")]
    for problem, name in zip(problems, ("beyond", "seed", "number"), strict=True):
        assert f'"{name}"' in problem.what
        assert problem.remedy
    stems = {clip.name for track in parse_timeline(result.timeline_otio_json).audio_tracks() for clip in track}
    assert {"a primary", "b primary"} <= stems


def test_a_timeline_whose_clips_are_all_refused_is_refused_with_the_reasons() -> None:
    with pytest.raises(ProblemError, match=r'No clip of the timeline "reel" has a sound: .*"a".*"b"'):
        request_of(reel(shot("a", 0, 24, 24, takes="x"), shot("b", 0, 24, 24, takes="x")))


def test_a_timeline_without_any_sound_has_the_reasons_of_its_clips() -> None:
    def failed(name: str, what: str) -> rewas_pb2.TimelineClip:
        return rewas_pb2.TimelineClip(name=name, problem=ProblemError(what, "Fix it.", ProblemKind.MEDIA).to_proto())

    alone = no_sound_problem("reel", [failed("a", "The picture is torn.")])
    assert alone is not None
    assert (alone.what, alone.kind) == ("The picture is torn.", ProblemKind.MEDIA)
    several = no_sound_problem("reel", [failed("a", "One."), failed("b", "Two."), failed("c", "One.")])
    assert several is not None
    assert several.what == 'No clip of the timeline "reel" has a sound: One. Two.'
    assert several.remedy == "Fix it."
    sound = rewas_pb2.TimelineClip(name="d", sound=rewas_pb2.SoundResult())
    assert no_sound_problem("reel", [failed("a", "One."), sound]) is None
