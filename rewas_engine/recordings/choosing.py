"""Choose the recordings of a library that a prompt asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.checks import check_integer, validate_prompt
from rewas_engine.errors import MediaError
from rewas_engine.recordings.index import LibraryIndex

KNOWN_SCORE = 0.45
"""Lowest score of a recording that sounds like the prompt."""
COMPANION_MARGIN = 0.08
"""How far the score of a recording may be below the best one for both to be used together."""
COMPANION_SIMILARITY, STEADY_COMPANION_SIMILARITY = 0.8, 0.5
"""Lowest cosine similarity of the words of recordings that are used together, and of steady ones. Light and heavy rain
belong together; steps on gravel and on wood do not."""
MAX_RECORDINGS = 64
MAX_NEAREST = 3
MAX_PLACE = 10**6
_NAME_WEIGHT = 0.3
_SHORTEST_STEM = 4
_EMPTY_WORDS = frozenset(
    {"a", "an", "and", "at", "by", "for", "from", "in", "into", "of", "off", "on", "onto", "or", "out", "over"}
    | {"the", "to", "under", "up", "with"}
)

TextEncoder = Callable[[Sequence[str]], torch.Tensor]
"""Function from texts to embeddings [N, D], such as a `SentenceEncoder`."""


@dataclass(frozen=True)
class Choice:
    """The recordings for a prompt.

    Attributes:
        prompt: The prompt.
        recordings: Indices of the recordings, the most similar first.
        score: Similarity of the first one, from -1 to 1.
        is_known: Whether the library has a sound like the prompt.
        nearest: Words of the nearest recordings in the library, the most similar first.
    """

    prompt: str
    recordings: tuple[int, ...]
    score: float
    is_known: bool
    nearest: tuple[str, ...]

    @property
    def notice(self) -> str | None:
        """A sentence for the editor if the library has no sound like the prompt."""
        if self.is_known:
            return None
        nearest = ", ".join(f"“{words}”" for words in self.nearest)
        return f"This library has nothing like “{self.prompt}”." + (f" The nearest are {nearest}." if nearest else "")


def choose(index: LibraryIndex, prompt: str, encoder: TextEncoder, *, place: int = 0) -> Choice:
    """Choose the recordings whose words are nearest to a prompt, by meaning and by the words themselves.

    Recordings with almost the same words, such as numbered ones, are used together.

    Args:
        index: Index of the library.
        prompt: Description of the sound.
        encoder: The encoder that the library's words were embedded with.
        place: 0 for the nearest recordings, 1 for the next ones, and so on. The first ones follow the last ones.

    Raises:
        MediaError: The library has no sounds.
        SettingsError: The prompt is empty or too long, or the place is out of range.
    """
    prompt = validate_prompt(prompt)
    check_integer("place", place, 0, MAX_PLACE)
    usable = sorted({event.recording for event in index.events} | {one.recording for one in index.stretches})
    if not usable:
        raise MediaError("The library has no sounds.", "Make it again from a folder of recordings.")
    scores = _scores(index, prompt, encoder)[usable]
    ranked = [usable[row] for row in np.argsort(-scores, kind="stable").tolist()]
    score_of = dict(zip(usable, scores.tolist(), strict=True))
    groups: list[list[int]] = []
    taken: set[int] = set()
    for leader in ranked:
        if leader in taken:
            continue
        groups.append(_companions(index, leader, [one for one in ranked if one not in taken], score_of))
        taken.update(groups[-1])
        if len(groups) > place:
            break
    chosen = groups[place % len(groups)]
    nearest = tuple(dict.fromkeys(index.recordings[one].words for one in ranked if index.recordings[one].words))
    return Choice(
        prompt,
        tuple(chosen),
        round(score_of[chosen[0]], 4),
        score_of[ranked[0]] >= KNOWN_SCORE,
        nearest[:MAX_NEAREST],
    )


def _scores(index: LibraryIndex, prompt: str, encoder: TextEncoder) -> NDArray[np.float64]:
    """Similarity of each recording `[recordings]`: the cosine of the embeddings, plus a share for words in common."""
    scores = np.zeros(len(index.recordings))
    if index.embeddings.any():
        embedded = encoder([prompt])[0].detach().cpu().numpy().astype(np.float64)
        scores += index.embeddings.astype(np.float64) @ (embedded / np.linalg.norm(embedded))
    asked = _content_words(prompt)
    for row, recording in enumerate(index.recordings):
        words = _content_words(recording.words)
        if asked and words:
            shared = sum(any(_is_same_word(one, other) for other in words) for one in asked) / len(asked)
            # Without embeddings, only common words count.
            scores[row] += shared * (_NAME_WEIGHT if index.embeddings[row].any() else 1.0)
    return np.minimum(scores, 1.0)


def _content_words(text: str) -> frozenset[str]:
    """The words of a text that carry its meaning, in lower case."""
    return frozenset(re.findall(r"[^\W\d_]+", text.casefold())) - _EMPTY_WORDS


def _is_same_word(one: str, other: str) -> bool:
    """Whether two words differ at most in their endings, such as "door" and "doors"."""
    shorter, longer = sorted((one, other), key=len)
    return shorter == longer or (len(shorter) >= _SHORTEST_STEM and longer.startswith(shorter))


def _companions(index: LibraryIndex, leader: int, others: Sequence[int], score_of: dict[int, float]) -> list[int]:
    """The leader and the recordings that can be used beside it, the most similar first."""
    steady = {stretch.recording for stretch in index.stretches}
    lowest = STEADY_COMPANION_SIMILARITY if leader in steady else COMPANION_SIMILARITY
    embeddings = index.embeddings.astype(np.float32)
    own, words = embeddings[leader], _content_words(index.recordings[leader].words)
    found = [leader]
    for other in others:
        if other == leader or (other in steady) != (leader in steady):
            continue
        if score_of[other] < score_of[leader] - COMPANION_MARGIN:
            continue
        same_words = bool(words) and _content_words(index.recordings[other].words) == words
        if same_words or float(embeddings[other] @ own) >= lowest:
            found.append(other)
    return found[:MAX_RECORDINGS]
