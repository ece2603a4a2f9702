"""Check whether a pack knows a prompt, so that the editor is told when the sound may be a different one."""

from __future__ import annotations

from functools import cached_property

from rewas_engine.matching.embedding import JointScorer
from rewas_engine.matching.report import Familiarity
from rewas_engine.matching.sound_kinds import MIN_SIMILARITY, SoundKinds

KNOWN_THRESHOLD = 0.70
"""Lowest familiarity of a known prompt. It is stricter than the threshold of the conflict check, which stays silent
about a prompt that it does not know."""
MAX_NEAREST = 3


class FamiliarityCheck:
    """Compares prompts with the phrases that a pack was trained on, and with the kinds of sounds that it lacks.

    A prompt may resemble a known phrase and still mean a different sound: "phone ringing" resembles "a bell ringing".
    So a prompt is unknown if it is nearer to a kind of sound that the pack lacks than to the pack's own phrases.

    Args:
        scorer: Joint space of the pack.
        kinds: The table of sound kinds.
    """

    def __init__(self, scorer: JointScorer, kinds: SoundKinds) -> None:
        self._scorer, self._kinds = scorer, kinds

    def check(self, prompt: str) -> Familiarity:
        """Return how well the pack knows a prompt."""
        _, score = self._scorer.familiarity(prompt)
        matches = self._kinds.nearest_first(prompt)
        lacking = next((match.similarity for match in matches if match.kind.name not in self._own_kinds), -1.0)
        # Of two equal similarities, the table's wins: its phrases name the sound itself.
        is_known = score >= KNOWN_THRESHOLD and score > lacking + 1e-3
        return Familiarity(is_known, round(score, 4), self._nearest_words(prompt))

    def _nearest_words(self, prompt: str) -> tuple[str, ...]:
        scored = self._scorer.similar_words(prompt)
        return tuple(word for word, similarity in scored[:MAX_NEAREST] if similarity >= MIN_SIMILARITY)

    @cached_property
    def _own_kinds(self) -> frozenset[str]:
        """Names of the kinds that the pack has."""
        return frozenset(self._kinds.nearest(word).kind.name for word in self._scorer.known_words)
