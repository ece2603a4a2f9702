"""Denoising of a latent of any length, window by window, with the adapter and both branches of guidance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from rewas_engine.conditioning.windows import blend, cut
from rewas_engine.generation.sampling import apply_guidance
from rewas_engine.generation.shared_batches import Passes, SharedBatches
from rewas_engine.packs.backbones.backbone import Backbone
from rewas_engine.runtime.execution import DEFAULT_BATCH_SIZE


@dataclass(frozen=True)
class ControlledDenoiser:
    """Predict the noise of a whole latent from the predictions for its windows.

    Args:
        backbone: The model.
        prompts: [N, ...] embeddings, one for each window.
        empty_prompt: [...] embedding of the unconditional branch: of the empty or the negative prompt.
        hints: [N, C, W, F] encoded controls of each window.
        starts: [N] first latent position of each window.
        guidance_scale: At 1, the unconditional branch is not computed.
        control_strength: Factor of the adapter's residuals; 0 runs the base model alone.
        min_guided_timestep: The lowest timestep with guidance. Below it, guidance would only make loud frames louder.
        precision: Precision of the arithmetic in the networks.
        controlled_timesteps: Lowest and highest timestep at which the adapter acts. At others, the base model runs
            alone.
        batch_size: Windows times branches of guidance in one batch. At 1, the branches run one after the other.
        shared_batches: Batches of at least `batch_size` rows that this latent shares with others. None runs this latent
            in its own batches.
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
    controlled_timesteps: tuple[float, float] = (0.0, math.inf)
    batch_size: int = DEFAULT_BATCH_SIZE
    shared_batches: SharedBatches | None = None

    def __call__(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        """Prediction [C, T, F] for latents [C, T, F]: the windows' predictions, blended."""
        return blend(self._predict_windows(latents, timestep), self.starts, latents.shape[1], dim=1)

    def is_controlled_at(self, timestep: float) -> bool:
        """Whether the adapter acts at a timestep."""
        return self.control_strength > 0 and self.controlled_timesteps[0] <= timestep <= self.controlled_timesteps[1]

    def _predict_windows(self, latents: torch.Tensor, timestep: torch.Tensor) -> Iterator[torch.Tensor]:
        """The predictions for the windows, computed in batches."""
        at_once = max(1, self.batch_size // 2)
        for first in range(0, len(self.starts), at_once):
            starts = self.starts[first : first + at_once]
            yield from self._predict_guided(cut(latents, starts, self.hints.shape[2], dim=1), timestep, first)

    def _predict_guided(self, windows: torch.Tensor, timestep: torch.Tensor, first: int) -> torch.Tensor:
        hints = self.hints[first : first + len(windows)]
        prompts = self.prompts[first : first + len(windows)]
        if self.guidance_scale == 1 or timestep < self.min_guided_timestep:
            return self._run(windows, timestep, prompts, hints)
        # The unconditional branch has neither a prompt nor energy, but the adapter runs: this is how it was trained.
        no_prompt, no_hints = self.empty_prompt.expand_as(prompts), torch.zeros_like(hints)
        if self.batch_size == 1:
            conditional = self._run(windows, timestep, prompts, hints)
            return apply_guidance(conditional, self._run(windows, timestep, no_prompt, no_hints), self.guidance_scale)
        both = self._run(
            torch.cat([windows, windows]), timestep, torch.cat([prompts, no_prompt]), torch.cat([hints, no_hints])
        )
        conditional, unconditional = both.chunk(2)
        return apply_guidance(conditional, unconditional, self.guidance_scale)

    def _run(
        self, sample: torch.Tensor, timestep: torch.Tensor, prompts: torch.Tensor, hints: torch.Tensor
    ) -> torch.Tensor:
        is_controlled = self.is_controlled_at(float(timestep))
        settings = (is_controlled, self.control_strength, self.precision)
        # Without sharing, all passes have the same timestep, so it stays a scalar.
        if self.shared_batches is None:
            return run_passes(self.backbone, Passes(sample, timestep, prompts, hints, *settings))
        return self.shared_batches.predict(Passes(sample, timestep.expand(len(sample)), prompts, hints, *settings))


def run_passes(backbone: Backbone, passes: Passes) -> torch.Tensor:
    """Return the predictions [B, C, T, F] of the networks."""
    sample, precision = passes.latents, passes.precision
    with torch.autocast(sample.device.type, precision, enabled=precision != torch.float32):
        predicted = backbone.predict(
            sample,
            passes.timesteps,
            passes.prompts,
            passes.hints if passes.is_controlled else None,
            passes.control_strength,
        )
    return predicted.to(sample.dtype)
