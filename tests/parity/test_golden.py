"""Our code against the reference implementation's numbers: what the tests keep of them, and all of them where they are.

PARITY names the folder of all of them, or it lies beside ours.
"""

import os
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
KEPT = Path(__file__).parent / "numbers"
FOLDER = Path(os.environ.get("PARITY") or ROOT.parent / "shared" / "parity")
there = pytest.mark.skipif(not (FOLDER / "golden").is_dir(), reason=f"there are no numbers in {FOLDER}")
of_either = pytest.mark.parametrize(
    "folder", [pytest.param(KEPT, id="kept"), pytest.param(FOLDER, id="all", marks=there)]
)
Check = Callable[..., Iterator[Comparison]]


def held(check: Check, *given: Any) -> list[Comparison]:
    """What a check compares, all of it within its bounds."""
    rows = list(check(*given))
    assert [row for row in rows if not row.passed] == []
    return rows


def by_recipe(role: str) -> torch.nn.Module:
    """A network of full size with the weights that the numbers which are kept were computed with."""
    return recipe_module(role, RELEASED)


@of_either
@pytest.mark.parametrize(
    ("check", "file", "count"),
    [
        (golden.check_front_end, "energy", 7),
        (golden.check_energy_error, "energy_mae", 3),
        (golden.check_av_align, "av_align", 3),
    ],
)
def test_the_reference_s_numbers_come_out(check: Check, file: str, count: int, folder: Path) -> None:
    assert len(held(check, golden.open_arrays(folder, file))) == count


@of_either
@pytest.mark.parametrize(
    ("check", "file", "count"),
    [(golden.check_tiny_denoiser, "tiny_unet_adapter", 11), (golden.check_sampler, "ddim_tiny", 8)],
)
def test_a_small_denoiser_does_what_the_reference_s_does(check: Check, file: str, count: int, folder: Path) -> None:
    weights = golden.open_arrays(folder, "tiny_unet_adapter")
    parts = golden.tiny_parts_by_recipe() if folder == KEPT else golden.tiny_parts(weights)
    assert len(held(check, golden.open_arrays(folder, file), parts)) == count


@of_either
def test_phi_of_full_size_says_what_the_reference_s_does(folder: Path) -> None:
    prefix = "" if folder == KEPT else os.environ.get("PREFIX", "")
    rows = held(golden.check_phi, golden.open_arrays(folder, "phi"), lambda role: recipe_module(role, RELEASED, prefix))
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
def test_networks_of_full_size_do_what_the_reference_s_do(check: Check, file: str, count: int) -> None:
    assert len(held(check, golden.open_arrays(KEPT, file), by_recipe)) == count


def test_other_numbers_are_noticed() -> None:
    arrays = dict(golden.open_arrays(KEPT, "energy"))
    arrays["control_512"] = np.roll(arrays["control_512"], 1)
    heard = arrays["waveform_norm"]
    arrays["waveform_norm"] = SampledArray(np.roll(heard.values, 1), heard.every, heard.shape, heard.std)
    missed = [row.array for row in golden.check_front_end(arrays) if not row.passed]
    assert missed == ["energy: waveform_norm", "energy: control_512"]


@there
@pytest.mark.slow
def test_the_command_prints_every_row_of_the_small_run(tmp_path: Path) -> None:
    page = tmp_path / "table.md"
    done = small_run(FOLDER, "--markdown", page)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = page.read_text("utf-8").splitlines()
    # A table with its head, row by row, and the count last: nothing else is among them.
    assert done.stdout.splitlines() == [*printed, "46 of 46 arrays are within their bounds."]
    # What the page of the documents shows is what is compared, row by row.
    documented = (ROOT / "docs" / "parity.md").read_text("utf-8").splitlines()
    for row in printed[2:]:
        assert any(line.startswith(row.split(" | ")[0] + " |") for line in documented), row


@pytest.mark.slow
def test_without_numbers_the_command_says_so(tmp_path: Path) -> None:
    done = small_run(tmp_path)
    assert done.returncode == 2
    assert f"No reference arrays in {tmp_path}" in done.stderr


def test_weights_that_are_missing_are_told_of() -> None:
    with pytest.raises(ReferenceArraysError, match=r"tiny_unet_adapter\.npz lacks \d+ of \d+ tensors"):
        golden.tiny_parts(golden.open_arrays(KEPT, "tiny_unet_adapter"))


@pytest.mark.slow
def test_of_a_folder_that_is_not_whole_the_command_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "golden").mkdir()
    for file in golden.FILES[:-1]:
        (tmp_path / "golden" / f"{file}.npz").write_bytes((KEPT / "golden" / f"{file}.npz").read_bytes())
    lacking = small_run(tmp_path)
    assert lacking.returncode == 2
    assert lacking.stderr == (
        f"There is no file {tmp_path / 'golden' / golden.FILES[-1]}.npz. "
        "Give a whole folder of the reference's numbers: make parity PARITY=<folder>.\n"
    )
    assert lacking.stdout == ""


def small_run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command on the numbers of a folder, without the networks of full size."""
    environment = {**os.environ, "PARITY": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, ROOT / "scripts" / "measure" / "parity.py", "--small", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
