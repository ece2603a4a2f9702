"""What the engine asks of a text-to-audio model with its adapter, and what latent diffusion models have in common."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from rewas_engine.conditioning.controls import ControlBatch, control_hint, supported_controls
from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.models.adapter import Residuals
from rewas_engine.models.codec import encode_scaled
from rewas_engine.runtime.precision import autocast_to_weight_dtype, weight_dtype


class Backbone(ABC):
    """A text-to-audio model with its adapter, of one loaded pack on one device.

    Log-mels are [B, T, bins] in nats of the pack's own front end, whatever the model's networks are used to. Latents
    are [B, C, T', F'], scaled to about unit variance; T' is T / patch. Nothing here turns gradients off: an adapter is
    trained through the same calls.
    """

    @property
    @abstractmethod
    def patch(self) -> int:
        """Mel frames for each latent position."""

    @property
    @abstractmethod
    def schedule(self) -> Any:
        """The noise schedule that the model was trained with, a diffusers scheduler."""

    @property
    @abstractmethod
    def controls(self) -> tuple[str, ...]:
        """Which of `rewas_engine.conditioning.controls.CONTROL_NAMES` the adapter reads."""

    @property
    def weight_dtype(self) -> torch.dtype:
        """What the heavy layers of the denoiser are held in; float32 unless a backbone says otherwise."""
        return torch.float32

    @abstractmethod
    def latent_shape(self, frames: int) -> tuple[int, int, int]:
        """C, T' and F' of a sound of so many mel frames."""

    @abstractmethod
    def embed_prompts(self, prompts: Sequence[str]) -> torch.Tensor:
        """Prompts as the denoiser hears them, [B, ...]; "" is no words."""

    @abstractmethod
    def encode(self, log_mels: torch.Tensor) -> torch.Tensor:
        """Latents of log-mels."""

    @abstractmethod
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Log-mels of latents."""

    @abstractmethod
    def hints(self, batch: ControlBatch) -> torch.Tensor:
        """Controls of B windows as the adapter reads them, [B, H, T', F']; all zeros where nothing is given."""

    @abstractmethod
    def predict(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        prompts: torch.Tensor,
        hints: torch.Tensor | None,
        strength: float,
    ) -> torch.Tensor:
        """What the denoiser predicts of noisy latents, in the schedule's kind of prediction.

        timestep: scalar or [B]. prompts: as `embed_prompts` gives them. hints: as `hints` gives them; None runs the
        base alone. strength: factor of what the adapter adds.
        """

    @abstractmethod
    def vocode(self, log_mels: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Waveforms [B, at least hop·T] at the pack's rate.

        positions: [B, T] int64, of each frame among all draws there are. A vocoder that draws what log-mels do not say
        draws the same for the same position; one that draws nothing needs none.
        """


class LatentDiffusion(Backbone):
    """A backbone of a pack's usual parts: text encoder, codec, UNet, adapter, schedule, vocoder.

    components: role -> component, read anew at every call. A vocoder whose attribute `draws_by_position` is true is
    given positions, every other one log-mels alone. A family says by `denoise` and `adapter_residuals` how its UNet
    takes the words, and may see its latents and log-mels in another way.
    """

    def __init__(self, components: Mapping[str, Any], audio: MelConfig, device: str) -> None:
        self.components, self.audio, self.device = components, audio, device

    @functools.cached_property
    def patch(self) -> int:
        codec = self.components["codec"].config
        return int(codec.patch_size) if "patch_size" in codec else 2 ** (len(codec.block_out_channels) - 1)

    @property
    def schedule(self) -> Any:
        return self.components["schedule"]

    @property
    def controls(self) -> tuple[str, ...]:
        return supported_controls(self.components["adapter"])

    @property
    def weight_dtype(self) -> torch.dtype:
        return weight_dtype(self.components["denoiser"])

    def latent_shape(self, frames: int) -> tuple[int, int, int]:
        channels = int(self.components["denoiser"].config.in_channels)
        return channels, frames // self.patch, self.audio.bins // self.patch

    def embed_prompts(self, prompts: Sequence[str]) -> torch.Tensor:
        embedded: torch.Tensor = self.components["text_encoder"](list(prompts)).to(self.device)
        return embedded

    def encode(self, log_mels: torch.Tensor) -> torch.Tensor:
        codec = self.components["codec"]
        with autocast_to_weight_dtype(codec, self.device):
            latents = encode_scaled(codec, self.to_codec_scale(log_mels))
        return self.orient_latents(latents)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        codec = self.components["codec"]
        with autocast_to_weight_dtype(codec, self.device):
            decoded: torch.Tensor = codec.decode(self.orient_latents(latents) / codec.config.scaling_factor).sample[
                :, 0
            ]
        return self.from_codec_scale(decoded.float())

    def hints(self, batch: ControlBatch) -> torch.Tensor:
        return control_hint(batch, self.encode, self.audio.bins, self.components["adapter"])

    def predict(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        prompts: torch.Tensor,
        hints: torch.Tensor | None,
        strength: float,
    ) -> torch.Tensor:
        turned, residuals = self.orient_latents(sample), {}
        if hints is not None:
            skips, middle = self.adapter_residuals(turned, timestep, prompts, self.orient_latents(hints))
            residuals = {
                "down_block_additional_residuals": tuple(strength * skip for skip in skips),
                "mid_block_additional_residual": strength * middle,
            }
        return self.orient_latents(self.denoise(turned, timestep, prompts, residuals))

    def vocode(self, log_mels: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        vocoder = self.components["vocoder"]
        drawn = (positions,) if getattr(vocoder, "draws_by_position", False) else ()
        waveforms: torch.Tensor = vocoder(log_mels, *drawn)
        return waveforms

    def adapter_residuals(
        self, sample: torch.Tensor, timestep: torch.Tensor, prompts: torch.Tensor, hints: torch.Tensor
    ) -> Residuals:
        """What the adapter adds to the UNet's skips and middle."""
        residuals: Residuals = self.components["adapter"](sample, timestep, prompts, hints)
        return residuals

    @abstractmethod
    def denoise(
        self, sample: torch.Tensor, timestep: torch.Tensor, prompts: torch.Tensor, residuals: Mapping[str, Any]
    ) -> torch.Tensor:
        """The UNet's prediction. residuals: named as diffusers' UNets take them; none runs the base alone."""

    def orient_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, T', F'] as the networks see them, and back: its own inverse."""
        return latents

    def to_codec_scale(self, log_mels: torch.Tensor) -> torch.Tensor:
        """Log-mels in the codec's own unit and order of axes, from those of the engine."""
        return log_mels

    def from_codec_scale(self, decoded: torch.Tensor) -> torch.Tensor:
        """What the codec decodes as log-mels [B, T, bins] in nats."""
        return decoded
