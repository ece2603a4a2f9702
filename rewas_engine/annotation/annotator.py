"""Annotates one clip: captions, sentences and a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from rewas_engine.annotation.sentences import clean_sentence, remove_repeats
from rewas_engine.annotation.stages import Caption, Captioner, LanguageModel
from rewas_engine.annotation.writing import SeenAndHeard, write_sentences
from rewas_engine.checks import MAX_PROMPT_CHARACTERS
from rewas_engine.media.audio import count_audio_tracks
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.probe import read_clip
from rewas_engine.recordings.captions import clean_caption
from rewas_engine.runtime.progress import CancelSignal, Progress, ProgressCallback, raise_if_cancelled

STEPS = 3
"""Steps of an annotation: picture, sound, sentences."""
MOST_PROMPTS = 6
"""Longest list of suggested prompts."""


@dataclass(frozen=True)
class SuggestedPrompt:
    """A prompt for a clip.

    Attributes:
        text: The prompt.
        is_heard: Whether it describes the clip's own sound instead of its picture.
        score: Probability that it is right, 0 to 1; None if the captioner gives none.
    """

    text: str
    is_heard: bool
    score: float | None = None


@dataclass(frozen=True)
class Annotation:
    """What is seen and heard in a clip.

    Attributes:
        duration_s: Length of the clip.
        picture_captions: What the captioner of the picture found.
        sound_captions: What the captioner of the sound found.
        picture: One sentence about the picture; "" if nothing is known.
        sound: One sentence about the sound; "" if nothing is known.
        description: Both together.
        prompt: A prompt for the sound; "" if nothing is known.
        notes: What the user should know, as sentences.
        prompt_is_heard: Whether the prompt describes the clip's own sound.
    """

    duration_s: Fraction
    picture_captions: tuple[Caption, ...]
    sound_captions: tuple[Caption, ...]
    picture: str
    sound: str
    description: str
    prompt: str
    notes: tuple[str, ...] = ()
    prompt_is_heard: bool = False

    @property
    def suggestions(self) -> tuple[SuggestedPrompt, ...]:
        """Prompts to choose from, each once: the prompt, then the other captions of the picture and of the sound."""
        seen = [SuggestedPrompt(each.text, False, each.score) for each in self.picture_captions]
        heard = [SuggestedPrompt(each.text, True, each.score) for each in self.sound_captions]
        captions = [replace(each, text=each.text[:MAX_PROMPT_CHARACTERS]) for each in (*seen, *heard)]
        own = [each for each in captions if (each.text, each.is_heard) == (self.prompt, self.prompt_is_heard)]
        first = own[:1] or ([SuggestedPrompt(self.prompt, self.prompt_is_heard)] if self.prompt else [])
        found: dict[str, SuggestedPrompt] = {}
        for each in (*first, *captions):
            found.setdefault(_compared(each.text), each)
        return tuple(found.values())[:MOST_PROMPTS]


@dataclass(frozen=True)
class Annotator:
    """The stages of an annotation.

    Attributes:
        picture: Captions the picture.
        sound: Captions the clip's own sound; None ignores it.
        language: Writes the sentences; None uses templates.
    """

    picture: Captioner
    sound: Captioner | None
    language: LanguageModel | None = None

    @property
    def stage_names(self) -> dict[str, str]:
        """Name of the model of each stage."""
        return {
            "picture": self.picture.name,
            "sound": "none" if self.sound is None else self.sound.name,
            "language": "templates" if self.language is None else self.language.name,
        }

    def annotate(
        self, clip: VideoClip, cancel: CancelSignal | None = None, on_progress: ProgressCallback | None = None
    ) -> Annotation:
        """Annotate a clip. A clip without sound is described by its picture alone.

        on_progress: is called before each step and at the end, with the stage "describe".

        Raises:
            MediaError: The media cannot be read.
            EngineError: A stage failed.
            Cancelled: `cancel` was set.
        """

        def begin_step(step: int) -> None:
            raise_if_cancelled(cancel)
            if on_progress is not None:
                on_progress(Progress("describe", step, STEPS, step / STEPS))

        begin_step(0)
        read = read_clip(clip)
        notes: list[str] = []
        seen = _cleaned(self.picture.caption(clip, cancel))
        begin_step(1)
        if not seen:
            notes.append("Nothing known matches the picture.")
        heard = self._caption_sound(clip, cancel, notes)
        begin_step(2)
        written = write_sentences(SeenAndHeard(seen, heard, self.picture, self.sound), self.language, cancel)
        prompt, is_heard = self._prompt(seen, heard, written.picture, written.sound)
        begin_step(STEPS)
        return Annotation(
            duration_s=read.duration_s,
            picture_captions=seen,
            sound_captions=heard,
            picture=written.picture,
            sound=written.sound,
            description=written.description,
            prompt=prompt,
            notes=(*notes, *written.notes),
            prompt_is_heard=is_heard,
        )

    def _caption_sound(self, clip: VideoClip, cancel: CancelSignal | None, notes: list[str]) -> tuple[Caption, ...]:
        if self.sound is None:
            return ()
        if clip.sequence is not None or not clip.speed or not count_audio_tracks(clip.path):
            notes.append("The clip has no sound.")
            return ()
        heard = _cleaned(self.sound.caption(clip, cancel))
        if not heard:
            notes.append("The sound is silent, or nothing known matches it.")
        return heard

    def _prompt(self, seen: Sequence[Caption], heard: Sequence[Caption], picture: str, sound: str) -> tuple[str, bool]:
        """The sentence or the best label about the sound, and True; without it, that of the picture, and False.

        Labels of the picture come before those of the sound: the built-in labels for sounds are often wrong for
        recordings.
        """
        hears_labels = self.sound is None or self.sound.has_labels
        from_sound = bool(heard) and not (hears_labels and seen)
        captions, stage, sentence = (heard, self.sound, sound) if from_sound else (seen, self.picture, picture)
        if not captions or stage is None:
            return "", False
        text = captions[0].text if stage.has_labels else sentence.rstrip(".") or captions[0].text
        return text[:MAX_PROMPT_CHARACTERS], from_sound


def _compared(text: str) -> str:
    return text.rstrip(".").casefold()


def _cleaned(captions: Sequence[Caption]) -> tuple[Caption, ...]:
    """Captions on one line and without repeated words, each once; those that say nothing or ramble are left out."""
    texts: dict[str, Caption] = {}
    for caption in captions:
        text = remove_repeats(clean_caption(caption.text))
        if text and clean_sentence(text):
            texts.setdefault(text, Caption(text, caption.score))
    return tuple(texts.values())
