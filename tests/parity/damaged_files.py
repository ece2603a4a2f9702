"""Damaged copies of checkpoints, and the error with which a conversion refuses them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rewas_engine.conversion.released import ReleasedFiles, convert_released
from rewas_engine.conversion.sizes import SMALL
from rewas_engine.errors import CheckpointError, PackError
from rewas_engine.runtime.progress import ProgressCallback

Change = Callable[[dict[str, torch.Tensor]], None]
NORM = "module.hint_blocks.blocks.0.norm_1.weight"
"""Name of a weight of φ in its checkpoint."""


def convert_refused(files: ReleasedFiles, folder: Path, on_progress: ProgressCallback | None = None) -> CheckpointError:
    """Convert files that must be refused, check that nothing is left, and return the error."""
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(CheckpointError) as caught:
        convert_released(files, folder / "pack", sizes=SMALL, on_progress=on_progress)
    assert sorted(path.name for path in folder.iterdir()) == before
    error = caught.value
    assert isinstance(error, PackError)
    assert error.path.name in error.what
    assert error.found in error.what
    assert error.expected in error.what
    assert error.remedy
    return error


def replace_damaged(files: ReleasedFiles, kind: str, folder: Path, change: Change) -> ReleasedFiles:
    """Replace one of the files with a changed copy."""
    content = load_trusted(getattr(files, kind))
    change(next((content[key] for key in ("state_dict", "model", "generator") if key in content), content))
    path = folder / "damaged.ckpt"
    torch.save(content, path)
    return replace(files, **{kind: path})


def load_trusted(path: Path) -> dict[str, Any]:
    """Load a checkpoint that these tests wrote. Without the restriction to weights, this is several times faster."""
    content: dict[str, Any] = torch.load(path, weights_only=False)
    return content


def use_folder_only(files: ReleasedFiles, folder: Path) -> ReleasedFiles:
    """Take the parts of AudioLDM from a diffusers folder only."""
    return replace(files, audioldm=folder, vae=None, vocoder=None, clap=None)


def rename_tensor(old: str, new: str) -> Change:
    return lambda tensors: tensors.update({new: tensors.pop(old)})


def set_tensor(name: str, value: torch.Tensor) -> Change:
    return lambda tensors: tensors.update({name: value})


def set_last_value(name: str, value: float) -> Change:
    """Replace the last value of a tensor."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[-1] = value

    return change
