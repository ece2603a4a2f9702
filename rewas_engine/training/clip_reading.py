"""Sound and frames of a data set's clip, in the formats of a pack."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from rewas_engine.conditioning.levels import normalise
from rewas_engine.conditioning.mel import AudioFrontEnd
from rewas_engine.energy_estimation.estimator import EnergyEstimator
from rewas_engine.errors import MediaError
from rewas_engine.media.audio import read_audio
from rewas_engine.media.probe import ProbedClip
from rewas_engine.media.video import VideoProperties, probe_video
from rewas_engine.runtime.progress import CancelSignal
from rewas_engine.training.cutting import SILENT_PEAK
from rewas_engine.training.dataset_clips import DatasetClip

SHORTEST_S = 1


def read_clip_log_mel(clip: DatasetClip, front_end: AudioFrontEnd, cancel: CancelSignal | None) -> NDArray[np.float16]:
    """Compute the log-mel [T, bins] of a clip's normalised sound.

    Raises:
        MediaError: The sound is missing, unreadable or silent.
    """
    video = probe_video(clip.video)
    start_s, duration_s = _range_s(clip, video)
    try:
        sound = read_audio(
            clip.sound,
            start_s=start_s,
            duration_s=duration_s,
            sample_rate_hz=front_end.config.sample_rate_hz,
            origin_s=video.start_s if clip.sound == clip.video else None,
            cancel=cancel,
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(f"The sound of {clip.name} cannot be decoded ({error}).", "Export it again.") from error
    if not np.isfinite(sound).all() or float(np.ptp(sound)) / 2 < SILENT_PEAK:
        raise MediaError(f"{clip.name} is silent throughout.", "Leave it out, or export it again.")
    return np.asarray(front_end.encode(normalise(sound)).numpy(), np.float16)


def read_clip_frames(clip: DatasetClip, estimator: EnergyEstimator, cancel: CancelSignal | None) -> NDArray[np.uint8]:
    """Read a clip's frames in the video encoder's format.

    Raises:
        MediaError: The frames cannot be read.
    """
    video = probe_video(clip.video)
    start_s, duration_s = _range_s(clip, video)
    return estimator.read_frames(ProbedClip(clip.name, clip.video, start_s, duration_s, video.frame_rate), cancel)


def _range_s(clip: DatasetClip, video: VideoProperties) -> tuple[Fraction, Fraction]:
    if video.duration_s < SHORTEST_S:
        raise MediaError(f"{clip.name} is shorter than {SHORTEST_S} s.", "Leave it out.")
    duration_s = min(clip.duration_s, video.duration_s)
    return min(clip.start_s, video.duration_s - duration_s), duration_s
