"""Settings for running a pack: precision, memory, compilation. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass

from rewas_engine.errors import SettingsError

PRECISION_NAMES = ("auto", "float32", "bfloat16", "float16")
"""Precisions of the large networks' weights and arithmetic. "auto" selects the best one for the device."""
DEFAULT_BATCH_SIZE = 8
"""Windows times guidance branches that are denoised at once. It bounds the memory that a long clip needs."""


@dataclass(frozen=True)
class Execution:
    """Settings for running a pack. They do not change the output, except for rounding.

    Attributes:
        precision: One of PRECISION_NAMES; None selects the precision of the pack.
        compiled: Compile the denoiser and the adapter with torch.compile. The first sound then takes minutes.
        low_memory: Load each network only while it is used, and denoise windows one by one. This is slower.
        batch_size: See DEFAULT_BATCH_SIZE. At 1, the two branches of guidance run one after the other.
        channels_last: Use the memory layout in which convolutions in low precision are fast.
        caching: Keep results computed from prompts, frames and curves, and reuse them.
        shares_batches: Sounds that several threads generate at the same time share batches of up to `batch_size`.
            Empty rows are filled with zeros. The samples of a sound do not depend on the others.

    Raises:
        SettingsError: A value is out of bounds, or two settings contradict each other.
    """

    precision: str | None = None
    compiled: bool = False
    low_memory: bool = False
    batch_size: int = DEFAULT_BATCH_SIZE
    channels_last: bool = True
    caching: bool = True
    shares_batches: bool = False

    def __post_init__(self) -> None:
        if self.precision is not None and self.precision not in PRECISION_NAMES:
            raise SettingsError(
                f"The precision {self.precision!r} is unknown.", f"Choose one of {', '.join(PRECISION_NAMES)}."
            )
        if self.batch_size < 1:
            raise SettingsError(f"The batch size is {self.batch_size}.", "Use 1 or more.")
        if self.compiled and self.low_memory:
            raise SettingsError(
                "Compiled networks stay in memory, which contradicts low memory.", "Choose one of the two."
            )
        if self.shares_batches and (self.low_memory or self.batch_size < 2):
            raise SettingsError(
                "Sounds cannot share batches, because each pass runs alone.",
                "Leave out `shares_batches`, or set a `batch_size` of 2 or more without `low_memory`.",
            )

    @property
    def effective_batch_size(self) -> int:
        """Number of passes in one batch."""
        return 1 if self.low_memory else self.batch_size


RELEASED_EXECUTION = Execution(precision="float32", batch_size=1, channels_last=False, caching=False)
"""Settings of the released ReWaS: single precision, one branch of guidance after the other, no caching."""
