"""Cross-attention between the two streams, between the encoders and the decoders of their UNets."""

from __future__ import annotations

import math

import torch
from torch import nn


class Interaction(nn.Module):
    """Each stream looks at the other: f_a' = f_a + CrossAttention(f_a, f_v), and the same the other way round.

    This is equation 12 of TAVDiffusion with a residual connection. It starts as the identity, so that UNets with
    trained weights are not disturbed. Every token carries the time that it stands for, because a UNet for spectrograms
    has no other idea of time that it shares with a picture.

    Args:
        picture_width: Channels of the picture's features.
        sound_width: Channels of the sound's features.
        heads: Heads of the attention.
    """

    def __init__(self, picture_width: int, sound_width: int, heads: int = 8) -> None:
        super().__init__()
        self.picture_reads = _Reading(picture_width, sound_width, heads)
        self.sound_reads = _Reading(sound_width, picture_width, heads)

    def forward(
        self, picture: torch.Tensor, picture_times: torch.Tensor, sound: torch.Tensor, sound_times: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Let tokens of the picture [B, N, C] and of the sound [B, M, C'] read each other.

        Args:
            picture: Tokens of the picture.
            picture_times: [N], times of its tokens, from 0 to 1 of the clip.
            sound: Tokens of the sound.
            sound_times: [M], times of its tokens.
        """
        return (
            self.picture_reads(picture, picture_times, sound, sound_times),
            self.sound_reads(sound, sound_times, picture, picture_times),
        )


class _Reading(nn.Module):
    def __init__(self, width: int, other_width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.other_norm = nn.LayerNorm(width), nn.LayerNorm(other_width)
        heads = math.gcd(heads, width)
        self.attention = nn.MultiheadAttention(width, heads, kdim=other_width, vdim=other_width, batch_first=True)
        nn.init.zeros_(self.attention.out_proj.weight)
        nn.init.zeros_(self.attention.out_proj.bias)

    def forward(
        self, tokens: torch.Tensor, times: torch.Tensor, others: torch.Tensor, other_times: torch.Tensor
    ) -> torch.Tensor:
        queries = self.norm(tokens) + time_codes(times, tokens.shape[-1]).to(tokens.dtype)
        values = self.other_norm(others)
        keys = values + time_codes(other_times, others.shape[-1]).to(others.dtype)
        read: torch.Tensor = self.attention(queries, keys, values, need_weights=False)[0]
        return tokens + read


def time_codes(times: torch.Tensor, width: int) -> torch.Tensor:
    """Sines and cosines [N, width] of times [N] from 0 to 1, from half a period per clip to 64 periods."""
    octaves = torch.linspace(-1.0, 6.0, width // 2, device=times.device)
    angles = 2 * torch.pi * times[:, None] * 2.0**octaves
    codes = torch.cat([angles.sin(), angles.cos()], dim=-1)
    return nn.functional.pad(codes, (0, width - codes.shape[-1]))
