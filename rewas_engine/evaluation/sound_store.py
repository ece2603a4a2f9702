"""Generated sounds kept on disk, so that an evaluation that was broken off goes on, and two may share the work."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import Controls
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.packs.description import PackDescription
from rewas_engine.runtime.atomic_files import save_array_atomic

_OF_THE_SOUND = ("denoiser", "adapter", "codec", "schedule", "text_encoder", "text_projection")
"""Parts of a pack that decide what is generated, as their files begin."""


@dataclass(frozen=True, eq=False)
class Request:
    """Sounds that are made together: prompts [B], controls [B], seeds [B] and how they are sampled."""

    prompts: Sequence[str]
    controls: Sequence[Controls]
    seeds: Sequence[int]
    settings: SamplingSettings

    def digest(self) -> str:
        """The same for the same request, and for no other."""
        told = json.dumps([list(self.prompts), list(self.seeds), asdict(self.settings)])
        digest = hashlib.sha256(told.encode())
        for one in self.controls:
            for name in one.names:
                digest.update(name.encode() + np.ascontiguousarray(getattr(one, name), np.float32).tobytes())
        return digest.hexdigest()


class MadeSounds:
    """A folder of log-mels by what asked for them: of one pack's sound components on one kind of device."""

    def __init__(self, folder: Path, pack: PackDescription, device: str) -> None:
        # What is not in the files: how long a window is, and how the pack hears.
        rest = [dict(pack.audio), dict(pack.window), device.split(":")[0]]
        files = {name: digest for name, digest in pack.files.items() if name.split("/")[0] in _OF_THE_SOUND}
        key = hashlib.sha256(json.dumps([files, rest], sort_keys=True).encode()).hexdigest()[:16]
        self.folder = folder / key

    @staticmethod
    def order(parts: int) -> list[int]:
        """In which order a process goes through its parts: another for each, so that two seldom make the same."""
        return [int(part) for part in np.random.default_rng(os.getpid()).permutation(parts)]

    def get(self, request: Request, make: Callable[[Request], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Log-mels [B, T, bins] of a request: kept ones, or made now and kept; each file is whole or not there."""
        path = self.folder / f"{request.digest()[:32]}.npy"
        if path.is_file():
            return np.asarray(np.load(path))
        made = make(request)
        self.folder.mkdir(parents=True, exist_ok=True)
        save_array_atomic(path, made)
        return made
