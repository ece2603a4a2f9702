"""φ on a data set: from tokens that the frozen video encoder made once to the energy of the sound."""

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
from rewas_engine.training.distributed import ALONE, Alone
from rewas_engine.training.loop import LossFunction
from rewas_engine.training.part_config import PhiConfig
from rewas_engine.training.sample_sheets import Panel

JUDGED_FROM_S = 2
"""Held-out clips are cut from two seconds on (paper, section 4.1), where they are long enough."""


@dataclass(frozen=True)
class TokenGrid:
    """How a video encoder's tokens stand in time.

    encoder: with `token_times_frames` and `segment_starts`, or one that gives one token for each frame.
    """

    encoder: Any
    frame_rate: Fraction

    def groups(self, frames: int) -> int:
        """Of how many groups, one beginning after the other, the tokens of so many frames are."""
        return len(self.encoder.segment_starts(frames)) if self._has_segments else frames

    @property
    def group_tokens(self) -> int:
        """Tokens of a group."""
        config = self.encoder.config
        return int(config.segment_frames // config.tubelet_frames) if self._has_segments else 1

    def times_frames(self, frames: int) -> NDArray[np.float32]:
        """When the tokens of a clip of so many frames stand, [N] in frames from its start."""
        times = self.encoder.token_times_frames(frames).numpy() if self._has_segments else np.arange(frames) + 0.5
        return np.asarray(times, np.float32)

    @property
    def token_frames(self) -> int:
        """How many frames a token looks at."""
        return int(self.encoder.config.tubelet_frames) if self._has_segments else 1

    @property
    def stride_s(self) -> float:
        """From the start of a group to the start of the next."""
        frames = self.encoder.config.stride_frames if self._has_segments else 1
        return float(frames / self.frame_rate)

    @property
    def _has_segments(self) -> bool:
        return hasattr(self.encoder, "segment_starts")


class PhiBatches:
    """Cuts of clips as tokens and energies. tokens: as `timed_tokens` gives them. names: of the clips."""

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
        """Tokens [N, D] and energies [N] of a clip.

        at: where the cut begins, 0 to 1 of the room that there is for it; None is JUDGED_FROM_S. A clip that is too
        short is repeated.
        """
        tokens = self.tokens.rows(name)
        size = self.grid.group_tokens
        there = len(tokens) // size
        room = max(0, there - self._groups)
        first = min(room, round(JUDGED_FROM_S / self.grid.stride_s)) if at is None else min(room, int(at * (room + 1)))
        groups = first + np.arange(self._groups) % there
        rows = (groups[:, None] * size + np.arange(size)).ravel()
        energies = self.energies(name)
        return np.asarray(tokens[rows, :-1], np.float32), energies[rows]

    def energies(self, name: str) -> NDArray[np.float32]:
        """Energies [N] that belong to the tokens of a whole clip: each the mean over what its token looks at."""
        energy = np.asarray(self.log_mels.rows(name), np.float32).mean(axis=1)
        times_frames = np.asarray(self.tokens.rows(name)[:, -1], np.float64)
        begins, ends = ((times_frames + side * self.grid.token_frames / 2) for side in (-1, 1))
        per_frame = self._mel_rate / float(self.grid.frame_rate)
        return mean_between(energy, begins * per_frame, ends * per_frame)


def timed_tokens(tokens: torch.Tensor, grid: TokenGrid, frames: int) -> NDArray[np.float16]:
    """Tokens [N, D] of a clip of so many frames as they are kept: with the time of each, in frames, as one more column.

    Times are whole or half, and so are exact in half precision.
    """
    times = grid.times_frames(frames)[:, None]
    return np.concatenate([tokens.float().cpu().numpy(), times], axis=1).astype(np.float16)


def mean_between(
    values: NDArray[np.floating], begins: NDArray[np.floating], ends: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Means [N] of values [T], each one wide, between positions [N]; positions outside count as the nearest value."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    places = np.arange(sums.size)
    lower = np.clip(begins, 0, len(values) - 1)
    upper = np.clip(np.maximum(ends, lower + 1e-3), None, len(values))
    lower = np.minimum(lower, upper - 1e-3)
    return np.asarray((np.interp(upper, places, sums) - np.interp(lower, places, sums)) / (upper - lower), np.float32)


def phi_loss(batches: PhiBatches, phi: Phi, config: PhiConfig, processes: Alone = ALONE) -> LossFunction:
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
def judged_phi(batches: PhiBatches, phi: Phi, names: Sequence[str]) -> tuple[dict[str, float], list[Panel]]:
    """How well φ reads the energy of held-out clips, and pictures of the first eight.

    energy_mae_nats, correlation: means over the clips; clips of constant energy have no correlation.
    """
    errors, correlations, panels = [], [], []
    for name in names:
        tokens, wanted = batches.cut(name, None)
        read = phi(torch.from_numpy(tokens)[None].to(phi.device))[0].float().cpu().numpy()
        mae_nats, correlation = energy_agreement(wanted, read)
        errors.append(mae_nats)
        correlations += [] if correlation is None else [correlation]
        panels.append(Panel(name[:70], None, (("of the sound", wanted), ("read", read))))
    figures = {"energy_mae_nats": float(np.mean(errors))}
    if correlations:
        figures["correlation"] = float(np.mean(correlations))
    return figures, panels[:8]
