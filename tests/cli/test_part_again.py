"""A part again, a degree, a loop, onsets and a negative prompt on the command line, here and on a server."""

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


def sound_of(ran) -> tuple[np.ndarray, int]:
    assert ran.code == 0, ran.errors
    return soundfile.read(ran.json()["takes"][0]["stems"]["primary"]["path"])


@pytest.mark.slow
def test_a_range_is_made_again_and_the_rest_stays_to_the_bit(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    clip = media / "ball.mp4"
    first = rewas("generate", clip, "--prompt", "rain", *QUICK, "-o", tmp_path / "first", "--json")
    old, rate_hz = sound_of(first)
    stem = first.json()["takes"][0]["stems"]["primary"]["path"]
    again = rewas(
        "generate", clip, "--prompt", "wind", "--steps", 2, "--seed", 9, "-o", tmp_path / "again",
        "--regenerate", stem, "--range", "0.5-1", "--json",
    )  # fmt: skip
    new, new_rate_hz = sound_of(again)
    assert (new.shape, new_rate_hz) == (old.shape, rate_hz)
    fade = int(0.02 * rate_hz)
    begin, end = rate_hz // 2, rate_hz
    assert np.array_equal(new[: begin - fade], old[: begin - fade])
    assert np.array_equal(new[end + fade :], old[end + fade :])
    assert not np.allclose(new[begin:end], old[begin:end], atol=1e-4)


@pytest.mark.slow
def test_a_server_makes_the_same_part_again(rewas: Rewas, server: str, media: Path, tmp_path: Path) -> None:
    clip = media / "ball.mp4"
    first = rewas("generate", clip, "--prompt", "rain", *QUICK, "-o", tmp_path / "first", "--json")
    stem = first.json()["takes"][0]["stems"]["primary"]["path"]
    asked = (
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
    here = rewas(*asked, "-o", tmp_path / "here")
    there = rewas(*asked, "-o", tmp_path / "there", "--server", server)
    assert np.array_equal(sound_of(here)[0], sound_of(there)[0])


@pytest.mark.slow
def test_a_loop_has_its_clips_length_and_says_so(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    ran = rewas("generate", media / "ball.mp4", "--prompt", "rain", *QUICK, "--loop", "-o", tmp_path, "--json")
    waveform, rate_hz = sound_of(ran)
    assert len(waveform) == round(BALL_S * rate_hz)
    assert ran.json()["settings"]["loop"] is True
    assert len(set(ran.json()["energy"]["requested"])) == 1
    steps = np.abs(np.diff(waveform))
    assert abs(waveform[0] - waveform[-1]) < 2 * np.quantile(steps, 0.99)


@pytest.mark.slow
def test_what_is_asked_for_is_told(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    ran = rewas(
        "generate", media / "ball.mp4", "--prompt", "rain", *QUICK, "--negative-prompt", "wind", "--control-end", "0.5",
        "--control-strength", "0.8", "-o", tmp_path, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.errors
    told = ran.json()["settings"]
    assert (told["negative_prompt"], told["control_end"], told["control_strength"]) == ("wind", 0.5, 0.8)
    assert told["guidance_scale"] >= 2


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
def test_ranges_are_read_as_they_are_typed(text: str, parsed: tuple[Fraction | None, Fraction | None]) -> None:
    assert parse_range(text) == parsed


@pytest.mark.parametrize("text", ["", "-", "3", "3-1", "2-2", "a-b", "1-2-3", "1e3-2", "-0", "nan-2"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_range(text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--range", "1-2"], "--range needs a sound"),
        (["--strength", "0.5"], "--strength needs a sound"),
        (["--regenerate", "nowhere.wav"], "The sound nowhere.wav does not exist"),
        (["--regenerate", "{clip}", "--strength", "0"], 'strength of the regeneration of the clip "ball.mp4" is 0'),
        (["--regenerate", "{clip}", "--range", "3-1"], "ends before it begins"),
        (["--control", "smell"], "control"),
    ],
)
def test_contradictions_are_refused(bare_rewas: Rewas, media: Path, tmp_path: Path, options, said: str) -> None:
    clip = media / "ball.mp4"
    typed = [option.format(clip=clip) for option in options]
    ran = bare_rewas("generate", clip, "--prompt", "rain", "-o", tmp_path / "out", *typed, "--json")
    assert ran.code == 2
    assert said in ran.json()["error"]["what"]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--regenerate", "{clip}", "--range", "1-2"], "ball.mp4 cannot be read"),
        (
            ["--regenerate", "{sound}", "--range", "1-2", "--cuts", "1"],
            "A regenerated sound cannot have a new sound at cuts",
        ),
        (["--regenerate", "{sound}", "--range", "1-2", "--loop"], "A regenerated sound cannot be a loop"),
        (["--regenerate", "{sound}", "--range", "1-200"], "does not lie in the clip"),
        (["--control", "onsets"], "does not support the control onsets"),
        (["--negative-prompt", "wind", "--guidance-scale", "1"], "needs guidance"),
    ],
)
def test_what_only_the_work_can_tell_is_refused_too(
    rewas: Rewas, media: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    sound = tmp_path / "old.wav"
    soundfile.write(sound, np.zeros(96_096), 48_000)
    typed = [option.format(clip=media / "ball.mp4", sound=sound) for option in options]
    ran = rewas("generate", media / "ball.mp4", "--prompt", "rain", *QUICK, "-o", tmp_path / "out", *typed, "--json")
    assert ran.code == 2
    assert said in ran.json()["error"]["what"]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
