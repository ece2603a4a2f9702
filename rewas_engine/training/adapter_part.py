"""The adapter on a data set: it learns to make a frozen base of any family follow the energy."""

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
from rewas_engine.training.distributed import ALONE, Alone
from rewas_engine.training.loop import LossFunction
from rewas_engine.training.part_config import AdapterConfig
from rewas_engine.training.sample_sheets import Panel
from rewas_engine.training.stages import drawn_noise, softened_energies, wanted_prediction

JUDGED_FROM_S = 2
JUDGED_TIMESTEPS = 4
"""Noise levels at which the loss of held-out clips is measured, evenly spread."""


class AdapterBatches:
    """Cuts of clips as log-mels of one window.

    captions: of each clip, by its name. prompts: embeddings [N, ...] of the distinct captions in their sorted order,
    that of "" first.
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
        """Log-mel [window, bins] of a clip.

        at: where the cut begins, 0 to 1 of the room that there is for it; None is JUDGED_FROM_S. What is shorter than
        the window is repeated.
        """
        log_mel = self.log_mels.rows(name)
        length = min(self._cut_frames, len(log_mel))
        room = len(log_mel) - length
        first = min(room, round(JUDGED_FROM_S * self._mel_rate)) if at is None else min(room, int(at * (room + 1)))
        part = np.asarray(log_mel[first : first + length], np.float32)
        return part[np.arange(self.window.frames) % length]

    def prompt_rows(self, names: Sequence[str]) -> torch.Tensor:
        """Rows [B] of `prompts` of clips."""
        return torch.tensor([self._row_of[self.captions[name]] for name in names])


def adapter_part_loss(
    batches: AdapterBatches, backbone: Backbone, names: Sequence[str], config: AdapterConfig, processes: Alone = ALONE
) -> LossFunction:
    """The base's own denoising loss with the energy as a hint (paper, section 3.3); words are taken away at times."""
    precision = DTYPES[config.precision]

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        size = config.batch_size
        rows = torch.randint(len(names), (size,), generator=generator)
        places, worded, hinted = torch.rand((3, size), generator=generator)
        noise, timesteps = drawn_noise(
            (size, *backbone.latent_shape(batches.window.frames)), backbone.schedule, generator
        )
        chosen = [names[row] for row in processes.part(rows).tolist()]
        log_mels = np.stack(
            [batches.cut(name, float(at)) for name, at in zip(chosen, processes.part(places), strict=True)]
        )
        prompt_rows = batches.prompt_rows(chosen) * (processes.part(worded) >= config.text_dropout)
        given = processes.part(hinted) >= config.hint_dropout
        return _error(
            backbone, batches, log_mels, prompt_rows, given, processes.part(noise), processes.part(timesteps), precision
        )

    return loss_of


def _error(
    backbone: Backbone,
    batches: AdapterBatches,
    log_mels: NDArray[np.float32],
    prompt_rows: torch.Tensor,
    given: torch.Tensor,
    noise: torch.Tensor,
    timesteps: torch.Tensor,
    precision: torch.dtype,
) -> torch.Tensor:
    device, schedule = batches.prompts.device, backbone.schedule
    with torch.no_grad():
        heard = torch.from_numpy(log_mels).to(device)
        latents = backbone.encode(heard)
        energies = softened_energies(heard.mean(dim=-1))
        hints = backbone.hints(energy_controls(energies, given.to(device)))
    noise, timesteps = noise.to(device), timesteps.to(device)
    noisy = schedule.add_noise(latents, noise, timesteps)
    with torch.autocast(torch.device(device).type, precision, enabled=precision != torch.float32):
        predicted = backbone.predict(noisy, timesteps, batches.prompts[prompt_rows.to(device)], hints, 1.0)
    return nn.functional.mse_loss(predicted.float(), wanted_prediction(latents, noise, timesteps, schedule))


def energy_controls(energies: torch.Tensor, given: torch.Tensor) -> ControlBatch:
    """Energies [B, T] as controls, of which those are given that are `given` [B] bool."""
    rows = [Controls(energy=energy) for energy in energies.cpu().numpy()]
    batch = ControlBatch.of(rows, energies.device)
    return ControlBatch(batch.energies, batch.onsets, batch.textures, batch.given & given[:, None])


@torch.inference_mode()
def judged_adapter(
    batches: AdapterBatches,
    backbone: Backbone,
    front_end: AudioFrontEnd,
    names: Sequence[str],
    config: AdapterConfig,
) -> tuple[dict[str, float], list[Panel]]:
    """How well held-out sounds follow the energy that they are asked for, and pictures of the first eight.

    loss: at the same noise every time. control_error_nats, correlation: of the energies of generated sounds.
    """
    device = str(batches.prompts.device)
    log_mels = np.stack([batches.cut(name, None) for name in names])
    generator = torch.Generator().manual_seed(0)
    last = backbone.schedule.config.num_train_timesteps - 1
    losses = []
    for level in range(JUDGED_TIMESTEPS):
        noise, timesteps = drawn_noise(
            (len(names), *backbone.latent_shape(batches.window.frames)), backbone.schedule, generator
        )
        timesteps = torch.full_like(timesteps, (2 * level + 1) * last // (2 * JUDGED_TIMESTEPS))
        everything = torch.ones(len(names), dtype=torch.bool)
        for first in range(0, len(names), config.batch_size):
            part = slice(first, first + config.batch_size)
            rows = batches.prompt_rows(names[part])
            loss = _error(
                backbone, batches, log_mels[part], rows, everything[part], noise[part], timesteps[part], torch.float32
            )
            losses.append(float(loss))
    maker = SoundGenerator(backbone, front_end, batches.window, device)
    settings = SamplingSettings(config.judged_steps, 1.0, 1.0, 0.0, precision=config.precision)
    errors, correlations, panels = [], [], []
    for seed, (name, log_mel) in enumerate(zip(names, log_mels, strict=True)):
        wanted = softened_energies(torch.from_numpy(log_mel).mean(dim=-1)[None])[0].numpy()
        made = maker.log_mels([batches.captions[name]], [Controls(energy=wanted)], [seed], settings)[0].float().cpu()
        energy = made.mean(dim=-1).numpy()
        mae_nats, correlation = energy_agreement(wanted, energy)
        errors.append(mae_nats)
        correlations.append(0.0 if correlation is None else correlation)
        panels.append(Panel(batches.captions[name][:70], made.numpy(), (("wanted", wanted), ("made", energy))))
    figures = {
        "loss": float(np.mean(losses)),
        "control_error_nats": float(np.mean(errors)),
        "correlation": float(np.mean(correlations)),
    }
    return figures, panels[:8]
