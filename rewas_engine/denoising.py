"""The denoiser with its adapter over a latent of any length: both guidance branches, window by window."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.sampling import guided
from rewas_engine.windows import blend, cut

WINDOWS_AT_ONCE = 4
"""Windows that are denoised in one batch: what bounds the memory of a long clip."""


@dataclass(frozen=True)
class SteeredDenoiser:
    """Predicts for a whole latent what the network predicts for each of its windows.

    prompts: [N, D], one for each window. empty_prompt: [D]. hints: [N, C, W, F]. starts: [N] first latent position of
    each. guidance_scale: 1 is without the unconditional branch. guided_from: the lowest timestep that is still guided;
    guidance at the end only makes loud frames louder. control_strength: factor of the adapter's residuals; 0 runs the
    base alone. precision: of the networks' inner arithmetic. steered: lowest and highest timestep at which the adapter
    acts; at others the base is alone.
    """

    denoiser: Any
    adapter: EnergyAdapter
    prompts: torch.Tensor
    empty_prompt: torch.Tensor
    hints: torch.Tensor
    starts: list[int]
    guidance_scale: float
    control_strength: float
    guided_from: float = 0.0
    precision: torch.dtype = torch.float32
    steered: tuple[float, float] = (0.0, math.inf)

    def __call__(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """Prediction [C, T, F] for latents [C, T, F]: the windows' predictions, blended."""
        return blend(self._predictions(latents, timestep), self.starts, latents.shape[1], dim=1)

    def _predictions(self, latents: torch.Tensor, timestep: torch.Tensor) -> Iterator[torch.Tensor]:
        """The windows' predictions, as many at a time as are denoised at once."""
        for first in range(0, len(self.starts), WINDOWS_AT_ONCE):
            starts = self.starts[first : first + WINDOWS_AT_ONCE]
            yield from self._predict(cut(latents, starts, self.hints.shape[2], dim=1), timestep, first)

    def _predict(self, windows: torch.Tensor, timestep: torch.Tensor, first: int) -> torch.Tensor:
        hints = self.hints[first : first + len(windows)]
        prompts = self.prompts[first : first + len(windows)]
        if self.guidance_scale == 1 or timestep < self.guided_from:
            return self._run(windows, timestep, prompts, hints)
        # The unconditional branch has neither words nor energy, but the adapter still runs: that is how it was trained.
        both = self._run(
            torch.cat([windows, windows]),
            timestep,
            torch.cat([prompts, self.empty_prompt.expand(len(windows), -1)]),
            torch.cat([hints, torch.zeros_like(hints)]),
        )
        conditional, unconditional = both.chunk(2)
        return guided(conditional, unconditional, self.guidance_scale)

    def _run(
        self, sample: torch.Tensor, timestep: torch.Tensor, prompts: torch.Tensor, hints: torch.Tensor
    ) -> torch.Tensor:
        residuals: dict[str, Any] = {}
        with torch.autocast(sample.device.type, self.precision, enabled=self.precision != torch.float32):
            if self.control_strength > 0 and self.steered[0] <= timestep <= self.steered[1]:
                skips, middle = self.adapter(sample, timestep, prompts, hints)
                residuals = {
                    "down_block_additional_residuals": tuple(self.control_strength * skip for skip in skips),
                    "mid_block_additional_residual": self.control_strength * middle,
                }
            predicted: torch.Tensor = self.denoiser(
                sample, timestep, encoder_hidden_states=None, class_labels=prompts, **residuals
            ).sample
        return predicted.to(sample.dtype)
