"""Probe clips: fill in defaults from the media and check ranges."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from rewas_engine.errors import MediaError
from rewas_engine.media.audio import AudioTrack, count_audio_tracks, probe_sound, read_audio_track
from rewas_engine.media.clip import VideoClip
from rewas_engine.media.image_sequence import ImageSequence
from rewas_engine.media.limits import current_limits
from rewas_engine.media.shown_range import media_range_s
from rewas_engine.media.truncation import break_error
from rewas_engine.media.video import find_break_s, has_video, probe_video, range_end_tolerance_s
from rewas_engine.runtime.progress import CancelSignal

_SOUND_TOLERANCE_S = Fraction(1, 10)
"""Tolerance for the duration of sound, which lossy codecs change slightly."""
_SEARCH_RATE_HZ = 16_000
"""Sample rate at which tracks are searched for sound."""
_SETTLED_AFTER_NS = 2_000_000_000
"""Some file systems store times in steps of two seconds. Within a step, a file can change without a new time."""


def read_clip(clip: VideoClip) -> ProbedClip:
    """Probe a clip of a video file. Raises MediaError if the range is not within the media."""
    media = probe_video(clip.path, sequence=clip.sequence)
    tolerance_s = range_end_tolerance_s(media.frame_rate)
    if media.is_still:
        return _resolve_still(clip, media.frame_rate)
    break_s = None if clip.sequence is not None else find_break_s(clip.path)
    return _resolve_range(clip, media.duration_s, media.frame_rate, tolerance_s, break_s)


def read_clip_with_sound(clip: VideoClip) -> tuple[ProbedClip, Fraction]:
    """Probe a clip of a video or sound file, and return it with the time stamp of its first frame or sample.

    The frame rate of a sound file is 0.

    Raises:
        MediaError: The file cannot be read, or the range is not within the media.
    """
    if clip.sequence is not None or has_video(clip.path):
        return read_clip(clip), probe_video(clip.path, sequence=clip.sequence).start_s
    sound = probe_sound(clip.path)
    break_s = sound.duration_s if sound.is_cut_short else None
    return _resolve_range(clip, sound.duration_s, Fraction(0), _SOUND_TOLERANCE_S, break_s), sound.start_s


def select_audio_track(clip: VideoClip, number: int | None = None, *, cancel: CancelSignal | None = None) -> AudioTrack:
    """Return the audio track of a clip's own sound. number: from 1; None is the first that is not silent in the clip.

    Raises MediaError if the sound cannot be read, or if there is no such track; Cancelled.
    """
    check_can_have_sound(clip)
    count = count_audio_tracks(clip.path)
    if number is not None or count <= 1:
        return AudioTrack(number or 1, count)
    read, origin_s = read_clip_with_sound(clip)
    return read_audio_track(
        read.path,
        start_s=read.media_range_s[0],
        duration_s=read.media_range_s[1] - read.media_range_s[0],
        sample_rate_hz=_SEARCH_RATE_HZ,
        origin_s=origin_s,
        cancel=cancel,
    )[1]


def check_can_have_sound(clip: VideoClip) -> None:
    """Raise MediaError if a clip cannot have sound, whatever its media contains."""
    if clip.sequence is not None or not clip.speed:
        kind = "shows an image sequence" if clip.sequence is not None else "is a freeze frame"
        raise MediaError(f"The clip {clip.name} {kind}, so it has no sound.", "Choose another source for the energy.")


def _resolve_range(
    clip: VideoClip,
    media_duration_s: Fraction,
    frame_rate: Fraction,
    tolerance_s: Fraction,
    break_s: Fraction | None,
) -> ProbedClip:
    """Fill in the duration of a clip, and check its range. break_s: where a file that was cut short breaks off."""
    duration_s = clip.duration_s if clip.duration_s is not None else _longest_s(clip, media_duration_s, break_s)
    begin_s, end_s = media_range_s(clip.start_s, duration_s, clip.speed)
    if break_s is not None and end_s > break_s + tolerance_s:
        raise break_error(clip.path.name, break_s)
    # A freeze frame at the end of the media would show nothing.
    is_past = end_s >= media_duration_s if not clip.speed else end_s > media_duration_s + tolerance_s
    if duration_s <= 0 or is_past:
        raise MediaError(
            f"The clip {clip.name} extends from {float(begin_s):.3f} s to {float(end_s):.3f} s, "
            f"but {_media_name(clip)} ends at {float(media_duration_s):.3f} s.",
            "Choose a range within the media.",
        )
    current_limits().check_duration(clip.path.name, duration_s)
    current_limits().check_duration(clip.path.name, end_s - begin_s)
    return _probed(clip, duration_s, frame_rate)


def _media_name(clip: VideoClip) -> str:
    return clip.path.name if clip.sequence is None else clip.sequence.pattern


def _longest_s(clip: VideoClip, media_duration_s: Fraction, break_s: Fraction | None) -> Fraction:
    """Duration of a clip without a duration: to the end of its media or, backwards, to its start."""
    if not clip.speed:
        raise _no_duration_error(clip, "a freeze frame")
    if clip.speed < 0:
        return clip.start_s / -clip.speed
    if break_s is not None:
        raise break_error(clip.path.name, break_s)
    return (media_duration_s - clip.start_s) / clip.speed


def _resolve_still(clip: VideoClip, frame_rate: Fraction) -> ProbedClip:
    if clip.duration_s is None:
        raise _no_duration_error(clip, "a still picture")
    current_limits().check_duration(clip.path.name, clip.duration_s)
    return ProbedClip(clip.name, clip.path, Fraction(0), clip.duration_s, frame_rate, clip.sha256, speed=Fraction(0))


def _no_duration_error(clip: VideoClip, kind: str) -> MediaError:
    return MediaError(f"The clip {clip.name} is {kind} and has no duration.", "Give the clip a duration.")


def _probed(clip: VideoClip, duration_s: Fraction, frame_rate: Fraction) -> ProbedClip:
    return ProbedClip(
        clip.name, clip.path, clip.start_s, duration_s, frame_rate, clip.sha256, clip.speed, clip.sequence
    )


@dataclass(frozen=True)
class ProbedClip:
    """A clip with all defaults resolved against its media.

    Attributes:
        name: Name of the clip.
        path: The media file. For an image sequence, any name in the folder of its pictures.
        start_s: Time of the media at the start of the clip, in seconds.
        duration_s: Seconds as shown.
        frame_rate: Frames per second of the media, exact; 0 if there is no video.
        sha256: SHA-256 of the file, if it is known and the file never changes; "" otherwise.
        speed: Seconds of the media in one second as shown. 0 is a freeze frame or a still picture, below 0 is
            backwards.
        sequence: The image sequence, if the clip shows one.
    """

    name: str
    path: Path
    start_s: Fraction
    duration_s: Fraction
    frame_rate: Fraction
    sha256: str = ""
    speed: Fraction = Fraction(1)
    sequence: ImageSequence | None = None

    @property
    def is_frozen(self) -> bool:
        """Whether the clip shows the same picture all the time."""
        return not self.speed

    @property
    def media_range_s(self) -> tuple[Fraction, Fraction]:
        """Start and end of the range of the media that the clip shows, in seconds."""
        return media_range_s(self.start_s, self.duration_s, self.speed)

    def content_key(self) -> tuple[str | int, ...] | None:
        """What the content of the clip depends on: its range, its speed, and the hash or the state of its files.

        None if a file was written a moment ago, because another change might go unnoticed. Raises MediaError if a
        file is missing.
        """
        clip_range = str(self.start_s), str(self.duration_s), str(self.speed)
        if self.sha256:
            return self.sha256, *clip_range
        if self.sequence is None:
            state = _file_state(self.path)
            return None if state is None else (*state, *clip_range)
        states: list[str | int] = [repr(self.sequence)]
        for path in self.sequence.paths(self.path.parent, *self.media_range_s):
            if self.sequence.missing == "error" or path.exists():
                state = _file_state(path)
                if state is None:
                    return None
                states += state
        return *states, *clip_range


def _file_state(path: Path) -> tuple[str | int, ...] | None:
    """A key that changes when a file changes; None if it was written a moment ago."""
    try:
        state = path.stat()
    except OSError as error:
        raise MediaError(f"{path.name} cannot be read ({error.strerror}).", "Check the file.") from error
    if abs(time.time_ns() - state.st_mtime_ns) < _SETTLED_AFTER_NS:
        return None
    return str(path), state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
