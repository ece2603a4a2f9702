"""AudioLDM-M in diffusers layout. Parts in such a folder replace those of the released files."""

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
"""File names that diffusers uses for weights, in order of preference: half precision comes last."""
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True)
class DiffusersFolder:
    """A folder that a diffusers pipeline was saved to."""

    path: Path

    def check(self) -> None:
        """Raise CheckpointError if the folder is missing, holds no part, or holds a part without weights."""
        if not self.path.is_dir():
            raise CheckpointError(self.path, "is not a folder", "an AudioLDM-M folder in diffusers layout", _REMEDY)
        for name in _FOLDERS.values():
            if (self.path / name).exists() and self._weights(name) is None:
                # Silently taking the part from another file would build a different model.
                remedy = f"Download {name} again with its weights in one file, or remove it to use the released file."
                expected = f"{_WEIGHTS[0]} or {_WEIGHTS[1]}"
                raise CheckpointError(self.path / name, "holds no weights (--audioldm)", expected, remedy)
        if not self.roles():
            raise CheckpointError(self.path, "holds no part of AudioLDM", " or ".join(_FOLDERS.values()), _REMEDY)

    def roles(self) -> list[str]:
        """Return the roles of the parts in the folder."""
        return [role for role, name in _FOLDERS.items() if self._weights(name) is not None]

    def tensors(self, role: str, sizes: ReleasedSizes, dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """Read the tensors of a part, checked for storage as `dtype`. Raises CheckpointError."""
        file = self._weights(_FOLDERS[role])
        assert file is not None, "the role must be one of roles()"
        source = read_checkpoint(file, f"{_FOLDERS[role]} of {self.path.name} (--audioldm)")
        excerpt = _rename_old_attention(source) if role == "codec" else ModuleTensors(source, source.tensors)
        return diffusers_parts()[role].match_tensors(sizes, excerpt, dtype)

    def scaling_factor(self) -> float | None:
        """Read the scaling factor from the VAE's config; None if absent. Raises CheckpointError if it is unreadable."""
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
            raise CheckpointError(config, f"has the scaling_factor {found!r}", "one finite number above 0", _REMEDY)
        return float(found)

    def tokenizer(self) -> Path | None:
        """Return the folder of the tokenizer, or None."""
        folder = self.path / "tokenizer"
        return folder if folder.is_dir() else None

    def _weights(self, name: str) -> Path | None:
        return next((path for file in _WEIGHTS if (path := self.path / name / file).is_file()), None)


def _rename_old_attention(source: Checkpoint) -> ModuleTensors:
    """Rename the attention layers of an old VAE to their current diffusers names."""
    stored_names: dict[str, str] = {}
    for name in source.tensors:
        stem, _, end = name.rpartition(".")
        before, _, layer = stem.rpartition(".")
        current = f"{before}.{_OLD_ATTENTION[layer]}.{end}" if layer in _OLD_ATTENTION else name
        if current in stored_names:
            raise source.error(f"holds both {stored_names[current]} and {name}", "one of them")
        stored_names[current] = name
    tensors = {current: source.tensors[name] for current, name in stored_names.items()}
    return ModuleTensors(source, tensors, lambda name: stored_names.get(name, name))


_REMEDY = "Choose the folder that contains unet, vae, text_encoder, tokenizer and vocoder."
