"""Outputs: files and standard output that cannot be written, and files that must not be overwritten."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
from rewas_command import Rewas, command, environment
from test_bad_input import assert_only_files, assert_refused

FAILED_WORK = 1


@pytest.mark.slow
def test_a_full_disk_is_reported_in_one_sentence_and_leaves_no_files(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    # For the program, a file size limit looks like a full disk.
    result = rewas(
        "generate", media / "ball.mp4", "-p", "rain", "--steps", 1, "--seed", 7, "-o", tmp_path / "out", "--json",
        file_size_limit_bytes=100_000,
    )  # fmt: skip
    assert_refused(result, "ball primary take 1 seed 7.wav cannot be written", code=FAILED_WORK)
    assert len(result.errors.splitlines()) == 1
    assert_only_files(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("as_json", "unbuffered"), [(["--json"], ""), ([], "1")])
def test_a_full_standard_output_is_reported_in_one_sentence(
    media: Path, tmp_path: Path, as_json: list[str], unbuffered: str
) -> None:
    variables = {**environment(tmp_path, tmp_path), "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        completed = subprocess.run(
            command("energy", media / "ball.mp4", "--from", "flat", *as_json),
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, env=variables,
        )  # fmt: skip
    assert completed.returncode == FAILED_WORK
    assert completed.stderr.startswith("Error: Standard output cannot be written (No space left on device).")
    assert len(completed.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        (["energy", "--from", "flat", "--json"], "1"),
        (["energy", "--from", "flat"], ""),
        (["--help"], ""),
        (["--help"], "1"),
    ],
)
def test_a_closed_pipe_is_not_reported(media: Path, tmp_path: Path, arguments: list[str], unbuffered: str) -> None:
    clip = [media / "ball.mp4"] if arguments[0] == "energy" else []
    process = subprocess.Popen(
        command(*arguments[:1], *clip, *arguments[1:]), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**environment(tmp_path, tmp_path), "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(300) == FAILED_WORK


@pytest.mark.parametrize(
    ("command_name", "source", "content"),
    [("energy", "mine.csv", "time_s,energy\n0,-5\n2,-5\n"), ("texture", "mine.csv", "time_s,tilt\n0,1\n2,1\n")],
)
def test_an_input_is_not_overwritten(
    bare_rewas: Rewas, media: Path, tmp_path: Path, command_name: str, source: str, content: str
) -> None:
    input_path = tmp_path / source
    input_path.write_text(content)
    (tmp_path / "linked.csv").symlink_to(input_path)
    for output in (input_path, tmp_path / "linked.csv", tmp_path / "." / source):
        result = bare_rewas(
            command_name, media / "ball.mp4", "--from", input_path, "-o", output, "--json", cwd=tmp_path
        )
        assert_refused(result, output.name, "is also an input")
        assert input_path.read_text() == content
    # Any other file may be overwritten.
    other = tmp_path / "other.csv"
    other.write_text("old")
    result = bare_rewas(command_name, media / "ball.mp4", "--from", input_path, "-o", other)
    assert result.code == 0, result.errors
    assert other.read_text() != "old"


def test_a_plot_does_not_overwrite_an_input(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    # Clips and sound files may have any name, even one that ends in .png.
    clip, sound = tmp_path / "clip.png", tmp_path / "hands.png"
    clip.write_bytes((media / "ball.mp4").read_bytes())
    sound.write_bytes((media / "ball.mp4").read_bytes())
    rain = ("--prompt", "rain", "-o", tmp_path / "out")
    for arguments, plot in (
        (["energy", clip], clip),
        (["texture", clip, "--from", sound], sound),
        (["generate", clip, *rain], clip),
        (["generate", clip, *rain, "--energy", sound], sound),
        (["generate", clip, *rain, "--texture", sound], sound),
        (["generate", clip, *rain, "--regenerate", sound], sound),
        (["generate", clip, *rain, "--ambience", "wind", "--layer-energy", f"ambience={sound}"], sound),
    ):
        assert_refused(bare_rewas(*arguments, "--plot", plot, "--json"), plot.name, "is also an input")
    assert_only_files(tmp_path, "clip.png", "hands.png")


@pytest.mark.parametrize(
    ("arguments", "option", "name"),
    [
        (["energy", "--from", "flat"], "-o", "curve.csv"),
        (["energy", "--from", "flat"], "--plot", "plot.png"),
        (["texture", "--from", "flat"], "-o", "bands.csv"),
        (["texture", "--from", "flat"], "--plot", "plot.png"),
        (["generate", "--prompt", "rain"], "--plot", "plot.png"),
    ],
)
def test_an_unwritable_output_is_refused_before_the_work(
    bare_rewas: Rewas, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], option: str, name: str,
) -> None:  # fmt: skip
    def assert_output_refused(path: Path, *messages: str) -> None:
        result = bare_rewas(arguments[0], media / "ball.mp4", *arguments[1:], option, path, "--json", cwd=tmp_path)
        assert_refused(result, *messages)

    assert_output_refused(tmp_path / "no" / name, f"The folder {tmp_path / 'no'} for the")
    (tmp_path / "file").touch()
    assert_output_refused(tmp_path / "file" / name, "is a file, not a folder")
    locked = tmp_path / "locked"
    locked.mkdir()
    # File permissions do not stop the root user.
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **more: Path(path) != locked and access(path, mode, **more))
    assert_output_refused(locked / name, f"The folder {locked}")
    assert_only_files(tmp_path, "file", "locked")


def test_a_failed_write_names_the_path_as_typed(
    bare_rewas: Rewas, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*anything: object, **more: object) -> None:
        raise OSError(28, "No space left on device", "/hidden.part")

    for options in (["-o", "curve.csv"], ["--plot", "e.png"]):
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.replace", full)
            result = bare_rewas("energy", media / "ball.mp4", "--from", "flat", *options, "--json", cwd=tmp_path)
        assert_refused(result, f"{options[1]} cannot be written (No space left on device)", code=FAILED_WORK)
        assert_only_files(tmp_path)


@pytest.mark.slow
def test_a_plot_can_be_in_the_new_stems_folder(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    new = tmp_path / "new" / "out"
    result = rewas(
        "generate", media / "ball.mp4", "-p", "rain", "--steps", 1, "--duration", 1, "-o", new,
        "--plot", new / "plot.png", "--json",
    )  # fmt: skip
    assert result.code == 0, result.errors
    assert (new / "plot.png").read_bytes().startswith(b"\x89PNG")
    result = rewas("generate", media / "ball.mp4", "-p", "rain", "-o", new, "--plot", new / "a" / "plot.png", "--json")
    assert_refused(result, f"The folder {new / 'a'} for the")


@pytest.mark.weights
def test_a_prompt_that_the_pack_does_not_know_is_told(bare_rewas: Rewas, media: Path, tmp_path: Path) -> None:
    run = ("generate", media / "ball.mp4", "-p", "phone ringing", "--steps", "1", "-o", tmp_path / "out")
    report = bare_rewas(*run, "--json").json()
    (note,) = [note for note in report["notes"] if note["kind"] == "unknown-prompt"]
    assert "“phone ringing”" in note["text"]
    assert report["familiarity"]["known"] is False
    assert "a bell ringing" in report["familiarity"]["nearest_prompts"]
    assert report["takes"][0]["score"] is None
    text = bare_rewas(*run).output
    assert f"note: {note['text']}" in text
    assert "score" not in text.replace("have no score", "")


def test_levels_are_chosen_and_reported(rewas: Rewas, media: Path, tmp_path: Path) -> None:
    run = ("generate", media / "ball.mp4", "-p", "rain", "--energy", "flat", "--steps", "1", "-o", tmp_path / "out")
    standard, raw = (rewas(*run, "--level", level, "--json").json() for level in ("standard", "raw"))
    assert (standard["settings"]["level"], raw["settings"]["level"]) == ("standard", "raw")
    assert raw["takes"][0]["level_gain_db"] == 0
    sound, rate_hz = soundfile.read(standard["takes"][0]["stems"]["primary"]["path"])
    loudness = pyloudnorm.Meter(rate_hz).integrated_loudness(sound)
    assert loudness == pytest.approx(-23, abs=0.3) or np.abs(sound).max() > 0.8
