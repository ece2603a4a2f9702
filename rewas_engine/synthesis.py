"""From words and energy to a waveform of any length: what a pack's sound components do together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.control import energy_hint
from rewas_engine.denoising import SteeredDenoiser
from rewas_engine.energy import EnergyCurve
from rewas_engine.media.audio import within_full_scale
from rewas_engine.mel import AudioFrontEnd
from rewas_engine.sampling import sample
from rewas_engine.windows import blend, cut, join, window_starts


@dataclass(frozen=True)
class SamplingSettings:
    """How a latent is sampled.

    num_steps: at least 1. guidance_scale: 1 is none. control_strength: factor of the adapter, 0 is the base alone.
    eta: 0 is deterministic DDIM, 1 adds the noise of DDPM.
    """

    num_steps: int
    guidance_scale: float
    control_strength: float
    eta: float


@dataclass(frozen=True)
class SoundWindow:
    """How long sounds are made: in windows of `frames` mel frames that overlap by `overlap_frames`.

    patch: mel frames for each latent position; divides both.
    """

    frames: int
    overlap_frames: int
    patch: int

    def starts(self, total_frames: int) -> list[int]:
        """First mel frames of the windows over `total_frames`, a multiple of the patch."""
        window, overlap, total = (count // self.patch for count in (self.frames, self.overlap_frames, total_frames))
        return [start * self.patch for start in window_starts(total, window, overlap)]


class SoundMaker:
    """Denoiser, adapter, codec, vocoder and text encoder of one pack on one device."""

    def __init__(
        self, components: Mapping[str, Any], front_end: AudioFrontEnd, window: SoundWindow, device: str
    ) -> None:
        self._components, self._front_end, self._window, self._device = components, front_end, window, device

    @torch.inference_mode()
    def log_mel(
        self,
        prompt: str,
        requested: EnergyCurve,
        seed: int,
        settings: SamplingSettings,
        on_step: Callable[[int], object] | None = None,
    ) -> torch.Tensor:
        """Log-mel [T, bins] in nats that covers the request (at the mel frame rate): T is at least one window.

        on_step: called with the number of finished sampling steps; what it raises ends the work.
        """
        codec, bins, window = self._components["codec"], self._front_end.config.bins, self._window
        silence_nats = self._front_end.config.silence_nats
        total = max(window.frames, -(-requested.values.size // window.patch) * window.patch)
        padded = np.full(total, silence_nats, np.float32)
        padded[: requested.values.size] = requested.values
        starts = window.starts(total)
        latent_starts = [start // window.patch for start in starts]
        energies = cut(torch.from_numpy(padded).to(self._device), starts, window.frames, dim=0)
        hints = torch.cat([energy_hint(energy[None], codec, bins) for energy in energies])
        prompts = self._components["text_encoder"]([prompt, ""]).to(self._device)
        denoiser = SteeredDenoiser(
            self._components["denoiser"],
            self._components["adapter"],
            prompts[0],
            prompts[1],
            hints,
            latent_starts,
            settings.guidance_scale,
            settings.control_strength,
        )
        # Drawn on the CPU: one seed is one noise on every device.
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((hints.shape[1], total // window.patch, hints.shape[3]), generator=generator)
        latents = sample(
            denoiser,
            noise.to(self._device),
            self._components["schedule"],
            num_steps=settings.num_steps,
            eta=settings.eta,
            generator=generator,
            on_step=on_step,
        )
        parts = cut(latents / codec.config.scaling_factor, latent_starts, window.frames // window.patch, dim=1)
        decoded = torch.cat([codec.decode(part[None]).sample[:, 0] for part in parts])
        return blend(decoded, starts, total, dim=0).clamp(min=silence_nats)

    @torch.inference_mode()
    def waveform(self, log_mel: torch.Tensor, samples: int) -> NDArray[np.float32]:
        """Waveform [samples] of a log-mel [T, bins], at the pack's rate, within ±1."""
        hop, window = self._front_end.config.hop_samples, self._window.frames
        starts = self._window.starts(len(log_mel))
        # A vocoder may add some samples of its own at the end of a window.
        parts = torch.cat(
            [self._components["vocoder"](log_mel[None, start : start + window])[:, : window * hop] for start in starts]
        )
        whole = join(parts, [start * hop for start in starts], len(log_mel) * hop)
        return within_full_scale(whole[:samples].float().cpu().numpy())
