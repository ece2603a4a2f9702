"""Reading the sound of a range, changing rates, writing WAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from rewas_engine.clip import sample_count
from rewas_engine.errors import Cancelled, MediaError
from rewas_engine.media.video import opened
from rewas_engine.results import CancelSignal


def read_audio(
    path: Path,
    *,
    start_s: Fraction,
    duration_s: Fraction,
    sample_rate_hz: int,
    origin_s: Fraction | None = None,
    cancel: CancelSignal | None = None,
) -> NDArray[np.float32]:
    """Mono sound [samples] of a range, exactly sample_count(duration_s, sample_rate_hz) long.

    start_s: seconds after origin_s, the time stamp of the first picture (of the first sound where it is None). What the
    file does not hold is silence. Raises MediaError where the file has no sound or cannot be read.
    """
    wanted = np.zeros(sample_count(duration_s, sample_rate_hz), np.float32)
    with opened(path) as container:
        if not container.streams.audio:
            raise MediaError(
                f"{path.name} has no sound.", "Choose a clip that has sound, or take the energy elsewhere."
            )
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="flt", layout="mono", rate=stream.rate)
        parts: list[NDArray[np.float32]] = []
        first_s: Fraction | None = None
        begin_s = start_s + (origin_s or 0)
        try:
            for frame in container.decode(stream):
                if cancel is not None and cancel.is_set():
                    raise Cancelled
                time_s = Fraction(frame.pts or 0) * frame.time_base
                if origin_s is None:
                    origin_s = time_s
                    begin_s = start_s + origin_s
                if time_s + Fraction(frame.samples, frame.rate) <= begin_s - 1:
                    continue
                if time_s >= begin_s + duration_s + 1:
                    break
                first_s = time_s if first_s is None else first_s
                parts += [made.to_ndarray()[0] for made in resampler.resample(frame)]
            parts += [made.to_ndarray()[0] for made in resampler.resample(None)]
        except av.FFmpegError as error:
            if not parts:
                raise MediaError(
                    f"The sound of {path.name} cannot be decoded ({error}).", "Export it again."
                ) from error
        if first_s is None:
            return wanted
        sound = soxr.resample(np.concatenate(parts), stream.rate, sample_rate_hz, quality="VHQ").astype(np.float32)
        offset = round((first_s - begin_s) * sample_rate_hz)
        source, target = max(0, -offset), max(0, offset)
        length = max(0, min(sound.size - source, wanted.size - target))
        wanted[target : target + length] = sound[source : source + length]
        return wanted


def resampled(waveform: NDArray[np.float32], from_hz: int, to_hz: int, samples: int) -> NDArray[np.float32]:
    """Waveform [channels, samples'] at another rate, cut or filled with silence to exactly `samples`."""
    changed = waveform if from_hz == to_hz else soxr.resample(waveform.T, from_hz, to_hz, quality="VHQ").T
    fitted = np.zeros((waveform.shape[0], samples), np.float32)
    length = min(samples, changed.shape[1])
    fitted[:, :length] = changed[:, :length]
    return fitted


def within_full_scale(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """The waveform, lowered as a whole where it would clip: a changed level is seen, distortion is not."""
    return np.asarray(waveform / max(1.0, float(np.abs(waveform).max(initial=0.0))), np.float32)


def write_wav(path: str | Path, waveform: NDArray[np.float32], sample_rate_hz: int) -> Path:
    """Write [channels, samples] as 24-bit WAV; whole or not at all."""
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.partial")
    try:
        soundfile.write(unfinished, waveform.T, sample_rate_hz, subtype="PCM_24", format="WAV")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path
