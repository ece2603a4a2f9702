"""TAVDiffusion at its full size, in the architecture of Stable Diffusion 1.5."""

from __future__ import annotations

from typing import Any

from diffusers import UNet2DConditionModel

FRAMES, HEIGHT, WIDTH = 20, 256, 320
"""Size of a clip in the paper."""
PICTURE_FACTOR = 8
"""Pixels per latent of Stable Diffusion's autoencoder."""
SOUND_CHANNELS, SOUND_FACTOR = 8, 4
"""Latent channels, and mel frames and bins per latent, of AudioLDM's autoencoder."""
TEXT_TOKENS, TEXT_WIDTH = 77, 768
"""Shape of the states of CLIP's text encoder, ViT-L/14."""

STABLE_DIFFUSION_UNET: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": TEXT_WIDTH,
    "attention_head_dim": 8,
}
"""Configuration of Stable Diffusion 1.5's UNet; what is missing has diffusers' default."""


def stable_diffusion_unet() -> UNet2DConditionModel:
    """Build the UNet with random weights."""
    return UNet2DConditionModel(**STABLE_DIFFUSION_UNET)
