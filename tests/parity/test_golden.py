"""Our code against the reference implementation's numbers, where PARITY names their folder or it lies beside ours."""

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
from rewas_engine.parity import golden
from rewas_engine.parity.comparing import Comparison
from rewas_engine.parity.recipe import recipe_part

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("PARITY") or ROOT.parent / "shared" / "parity")
there = pytest.mark.skipif(not (FOLDER / "golden").is_dir(), reason=f"there are no numbers in {FOLDER}")
Check = Callable[..., Iterator[Comparison]]


def held(check: Check, *given: Any) -> list[Comparison]:
    """What a check compares, all of it within its bounds."""
    rows = list(check(*given))
    assert [row for row in rows if not row.passed] == []
    return rows


@there
@pytest.mark.parametrize(
    ("check", "files", "count"),
    [
        (golden.check_front_end, ("energy",), 7),
        (golden.check_energy_error, ("energy_mae",), 3),
        (golden.check_av_align, ("av_align",), 3),
        (golden.check_tiny_denoiser, ("tiny_unet_adapter",), 11),
        (golden.check_sampler, ("ddim_tiny", "tiny_unet_adapter"), 8),
    ],
)
def test_the_reference_s_numbers_come_out(check: Check, files: tuple[str, ...], count: int) -> None:
    assert len(held(check, *(golden.opened(FOLDER, file) for file in files))) == count


@there
def test_phi_of_full_size_says_what_the_reference_s_does() -> None:
    def by_recipe(role: str) -> torch.nn.Module:
        module: torch.nn.Module = getattr(RELEASED, f"new_{role}")()
        module.load_state_dict(recipe_part(role, RELEASED, os.environ.get("PREFIX", "")))
        return module.eval().requires_grad_(False)

    assert len(held(golden.check_phi, golden.opened(FOLDER, "phi"), by_recipe)) == 7


@there
def test_other_numbers_are_noticed() -> None:
    arrays = dict(golden.opened(FOLDER, "energy"))
    arrays["control_512"] = np.roll(arrays["control_512"], 1)
    missed = [row.array for row in golden.check_front_end(arrays) if not row.passed]
    assert missed == ["energy: control_512"]


@there
@pytest.mark.slow
def test_the_command_prints_every_row_of_the_small_run(tmp_path: Path) -> None:
    page = tmp_path / "table.md"
    command = [sys.executable, ROOT / "scripts" / "parity.py", "--small", "--markdown", page]
    environment = {**os.environ, "PARITY": str(FOLDER), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "46 of 46 arrays lie within their bounds." in done.stdout
    printed = page.read_text("utf-8").splitlines()
    # What the page of the documents shows is what is compared, row by row.
    documented = (ROOT / "docs" / "parity.md").read_text("utf-8").splitlines()
    for row in printed[2:]:
        assert any(line.startswith(row.split(" | ")[0] + " |") for line in documented), row


@pytest.mark.slow
def test_without_numbers_the_command_says_so(tmp_path: Path) -> None:
    environment = {**os.environ, "PARITY": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, ROOT / "scripts" / "parity.py", "--small"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert f"There are no numbers in {tmp_path}" in done.stderr
