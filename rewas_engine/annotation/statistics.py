"""Figures of an annotated set of clips: those of table 1 of the TAVGBench paper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from rewas_engine.annotation.sentences import count_words, split_sentences


@dataclass(frozen=True)
class Statistics:
    """Size of a set of clips and of their descriptions.

    Attributes:
        clips: Number of clips with a description.
        hours: Their length.
        sentences: Mean number of sentences per clip; 0 without clips.
        words: Mean number of words per clip; 0 without clips.
    """

    clips: int
    hours: float
    sentences: float
    words: float

    @classmethod
    def of(cls, described: Iterable[tuple[Fraction, str]]) -> Statistics:
        """Count clips, given as duration in seconds and description."""
        rows = [(duration_s, text) for duration_s, text in described if text]
        if not rows:
            return cls(0, 0.0, 0.0, 0.0)
        return cls(
            len(rows),
            float(sum(duration_s for duration_s, _ in rows) / 3600),
            sum(len(split_sentences(text)) for _, text in rows) / len(rows),
            sum(count_words(text) for _, text in rows) / len(rows),
        )
