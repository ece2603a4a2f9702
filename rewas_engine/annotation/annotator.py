"""Annotates one clip: captions, sentences and a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from rewas_engine.annotation.sentences import clean_sentence, remove_repeats
from rewas_engine.annotation.stages import Caption, Captioner, LanguageModel
from rewas_engine.annotation.writing import SeenAndHeard, write_sentences
from rewas_engine.checks import MAX_PROMPT_CHARACTERS
from rewas_engine.media.audio import count_audio_tracks
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.probe import read_clip
from rewas_engine.recordings.captions import clean_caption
from rewas_engine.runtime.progress import CancelSignal, raise_if_cancelled


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
    """

    duration_s: Fraction
    picture_captions: tuple[Caption, ...]
    sound_captions: tuple[Caption, ...]
    picture: str
    sound: str
    description: str
    prompt: str
    notes: tuple[str, ...] = ()


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

    def annotate(self, clip: VideoClip, cancel: CancelSignal | None = None) -> Annotation:
        """Annotate a clip. A clip without sound is described by its picture alone.

        Raises:
            MediaError: The media cannot be read.
            EngineError: A stage failed.
            Cancelled: `cancel` was set.
        """
        read = read_clip(clip)
        notes: list[str] = []
        seen = _cleaned(self.picture.caption(clip, cancel))
        raise_if_cancelled(cancel)
        if not seen:
            notes.append("Nothing known matches the picture.")
        heard = self._caption_sound(clip, cancel, notes)
        raise_if_cancelled(cancel)
        written = write_sentences(SeenAndHeard(seen, heard, self.picture, self.sound), self.language, cancel)
        return Annotation(
            duration_s=read.duration_s,
            picture_captions=seen,
            sound_captions=heard,
            picture=written.picture,
            sound=written.sound,
            description=written.description,
            prompt=self._prompt(seen, heard, written.picture, written.sound),
            notes=(*notes, *written.notes),
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

    def _prompt(self, seen: Sequence[Caption], heard: Sequence[Caption], picture: str, sound: str) -> str:
        """The sentence or the best label about the sound; without it, that of the picture.

        Labels of the picture come before those of the sound: the built-in labels for sounds are often wrong for
        recordings.
        """
        hears_labels = self.sound is None or self.sound.has_labels
        from_sound = bool(heard) and not (hears_labels and seen)
        captions, stage, sentence = (heard, self.sound, sound) if from_sound else (seen, self.picture, picture)
        if not captions or stage is None:
            return ""
        text = captions[0].text if stage.has_labels else sentence.rstrip(".") or captions[0].text
        return text[:MAX_PROMPT_CHARACTERS]


def _cleaned(captions: Sequence[Caption]) -> tuple[Caption, ...]:
    """Captions on one line and without repeated words, each once; those that say nothing or ramble are left out."""
    texts: dict[str, Caption] = {}
    for caption in captions:
        text = remove_repeats(clean_caption(caption.text))
        if text and clean_sentence(text):
            texts.setdefault(text, Caption(text, caption.score))
    return tuple(texts.values())
