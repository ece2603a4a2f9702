"""Sentence embeddings of captions are computed once, and again if captions or encoder change."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rewas_engine.training.caption_embeddings import embed_captions

CAPTIONS = [f"clip {number % 300}" for number in range(1000)]


class Encoder:
    """Embeds a text as its byte counts in a random basis, and records the prompts."""

    def __init__(self, seed: int = 0, width: int = 24) -> None:
        self.directions = torch.randn(256, width, generator=torch.Generator().manual_seed(seed))
        self.read: list[str] = []

    def __call__(self, prompts: Sequence[str]) -> torch.Tensor:
        self.read += prompts
        counts = [np.bincount(np.frombuffer(prompt.encode(), np.uint8), minlength=256) for prompt in prompts]
        return torch.from_numpy(np.array(counts, np.float32)) @ self.directions


def test_every_caption_is_embedded_once_and_in_order(tmp_path: Path) -> None:
    encoder = Encoder()
    rows = embed_captions(CAPTIONS, encoder, tmp_path)
    assert len(encoder.read) == 301  # and the texts that identify the encoder
    torch.testing.assert_close(rows, Encoder()(CAPTIONS))


def test_existing_embeddings_are_reused(tmp_path: Path) -> None:
    first = embed_captions(CAPTIONS, Encoder(), tmp_path)
    encoder = Encoder()
    assert torch.equal(embed_captions(CAPTIONS, encoder, tmp_path), first)
    assert len(encoder.read) == 1
    assert len(list(tmp_path.iterdir())) == 1
    # The same captions in another order, or fewer times, are the same captions.
    assert torch.equal(embed_captions(CAPTIONS[299::-1], encoder, tmp_path), first[:300].flip(0))
    assert len(encoder.read) == 2


def test_another_encoder_or_captions_are_embedded_again(tmp_path: Path) -> None:
    embed_captions(CAPTIONS, Encoder(), tmp_path)
    for other in (Encoder(seed=1), Encoder(width=16)):
        torch.testing.assert_close(embed_captions(CAPTIONS, other, tmp_path), other(CAPTIONS))
    more = [*CAPTIONS, "a new one"]
    torch.testing.assert_close(embed_captions(more, Encoder(), tmp_path), Encoder()(more))
    torch.testing.assert_close(embed_captions(CAPTIONS, Encoder(), tmp_path), Encoder()(CAPTIONS))


def test_a_truncated_file_is_not_read(tmp_path: Path) -> None:
    first = embed_captions(CAPTIONS, Encoder(), tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.rename(tmp_path / f"{path.stem}.99.partial.npy")
    (tmp_path / f"{path.stem}.99.partial.npy").write_bytes(whole[:1000])
    assert torch.equal(embed_captions(CAPTIONS, Encoder(), tmp_path), first)
    assert path.read_bytes() == whole
