"""Train φ on a data set, from cached tokens of the frozen video encoder to the energy of the sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rewas_engine.curves.energy import energy_agreement
from rewas_engine.models.phi import Phi
from rewas_engine.training.clip_features import ClipFeatures
from rewas_engine.training.distributed import SINGLE_PROCESS, SingleProcess
from rewas_engine.training.loop import LossFunction
from rewas_engine.training.part_config import PhiConfig
from rewas_engine.training.sample_sheets import Panel

HELD_OUT_START_S = 2
"""Held-out clips are cropped from 2 s on (paper, section 4.1) if they are long enough."""


@dataclass(frozen=True)
class TokenGrid:
    """The times of a video encoder's tokens.

    Attributes:
        encoder: Video encoder with `token_times_frames` and `segment_starts`, or with one token per frame.
        frame_rate: Frames per second.
    """

    encoder: Any
    frame_rate: Fraction

    def groups(self, frames: int) -> int:
        """Number of consecutive token groups for this many frames."""
        return len(self.encoder.segment_starts(frames)) if self._has_segments else frames

    @property
    def group_tokens(self) -> int:
        """Tokens per group."""
        config = self.encoder.config
        return int(config.segment_frames // config.tubelet_frames) if self._has_segments else 1

    def times_frames(self, frames: int) -> NDArray[np.float32]:
        """Times of the tokens of a clip with this many frames, [N] in frames from its start."""
        times = self.encoder.token_times_frames(frames).numpy() if self._has_segments else np.arange(frames) + 0.5
        return np.asarray(times, np.float32)

    @property
    def token_frames(self) -> int:
        """Number of frames that a token covers."""
        return int(self.encoder.config.tubelet_frames) if self._has_segments else 1

    @property
    def stride_s(self) -> float:
        """Seconds from the start of one group to the start of the next."""
        frames = self.encoder.config.stride_frames if self._has_segments else 1
        return float(frames / self.frame_rate)

    @property
    def _has_segments(self) -> bool:
        return hasattr(self.encoder, "segment_starts")


class PhiBatches:
    """Crops of clips as tokens and energies.

    Args:
        tokens: Tokens with times, from `append_token_times`.
        log_mels: Log-mels of the clips.
        names: Names of the clips.
        grid: Times of the tokens.
        mel_rate: Log-mel frames per second.
        cut_s: Length of a crop.
    """

    def __init__(
        self,
        tokens: ClipFeatures,
        log_mels: ClipFeatures,
        names: Sequence[str],
        grid: TokenGrid,
        mel_rate: Fraction,
        cut_s: float,
    ) -> None:
        self.tokens, self.log_mels, self.names, self.grid = tokens, log_mels, list(names), grid
        self._mel_rate = float(mel_rate)
        self._groups = max(1, grid.groups(round(cut_s * grid.frame_rate)))

    def cut(self, name: str, at: float | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Crop a clip to tokens [N, D] and energies [N].

        Args:
            name: Name of the clip.
            at: Start of the crop, 0 to 1 of the available range; None starts at HELD_OUT_START_S. A clip that is too
                short is repeated.
        """
        tokens = self.tokens.rows(name)
        size = self.grid.group_tokens
        groups_in_clip = len(tokens) // size
        room = max(0, groups_in_clip - self._groups)
        first = (
            min(room, round(HELD_OUT_START_S / self.grid.stride_s)) if at is None else min(room, int(at * (room + 1)))
        )
        groups = first + np.arange(self._groups) % groups_in_clip
        rows = (groups[:, None] * size + np.arange(size)).ravel()
        energies = self.energies(name)
        return np.asarray(tokens[rows, :-1], np.float32), energies[rows]

    def energies(self, name: str) -> NDArray[np.float32]:
        """Energies [N] for the tokens of a whole clip, each the mean over the time that the token covers."""
        energy = np.asarray(self.log_mels.rows(name), np.float32).mean(axis=1)
        times_frames = np.asarray(self.tokens.rows(name)[:, -1], np.float64)
        begins, ends = ((times_frames + side * self.grid.token_frames / 2) for side in (-1, 1))
        per_frame = self._mel_rate / float(self.grid.frame_rate)
        return mean_between(energy, begins * per_frame, ends * per_frame)


def append_token_times(tokens: torch.Tensor, grid: TokenGrid, frames: int) -> NDArray[np.float16]:
    """Append the time of each token, in frames, as one more column to tokens [N, D].

    Times are multiples of 0.5 and therefore exact in half precision.
    """
    times = grid.times_frames(frames)[:, None]
    return np.concatenate([tokens.float().cpu().numpy(), times], axis=1).astype(np.float16)


def mean_between(
    values: NDArray[np.floating], begins: NDArray[np.floating], ends: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Means [N] of values [T] between positions [N]; positions outside take the nearest value."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    places = np.arange(sums.size)
    lower = np.clip(begins, 0, len(values) - 1)
    upper = np.clip(np.maximum(ends, lower + 1e-3), None, len(values))
    lower = np.minimum(lower, upper - 1e-3)
    return np.asarray((np.interp(upper, places, sums) - np.interp(lower, places, sums)) / (upper - lower), np.float32)


def phi_loss(
    batches: PhiBatches, phi: Phi, config: PhiConfig, processes: SingleProcess = SINGLE_PROCESS
) -> LossFunction:
    """‖φ(E_v) − e‖², mean over tokens (paper, section 3.2)."""

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(batches.names), (config.batch_size,), generator=generator)
        places = torch.rand(config.batch_size, generator=generator)
        cuts = [
            batches.cut(batches.names[row], float(at))
            for row, at in zip(processes.part(rows).tolist(), processes.part(places), strict=True)
        ]
        tokens, energies = (torch.from_numpy(np.stack(parts)).to(phi.device) for parts in zip(*cuts, strict=True))
        return nn.functional.mse_loss(phi(tokens).float(), energies)

    return loss_of


@torch.inference_mode()
def evaluate_phi(batches: PhiBatches, phi: Phi, names: Sequence[str]) -> tuple[dict[str, float], list[Panel]]:
    """Measure how well φ estimates the energy of held-out clips.

    Returns:
        The figures "energy_mae_nats" and "correlation" (over clips whose energy is not constant), and panels of the
        first eight clips.
    """
    errors, correlations, panels = [], [], []
    for name in names:
        tokens, wanted = batches.cut(name, None)
        estimated = phi(torch.from_numpy(tokens)[None].to(phi.device))[0].float().cpu().numpy()
        mae_nats, correlation = energy_agreement(wanted, estimated)
        errors.append(mae_nats)
        correlations += [] if correlation is None else [correlation]
        panels.append(Panel(name[:70], None, (("from sound", wanted), ("estimated", estimated))))
    figures = {"energy_mae_nats": float(np.mean(errors))}
    if correlations:
        figures["correlation"] = float(np.mean(correlations))
    return figures, panels[:8]
