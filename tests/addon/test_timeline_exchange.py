"""Scenes as OpenTimelineIO and back, without Blender."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
from hypothesis import given, settings
from hypothesis import strategies as st

from rewas_nle.timeline.exchanged import (
    Curve,
    ExchangedChannel,
    ExchangedMarker,
    ExchangedScene,
    ExchangedStrip,
    FilePath,
    all_strips,
)
from rewas_nle.timeline.otio_export import build_timeline
from rewas_nle.timeline.otio_import import read_timeline
from rewas_nle.timeline.otio_json import read_otio
from rewas_nle.timeline.takes import EnergyCurve, Stem, Take

RATES = [Fraction(24), Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001)]
ROOT = "/films"


def to_url(path: str) -> str:
    return str(Path(path).relative_to(ROOT))


def to_path(url: str) -> str:
    return url if url.startswith("/") else str(Path(ROOT) / url)


def round_trip(scene: ExchangedScene) -> ExchangedScene:
    """The scene after a round trip through the real library, which must accept the file."""
    text = build_timeline(scene, to_url).timeline.to_json_string(indent=2)
    timeline = otio.adapters.read_from_string(text, "otio_json")
    read = read_timeline(read_otio(timeline.to_json_string()), to_path)
    assert not read.notes, read.notes
    return read.scene


def comparable(scene: ExchangedScene) -> ExchangedScene:
    """The scene without what the files of its strips say, and with its strips in order."""

    def plain(strips: tuple[ExchangedStrip, ...]) -> tuple[ExchangedStrip, ...]:
        cleared = (
            replace(strip, file_rate=None, file_frames=0, native=None, strips=plain(strip.strips)) for strip in strips
        )
        return tuple(sorted(cleared, key=lambda strip: strip.name))

    return replace(scene, strips=plain(scene.strips), markers=tuple(sorted(scene.markers, key=lambda each: each.frame)))


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(10**6), 10**6).map(lambda number: number / 8)
values = st.booleans() | st.integers(-(2**31), 2**31 - 1) | numbers | texts
paths = st.sampled_from(["/films/a b.mp4", "/films/sub/växjö%20.mov", "/films/日本.mp4"])
properties = st.dictionaries(
    st.sampled_from(["blend_alpha", "volume", "font", "transform", "color"]),
    values | st.lists(numbers, min_size=1, max_size=3) | st.builds(FilePath, paths),
    max_size=3,
)
curves = st.builds(
    Curve,
    st.sampled_from(["volume", "transform.scale_x", '["energy"]']),
    st.integers(0, 2),
    st.lists(
        st.tuples(*[numbers] * 2, st.just("BEZIER"), *[numbers] * 4, st.just("AUTO"), st.just("FREE")), max_size=3
    ).map(tuple),
)
take_values = st.builds(
    Take,
    id=st.uuids().map(lambda uid: uid.hex),
    scene_rate=st.sampled_from(RATES),
    lead_in_frames=st.integers(-50, 50),
    frames=st.integers(1, 100),
    stems=st.just((Stem("primary", Path("/films/stems/a.wav"), 48000, 1, 96096),)),
    number=st.integers(1, 5),
    name=texts,
    media=st.just("/films/a b.mp4"),
    source_start_s=st.fractions(0, 5, max_denominator=1001),
    seed=st.integers(0, 2**63 - 1),
    requested_energy=st.just(EnergyCurve(Fraction(100), (-11.5, -3.25))),
)


@st.composite
def strips_of(draw: Any, prefix: str = "", depth: int = 1) -> tuple[ExchangedStrip, ...]:
    count = draw(st.integers(0, 5))
    found = []
    for number in range(count):
        kind = draw(st.sampled_from(["MOVIE", "SOUND", "IMAGE", "COLOR", "TEXT", "ADJUSTMENT", "SCENE", "META"]))
        if kind == "META" and not depth:
            kind = "GLOW"
        start = draw(st.integers(-300, 3000))
        files: tuple[str, ...] = ()
        if kind in ("MOVIE", "SOUND"):
            files = (draw(paths),)
        elif kind == "IMAGE":
            images = ("/films/i/s.0098.png", "/films/i/s.0099.png", "/films/i/s.0100.png")
            files = draw(st.sampled_from([images, images[:1], ("/films/i/x.png", "/films/i/b.png")]))
        inner = draw(strips_of(prefix=f"{prefix}{number} ", depth=depth - 1)) if kind == "META" else ()
        content_start = start - draw(st.integers(-20, 200))
        if inner:
            content_start = min(strip.start_frame for strip in inner)
        name = f"{prefix}{number} {draw(texts)}"
        found.append(
            ExchangedStrip(
                name=name,
                kind=kind,
                channel=draw(st.integers(1, 128)),
                start_frame=start,
                end_frame=start + draw(st.integers(1, 500)),
                content_start_frame=content_start,
                content_frames=draw(st.integers(0, 700)),
                files=files,
                file_rate=draw(st.sampled_from([None, *RATES])) if kind == "MOVIE" else None,
                file_frames=900 if kind == "MOVIE" else 0,
                trimmed_frames=draw(st.tuples(st.integers(0, 9), st.integers(0, 9))) if kind == "MOVIE" else (0, 0),
                is_muted=draw(st.booleans()),
                is_complete=True,
                properties=draw(properties),
                modifiers=draw(st.lists(st.tuples(texts, st.just("CURVES"), properties), max_size=1).map(tuple)),
                curves=tuple(draw(st.lists(curves, max_size=2))),
                rewas=draw(st.sampled_from([{}, {"uid": "ab" * 16, "prompt": "rain", "settings": {"takes": 3}}])),
                settings=draw(st.sampled_from([{}, {"prompt": "rain", "takes": 3}])),
                takes=tuple(draw(st.lists(take_values, max_size=2))),
                last_take_number=draw(st.integers(0, 9)),
                active_take=draw(st.sampled_from(["", "cd" * 16])),
                datablock="Other" if kind == "SCENE" else "",
                strips=inner,
                channels=tuple(
                    ExchangedChannel(number, f"inside {number}", number % 2 == 0)
                    for number in sorted({2, *(strip.channel for strip in inner)})
                )
                if kind == "META"
                else (),
            )
        )
    return tuple(found)


@st.composite
def scenes(draw: Any) -> ExchangedScene:
    strips = draw(strips_of())
    used = {strip.channel for strip in strips} | {7}
    return ExchangedScene(
        name=draw(texts),
        rate=draw(st.sampled_from(RATES)),
        start_frame=draw(st.integers(0, 2000)),
        end_frame=draw(st.integers(2000, 4000)),
        strips=strips,
        channels=tuple(
            ExchangedChannel(number, draw(texts) or "x", draw(st.booleans()), draw(st.booleans()))
            for number in sorted(used)
        ),
        markers=tuple(
            ExchangedMarker(draw(texts), frame) for frame in sorted(draw(st.sets(st.integers(-100, 5000), max_size=4)))
        ),
        properties={"resolution_x": 1920},
    )


@settings(deadline=None, max_examples=40)
@given(scenes())
def test_a_scene_comes_back_through_a_file_as_it_was(scene: ExchangedScene) -> None:
    found, expected = comparable(round_trip(scene)), comparable(scene)
    assert list(map(vars, all_strips(found.strips))) == list(map(vars, all_strips(expected.strips)))
    assert found == expected


@given(
    st.sampled_from(RATES),
    st.integers(0, 20),
    st.floats(-0.99, 0.99).map(lambda frames: round(frames, 3)),
    st.integers(1, 50),
)
def test_a_sound_between_two_frames_comes_back(rate: Fraction, lead_in: int, offset_frames: float, frames: int) -> None:
    properties = {"sound_offset": float(f"{offset_frames / float(rate):.9g}")} if offset_frames else {}
    sounds = [
        ExchangedStrip(
            name,
            "SOUND",
            1,
            start,
            start + frames,
            start - lead_in,
            content_frames=frames + lead_in,
            files=(f"{ROOT}/{name}.wav",),
            is_complete=True,
            properties=properties,
        )
        for name, start in (("first", 1001), ("second", 1001 + frames))
    ]
    scene = ExchangedScene("Scene", rate, 1001, 1200, strips=tuple(sounds))
    assert comparable(round_trip(scene)).strips == comparable(scene).strips
