"""The interface of a text-to-audio model with its adapter, and the common part of latent diffusion models."""

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

    Log-mels are [B, T, bins] in nats of the pack's front end, whatever unit the networks use. Latents are
    [B, C, T', F'] with about unit variance, T' = T / patch. Gradients stay enabled, because training uses the same
    calls.
    """

    @property
    @abstractmethod
    def patch(self) -> int:
        """Mel frames per latent frame."""

    @property
    @abstractmethod
    def schedule(self) -> Any:
        """The noise schedule of the model's training, a diffusers scheduler."""

    @property
    @abstractmethod
    def controls(self) -> tuple[str, ...]:
        """The controls that the adapter reads, out of `rewas_engine.conditioning.controls.CONTROL_NAMES`."""

    @property
    def weight_dtype(self) -> torch.dtype:
        """Precision of the denoiser's heavy layers; float32 unless a backbone overrides it."""
        return torch.float32

    @abstractmethod
    def latent_shape(self, frames: int) -> tuple[int, int, int]:
        """Return C, T' and F' for a number of mel frames."""

    @abstractmethod
    def embed_prompts(self, prompts: Sequence[str]) -> torch.Tensor:
        """Return the embeddings of prompts for the denoiser, [B, ...]. "" is the empty prompt of guidance."""

    @abstractmethod
    def encode(self, log_mels: torch.Tensor) -> torch.Tensor:
        """Return the latents of log-mels."""

    @abstractmethod
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the log-mels of latents."""

    @abstractmethod
    def hints(self, batch: ControlBatch) -> torch.Tensor:
        """Return the controls of B windows for the adapter, [B, H, T', F']; zeros where there is no control."""

    @abstractmethod
    def predict(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        prompts: torch.Tensor,
        hints: torch.Tensor | None,
        strength: float,
    ) -> torch.Tensor:
        """Predict the noise (or the schedule's other prediction type) in noisy latents.

        Args:
            sample: Noisy latents.
            timestep: Scalar or [B].
            prompts: From `embed_prompts`.
            hints: From `hints`; None runs the denoiser without the adapter.
            strength: Factor of the adapter's residuals.
        """

    @abstractmethod
    def vocode(self, log_mels: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return waveforms [B, at least hop·T] at the pack's rate.

        `positions`: [B, T] int64. A vocoder that adds random phases draws the same ones for the same position; others
        ignore it.
        """


class LatentDiffusion(Backbone):
    """A backbone made of text encoder, codec, UNet, adapter, schedule and vocoder.

    `components` (role -> component) is read at every call, so that offloading can replace entries. A vocoder whose
    attribute `draws_by_position` is true gets positions; others get log-mels only. A family implements `denoise` and
    may override `adapter_residuals`, `orient_latents` and the conversions of log-mels.
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
        """Return what the adapter adds to the UNet's skip connections and middle block."""
        residuals: Residuals = self.components["adapter"](sample, timestep, prompts, hints)
        return residuals

    @abstractmethod
    def denoise(
        self, sample: torch.Tensor, timestep: torch.Tensor, prompts: torch.Tensor, residuals: Mapping[str, Any]
    ) -> torch.Tensor:
        """Run the UNet. `residuals`: keyword arguments of diffusers' UNets; empty without the adapter."""

    def orient_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Convert latents [B, C, T', F'] to the networks' axis order, or back: it is its own inverse."""
        return latents

    def to_codec_scale(self, log_mels: torch.Tensor) -> torch.Tensor:
        """Convert log-mels of the engine to the codec's unit and axis order."""
        return log_mels

    def from_codec_scale(self, decoded: torch.Tensor) -> torch.Tensor:
        """Convert the codec's output to log-mels [B, T, bins] in nats."""
        return decoded
