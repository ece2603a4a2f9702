"""Generates a short video with its sound from a sentence."""

from __future__ import annotations

import functools
import secrets
import threading
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from rewas_api.transfer import hash_file
from rewas_api.v1 import rewas_pb2
from rewas_engine.media.audible_clip import hold_frames, video_size, write_audible_clip
from rewas_engine.runtime.progress import CancelSignal
from rewas_server.delivery.stem_folder import StemFolder
from rewas_server.work.context import MonotonicProgress, WorkContext, raise_if_cancelled, turn_of
from rewas_server.work.requests import AudibleVideoRequest, no_video_model
from rewas_server.work.translation import rational

if TYPE_CHECKING:
    from rewas_engine.audible_video.model import AudibleVideo

SAMPLED_FRACTION = 0.95
"""Progress after the last step; the rest is the vocoder and the file."""
_loading = threading.Lock()


def generate_audible_video(
    request: AudibleVideoRequest,
    context: WorkContext,
    progress: MonotonicProgress,
    cancel: CancelSignal,
    folder: StemFolder,
) -> rewas_pb2.AudibleVideoResult:
    """Generate picture and sound, and write them to one MP4 file.

    Raises:
        ProblemError: There is no model.
        EngineError: The model or the pack that it borrows from cannot be used, or a setting is out of its range.
        rewas_engine.Cancelled: The caller cancelled it.
    """
    if context.video_model is None:
        raise no_video_model()
    progress.report("load", 0, 1, 0.0)
    with turn_of(_loading, cancel):  # Jobs that run at the same time must not load the model twice.
        model = _load(context.video_model)
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    clip = model.dream(
        request.prompt,
        seed=seed,
        num_steps=request.num_steps,
        guidance_scale=request.guidance_scale,
        sound_lag=request.sound_lag,
        on_step=lambda done, total: progress.report("sample", done, total, SAMPLED_FRACTION * done / total),
        cancel=cancel,
    )
    raise_if_cancelled(cancel)
    progress.report("deliver", 0, 1, SAMPLED_FRACTION)
    rate = request.frame_rate or clip.frame_rate
    frames = hold_frames(clip.frames, clip.frame_rate, rate)
    path = folder.claim(f"{request.name} seed {seed}", ".mp4")
    write_audible_clip(path, frames, rate, clip.waveform, clip.sample_rate_hz, height=request.height_pixels)
    width, height = video_size(frames.shape, request.height_pixels)
    return rewas_pb2.AudibleVideoResult(
        file=rewas_pb2.Artifact(
            name=path.name, size_bytes=path.stat().st_size, sha256=hash_file(path), path=str(path.absolute())
        ),
        prompt=request.prompt,
        seed=seed,
        frames=len(frames),
        frame_rate=rational(rate),
        width_pixels=width,
        height_pixels=height,
        duration_s=rational(Fraction(clip.waveform.size, clip.sample_rate_hz)),
        kinds=model.description.classes,
    )


@functools.lru_cache(maxsize=1)
def _load(folder: Path) -> AudibleVideo:
    from rewas_engine.audible_video.model import AudibleVideo

    return AudibleVideo(folder)
