"""Sounds of an evaluation on disk, so that an interrupted evaluation can continue and parallel ones share the work."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.controls import Controls
from rewas_engine.generation.sampling_settings import SamplingSettings
from rewas_engine.packs.description import PackDescription
from rewas_engine.runtime.atomic_files import save_array_atomic

_SOUND_COMPONENTS = ("denoiser", "adapter", "codec", "schedule", "text_encoder", "text_projection")
"""Components of a model pack that determine the generated log-mels."""


@dataclass(frozen=True, eq=False)
class Request:
    """Request for sounds that are generated in one batch: prompts [B], controls [B], seeds [B] and settings."""

    prompts: Sequence[str]
    controls: Sequence[Controls]
    seeds: Sequence[int]
    settings: SamplingSettings

    def digest(self) -> str:
        """Return a hash of the request."""
        content = json.dumps([list(self.prompts), list(self.seeds), asdict(self.settings)])
        digest = hashlib.sha256(content.encode())
        for one in self.controls:
            for name in one.names:
                digest.update(name.encode() + np.ascontiguousarray(getattr(one, name), np.float32).tobytes())
        return digest.hexdigest()


class SoundStore:
    """A folder with the sounds of each request, for one pack on one kind of device."""

    def __init__(self, folder: Path, pack: PackDescription, device: str) -> None:
        # Window length and audio format matter too, but are not in these files.
        rest = [dict(pack.audio), dict(pack.window), device.split(":")[0]]
        content: Any = pack.info.content_sha256
        if not pack.info.is_library:
            content = {name: digest for name, digest in pack.files.items() if name.split("/")[0] in _SOUND_COMPONENTS}
        key = hashlib.sha256(json.dumps([content, rest], sort_keys=True).encode()).hexdigest()[:16]
        self.folder = folder / key

    @staticmethod
    def order(parts: int) -> list[int]:
        """Draw a random order in which a process visits its parts, so that parallel processes rarely collide."""
        return [int(part) for part in np.random.default_rng(os.getpid()).permutation(parts)]

    def get(self, request: Request, generate: Callable[[Request], NDArray[np.float32]]) -> NDArray[np.float32]:
        """Load the array [B, ...] of a request, or make and store it. Files are written atomically."""
        path = self.folder / f"{request.digest()[:32]}.npy"
        if path.is_file():
            return np.asarray(np.load(path))
        made = generate(request)
        self.folder.mkdir(parents=True, exist_ok=True)
        save_array_atomic(path, made)
        return made
