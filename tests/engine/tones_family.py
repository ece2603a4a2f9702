"""A family of backbones outside the engine, with its own rate, hop, number of bins and networks.

It contains no latent diffusion model, only the interface that the engine needs.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch.nn import functional

from rewas_engine.conditioning.controls import ControlBatch
from rewas_engine.conditioning.mel import MelConfig
from rewas_engine.models.motion import MotionEncoder
from rewas_engine.models.phi import Phi
from rewas_engine.packs.backbones.backbone import Backbone
from rewas_engine.packs.backbones.families import Family
from rewas_engine.packs.components import config_json, loader_from_config, save_component
from rewas_engine.packs.description import ROLES, new_pack_folder, write_description
from rewas_engine.training.pack_writer import write_config

AUDIO = MelConfig(sample_rate_hz=8000, window_samples=512, hop_samples=200, bins=20, highest_hz=4000.0)
PATCH = 5


class Tone(ModelMixin, ConfigMixin):
    """One number. Used for every component that this family does not need."""

    config_name = "config.json"

    @register_to_config
    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(start))


class Tones(Backbone):
    """Latents are means of patches, the denoiser moves them to the energy, the vocoder is noise as loud as the mel."""

    def __init__(self, components: Mapping[str, Any], audio: MelConfig, device: str) -> None:
        self.components, self.audio, self.device = components, audio, device

    @property
    def patch(self) -> int:
        return PATCH

    @property
    def schedule(self) -> Any:
        return self.components["schedule"]

    @property
    def controls(self) -> tuple[str, ...]:
        return ("energy",)

    def latent_shape(self, frames: int) -> tuple[int, int, int]:
        return 1, frames // PATCH, self.audio.bins // PATCH

    def embed_prompts(self, prompts: Sequence[str]) -> torch.Tensor:
        drawn = [torch.Generator().manual_seed(zlib.crc32(prompt.encode())) for prompt in prompts]
        return torch.stack([torch.randn(2, 3, 4, generator=generator) for generator in drawn]).to(self.device)

    def encode(self, log_mels: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(log_mels[:, None], PATCH) / 10

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(latents * 10, scale_factor=PATCH)[:, 0]

    def hints(self, batch: ControlBatch) -> torch.Tensor:
        return self.encode(batch.energies[:, :, None].expand(-1, -1, self.audio.bins))

    def predict(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        prompts: torch.Tensor,
        hints: torch.Tensor | None,
        strength: float,
    ) -> torch.Tensor:
        target = torch.zeros_like(sample) if hints is None else strength * hints * self.components["adapter"].factor
        alpha = self.schedule.alphas_cumprod[int(timestep)]
        return (sample - alpha.sqrt() * target) / (1 - alpha).sqrt() * self.components["denoiser"].factor

    def vocode(self, log_mels: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        levels = log_mels.mean(dim=-1).repeat_interleave(self.audio.hop_samples, dim=1)
        noise = torch.randn(levels.shape, generator=torch.Generator().manual_seed(0)).to(levels)
        return torch.exp(levels) * noise


FAMILY = Family("tones", {"Tone": loader_from_config(Tone)}, Tones)


def write_tones_pack(folder: Path) -> Path:
    """Write a complete pack of the family."""
    with new_pack_folder(folder) as unfinished:
        classes = dict.fromkeys(ROLES, "Tone") | {"schedule": "DDIMScheduler"}
        components = {role: Tone() for role in ROLES if role != "schedule"}
        components["video_encoder"] = MotionEncoder(widths=(8, 8), features=8, dilations=(1,))
        components["phi"] = Phi(features=8, width=8, blocks=1, heads=2, head=(4,))
        for role, component in components.items():
            save_component(component, unfinished, role, torch.float32)
            classes[role] = type(component).__name__
        write_config(unfinished, "schedule", config_json(DDIMScheduler(clip_sample=False)))
        write_description(
            unfinished,
            {
                "name": folder.name,
                "version": "1.0.0",
                "summary": "Hums.",
                "licence": "CC0-1.0",
                "permits": "Any use.",
                "family": "tones",
                "controls": ["energy"],
                "components": classes,
                "audio": asdict(AUDIO),
                "window": {"frames": 100, "overlap_frames": 20, "patch": PATCH},
                "sampling": {"num_steps": 5, "guidance_scale": 1.0, "eta": 0.0},
                "picture": {
                    "frame_rate": "25",
                    "width": 32,
                    "height": 32,
                    "window_frames": 64,
                    "overlap_frames": 16,
                },
            },
        )
    return folder
