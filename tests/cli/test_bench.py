"""`rewas bench` as it is typed, and what generate and serve say about how packs are run."""

from __future__ import annotations

from pathlib import Path

import pytest
from rewas_command import Rewas


@pytest.mark.slow
def test_it_prints_one_object(rewas: Rewas) -> None:
    ran = rewas(
        "bench", "--pack", "starter", "--only", "procedures", "--released-steps", 2, "--device", "cpu", "--json"
    )
    assert ran.code == 0, ran.errors
    report = ran.json()
    assert report["procedures"]["released"]["num_steps"] == 200
    assert report["procedures"]["released"]["extrapolated"] is True
    assert report["procedures"]["ratio"] > 0
    assert report["machine"]["device"] == "cpu"
    assert (report["pack"], report["licence"]) == ("starter", "Apache-2.0")
    assert report["permits"].startswith("Any use is free")


@pytest.mark.slow
def test_for_people_it_says_what_is_extrapolated(rewas: Rewas) -> None:
    ran = rewas(
        "bench", "--pack", "starter", "--only", "procedures,batches", "--released-steps", 2, "--device", "cpu",
        # A processor without bfloat16 instructions takes minutes for the large product that measures the peak.
        "--precision", "float32",
    )  # fmt: skip
    assert ran.code == 0, ran.errors
    assert "2 measured" in ran.output
    assert "extrapolated from 2 of the release's 200 steps" in ran.output
    assert "share of the peak" in ran.output
    assert "(Apache-2.0): Any use is free" in ran.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bench", "--pack", "nobody"), "'nobody'"),
        (("bench", "--only", "procedures,noise"), "no part noise"),
        (("bench", "--only", ","), "no part"),
        (("bench", "--released-steps", 1), "greater than or equal to 2"),
        (("bench", "--precision", "double"), "'double'"),
        (("bench", "--compile", "--low-memory"), "contradicts low memory"),
        (("serve", "--precision", "double"), "'double'"),
    ],
)
def test_what_cannot_be_right_is_refused(bare_rewas: Rewas, arguments: tuple[str, ...], said: str) -> None:
    ran = bare_rewas(*arguments, "--json") if arguments[0] == "bench" else bare_rewas(*arguments)
    assert ran.code == 2, ran.errors
    assert said in (ran.json()["error"]["what"] if arguments[0] == "bench" else ran.errors)


def test_a_server_decides_for_itself_how_it_runs_packs(bare_rewas: Rewas, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"no matter")
    ran = bare_rewas("generate", clip, "-p", "rain", "--server", "127.0.0.1:1", "--low-memory", "--json")
    assert ran.code == 2
    assert "where the server is started" in ran.json()["error"]["what"]


def test_another_sampler_is_refused(bare_rewas: Rewas, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"no matter")
    ran = bare_rewas("generate", clip, "-p", "rain", "--sampler", "euler", "--json")
    assert ran.code == 2
    assert "sampler" in ran.json()["error"]["what"]
    assert "dpm++" in ran.json()["error"]["remedy"]
