"""Describes a clip in sentences, and suggests prompts for it."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewas_api import enum_names
from rewas_api.v1 import rewas_pb2
from rewas_engine.annotation.annotator import Annotation, Annotator
from rewas_engine.annotation.opening import build_annotator, open_language_model, open_picture_model, open_sound_model
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.work.context import DescriptionModels, MonotonicProgress, WorkContext, name_clip_in_media_errors
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
    annotator = _open_annotator(model, context.description_models)
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


@dataclass(frozen=True)
class _LoadedModels:
    picture: Captioner | None
    sound: Captioner | None
    language: LanguageModel | None


def _open_annotator(model: ReWaS, models: DescriptionModels) -> Annotator:
    # Jobs that run at the same time must not load the models twice.
    with _loading:
        loaded = _load(models, str(model.device))
    # Without a joint space, a pack has no labels for sounds.
    hears = loaded.sound is not None or model.joint_scorer is not None
    return build_annotator(model, loaded.picture, loaded.sound, loaded.language, hears=hears)


@functools.lru_cache(maxsize=1)
def _load(models: DescriptionModels, device: str) -> _LoadedModels:
    return _LoadedModels(
        None if models.picture is None else open_picture_model(models.picture, device),
        None if models.sound is None else open_sound_model(models.sound, device),
        None if models.language is None else open_language_model(models.language, device),
    )
