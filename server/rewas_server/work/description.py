"""Describes a clip in sentences, and suggests prompts for it."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from rewas_api import enum_names
from rewas_api.v1 import rewas_pb2
from rewas_engine.annotation.annotator import Annotation, Annotator
from rewas_engine.annotation.opening import build_annotator, open_language_model, open_picture_model, open_sound_model
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.work.context import (
    DescriptionModels,
    MonotonicProgress,
    WorkContext,
    name_clip_in_media_errors,
    raise_if_cancelled,
    turn_of,
)
from rewas_server.work.requests import DescriptionRequest
from rewas_server.work.translation import clip_message, loaded_pack_message

if TYPE_CHECKING:
    from rewas_engine import ProbedClip, ReWaS
    from rewas_engine.annotation.stages import Captioner, LanguageModel

_loading = threading.Lock()


def describe_clip(
    request: DescriptionRequest, context: WorkContext, progress: MonotonicProgress, cancel: CancelSignal
) -> rewas_pb2.DescriptionResult:
    """Describe the picture and the own sound of a clip. A clip without sound is described by its picture."""
    model = context.engine(request.pack or context.default_pack)
    annotator = _open_annotator(model, context.description_models, progress, cancel)
    clip = request.video_clip(context.locate_media)
    with name_clip_in_media_errors(clip):
        read = model.read_clip(clip)
        annotation = annotator.annotate(clip, cancel, progress.part(0, 1))
    return description_message(annotation, annotator, read, model)


def description_message(
    annotation: Annotation, annotator: Annotator, clip: ProbedClip, model: ReWaS
) -> rewas_pb2.DescriptionResult:
    """Convert an annotation to a message."""
    names = annotator.stage_names
    return rewas_pb2.DescriptionResult(
        clip=clip_message(clip),
        pack=loaded_pack_message(model),
        picture=annotation.picture,
        sound=annotation.sound,
        description=annotation.description,
        suggestions=[
            rewas_pb2.DescriptionPrompt(
                prompt=each.text,
                score=each.score,
                origin=enum_names.PROMPT_ORIGIN.to_number("sound" if each.is_heard else "picture"),
            )
            for each in annotation.suggestions
        ],
        notes=annotation.notes,
        picture_model=names["picture"],
        sound_model=names["sound"],
        language_model=names["language"],
    )


def _open_annotator(
    model: ReWaS, models: DescriptionModels, progress: MonotonicProgress, cancel: CancelSignal
) -> Annotator:
    device = str(model.device)
    if models != DescriptionModels():
        progress.report("load", 0, 1, 0.0)
    # Jobs that run at the same time must not load the models twice.
    with turn_of(_loading, cancel):
        picture = None if models.picture is None else _picture_model(models.picture, device)
        raise_if_cancelled(cancel)
        sound = None if models.sound is None else _sound_model(models.sound, device)
        raise_if_cancelled(cancel)
        language = None if models.language is None else _language_model(models.language, device)
        raise_if_cancelled(cancel)
    # Without a joint space, a pack has no labels for sounds.
    return build_annotator(model, picture, sound, language, hears=sound is not None or model.joint_scorer is not None)


@functools.lru_cache(maxsize=1)
def _picture_model(folder: Path, device: str) -> Captioner:
    return open_picture_model(folder, device)


@functools.lru_cache(maxsize=1)
def _sound_model(folder: Path, device: str) -> Captioner:
    return open_sound_model(folder, device)


@functools.lru_cache(maxsize=1)
def _language_model(folder: Path, device: str) -> LanguageModel:
    return open_language_model(folder, device)
