"""Devices that networks run on."""

from __future__ import annotations

import torch

from rewas_engine.errors import SettingsError


def list_devices() -> tuple[str, ...]:
    """Return the devices of this machine: all CUDA devices that may be used, or the CPU if there is none."""
    cuda = tuple(f"cuda:{number}" for number in range(torch.cuda.device_count())) if torch.cuda.is_available() else ()
    return cuda or ("cpu",)


def resolve_device(device: str) -> str:
    """Return the name of a device: "cpu" or "cuda:0". "auto" is the first CUDA device, or the CPU if there is none.

    Raises:
        SettingsError: The machine has no such device.
    """
    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise SettingsError(f"There is no device {device!r}.", "Choose cpu, cuda:0 or auto.") from error
    if found.type == "cpu":
        return "cpu"
    if found.type != "cuda" or (found.index or 0) >= torch.cuda.device_count():
        raise SettingsError(f"There is no device {device!r} on this machine.", "Choose cpu or auto.")
    return f"cuda:{found.index or 0}"
