"""Choose the recordings of a library that a prompt asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rewas_engine.checks import check_integer, validate_prompt
from rewas_engine.errors import MediaError
from rewas_engine.recordings.index import LibraryIndex
from rewas_engine.recordings.options import MAX_PLACE

KNOWN_SCORE = 0.45
"""Lowest score of a recording that sounds like the prompt."""
COMPANION_MARGIN = 0.08
"""How far the score of a recording may be below the best one for both to be used together."""
LIKE_MARGIN = 0.25
"""How far the score of a recording may be below the best one to be chosen for its sound."""
COMPANION_DISTANCE = 0.5
"""How much further from the reference sound a recording may be than the one that it is used with."""
COMPANION_SIMILARITY, STEADY_COMPANION_SIMILARITY = 0.8, 0.5
"""Lowest cosine similarity of the words of recordings that are used together, and of steady ones. Light and heavy rain
belong together; steps on gravel and on wood do not."""
MAX_RECORDINGS = 64
MAX_NEAREST = 3
_NAME_WEIGHT = 0.3
_SHORTEST_STEM = 4
_ENDINGS = frozenset({"d", "ed", "en", "er", "ers", "es", "ing", "ings", "r", "rs", "s", "y"})
_EMPTY_WORDS = frozenset(
    {"a", "an", "and", "at", "by", "for", "from", "in", "into", "of", "off", "on", "onto", "or", "out", "over"}
    | {"the", "to", "under", "up", "with"}
)

PART_WORDS = re.compile(r"\b(?:with|over|and|amid|against|plus)\b", re.IGNORECASE)
"""Words between the names of two sounds. Words such as “on” belong to one sound: “footsteps on gravel”."""

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
        count: Number of different choices for the prompt if the place is beyond the last one; None otherwise.
    """

    prompt: str
    recordings: tuple[int, ...]
    score: float
    is_known: bool
    nearest: tuple[str, ...]
    count: int | None = None

    @property
    def notice(self) -> str | None:
        """A sentence for the editor if the library has no sound like the prompt."""
        if self.is_known:
            return None
        nearest = ", ".join(f"“{words}”" for words in self.nearest)
        return f"This library has nothing like “{self.prompt}”." + (f" The nearest are {nearest}." if nearest else "")


def choose(
    index: LibraryIndex,
    prompt: str,
    encoder: TextEncoder,
    *,
    place: int = 0,
    distances: NDArray[np.float64] | None = None,
) -> Choice:
    """Choose the recordings whose words are nearest to a prompt, by meaning and by the words themselves.

    Recordings with almost the same words, such as numbered ones, are used together. If the parts of a prompt, such as
    “rain with thunder” or “footsteps over leaves”, name a steady sound and a struck one, both are chosen.

    Args:
        index: Index of the library.
        prompt: Description of the sound.
        encoder: The encoder that the library's words were embedded with.
        place: 0 for the nearest recordings, 1 for the next ones, and so on. The first ones follow the last ones.
        distances: Distance of each recording from a reference sound, as from `sound_distances`. Of the recordings whose
            words fit, the nearest ones are chosen; if no words fit, the nearest ones of all.

    Raises:
        MediaError: The library has no sounds.
        SettingsError: The prompt is empty or too long, or the place is out of range.
    """
    prompt = validate_prompt(prompt)
    check_integer("place", place, 0, MAX_PLACE)
    usable = sorted({event.recording for event in index.events} | {one.recording for one in index.stretches})
    if not usable:
        raise MediaError("The library has no sounds.", "Make it again from a folder of recordings.")
    every_score = _scores(index, prompt, encoder)
    alike, scores = _Alike(index, every_score), every_score[usable]
    ranked = [usable[row] for row in np.argsort(-scores, kind="stable").tolist()]
    score_of = dict(zip(usable, scores.tolist(), strict=True))
    by_words, best = ranked, score_of[ranked[0]]
    if distances is not None:
        ranked = _nearest_first(ranked, score_of, distances)
    companion = _other_part(index, prompt, encoder, usable, ranked[0])
    added = [] if companion is None else alike.companions(companion, np.array(ranked))
    groups: list[list[int]] = []
    others = np.array([one for one in ranked if one not in added], int)
    while others.size and len(groups) <= place:
        leader = int(others[0])
        near = others if distances is None else others[distances[others] <= distances[leader] + COMPANION_DISTANCE]
        groups.append(alike.companions(leader, near))
        others = others[~np.isin(others, groups[-1])]
    chosen = groups[place % len(groups)] + added
    nearest = tuple(dict.fromkeys(index.recordings[one].words for one in by_words if index.recordings[one].words))
    return Choice(
        prompt,
        tuple(chosen),
        round(min(score_of[chosen[0]], 1.0), 4),
        best >= KNOWN_SCORE,
        nearest[:MAX_NEAREST],
        count=len(groups) if place >= len(groups) else None,
    )


def _nearest_first(ranked: Sequence[int], score_of: Mapping[int, float], distances: NDArray[np.float64]) -> list[int]:
    """The recordings whose words fit about as well as the best ones in order of distance, then all others.

    If no words fit, the distance alone decides.
    """
    lowest = max(KNOWN_SCORE, score_of[ranked[0]] - LIKE_MARGIN)
    count = sum(score_of[one] >= lowest for one in ranked) or len(ranked)
    return sorted(ranked[:count], key=lambda one: float(distances[one])) + list(ranked[count:])


def _other_part(
    index: LibraryIndex, prompt: str, encoder: TextEncoder, usable: Sequence[int], leader: int
) -> int | None:
    """The recording for the other part of a prompt that names a struck and a steady sound, if there is one."""
    parts = [part for part in PART_WORDS.split(prompt) if _content_words(part)]
    if len(parts) < 2 or _shares_words(index, parts, leader):
        return None
    for part in parts:
        scores = _scores(index, part, encoder)[usable]
        best = usable[int(scores.argmax())]
        is_other = index.is_mainly_steady(best) != index.is_mainly_steady(leader)
        if is_other and scores.max() >= KNOWN_SCORE and _shares_words(index, [part], best):
            return best
    return None


def _shares_words(index: LibraryIndex, parts: Sequence[str], recording: int) -> bool:
    """Whether a recording has a word in common with each of some parts."""
    words = _content_words(index.recordings[recording].words)
    return all(any(_is_same_word(one, other) for one in _content_words(part) for other in words) for part in parts)


def _scores(index: LibraryIndex, prompt: str, encoder: TextEncoder) -> NDArray[np.float64]:
    """Score of each recording `[recordings]`: the cosine of the embeddings, plus a share for words in common.

    It can be above 1.
    """
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
    return scores


def _content_words(text: str) -> frozenset[str]:
    """The words of a text that carry its meaning, in lower case."""
    return frozenset(re.findall(r"[^\W\d_]+", text.casefold())) - _EMPTY_WORDS


def _is_same_word(one: str, other: str) -> bool:
    """Whether two words differ at most in their endings, such as "door" and "doors", but not "ball" and "balloon"."""
    shorter, longer = sorted((one, other), key=len)
    if shorter == longer:
        return True
    ending = longer.removeprefix(shorter)
    if len(shorter) < _SHORTEST_STEM or ending == longer:
        return False
    # "slam" and "slamming"
    return ending in _ENDINGS or (ending[0] == shorter[-1] and ending[1:] in _ENDINGS)


class _Alike:
    """What recordings have in common, compared for all at once: a library has thousands, and the list can be long."""

    def __init__(self, index: LibraryIndex, scores: NDArray[np.float64]) -> None:
        self._scores, self._embeddings = scores, index.embeddings.astype(np.float32)
        self._is_steady = np.array([index.is_mainly_steady(one) for one in range(len(index.recordings))])
        words = [_content_words(recording.words) for recording in index.recordings]
        numbers = {one: number for number, one in enumerate(dict.fromkeys(words))}
        self._words = np.array([numbers[one] if one else -1 for one in words])

    def companions(self, leader: int, others: NDArray[np.int64]) -> list[int]:
        """The leader and those of other recordings that can be used beside it, in their order."""
        is_steady = self._is_steady == self._is_steady[leader]
        lowest = STEADY_COMPANION_SIMILARITY if self._is_steady[leader] else COMPANION_SIMILARITY
        is_alike = self._embeddings @ self._embeddings[leader] >= lowest
        if self._words[leader] >= 0:
            is_alike |= self._words == self._words[leader]
        fits = is_steady & is_alike & (self._scores >= self._scores[leader] - COMPANION_MARGIN)
        return [leader, *others[fits[others] & (others != leader)].tolist()][:MAX_RECORDINGS]
