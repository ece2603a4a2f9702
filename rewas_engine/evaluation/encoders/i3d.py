"""I3D (Carreira and Zisserman 2017), a classifier of the actions of Kinetics, whose scores FVD and KVD compare."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from rewas_engine.curves.energy import FloatArray
from rewas_engine.media.video_format import VideoFormat
from rewas_engine.packs.model_folders import display_name, folder_sha256, load_module, read_config

SIDE = 224
FRAMES_PER_S = 25
MIN_FRAMES = 9
"""A shorter video would have too few frames for the last pooling. Its last frame is repeated."""
WINDOW_FRAMES = 256
"""Longer videos are read in windows, to limit the memory."""
_EPSILON = 1e-3

MIXED: dict[str, tuple[int, tuple[int, int, int, int, int, int]]] = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}
"""Inputs and branch widths of the mixed blocks, in their order."""


class I3dNetwork(nn.Module):
    """RGB videos [B, 3, T, H, W] from -1 to 1, T at least 9, to class scores [B, C], averaged over time.

    The tensors have the names of the published PyTorch weights.

    Args:
        classes: Number of classes.
        narrowing: Divides all widths; 1 for the published network.
    """

    def __init__(self, classes: int = 400, narrowing: int = 1) -> None:
        super().__init__()

        def width(channels: int) -> int:
            return channels // narrowing

        self.Conv3d_1a_7x7 = _Unit(3, width(64), 7, stride=2)
        self.Conv3d_2b_1x1 = _Unit(width(64), width(64), 1)
        self.Conv3d_2c_3x3 = _Unit(width(64), width(192), 3)
        for name, (inputs, branches) in MIXED.items():
            setattr(self, name, _Mixed(width(inputs), [width(branch) for branch in branches]))
        self.logits = nn.ModuleDict({"conv3d": nn.Conv3d(width(1024), classes, 1)})

    def forward(self, videos: torch.Tensor) -> torch.Tensor:
        maps = _pool(self.Conv3d_1a_7x7(videos), (1, 3, 3), (1, 2, 2))
        maps = _pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(maps)), (1, 3, 3), (1, 2, 2))
        for name in MIXED:
            if name == "Mixed_4b":
                maps = _pool(maps, (3, 3, 3), (2, 2, 2))
            elif name == "Mixed_5b":
                maps = _pool(maps, (2, 2, 2), (2, 2, 2))
            maps = getattr(self, name)(maps)
        maps = functional.avg_pool3d(maps, (2, *maps.shape[-2:]), stride=1)
        scores: torch.Tensor = self.logits["conv3d"](maps)
        return scores.mean(dim=(2, 3, 4))


class I3dEncoder:
    """I3D from a folder with model.safetensors and config.json."""

    is_stand_in = False

    def __init__(self, folder: Path, device: str) -> None:
        config = read_config(folder)
        self.name = display_name("I3D", folder)
        self._folder, self._device = folder, device
        given = {name: int(config[name]) for name in ("classes", "narrowing") if name in config}
        self._network = load_module(folder, lambda: I3dNetwork(**given), device)
        side = int(config.get("side", SIDE))
        self.video_format = VideoFormat(Fraction(config.get("frames_per_s", FRAMES_PER_S)), side, side)

    @cached_property
    def content_sha256(self) -> str:
        """SHA-256 of the folder."""
        return folder_sha256(self._folder)

    @torch.inference_mode()
    def describe_video(self, frames: NDArray[np.uint8]) -> FloatArray:
        """Class scores [C] of RGB frames [T, side, side, 3], averaged over time."""
        windows = np.array_split(frames, -(-len(frames) // WINDOW_FRAMES))
        scores = torch.stack([self._scores(window) for window in windows])
        weights = torch.tensor([float(len(window)) for window in windows], device=scores.device)
        return np.asarray(((scores * weights[:, None]).sum(dim=0) / weights.sum()).cpu().numpy(), np.float32)

    def _scores(self, frames: NDArray[np.uint8]) -> torch.Tensor:
        missing = max(0, MIN_FRAMES - len(frames))
        whole = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)]) if missing else frames
        videos = torch.from_numpy(np.ascontiguousarray(whole)).to(self._device).permute(3, 0, 1, 2)[None]
        scores: torch.Tensor = self._network(videos.float() / 127.5 - 1)[0]
        return scores


class _Unit(nn.Module):
    """Convolution, batch normalisation and ReLU, padded as TensorFlow does."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, size, stride=stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=_EPSILON)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        size, stride = self.conv3d.kernel_size, self.conv3d.stride
        return functional.relu(self.bn(self.conv3d(_pad(maps, size, stride))))


class _Mixed(nn.Module):
    """Four branches over the same input: 1x1, two of 1x1 and 3x3, and pooling with 1x1."""

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.b0 = _Unit(inputs, widths[0], 1)
        self.b1a, self.b1b = _Unit(inputs, widths[1], 1), _Unit(widths[1], widths[2], 3)
        self.b2a, self.b2b = _Unit(inputs, widths[3], 1), _Unit(widths[3], widths[4], 3)
        self.b3b = _Unit(inputs, widths[5], 1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        pooled = _pool(maps, (3, 3, 3), (1, 1, 1))
        branches = (self.b0(maps), self.b1b(self.b1a(maps)), self.b2b(self.b2a(maps)), self.b3b(pooled))
        return torch.cat(branches, dim=1)


def _pool(maps: torch.Tensor, size: Sequence[int], stride: Sequence[int]) -> torch.Tensor:
    # All inputs are at least 0, so that zeros of the padding are never a maximum that TensorFlow would not find.
    return functional.max_pool3d(_pad(maps, size, stride), tuple(size), tuple(stride))


def _pad(maps: torch.Tensor, size: Sequence[int], stride: Sequence[int]) -> torch.Tensor:
    """Pad so that a size n becomes ceil(n / stride), with the odd value at the end."""
    padding: list[int] = []
    for length, extent, step in reversed(list(zip(maps.shape[2:], size, stride, strict=True))):
        total = max(0, (-(-length // step) - 1) * step + extent - length)
        padding += [total // 2, total - total // 2]
    return functional.pad(maps, padding) if any(padding) else maps
