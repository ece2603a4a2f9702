"""Untrained packs of Make-An-Audio's architecture, for testing everything but the sound itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from rewas_engine.conditioning.controls import supported_controls
from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.models.adapter import EnergyAdapter
from rewas_engine.models.clap_tokens import ClapTokenEncoder
from rewas_engine.models.motionformer import MotionFormer
from rewas_engine.models.phi import Phi
from rewas_engine.packs.backbones.make_an_audio import FAMILY
from rewas_engine.packs.components import config_json, save_component
from rewas_engine.packs.description import new_pack_folder, write_description
from rewas_engine.training.pack_writer import write_config

AUDIO = MelConfig(sample_rate_hz=16_000, window_samples=1024, hop_samples=256, bins=80)
PATCH = 8
WINDOW_FRAMES = 624
LATENT_CHANNELS = 4
PICTURE_RATE = Fraction(25)
_PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True)
class MakeAnAudioSizes:
    """Sizes of ReWaS on Make-An-Audio. The defaults are those of Make-An-Audio, and of the ReWaS paper for video.

    Attributes:
        widths: Channels of the denoiser's levels, all with attention to the text.
        heads: Heads of each attention.
        codec_widths: Channels of the VAE's levels; the two deepest have attention.
        vocoder_channels: Channels of the vocoder's first layer.
        text_width, text_blocks, text_heads, vocabulary: Size of the text encoder.
        text: Width of its output tokens.
        video_width, video_blocks, video_heads, side: Size of the video encoder.
        phi_width, phi_blocks, phi_heads, phi_head: Size of φ.
    """

    widths: tuple[int, ...] = (320, 640)
    blocks: int = 2
    heads: int = 8
    codec_widths: tuple[int, ...] = (128, 256, 256, 512)
    vocoder_channels: int = 1536
    text: int = 1024
    text_width: int = 768
    text_blocks: int = 12
    text_heads: int = 12
    vocabulary: int = 30_522
    video_width: int = 768
    video_blocks: int = 12
    video_heads: int = 12
    side: int = 224
    phi_width: int = 768
    phi_blocks: int = 3
    phi_heads: int = 8
    phi_head: tuple[int, ...] = (128, 64, 16)

    def new_denoiser(self) -> UNet2DConditionModel:
        """Build the UNet of Make-An-Audio: latents [B, 4, 10, T/8], with cross-attention to the text at every level."""
        levels = len(self.widths)
        return UNet2DConditionModel(
            sample_size=(AUDIO.bins // PATCH, WINDOW_FRAMES // PATCH),
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            block_out_channels=self.widths,
            down_block_types=("CrossAttnDownBlock2D",) * levels,
            up_block_types=("CrossAttnUpBlock2D",) * levels,
            layers_per_block=self.blocks,
            attention_head_dim=self.heads,  # despite its name, the number of heads
            cross_attention_dim=self.text,
        )

    def new_codec(self) -> AutoencoderKL:
        """Build the VAE of Make-An-Audio."""
        down = ["DownEncoderBlock2D"] * (len(self.codec_widths) - 2) + ["AttnDownEncoderBlock2D"] * 2
        up = ["AttnUpDecoderBlock2D"] * 2 + ["UpDecoderBlock2D"] * (len(self.codec_widths) - 2)
        return AutoencoderKL(
            in_channels=1,
            out_channels=1,
            down_block_types=down,
            up_block_types=up,
            block_out_channels=self.codec_widths,
            layers_per_block=2,
            latent_channels=LATENT_CHANNELS,
            sample_size=WINDOW_FRAMES,
            scaling_factor=1.0,
        )

    def new_vocoder(self) -> SpeechT5HifiGan:
        """Build a HiFi-GAN with 256 samples per frame, like Make-An-Audio's BigVGAN."""
        vocoder = SpeechT5HifiGan(
            SpeechT5HifiGanConfig(
                model_in_dim=AUDIO.bins,
                sampling_rate=AUDIO.sample_rate_hz,
                upsample_initial_channel=self.vocoder_channels,
                upsample_rates=[4, 4, 2, 2, 2, 2],
                upsample_kernel_sizes=[8, 8, 4, 4, 4, 4],
                resblock_kernel_sizes=[3, 7, 11],
                resblock_dilation_sizes=[[1, 3, 5]] * 3,
                normalize_before=False,
            )
        )
        # The default initial weights are too small for an audible signal.
        for convolution in vocoder.modules():
            if isinstance(convolution, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
                torch.nn.init.normal_(convolution.weight, std=convolution.weight[0].numel() ** -0.5)
        return vocoder

    def new_text_encoder(self) -> ClapTokenEncoder:
        """Build the caption branch of CLAP."""
        return ClapTokenEncoder(self.vocabulary, self.text_width, self.text_blocks, self.text_heads, self.text)

    def new_video_encoder(self) -> MotionFormer:
        """Build the visual branch of Synchformer."""
        return MotionFormer(self.video_width, self.video_blocks, self.video_heads, self.side)

    def new_phi(self) -> Phi:
        """Build φ for the energy of 80 bins."""
        return Phi(self.video_width, self.phi_width, self.phi_blocks, self.phi_heads, self.phi_head)


PUBLISHED = MakeAnAudioSizes()
TINY_MAKE_AN_AUDIO = MakeAnAudioSizes(
    widths=(32, 64),
    blocks=1,
    heads=2,
    codec_widths=(32, 32, 32, 64),
    vocoder_channels=64,
    text=32,
    text_width=32,
    text_blocks=1,
    text_heads=2,
    vocabulary=64,
    video_width=32,
    video_blocks=1,
    video_heads=2,
    side=32,
    phi_width=32,
    phi_blocks=1,
    phi_heads=2,
    phi_head=(16,),
)
"""The same architecture, small enough for tests."""


def write_untrained_make_an_audio(
    folder: Path, sizes: MakeAnAudioSizes = TINY_MAKE_AN_AUDIO, seed: int = 0, dtype: torch.dtype = torch.float16
) -> Path:
    """Write a pack of random weights, whose sound is noise, into a new folder with its name, and return the folder."""
    with torch.random.fork_rng(devices=[]), new_pack_folder(folder) as unfinished:
        torch.manual_seed(seed)
        classes: dict[str, str] = {}

        def write(role: str, module: torch.nn.Module) -> torch.nn.Module:
            save_component(module, unfinished, role, dtype)
            classes[role] = type(module).__name__
            return module

        for role in ("codec", "vocoder", "text_encoder", "video_encoder", "phi"):
            write(role, getattr(sizes, f"new_{role}")())
        _write_vocabulary(unfinished / "text_encoder" / "vocab.txt", sizes.vocabulary)
        denoiser = sizes.new_denoiser()
        write("denoiser", denoiser)
        adapter = EnergyAdapter.from_denoiser(denoiser, AUDIO.bins // PATCH, frequency_first=True)
        # A new adapter adds nothing, so tests could not check whether the energy has an effect.
        for conv in (*adapter.zero_convs, adapter.middle_zero_conv):
            torch.nn.init.normal_(conv.weight, std=0.1 / conv.in_channels**0.5)
        write("adapter", adapter)
        write_config(unfinished, "schedule", config_json(make_an_audio_schedule()))
        write_description(
            unfinished,
            {
                "name": folder.name,
                "version": "0.0.1",
                "summary": (
                    "Untrained, with Make-An-Audio's architecture: generates noise, for testing everything else."
                ),
                "licence": "Apache-2.0",
                "permits": "Free for any use.",
                "family": FAMILY.name,
                "controls": list(supported_controls(adapter)),
                "components": {**classes, "schedule": "DDIMScheduler"},
                "audio": asdict(AUDIO),
                "window": {"frames": WINDOW_FRAMES, "overlap_frames": 160, "patch": PATCH},
                "sampling": {"num_steps": 50, "guidance_scale": 3.0, "eta": 0.0},
                "picture": {
                    "frame_rate": str(PICTURE_RATE),
                    "width": sizes.side,
                    "height": sizes.side,
                    "window_frames": 125,
                    "overlap_frames": 32,
                    "colours": True,
                    "short_side": sizes.side * 256 // 224,
                    "smoothing_frames": 11,
                },
            },
        )
    return folder


def make_an_audio_schedule() -> DDIMScheduler:
    """Build the noise schedule that Make-An-Audio was trained with."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type="epsilon",
    )


def _write_vocabulary(path: Path, count: int) -> None:
    """Write a vocabulary of single letters with the special tokens of BERT; the remaining entries are never used."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pieces = [*_PIECES, *letters, *(f"##{letter}" for letter in letters)]
    unused = [f"[unused{number}]" for number in range(count - len(pieces))]
    path.write_text("\n".join([*pieces, *unused]) + "\n", "utf-8")
