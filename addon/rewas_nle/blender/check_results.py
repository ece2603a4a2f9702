# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the server whether the prompt of a strip contradicts its picture, and stores the answer in the strip."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from ..core.analysis import ConflictAnswer, ConflictMark, ConflictQuestion
from ..timeline.selection import prompt_refusal
from ..timeline.strips import Refusal, SelectedClip, StripSnapshot
from . import compat
from .placement import find_strip
from .preferences import preferences
from .questions import Asked, ask
from .strip_reading import scene_rate

KIND = "check"
FLAGGED = ("conflict", "unsure")


@dataclass(frozen=True)
class Check:
    """The stored comparison of a prompt with the picture of a strip.

    The times of the marks are in seconds from the start of the strip's content. is_outdated: whether the prompt has
    changed since.
    """

    verdict: str
    score: float
    explanation: str
    marks: tuple[ConflictMark, ...]
    suggestions: tuple[str, ...]
    is_outdated: bool


def start_check(scene: Any, strip: Any) -> Generator[None, None, Refusal | None]:
    """Ask the server whether the prompt of a strip contradicts its picture, in slices.

    Returns the reason if that is not possible.
    """

    def build(scene: Any, strip: Any, snapshot: StripSnapshot, clip: SelectedClip) -> ConflictQuestion | Refusal:
        pack = strip.rewas.settings.pack.strip() or preferences().pack.strip() or None
        return prompt_refusal(snapshot) or ConflictQuestion(clip.prompt, pack)

    return ask(KIND, scene, strip, build)


def store_check(asked: Asked, question: ConflictQuestion, answer: ConflictAnswer) -> None:
    """Store an answer in its strip."""
    found = find_strip(asked.address)
    if found is not None:
        write_check(found[1], question.prompt, answer, float(asked.lead_in_s))


def write_check(strip: Any, prompt: str, answer: ConflictAnswer, lead_in_s: float) -> None:
    """Store an answer in a strip. lead_in_s: from the start of the strip's content to that of the checked clip."""
    check = strip.rewas.check
    check.verdict, check.prompt, check.encoder = answer.verdict, prompt, answer.encoder
    check.score = 0.0 if answer.score is None else answer.score
    check.explanation = answer.explanation
    check.marks.clear()
    for mark in answer.marks:
        item = check.marks.add()
        item.start_s, item.end_s = lead_in_s + mark.start_s, lead_in_s + mark.end_s
        item.score, item.best_label = mark.score, mark.best_label
    check.suggestions.clear()
    for suggestion in answer.suggestions:
        check.suggestions.add().name = suggestion


def read_check(strip: Any) -> Check | None:
    """Return the stored comparison of a strip, or None if the strip was never checked."""
    check = strip.rewas.check
    if not check.verdict:
        return None
    return Check(
        verdict=check.verdict,
        score=check.score,
        explanation=check.explanation,
        marks=tuple(ConflictMark(item.start_s, item.end_s, item.score, item.best_label) for item in check.marks),
        suggestions=tuple(item.name for item in check.suggestions),
        is_outdated=check.prompt != strip.rewas.prompt.strip(),
    )


def is_flagged(strip: Any) -> bool:
    """Return whether a strip needs a badge: its prompt may contradict its picture."""
    check = strip.rewas.check
    return check.verdict in FLAGGED and check.prompt == strip.rewas.prompt.strip()


def frame_of(scene: Any, strip: Any, content_s: float) -> float:
    """Return the scene frame of a time in the content of a strip."""
    return compat.content_start(strip) + content_s * float(scene_rate(scene))
