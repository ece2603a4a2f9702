"""Strips as clips, without Blender: exact ranges for any trim and rate, and refusals that name the strip."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewas_nle.timeline.clips import clip_to_otio
from rewas_nle.timeline.otio_json import OtioObject
from rewas_nle.timeline.rates import exact_rate, rate_label
from rewas_nle.timeline.selection import clip_from_strip, native_clip, select_clips
from rewas_nle.timeline.strips import Refusal, SelectedClip, StripSnapshot

RATES = [Fraction(n) for n in (24, 25, 30, 48, 50, 60, 120)]
RATES += [Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)]


def as_opentimelineio(written: OtioObject) -> Any:
    """Read an object with the real library, as the server and other programs do."""
    return otio.adapters.read_from_string(written.to_json_string(), "otio_json")


def movie(rate: Fraction, media_frames: int, start_frame: int = 1, trim: tuple[int, int] = (0, 0)) -> StripSnapshot:
    return StripSnapshot(
        name="ball.mp4",
        kind="MOVIE",
        path="/media/ball.mp4",
        channel=1,
        start_frame=start_frame + trim[0],
        frames=media_frames - sum(trim),
        content_start_frame=start_frame,
        content_frames=media_frames,
        media_rate=rate,
        media_frames=media_frames,
        skipped_frames=0,
        playable_frames=media_frames,
        prompt="a ball",
    )


@pytest.mark.parametrize("rate", RATES)
def test_rates_rounded_to_32_bits_become_exact(rate: Fraction) -> None:
    import struct

    (rounded,) = struct.unpack("f", struct.pack("f", float(rate)))
    assert exact_rate(rounded) == rate
    (base,) = struct.unpack("f", struct.pack("f", 1.001))
    if rate.denominator == 1001:
        assert exact_rate(rate.numerator / 1000 / base) == rate


@pytest.mark.parametrize("number", [0.0, -1.0, float("nan"), float("inf")])
def test_invalid_rates_return_none(number: float) -> None:
    assert exact_rate(number) is None


@pytest.mark.parametrize(("number", "rate"), [(12.5, Fraction(25, 2)), (1.0, Fraction(1)), (18.0, Fraction(18))])
def test_unusual_rates_stay_simple(number: float, rate: Fraction) -> None:
    assert exact_rate(number) == rate


def test_rate_labels_are_the_usual_ones() -> None:
    assert [rate_label(rate) for rate in (Fraction(24), Fraction(24000, 1001), Fraction(30000, 1001))] == [
        "24",
        "23.976",
        "29.97",
    ]


@given(st.sampled_from(RATES), st.integers(1, 5000), st.integers(-500, 5000), st.data())
def test_any_trim_gives_an_exact_range_within_the_media(
    rate: Fraction, media_frames: int, start_frame: int, data: st.DataObject
) -> None:
    head = data.draw(st.integers(0, media_frames - 1))
    tail = data.draw(st.integers(0, media_frames - 1 - head))
    clip = clip_from_strip(movie(rate, media_frames, start_frame, (head, tail)), rate)
    assert isinstance(clip, SelectedClip)
    assert clip.source_start_s * rate == head
    assert clip.source_duration_s * rate == clip.frames == media_frames - head - tail
    otio_clip = as_opentimelineio(clip_to_otio(clip))
    assert otio_clip.source_range.start_time.value == head
    assert otio_clip.source_range.duration.value == clip.frames
    assert (
        otio_clip.source_range.end_time_exclusive().value <= otio_clip.available_range().duration.value == media_frames
    )
    assert Fraction(otio_clip.source_range.duration.rate).limit_denominator(1001) == rate


@given(st.sampled_from(RATES), st.sampled_from(RATES), st.integers(1, 5000))
def test_converted_ranges_end_within_the_media(media_rate: Fraction, rate: Fraction, media_frames: int) -> None:
    content_frames = max(round(media_frames * rate / media_rate), 1)
    strip = replace(movie(media_rate, media_frames), frames=content_frames, content_frames=content_frames)
    clip = clip_from_strip(strip, rate)
    assert isinstance(clip, SelectedClip)
    if clip.proxy is not None:
        # Only rounding by half a frame can make both lengths equal, and only then may the strip need a proxy.
        assert content_frames == media_frames
        return
    end_s = clip.source_start_s + clip.source_duration_s
    assert end_s <= media_frames / media_rate
    assert abs(clip.source_duration_s - content_frames / rate) <= 1 / rate


def refusal_of(strip: StripSnapshot, rate: Fraction = RATES[0]) -> str:
    (refusal,) = select_clips([strip], rate).refusals
    assert refusal.what
    assert refusal.remedy
    return str(refusal)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"missing_file": "/media/ball.mp4", "missing_files": 1}, "is missing (/media/ball.mp4)"),
        ({"missing_file": "/media/1.png", "missing_files": 3}, "is missing (/media/1.png and 2 other files)"),
        ({"media_rate": None}, "cannot read the media"),
        ({"playable_frames": 0, "media_frames": 0}, "cannot read the media"),
        ({"frames": 0}, "has no frames"),
        ({"changes": ("plays backwards",), "frames": 1_000_001}, "1000001 frames long"),
        ({"prompt": " \n"}, "no prompt"),
        ({"prompt": "x" * 2001}, "2001 characters"),
        ({"kind": "TEXT"}, "is a text strip"),
        ({"kind": "COLOR"}, "is a colour strip"),
        ({"kind": "ADJUSTMENT"}, "is an adjustment layer"),
        ({"kind": "CROSS"}, "is an effect"),
        ({"kind": "SOUND"}, "is a sound"),
    ],
)
def test_strips_without_sound_are_refused_by_name(changes: dict[str, object], expected: str) -> None:
    text = refusal_of(replace(movie(RATES[0], 100), **changes))
    assert expected in text
    assert '"ball.mp4"' in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"changes": ("plays backwards", "is cropped")}, "plays backwards"),
        ({"kind": "META", "path": "", "media_rate": None, "changes": ("is a meta strip",)}, "is a meta strip"),
        ({"start_frame": -3}, "holds a still frame"),
        ({"frames": 200}, "holds a still frame"),
        ({"media_rate": Fraction(30000, 1001)}, "plays its 29.97 fps media frame by frame in this 24 fps"),
    ],
)
def test_what_no_range_of_a_file_shows_becomes_a_proxy(changes: dict[str, object], reason: str) -> None:
    strip = replace(movie(RATES[0], 100, start_frame=11), proxy_path="/proxies/a.mp4", **changes)
    clip = clip_from_strip(strip, RATES[0])
    assert isinstance(clip, SelectedClip)
    assert clip.proxy is not None
    assert reason in clip.proxy.reason
    assert (clip.path, clip.source_path) == ("/proxies/a.mp4", strip.path)
    assert (clip.source_start_s, clip.source_duration_s) == (0, strip.frames / RATES[0])
    assert (clip.start_frame, clip.frames, clip.media_frames) == (strip.start_frame, strip.frames, strip.frames)
    assert (clip.rate, clip.media_rate) == (RATES[0], RATES[0])
    refusal = native_clip(strip, RATES[0])
    assert isinstance(refusal, Refusal)
    assert reason in refusal.what


def test_a_bad_strip_does_not_stop_the_others() -> None:
    text = replace(movie(RATES[0], 100), kind="TEXT", name="Title")
    selection = select_clips([text, movie(RATES[0], 100)], RATES[0])
    assert len(selection.clips) == len(selection.refusals) == 1


def test_a_difference_below_one_frame_is_accepted() -> None:
    ntsc = Fraction(24000, 1001)
    assert isinstance(clip_from_strip(movie(ntsc, 900), Fraction(24)), SelectedClip)
    drifting = clip_from_strip(movie(ntsc, 2000), Fraction(24))
    assert isinstance(drifting, SelectedClip)
    assert drifting.proxy is not None
