"""Embeddings of sound effects: the numbers of the package's own code, and errors."""

import importlib.metadata
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rewas_engine.errors import MediaError, PackError
from rewas_engine.evaluation import sound_embedding
from rewas_engine.evaluation.sound_embedding import (
    EMBEDDING_RATE_HZ,
    EMBEDDING_SIZE,
    EmbeddingNetwork,
    SoundEmbedder,
    find_weights,
    spectrogram,
)

SPECTRA = {
    14: [0.03724, 0.18219, 0.85246, 0.08108, 0.00188, 3e-05, 0.00137, 0.75891],
    49: [0.0, 0.0, 8e-05, 0.04791, 0.22172, 1e-05, 5e-05, 0.03897],
}
"""Every sixth of the first 48 bands of some frames, computed by the package's code with Essentia 2.1."""
EMBEDDINGS = [
    [1.7040, 2.8250, 1.1122, 2.0959, 1.4462, 2.5666, 1.3727, 1.7257],
    [1.3147, 2.3761, 0.6126, 2.4157, 1.3703, 2.5443, 0.7021, 1.0869],
    [0.5521, 2.6015, 0.5539, 2.0306, 1.0234, 2.2455, 0.9566, 1.4201],
]
"""Every 64th value of the embedding of each block, computed by the package's code."""


def is_installed() -> bool:
    try:
        importlib.metadata.distribution("aisfx")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


needs_weights = pytest.mark.skipif(not is_installed(), reason="aisfx is not installed; `make setup` does it")


def falling_tone_with_strikes() -> np.ndarray:
    """A sound of 5.12 s: a rising tone that fades, and six strikes."""
    samples = int(EMBEDDING_RATE_HZ * 5.12)
    times_s = np.arange(samples) / EMBEDDING_RATE_HZ
    sound = 0.4 * np.sin(2 * np.pi * (200 * times_s + 300 * times_s * times_s)) * np.exp(-times_s / 2)
    for number in range(6):
        start = int((0.3 + 0.8 * number) * EMBEDDING_RATE_HZ)
        since_s = np.arange(samples - start) / EMBEDDING_RATE_HZ
        sound[start:] += 0.5 * np.exp(-since_s * 30) * np.sin(2 * np.pi * (2500 + 400 * number) * since_s)
    return sound.astype(np.float32)


def untrained_embedder() -> SoundEmbedder:
    torch.manual_seed(0)
    return SoundEmbedder(EmbeddingNetwork())


def test_the_spectrogram_is_that_of_the_package() -> None:
    found = spectrogram(falling_tone_with_strikes())
    assert found.shape == (222, 96)
    for frame, expected in SPECTRA.items():
        assert found[frame, :48:6] == pytest.approx(expected, abs=2e-5)


@needs_weights
def test_the_embedding_is_that_of_the_package() -> None:
    sound = falling_tone_with_strikes()
    embedder = SoundEmbedder.load()
    blocks = torch.from_numpy(sound_embedding._blocks(spectrogram(sound)))
    with torch.inference_mode():
        assert embedder.network(blocks)[:, ::64].numpy() == pytest.approx(np.array(EMBEDDINGS), abs=1e-3)
    peak = np.abs(sound).max()
    whole = embedder.embed(sound)
    assert whole.shape == (EMBEDDING_SIZE,)
    # The level does not matter, and the mean of the blocks counts.
    assert embedder.embed(sound * 0.01) == pytest.approx(whole, abs=1e-3)
    scaled = torch.from_numpy(sound_embedding._blocks(spectrogram(sound * np.float32(0.5 / peak))))
    with torch.inference_mode():
        assert embedder.network(scaled).mean(dim=0).numpy() == pytest.approx(whole, abs=1e-4)


@needs_weights
def test_like_sounds_are_near_and_others_far() -> None:
    embedder = SoundEmbedder.load()
    rng = np.random.default_rng(0)
    tone = falling_tone_with_strikes()
    embeddings = np.stack(
        [
            embedder.embed(sound.astype(np.float32))
            for sound in (tone, tone + rng.normal(0, 1e-3, tone.size), rng.normal(size=tone.size))
        ]
    )
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = unit @ unit.T
    assert cosines[0, 1] > cosines[0, 2] + 0.05


@pytest.mark.parametrize("samples", [1, 1000, EMBEDDING_RATE_HZ, 3 * EMBEDDING_RATE_HZ])
def test_a_sound_of_any_length_has_an_embedding(samples: int) -> None:
    found = untrained_embedder().embed(falling_tone_with_strikes()[30_000 : 30_000 + samples])
    assert found.shape == (EMBEDDING_SIZE,)
    assert np.isfinite(found).all()


def test_blocks_overlap_by_half_and_an_incomplete_one_is_left_out() -> None:
    frames = np.arange(249, dtype=np.float32)[:, None]
    assert sound_embedding._blocks(frames)[:, [0, -1], 0].tolist() == [[0, 99], [50, 149], [100, 199]]
    assert sound_embedding._blocks(frames[:30])[:, :, 0].tolist() == [[*range(30), *[0] * 70]]


def test_silence_has_an_embedding_but_infinity_has_none() -> None:
    embedder = untrained_embedder()
    assert np.isfinite(embedder.embed(np.zeros(5000, np.float32))).all()
    with pytest.raises(MediaError, match=r"^x\.wav has values that are not finite"):
        embedder.embed(np.array([0, np.inf], np.float32), "x.wav")
    with pytest.raises(MediaError, match=r"is not finite|not finite"):
        embedder.embed(np.array([0, np.nan], np.float32))
    with pytest.raises(MediaError, match="is empty"):
        embedder.embed(np.empty(0, np.float32))


def test_without_the_package_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound_embedding, "PACKAGE", "aisfx-that-nobody-has")
    with pytest.raises(PackError, match=r"is not installed.*pip install --no-deps aisfx==0\.1\.2"):
        find_weights()


def test_other_weights_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    description = tmp_path / "aisfx-0.1.2.dist-info" / "METADATA"
    description.parent.mkdir()
    description.write_text("Metadata-Version: 2.1\nName: aisfx\nVersion: 0.1.2\n", "utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(PackError, match="has no file"):
        SoundEmbedder.load()
    weights = tmp_path / "aisfx" / "models" / "checkpoint.pth"
    weights.parent.mkdir(parents=True)
    torch.save({"weights": torch.zeros(3)}, weights)
    assert find_weights() == weights
    with pytest.raises(PackError, match=r"is not the file of aisfx 0\.1\.2.*force-reinstall"):
        SoundEmbedder.load()
