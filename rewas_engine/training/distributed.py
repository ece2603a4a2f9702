"""Training in several processes with one GPU each, started by accelerate or torchrun.

All processes draw the same batch, and each takes its part. The number of processes changes the time per step but not
the result, so a single process can continue a checkpoint of four.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from rewas_engine.errors import SettingsError

_COUNT_VARIABLE = "WORLD_SIZE"
"""Set by every launcher that is compatible with torchrun."""


class SingleProcess:
    """A single process. `rank` is its index among `count` processes."""

    rank = 0
    count = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """Return the device of this process, given the device in the settings."""
        return wanted

    def part(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the rows of this process from a whole batch [B, ...]."""
        return batch[self.rank :: self.count]

    def mean_of(self, parameters: Sequence[torch.Tensor], loss: torch.Tensor) -> torch.Tensor:
        """Return the mean loss over all processes, and average the gradients in place."""
        return loss

    def any_of(self, flag: bool) -> bool:
        """Return whether a flag is set in any process."""
        return flag

    def wait(self) -> None:
        """Wait until all processes reach this call."""

    def check_batch(self, size: int) -> None:
        """Raise SettingsError if a batch cannot be divided evenly."""
        if size % self.count:
            raise SettingsError(
                f"A batch of {size} cannot be divided among {self.count} processes.",
                f"Give a multiple of {self.count}.",
            )


class AcceleratedProcesses(SingleProcess):
    """One of several processes coordinated by accelerate."""

    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator
        self.rank, self.count = int(accelerator.process_index), int(accelerator.num_processes)

    def device(self, wanted: str) -> str:
        found = self._accelerator.device
        if wanted not in ("auto", found.type, str(found)):
            raise SettingsError(
                f"The device is {wanted}, but the work is divided among {self.count} processes.", 'Set device = "auto".'
            )
        return str(found)

    def mean_of(self, parameters: Sequence[torch.Tensor], loss: torch.Tensor) -> torch.Tensor:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        # One message for all gradients and the loss.
        flat = torch.cat([loss.detach().reshape(1), *(gradient.flatten() for gradient in gradients)])
        mean = self._accelerator.reduce(flat, "mean")
        parts = mean[1:].split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.reshape(gradient.shape))
        return mean[0]

    def any_of(self, flag: bool) -> bool:
        flags = torch.tensor(float(flag), device=self._accelerator.device)
        return bool(self._accelerator.reduce(flags, "sum") > 0)

    def wait(self) -> None:
        self._accelerator.wait_for_everyone()


SINGLE_PROCESS = SingleProcess()


def find_processes(device: str) -> SingleProcess:
    """Return the processes started by a launcher, or this process alone. `device`: as in the settings.

    Raises:
        SettingsError: Several processes were started and accelerate is not installed.
    """
    if int(os.environ.get(_COUNT_VARIABLE, "1")) < 2:
        return SINGLE_PROCESS
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise SettingsError(
            "Several processes were started, but accelerate is not installed.",
            "Run: pip install rewas-nle[training]",
        ) from error
    return AcceleratedProcesses(Accelerator(cpu=device == "cpu" or not torch.cuda.is_available()))
