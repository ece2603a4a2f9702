"""The parts of the released model: where each stands in the checkpoints, and how it is matched, strictly both ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from rewas_engine.conversion import names
from rewas_engine.conversion.checkpoints import Checkpoint
from rewas_engine.conversion.sizes import ReleasedSizes

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Part:
    """One of our modules, and what the release calls its tensors.

    words: what to call it in a sentence. released_name: from our tensor's name to the released one, without prefix.
    leftovers: patterns of released names that are known and have no duty here. constants: values of those tensors
    that the release does not store, by the end of our name.
    """

    role: str
    words: str
    released_name: Callable[[str], str]
    leftovers: tuple[str, ...] = ()
    constants: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = field(default_factory=dict)

    def expected(self, sizes: ReleasedSizes) -> dict[str, torch.Tensor]:
        """Our tensors by name, without memory."""
        return dict(sizes.on_meta(self.role).state_dict())

    def stored(self, sizes: ReleasedSizes) -> dict[str, tuple[int, ...]]:
        """Released names and shapes of all that the part takes from its file."""
        return {
            self.released_name(name): released_shape(self.role, name, tensor)
            for name, tensor in self.expected(sizes).items()
            if self._constant(name) is None
        }

    def matched(self, sizes: ReleasedSizes, bare: Tensors, source: Checkpoint) -> dict[str, torch.Tensor]:
        """The tensors of our module, out of released tensors whose prefix has been taken off.

        source: the file that they come from, for errors. Raises CheckpointError for a tensor that is missing, has
        another shape or no place.
        """
        bare = folded_weight_norm(bare)
        found: dict[str, torch.Tensor] = {}
        missing: list[str] = []
        used: set[str] = set()
        for name, wanted in self.expected(sizes).items():
            released, constant = self.released_name(name), self._constant(name)
            if released in bare:
                used.add(released)
                found[name] = _fitted(bare[released], wanted, released, self, source)
            elif constant is not None:
                found[name] = constant(wanted)
            else:
                missing.append(released)
        unknown = [name for name in bare if name not in used and not self.is_leftover(name)]
        if missing:
            raise source.error(
                f"lacks {len(missing)} of {len(found) + len(missing)} tensors of {self.words}, first {missing[0]}",
                "every one of them",
            )
        if unknown:
            raise source.error(
                f"holds {len(unknown)} tensors that have no place in {self.words}, first {unknown[0]}",
                f"those of {self.words} and no others",
            )
        return found

    def constant_of(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """The value of a tensor of ours that the release does not store."""
        make = self._constant(name)
        if make is None:
            raise KeyError(name)
        return make(like)

    def _constant(self, name: str) -> Callable[[torch.Tensor], torch.Tensor] | None:
        return next((make for end, make in self.constants.items() if name.endswith(end)), None)

    def is_leftover(self, name: str) -> bool:
        return any(re.fullmatch(pattern, name) for pattern in self.leftovers)


def released_shape(role: str, name: str, tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape under which the release stores our tensor: the VAE's attention is made of 1x1 convolutions."""
    shape = tuple(tensor.shape)
    if role == "codec" and ".attentions." in name and len(shape) == 2:
        return (*shape, 1, 1)
    return shape


def folded_weight_norm(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Tensors with each pair of weight_g and weight_v multiplied out: w = g · v / |v| over all axes but the first."""
    folded = {name: tensor for name, tensor in tensors.items() if not name.endswith((".weight_g", ".weight_v"))}
    for name, scale in tensors.items():
        direction = tensors.get(name.removesuffix("_g") + "_v")
        if name.endswith(".weight_g") and direction is not None:
            length = direction.float().flatten(1).norm(dim=1).reshape(scale.shape)
            folded[name.removesuffix("_g")] = scale.float() * direction.float() / length
        elif name.endswith(".weight_g"):
            folded[name] = scale
    unpaired = {
        name: tensor
        for name, tensor in tensors.items()
        if name.endswith(".weight_v") and f"{name.removesuffix('_v')}_g" not in tensors
    }
    return {**folded, **unpaired}


def _fitted(tensor: torch.Tensor, wanted: torch.Tensor, name: str, part: Part, source: Checkpoint) -> torch.Tensor:
    if tensor.dim() == 4 and wanted.dim() == 2 and tensor.shape[2:] == (1, 1):
        tensor = tensor[..., 0, 0]
    if tensor.shape != wanted.shape:
        raise source.error(
            f"holds {name} with shape {list(tensor.shape)}", f"{list(wanted.shape)}, as {part.words} has it"
        )
    if tensor.is_floating_point() != wanted.is_floating_point():
        raise source.error(f"holds {name} as {tensor.dtype}", f"{wanted.dtype}, as {part.words} has it")
    return tensor


def released_parts(sizes: ReleasedSizes) -> dict[str, Part]:
    """Every part with weights, by role, under its released names."""
    blocks, levels, codec_levels = sizes.blocks, len(sizes.widths), len(sizes.codec_widths)
    parts = (
        Part("denoiser", "the denoiser (AudioLDM-M's UNet)", lambda ours: names.denoiser_name(ours, blocks, levels)),
        Part("adapter", "the adapter", lambda ours: names.adapter_name(ours, blocks, levels)),
        Part("codec", "the VAE", lambda ours: names.codec_name(ours, codec_levels), (r"loss\..+",)),
        Part("vocoder", "the vocoder", names.vocoder_name, (), _VOCODER_CONSTANTS),
        Part("text_encoder", "CLAP's text branch", names.text_name, _TEXT_LEFTOVERS, _TEXT_CONSTANTS),
        Part("video_encoder", "Synchformer's visual branch", names.video_name, (r"patch_embed\.proj\.(weight|bias)",)),
        Part("phi", "φ, the energy estimator", names.phi_name),
    )
    return {part.role: part for part in parts}


def diffusers_parts() -> dict[str, Part]:
    """The parts that an AudioLDM-M folder in diffusers layout holds, under the names used there, which are ours."""
    return {
        "denoiser": Part("denoiser", "the denoiser (AudioLDM-M's UNet)", str),
        "codec": Part("codec", "the VAE", str),
        "vocoder": Part("vocoder", "the vocoder", str, (), _VOCODER_CONSTANTS),
        "text_encoder": Part("text_encoder", "CLAP's text branch", str, (), _TEXT_CONSTANTS),
    }


_VOCODER_CONSTANTS = {"mean": lambda like: torch.zeros(like.shape), "scale": lambda like: torch.ones(like.shape)}
_TEXT_CONSTANTS = {
    "position_ids": lambda like: torch.arange(like.shape[1])[None],
    "token_type_ids": lambda like: torch.zeros(like.shape, dtype=torch.int64),
}
_TEXT_LEFTOVERS = (
    r"logit_scale_[at]",
    r"audio_(branch|transform|projection)\..+",
    r"text_transform\..+",
    r"text_branch\.embeddings\.(position_ids|token_type_ids)",
)


def without_prefix(tensors: Tensors, prefix: str) -> dict[str, torch.Tensor]:
    """Those tensors whose names begin with a prefix, under what follows it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
