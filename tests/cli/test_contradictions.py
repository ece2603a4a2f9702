"""Contradictory options and options without effect are refused, with the names as typed and a fitting remedy."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest
from rewas_command import Rewas, write_clip
from test_bad_input import assert_only_files, assert_refused

FAILED_WORK = 1


def write_silence(path: Path, rate_hz: int = 44_100) -> Path:
    """Write two seconds of digital silence, the length of the ball clip."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(bytes(2 * 2 * rate_hz))
    return path


@pytest.mark.parametrize(
    ("options", "message", "remedy"),
    [
        (["--gain", "primary=-3", "--gain", "primary=-20"], "'primary' has more than one gain", "one --gain"),
        (["--texture", "flat", "--control-strength", "0"], "control strength of 0", "--control-strength above 0"),
        (["--conflict-model", "/no/where"], "folder /no/where", "--conflict-model"),
        (["--conflict-model", "/no/where", "--conflict", "off"], "folder /no/where", "--conflict-model"),
        (["--energy", "flat", "--edit", "fade in 99"], "“fade in 99” lasts longer than the clip", "shorter"),
        (["--energy", "flat", "--edit", "fade out 99"], "“fade out 99” lasts longer than the clip", "shorter"),
        (["--texture", "tilt:2", "--texture-edit", "fade in 99"], "“fade in 99” lasts longer", "shorter"),
        (["--control", "foo"], "--control", "Use energy or onsets."),
        (["--steps", "0"], "--steps", "from 1 to 1000"),
        (["--gain", "primary=99"], "--gain", "from -60 to 24"),
        (
            ["--control-start", "0.9", "--control-end", "0.5"],
            "starts at 0.9 and ends at 0.5",
            "--control-start below --control-end",
        ),
        (["--negative-prompt", "x", "--guidance-scale", "1"], "--guidance-scale is 1", "--guidance-scale above 1"),
    ],
)
def test_contradictory_options_are_refused_with_a_remedy(
    rewas: Rewas, bare_rewas: Rewas, media: Path, tmp_path: Path, options: list[str], message: str, remedy: str
) -> None:
    # Only the guidance scale depends on the pack.
    run = rewas if "--negative-prompt" in options else bare_rewas
    result = run("generate", media / "ball.mp4", "-p", "rain", *options, "-o", tmp_path / "out", "--json")
    assert_refused(result, message)
    assert remedy in result.json()["error"]["remedy"]
    assert_only_files(tmp_path)


def test_an_unsupported_sample_rate_is_refused(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    sound = write_silence(tmp_path / "telephone.wav", 8000)
    result = bare_rewas(
        "generate", media / "ball.mp4", "-p", "rain", "--regenerate", sound, "-o", tmp_path / "out", "--json"
    )
    assert_refused(result, "The sound telephone.wav", "a sample rate of 8000 Hz")


def test_remedies_fit_the_command(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    ball = media / "ball.mp4"
    text = tmp_path / "text.mp4"
    text.write_text("neither sound nor picture")
    result = rewas("energy", ball, "--from", text, "--json")
    assert_refused(result, "text.mp4 cannot be read")
    assert "video" not in result.json()["error"]["remedy"]
    result = rewas("texture", write_clip(tmp_path / "mute.mp4", frames=24, sound=False), "--json")
    assert_refused(result, "mute.mp4 has no sound")
    assert "energy" not in result.json()["error"]["remedy"]
    assert_refused(rewas("texture", ball, "-o", tmp_path / "no" / "bands.csv", "--json"), "for the texture")
    named = tmp_path / "folder"
    named.mkdir()
    assert_refused(rewas("energy", ".", "--json", cwd=named), f'"folder" is a folder: {named}.')


@pytest.mark.slow
def test_the_texture_of_silence_is_refused(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    silence = write_silence(tmp_path / "zero.wav")
    for command in (["texture", "--from"], ["generate", "-p", "rain", "-o", tmp_path / "out", "--texture"]):
        result = rewas(command[0], media / "ball.mp4", *command[1:], silence, "--json")
        assert_refused(result, "The sound of zero.wav is silent")
    assert_only_files(tmp_path, "zero.wav")
