"""A small video encoder: what moves, strikes, flickers, frame by frame."""

from __future__ import annotations

from itertools import pairwise

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

NEIGHBOUR_OFFSETS_FRAMES = (-2, -1, 1, 2)
"""Frames beside the present one that the first convolution sees as differences."""

TEST_TIME_AUGMENTATIONS = ((False, 0, 0), (True, 0, 0), (False, -2, 2), (True, 2, -2))
"""How a picture may be looked at: mirrored or not, moved by so many pixels down and to the right. What sounds stays the
same, so that what differs between the looks is error, which their mean has less of."""


class MotionEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Convolutions over each frame and its changes, then over time.

    Each frame is seen as brightness and as its differences from the two frames before and after, so that a contact
    shows as a change of motion. Clips are brought to one contrast first: footage is flat and bright as often as not.
    Its tokens are one for each frame, at the frame's own time.

    widths: channels of the picture's convolutions; the first shrinks the size by 4, each other by 2. features: width
    of a token. dilations: of the residual convolutions over time; together they see sum(2·dilation) frames each way.
    place_dilations: of those that every place of the picture goes through by itself before all are summed up, so that
    a strike is known from what happened where it happened; none where it is empty. fine_place_dilations: the same one
    stage earlier, where a place is half as long and as wide.
    looks: at how many of TEST_TIME_AUGMENTATIONS each picture is looked at outside of training; the tokens are their
    mean.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 96),
        features: int = 128,
        dilations: tuple[int, ...] = (1, 2, 4, 8),
        place_dilations: tuple[int, ...] = (),
        fine_place_dilations: tuple[int, ...] = (),
        looks: int = 1,
    ) -> None:
        super().__init__()
        if not 1 <= looks <= len(TEST_TIME_AUGMENTATIONS):
            raise ValueError(f"{looks} looks are not 1 to {len(TEST_TIME_AUGMENTATIONS)}")
        self.stem = nn.Conv2d(1 + len(NEIGHBOUR_OFFSETS_FRAMES), widths[0], 8, stride=4, padding=2)
        self.stages = nn.ModuleList(_FrameBlock(narrow, wide) for narrow, wide in pairwise(widths))
        # The mean tells how much moves, the maximum that something does: a small ball on a wide ground.
        self.projection = nn.Linear(2 * widths[-1] + 2, features)
        self.over_time = nn.ModuleList(_TimeBlock(features, dilation) for dilation in dilations)
        self.places = _SpatialAttentionPool(widths[-1], features, place_dilations) if place_dilations else None
        self.fine_places = (
            _SpatialAttentionPool(widths[-2], features, fine_place_dilations)
            if fine_place_dilations and len(widths) > 2
            else None
        )

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Tokens [B, T, features] of frames [B, T, H, W], brightness 0 to 1."""
        if self.training or self.config.looks == 1:
            return self._tokens(frames)
        return torch.stack(
            [self._tokens(_augment(frames, *view)) for view in TEST_TIME_AUGMENTATIONS[: self.config.looks]]
        ).mean(dim=0)

    def _tokens(self, frames: torch.Tensor) -> torch.Tensor:
        batch, count = frames.shape[:2]
        centred = frames - frames.mean(dim=(1, 2, 3), keepdim=True)
        even = centred / (centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + 0.05)
        planes, motion = _frame_differences(even)
        maps = nn.functional.silu(self.stem(planes.flatten(0, 1)))
        finer = maps
        for stage in self.stages:
            finer, maps = maps, stage(maps, batch)
        pooled = torch.cat(
            [maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3)), torch.log(motion.flatten(0, 1) + 1e-3)], dim=1
        )
        tokens = self.projection(pooled).reshape(batch, count, -1)
        if self.places is not None:
            tokens = tokens + self.places(maps.unflatten(0, (batch, count)))
        if self.fine_places is not None:
            tokens = tokens + self.fine_places(finer.unflatten(0, (batch, count)))
        for block in self.over_time:
            tokens = block(tokens)
        result: torch.Tensor = tokens
        return result


def _augment(frames: torch.Tensor, mirrored: bool, down: int, right: int) -> torch.Tensor:
    """Frames [B, T, H, W] moved, their rims held, and then mirrored."""
    height, width = frames.shape[-2:]
    rows = (torch.arange(height, device=frames.device) - down).clamp(0, height - 1)
    columns = (torch.arange(width, device=frames.device) - right).clamp(0, width - 1)
    return frames[..., rows[:, None], columns.flip(0) if mirrored else columns]


def _frame_differences(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames [B, T, H, W] with twice their differences from those around, [B, T, 1 + len(NEIGHBOUR_OFFSETS_FRAMES),
    H, W].

    The ends are held. Also the mean size [B, T, 2] of the differences from the frames just before and after. Each
    difference serves the two frames that it lies between: pictures are large, and this is most of what they cost.
    """
    count, earlier_later, sizes = frames.shape[1], [], []
    for lag in sorted({abs(offset) for offset in NEIGHBOUR_OFFSETS_FRAMES}):
        held = torch.cat([frames[:, :1].expand(-1, lag, -1, -1), frames, frames[:, -1:].expand(-1, lag, -1, -1)], dim=1)
        change = held[:, lag:] - held[:, :-lag]
        if lag == 1:
            size = change.abs().mean(dim=(2, 3))
            sizes = [size[:, :count], size[:, 1:]]
        if torch.is_autocast_enabled(frames.device.type):
            # The convolution would do so after they are put together.
            change = change.to(torch.get_autocast_dtype(frames.device.type))
        earlier_later += [(-lag, -2 * change[:, :count]), (lag, 2 * change[:, lag:])]
    differences = [dict(earlier_later)[offset] for offset in NEIGHBOUR_OFFSETS_FRAMES]
    return torch.stack([frames.to(differences[0].dtype), *differences], dim=2), torch.stack(sizes, dim=2)


class _FrameBlock(nn.Module):
    """Halves the size, then lets every place see itself a frame earlier and later."""

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(narrow, wide, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(8, wide)
        self.over_time = nn.Conv2d(3 * wide, wide, 1)

    def forward(self, maps: torch.Tensor, batch: int) -> torch.Tensor:
        maps = nn.functional.silu(self.norm(self.convolution(maps)))
        # One convolution for what a frame says of the next, of itself and of the one before; then each is laid on its
        # frame. Putting three frames together first would cost more than the convolution itself.
        earlier, own, later = self.over_time.weight.chunk(3, dim=1)
        said = nn.functional.conv2d(maps, torch.cat([earlier, own, later]))
        of_earlier, of_own, of_later = said.unflatten(0, (batch, -1)).chunk(3, dim=2)
        beside = of_own + torch.cat([of_earlier[:, :1], of_earlier[:, :-1]], dim=1)
        beside = beside + torch.cat([of_later[:, 1:], of_later[:, -1:]], dim=1)
        assert self.over_time.bias is not None
        result: torch.Tensor = maps + nn.functional.silu(beside.flatten(0, 1) + self.over_time.bias[:, None, None])
        return result


class _SpatialAttentionPool(nn.Module):
    """Every place over time by itself, then a few looks at where it matters.

    It adds nothing at first, so that an encoder may be given it late.
    """

    ATTENTION_QUERIES = 4

    def __init__(self, channels: int, features: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in dilations)
        self.alone = nn.ModuleList(
            nn.Conv1d(channels, channels, 9, dilation=dilation, padding=4 * dilation, groups=channels)
            for dilation in dilations
        )
        self.mixes = nn.ModuleList(nn.Linear(channels, channels) for _ in dilations)
        self.looks = nn.Linear(channels, self.ATTENTION_QUERIES)
        self.out = nn.Linear(self.ATTENTION_QUERIES * channels, features)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """[B, T, features] of maps [B, T, channels, H, W]."""
        batch, count, channels, height, width = maps.shape
        places = maps.permute(0, 3, 4, 1, 2).reshape(batch * height * width, count, channels)
        for norm, alone, mix in zip(self.norms, self.alone, self.mixes, strict=True):
            moved = alone(norm(places).transpose(1, 2)).transpose(1, 2)
            places = places + mix(nn.functional.silu(moved))
        seen = places.reshape(batch, height * width, count, channels).transpose(1, 2)
        weights = self.looks(seen).softmax(dim=2)
        looked_at = torch.einsum("btpl,btpc->btlc", weights.to(seen.dtype), seen)
        result: torch.Tensor = self.out(looked_at.flatten(2))
        return result


class _TimeBlock(nn.Module):
    def __init__(self, features: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.convolution = nn.Conv1d(features, features, 5, dilation=dilation, padding=2 * dilation)
        self.mix = nn.Linear(features, features)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden = self.convolution(self.norm(tokens).transpose(1, 2)).transpose(1, 2)
        result: torch.Tensor = tokens + self.mix(nn.functional.silu(hidden))
        return result
