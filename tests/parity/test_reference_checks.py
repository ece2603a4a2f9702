"""Our code compared with arrays of the reference implementation: a tracked subset, and all of them if available.

PARITY names the folder with all arrays. By default it is next to the repository.
"""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewas_engine.conversion.sizes import RELEASED
from rewas_engine.parity import checks as golden
from rewas_engine.parity.comparison import Comparison
from rewas_engine.parity.reference_arrays import ReferenceArraysError, SampledArray
from rewas_engine.parity.synthetic_weights import recipe_module

ROOT = Path(__file__).resolve().parents[2]
SUBSET = Path(__file__).parent / "numbers"
COMMAND = ROOT / "scripts" / "measure" / "parity.py"
FOLDER = Path(os.environ.get("PARITY") or ROOT.parent / "shared" / "parity")
needs_all_arrays = pytest.mark.skipif(not (FOLDER / "golden").is_dir(), reason=f"no reference arrays in {FOLDER}")
both_folders = pytest.mark.parametrize(
    "folder", [pytest.param(SUBSET, id="subset"), pytest.param(FOLDER, id="all", marks=needs_all_arrays)]
)
Check = Callable[..., Iterator[Comparison]]


def run_check(check: Check, *arguments: Any) -> list[Comparison]:
    """Run a check, assert that every comparison is within its bound, and return the comparisons."""
    rows = list(check(*arguments))
    assert [row for row in rows if not row.passed] == []
    return rows


def recipe_network(role: str) -> torch.nn.Module:
    """A full-size network with the weights for which the subset was computed."""
    return recipe_module(role, RELEASED)


@both_folders
@pytest.mark.parametrize(
    ("check", "file", "count"),
    [
        (golden.check_front_end, "energy", 7),
        (golden.check_energy_error, "energy_mae", 3),
        (golden.check_av_align, "av_align", 3),
    ],
)
def test_measurements_match_the_reference(check: Check, file: str, count: int, folder: Path) -> None:
    assert len(run_check(check, golden.open_arrays(folder, file))) == count


@both_folders
@pytest.mark.parametrize(
    ("check", "file", "count"),
    [(golden.check_tiny_denoiser, "tiny_unet_adapter", 11), (golden.check_sampler, "ddim_tiny", 8)],
)
def test_a_small_denoiser_matches_the_reference(check: Check, file: str, count: int, folder: Path) -> None:
    weights = golden.open_arrays(folder, "tiny_unet_adapter")
    parts = golden.tiny_parts_by_recipe() if folder == SUBSET else golden.tiny_parts(weights)
    assert len(run_check(check, golden.open_arrays(folder, file), parts)) == count


@both_folders
def test_full_size_phi_matches_the_reference(folder: Path) -> None:
    prefix = "" if folder == SUBSET else os.environ.get("PREFIX", "")
    rows = run_check(
        golden.check_phi, golden.open_arrays(folder, "phi"), lambda role: recipe_module(role, RELEASED, prefix)
    )
    assert len(rows) == 7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("check", "file", "count"),
    [
        (golden.check_codec_and_vocoder, "vae_hifigan_full", 6),
        (golden.check_video_encoder, "motionformer_full", 3),
        (golden.check_full_denoiser, "unet_adapter_full", 7),
    ],
)
def test_full_size_networks_match_the_reference(check: Check, file: str, count: int) -> None:
    assert len(run_check(check, golden.open_arrays(SUBSET, file), recipe_network)) == count


def test_different_arrays_fail_the_check() -> None:
    arrays = dict(golden.open_arrays(SUBSET, "energy"))
    arrays["control_512"] = np.roll(arrays["control_512"], 1)
    waveform = arrays["waveform_norm"]
    arrays["waveform_norm"] = SampledArray(np.roll(waveform.values, 1), waveform.every, waveform.shape, waveform.std)
    missed = [row.array for row in golden.check_front_end(arrays) if not row.passed]
    assert missed == ["energy: waveform_norm", "energy: control_512"]


@needs_all_arrays
@pytest.mark.slow
def test_the_command_prints_every_row_of_the_small_run(tmp_path: Path) -> None:
    page = tmp_path / "table.md"
    completed = run_small_check(FOLDER, "--markdown", page)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    printed = page.read_text("utf-8").splitlines()
    # Only the table with its head and, at the end, the count.
    assert completed.stdout.splitlines() == [*printed, "46 of 46 arrays are within their bounds."]
    # docs/parity.md has the same rows.
    documented = (ROOT / "docs" / "parity.md").read_text("utf-8").splitlines()
    for row in printed[2:]:
        assert any(line.startswith(row.split(" | ")[0] + " |") for line in documented), row


def test_the_command_reports_a_folder_without_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, errors = refused_small_check(tmp_path, monkeypatch, capsys)
    assert f"No reference arrays in {tmp_path}" in errors


def test_missing_weights_are_reported() -> None:
    with pytest.raises(ReferenceArraysError, match=r"tiny_unet_adapter\.npz, .*, lacks \d+ of \d+ tensors"):
        golden.tiny_parts(golden.open_arrays(SUBSET, "tiny_unet_adapter"))


def test_the_command_names_a_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "golden").mkdir()
    for file in golden.FILES[:-1]:
        (tmp_path / "golden" / f"{file}.npz").write_bytes((SUBSET / "golden" / f"{file}.npz").read_bytes())
    output, errors = refused_small_check(tmp_path, monkeypatch, capsys)
    assert errors == (
        f"The file {tmp_path / 'golden' / golden.FILES[-1]}.npz does not exist. "
        "Provide a complete folder of reference arrays: make parity PARITY=<folder>.\n"
    )
    assert output == ""


def refused_small_check(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[str, str]:
    """Run the command in this process, check that it refuses the folder, and return its output and its errors."""
    monkeypatch.setenv("PARITY", str(folder))
    monkeypatch.setattr(sys, "argv", [str(COMMAND), "--small"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(COMMAND), run_name="__main__")
    assert ended.value.code == 2
    captured = capsys.readouterr()
    return captured.out, captured.err


def run_small_check(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command on the arrays of a folder, without the full-size networks."""
    environment = {**os.environ, "PARITY": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, COMMAND, "--small", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
