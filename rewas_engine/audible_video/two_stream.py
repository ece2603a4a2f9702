"""The denoiser with two streams: one UNet for the picture, one for the sound, joined between encoder and decoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin

from rewas_engine.audible_video.alignment import Alignment
from rewas_engine.audible_video.inflation import inflate, widen
from rewas_engine.audible_video.interaction import Interaction


@dataclass(frozen=True, eq=False)
class TwoStreamOutput:
    """What the denoiser predicts.

    Attributes:
        picture: [B, T, C, H, W], in the unit of the schedule's prediction.
        sound: [B, C', T', F'], likewise.
        picture_tokens: [B, N, D], features of the picture before the streams are joined.
        sound_tokens: [B, M, D'], features of the sound before the streams are joined.
    """

    picture: torch.Tensor
    sound: torch.Tensor
    picture_tokens: torch.Tensor
    sound_tokens: torch.Tensor


class TwoStreamDenoiser(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """TAVDiffusion's denoiser.

    Args:
        picture: Configuration of the picture's UNet2DConditionModel, before inflation.
        sound: Configuration of the sound's.
        frames: Frames of a clip.
        heads: Heads of the attention over time and between the streams.
        interacts: Whether the streams attend to each other. Without it, they share only sentence and schedule.
    """

    config_name = "config.json"
    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        picture: Mapping[str, Any],
        sound: Mapping[str, Any],
        frames: int = 20,
        heads: int = 8,
        interacts: bool = True,
    ) -> None:
        super().__init__()
        self.picture_unet = inflate(UNet2DConditionModel.from_config(dict(picture)), frames, heads)
        self.sound_unet = UNet2DConditionModel.from_config(dict(sound))
        seen, heard = (int(unet.config.block_out_channels[-1]) for unet in (self.picture_unet, self.sound_unet))
        self.interaction = Interaction(seen, heard, heads) if interacts else None
        self.alignment = Alignment(seen, heard)

    @classmethod
    def from_unet(cls, unet: UNet2DConditionModel, frames: int, sound_channels: int) -> TwoStreamDenoiser:
        """Start both streams from the weights of one UNet for pictures, such as Stable Diffusion's."""
        weights = unet.state_dict()
        picture_config = _plain_config(unet)
        sound_unet = UNet2DConditionModel.from_config(picture_config)
        sound_unet.load_state_dict(weights, strict=True)
        widen(sound_unet, sound_channels)
        model = cls(picture_config, _plain_config(sound_unet), frames)
        model.sound_unet.load_state_dict(sound_unet.state_dict(), strict=True)
        own = dict(model.picture_unet.named_parameters())
        with torch.no_grad():
            for name, tensor in weights.items():
                own[_inflated_name(name, own)].copy_(tensor)
        return model

    def forward(
        self,
        picture: torch.Tensor,
        sound: torch.Tensor,
        timestep: torch.Tensor,
        text: torch.Tensor,
        sound_timestep: torch.Tensor | None = None,
    ) -> TwoStreamOutput:
        """Predict for noisy latents.

        Args:
            picture: [B, T, C, H, W].
            sound: [B, C', T', F'].
            timestep: [B] or scalar, shared by both streams.
            text: [B, L, D], tokens of the sentence.
            sound_timestep: [B] or scalar, time step of the sound if it is not the same.
        """
        clips, frames = picture.shape[:2]
        steps = timestep.expand(clips)
        sound_steps = steps if sound_timestep is None else sound_timestep.expand(clips)
        seen = _encode(
            self.picture_unet,
            picture.flatten(0, 1),
            steps.repeat_interleave(frames),
            text.repeat_interleave(frames, dim=0),
        )
        heard = _encode(self.sound_unet, sound, sound_steps, text)
        _, width, height, across = seen.features.shape
        picture_tokens = seen.features.unflatten(0, (clips, frames)).permute(0, 1, 3, 4, 2).reshape(clips, -1, width)
        rows, columns = heard.features.shape[2:]
        sound_tokens = heard.features.flatten(2).transpose(1, 2)
        read_picture, read_sound = picture_tokens, sound_tokens
        if self.interaction is not None:
            read_picture, read_sound = self.interaction(
                picture_tokens,
                _middles(frames, picture.device).repeat_interleave(height * across),
                sound_tokens,
                _middles(rows, sound.device).repeat_interleave(columns),
            )
        picture_features = read_picture.reshape(clips * frames, height, across, width).permute(0, 3, 1, 2)
        sound_features = read_sound.transpose(1, 2).reshape(heard.features.shape)
        return TwoStreamOutput(
            _decode(self.picture_unet, seen, picture_features).unflatten(0, (clips, frames)),
            _decode(self.sound_unet, heard, sound_features),
            picture_tokens,
            sound_tokens,
        )


@dataclass(frozen=True, eq=False)
class _Encoded:
    """A UNet's state after its encoder: features [B, C, H, W], skipped features, time embedding and text."""

    features: torch.Tensor
    skipped: tuple[torch.Tensor, ...]
    time: torch.Tensor
    text: torch.Tensor


def _encode(unet: Any, sample: torch.Tensor, timestep: torch.Tensor, text: torch.Tensor) -> _Encoded:
    """Run the first half of UNet2DConditionModel.forward, up to its middle block."""
    time = unet.time_embedding(unet.get_time_embed(sample=sample, timestep=timestep))
    features = unet.conv_in(sample)
    skipped: tuple[torch.Tensor, ...] = (features,)
    for block in unet.down_blocks:
        options = {"encoder_hidden_states": text} if getattr(block, "has_cross_attention", False) else {}
        features, further = block(hidden_states=features, temb=time, **options)
        skipped += further
    features = unet.mid_block(features, time, encoder_hidden_states=text)
    return _Encoded(features, skipped, time, text)


def _decode(unet: Any, encoded: _Encoded, features: torch.Tensor) -> torch.Tensor:
    """Run the second half of UNet2DConditionModel.forward. Sizes may be odd, as 40 x 5 latents are on some levels."""
    skipped = encoded.skipped
    for block in unet.up_blocks:
        count = len(block.resnets)
        skipped, own = skipped[:-count], skipped[-count:]
        options: dict[str, Any] = {}
        if getattr(block, "has_cross_attention", False):
            options["encoder_hidden_states"] = encoded.text
        if skipped:
            options["upsample_size"] = skipped[-1].shape[2:]
        features = block(hidden_states=features, temb=encoded.time, res_hidden_states_tuple=own, **options)
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(features)))


def _middles(count: int, device: torch.device) -> torch.Tensor:
    """Middles [count] of equal parts of a clip, from 0 to 1."""
    return (torch.arange(count, device=device) + 0.5) / count


def _plain_config(unet: UNet2DConditionModel) -> dict[str, Any]:
    """Configuration without the names that start with an underscore, which belong to diffusers."""
    return {name: value for name, value in unet.config.items() if not name.startswith("_")}


def _inflated_name(name: str, known: Mapping[str, Any]) -> str:
    """Name of a UNet's tensor after inflation: some of the modules on the way now lie in `spatial`."""
    prefix, parts = "", name.split(".")
    for part in parts:
        nested = f"{prefix}spatial."
        if not any(other.startswith(f"{prefix}{part}.") or other == prefix + part for other in known):
            prefix = nested
        prefix += f"{part}."
    return prefix[:-1]
