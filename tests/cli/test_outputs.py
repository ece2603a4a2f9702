"""Where results go: files and standard output that cannot be written, and files that must not be."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest
from rewas_command import Ran, command, environment
from test_bad_input import assert_nothing_left, assert_refused

FAILED_WORK = 1


@pytest.mark.slow
def test_a_full_disk_is_told_in_one_sentence_and_nothing_is_left(packs: Path, media: Path, tmp_path: Path) -> None:
    def files_stay_small() -> None:
        # To the program a file that may not grow is as a disk that is full.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        command(
            "generate", media / "ball.mp4", "-p", "rain", "--steps", 1, "--seed", 7, "-o", tmp_path / "out", "--json"
        ),
        capture_output=True, text=True, timeout=300, env=environment(packs, tmp_path / "home"),
        preexec_fn=files_stay_small,
    )  # fmt: skip
    assert_refused(
        Ran(done.returncode, done.stdout, done.stderr), "ball primary take 1 seed 7.wav cannot be written",
        code=FAILED_WORK,
    )  # fmt: skip
    assert len(done.stderr.splitlines()) == 1
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("as_json", [["--json"], []])
def test_standard_output_that_takes_nothing_is_told_in_one_sentence(
    media: Path, tmp_path: Path, as_json: list[str], unbuffered: str
) -> None:
    variables = {**environment(tmp_path, tmp_path), "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("energy", media / "ball.mp4", "--from", "flat", *as_json),
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=variables,
        )  # fmt: skip
    assert done.returncode == FAILED_WORK
    assert done.stderr.startswith("Error: Standard output cannot be written (No space left on device).")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments", [["energy", "--from", "flat", "--json"], ["energy", "--from", "flat"], ["--help"]]
)
def test_a_reader_that_has_gone_is_no_reason_to_say_anything(
    media: Path, tmp_path: Path, arguments: list[str], unbuffered: str
) -> None:
    clip = [media / "ball.mp4"] if arguments[0] == "energy" else []
    process = subprocess.Popen(
        command(*arguments[:1], *clip, *arguments[1:]), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**environment(tmp_path, tmp_path), "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(60) == FAILED_WORK
