"""Sizes of the released networks, and of a small model with the same architecture for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import ClapTextConfig, ClapTextModelWithProjection, SpeechT5HifiGan, SpeechT5HifiGanConfig

from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.motionformer import MotionFormer
from rewas_engine.models.phi import Phi
from rewas_engine.models.schedules import rescale_exact

LATENT_CHANNELS = 8
LATENT_BINS = 16
HEAD_CHANNELS = 32
"""Channels per attention head of the denoiser. The diffusers default, 8 heads, gives different results."""


@dataclass(frozen=True)
class ReleasedSizes:
    """Sizes of ReWaS on AudioLDM-M; the defaults are the released ones.

    Args:
        widths: Channels of the denoiser's levels; all but the first have attention.
        blocks: Residual blocks per level of the denoiser.
        text: Width of a prompt embedding.
        codec_widths: Channels of the VAE's levels.
        vocoder_channels: Channels of the vocoder's first layer.
        text_width, text_blocks, text_heads, vocabulary: Size of the text encoder.
        video_width, video_blocks, video_heads: Size of the video encoder.
        frame_size_px: Width and height of the video encoder's frames.
        phi_width, phi_blocks, phi_heads, phi_head: Size of φ.
    """

    widths: tuple[int, ...] = (192, 384, 576, 960)
    blocks: int = 2
    text: int = 512
    codec_widths: tuple[int, ...] = (128, 256, 512)
    vocoder_channels: int = 1024
    text_width: int = 768
    text_blocks: int = 12
    text_heads: int = 12
    vocabulary: int = 50_265
    video_width: int = 768
    video_blocks: int = 12
    video_heads: int = 12
    frame_size_px: int = 224
    phi_width: int = 768
    phi_blocks: int = 3
    phi_heads: int = 8
    phi_head: tuple[int, ...] = (128, 64, 16)

    def denoiser_config(self) -> dict[str, Any]:
        """Return the configuration of the denoiser for diffusers."""
        levels = len(self.widths) - 1
        return {
            "sample_size": [128, LATENT_BINS],
            "in_channels": LATENT_CHANNELS,
            "out_channels": LATENT_CHANNELS,
            "block_out_channels": self.widths,
            "down_block_types": ("DownBlock2D", *["CrossAttnDownBlock2D"] * levels),
            "up_block_types": (*["CrossAttnUpBlock2D"] * levels, "UpBlock2D"),
            "layers_per_block": self.blocks,
            "attention_head_dim": self.head_counts,
            "cross_attention_dim": self.widths,
            "class_embed_type": "simple_projection",
            "projection_class_embeddings_input_dim": self.text,
            "class_embeddings_concat": True,
        }

    @property
    def head_counts(self) -> tuple[int, ...]:
        """Attention heads of each level. diffusers calls them attention_head_dim for historical reasons."""
        return tuple(width // HEAD_CHANNELS for width in self.widths)

    def new_denoiser(self) -> UNet2DConditionModel:
        """Build the UNet of AudioLDM."""
        return UNet2DConditionModel(**self.denoiser_config())

    def new_adapter(self) -> EnergyAdapter:
        """Build the adapter of ReWaS."""
        with torch.device("meta"):  # only the configuration is needed
            config = dict(self.new_denoiser().config)
        return EnergyAdapter(unet=config, latent_bins=LATENT_BINS)

    def new_codec(self, scaling_factor: float = 1.0) -> AutoencoderKL:
        """Build the VAE of AudioLDM."""
        levels = len(self.codec_widths)
        return AutoencoderKL(
            in_channels=1,
            out_channels=1,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=self.codec_widths,
            layers_per_block=2,
            latent_channels=LATENT_CHANNELS,
            sample_size=512,
            scaling_factor=scaling_factor,
        )

    def new_vocoder(self) -> SpeechT5HifiGan:
        """Build the HiFi-GAN of AudioLDM, with 160 samples per frame."""
        return SpeechT5HifiGan(
            SpeechT5HifiGanConfig(
                model_in_dim=64,
                sampling_rate=16_000,
                upsample_initial_channel=self.vocoder_channels,
                upsample_rates=[5, 4, 2, 2, 2],
                upsample_kernel_sizes=[16, 16, 8, 4, 4],
                resblock_kernel_sizes=[3, 7, 11],
                resblock_dilation_sizes=[[1, 3, 5]] * 3,
                leaky_relu_slope=0.1,
                normalize_before=False,
            )
        )

    def new_text_encoder(self) -> ClapTextModelWithProjection:
        """Build the text branch of CLAP."""
        return ClapTextModelWithProjection(
            ClapTextConfig(
                vocab_size=self.vocabulary,
                hidden_size=self.text_width,
                intermediate_size=4 * self.text_width,
                num_hidden_layers=self.text_blocks,
                num_attention_heads=self.text_heads,
                projection_dim=self.text,
                layer_norm_eps=1e-5,  # as in RoBERTa; the default of the class differs
            )
        )

    def new_video_encoder(self) -> MotionFormer:
        """Build the visual branch of Synchformer."""
        return MotionFormer(self.video_width, self.video_blocks, self.video_heads, self.frame_size_px)

    def new_phi(self) -> Phi:
        """Build φ. Its attention runs over the batch axis, so each token attends only to itself."""
        return Phi(self.video_width, self.phi_width, self.phi_blocks, self.phi_heads, self.phi_head, "batch")

    def build_on_meta(self, role: str) -> nn.Module:
        """Build the module of a role without allocating its weights."""
        with torch.device("meta"):
            module: nn.Module = getattr(self, f"new_{role}")()
        return module


RELEASED = ReleasedSizes()
SMALL = ReleasedSizes(
    widths=(32, 64),
    blocks=1,
    text=16,
    codec_widths=(32, 32, 64),
    vocoder_channels=64,
    text_width=32,
    text_blocks=1,
    text_heads=2,
    vocabulary=300,
    video_width=32,
    video_blocks=1,
    video_heads=2,
    frame_size_px=32,
    phi_width=32,
    phi_blocks=1,
    phi_heads=2,
    phi_head=(16,),
)
"""The same architecture in a size for tests."""


def released_schedule() -> DDIMScheduler:
    """Build the noise schedule of AudioLDM, with the sampling options of the release."""
    schedule = DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.0015,
        beta_end=0.0195,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type="epsilon",
    )
    return rescale_exact(schedule)
