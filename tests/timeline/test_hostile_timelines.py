"""Damaged and hostile files give a list of clips or a clear error, never another exception."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewas_api.errors import ProblemError
from rewas_server.otio import adapter_process
from rewas_server.otio.clips import parse_timeline
from rewas_server.otio.planning import ClipState, list_clips
from rewas_server.otio.reading import open_timeline

SAMPLES = sorted(path for path in Path(__file__).with_name("samples").rglob("*.*") if path.is_file())


def span(start: float, frames: float) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(start, 24), otio.opentime.RationalTime(frames, 24))


def timeline() -> dict[str, Any]:
    """A timeline with a retimed clip, a nested stack, a gap, a transition, markers and prompts, as JSON."""
    reel = otio.schema.Timeline("reel", global_start_time=otio.opentime.RationalTime(86400, 24))
    for number in range(2):
        clips = []
        for index in range(2):
            clip = otio.schema.Clip(f"c{index}", otio.schema.ExternalReference(f"/m/{index}.mov", span(0, 100)))
            clip.source_range = span(10, 24)
            clip.metadata["rewas"] = {"prompt": "rain", "takes": 2}
            clip.markers.append(otio.schema.Marker("SFX: door", span(12, 0)))
            clips.append(clip)
        clips[0].effects.append(otio.schema.LinearTimeWarp(time_scalar=-2.0))
        nest = otio.schema.Stack("nest", children=[otio.schema.Track("inner", [clips[1].clone()], kind="Video")])
        nest.source_range = span(0, 12)
        dissolve = otio.schema.Transition(
            in_offset=otio.opentime.RationalTime(2, 24), out_offset=otio.opentime.RationalTime(2, 24)
        )
        gap = otio.schema.Gap(source_range=span(0, 6))
        reel.tracks.append(otio.schema.Track(f"V{number}", [clips[0], dissolve, clips[1], gap, nest], kind="Video"))
    return json.loads(reel.to_json_string())


BASE = timeline()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in below for found in places(item, (*path, key)))]


PLACES = [path for path in places(BASE) if path]
HUGE = [1e308, -1e308, 1e18, 2**53, 2**62, -(2**63)]
numbers = st.sampled_from([0, -1, 1, 0.5, 1e-300, -1e-300, 23.976, 48000, float("nan"), float("inf"), *HUGE])
odd_values = st.one_of(
    numbers,
    st.none(),
    st.booleans(),
    st.text(max_size=5),
    st.sampled_from(["Clip.1", "Clip.99", "Track.1", "Gap.1", "Sparkle.1", "Video", "FreezeFrame.1", "TimeEffect.1"]),
    st.just([]),
    st.just({}),
    st.sampled_from(PLACES).map(lambda path: copy.deepcopy(value_at(BASE, path))),
)


def value_at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), odd_values), min_size=1, max_size=3))
def test_any_change_of_a_timeline_gives_a_list_or_a_clear_error(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    document = copy.deepcopy(BASE)
    for path, value in changes:
        try:
            value_at(document, path[:-1])[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    try:
        listed = list_clips(parse_timeline(json.dumps(document)))
    except ProblemError as problem:
        assert problem.what  # noqa: PT017
        assert problem.remedy  # noqa: PT017
        return
    for each in listed.clips:
        if each.state is ClipState.REFUSED:
            assert each.problem is not None
            assert each.problem.what
            assert each.problem.remedy
        if each.clip is not None:
            assert each.clip.duration_s > 0
            assert each.clip.position_s >= 0


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_any_damage_to_a_sample_gives_a_timeline_or_a_clear_error(
    sample: Path, data: st.DataObject, tmp_path: Path
) -> None:
    content = bytearray(sample.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["cut", "byte", "repeat", "number"]))
        if kind == "cut":
            del content[at : at + data.draw(st.integers(1, 200))]
        elif kind == "byte":
            content[at] = data.draw(st.integers(0, 255))
        elif kind == "repeat":
            content[at:at] = content[at : at + 100]
        else:
            content[at:at] = data.draw(st.sampled_from([b"9" * 30, b"-1", b"1e308", b"NaN", b"0", b"\0", b"&x;"]))
        if not content:
            content = bytearray(b" ")
    file = tmp_path / sample.name
    file.write_bytes(content)
    question = {"path": str(file), "suffix": file.suffix, "rate": None}
    header, text = adapter_process._answer(question)
    if header["problem"] is None:
        assert json.loads(text)
        return
    what, remedy = header["problem"]
    assert what
    assert remedy
    assert "Traceback" not in what
    assert "\n" not in what


@pytest.mark.parametrize("rate", ["0", "-24", "NaN", "Infinity", "1e308", "1e-308"])
@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e308", "99999999999999999999"])
def test_impossible_times_are_refused_for_the_clips_that_have_them(rate: str, value: str) -> None:
    text = json.dumps(BASE).replace('"rate": 24.0, "value": 10.0', f'"rate": {rate}, "value": {value}')
    assert text != json.dumps(BASE)
    listed = list_clips(parse_timeline(text)).clips
    assert {each.state for each in listed} <= {ClipState.REFUSED, ClipState.HIDDEN}
    assert all(each.problem for each in listed if each.state is ClipState.REFUSED)


def test_a_small_archive_with_huge_content_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bomb.otioz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("content.otio", json.dumps(BASE))
        with archive.open("media/large.mov", "w", force_zip64=True) as member:
            member.write(bytes(1 << 20))
    content = bytearray(file.read_bytes())
    # The directory states less than the member has.
    entry = content.rindex(b"media/large.mov") - 46
    content[entry + 24 : entry + 28] = (100).to_bytes(4, "little")
    file.write_bytes(content)
    from rewas_server.otio.reading import ReadOptions

    folder = tmp_path / "media folder"
    try:
        open_timeline(file, ReadOptions(media_folder=folder))
    except ProblemError as problem:
        assert "bomb.otioz" in problem.what  # noqa: PT017
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 100


def test_reading_does_not_wait_for_a_pipe(tmp_path: Path) -> None:
    import os

    for suffix in (".otio", ".edl", ".otioz"):
        pipe = tmp_path / f"pipe{suffix}"
        os.mkfifo(pipe)
        with pytest.raises(ProblemError, match="is not a file"):
            open_timeline(pipe)
