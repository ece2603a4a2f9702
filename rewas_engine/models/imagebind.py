"""ImageBind (Girdhar et al. 2023): its encoders of images and sounds, which share one space."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

_EPSILON = 1e-6


@dataclass(frozen=True)
class TowerConfig:
    """Size of one encoder.

    Attributes:
        width, blocks, heads: Size of the transformer.
        patch: Width and height of a patch.
        stride: Distance of neighbouring patches.
        size: Height and width of the input.
    """

    width: int
    blocks: int
    heads: int
    patch: int
    stride: int
    size: tuple[int, int]

    @property
    def places(self) -> int:
        """Number of patches."""
        down, right = ((length - self.patch) // self.stride + 1 for length in self.size)
        return down * right


@dataclass(frozen=True)
class ImageBindConfig:
    """Sizes of the published model, ImageBind-Huge.

    Attributes:
        vision: Of images, 3 x 224 x 224.
        audio: Of log-mels, 128 bins x 204 frames.
        joint_width: Width of the space.
    """

    vision: TowerConfig = field(default_factory=lambda: TowerConfig(1280, 32, 16, 14, 14, (224, 224)))
    audio: TowerConfig = field(default_factory=lambda: TowerConfig(768, 12, 12, 16, 10, (128, 204)))
    joint_width: int = 1024


class ImageBind(nn.Module):
    """The two encoders. The tensors have the published names.

    The published file also contains encoders of text, depth, heat and motion, which are not used; see `LEFTOVERS`.
    """

    def __init__(self, config: ImageBindConfig) -> None:
        super().__init__()
        self.config = config
        vision, audio = config.vision, config.audio
        self.modality_preprocessors = nn.ModuleDict({"vision": _ImageStem(vision), "audio": _SoundStem(audio)})
        self.modality_trunks = nn.ModuleDict(
            {
                "vision": _Trunk(vision, normalises_input=True, has_extra_token=False),
                "audio": _Trunk(audio, normalises_input=False, has_extra_token=True),
            }
        )
        self.modality_heads = nn.ModuleDict(
            {
                "vision": _head(vision.width, config.joint_width),
                "audio": _head(audio.width, config.joint_width),
            }
        )

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, D] of images [B, 3, H, W], normalised as for CLIP."""
        return self._encode("vision", images)

    def encode_log_mels(self, log_mels: torch.Tensor) -> torch.Tensor:
        """Unit vectors [B, D] of normalised log-mels [B, bins, T]."""
        return self._encode("audio", log_mels[:, None])

    def _encode(self, modality: str, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.modality_trunks[modality](self.modality_preprocessors[modality](inputs))
        return functional.normalize(self.modality_heads[modality](hidden[:, 0]).float(), dim=-1)


LEFTOVERS = (
    *(
        f"modality_{part}.{modality}."
        for part in ("preprocessors", "trunks", "heads", "postprocessors")
        for modality in ("text", "depth", "thermal", "imu")
    ),
    # Factors of cosines.
    "modality_postprocessors.audio.",
    "modality_postprocessors.vision.",
)
"""Beginnings of the names of published tensors that are not used."""


class _Positions(nn.Module):
    def __init__(self, tower: TowerConfig) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + tower.places, tower.width))


class _ImageStem(nn.Module):
    """Patches of an image, which is read as a video of two equal frames."""

    def __init__(self, tower: TowerConfig) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, tower.width))
        size, stride = (2, tower.patch, tower.patch), (2, tower.stride, tower.stride)
        # In the published model, the first element of this list repeats the frame.
        patches = nn.Sequential(nn.Identity(), nn.Conv3d(3, tower.width, size, stride=stride, bias=False))
        self.rgbt_stem = nn.ModuleDict({"proj": patches})
        self.pos_embedding_helper = _Positions(tower)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.rgbt_stem["proj"](images[:, :, None].expand(-1, -1, 2, -1, -1))
        return _with_class_token(self.cls_token, patches.flatten(2).transpose(1, 2), self.pos_embedding_helper)


class _SoundStem(nn.Module):
    """Patches of a log-mel, which overlap and are normalised."""

    def __init__(self, tower: TowerConfig) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, tower.width))
        patches = nn.Conv2d(1, tower.width, tower.patch, stride=tower.stride, bias=False)
        self.rgbt_stem = nn.ModuleDict({"proj": patches, "norm_layer": nn.LayerNorm(tower.width)})
        self.pos_embedding_helper = _Positions(tower)

    def forward(self, log_mels: torch.Tensor) -> torch.Tensor:
        patches = self.rgbt_stem["norm_layer"](self.rgbt_stem["proj"](log_mels).flatten(2).transpose(1, 2))
        return _with_class_token(self.cls_token, patches, self.pos_embedding_helper)


def _with_class_token(token: torch.Tensor, patches: torch.Tensor, positions: _Positions) -> torch.Tensor:
    joined = torch.cat([token.expand(len(patches), -1, -1), patches], dim=1)
    placed: torch.Tensor = joined + positions.pos_embed
    return placed


class _Trunk(nn.Module):
    def __init__(self, tower: TowerConfig, *, normalises_input: bool, has_extra_token: bool) -> None:
        super().__init__()
        first = nn.LayerNorm(tower.width, eps=_EPSILON) if normalises_input else nn.Identity()
        self.pre_transformer_layer = nn.Sequential(first)
        self.blocks = nn.ModuleList(_Block(tower.width, tower.heads, has_extra_token) for _ in range(tower.blocks))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.pre_transformer_layer(tokens)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, has_extra_token: bool) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width, eps=_EPSILON), nn.LayerNorm(width, eps=_EPSILON)
        self.attn = nn.MultiheadAttention(width, heads, add_bias_kv=has_extra_token, batch_first=True)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        normal = self.norm_1(hidden)
        hidden = hidden + self.attn(normal, normal, normal, need_weights=False)[0]
        mixed: torch.Tensor = self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm_2(hidden))))
        return hidden + mixed


def _head(width: int, joint_width: int) -> nn.Sequential:
    # In the published model, the second element selects the class token.
    return nn.Sequential(nn.LayerNorm(width, eps=_EPSILON), nn.Identity(), nn.Linear(width, joint_width, bias=False))
