"""The parts of the released model, and strict matching of their tensors: none may be missing or left over."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from rewas_engine.conversion import names
from rewas_engine.conversion.checkpoints import DOWNLOAD_AGAIN, Checkpoint
from rewas_engine.conversion.sizes import ReleasedSizes

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class ModuleTensors:
    """The tensors of one part of a file, under released names without the container's prefix.

    Args:
        source: The file.
        tensors: Tensors by name.
        name_in_file: Function from a released name to the full name in the file, for errors.
        unexpected_names: Names in the file outside the container.
    """

    source: Checkpoint
    tensors: Tensors
    name_in_file: Callable[[str], str] = str
    unexpected_names: Sequence[str] = ()

    @classmethod
    def from_prefix(cls, prefix: str, source: Checkpoint) -> ModuleTensors:
        """Select the tensors whose names begin with a prefix."""
        return cls(source, strip_prefix(source.tensors, prefix), lambda name: prefix + name)


@dataclass(frozen=True)
class Part:
    """One network, and the released names of its tensors.

    Args:
        role: Role in the pack.
        title: Its name in sentences.
        released_name: Function from our name of a tensor to the released one, without prefix.
        ignored_patterns: Patterns of released names that are known and not needed.
        constants: Ending of our name -> function that creates a tensor that the release does not store.
    """

    role: str
    title: str
    released_name: Callable[[str], str]
    ignored_patterns: tuple[str, ...] = ()
    constants: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = field(default_factory=dict)

    def expected_tensors(self, sizes: ReleasedSizes) -> dict[str, torch.Tensor]:
        """Return our tensors by name, without memory."""
        return dict(_expected_tensors(self.role, sizes))

    def released_shapes(self, sizes: ReleasedSizes) -> dict[str, tuple[int, ...]]:
        """Return released names and shapes of all tensors that the part takes from its file."""
        return {
            self.released_name(name): released_shape(self.role, name, tensor)
            for name, tensor in self.expected_tensors(sizes).items()
            if self._constant_factory(name) is None
        }

    def match_tensors(
        self, sizes: ReleasedSizes, excerpt: ModuleTensors, dtype: torch.dtype = torch.float32
    ) -> dict[str, torch.Tensor]:
        """Match the released tensors of a file to those of our network.

        Raises CheckpointError for a tensor that is missing, unknown, has another shape, or has values that are not
        finite in the file or as `dtype`, the precision of the pack.
        """
        source, bare = excerpt.source, self._fold_weight_norms(sizes, excerpt)
        found: dict[str, torch.Tensor] = {}
        missing: list[str] = []
        used: set[str] = set()
        for name, wanted in self.expected_tensors(sizes).items():
            released, constant = self.released_name(name), self._constant_factory(name)
            if released in bare:
                used.add(released)
                found[name] = _fit_shape(bare[released], wanted, excerpt.name_in_file(released), self, source)
                _check_values(found[name], dtype, excerpt.name_in_file(released), source)
            elif constant is not None:
                found[name] = constant(wanted)
            else:
                missing.append(excerpt.name_in_file(released))
        unknown = [excerpt.name_in_file(name) for name in bare if name not in used and not self.is_ignored(name)]
        unknown += excerpt.unexpected_names
        if missing:
            raise source.error(
                f"lacks {len(missing)} of {len(found) + len(missing)} tensors of {self.title}, first {missing[0]}",
                "all of them",
            )
        if unknown:
            raise source.error(
                f"holds {_count_phrase(unknown)} no place in {self.title}, first {unknown[0]}",
                f"the tensors of {self.title} and no others",
            )
        return found

    def constant_value(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """Return the value of a tensor that the release does not store."""
        make = self._constant_factory(name)
        if make is None:
            raise KeyError(name)
        return make(like)

    def _constant_factory(self, name: str) -> Callable[[torch.Tensor], torch.Tensor] | None:
        return next((make for end, make in self.constants.items() if name.endswith(end)), None)

    def _fold_weight_norms(self, sizes: ReleasedSizes, excerpt: ModuleTensors) -> Tensors:
        """Return the tensors, with each pair weight_g and weight_v of the part combined into one weight."""
        stored, source = self.released_shapes(sizes), excerpt.source
        pairs: dict[str, torch.Tensor] = {}
        for name, tensor in excerpt.tensors.items():
            whole = name.removesuffix("_g").removesuffix("_v")
            if whole == name or not whole.endswith(".weight") or whole not in stored:
                continue
            if whole in excerpt.tensors:
                raise source.error(
                    f"holds both {excerpt.name_in_file(whole)} and {excerpt.name_in_file(name)}", "one of them"
                )
            shape = stored[whole]
            wanted = shape if name.endswith("_v") else (shape[0], *[1] * (len(shape) - 1))
            pairs[name] = _fit_shape(
                tensor, torch.empty(wanted, device="meta"), excerpt.name_in_file(name), self, source
            )
            _check_values(tensor, torch.float32, excerpt.name_in_file(name), source)
        folded = fold_weight_norm(pairs)
        for name, tensor in folded.items():
            if name not in pairs and not torch.isfinite(tensor).all():
                given = f"{excerpt.name_in_file(name)}_g and {excerpt.name_in_file(name)}_v"
                raise source.error(f"holds {given}, whose product is not finite", "finite values", DOWNLOAD_AGAIN)
        return {**{name: tensor for name, tensor in excerpt.tensors.items() if name not in pairs}, **folded}

    def is_ignored(self, name: str) -> bool:
        return any(re.fullmatch(pattern, name) for pattern in self.ignored_patterns)


@functools.cache
def _expected_tensors(role: str, sizes: ReleasedSizes) -> Mapping[str, torch.Tensor]:
    return dict(sizes.build_on_meta(role).state_dict())


def released_shape(role: str, name: str, tensor: torch.Tensor) -> tuple[int, ...]:
    """Return the shape of our tensor in the release, where the VAE's attention consists of 1x1 convolutions."""
    shape = tuple(tensor.shape)
    if role == "codec" and ".attentions." in name and len(shape) == 2:
        return (*shape, 1, 1)
    return shape


def fold_weight_norm(tensors: Tensors) -> dict[str, torch.Tensor]:
    """Combine each pair weight_g and weight_v into w = g · v / |v|, with the norm over all axes but the first."""
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


def _count_phrase(names: Sequence[str]) -> str:
    return "1 tensor that has" if len(names) == 1 else f"{len(names)} tensors that have"


def _fit_shape(tensor: torch.Tensor, wanted: torch.Tensor, name: str, part: Part, source: Checkpoint) -> torch.Tensor:
    if tensor.dim() == 4 and wanted.dim() == 2 and tensor.shape[2:] == (1, 1):
        tensor = tensor[..., 0, 0]
    if tensor.shape != wanted.shape:
        raise source.error(f"holds {name} with shape {list(tensor.shape)}", f"{list(wanted.shape)}, as in {part.title}")
    whole_numbers = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    if not (tensor.is_floating_point() if wanted.is_floating_point() else whole_numbers):
        raise source.error(f"holds {name} as {tensor.dtype}", f"{wanted.dtype}, as in {part.title}")
    return tensor


def _check_values(tensor: torch.Tensor, dtype: torch.dtype, name: str, source: Checkpoint) -> None:
    if not tensor.is_floating_point():
        return
    # The extremes are NaN if any value is, and unlike a mask they take no memory. Few operations support narrow floats.
    extremes = torch.stack((tensor if tensor.dtype.itemsize >= 4 else tensor.float()).aminmax())
    if not torch.isfinite(extremes).all():
        raise source.error(f"holds values in {name} that are not finite", "finite values", DOWNLOAD_AGAIN)
    if not torch.isfinite(extremes.to(dtype)).all():
        largest, kind = float(extremes.abs().max()), str(dtype).removeprefix("torch.")
        raise source.error(
            f"holds values in {name} up to {largest:.4g}, more than {kind} can hold",
            f"no more than {torch.finfo(dtype).max:.4g}",
            None if dtype == torch.float32 else "Choose the precision fp32.",
        )


def released_parts(sizes: ReleasedSizes) -> dict[str, Part]:
    """Return all parts that have weights, by role, with their released names."""
    blocks, levels, codec_levels = sizes.blocks, len(sizes.widths), len(sizes.codec_widths)
    parts = (
        Part("denoiser", "the denoiser (AudioLDM-M's UNet)", lambda name: names.denoiser_name(name, blocks, levels)),
        Part("adapter", "the adapter", lambda name: names.adapter_name(name, blocks, levels)),
        Part("codec", "the VAE", lambda name: names.codec_name(name, codec_levels), (r"loss\..+",)),
        Part("vocoder", "the vocoder", names.vocoder_name, (), _VOCODER_CONSTANTS),
        Part("text_encoder", "CLAP's text branch", names.text_name, _TEXT_IGNORED_PATTERNS, _TEXT_CONSTANTS),
        Part("video_encoder", "Synchformer's visual branch", names.video_name, (r"patch_embed\.proj\.(weight|bias)",)),
        Part("phi", "φ, the energy estimator", names.phi_name),
    )
    return {part.role: part for part in parts}


def diffusers_parts() -> dict[str, Part]:
    """Return the parts of an AudioLDM-M folder in diffusers layout, which uses our names."""
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
_TEXT_IGNORED_PATTERNS = (
    r"logit_scale_[at]",
    r"audio_(branch|transform|projection)\..+",
    r"text_transform\..+",
    r"text_branch\.embeddings\.(position_ids|token_type_ids)",
)


def strip_prefix(tensors: Tensors, prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with a prefix, under the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
