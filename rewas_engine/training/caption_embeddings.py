"""Sentence embeddings of captions, made once and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from rewas_engine.runtime.atomic_files import save_array_atomic

_PROBE = "Two dogs bark at a passing train, then rain begins to fall on a tin roof."
"""An encoder is known again by what it makes of these words."""
_CAPTIONS_AT_ONCE = 256


def embedded_captions(
    captions: Sequence[str], embed: Callable[[Sequence[str]], torch.Tensor], folder: Path
) -> torch.Tensor:
    """Sentence embeddings [N, D] float32 of N captions, in their order; each caption is read once.

    They are kept in a folder that exists, and taken from there as long as captions and encoder are the same: reading
    20 000 captions takes minutes. A file is written whole or not at all.
    """
    distinct = sorted(set(captions))
    path = folder / f"prompts-{hashlib.sha256(json.dumps(distinct).encode()).hexdigest()[:16]}.npy"
    probe = embed([_PROBE]).cpu()
    rows = torch.from_numpy(np.load(path)) if path.is_file() else None
    if rows is None or rows.shape[1:] != probe.shape[1:] or not torch.allclose(rows[:1], probe, rtol=0, atol=1e-3):
        parts = [embed(distinct[start : start + _CAPTIONS_AT_ONCE]).cpu() for start in _starts(len(distinct))]
        rows = torch.cat([probe, *parts]).float()
        save_array_atomic(path, rows.numpy())
    row_of = {caption: row for row, caption in enumerate(distinct, start=1)}
    return rows[[row_of[caption] for caption in captions]]


def _starts(count: int) -> range:
    return range(0, count, _CAPTIONS_AT_ONCE)
