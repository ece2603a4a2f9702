"""Names of our tensors in the released checkpoints.

Each function converts the name of one of our tensors to its released name, without the prefix of its container.
"""

from __future__ import annotations

import re

_RESIDUAL = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_DENOISER_PREFIXES = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "class_embedding": "film_emb",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_CODEC_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_VIDEO = {
    "patch_embedding": "patch_embed_3d.proj",
    "class_token": "cls_token",
    "place_embedding": "pos_embed",
    "time_embedding": "temp_embed",
    "gathering_token": "spatial_attn_agg.cls_token",
}
_VIDEO_BLOCK = {
    "time_norm": "norm3",
    "over_time.qkv": "timeattn.qkv",
    "over_time.out": "timeattn.proj",
    "space_norm": "norm1",
    "over_space.qkv": "attn.qkv",
    "over_space.out": "attn.proj",
    "mlp_norm": "norm2",
    "mlp.0": "mlp.fc1",
    "mlp.2": "mlp.fc2",
}
_PHI_BLOCK = {"norm1": "norm_1", "norm2": "norm_2", "attention": "attn", "mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2"}


def denoiser_name(name: str, blocks: int, levels: int) -> str:
    """Convert a name of the denoiser.

    The release numbers the blocks of all levels consecutively, each level's resampler after its residual blocks.

    Args:
        name: Our name.
        blocks: Residual blocks per level of the encoder; the decoder has one more.
        levels: Number of levels.
    """
    match = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name)
    if match:
        way, level, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
        row = ("input_blocks", 1 + level * (blocks + 1)) if way == "down" else ("output_blocks", level * (blocks + 1))
        if kind == "downsamplers":
            return f"{row[0]}.{row[1] + blocks}.0.op.{rest.removeprefix('conv.')}"
        if kind == "upsamplers":
            after_attention = 2 if level < levels - 1 else 1
            return f"{row[0]}.{row[1] + blocks}.{after_attention}.{rest}"
        place = f"{row[0]}.{row[1] + index}"
        return f"{place}.0.{_replace_prefix(rest, _RESIDUAL)}" if kind == "resnets" else f"{place}.1.{rest}"
    match = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name)
    if match:
        if match[1] == "attentions":
            return f"middle_block.1.{match[3]}"
        return f"middle_block.{2 * int(match[2])}.{_replace_prefix(match[3], _RESIDUAL)}"
    return _replace_prefix(name, _DENOISER_PREFIXES)


def adapter_name(name: str, blocks: int, levels: int) -> str:
    """Convert a name of the adapter, whose encoder has the names of the denoiser."""
    if name.startswith("encoder."):
        return denoiser_name(name.removeprefix("encoder."), blocks, levels)
    name = re.sub(r"^zero_convs\.(\d+)\.", r"zero_convs.\1.0.", name)
    return _replace_prefix(
        name,
        {
            "hint_linear": "input_hint_block.1",
            "hint_conv": "input_hint_block.4",
            "middle_zero_conv": "middle_block_out.0",
        },
    )


def ema_name(denoiser: str) -> str:
    """Return the name of the EMA of a denoiser tensor: its released name without dots."""
    return "diffusion_model" + denoiser.replace(".", "")


def codec_name(name: str, levels: int) -> str:
    """Convert a name of the VAE. The release counts the decoder's levels from the output."""
    match = re.fullmatch(r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(.+)", name)
    if match:
        half, way, level, rest = match[1], match[2], int(match[3]), match[4]
        level = level if way == "down" else levels - 1 - level
        rest = re.sub(r"^resnets\.", "block.", rest).replace("conv_shortcut", "nin_shortcut")
        rest = re.sub(r"^(down|up)samplers\.0\.", r"\1sample.", rest)
        return f"{half}.{way}.{level}.{rest}"
    match = re.fullmatch(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d)\.(.+)", name)
    if match:
        number = int(match[3]) + 1
        if match[2] == "resnets":
            return f"{match[1]}.mid.block_{number}.{match[4]}"
        return f"{match[1]}.mid.attn_{number}.{_replace_prefix(match[4], _CODEC_ATTENTION)}"
    return name.replace("conv_norm_out", "norm_out")


def vocoder_name(name: str) -> str:
    """Convert a name of HiFi-GAN."""
    return re.sub(r"^upsampler\.", "ups.", name)


def text_name(name: str) -> str:
    """Convert a name of CLAP's text branch."""
    name = re.sub(r"^text_model\.", "text_branch.", name)
    return _replace_prefix(
        name, {"text_projection.linear1": "text_projection.0", "text_projection.linear2": "text_projection.2"}
    )


def video_name(name: str) -> str:
    """Convert a name of Synchformer's visual branch."""
    match = re.fullmatch(r"layers\.(\d+)\.(.+)", name)
    if match:
        return f"blocks.{match[1]}.{_replace_prefix(match[2], _VIDEO_BLOCK)}"
    return re.sub(r"^gathering\.", "spatial_attn_agg.", _replace_prefix(name, _VIDEO))


def phi_name(name: str) -> str:
    """Convert a name of φ."""
    match = re.fullmatch(r"layers\.(\d+)\.(.+)", name)
    if match:
        return f"hint_blocks.blocks.{match[1]}.{_replace_prefix(match[2], _PHI_BLOCK)}"
    return re.sub(r"^narrowing\.", "projection2.", re.sub(r"^projection\.", "projection1.0.", name))


def _replace_prefix(name: str, prefixes: dict[str, str]) -> str:
    """Replace the prefix of a name by the table. A prefix must end at a dot or at the end of the name."""
    for prefix, released in prefixes.items():
        if name == prefix or name.startswith(f"{prefix}."):
            return released + name[len(prefix) :]
    return name
