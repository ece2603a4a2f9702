"""`rewas bench`, and the execution options of generate and serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from rewas_command import Rewas


@pytest.mark.slow
def test_bench_prints_one_json_object(rewas: Rewas) -> None:
    result = rewas(
        "bench", "--pack", "starter", "--only", "procedures", "--released-steps", 2, "--device", "cpu", "--json"
    )
    assert result.code == 0, result.errors
    report = result.json()
    assert report["procedures"]["released"]["num_steps"] == 200
    assert report["procedures"]["released"]["extrapolated"] is True
    assert report["procedures"]["ratio"] > 0
    assert report["machine"]["device"] == "cpu"
    assert (report["pack"], report["licence"]) == ("starter", "Apache-2.0")
    assert report["permits"].startswith("Free for any use")


@pytest.mark.slow
def test_text_output_marks_extrapolated_figures(rewas: Rewas) -> None:
    result = rewas(
        "bench", "--pack", "starter", "--only", "procedures,batches", "--released-steps", 2, "--device", "cpu",
        # A processor without bfloat16 instructions takes minutes for the large product that measures the peak.
        "--precision", "float32",
    )  # fmt: skip
    assert result.code == 0, result.errors
    assert "2 measured" in result.output
    assert "extrapolated from 2 of the release's 200 steps" in result.output
    assert "share of the peak" in result.output
    assert "(Apache-2.0): Free for any use" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_invalid_options_are_refused(bare_rewas: Rewas, arguments: tuple[str, ...], message: str) -> None:
    result = bare_rewas(*arguments, "--json") if arguments[0] == "bench" else bare_rewas(*arguments)
    assert result.code == 2, result.errors
    assert message in (result.json()["error"]["what"] if arguments[0] == "bench" else result.errors)


def test_execution_options_are_refused_with_a_server(bare_rewas: Rewas, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"not read")
    result = bare_rewas("generate", clip, "-p", "rain", "--server", "127.0.0.1:1", "--low-memory", "--json")
    assert result.code == 2
    assert "where the server is started" in result.json()["error"]["what"]


def test_an_unknown_sampler_is_refused(bare_rewas: Rewas, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"not read")
    result = bare_rewas("generate", clip, "-p", "rain", "--sampler", "euler", "--json")
    assert result.code == 2
    assert "sampler" in result.json()["error"]["what"]
    assert "dpm++" in result.json()["error"]["remedy"]
