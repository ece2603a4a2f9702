"""Sentences by a language model: it rephrases each caption by itself, then joins the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewas_engine.annotation import templates
from rewas_engine.annotation.sentences import clean_sentence
from rewas_engine.annotation.stages import Caption, Captioner, LanguageModel
from rewas_engine.runtime.progress import CancelSignal

REPHRASE_PICTURE = (
    "Rewrite these captions of one video as one plain English sentence about the picture. Correct the grammar, "
    "add nothing, answer with the sentence only."
)
REPHRASE_SOUND = (
    "Rewrite these captions of one sound as one plain English sentence about the sound. Correct the grammar, "
    "add nothing, answer with the sentence only."
)
MERGE = (
    "Join a description of a picture and a description of its sound into one coherent English sentence that says what "
    "is seen and heard. Add nothing, answer with the sentence only."
)


@dataclass(frozen=True)
class Sentences:
    """Sentences about one clip.

    Attributes:
        picture: The picture in one sentence; "" if unknown.
        sound: The sound in one sentence; "" if unknown.
        description: Both together.
        notes: What the user should know, as sentences.
    """

    picture: str
    sound: str
    description: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeenAndHeard:
    """Captions of one clip, and what made them. A captioner is None if it was not used."""

    picture: Sequence[Caption]
    sound: Sequence[Caption]
    picture_stage: Captioner | None
    sound_stage: Captioner | None


def write_sentences(found: SeenAndHeard, language: LanguageModel | None, cancel: CancelSignal | None) -> Sentences:
    """Write the sentences of a clip, with templates if there is no language model.

    An answer that is empty or too long is not used: the template or the captions are used instead, and a note says so.

    Raises:
        EngineError: The language model failed.
        Cancelled: `cancel` was set.
    """
    picture = templates.picture_sentence(found.picture, found.picture_stage is None or found.picture_stage.has_labels)
    sound = templates.sound_sentence(found.sound, found.sound_stage is None or found.sound_stage.has_labels)
    if language is None:
        return Sentences(picture, sound, templates.join_sentences(picture, sound))
    notes: list[str] = []

    def ask(instruction: str, text: str, about: str, otherwise: str) -> str:
        answer = clean_sentence(language.answer(instruction, text, cancel))
        if not answer:
            notes.append(f"The language model gave no usable sentence about the {about}.")
        return answer or otherwise

    if picture:
        picture = ask(REPHRASE_PICTURE, _listed(found.picture), "picture", picture)
    if sound:
        sound = ask(REPHRASE_SOUND, _listed(found.sound), "sound", sound)
    description = templates.join_sentences(picture, sound)
    if picture and sound:
        description = ask(MERGE, f"Picture: {picture}\nSound: {sound}", "picture and sound together", description)
    return Sentences(picture, sound, description, tuple(notes))


def _listed(captions: Sequence[Caption]) -> str:
    return "\n".join(f"- {caption.text}" for caption in captions)
