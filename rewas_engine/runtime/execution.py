"""How a pack is run: in which precision, with how much memory, compiled or not. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass

from rewas_engine.errors import SettingsError

PRECISION_NAMES = ("auto", "float32", "bfloat16", "float16")
"""Of the large networks' weights and inner arithmetic; "auto" is what the device runs well."""
DEFAULT_BATCH_SIZE = 8
"""Windows times guidance branches that are denoised in one batch: what bounds the memory of a long clip."""


@dataclass(frozen=True)
class Execution:
    """How a pack is run; what it makes is the same but for rounding.

    precision: one of PRECISION_NAMES; None is what the pack asks for. compiled: denoiser and adapter by torch.compile,
    which takes minutes at the first sound. low_memory: a network is in memory only while it is used, and windows are
    denoised one by one; slower. batch_size: see DEFAULT_BATCH_SIZE; at 1 even the two branches of guidance follow each
    other. channels_last: the layout in which convolutions in low precision are fast. caching: what was worked out from
    the same words, pictures and curves is kept.
    Raises SettingsError for what cannot be.
    """

    precision: str | None = None
    compiled: bool = False
    low_memory: bool = False
    batch_size: int = DEFAULT_BATCH_SIZE
    channels_last: bool = True
    caching: bool = True

    def __post_init__(self) -> None:
        if self.precision is not None and self.precision not in PRECISION_NAMES:
            raise SettingsError(
                f"The precision {self.precision!r} is unknown.", f"Choose one of {', '.join(PRECISION_NAMES)}."
            )
        if self.batch_size < 1:
            raise SettingsError(f"{self.batch_size} windows are to be denoised at once.", "Give 1 or more.")
        if self.compiled and self.low_memory:
            raise SettingsError(
                "Networks that are compiled stay in memory, and memory is to be saved.", "Ask for one of the two."
            )

    @property
    def effective_batch_size(self) -> int:
        """Passes that may be in one batch."""
        return 1 if self.low_memory else self.batch_size


RELEASED_EXECUTION = Execution(precision="float32", batch_size=1, channels_last=False, caching=False)
"""As the released ReWaS runs: single precision, one branch of guidance after the other, nothing kept."""
