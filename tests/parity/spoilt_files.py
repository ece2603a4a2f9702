"""Spoilt copies of checkpoints, and why a conversion refuses them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rewas_engine.conversion.released import ReleasedFiles, convert_released
from rewas_engine.conversion.sizes import SMALL
from rewas_engine.errors import CheckpointError, PackError
from rewas_engine.runtime.progress import ProgressCallback

Change = Callable[[dict[str, torch.Tensor]], None]
NORM = "module.hint_blocks.blocks.0.norm_1.weight"
"""A weight of φ, as its file has it."""


def refused(files: ReleasedFiles, folder: Path, on_progress: ProgressCallback | None = None) -> CheckpointError:
    """Why the conversion was refused; it has left nothing."""
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


def with_spoilt(files: ReleasedFiles, kind: str, folder: Path, change: Change) -> ReleasedFiles:
    """The files with a changed copy of one of them."""
    content = torch.load(getattr(files, kind), weights_only=True)
    change(next((content[key] for key in ("state_dict", "model", "generator") if key in content), content))
    path = folder / "amiss.ckpt"
    torch.save(content, path)
    return replace(files, **{kind: path})


def with_folder_alone(files: ReleasedFiles, folder: Path) -> ReleasedFiles:
    """The parts of AudioLDM out of a folder alone."""
    return replace(files, audioldm=folder, vae=None, vocoder=None, clap=None)


def renamed(old: str, new: str) -> Change:
    return lambda tensors: tensors.update({new: tensors.pop(old)})


def set_to(name: str, value: torch.Tensor) -> Change:
    return lambda tensors: tensors.update({name: value})


def spoiled(name: str, value: float) -> Change:
    """A tensor with one number of it exchanged."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[-1] = value

    return change
