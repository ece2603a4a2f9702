"""Puts together the stages of an annotation: models from folders if they are given, otherwise the labels of a pack."""

from __future__ import annotations

from pathlib import Path

from rewas_engine.annotation.annotator import Annotator
from rewas_engine.annotation.labels import PictureLabels, SoundLabels
from rewas_engine.annotation.stages import Captioner, LanguageModel
from rewas_engine.pipeline import ReWaS


def open_picture_model(folder: Path, device: str) -> Captioner:
    """Load a model that captions pictures. device: Torch device name. Raises PackError."""
    from rewas_engine.annotation.local_models import PictureCaptioner

    return PictureCaptioner(folder, device)


def open_sound_model(folder: Path, device: str) -> Captioner:
    """Load a model that captions sounds. device: Torch device name. Raises PackError."""
    from rewas_engine.annotation.local_models import SoundCaptioner

    return SoundCaptioner(folder, device)


def open_language_model(folder: Path, device: str) -> LanguageModel:
    """Load a model that writes sentences. device: Torch device name. Raises PackError."""
    from rewas_engine.annotation.local_models import LocalLanguageModel

    return LocalLanguageModel(folder, device)


def build_annotator(
    model: ReWaS,
    picture: Captioner | None = None,
    sound: Captioner | None = None,
    language: LanguageModel | None = None,
    *,
    hears: bool = True,
) -> Annotator:
    """Return an annotator.

    Args:
        model: Its labels stand in for missing captioners.
        picture, sound: Captioners; None uses the labels.
        language: Writes the sentences; None uses templates.
        hears: Whether to describe the clip's own sound.
    """
    if not hears:
        return Annotator(picture or PictureLabels(model), None, language)
    return Annotator(picture or PictureLabels(model), sound or SoundLabels(model), language)
