"""Sentence embeddings of captions, computed once and cached on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from rewas_engine.runtime.atomic_files import save_array_atomic

_PROBE = "Two dogs bark at a passing train, then rain begins to fall on a tin roof."
"""Sentence whose embedding identifies an encoder."""
_BATCH_CAPTIONS = 256


def embed_captions(
    captions: Sequence[str], embed: Callable[[Sequence[str]], torch.Tensor], folder: Path
) -> torch.Tensor:
    """Embed captions, each distinct caption once.

    The embeddings are cached on disk for the same captions and encoder, because embedding 20 000 captions takes
    minutes. Files are written atomically.

    Args:
        captions: N captions.
        embed: Maps texts to sentence embeddings.
        folder: Existing folder of the cache.

    Returns:
        [N, D] float32, in the order of the captions.
    """
    distinct = sorted(set(captions))
    path = folder / f"prompts-{hashlib.sha256(json.dumps(distinct).encode()).hexdigest()[:16]}.npy"
    probe = embed([_PROBE]).cpu()
    rows = torch.from_numpy(np.load(path)) if path.is_file() else None
    if rows is None or rows.shape[1:] != probe.shape[1:] or not torch.allclose(rows[:1], probe, rtol=0, atol=1e-3):
        # Captions of similar length share a batch, because an encoder pads to the longest one.
        order = sorted(range(len(distinct)), key=lambda row: len(distinct[row]))
        batches = [
            [distinct[row] for row in order[start : start + _BATCH_CAPTIONS]]
            for start in range(0, len(order), _BATCH_CAPTIONS)
        ]
        embedded = torch.cat([probe, *(embed(batch).cpu() for batch in batches)]).float()
        rows = torch.empty_like(embedded)
        rows[torch.tensor([0, *(row + 1 for row in order)])] = embedded
        save_array_atomic(path, rows.numpy())
    row_of = {caption: row for row, caption in enumerate(distinct, start=1)}
    return rows[[row_of[caption] for caption in captions]]
