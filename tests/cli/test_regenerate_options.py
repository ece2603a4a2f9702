"""Regenerated ranges, strength, loops, onsets and negative prompts, locally and on a server."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from rewas_command import FILM_RATE, Rewas

from rewas_cli.commands.regenerate_options import parse_range

QUICK = ("--steps", "2", "--seed", "7")
BALL_S = 48 / FILM_RATE


def read_stem(result) -> tuple[np.ndarray, int]:
    assert result.code == 0, result.errors
    return soundfile.read(result.json()["takes"][0]["stems"]["primary"]["path"])


@pytest.mark.slow
def test_a_range_is_regenerated_and_the_rest_stays_identical(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    clip = media / "ball.mp4"
    first = rewas("generate", clip, "--prompt", "rain", *QUICK, "-o", tmp_path / "first", "--json")
    old, rate_hz = read_stem(first)
    stem = first.json()["takes"][0]["stems"]["primary"]["path"]
    again = rewas(
        "generate", clip, "--prompt", "wind", "--steps", 2, "--seed", 9, "-o", tmp_path / "again",
        "--regenerate", stem, "--range", "0.5-1", "--json",
    )  # fmt: skip
    new, new_rate_hz = read_stem(again)
    assert (new.shape, new_rate_hz) == (old.shape, rate_hz)
    fade = int(0.02 * rate_hz)
    begin, end = rate_hz // 2, rate_hz
    assert np.array_equal(new[: begin - fade], old[: begin - fade])
    assert np.array_equal(new[end + fade :], old[end + fade :])
    assert not np.allclose(new[begin:end], old[begin:end], atol=1e-4)


@pytest.mark.slow
def test_a_server_regenerates_the_same_samples(rewas: Rewas, server: str, media: Path, tmp_path: Path) -> None:
    clip = media / "ball.mp4"
    first = rewas("generate", clip, "--prompt", "rain", *QUICK, "-o", tmp_path / "first", "--json")
    stem = first.json()["takes"][0]["stems"]["primary"]["path"]
    arguments = (
        "generate",
        clip,
        "--prompt",
        "wind",
        *QUICK,
        "--regenerate",
        stem,
        "--range",
        "1-",
        "--strength",
        "0.5",
        "--json",
    )
    here = rewas(*arguments, "-o", tmp_path / "here")
    there = rewas(*arguments, "-o", tmp_path / "there", "--server", server)
    assert np.array_equal(read_stem(here)[0], read_stem(there)[0])


@pytest.mark.slow
def test_a_loop_has_the_length_of_its_clip_and_is_reported(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    result = rewas("generate", media / "ball.mp4", "--prompt", "rain", *QUICK, "--loop", "-o", tmp_path, "--json")
    waveform, rate_hz = read_stem(result)
    assert len(waveform) == round(BALL_S * rate_hz)
    assert result.json()["settings"]["loop"] is True
    assert len(set(result.json()["energy"]["requested"])) == 1
    steps = np.abs(np.diff(waveform))
    assert abs(waveform[0] - waveform[-1]) < 2 * np.quantile(steps, 0.99)


@pytest.mark.slow
def test_requested_settings_are_reported(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    result = rewas(
        "generate", media / "ball.mp4", "--prompt", "rain", *QUICK, "--negative-prompt", "wind", "--control-end", "0.5",
        "--control-strength", "0.8", "-o", tmp_path, "--json",
    )  # fmt: skip
    assert result.code == 0, result.errors
    settings = result.json()["settings"]
    assert (settings["negative_prompt"], settings["control_end"], settings["control_strength"]) == ("wind", 0.5, 0.8)
    assert settings["guidance_scale"] >= 2


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("1.5-3", (Fraction(3, 2), Fraction(3))),
        ("1:02-1:05.5", (Fraction(62), Fraction(131, 2))),
        ("4-", (Fraction(4), None)),
        ("-2", (None, Fraction(2))),
        (" 1 - 2 ", (Fraction(1), Fraction(2))),
    ],
)
def test_ranges_are_parsed(text: str, parsed: tuple[Fraction | None, Fraction | None]) -> None:
    assert parse_range(text) == parsed


@pytest.mark.parametrize("text", ["", "-", "3", "3-1", "2-2", "a-b", "1-2-3", "1e3-2", "-0", "nan-2"])
def test_invalid_ranges_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_range(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--range", "1-2"], "--range needs a sound"),
        (["--strength", "0.5"], "--strength needs a sound"),
        (["--regenerate", "nowhere.wav"], "The sound nowhere.wav does not exist"),
        (["--regenerate", "{clip}", "--strength", "0"], 'strength of the regeneration of the clip "ball.mp4" is 0'),
        (["--regenerate", "{clip}", "--range", "3-1"], "ends before it begins"),
        (["--control", "smell"], "control"),
    ],
)
def test_contradictory_options_are_refused(
    bare_rewas: Rewas, media: Path, tmp_path: Path, options, message: str
) -> None:
    clip = media / "ball.mp4"
    typed = [option.format(clip=clip) for option in options]
    result = bare_rewas("generate", clip, "--prompt", "rain", "-o", tmp_path / "out", *typed, "--json")
    assert result.code == 2
    assert message in result.json()["error"]["what"]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--regenerate", "{clip}", "--range", "1-2"], "ball.mp4 is in a format that is not supported"),
        (
            ["--regenerate", "{sound}", "--range", "1-2", "--cuts", "1"],
            "A regenerated sound cannot have a new sound at cuts",
        ),
        (["--regenerate", "{sound}", "--range", "1-2", "--loop"], "A regenerated sound cannot be a loop"),
        (["--regenerate", "{sound}", "--range", "1-200"], "is not within the clip"),
        (["--control", "onsets"], "does not support the control onsets"),
        (["--negative-prompt", "wind", "--guidance-scale", "1"], "needs guidance"),
    ],
)
def test_options_that_depend_on_pack_or_media_are_refused(
    rewas: Rewas, media: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    sound = tmp_path / "old.wav"
    soundfile.write(sound, np.zeros(96_096), 48_000)
    typed = [option.format(clip=media / "ball.mp4", sound=sound) for option in options]
    result = rewas("generate", media / "ball.mp4", "--prompt", "rain", *QUICK, "-o", tmp_path / "out", *typed, "--json")
    assert result.code == 2
    assert message in result.json()["error"]["what"]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
