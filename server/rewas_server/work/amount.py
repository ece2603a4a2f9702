"""The amount of work in a request, from which the server estimates durations and time limits."""

from __future__ import annotations

from rewas_server.work.requests import AudibleVideoRequest, CheckedRequest, SoundRequest, TimelineRequest

UNKNOWN_DURATION_S = 60.0
"""Assumed for a clip that extends to the end of its media."""
TYPICAL_STEPS = 25
VIDEO_DURATION_S = 10.0
"""Assumed for an audible video, whose duration depends on the model."""


def amount_s(request: CheckedRequest) -> float:
    """Return the amount of work in seconds of sound with the usual number of sampling steps.

    It says nothing about the time that the work takes: that depends on the machine and the pack.
    """
    if isinstance(request, TimelineRequest):
        return sum(
            float(clip.duration_s) * (clip.settings.takes or 1) * _steps(clip.settings.num_inference_steps)
            for clip in request.clips
        )
    if isinstance(request, AudibleVideoRequest):
        return VIDEO_DURATION_S * _steps(request.num_steps)
    duration_s = UNKNOWN_DURATION_S if request.source.duration_s is None else float(request.source.duration_s)
    if not isinstance(request, SoundRequest):
        return duration_s
    settings = request.settings
    sounds = (settings.takes or 1) * (1 + len(settings.layers or ()))
    return duration_s * sounds * _steps(settings.num_inference_steps)


def _steps(requested: int | None) -> float:
    return max(requested or TYPICAL_STEPS, 1) / TYPICAL_STEPS
