"""AudioLDM-M as a folder in diffusers layout, in place of the released files of the parts that it holds."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from rewas_engine.conversion.checkpoints import Checkpoint, read_checkpoint
from rewas_engine.conversion.parts import ModuleTensors, diffusers_parts
from rewas_engine.conversion.sizes import ReleasedSizes
from rewas_engine.errors import CheckpointError

_FOLDERS = {"denoiser": "unet", "codec": "vae", "vocoder": "vocoder", "text_encoder": "text_encoder"}
_WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
    "diffusion_pytorch_model.fp16.safetensors",
    "model.fp16.safetensors",
    "diffusion_pytorch_model.fp16.bin",
    "pytorch_model.fp16.bin",
)
"""Under which names diffusers keeps the weights of a part; those of half precision only where there are no others."""
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True)
class DiffusersFolder:
    """A folder that a diffusers pipeline was saved to."""

    path: Path

    def check(self) -> None:
        """Raises CheckpointError where the folder is missing, holds none of the parts, or one without its weights."""
        if not self.path.is_dir():
            raise CheckpointError(self.path, "is not a folder", "an AudioLDM-M folder in diffusers layout", _REMEDY)
        for name in _FOLDERS.values():
            if (self.path / name).exists() and self._weights(name) is None:
                # To take the part from elsewhere, unasked, would make another model than the one that was given.
                remedy = f"Download {name} again, weights in one file, or remove it to take the part from elsewhere."
                expected = f"{_WEIGHTS[0]} or {_WEIGHTS[1]}"
                raise CheckpointError(self.path / name, "holds no weights (--audioldm)", expected, remedy)
        if not self.roles():
            raise CheckpointError(self.path, "holds no part of AudioLDM", " or ".join(_FOLDERS.values()), _REMEDY)

    def roles(self) -> list[str]:
        """The parts that it holds."""
        return [role for role, name in _FOLDERS.items() if self._weights(name) is not None]

    def tensors(self, role: str, sizes: ReleasedSizes, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """The tensors of a part that it holds, which will be stored as dtype. Raises CheckpointError."""
        file = self._weights(_FOLDERS[role])
        assert file is not None, "only asked for what roles() names"
        source = read_checkpoint(file, f"{_FOLDERS[role]} of {self.path.name} (--audioldm)")
        excerpt = _rename_old_attention(source) if role == "codec" else ModuleTensors(source, source.tensors)
        return diffusers_parts()[role].match_tensors(sizes, excerpt, dtype)

    def scaling_factor(self) -> float | None:
        """The factor of its latents, where its VAE says it. Raises CheckpointError where that cannot be read."""
        config = self.path / "vae" / "config.json"
        if not config.is_file():
            return None
        try:
            found = json.loads(config.read_text("utf-8")).get("scaling_factor")
        except (ValueError, AttributeError) as error:
            raise CheckpointError(config, f"cannot be read ({error})", "the configuration of a VAE", _REMEDY) from error
        if found is None:
            return None
        if not isinstance(found, int | float) or isinstance(found, bool) or not 0 < found <= sys.float_info.max:
            raise CheckpointError(config, f"says scaling_factor {found!r}", "one finite number above 0", _REMEDY)
        return float(found)

    def tokenizer(self) -> Path | None:
        """The folder of its tokenizer."""
        folder = self.path / "tokenizer"
        return folder if folder.is_dir() else None

    def _weights(self, name: str) -> Path | None:
        return next((path for file in _WEIGHTS if (path := self.path / name / file).is_file()), None)


def _rename_old_attention(source: Checkpoint) -> ModuleTensors:
    """Tensors of a VAE under the names that diffusers gives its attention today."""
    stored_names: dict[str, str] = {}
    for name in source.tensors:
        stem, _, end = name.rpartition(".")
        before, _, layer = stem.rpartition(".")
        present = f"{before}.{_OLD_ATTENTION[layer]}.{end}" if layer in _OLD_ATTENTION else name
        if present in stored_names:
            raise source.error(f"holds both {stored_names[present]} and {name}", "one of them")
        stored_names[present] = name
    tensors = {present: source.tensors[name] for present, name in stored_names.items()}
    return ModuleTensors(source, tensors, lambda name: stored_names.get(name, name))


_REMEDY = "Give the folder that holds unet, vae, text_encoder, tokenizer and vocoder."
