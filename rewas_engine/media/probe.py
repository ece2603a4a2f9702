"""Probe clips: fill in defaults from the media and check ranges."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from rewas_engine.errors import MediaError
from rewas_engine.media.audio import AudioTrack, count_audio_tracks, probe_sound, read_audio_track
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.limits import current_limits
from rewas_engine.media.truncation import break_error
from rewas_engine.media.video import find_break_s, has_video, probe_video, range_end_tolerance_s
from rewas_engine.runtime.progress import CancelSignal

_SOUND_TOLERANCE_S = Fraction(1, 10)
"""Tolerance for the duration of sound, which lossy codecs change slightly."""
_SEARCH_RATE_HZ = 16_000
"""Sample rate at which tracks are searched for sound."""


def read_clip(clip: VideoClip) -> ProbedClip:
    """Probe a clip of a video file. Raises MediaError if the range is not within the media."""
    media = probe_video(clip.path)
    tolerance_s = range_end_tolerance_s(media.frame_rate)
    return _resolve_range(clip, media.duration_s, media.frame_rate, tolerance_s, find_break_s(clip.path))


def read_clip_with_sound(clip: VideoClip) -> tuple[ProbedClip, Fraction]:
    """Probe a clip of a video or sound file, and return it with the time stamp of its first frame or sample.

    The frame rate of a sound file is 0.

    Raises:
        MediaError: The file cannot be read, or the range is not within the media.
    """
    if has_video(clip.path):
        return read_clip(clip), probe_video(clip.path).start_s
    sound = probe_sound(clip.path)
    break_s = sound.duration_s if sound.is_cut_short else None
    return _resolve_range(clip, sound.duration_s, Fraction(0), _SOUND_TOLERANCE_S, break_s), sound.start_s


def select_audio_track(clip: VideoClip, number: int | None = None, *, cancel: CancelSignal | None = None) -> AudioTrack:
    """Return the audio track of a clip's own sound. number: from 1; None is the first that is not silent in the clip.

    Raises MediaError if the sound cannot be read, or if there is no such track; Cancelled.
    """
    count = count_audio_tracks(clip.path)
    if number is not None or count <= 1:
        return AudioTrack(number or 1, count)
    read, origin_s = read_clip_with_sound(clip)
    return read_audio_track(
        read.path,
        start_s=read.start_s,
        duration_s=read.duration_s,
        sample_rate_hz=_SEARCH_RATE_HZ,
        origin_s=origin_s,
        cancel=cancel,
    )[1]


def _resolve_range(
    clip: VideoClip,
    media_duration_s: Fraction,
    frame_rate: Fraction,
    tolerance_s: Fraction,
    break_s: Fraction | None,
) -> ProbedClip:
    """Fill in the end of a clip, and check its range. break_s: where a file that was cut short breaks off."""
    if break_s is not None and (clip.duration_s is None or clip.start_s + clip.duration_s > break_s + tolerance_s):
        raise break_error(clip.path.name, break_s)
    duration_s = clip.duration_s if clip.duration_s is not None else media_duration_s - clip.start_s
    end_s = clip.start_s + duration_s
    if duration_s <= 0 or end_s > media_duration_s + tolerance_s:
        raise MediaError(
            f"The clip {clip.name} extends from {float(clip.start_s):.3f} s to {float(end_s):.3f} s, "
            f"but {clip.path.name} ends at {float(media_duration_s):.3f} s.",
            "Choose a range within the media.",
        )
    current_limits().check_duration(clip.path.name, duration_s)
    return ProbedClip(clip.name, clip.path, clip.start_s, duration_s, frame_rate)


@dataclass(frozen=True)
class ProbedClip:
    """A clip with all defaults resolved against its media. The frame rate is 0 if there is no video."""

    name: str
    path: Path
    start_s: Fraction
    duration_s: Fraction
    frame_rate: Fraction
