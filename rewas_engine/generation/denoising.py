"""The denoiser with its adapter over a latent of any length: both guidance branches, window by window."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from rewas_engine.conditioning.windows import blend, cut
from rewas_engine.generation.sampling import guided
from rewas_engine.packs.backbones.backbone import Backbone
from rewas_engine.runtime.execution import DEFAULT_BATCH_SIZE


@dataclass(frozen=True)
class ControlledDenoiser:
    """Predicts for a whole latent what the network predicts for each of its windows.

    prompts: [N, ...], one for each window. empty_prompt: [...]. hints: [N, C, W, F]. starts: [N] first latent position
    of each. guidance_scale: 1 is without the unconditional branch. min_guided_timestep: the lowest timestep that is
    still guided; guidance at the end only makes loud frames louder. control_strength: factor of the adapter's
    residuals; 0 runs the base alone. precision: of the networks' inner arithmetic. steered: lowest and highest
    timestep at which the adapter acts; at others the base is alone. batch_size: windows times guidance branches in
    one batch; at 1 the branches follow each other.
    """

    backbone: Backbone
    prompts: torch.Tensor
    empty_prompt: torch.Tensor
    hints: torch.Tensor
    starts: list[int]
    guidance_scale: float
    control_strength: float
    min_guided_timestep: float = 0.0
    precision: torch.dtype = torch.float32
    steered: tuple[float, float] = (0.0, math.inf)
    batch_size: int = DEFAULT_BATCH_SIZE

    def __call__(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """Prediction [C, T, F] for latents [C, T, F]: the windows' predictions, blended."""
        return blend(self._predict_windows(latents, timestep), self.starts, latents.shape[1], dim=1)

    def is_controlled_at(self, timestep: float) -> bool:
        """Whether the adapter acts at a timestep."""
        return self.control_strength > 0 and self.steered[0] <= timestep <= self.steered[1]

    def _predict_windows(self, latents: torch.Tensor, timestep: torch.Tensor) -> Iterator[torch.Tensor]:
        """The windows' predictions, as many at a time as are denoised at once."""
        at_once = max(1, self.batch_size // 2)
        for first in range(0, len(self.starts), at_once):
            starts = self.starts[first : first + at_once]
            yield from self._predict_guided(cut(latents, starts, self.hints.shape[2], dim=1), timestep, first)

    def _predict_guided(self, windows: torch.Tensor, timestep: torch.Tensor, first: int) -> torch.Tensor:
        hints = self.hints[first : first + len(windows)]
        prompts = self.prompts[first : first + len(windows)]
        if self.guidance_scale == 1 or timestep < self.min_guided_timestep:
            return self._run(windows, timestep, prompts, hints)
        # The unconditional branch has neither words nor energy, but the adapter still runs: that is how it was trained.
        nothing, silent = self.empty_prompt.expand_as(prompts), torch.zeros_like(hints)
        if self.batch_size == 1:
            conditional = self._run(windows, timestep, prompts, hints)
            return guided(conditional, self._run(windows, timestep, nothing, silent), self.guidance_scale)
        both = self._run(
            torch.cat([windows, windows]), timestep, torch.cat([prompts, nothing]), torch.cat([hints, silent])
        )
        conditional, unconditional = both.chunk(2)
        return guided(conditional, unconditional, self.guidance_scale)

    def _run(
        self, sample: torch.Tensor, timestep: torch.Tensor, prompts: torch.Tensor, hints: torch.Tensor
    ) -> torch.Tensor:
        is_steered = self.is_controlled_at(float(timestep))
        with torch.autocast(sample.device.type, self.precision, enabled=self.precision != torch.float32):
            predicted = self.backbone.predict(
                sample, timestep, prompts, hints if is_steered else None, self.control_strength
            )
        return predicted.to(sample.dtype)
