"""Read the sound of a range, resample it, and write WAV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from rewas_engine.errors import Cancelled, MediaError
from rewas_engine.exact_time import sample_count
from rewas_engine.media.container import decode_frames, open_media
from rewas_engine.media.formats import SOUND_FILE_STARTS
from rewas_engine.media.isolation.seam import decodes_media, record
from rewas_engine.media.limits import current_limits
from rewas_engine.media.truncation import break_error, is_stream_cut_short
from rewas_engine.runtime.atomic_files import atomic_path
from rewas_engine.runtime.progress import CancelSignal

FloatArray = NDArray[np.float64]
LOOP_MARGIN_SAMPLES = 4096
"""Samples that are repeated before and after a loop while it is resampled."""
END_FADE_S = Fraction(5, 1000)
END_STEP = 1e-5
"""Largest magnitude (-100 dBFS) of an end that needs no fade. Later gains may raise it by 40 dB."""
SILENT_PEAK = 1e-4
"""Largest magnitude (-80 dBFS) of an audio track that counts as silent, such as the noise of an open input."""
_MIN_MEAN_POWER = 0.1
"""Smallest ratio of the power of the channels' mean to their mean power at which the mean is used."""
_MIN_UNCANCELLED = 0.2
"""The same ratio times the number of channels, below which the channels cancel each other out."""
_SILENT_CHANNEL = 1e-4
"""Largest ratio of the power of a silent channel to that of the loudest."""
_RESAMPLE_CHUNK_SAMPLES = 2**18
_BREAK_TOLERANCE_S = Fraction(1, 10)
"""A range may extend this much past the break of a file, since it is only known to the packet."""
_TIMESTAMP_TOLERANCE_S = Fraction(2, 1000)
"""Smaller differences between time stamps are rounding errors, as in Matroska, and not gaps."""


@record
@dataclass(frozen=True)
class SoundProperties:
    """Properties of an audio stream.

    Attributes:
        start_s: Time stamp of the first sample.
        duration_s: Seconds.
        is_cut_short: Whether the sound should continue after its end, as in an unfinished copy.
    """

    start_s: Fraction
    duration_s: Fraction
    is_cut_short: bool


@decodes_media
def probe_sound(path: Path) -> SoundProperties:
    """Read the start and duration of a file's sound. Raises MediaError if it has none that can be decoded."""
    with open_media(path) as container:
        stream = _sound_stream(container, path)
        frames = _with_timestamps(decode_frames(container, stream, path))
        first_s, frame = next(frames, (None, None))
        if first_s is None:
            raise _decode_error(path)
        end_s = first_s + _frame_duration_s(frame)
        # Decode to the end: the duration in the header may be missing or wrong, and sound decodes quickly.
        for time_s, frame in frames:
            end_s = time_s + _frame_duration_s(frame)
        return SoundProperties(first_s, end_s - first_s, is_stream_cut_short(path, container, stream, end_s))


@decodes_media
def count_audio_tracks(path: Path) -> int:
    """Number of audio tracks in a file. Raises MediaError if it is not media."""
    with open_media(path) as container:
        return len(container.streams.audio)


@record
@dataclass(frozen=True)
class AudioTrack:
    """The audio track that was read.

    Attributes:
        number: From 1.
        count: Audio tracks of the file.
        silent: Numbers of the tracks that were skipped because they are silent in the range.
    """

    number: int
    count: int
    silent: tuple[int, ...] = ()


def read_audio(
    path: Path,
    *,
    start_s: Fraction,
    duration_s: Fraction,
    sample_rate_hz: int,
    origin_s: Fraction | None = None,
    track: int | None = None,
    cancel: CancelSignal | None = None,
) -> NDArray[np.float32]:
    """Read the sound of a range, mixed to mono. Parts that the file does not cover are silent.

    The mix is the mean of the channels. Where they cancel each other out, or almost all are silent, it has the mean
    power of the channels instead.

    Args:
        path: The media file.
        start_s: Seconds after `origin_s`.
        duration_s: Seconds.
        sample_rate_hz: Sample rate of the result.
        origin_s: Time stamp of the first video frame; None is the first sample of the sound.
        track: Number of the audio track, from 1; None is the first that is not silent in the range.
        cancel: Ends the work.

    Returns:
        `[sample_count(duration_s, sample_rate_hz)]` float32.

    Raises:
        MediaError: The file has no such sound, cannot be read, breaks off within the range, or contains samples that
            are not finite.
        Cancelled: The caller asked to stop.
    """
    return read_audio_track(
        path,
        start_s=start_s,
        duration_s=duration_s,
        sample_rate_hz=sample_rate_hz,
        origin_s=origin_s,
        track=track,
        cancel=cancel,
    )[0]


@decodes_media
def read_audio_track(
    path: Path,
    *,
    start_s: Fraction,
    duration_s: Fraction,
    sample_rate_hz: int,
    origin_s: Fraction | None = None,
    track: int | None = None,
    cancel: CancelSignal | None = None,
) -> tuple[NDArray[np.float32], AudioTrack]:
    """Read the sound of a range, and return it with the track that it comes from. See `read_audio`."""

    def read(number: int) -> NDArray[np.float32]:
        return _read_track(path, number, start_s, duration_s, sample_rate_hz, origin_s, cancel)

    with open_media(path) as container:
        _sound_stream(container, path, track or 1)
        count = len(container.streams.audio)
        decodable = [number for number, stream in enumerate(container.streams.audio, 1) if stream.codec_context]
    if track is not None or len(decodable) <= 1:
        number = track or next(iter(decodable), 1)
        return read(number), AudioTrack(number, count)
    first: NDArray[np.float32] | None = None
    for place, number in enumerate(decodable):
        sound = read(number)
        first = sound if first is None else first
        if np.abs(sound).max(initial=0.0) > SILENT_PEAK:
            return sound, AudioTrack(number, count, tuple(decodable[:place]))
    assert first is not None
    return first, AudioTrack(decodable[0], count)


def _read_track(
    path: Path,
    number: int,
    start_s: Fraction,
    duration_s: Fraction,
    sample_rate_hz: int,
    origin_s: Fraction | None,
    cancel: CancelSignal | None,
) -> NDArray[np.float32]:
    """Read one track. It is decoded again if its channels cancel each other out in the mean."""
    powers = ChannelPowers()
    sound = _decode_range(path, number, start_s, duration_s, sample_rate_hz, origin_s, cancel, powers, {})
    weights = powers.weights()
    if weights:
        sound = _decode_range(path, number, start_s, duration_s, sample_rate_hz, origin_s, cancel, None, weights)
    if not np.isfinite(sound).all():
        raise _non_finite_error(path)
    return sound


def _decode_range(
    path: Path,
    number: int,
    start_s: Fraction,
    duration_s: Fraction,
    sample_rate_hz: int,
    origin_s: Fraction | None,
    cancel: CancelSignal | None,
    powers: ChannelPowers | None,
    weights: Mapping[int, FloatArray],
) -> NDArray[np.float32]:
    """Decode a range of a track.

    Args:
        powers: Receives the channels of the range.
        weights: Weights of the channels in the mix, by the number of channels. The default is the mean.
    """
    current_limits().check_duration(path.name, duration_s)
    wanted = np.zeros(sample_count(duration_s, sample_rate_hz), np.float32)
    with open_media(path) as container:
        stream = _sound_stream(container, path, number)
        begin_s: Fraction | None = None if origin_s is None else origin_s + start_s
        run: _ContiguousRun | None = None
        end_s: Fraction | None = None
        for time_s, frame in _with_timestamps(decode_frames(container, stream, path)):
            if cancel is not None and cancel.is_set():
                raise Cancelled
            begin_s = time_s + start_s if begin_s is None else begin_s
            end_s = time_s + _frame_duration_s(frame)
            # Read one more second on both sides, so that the resampler settles.
            if end_s <= begin_s - 1:
                continue
            if time_s >= begin_s + duration_s + 1:
                break
            if run is None or not run.continues_with(time_s, frame):
                if run is not None:
                    run.end()
                run = _ContiguousRun(wanted, frame, time_s - begin_s, time_s, sample_rate_hz, weights)
            is_in_range = begin_s < end_s and time_s < begin_s + duration_s
            if powers is not None and is_in_range and frame.layout.nb_channels > 1:
                powers.add(run.channels(frame))
            run.add(frame)
        else:
            if begin_s is None or end_s is None:
                raise _decode_error(path)
            if begin_s + duration_s > end_s + _BREAK_TOLERANCE_S and is_stream_cut_short(
                path, container, stream, end_s
            ):
                raise break_error(f"The sound of {path.name}", end_s - begin_s + start_s)
        if run is not None:
            run.end()
        return wanted


def _sound_stream(container: Any, path: Path, number: int = 1) -> Any:
    count = len(container.streams.audio)
    if not count:
        raise MediaError(f"{path.name} has no sound.", "Choose a file with sound, or another source.")
    if not 1 <= number <= count:
        raise MediaError(
            f"{path.name} has no audio track {number}: it has {count} audio track{'s' if count > 1 else ''}.",
            f"Choose a track from 1 to {count}." if count > 1 else "Choose track 1, or none.",
        )
    return container.streams.audio[number - 1]


def _decode_error(path: Path) -> MediaError:
    return MediaError(f"The sound of {path.name} cannot be decoded.", "Export it again.")


def _non_finite_error(path: Path) -> MediaError:
    return MediaError(f"The sound {path.name} contains samples that are not numbers.", "Export it again.")


def _with_timestamps(frames: Iterable[Any]) -> Iterator[tuple[Fraction, Any]]:
    """Add times to sound frames, counted in samples from the first frame and again after each gap."""
    next_s: Fraction | None = None
    for frame in frames:
        stamp_s = frame.pts * frame.time_base
        time_s = stamp_s if next_s is None or abs(stamp_s - next_s) > _TIMESTAMP_TOLERANCE_S else next_s
        next_s = time_s + _frame_duration_s(frame)
        yield time_s, frame


def _frame_duration_s(frame: Any) -> Fraction:
    return Fraction(frame.samples, frame.rate)


def _frame_format(frame: Any) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.rate


class ChannelPowers:
    """Compares the power of the channels of a sound with that of their mean."""

    def __init__(self) -> None:
        self._products: dict[int, FloatArray] = {}

    def add(self, channels: NDArray[np.float32]) -> None:
        """Add a part of the sound `[channels, samples]`."""
        count = len(channels)
        exact = channels.astype(np.float64)
        self._products[count] = self._products.get(count, np.zeros((count, count))) + exact @ exact.T

    def weights(self) -> dict[int, FloatArray]:
        """Weights `[channels]` of a mix with the mean power of the channels, by the number of channels.

        Without a number of channels for which the mean has enough power already.
        """
        found = {}
        for count, products in self._products.items():
            power, mean_power = float(np.trace(products)) / count, float(products.sum()) / count**2
            if not np.isfinite(power) or mean_power >= _MIN_MEAN_POWER * power:
                continue
            weights = np.full(count, 1 / count)
            # The mean of independent sounds has 1 / count of their power. Less is left if they cancel each other out.
            if mean_power * count < _MIN_UNCANCELLED * power:
                weights = np.linalg.eigh(products)[1][:, -1]  # signs that add up what the channels have in common
                weights = weights * np.sign(weights[np.abs(weights).argmax()])
            mixed_power = float(weights @ products @ weights)
            found[count] = weights * np.sqrt(np.trace(products) / _sounding(products) / mixed_power)
        return found

    def width(self) -> float:
        """How much the channels differ: from 0 (equal, or at most one audible) to 1 (uncorrelated or out of phase)."""
        products = max(self._products.values(), key=np.trace, default=np.zeros((1, 1)))
        powers = np.diag(products)
        sounds = powers > _SILENT_CHANNEL * powers.max()
        count = int(sounds.sum())
        if count < 2:
            return 0.0
        scale = np.sqrt(powers[sounds])
        correlations = products[np.ix_(sounds, sounds)] / np.outer(scale, scale)
        mean = (float(correlations.sum()) - count) / (count * (count - 1))
        return 1.0 - min(1.0, max(0.0, mean))


def _sounding(products: FloatArray) -> int:
    """Number of channels that are not silent."""
    powers = np.diag(products)
    return int((powers > _SILENT_CHANNEL * powers.max()).sum())


class _ContiguousRun:
    """Writes frames of one format without gaps into a sound, mixed to mono and resampled."""

    def __init__(
        self,
        wanted: NDArray[np.float32],
        first: Any,
        offset_s: Fraction,
        time_s: Fraction,
        sample_rate_hz: int,
        weights: Mapping[int, FloatArray],
    ) -> None:
        """Prepare for a first frame at `time_s`, which is `offset_s` after the start of the sound `wanted`."""
        self._wanted, self._frame_format, self._next_s = wanted, _frame_format(first), time_s
        count = first.layout.nb_channels
        self._weights = weights.get(count)
        if self._weights is None and count > 2:
            self._weights = np.full(count, 1 / count)  # FFmpeg leaves out the channels that it does not know.
        self._mixer = av.AudioResampler(format="flt", layout="mono", rate=first.rate)
        # Packed, since PyAV does not support more than eight planes.
        self._converter = av.AudioResampler(format="flt", rate=first.rate)
        self._resampler = soxr.ResampleStream(first.rate, sample_rate_hz, 1, dtype="float32", quality="VHQ")
        self._place = round(offset_s * sample_rate_hz)

    def continues_with(self, time_s: Fraction, frame: Any) -> bool:
        """Whether a frame continues the run."""
        return time_s == self._next_s and _frame_format(frame) == self._frame_format

    def channels(self, frame: Any) -> NDArray[np.float32]:
        """The channels `[channels, samples]` of a frame."""
        count = frame.layout.nb_channels
        parts = [part.to_ndarray().reshape(-1, count).T for part in self._converter.resample(frame)]
        return np.concatenate(parts, axis=1) if parts else np.empty((count, 0), np.float32)

    def add(self, frame: Any) -> None:
        self._next_s += _frame_duration_s(frame)
        if self._weights is not None:
            sound = (self._weights @ self.channels(frame)).astype(np.float32)
            self._write(self._resampler.resample_chunk(sound))
            return
        for mixed in self._mixer.resample(frame):
            self._write(self._resampler.resample_chunk(mixed.to_ndarray()[0]))

    def end(self) -> None:
        """Write what the resamplers still hold."""
        if self._weights is None:
            for mixed in self._mixer.resample(None):
                self._write(self._resampler.resample_chunk(mixed.to_ndarray()[0]))
        self._write(self._resampler.resample_chunk(np.empty(0, np.float32), last=True))

    def _write(self, sound: NDArray[np.float32]) -> None:
        source, target = max(0, -self._place), max(0, self._place)
        length = max(0, min(sound.size - source, self._wanted.size - target))
        self._wanted[target : target + length] = sound[source : source + length]
        self._place += sound.size


def resample(waveform: NDArray[np.float32], from_hz: int, to_hz: int, samples: int) -> NDArray[np.float32]:
    """Resample a waveform `[channels, samples']`, then trim it or pad it with silence to exactly `samples`."""
    fitted = np.zeros((waveform.shape[0], samples), np.float32)
    filled = 0
    for part in _resample_chunks(waveform, from_hz, to_hz):
        length = min(samples - filled, part.shape[1])
        fitted[:, filled : filled + length] = part[:, :length]
        filled += length
    return fitted


def _resample_chunks(waveform: NDArray[np.float32], from_hz: int, to_hz: int) -> Iterator[NDArray[np.float32]]:
    """Resample a waveform `[channels, samples]` in chunks."""
    if from_hz == to_hz:
        yield waveform
        return
    resampler = soxr.ResampleStream(from_hz, to_hz, waveform.shape[0], dtype="float32", quality="VHQ")
    for first in range(0, max(1, waveform.shape[1]), _RESAMPLE_CHUNK_SAMPLES):
        part = np.ascontiguousarray(waveform[:, first : first + _RESAMPLE_CHUNK_SAMPLES].T, np.float32)
        is_last = first + _RESAMPLE_CHUNK_SAMPLES >= waveform.shape[1]
        yield resampler.resample_chunk(part, last=is_last).reshape(-1, waveform.shape[0]).T


def resample_loop(waveform: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Resample a loop `[channels, samples']`, whose end continues at its start, to exactly `samples`."""
    length = waveform.shape[1]
    if samples == length:
        return waveform.copy()
    margin = min(length, LOOP_MARGIN_SAMPLES)
    around = np.concatenate([waveform[:, length - margin :], waveform, waveform[:, :margin]], axis=1)
    changed = soxr.resample(around.T, length, samples, quality="VHQ").T
    # Rounding down only rotates the loop by less than a sample.
    first = margin * samples // length
    return np.ascontiguousarray(changed[:, first : first + samples], np.float32)


def fade_ends(
    waveform: NDArray[np.float32],
    sample_rate_hz: int,
    *,
    at_start: bool = True,
    at_end: bool = True,
    fade_s: Fraction = END_FADE_S,
) -> None:
    """Fade a waveform `[..., samples]` in and out, in place, so that its ends do not click.

    A silent start or end needs no fade; a sound that starts from silence keeps its sharp attack. No fade is longer than
    half the waveform.

    Args:
        waveform: Changed in place.
        sample_rate_hz: Sample rate of the waveform.
        at_start: Whether to fade in.
        at_end: Whether to fade out.
        fade_s: Duration of a fade in seconds, 0 for none.
    """
    fade = min(waveform.shape[-1] // 2, sample_count(fade_s, sample_rate_hz))
    rising = (0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / max(1, fade))).astype(np.float32)
    if at_start and np.abs(waveform[..., :1]).max(initial=0.0) > END_STEP:
        waveform[..., :fade] *= rising
    if at_end and np.abs(waveform[..., waveform.shape[-1] - fade :]).max(initial=0.0) > END_STEP:
        waveform[..., waveform.shape[-1] - fade :] *= rising[::-1]


def sample_peak(waveform: NDArray[np.floating]) -> float:
    """Largest magnitude of the samples of a waveform of any shape; 0 if it is empty. It makes no copy."""
    return max(float(waveform.max(initial=0.0)), -float(waveform.min(initial=0.0)))


def limit_peak(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale a waveform down to a peak of 1 if it would clip."""
    peak = sample_peak(waveform)
    return waveform if peak <= 1 else np.asarray(waveform / peak, np.float32)


@decodes_media
def read_audio_file(path: str | Path) -> tuple[NDArray[np.float32], int]:
    """Read the samples `[channels, samples]` of a WAV, FLAC or other lossless file, and their rate in Hz.

    Raises:
        MediaError: The file is missing, unreadable or empty, exceeds a limit, or contains samples that are not finite.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            is_known = file.read(4).startswith(SOUND_FILE_STARTS)
        if not is_known:
            raise MediaError(f"The sound {path.name} is in a format that is not supported.", "Use a WAV or FLAC file.")
        with soundfile.SoundFile(path) as sound:
            current_limits().check_sound_format(path.name, sound.channels, sound.samplerate)
            current_limits().check_sound_size(path.name, sound.frames * sound.channels)
            waveform, rate_hz = sound.read(dtype="float32", always_2d=True), sound.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        raise MediaError(f"The sound {path.name} cannot be read ({error}).", "Use a WAV or FLAC file.") from error
    if not waveform.size:
        raise MediaError(f"The sound {path.name} is empty.", "Export it again.")
    if not np.isfinite(waveform).all():
        raise _non_finite_error(path)
    return np.ascontiguousarray(waveform.T), int(rate_hz)


def write_wav(path: str | Path, waveform: NDArray[np.float32], sample_rate_hz: int) -> Path:
    """Write `[channels, samples]` as a 24-bit WAV file, atomically. Raises OSError if it cannot be written."""
    path = Path(path)
    try:
        with atomic_path(path) as unfinished:
            soundfile.write(unfinished, waveform.T, sample_rate_hz, subtype="PCM_24", format="WAV")
    except soundfile.LibsndfileError as error:
        raise OSError(f"{path} cannot be written ({error.error_string})") from error
    return path
