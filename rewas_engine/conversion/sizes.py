"""Sizes of the released networks, and those of a small model of the same build on which everything can be tried."""

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
"""Channels of one attention head of the denoiser; diffusers' own default of 8 heads computes something else."""


@dataclass(frozen=True)
class ReleasedSizes:
    """Sizes of ReWaS on AudioLDM-M; the defaults are the released ones.

    widths: channels of the denoiser's levels, all but the first with attention. blocks: residual blocks a level.
    text: length of a prompt's embedding. codec_widths: of the VAE's levels. vocoder_channels: of the vocoder's first
    layer. text_width, text_blocks, text_heads, vocabulary: of the text encoder. video_width, video_blocks, video_heads,
    side: of the video encoder. phi_width, phi_blocks, phi_heads, phi_head: of φ.
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
        """The denoiser's configuration in diffusers' words."""
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
        """Attention heads of each level: what diffusers, for historical reasons, calls attention_head_dim."""
        return tuple(width // HEAD_CHANNELS for width in self.widths)

    def new_denoiser(self) -> UNet2DConditionModel:
        """AudioLDM's UNet."""
        return UNet2DConditionModel(**self.denoiser_config())

    def new_adapter(self) -> EnergyAdapter:
        """The adapter of ReWaS."""
        with torch.device("meta"):  # only its configuration is wanted
            config = dict(self.new_denoiser().config)
        return EnergyAdapter(unet=config, latent_bins=LATENT_BINS)

    def new_codec(self, scaling_factor: float = 1.0) -> AutoencoderKL:
        """AudioLDM's VAE of log-mels."""
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
        """AudioLDM's HiFi-GAN: 160 samples a frame."""
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
        """The text branch of CLAP."""
        return ClapTextModelWithProjection(
            ClapTextConfig(
                vocab_size=self.vocabulary,
                hidden_size=self.text_width,
                intermediate_size=4 * self.text_width,
                num_hidden_layers=self.text_blocks,
                num_attention_heads=self.text_heads,
                projection_dim=self.text,
                layer_norm_eps=1e-5,  # RoBERTa's own; the class's default would be another
            )
        )

    def new_video_encoder(self) -> MotionFormer:
        """The visual branch of Synchformer."""
        return MotionFormer(self.video_width, self.video_blocks, self.video_heads, self.frame_size_px)

    def new_phi(self) -> Phi:
        """φ, whose attention ran over the batch axis: over one token at a time."""
        return Phi(self.video_width, self.phi_width, self.phi_blocks, self.phi_heads, self.phi_head, "batch")

    def build_on_meta(self, role: str) -> nn.Module:
        """The module of a role, without any memory for its weights."""
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
"""Of the same build, and small enough for tests: everything but the numbers."""


def released_schedule() -> DDIMScheduler:
    """The noise schedule that AudioLDM was trained with, sampled as the release samples."""
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
