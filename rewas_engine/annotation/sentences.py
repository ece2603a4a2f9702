"""Cleaning of what models write: one sentence of limited length, or nothing."""

from __future__ import annotations

import re
from itertools import groupby

from rewas_engine.recordings.captions import clean_caption

MAX_WORDS = 60
"""Longest sentence. The descriptions of TAVGBench have 50 words on average, in two or three sentences."""
MAX_REPEATED_WORDS = 8
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+(?=\S)")
_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_INTRODUCTION = re.compile(
    r"^(?:sure|certainly|of course|okay|here (?:is|are)|answer|output)\b[^.:!?]{0,80}[:!]\s*", re.I
)


def split_sentences(text: str) -> list[str]:
    """Split a text at full stops, exclamation marks and question marks. Parts without a letter do not count."""
    parts = _SENTENCE_END.split(" ".join(text.split()))
    return [part for part in parts if any(mark.isalpha() for mark in part)]


def count_words(text: str) -> int:
    """Number of words: parts between spaces with a letter or digit."""
    return sum(any(mark.isalnum() for mark in part) for part in text.split())


def clean_sentence(text: str) -> str:
    """Return the first sentence of an answer with a capital and a full stop; "" if it says nothing or rambles.

    Reasoning of the model, introductions ("Sure, here is …:"), quotation marks and repeated words are removed. A
    sentence of more than MAX_WORDS words counts as rambling.
    """
    line = clean_caption(_THOUGHTS.sub(" ", text))
    line = _INTRODUCTION.sub("", line).strip(" \"'“”‘’*_`#-")
    parts = split_sentences(line)
    if not parts:
        return ""
    if count_words(parts[0]) > MAX_WORDS:
        return ""
    sentence = remove_repeats(parts[0]).strip(" \"'“”*_`")
    if not any(mark.isalpha() for mark in sentence):
        return ""
    sentence = sentence[0].upper() + sentence[1:]
    return sentence if sentence[-1] in ".!?" else f"{sentence.rstrip(',;:')}."


def remove_repeats(text: str) -> str:
    """Keep one of several equal groups of words in a row, as in the captions of small models: "a dog a dog a dog"."""
    words = text.split()
    for length in range(MAX_REPEATED_WORDS, 0, -1):
        for start in range(length):
            head, tail = words[:start], words[start:]
            groups = [tuple(tail[first : first + length]) for first in range(0, len(tail), length)]
            # One repetition of a single word may be meant: "a very very loud dog".
            kept = [group for group, same in groupby(groups) for group in [group] * _kept(length, len(list(same)))]
            words = head + [word for group in kept for word in group]
    return " ".join(words)


def _kept(length: int, count: int) -> int:
    return min(count, 2) if length == 1 and count <= 2 else 1
