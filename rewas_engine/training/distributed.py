"""Several processes that train together, each on a GPU of its own, started by accelerate or torchrun.

All of them draw the same batch and each takes its own part of it: how many there are changes how long a step takes and
not what is learnt, and a checkpoint of four is gone on with by one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from rewas_engine.errors import SettingsError

_COUNT_VARIABLE = "WORLD_SIZE"
"""Set by every launcher that speaks as torchrun does."""


class Alone:
    """One process. rank: which one of `count` it is."""

    rank = 0
    count = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """Where this process computes, by what the settings want."""
        return wanted

    def part(self, batch: torch.Tensor) -> torch.Tensor:
        """This process's rows of what belongs to a whole batch [B, ...]."""
        return batch[self.rank :: self.count]

    def mean_of(self, parameters: Sequence[torch.Tensor], loss: torch.Tensor) -> torch.Tensor:
        """The loss over all processes; gradients are brought to their means in place."""
        return loss

    def any_of(self, flag: bool) -> bool:
        """Whether it is so in any process."""
        return flag

    def wait(self) -> None:
        """Go on when all have come here."""

    def check_batch(self, size: int) -> None:
        """Raises SettingsError for a batch that cannot be shared out evenly."""
        if size % self.count:
            raise SettingsError(
                f"A batch of {size} cannot be shared by {self.count} processes.", f"Give a multiple of {self.count}."
            )


class Together(Alone):
    """One of several processes that accelerate holds together."""

    def __init__(self, accelerator: Any) -> None:
        self._accelerator = accelerator
        self.rank, self.count = int(accelerator.process_index), int(accelerator.num_processes)

    def device(self, wanted: str) -> str:
        found = self._accelerator.device
        if wanted not in ("auto", found.type, str(found)):
            raise SettingsError(
                f"The device is {wanted}, but {self.count} processes share the work.", 'Set device = "auto".'
            )
        return str(found)

    def mean_of(self, parameters: Sequence[torch.Tensor], loss: torch.Tensor) -> torch.Tensor:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        # One message for all of them, and the loss with it.
        flat = torch.cat([loss.detach().reshape(1), *(gradient.flatten() for gradient in gradients)])
        mean = self._accelerator.reduce(flat, "mean")
        parts = mean[1:].split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.reshape(gradient.shape))
        return mean[0]

    def any_of(self, flag: bool) -> bool:
        told = torch.tensor(float(flag), device=self._accelerator.device)
        return bool(self._accelerator.reduce(told, "sum") > 0)

    def wait(self) -> None:
        self._accelerator.wait_for_everyone()


ALONE = Alone()


def started_processes(device: str) -> Alone:
    """The processes that a launcher started, or this one alone. device: as the settings want it.

    Raises SettingsError where several were started and accelerate is not installed.
    """
    if int(os.environ.get(_COUNT_VARIABLE, "1")) < 2:
        return ALONE
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise SettingsError(
            "Several processes were started to train together, but accelerate is not installed.",
            "Run: pip install rewas-nle[training]",
        ) from error
    return Together(Accelerator(cpu=device == "cpu" or not torch.cuda.is_available()))
