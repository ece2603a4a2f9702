"""Sentences without a language model: labels and captions in fixed words."""

from __future__ import annotations

from collections.abc import Sequence

from rewas_engine.annotation.sentences import clean_sentence
from rewas_engine.annotation.stages import Caption

MOST_LABELS = 2
"""Labels in a sentence. They are alternatives: the scores of labels say little about real footage."""


def picture_sentence(captions: Sequence[Caption], are_labels: bool) -> str:
    """One sentence about the picture; "" without a caption."""
    return _sentence(captions, are_labels, "Perhaps in the picture: {}.")


def sound_sentence(captions: Sequence[Caption], are_labels: bool) -> str:
    """One sentence about the sound; "" without a caption."""
    return _sentence(captions, are_labels, "Perhaps in the sound: {}.")


def join_sentences(picture: str, sound: str) -> str:
    """The description of a clip: the sentence of its picture, then that of its sound."""
    return " ".join(part for part in (picture, sound) if part)


def _sentence(captions: Sequence[Caption], are_labels: bool, perhaps: str) -> str:
    if not captions:
        return ""
    if not are_labels:
        return clean_sentence(captions[0].text)
    return perhaps.format(" or ".join(caption.text for caption in captions[:MOST_LABELS]))
