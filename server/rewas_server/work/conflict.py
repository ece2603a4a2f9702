"""Checks whether a prompt contradicts the video of a clip, or suggests prompts for it."""

from __future__ import annotations

from rewas_api.v1 import rewas_pb2
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.work.context import MonotonicProgress, WorkContext, name_clip_in_media_errors
from rewas_server.work.requests import ConflictRequest
from rewas_server.work.translation import conflict_message, suggestions_message


def check_conflict(
    request: ConflictRequest, context: WorkContext, progress: MonotonicProgress, cancel: CancelSignal
) -> rewas_pb2.ConflictResult:
    """Check the prompt of a clip against its video, and measure AVHScore on request. Without a prompt, suggest some."""
    model = context.engine(request.pack or context.default_pack)
    clip = request.video_clip(context.locate_media)
    with name_clip_in_media_errors(clip):
        read = model.read_clip(clip)
        if not request.prompt:
            suggestions = model.suggest_prompts(clip, on_progress=progress.part(0, 1), cancel=cancel)
            return suggestions_message(suggestions, read, model.pack)
        checked = 0.5 if request.measures_avh else 1
        report = model.check_conflict(clip, request.prompt, on_progress=progress.part(0, checked), cancel=cancel)
        message = conflict_message(report, read, model.pack)
        if request.measures_avh:
            score = model.measure_avh_score(clip, on_progress=progress.part(checked, 1), cancel=cancel)
            message.MergeFrom(rewas_pb2.ConflictResult(avh_score=score, avh_encoder=model.avh_encoder_name))
    return message
