"""The video encoder of the released ReWaS: the visual branch of Synchformer, a divided space-time transformer."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn
from torch.nn import functional

SEGMENT_BATCH_SIZE = 7
"""Segments per batch; it bounds the memory for a long clip."""
_EPSILON = 1e-6


class MotionFormer(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Tokens of overlapping segments (Motionformer, Patrick et al. 2021; Synchformer, Iashin et al. 2024).

    A segment is cut into tubelets of `tubelet_frames` frames and `patch` x `patch` pixels. Each block attends along
    time at the same position, then over positions at the same time; a class token attends to all tubelets and all
    attend to it. At the end, the positions of each time are aggregated into one token.

    Args:
        width, blocks, heads: Size of the transformer.
        side: Width and height of the frames, in pixels.
        patch, tubelet_frames: Size of a tubelet.
        segment_frames: Frames per segment.
        stride_frames: Frames from one segment to the next.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        width: int = 768,
        blocks: int = 12,
        heads: int = 12,
        side: int = 224,
        patch: int = 16,
        tubelet_frames: int = 2,
        segment_frames: int = 16,
        stride_frames: int = 8,
    ) -> None:
        super().__init__()
        places, times = (side // patch) ** 2, segment_frames // tubelet_frames
        tubelet = (tubelet_frames, patch, patch)
        self.patch_embedding = nn.Conv3d(3, width, tubelet, stride=tubelet)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.place_embedding = nn.Parameter(torch.zeros(1, 1 + places, width))
        self.time_embedding = nn.Parameter(torch.zeros(1, times, width))
        self.layers = nn.ModuleList(_Block(width, heads) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.gathering_token = nn.Parameter(torch.zeros(1, 1, width))
        self.gathering = nn.TransformerEncoderLayer(
            width,
            heads,
            4 * width,
            dropout=0.0,
            activation="gelu",
            layer_norm_eps=_EPSILON,
            batch_first=True,
            norm_first=True,
        )

    def forward(self, frames: torch.Tensor, segment_batch_size: int = SEGMENT_BATCH_SIZE) -> torch.Tensor:
        """Encode any number of frames.

        Args:
            frames: RGB [B, T, H, W, 3], 0 to 1. If T is less than a segment, the last frame is repeated.
            segment_batch_size: Segments per batch.

        Returns:
            Tokens [B, N, width]; token i is at `token_times_frames(T)[i]`.
        """
        batch, count = frames.shape[:2]
        length = self.config.segment_frames
        if count < length:
            frames = torch.cat([frames, frames[:, -1:].expand(-1, length - count, -1, -1, -1)], dim=1)
        starts = self.segment_starts(count)
        # Segments overlap by half: cutting all of them at once would need twice the memory.
        places = [(row, start) for row in range(batch) for start in starts]
        parts = []
        for first in range(0, len(places), segment_batch_size):
            chosen = places[first : first + segment_batch_size]
            segments = torch.stack([frames[row, start : start + length] for row, start in chosen])
            parts.append(self.encode_segments(2 * segments - 1))
        return torch.cat(parts).reshape(batch, -1, self.config.width)

    def segment_starts(self, count: int) -> list[int]:
        """Return the first frames of the segments of a clip of `count` frames: as many as fit, centred in the clip."""
        length, stride = self.config.segment_frames, self.config.stride_frames
        room = max(0, count - length)
        return list(range(room % stride // 2, room + 1, stride))

    def token_times_frames(self, count: int) -> torch.Tensor:
        """Return the true time of each token of a clip of `count` frames, [N] in frames: the centre of its tubelet."""
        tubelet, length = self.config.tubelet_frames, self.config.segment_frames
        within = torch.arange(0, length, tubelet) + tubelet / 2
        return torch.cat([start + within for start in self.segment_starts(count)])

    def encode_segments(self, segments: torch.Tensor) -> torch.Tensor:
        """Tokens [N, segment_frames / tubelet_frames, width] of segments [N, segment_frames, H, W, 3], -1 to 1."""
        tubelets = self.patch_embedding(segments.movedim(-1, 1))
        count, width, times = tubelets.shape[:3]
        patches = tubelets.flatten(3).movedim(1, -1)
        placed = patches + self.place_embedding[:, None, 1:] + self.time_embedding[:, :, None]
        summary = (self.class_token + self.place_embedding[:, :1]).expand(count, -1, -1)
        tokens = torch.cat([summary, placed.flatten(1, 2)], dim=1)
        for block in self.layers:
            tokens = block(tokens, times)
        seen = self.norm(tokens[:, 1:]).reshape(count * times, -1, width)
        gathered = self.gathering(torch.cat([self.gathering_token.expand(len(seen), -1, -1), seen], dim=1))
        result: torch.Tensor = gathered[:, 0].reshape(count, times, width)
        return result


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.time_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.over_time = _DividedAttention(width, heads)
        self.space_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.over_space = _DividedAttention(width, heads)
        self.mlp_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: torch.Tensor, times: int) -> torch.Tensor:
        tokens = tokens + self.over_time(self.time_norm(tokens), times, along_time=True)
        tokens = tokens + self.over_space(self.space_norm(tokens), times, along_time=False)
        result: torch.Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return result


class _DividedAttention(nn.Module):
    """Attention within groups of tokens, of one position or of one time; the class token belongs to every group."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, times: int, *, along_time: bool) -> torch.Tensor:
        """`tokens`: [B, 1 + times·places, D], the class token first, then time by time."""
        batch, count, width = tokens.shape
        query, key, value = self.qkv(tokens).reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        summary = functional.scaled_dot_product_attention(query[:, :, :1], key, value)

        def group_tokens(whole: torch.Tensor) -> torch.Tensor:
            split = whole[:, :, 1:].unflatten(2, (times, -1))
            return split.transpose(2, 3) if along_time else split

        def prepend_class_token(whole: torch.Tensor) -> torch.Tensor:
            groups = group_tokens(whole)
            first = whole[:, :, None, :1].expand(-1, -1, groups.shape[2], -1, -1)
            return torch.cat([first, groups], dim=3)

        def ungroup(whole: torch.Tensor) -> torch.Tensor:
            # With groups in the batch axis torch's kernel is several times faster on a CPU than with five axes.
            return whole.transpose(1, 2).flatten(0, 1)

        groups = ungroup(group_tokens(query)), ungroup(prepend_class_token(key)), ungroup(prepend_class_token(value))
        seen = functional.scaled_dot_product_attention(*groups).unflatten(0, (batch, -1)).transpose(1, 2)
        seen = (seen.transpose(2, 3) if along_time else seen).flatten(2, 3)
        together = torch.cat([summary, seen], dim=2).transpose(1, 2).reshape(batch, count, width)
        result: torch.Tensor = self.out(together)
        return result
