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
