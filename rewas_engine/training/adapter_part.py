"""Train the adapter on a data set, so that a frozen base of any family follows the energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rewas_engine.conditioning.controls import ControlBatch, Controls
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.conditioning.windows import SoundWindow
from rewas_engine.curves.energy import energy_agreement
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.generation.synthesis import SoundGenerator
from rewas_engine.packs.backbones.backbone import Backbone
from rewas_engine.runtime.precision import DTYPES
from rewas_engine.training.clip_features import ClipFeatures
from rewas_engine.training.distributed import SINGLE_PROCESS, SingleProcess
from rewas_engine.training.loop import LossFunction
from rewas_engine.training.part_config import AdapterConfig
from rewas_engine.training.sample_sheets import Panel
from rewas_engine.training.stages import draw_noise, prediction_target, soften_energies

HELD_OUT_START_S = 2
EVALUATION_TIMESTEPS = 4
"""Noise levels at which the loss on held-out clips is measured, evenly spaced."""


class AdapterBatches:
    """Crops of clips as log-mels of one window.

    Args:
        log_mels: Log-mels of the clips.
        captions: Caption of each clip by its name.
        prompts: Embeddings [N, ...]: that of "", then those of the distinct captions in sorted order.
        window: Window of the pack.
        mel_rate: Log-mel frames per second.
        cut_s: Length of a crop in seconds.
    """

    def __init__(
        self,
        log_mels: ClipFeatures,
        captions: Mapping[str, str],
        prompts: torch.Tensor,
        window: SoundWindow,
        mel_rate: float,
        cut_s: float,
    ) -> None:
        self.log_mels, self.captions, self.prompts, self.window = log_mels, captions, prompts, window
        self.names = sorted(captions)
        self._row_of = {caption: row for row, caption in enumerate(sorted(set(captions.values())), start=1)}
        self._mel_rate = mel_rate
        self._cut_frames = max(1, min(window.frames, round(cut_s * mel_rate)))

    def cut(self, name: str, at: float | None) -> NDArray[np.float32]:
        """Crop a clip to a log-mel [window, bins].

        Args:
            name: Name of the clip.
            at: Start of the crop, 0 to 1 of the available range; None starts at HELD_OUT_START_S. A crop shorter than
                the window is repeated.
        """
        log_mel = self.log_mels.rows(name)
        length = min(self._cut_frames, len(log_mel))
        room = len(log_mel) - length
        first = min(room, round(HELD_OUT_START_S * self._mel_rate)) if at is None else min(room, int(at * (room + 1)))
        part = np.asarray(log_mel[first : first + length], np.float32)
        return part[np.arange(self.window.frames) % length]

    def prompt_rows(self, names: Sequence[str]) -> torch.Tensor:
        """Rows [B] of `prompts` for clips."""
        return torch.tensor([self._row_of[self.captions[name]] for name in names])


def adapter_part_loss(
    batches: AdapterBatches,
    backbone: Backbone,
    names: Sequence[str],
    config: AdapterConfig,
    processes: SingleProcess = SINGLE_PROCESS,
) -> LossFunction:
    """Denoising loss of the base with the energy as a hint (paper, section 3.3), and prompts dropped at random."""
    precision = DTYPES[config.precision]

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        size = config.batch_size
        rows = torch.randint(len(names), (size,), generator=generator)
        places, prompt_draws, hint_draws = torch.rand((3, size), generator=generator)
        noise, timesteps = draw_noise(
            (size, *backbone.latent_shape(batches.window.frames)), backbone.schedule, generator
        )
        chosen = [names[row] for row in processes.part(rows).tolist()]
        log_mels = np.stack(
            [batches.cut(name, float(at)) for name, at in zip(chosen, processes.part(places), strict=True)]
        )
        prompt_rows = batches.prompt_rows(chosen) * (processes.part(prompt_draws) >= config.text_dropout)
        given = processes.part(hint_draws) >= config.hint_dropout
        encoded = _encode(backbone, batches, log_mels, given)
        return _error(
            backbone, batches, encoded, prompt_rows, processes.part(noise), processes.part(timesteps), precision
        )

    return loss_of


@torch.no_grad()
def _encode(
    backbone: Backbone, batches: AdapterBatches, log_mels: NDArray[np.float32], given: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents and hints of log-mels; a hint contains the energy where `given` is true."""
    device = batches.prompts.device
    batch_log_mels = torch.from_numpy(log_mels).to(device)
    latents = backbone.encode(batch_log_mels)
    energies = soften_energies(batch_log_mels.mean(dim=-1))
    return latents, backbone.hints(energy_controls(energies, given.to(device)))


def _error(
    backbone: Backbone,
    batches: AdapterBatches,
    encoded: tuple[torch.Tensor, torch.Tensor],
    prompt_rows: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    precision: torch.dtype,
) -> torch.Tensor:
    device, schedule = batches.prompts.device, backbone.schedule
    latents, hints = encoded
    noise, timesteps = noise.to(device), timesteps.to(device)
    noisy = schedule.add_noise(latents, noise, timesteps)
    with torch.autocast(torch.device(device).type, precision, enabled=precision != torch.float32):
        predicted = backbone.predict(noisy, timesteps, batches.prompts[prompt_rows.to(device)], hints, 1.0)
    return nn.functional.mse_loss(predicted.float(), prediction_target(latents, noise, timesteps, schedule))


def energy_controls(energies: torch.Tensor, given: torch.Tensor) -> ControlBatch:
    """Energies [B, T] as controls, used where `given` [B] bool is true."""
    rows = [Controls(energy=energy) for energy in energies.cpu().numpy()]
    batch = ControlBatch.from_windows(rows, energies.device)
    return ControlBatch(batch.energies, batch.onsets, batch.textures, batch.is_given & given[:, None])


@torch.inference_mode()
def evaluate_adapter(
    batches: AdapterBatches,
    backbone: Backbone,
    front_end: AudioFrontEnd,
    names: Sequence[str],
    config: AdapterConfig,
) -> tuple[dict[str, float], list[Panel]]:
    """Measure how well generated sounds follow the energy of held-out clips.

    Returns:
        The figures "loss" (with the same noise every time), "control_error_nats" and "correlation" of the generated
        energies, and panels of the first eight clips.
    """
    device = str(batches.prompts.device)
    log_mels = np.stack([batches.cut(name, None) for name in names])
    generator = torch.Generator().manual_seed(0)
    last = backbone.schedule.config.num_train_timesteps - 1
    everything = torch.ones(len(names), dtype=torch.bool)
    parts = [slice(first, first + config.batch_size) for first in range(0, len(names), config.batch_size)]
    encoded = [_encode(backbone, batches, log_mels[part], everything[part]) for part in parts]
    losses = []
    for level in range(EVALUATION_TIMESTEPS):
        noise, timesteps = draw_noise(
            (len(names), *backbone.latent_shape(batches.window.frames)), backbone.schedule, generator
        )
        timesteps = torch.full_like(timesteps, (2 * level + 1) * last // (2 * EVALUATION_TIMESTEPS))
        for part, clips in zip(parts, encoded, strict=True):
            rows = batches.prompt_rows(names[part])
            loss = _error(backbone, batches, clips, rows, noise[part], timesteps[part], torch.float32)
            losses.append(float(loss))
    sounds = SoundGenerator(backbone, front_end, batches.window, device)
    settings = SamplingSettings(config.judged_steps, 1.0, 1.0, 0.0, precision=config.precision)
    errors, correlations, panels = [], [], []
    for seed, (name, log_mel) in enumerate(zip(names, log_mels, strict=True)):
        wanted = soften_energies(torch.from_numpy(log_mel).mean(dim=-1)[None])[0].numpy()
        generated = (
            sounds.generate_log_mels([batches.captions[name]], [Controls(energy=wanted)], [seed], settings)[0]
            .float()
            .cpu()
        )
        energy = generated.mean(dim=-1).numpy()
        mae_nats, correlation = energy_agreement(wanted, energy)
        errors.append(mae_nats)
        correlations.append(0.0 if correlation is None else correlation)
        panels.append(
            Panel(batches.captions[name][:70], generated.numpy(), (("wanted", wanted), ("generated", energy)))
        )
    figures = {
        "loss": float(np.mean(losses)),
        "control_error_nats": float(np.mean(errors)),
        "correlation": float(np.mean(correlations)),
    }
    return figures, panels[:8]
