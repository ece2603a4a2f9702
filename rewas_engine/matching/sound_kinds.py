"""Kinds of sounds: what the words of a prompt say about the energy of its sound, whatever the pack."""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from safetensors import safe_open

if TYPE_CHECKING:
    from rewas_engine.models.text import SentenceEncoder

Character = Literal["steady", "struck", "varied"]
"""How the energy of a sound behaves: it lasts (rain), it has separate attacks (a hammer), or it rises and falls
(voices, animals, instruments)."""
MIN_SIMILARITY = 0.4
"""Below this cosine, a prompt has nothing to do with the nearest phrase."""
_TABLE = Path(__file__).resolve().parents[1] / "data" / "labels" / "sound_kinds.toml"
_EMBEDDINGS = _TABLE.with_suffix(".safetensors")


@dataclass(frozen=True)
class SoundKind:
    """A kind of sound, such as "rain": its name, which can serve as a prompt, and the character of its energy."""

    name: str
    character: Character


@dataclass(frozen=True)
class KindMatch:
    """The kind nearest to a prompt, and the cosine of their sentence embeddings, -1 to 1."""

    kind: SoundKind
    similarity: float


class SoundKinds:
    """The table of sound kinds, with the sentence embeddings of its phrases.

    Args:
        encoder: Sentence encoder for prompts. None loads the one that the table was embedded with, on first use.
    """

    def __init__(self, encoder: SentenceEncoder | None = None) -> None:
        self._given_encoder = encoder
        self._embedded: LRUCache[str, NDArray[np.float32]] = LRUCache(maxsize=512)

    def nearest(self, prompt: str) -> KindMatch:
        """Return the kind nearest to a prompt."""
        return self.nearest_first(prompt)[0]

    def nearest_first(self, prompt: str) -> list[KindMatch]:
        """Return all kinds, the nearest to a prompt first."""
        cosines = table_embeddings() @ self._embed(prompt)
        matches: dict[str, KindMatch] = {}
        for place in np.argsort(-cosines, kind="stable").tolist():
            kind = _phrases()[place][1]
            matches.setdefault(kind.name, KindMatch(kind, float(cosines[place])))
        return list(matches.values())

    def character(self, prompt: str) -> Character:
        """Return the character of a prompt's sound; "varied" if the table has nothing like it."""
        match = self.nearest(prompt)
        return match.kind.character if match.similarity >= MIN_SIMILARITY else "varied"

    def _embed(self, prompt: str) -> NDArray[np.float32]:
        if prompt not in self._embedded:
            self._embedded[prompt] = embed_phrases(self._encoder, [prompt])[0]
        embedded: NDArray[np.float32] = self._embedded[prompt]
        return embedded

    @functools.cached_property
    def _encoder(self) -> SentenceEncoder:
        from rewas_engine.models.text import SentenceEncoder  # torch, which the table itself does not need

        return self._given_encoder or SentenceEncoder.default()


def embed_phrases(encoder: Any, phrases: Sequence[str]) -> NDArray[np.float32]:
    """Unit sentence embeddings [N, D] of phrases."""
    batches = [encoder(list(phrases[first : first + 64])).cpu().numpy() for first in range(0, len(phrases), 64)]
    embedded = np.concatenate(batches).astype(np.float32)
    return np.asarray(embedded / np.linalg.norm(embedded, axis=1, keepdims=True), np.float32)


def table_phrases() -> tuple[str, ...]:
    """Return the phrases of the table in its order; the name of each kind counts as its first phrase."""
    return tuple(phrase for phrase, _ in _phrases())


def kind_of_phrase(phrase: str) -> SoundKind | None:
    """Return the kind that a phrase of the table belongs to; None for other texts. Case does not matter.

    This needs no sentence encoder.
    """
    return _kinds_by_phrase().get(" ".join(phrase.lower().split()))


@functools.cache
def _kinds_by_phrase() -> dict[str, SoundKind]:
    return {phrase.lower(): kind for phrase, kind in reversed(_phrases())}


@functools.cache
def table_embeddings() -> NDArray[np.float32]:
    """Unit sentence embeddings [N, D] of the phrases.

    They are stored because embedding them takes seconds. `scripts/measure/embed_sound_kinds.py` writes them.
    """
    with safe_open(_EMBEDDINGS, framework="numpy") as stored:
        if (stored.metadata() or {}).get("table") != table_digest():
            raise RuntimeError(f"{_EMBEDDINGS.name} does not belong to {_TABLE.name}: run embed_sound_kinds.py.")
        return np.asarray(stored.get_tensor("embeddings"), np.float32)


def table_digest() -> str:
    """SHA-256 of the phrases, which the stored embeddings carry."""
    return hashlib.sha256("\n".join(table_phrases()).encode()).hexdigest()


def embeddings_path() -> Path:
    """Path of the stored embeddings."""
    return _EMBEDDINGS


@functools.cache
def _phrases() -> tuple[tuple[str, SoundKind], ...]:
    characters: dict[Character, dict[str, list[str]]] = tomllib.loads(_TABLE.read_text("utf-8"))  # type: ignore[assignment]
    return tuple(
        (phrase, SoundKind(name, character))
        for character, kinds in characters.items()
        for name, further in kinds.items()
        for phrase in (name, *further)
    )
