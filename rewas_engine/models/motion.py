"""A small video encoder for motion, impacts and flicker, with one token per frame."""

from __future__ import annotations

from itertools import pairwise

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

NEIGHBOUR_OFFSETS_FRAMES = (-2, -1, 1, 2)
"""Neighbouring frames whose differences from the current frame are inputs of the first convolution."""

TEST_TIME_AUGMENTATIONS = ((False, 0, 0), (True, 0, 0), (False, -2, 2), (True, 2, -2))
"""Test-time augmentations: mirrored or not, and the shift in pixels down and to the right.

They do not change the sound, so averaging over them reduces the error.
"""


class MotionEncoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Convolutions over each frame and its changes, then over time.

    Each frame is encoded as brightness and as its differences from the two frames before and after, so that a contact
    appears as a change of motion. Clips are first normalised to the same contrast, because footage is often flat and
    bright. There is one token per frame, at the frame's own time.

    Args:
        widths: Channels of the convolutions over the frame; the first reduces the size by 4, the others by 2.
        features: Width of a token.
        dilations: Dilations of the residual convolutions over time, which reach sum(2·dilation) frames each way.
        place_dilations: Dilations of the convolutions over time at each position of the frame. They run before
            positions are pooled, so that an impact is recognised at its position. Empty for none.
        fine_place_dilations: The same one stage earlier, at twice the resolution.
        looks: Number of TEST_TIME_AUGMENTATIONS that are averaged outside of training.
        residual_motion: Whether the differences from the frames before and after, without the motion of the camera, are
            further inputs. They start without an effect.
    """

    config_name = "config.json"
    NEUTRAL_PARTS = ("residual_stem",)
    """Parts that start without an effect."""

    @register_to_config
    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 96),
        features: int = 128,
        dilations: tuple[int, ...] = (1, 2, 4, 8),
        place_dilations: tuple[int, ...] = (),
        fine_place_dilations: tuple[int, ...] = (),
        looks: int = 1,
        residual_motion: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= looks <= len(TEST_TIME_AUGMENTATIONS):
            raise ValueError(f"{looks} looks are not 1 to {len(TEST_TIME_AUGMENTATIONS)}")
        self.stem = nn.Conv2d(1 + len(NEIGHBOUR_OFFSETS_FRAMES), widths[0], 8, stride=4, padding=2)
        self.residual_stem: nn.Conv2d | None = None
        if residual_motion:
            self.residual_stem = nn.Conv2d(2, widths[0], 8, stride=4, padding=2, bias=False)
            nn.init.zeros_(self.residual_stem.weight)
        self.stages = nn.ModuleList(_FrameBlock(narrow, wide) for narrow, wide in pairwise(widths))
        # The mean measures how much moves, the maximum whether anything does, such as a small ball on a large field.
        self.projection = nn.Linear(2 * widths[-1] + 2, features)
        self.over_time = nn.ModuleList(_TimeBlock(features, dilation) for dilation in dilations)
        self.places = _SpatialAttentionPool(widths[-1], features, place_dilations) if place_dilations else None
        self.fine_places = (
            _SpatialAttentionPool(widths[-2], features, fine_place_dilations)
            if fine_place_dilations and len(widths) > 2
            else None
        )

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Tokens [B, T, features] of brightness frames [B, T, H, W], 0 to 1."""
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
        maps = self.stem(planes.flatten(0, 1))
        if self.residual_stem is not None:
            maps = maps + self.residual_stem(residual_differences(even).flatten(0, 1))
        maps = nn.functional.silu(maps)
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
    """Shift frames [B, T, H, W], repeating the borders, and then mirror them."""
    height, width = frames.shape[-2:]
    rows = (torch.arange(height, device=frames.device) - down).clamp(0, height - 1)
    columns = (torch.arange(width, device=frames.device) - right).clamp(0, width - 1)
    return frames[..., rows[:, None], columns.flip(0) if mirrored else columns]


def _frame_differences(frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack frames with twice their differences from their neighbours.

    Each difference serves the two frames on either side of it, because frames are large and this is most of the cost.
    The first and last frames are repeated.

    Args:
        frames: [B, T, H, W].

    Returns:
        The stack [B, T, 1 + len(NEIGHBOUR_OFFSETS_FRAMES), H, W], and the mean size [B, T, 2] of the differences from
        the frames just before and after.
    """
    count, earlier_later, sizes = frames.shape[1], [], []
    for lag in sorted({abs(offset) for offset in NEIGHBOUR_OFFSETS_FRAMES}):
        padded = torch.cat(
            [frames[:, :1].expand(-1, lag, -1, -1), frames, frames[:, -1:].expand(-1, lag, -1, -1)], dim=1
        )
        change = padded[:, lag:] - padded[:, :-lag]
        if lag == 1:
            size = change.abs().mean(dim=(2, 3))
            sizes = [size[:, :count], size[:, 1:]]
        if torch.is_autocast_enabled(frames.device.type):
            # The convolution would cast anyway; casting before the stack saves memory.
            change = change.to(torch.get_autocast_dtype(frames.device.type))
        earlier_later += [(-lag, -2 * change[:, :count]), (lag, 2 * change[:, lag:])]
    differences = [dict(earlier_later)[offset] for offset in NEIGHBOUR_OFFSETS_FRAMES]
    return torch.stack([frames.to(differences[0].dtype), *differences], dim=2), torch.stack(sizes, dim=2)


MAX_CAMERA_PIXELS = 8
"""Largest motion of the camera from frame to frame that is compensated."""


@torch.no_grad()
def camera_shifts(frames: torch.Tensor) -> torch.Tensor:
    """Motion of the camera [B, T - 1, 2] between neighbouring frames [B, T, H, W], in pixels down and to the right.

    Phase correlation (Kuglin and Hines 1975), to whole pixels. A part that moves does not disturb it, because it counts
    every frequency of the whole frame alike.
    """
    height, width = frames.shape[-2:]
    if frames.shape[1] < 2:  # A Fourier transform of nothing is an error.
        return torch.zeros((len(frames), 0, 2), dtype=torch.long, device=frames.device)
    window = torch.hann_window(height, device=frames.device)[:, None] * torch.hann_window(width, device=frames.device)
    spectra = torch.fft.rfft2((frames.float() - frames.float().mean(dim=(2, 3), keepdim=True)) * window)
    product = spectra[:, 1:] * spectra[:, :-1].conj()
    peaks = torch.fft.irfft2(product / (product.abs() + 1e-6), s=(height, width))
    reach = min(MAX_CAMERA_PIXELS, height // 2 - 1, width // 2 - 1)
    near = torch.roll(peaks, (reach, reach), dims=(2, 3))[..., : 2 * reach + 1, : 2 * reach + 1]
    place = near.flatten(2).argmax(dim=2)
    side = 2 * reach + 1
    return torch.stack([place // side - reach, place % side - reach], dim=2)


@torch.no_grad()
def residual_differences(frames: torch.Tensor) -> torch.Tensor:
    """Twice the differences [B, T, 2, H, W] of frames [B, T, H, W] from the frames before and after, each moved by the
    motion of the camera. The first and last frames have no difference on their outer side.
    """
    shifts = camera_shifts(frames)
    before = frames[:, 1:] - _move(frames[:, :-1], shifts)
    after = frames[:, :-1] - _move(frames[:, 1:], -shifts)
    nothing = torch.zeros_like(frames[:, :1])
    return 2 * torch.stack([torch.cat([nothing, before], dim=1), torch.cat([after, nothing], dim=1)], dim=2)


def _move(frames: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Move frames [B, T, H, W] by [B, T, 2] pixels down and to the right, repeating the borders."""
    height, width = frames.shape[-2:]
    rows = (torch.arange(height, device=frames.device) - shifts[..., :1]).clamp(0, height - 1)
    columns = (torch.arange(width, device=frames.device) - shifts[..., 1:]).clamp(0, width - 1)
    moved = frames.gather(2, rows[..., None].expand(-1, -1, -1, width))
    return moved.gather(3, columns[:, :, None].expand(-1, -1, height, -1))


class _FrameBlock(nn.Module):
    """Halve the size, then mix every position with itself one frame earlier and later."""

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(narrow, wide, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(8, wide)
        self.over_time = nn.Conv2d(3 * wide, wide, 1)

    def forward(self, maps: torch.Tensor, batch: int) -> torch.Tensor:
        maps = nn.functional.silu(self.norm(self.convolution(maps)))
        # One convolution computes the contributions to the next, the same and the previous frame, which are then
        # shifted and added. Stacking three frames first would cost more than the convolution.
        earlier, own, later = self.over_time.weight.chunk(3, dim=1)
        contributions = nn.functional.conv2d(maps, torch.cat([earlier, own, later]))
        from_earlier, from_own, from_later = contributions.unflatten(0, (batch, -1)).chunk(3, dim=2)
        mixed = from_own + torch.cat([from_earlier[:, :1], from_earlier[:, :-1]], dim=1)
        mixed = mixed + torch.cat([from_later[:, 1:], from_later[:, -1:]], dim=1)
        assert self.over_time.bias is not None
        result: torch.Tensor = maps + nn.functional.silu(mixed.flatten(0, 1) + self.over_time.bias[:, None, None])
        return result


class _SpatialAttentionPool(nn.Module):
    """Convolutions over time at each position, then attention over positions.

    Its output starts at zero, so that it can be added to a trained encoder.
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
        """Features [B, T, features] of maps [B, T, channels, H, W]."""
        batch, count, channels, height, width = maps.shape
        places = maps.permute(0, 3, 4, 1, 2).reshape(batch * height * width, count, channels)
        for norm, alone, mix in zip(self.norms, self.alone, self.mixes, strict=True):
            moved = alone(norm(places).transpose(1, 2)).transpose(1, 2)
            places = places + mix(nn.functional.silu(moved))
        tokens = places.reshape(batch, height * width, count, channels).transpose(1, 2)
        weights = self.looks(tokens).softmax(dim=2)
        pooled = torch.einsum("btpl,btpc->btlc", weights.to(tokens.dtype), tokens)
        result: torch.Tensor = self.out(pooled.flatten(2))
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
