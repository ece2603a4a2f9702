"""Times on the command line are parsed exactly."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
import soundfile
import typer
from hypothesis import given
from hypothesis import strategies as st
from rewas_command import Rewas

from rewas_cli.commands.shared_options import otio_clip, parse_time_s
from rewas_server.otio.clips import parse_clip, read_clip_source


@given(st.decimals(0, 100_000, places=6))
def test_seconds_are_exact(value: Decimal) -> None:
    assert parse_time_s(f"{value:f}", "--start") == Fraction(value)


@given(st.integers(0, 99), st.integers(0, 59), st.decimals(0, 59, places=3))
def test_clock_times_are_exact(hours: int, minutes: int, rest: Decimal) -> None:
    assert parse_time_s(f"{hours}:{minutes:02}:{rest:f}", "--start") == hours * 3600 + minutes * 60 + Fraction(rest)
    assert parse_time_s(f"{minutes:02}:{rest:f}", "--start") == minutes * 60 + Fraction(rest)


@given(st.text(max_size=12))
def test_any_other_text_is_refused(text: str) -> None:
    try:
        assert parse_time_s(text, "--start") >= 0
    except typer.BadParameter as error:
        assert "is not a time" in str(error)  # noqa: PT017


@pytest.mark.parametrize("text", ["", "-1", "1e3", "nan", "inf", "1/2", "1:2:3:4", "3,5", "٣", "1:", ":1", "."])
def test_invalid_times_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a time"):
        parse_time_s(text, "--start")


@given(start=st.decimals(0, 10_000, places=4), duration=st.decimals("0.0001", 10_000, places=4))
def test_the_clip_for_the_server_has_exact_times(start: Decimal, duration: Decimal) -> None:
    clip = otio_clip(Path("/media/shot.mov"), f"{start:f}", f"{duration:f}")
    source = read_clip_source(parse_clip(clip.to_json_string()))
    assert (source.start_s, source.duration_s) == (Fraction(start), Fraction(duration))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--start", "0.5", "--duration", "1", "--speed", "50%"), "0.5 s to 1 s at 50 % speed"),
        (("--start", "1.5", "--duration", "0.5", "--speed", "-2"), "1.5 s to 0.5 s at -200 % speed"),
        (("--start", "0.5", "--duration", "0.5", "--speed", "0"), "a still picture for 0.5 s"),
    ],
)
def test_a_retimed_clip_is_read_as_it_is_shown(
    rewas: Rewas, media: Path, tmp_path: Path, options: tuple[str, ...], text: str
) -> None:
    clip = media / "ball.mp4"
    result = rewas("generate", clip, "--prompt", "a drum", "--steps", 1, "--output", tmp_path, *options)
    assert result.code == 0, result.errors
    assert text in result.output
    (stem,) = tmp_path.glob("*.wav")
    assert soundfile.info(stem).duration == float(options[3])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--speed", "2"), "Give the length of the clip as it is shown"),
        (("--duration", "1", "--speed", "fast"), "'fast' is not a speed; write it as 0.5, 50% or -1."),
        (("--duration", "1", "--speed", "1/0"), "is not a speed"),
        (("--duration", "1", "--speed", "1000000"), "The speed of the clip is"),
        (("--duration", "1", "--speed", "-1"), "goes beyond the start of its media"),
    ],
)
def test_an_impossible_speed_is_refused(
    bare_rewas: Rewas, media: Path, tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    result = bare_rewas("generate", media / "ball.mp4", "--prompt", "a drum", "--output", tmp_path, *options)
    assert result.code == 2
    assert sentence in " ".join(result.errors.split())
