"""From an energy curve to the latent hint that the adapter reads."""

from __future__ import annotations

from typing import Any

import torch


def energy_hint(energies: torch.Tensor, codec: Any, bins: int) -> torch.Tensor:
    """Latents [B, C, T/r, bins/r] of energies [B, T] in nats, each repeated over all mel bins (paper, section 3.3).

    codec: AutoencoderKL or what has its interface.
    """
    repeated = energies[:, None, :, None].expand(-1, 1, -1, bins).to(next(codec.parameters()).dtype)
    hint: torch.Tensor = codec.encode(repeated.contiguous()).latent_dist.mode() * codec.config.scaling_factor
    return hint
