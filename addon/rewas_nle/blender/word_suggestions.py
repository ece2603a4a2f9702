# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the server for words that describe strips, and keeps the answers until another file is opened.

The answers are not stored in the strip: undoing the choice of a prompt would remove them.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from ..core.description_question import DescriptionAnswer, DescriptionQuestion
from ..timeline.strips import Refusal, SelectedClip, StripSnapshot
from .placement import find_strip
from .preferences import pack_for, preferences
from .questions import Asked, ask

KIND = "words"
_answers: dict[tuple[str, str], tuple[str, DescriptionAnswer]] = {}
"""Identifier of the strip and its description, by the names of the scene and the strip, because undo can
remove the identifier."""


def start_suggestion(scene: Any, strip: Any) -> Generator[None, None, Refusal | None]:
    """Ask the server for words that describe a strip, in slices. Returns the reason if that is not possible."""

    def build(scene: Any, strip: Any, snapshot: StripSnapshot, clip: SelectedClip) -> DescriptionQuestion:
        settings = strip.rewas.settings
        pack = pack_for(settings)
        if pack is not None and not pack.checks_conflict:
            # The server's default pack may know words for pictures.
            return DescriptionQuestion()
        return DescriptionQuestion(settings.pack.strip() or preferences().pack.strip() or None)

    forget_words(scene, strip)
    return ask(KIND, scene, strip, build)


def store_words(asked: Asked, answer: DescriptionAnswer) -> None:
    """Keep the description of a strip. Its prompt does not change."""
    found = find_strip(asked.address)
    if found is not None:
        scene, strip = found
        _answers[scene.name, strip.name] = (strip.rewas.uid, answer)


def words_of(scene: Any, strip: Any) -> DescriptionAnswer | None:
    """Return the description of a strip, or None if there is none."""
    uid, answer = _answers.get((scene.name, strip.name), ("", None))
    return answer if strip.rewas.uid in ("", uid) else None


def forget_words(scene: Any, strip: Any) -> None:
    """Forget the description of a strip."""
    _answers.pop((scene.name, strip.name), None)


def forget_all_words() -> None:
    """Forget everything, because another file was opened."""
    _answers.clear()
