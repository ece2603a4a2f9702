"""Clips held against their media: defaults filled in, ranges checked."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from rewas_engine.errors import MediaError
from rewas_engine.media.audio import probe_sound
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.video import has_video, probe_video, range_end_tolerance_s

_SOUND_TOLERANCE_S = Fraction(1, 10)
"""Lossy codecs end a little before or after what they were given."""


def read_clip(clip: VideoClip) -> ProbedClip:
    """A clip of a film, as it stands in its media. Raises MediaError."""
    media = probe_video(clip.path)
    tolerance_s = range_end_tolerance_s(media.frame_rate)
    return _resolve_range(clip, media.duration_s, media.frame_rate, tolerance_s)


def read_clip_with_sound(clip: VideoClip) -> tuple[ProbedClip, Fraction]:
    """A clip of a film or of a file of sound alone, and the time stamp from which it counts. Raises MediaError.

    The frame rate of a file without a picture is 0.
    """
    if has_video(clip.path):
        return read_clip(clip), probe_video(clip.path).start_s
    sound = probe_sound(clip.path)
    return _resolve_range(clip, sound.duration_s, Fraction(0), _SOUND_TOLERANCE_S), sound.start_s


def _resolve_range(
    clip: VideoClip, media_duration_s: Fraction, frame_rate: Fraction, tolerance_s: Fraction
) -> ProbedClip:
    duration_s = clip.duration_s if clip.duration_s is not None else media_duration_s - clip.start_s
    end_s = clip.start_s + duration_s
    if duration_s <= 0 or end_s > media_duration_s + tolerance_s:
        raise MediaError(
            f"The clip {clip.name} reaches from {float(clip.start_s):.3f} s to {float(end_s):.3f} s, "
            f"but {clip.path.name} ends at {float(media_duration_s):.3f} s.",
            "Choose a range within the media.",
        )
    return ProbedClip(clip.name, clip.path, clip.start_s, duration_s, frame_rate)


@dataclass(frozen=True)
class ProbedClip:
    """A clip as it was read: every default resolved against the media. frame_rate: 0 where it has no picture."""

    name: str
    path: Path
    start_s: Fraction
    duration_s: Fraction
    frame_rate: Fraction
