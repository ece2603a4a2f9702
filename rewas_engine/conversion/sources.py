"""The released files: which part each one contains, and errors for swapped files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rewas_engine.conversion.checkpoints import Checkpoint, read_checkpoint
from rewas_engine.conversion.names import ema_name
from rewas_engine.conversion.parts import ModuleTensors, Part, strip_prefix
from rewas_engine.conversion.sizes import ReleasedSizes, released_schedule
from rewas_engine.errors import CheckpointError


@dataclass(frozen=True)
class SourceKind:
    """A kind of released file.

    Args:
        option: Command-line option that takes the file.
        title: Name in messages.
        file_name: Name in the official release.
        matches: Function that recognises the file by its tensor names.
    """

    option: str
    title: str
    file_name: str
    matches: Callable[[Iterable[str]], bool]

    @property
    def label(self) -> str:
        """The file's name in errors."""
        return f"{self.title} ({self.option})"


def _name_matcher(pattern: str) -> Callable[[Iterable[str]], bool]:
    return lambda names: any(re.match(pattern, name) for name in names)


SOURCE_KINDS = {
    "rewas": SourceKind(
        "--rewas-ckpt", "the ReWaS checkpoint", "audioldm_m_rewas_vggsound.ckpt", _name_matcher(r"control_model\.")
    ),
    "synchformer": SourceKind(
        "--synchformer",
        "the Synchformer checkpoint",
        "24-01-04T16-39-21.pt",
        _name_matcher(r"(module\.)?vfeat_extractor\."),
    ),
    "phi": SourceKind(
        "--phi", "the φ checkpoint", "phi_vggsound.ckpt", _name_matcher(r"(module\.)?hint_blocks\.blocks\.")
    ),
    "clap": SourceKind(
        "--clap",
        "the CLAP checkpoint",
        "clap_music_speech_audioset_epoch_15_esc_89.98.pt",
        _name_matcher(r"(module\.)?(model\.)?(text_branch|audio_branch)\."),
    ),
    "vae": SourceKind(
        "--vae", "the VAE checkpoint", "vae_mel_16k_64bins.ckpt", _name_matcher(r"(quant_conv|encoder\.down)\.")
    ),
    "vocoder": SourceKind(
        "--vocoder",
        "the vocoder checkpoint",
        "hifigan_16k_64bins.ckpt",
        _name_matcher(r"(_orig_mod\.|module\.)?conv_pre\."),
    ),
}
_WRAPPER_PREFIXES = {
    "synchformer": ("module.",),
    "phi": ("module.",),
    "clap": ("module.", "model."),
    "vocoder": ("_orig_mod.", "module."),
}
"""Prefixes that training code adds to every name; removed if most names have them."""
_SYNCHFORMER_IGNORED_PATTERNS = r"(afeat_extractor|vproj|aproj|transformer)\..+"
_REWAS_IGNORED_PATTERNS = (
    r"logvar|betas|scale_factor|alphas_cumprod(_prev)?|posterior_(variance|log_variance_clipped|mean_coef[12])|"
    r"sqrt_(one_minus_)?alphas_cumprod|log_one_minus_alphas_cumprod|sqrt_recip(m1)?_alphas_cumprod|"
    r"model_ema\.(decay|num_updates)|cond_stage_models\.0\.mel_transform\..+"
)


def read_source(kind: str, path: Path) -> Checkpoint:
    """Read a checkpoint of a kind. Raises CheckpointError if it is unreadable or of another kind."""
    wanted = SOURCE_KINDS[kind]
    checkpoint = read_checkpoint(path, wanted.label)
    if wanted.matches(checkpoint.tensors):
        return checkpoint
    other = next((found for found in SOURCE_KINDS.values() if found.matches(checkpoint.tensors)), None)
    if other is not None:
        remedy = f"Use {other.option} for this file, and {wanted.option} for {wanted.file_name}."
        raise checkpoint.error(f"is {other.title}", wanted.title, remedy)
    raise checkpoint.error(
        f"holds {len(checkpoint.tensors)} tensors of another model, first {next(iter(checkpoint.tensors))}",
        wanted.title,
        f"Use {wanted.option} for the released file {wanted.file_name}.",
    )


def read_part(
    part: Part, kind: str, checkpoint: Checkpoint, sizes: ReleasedSizes, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Read the tensors of a part from its own file, checked for storage as `dtype`. Raises CheckpointError."""
    excerpt = _unwrap(checkpoint, _WRAPPER_PREFIXES.get(kind, ()))
    if kind == "synchformer":
        known = rf"vfeat_extractor\..+|{_SYNCHFORMER_IGNORED_PATTERNS}"
        unexpected = [excerpt.name_in_file(name) for name in excerpt.tensors if not re.fullmatch(known, name)]
        unexpected += excerpt.unexpected_names
        if unexpected:
            raise checkpoint.error(f"holds {unexpected[0]}", "only the parts of Synchformer")
        excerpt = ModuleTensors.from_prefix(excerpt.name_in_file("vfeat_extractor."), checkpoint)
    return part.match_tensors(sizes, excerpt, dtype)


def _unwrap(checkpoint: Checkpoint, wrappers: Sequence[str]) -> ModuleTensors:
    """Remove the prefixes of training code from tensor names.

    Names without the prefix become `unexpected_names`, which make the conversion fail.
    """
    tensors, before = checkpoint.tensors, ""
    for wrapper in wrappers:
        wrapped = strip_prefix(tensors, wrapper)
        if 2 * len(wrapped) > len(tensors):
            tensors, before = wrapped, before + wrapper
    outside = [name for name in checkpoint.tensors if not name.startswith(before)]
    return ModuleTensors(checkpoint, tensors, lambda name: before + name, outside)


@dataclass(frozen=True)
class RewasCheckpoint:
    """The checkpoint of ReWaS, split into parts.

    Args:
        source: The file.
        parts_by_role: Copies of each part, the preferred one first: for the denoiser the EMA, as in the release.
        scale_factor: Scaling factor of latents; None if it is not stored.
    """

    source: Checkpoint
    parts_by_role: Mapping[str, tuple[ModuleTensors, ...]]
    scale_factor: float | None


def read_rewas(path: Path, parts: Mapping[str, Part], sizes: ReleasedSizes) -> RewasCheckpoint:
    """Read the checkpoint of ReWaS and split it into the parts that it contains.

    Raises CheckpointError if a tensor belongs to no part, or if the noise schedule is not that of the release.
    """
    source = read_source("rewas", path)
    tensors = source.tensors
    first_stage = ModuleTensors.from_prefix("first_stage_model.", source)
    codec = {name: tensor for name, tensor in first_stage.tensors.items() if not name.startswith("vocoder.")}
    parts_by_role = {
        "adapter": (ModuleTensors.from_prefix("control_model.", source),),
        "denoiser": (
            _ema_tensors(parts["denoiser"], sizes, source),
            ModuleTensors.from_prefix("model.diffusion_model.", source),
        ),
        "codec": (replace(first_stage, tensors=codec),),
        "vocoder": (ModuleTensors.from_prefix("first_stage_model.vocoder.", source),),
        "text_encoder": (ModuleTensors.from_prefix("cond_stage_models.0.model.", source),),
    }
    known = (
        r"(control_model|model\.diffusion_model|model_ema|first_stage_model|cond_stage_models\.0\.model)\..+|"
        + _REWAS_IGNORED_PATTERNS
    )
    unexpected = [name for name in tensors if not re.fullmatch(known, name)]
    if unexpected:
        raise source.error(
            f"holds {len(unexpected)} tensors that belong to no part, first {unexpected[0]}", "no such tensors"
        )
    _check_schedule(source)
    held = {
        role: tuple(copy for copy in copies if not all(map(parts[role].is_ignored, copy.tensors)))
        for role, copies in parts_by_role.items()
    }
    return RewasCheckpoint(source, held, _scale_factor(source))


def _ema_tensors(part: Part, sizes: ReleasedSizes, source: Checkpoint) -> ModuleTensors:
    """Return the EMA tensors under the released names of the denoiser."""
    found = strip_prefix(source.tensors, "model_ema.")
    found = {name: tensor for name, tensor in found.items() if name not in ("decay", "num_updates")}
    dotted = {ema_name(released): released for released in part.released_shapes(sizes)}
    unexpected = [name for name in found if name not in dotted]
    if unexpected:
        raise source.error(
            f"holds model_ema.{unexpected[0]}, the average of an unknown tensor", "averages of the denoiser only"
        )
    averages = {dotted[name]: tensor for name, tensor in found.items()}
    return ModuleTensors(source, averages, lambda name: f"model_ema.{ema_name(name)}")


def _check_schedule(source: Checkpoint) -> None:
    betas, wanted = _read_floats("betas", source), released_schedule().betas
    # Testing that all are close makes NaN fail.
    if betas is None or (betas.shape == wanted.shape and bool(((betas - wanted).abs() <= 1e-6).all())):
        return
    shown = f"{float(betas.flatten()[0]):.4g} to {float(betas.flatten()[-1]):.4g}" if betas.numel() else "empty"
    raise source.error(
        f"has another noise schedule ({betas.numel()} betas, {shown})",
        f"1000 betas, {float(wanted[0]):.4g} to {float(wanted[-1]):.4g}",
    )


def _scale_factor(source: Checkpoint) -> float | None:
    """Return the scaling factor of latents; None if it is not stored."""
    factor = _read_floats("scale_factor", source)
    if factor is None:
        return None
    if factor.numel() != 1 or not 0 < factor.item() < math.inf:
        shown = f"{factor.item():.4g}" if factor.numel() == 1 else f"{factor.numel()} numbers"
        raise source.error(f"has the scale_factor {shown}", "one finite number above 0")
    return factor.item()


def _read_floats(name: str, source: Checkpoint) -> torch.Tensor | None:
    """Read a setting that is stored next to the weights, as float64; None if it is missing."""
    numbers = source.tensors.get(name)
    if numbers is None:
        return None
    if numbers.is_complex() or numbers.dtype == torch.bool:
        raise source.error(f"holds {name} as {numbers.dtype}", "real numbers")
    return numbers.double()


def missing_file_error(kind: str) -> CheckpointError:
    """Return the error for a required file that was not given."""
    wanted = SOURCE_KINDS[kind]
    return CheckpointError(
        Path(wanted.file_name),
        "was not given, and no other given file contains its part",
        wanted.label,
        f"Add it with {wanted.option}.",
    )
